"""What all services owe whoever runs them, whatever is away: they answer for themselves from the beginning to the end, and SIGTERM
ends them in time with nothing leaked."""

import json
import secrets

import harness
import pytest


@pytest.fixture
def settings(work_folder):
    kek = work_folder / "webhook.kek"
    kek.touch(mode=0o600)
    kek.write_bytes(secrets.token_bytes(32))
    return {"scheduler": {}, "billing-meter": {}, "webhook-notifier": {"webhook.kek_file": kek}}


def test_sigterm_ends_in_time_while_kafka_is_away(make_kafka, make_redis, start_service, settings):
    cluster, redis = make_kafka(), make_redis()
    before = [start_service(name, config=config, kafka=cluster, redis=redis) for name, config in settings.items()]
    cluster.pause()
    try:
        for service in before:
            service.stop(10)
        for name, config in settings.items():
            service = start_service(name, config=config, kafka=cluster, redis=redis, wait_ready=False)
            harness.wait_until(lambda s=service: s.get("/healthz")[0] == 200, what=f"{name} to answer")
            status, reasons = service.get("/readyz")
            assert status == 503 and json.loads(reasons)["reasons"], reasons
            service.stop(10)
    finally:
        cluster.resume()


def test_a_key_that_does_not_open_is_told(settings, work_folder):
    argv = [harness.program("webhook-notifier"), "--check-config", "--set", "instance=webhook-notifier-0"]
    good = harness.run(*argv, "--set", f"webhook.kek_file={settings['webhook-notifier']['webhook.kek_file']}", check=False)
    assert good.returncode == 0, good.stderr
    short = work_folder / "short.kek"
    short.touch(mode=0o600)
    short.write_bytes(b"short")
    bad = harness.run(*argv, "--set", f"webhook.kek_file={short}", check=False)
    assert bad.returncode == 64 and "webhook.kek_file" in bad.stderr, bad
