"""A whole stack with a small flow behind it, for tests that look at what it left."""

import os
import pathlib
import subprocess

import flow
import harness
import postmortem
import pytest
import webhook_receiver

DEVICES = 20


class FinishedFlow:
    """Devices that have bootstrapped, were renewed by order, a tenth of them automatically as well; the stack still runs."""

    def __init__(self, env, done):
        self.env = env
        self.domain = done.domain
        self.devices = done.devices
        self.kafka = harness.Kafka(pathlib.Path("."))
        self.kafka.brokers = env["FLEETSEAL_KAFKA"]

    def topics(self):
        consumer = self.kafka.consumer()
        try:
            return sorted(t for t in consumer.list_topics(timeout=20).topics if t.startswith("fleetseal."))
        finally:
            consumer.close()

    def records(self, topic=None):
        """Every committed record of one topic, or of all."""
        return [r for t in ([topic] if topic else self.topics()) for r in self.kafka.read(t)]


@pytest.fixture(scope="session")
def finished_flow(session_folder):
    run = session_folder / "stack"
    environment = harness.clean_environment({"FLEETSEAL_RUN": str(run), "FLEETSEAL_BUILD": str(harness.BUILD)})
    environment |= {k: v for k, v in os.environ.items() if k == "FLEETSEAL_CACHE"}
    # Whoever sits behind a proxy: nobody listens there, so what would ask it fails.
    environment |= {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    try:
        subprocess.run([harness.DEPLOY / "up", "--no-build"], env=environment, check=True, timeout=300)
        env = flow.read_env(run / "env")
        watched = postmortem.Watched(env)
        with webhook_receiver.Receiver(run / "tls" / "receiver.pem", run / "tls" / "receiver.key") as receiver:
            done = flow.Flow(env, run / "flow", DEVICES, receiver)
            done.set_up()
            done.bootstrap()
            done.order_renewals()
            renewed = done.renew()["renewals_confirmed"]
            done.switch_automatic_on()
            renewed += done.renew_automatically()["renewals_confirmed"]
            charges, wanted, seen = done.settle(renewed)
            assert len(charges) == renewed and wanted <= seen
        assert renewed == DEVICES + done.automatic and done.failures == 0
        yield FinishedFlow(env, done)
        assert watched.ended() == [], "nobody ended these"
    finally:
        subprocess.run([harness.DEPLOY / "down"], env=environment, check=True, timeout=120)
        assert postmortem.crashes(run) == {}
