"""The benches of the main job: the whole stack as deploy/up makes it, in a folder of its own; devices are the simulator's."""

import json
import pathlib
import subprocess
import sys
import time

from benches import Bare, Shares, load, note, row
from stack import BUILD, DEPLOY, ROOT, BenchError, clean_environment, metrics_of, output, tool_json, undisturbed, wait_until

sys.path.insert(0, str(ROOT / "tests" / "support"))

import flow  # noqa: E402

CHARGED = 'fleetseal_processor_requests_total{app="billing-meter.ledger"}'
AT_ONCE = 512  # devices under way in a renewal
SERVICES = ("api-gateway", "heartbeat-ingest", "ca-signer", "scheduler", "billing-meter")


class Receiver:
    """Nobody: a bench makes no webhook."""


class Fleet(flow.Flow):
    """A domain with one CA, one profile, and no webhook."""

    def set_up(self):
        domain = {"Name": "bench", "Company": "Example", "AccountType": "commercial"}
        self.domain = self.api.call("/v1/domain/create", domain, self.operator)["DomainUID"]
        key = self.api.call("/v1/accesskey/create", {"DomainUID": self.domain, "Name": "bench"}, self.operator)
        login = {"APIKey": key["APIKey"], "APISecret": key["APISecret"]}
        self.api.token = self.api.call("/v1/authenticate", login)["AuthToken"]
        self.ca = self._make_ca("bench", "365d")
        self.profile = self._make_profile("bench", self.ca)

    def bootstrap(self):
        return self._phase("bootstrap", "--profile", self.profile)

    def order(self):
        return self._order(self.fleet.list(), {})

    def renew(self, *options):
        return self._phase("heartbeat-until-renewed", *options)


class Up:
    """The stack of deploy/up, without what the benches do not use."""

    def __init__(self, folder):
        self.run = pathlib.Path(folder) / "up"
        self.environment = {**clean_environment(), "FLEETSEAL_RUN": str(self.run), "FLEETSEAL_BUILD": str(BUILD)}

    def __enter__(self):
        try:
            output(DEPLOY / "up", "--no-build", env=self.environment)
            self.env = flow.read_env(self.run / "env")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with undisturbed():
            subprocess.run([DEPLOY / "down"], env=self.environment, capture_output=True, check=False)

    def metrics(self, service):
        port = (self.run / "ports" / f"{service}-0.metrics").read_text().strip()
        return metrics_of(f"127.0.0.1:{port}")

    def pids(self):
        """Names that Shares can show."""
        found = {s: f"FLEETSEAL_PID_{s.upper().replace('-', '_')}" for s in SERVICES}
        found |= {"kafka": "FLEETSEAL_PID_KAFKA", "redis": "FLEETSEAL_PID_REDIS"}
        return {s.replace("-", "_"): int(self.env[v]) for s, v in found.items() if v in self.env}

    def secret(self, name, _size):
        return self.run / "secrets" / name

    def server_tls(self):
        return self.run / "tls" / "device.pem", self.run / "tls" / "device.key"


def renewals(up, fleet, count, *options):
    """Renewals per second from the first heartbeat to the last charge."""
    charged = up.metrics("billing-meter").get(CHARGED, 0)
    worked = sum_of_device_requests(up)
    if fleet.order() != count:
        raise BenchError("not every renewal was queued")
    wait_until(lambda: sum_of_device_requests(up) >= worked + count, 60, "the orders to reach the devices' owner")
    shares = Shares(**up.pids())
    counted = fleet.renew(*options)
    if counted["renewals_confirmed"] != count:
        raise BenchError(f"only {counted['renewals_confirmed']} of {count} renewals were confirmed")
    ended = time.monotonic()
    wait_until(lambda: up.metrics("billing-meter").get(CHARGED, 0) >= charged + count, 60, "the charges")
    lag = time.monotonic() - ended
    note(f"{counted['handshakes_full']} full and {counted['handshakes_resumed']} resumed handshakes; last charge {lag:.2f} s later")
    note(shares.text(count))
    return count / (counted["seconds"] + lag)


def sum_of_device_requests(up):
    return up.metrics("ca-signer").get('fleetseal_processor_requests_total{app="ca-signer.device"}', 0)


def full_renewals(up, fleet, count):
    with Bare(up, tickets=True) as bare:
        for kind, options in (("resumed", ()), ("full", ("--no-resume",))):
            rate = renewals(up, fleet, count, "--concurrency", AT_ONCE, *options)
            shares = Shares(bare=bare.process.pid)
            shaken = load(bare.port, 4, "--reconnect", kind, "--connections", 16)
            note(f"bare handler: {shares.text(shaken['rate'] * 4)}")
            if kind == "resumed" and shaken["resumed"] < shaken["answers"] * 0.9:
                raise BenchError(f"the bare handler did not resume: {shaken}")
            name = "full_renewals" if kind == "resumed" else "full_renewals_full_handshake"
            yield row(name, rate, "devices/s", f"bare {kind} TLS handshakes and one request each", shaken["rate"])


def api_write_ms(up, fleet, folder):
    """100 writes per second, each answered when its transaction is committed."""
    bearer = folder / "bearer"
    bearer.touch(0o600)
    bearer.write_text(fleet.api.token)
    port = up.env["FLEETSEAL_API"].rsplit(":", 1)[1]
    options = ("--rate", 100, "--connections", 32, "--path", "/v1/device/whitelist/add", "--bearer-file", bearer)
    body = json.dumps({"Devices": [{"RoTPublicUID": "@"}]})
    shares = Shares(**up.pids())
    counted = load(port, 10, *options, "--body", body)
    note(shares.text(1000))
    topic = make_topic(up, folder)
    argv = ("--brokers", up.env["FLEETSEAL_KAFKA"], "--topic", topic, "--count", 250, "--spacing", 20)
    bare = tool_json("bench-bare-kafka", "transactions", *argv)
    for share in ("p50", "p99"):
        reference = f"bare produce and commit, 50/s, {share}"
        yield row(f"api_write_ms_{share}", counted[f"{share}_ms"], "ms at 100/s", reference, bare[f"{share}_ms"])


def make_topic(up, folder):
    """A topic that no service knows."""
    catalog = json.loads((ROOT / "proto" / "topics.json").read_text())
    catalog["topics"] = [{**catalog["topics"][0], "name": "fleetseal.bench", "settings": "requests", "dlq": False}]
    path = folder / "bench-topic.json"
    path.write_text(json.dumps(catalog))
    program = BUILD / "services" / "topic-tool" / "fleetseal-topics"
    output(program, "apply", "--brokers", up.env["FLEETSEAL_KAFKA"], "--topics", path)
    return "fleetseal.bench"


def main_job(folder, count=2000):
    with Up(folder) as up:
        fleet = Fleet(up.env, folder / "fleet", count, Receiver(), lambda text: note(text))
        fleet.set_up()
        yield from api_write_ms(up, fleet, folder)
        fleet.bootstrap()
        yield from full_renewals(up, fleet, count)
