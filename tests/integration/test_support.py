"""What the tests stand on must itself notice what they are for."""

import http.server
import json
import subprocess
import threading
import types
import urllib.request

import confluent_kafka
import flow
import harness
import kafka_offsets
import postmortem
import pytest


def end_by_itself(name, work_folder):
    program = harness.Program(name, ["sh", "-c", "exit 3"], work_folder)
    harness.wait_until(lambda: not program.running, what="its end")
    return program


def test_a_death_that_nobody_awaited_is_told(work_folder):
    program = end_by_itself("died", work_folder)
    with pytest.raises(AssertionError, match="ended by itself with 3"):
        program.check_end()


@pytest.mark.parametrize("how", ["wait", "kill"])
def test_an_awaited_death_is_none_to_tell(work_folder, how):
    program = end_by_itself(how, work_folder)
    getattr(program, how)()
    program.check_end()


def test_a_process_that_was_replaced_has_ended():
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        watched = postmortem.Watched({"FLEETSEAL_PID_SLEEPER": str(sleeper.pid), "FLEETSEAL_API": "x"})
        assert watched.ended() == []
        sleeper.kill()
    assert watched.ended() == ["SLEEPER"]


@pytest.mark.parametrize("said", ["x: a.c:1: f: Assertion `n > 0' failed.", "==7==ERROR: LeakSanitizer: detected memory leaks"])
def test_a_crash_is_found_in_the_log_of_a_service(work_folder, said):
    (work_folder / "services").mkdir()
    (work_folder / "services" / "good-0.log").write_text('{"event":"ready"}\n')
    (work_folder / "services" / "bad-0.log").write_text(f'{{"event":"ready"}}\n{said}\nmore\n')
    assert postmortem.crashes(work_folder) == {"bad-0.log": f"{said}\nmore\n"}


@pytest.mark.parametrize("failures, end", [(0, "kill -ABRT $$"), (0, "exit 1"), (2, "exit 0"), (2, "exit 70")])
def test_a_simulator_that_crashed_behind_its_report_is_told(failures, end):
    script = f"echo '{{\"failures\": {failures}}}'; {end}"
    process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    with pytest.raises(flow.FlowError, match="the simulator ended with"):
        flow.Fleet.finish(process)


def test_a_simulator_that_counted_failures_ends_with_1():
    process = subprocess.Popen(["sh", "-c", "echo '{\"failures\": 2}'; exit 1"], stdout=subprocess.PIPE, text=True)
    assert flow.Fleet.finish(process)["failures"] == 2


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET

    def log_message(self, *_):
        """Says nothing."""


def test_a_proxy_is_not_asked_for_our_loopback(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    # urlopen keeps what it learned of the environment the first time.
    monkeypatch.setattr(urllib.request, "_opener", None)
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        service = harness.Service.__new__(harness.Service)
        service.metrics_address = address
        assert service.get("/readyz") == (200, "{}")
        assert flow.Api(f"http://{address}", None, deadline_s=1).call("/", {}) == {}
        assert harness.run("curl", "-sS", f"http://{address}/").stdout == "{}"
        server.shutdown()


def test_a_topic_is_worked_off_when_its_last_record_is_committed(make_kafka, work_folder):
    cluster, topic = make_kafka(topics=False), "fleetseal.worked"
    catalog = json.loads((harness.ROOT / "proto" / "topics.json").read_text())
    catalog["topics"] = [{**catalog["topics"][0], "name": topic, "dlq": False}]
    path = work_folder / "topics.json"
    path.write_text(json.dumps(catalog))
    cluster.topics(catalog=path, partitions=2)
    # A commit that ends in a marker, which nobody reads and no offset counts.
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.brokers, "transactional.id": "worked"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for partition in (0, 1):
        for value in (b"first", b"last"):
            producer.produce(topic, value, partition=partition)
    producer.commit_transaction(30)
    assert not kafka_offsets.worked_off(cluster.brokers, topic)
    consumer = cluster.consumer()
    for offsets, wanted in (((2, 1), False), ((2, 2), True)):
        places = [confluent_kafka.TopicPartition(topic, p, offset) for p, offset in enumerate(offsets)]
        consumer.commit(offsets=places, asynchronous=False)
        assert kafka_offsets.worked_off(cluster.brokers, topic) is wanted
    consumer.close()


class LateCharge(flow.Flow):
    """The second charge comes when the numbers have agreed already, and before all is done."""

    def __init__(self):
        self.looked = 0
        self.receiver = types.SimpleNamespace(verified={0: {"id": "event"}})

    def charges(self):
        return ["charge"] if self.looked < 2 else ["charge", "charge"]

    def wanted_events(self):
        return {"event"}

    def say(self, _text):
        """Says nothing."""

    def at_rest(self):
        self.looked += 1
        return self.looked > 2


def test_a_charge_that_is_made_twice_a_moment_later_is_counted():
    charges, wanted, seen = LateCharge().settle(1, 20)
    assert charges == ["charge", "charge"] and wanted == seen


def test_a_finished_flow_is_at_rest(finished_flow):
    for topic in flow.TO_THE_LEDGER:
        assert kafka_offsets.worked_off(finished_flow.env["FLEETSEAL_KAFKA"], f"fleetseal.{topic}.requests")


def test_a_large_fleet_has_more_time(work_folder):
    """The simulator gives up after two minutes unless told otherwise."""
    simulator, token = work_folder / "fleetseal-simulator", work_folder / "token"
    simulator.write_text('#!/bin/sh\necho "$@" >"$0.argv"\necho \'{"failures": 0}\'\n')
    simulator.chmod(0o755)
    token.write_text("token")
    env = {"FLEETSEAL_API": "http://x", "FLEETSEAL_DEVICE": "http://x", "FLEETSEAL_BIN": str(work_folder)}
    env |= {"FLEETSEAL_OPERATOR_TOKEN_FILE": str(token), "FLEETSEAL_SERVER_CA": ""}
    for devices, seconds in ((1000, 130), (100000, 1120)):
        large = flow.Flow(env, work_folder / "fleet", devices, None)
        large.renew()
        assert f"--deadline {seconds}" in simulator.with_name("fleetseal-simulator.argv").read_text()
