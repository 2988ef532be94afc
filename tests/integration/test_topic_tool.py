"""fleetseal-topics on a real broker: does it make what the catalogue says, change nothing twice, and own up to differences?"""

import json

import harness
import pytest

CATALOG = json.loads((harness.ROOT / "proto" / "topics.json").read_text())
STATE_TOPICS = [t["name"] for t in CATALOG["topics"] if t.get("state")]


def apply(cluster, *extra, catalog=None):
    path = catalog or harness.ROOT / "proto" / "topics.json"
    return harness.run(
        harness.program("fleetseal-topics"), "apply", "--brokers", cluster.brokers, "--topics", path, *extra, check=False
    )


@pytest.mark.parametrize("topic", STATE_TOPICS)
def test_every_state_partition_begins_with_its_own_log_id(kafka, topic):
    first = {}
    for record in kafka.read(topic):
        first.setdefault(record.partition, record)
    assert sorted(first) == list(range(CATALOG["partitions"]))
    ids = set()
    for record in first.values():
        assert (record.offset, record.key, record.headers) == (0, b"#log", {"type": "log-id.v1"})
        value = record.json()
        assert value["type"] == "log-id.v1"
        assert len(bytes.fromhex(value["id"])) == 16
        ids.add(value["id"])
    assert len(ids) == CATALOG["partitions"]


def test_a_second_run_changes_nothing(make_kafka):
    cluster = make_kafka(topics=False)
    first = apply(cluster)
    assert first.returncode == 0, first.stderr
    assert "created   fleetseal.device.requests.dlq\n" in first.stdout
    before = cluster.read("fleetseal.device.state")
    second = apply(cluster)
    assert second.returncode == 0, second.stderr
    assert "0 log ids written" in second.stdout
    assert "created" not in second.stdout
    assert cluster.read("fleetseal.device.state") == before


def test_differences_are_said_and_not_mended(make_kafka, tmp_path):
    cluster = make_kafka(topics=False)
    assert apply(cluster).returncode == 0
    changed = json.loads(json.dumps(CATALOG))
    changed["partitions"] = 6
    changed["settings"]["month"]["retention.ms"] = "1000"
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(changed))
    done = apply(cluster, catalog=path)
    assert done.returncode == 65
    assert "differs  fleetseal.events: has 12 partitions, should have 6\n" in done.stdout
    assert "fleetseal.events: retention.ms is 2592000000, should be 1000\n" in done.stdout
    assert cluster.partitions("fleetseal.events") == list(range(12))

    # a topic made on one broker is no safer for being checked with three in mind
    copies = apply(cluster, "--replication", "3")
    assert copies.returncode == 65
    assert "differs  fleetseal.events: has 1 copies, should have 3\n" in copies.stdout
    assert "differs  fleetseal.events: min.insync.replicas is 1, should be 2\n" in copies.stdout


def test_check_writes_nothing(make_kafka):
    cluster = make_kafka(topics=False)
    done = cluster.topics("check", check=False)
    assert done.returncode == 65
    assert "missing   fleetseal.events\n" in done.stdout
    names = [t for t in cluster.consumer().list_topics(timeout=20).topics if t.startswith("fleetseal.")]
    assert names == []


def test_kafka_away_is_worth_another_try(tmp_path):
    done = harness.run(
        harness.program("fleetseal-topics"),
        *("apply", "--timeout", "1", "--brokers", f"127.0.0.1:{harness.free_port()}"),
        *("--topics", harness.ROOT / "proto" / "topics.json"),
        check=False,
    )
    assert done.returncode == 75
    assert "no answer from" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["apply"],
        ["apply", "--brokers", "127.0.0.1:1"],
        ["destroy", "--brokers", "127.0.0.1:1", "--topics", "x"],
        ["apply", "--brokers", "127.0.0.1:1", "--topics", "/nonexistent"],
        ["apply", "--brokers", "127.0.0.1:1", "--topics", "x", "--partitions", "1025"],
        ["apply", "--brokers", "127.0.0.1:1", "--topics", "x", "--partitions", "12x"],
        ["apply", "--brokers", "127.0.0.1:1", "--topics", "x", "--replication", "0"],
        ["apply", "--brokers", "127.0.0.1:1", "--topics", harness.ROOT / "README.md"],
        [
            *("apply", "--brokers", "127.0.0.1:1", "--topics", harness.ROOT / "proto" / "topics.json"),
            *("--property", "no.such.property=1"),
        ],
    ],
)
def test_wrong_arguments_are_refused(arguments):
    done = harness.run(harness.program("fleetseal-topics"), *arguments, check=False)
    assert done.returncode == 64
    assert done.stderr.startswith("fleetseal-topics: ")


def test_settings_arrive_on_the_broker(kafka):
    """Read back with another client."""
    import confluent_kafka.admin as admin

    client = admin.AdminClient({"bootstrap.servers": kafka.brokers})
    resources = [admin.ConfigResource(admin.ConfigResource.Type.TOPIC, t["name"]) for t in CATALOG["topics"]]
    results = client.describe_configs(resources)
    for topic in CATALOG["topics"]:
        found = next(f.result() for r, f in results.items() if r.name == topic["name"])
        for name, value in CATALOG["settings"][topic["settings"]].items():
            assert found[name].value == value, (topic["name"], name)
