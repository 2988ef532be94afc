"""proto/ against itself and against what really flows. What would break a user: a message that no schema describes, a schema
that refuses what is written, a field that appears or changes without anybody noticing, an event that a CloudEvents library of
somebody else cannot read."""

import json
import os
import shutil
import subprocess

import contract
import jsonschema
import pytest
import yaml
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from openapi_spec_validator import validate as validate_openapi

GOLDEN = list(contract.golden_files())
WHOLE_VALUE_LISTS = {"fleetseal.events", "fleetseal.billing.events"}


@pytest.fixture(scope="module")
def schemas():
    return contract.Schemas()


@pytest.fixture(scope="module")
def strict_schemas():
    return contract.Schemas(strict=True)


def test_schemas_are_schemas_of_draft_2020_12():
    for path in sorted((contract.PROTO / "schemas").glob("*.json")):
        schema = contract.load(path)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema", path
        assert schema["$id"] == path.name, path


def test_every_schema_has_a_place():
    """In messages.json as message or header of a topic, or as what another message carries."""
    catalog = contract.load(contract.PROTO / "messages.json")
    used = {name for topic in catalog["topics"].values() for name in (*topic["messages"], topic["headers"])}
    used |= {catalog["dead_letters"], "reply.v1", *(n for n in contract.schema_names() if n.startswith("device-payload."))}
    assert used == set(contract.schema_names())


def test_every_topic_is_described():
    topics = {t["name"] for t in contract.load(contract.PROTO / "topics.json")["topics"]}
    assert set(contract.load(contract.PROTO / "messages.json")["topics"]) == topics


def test_every_message_type_has_golden_messages():
    wanted = {n for n in contract.schema_names() if not n.startswith("headers.")}
    assert {name for name, _, valid in GOLDEN if valid} == wanted


@pytest.mark.parametrize("name,path", [pytest.param(n, p, id=f"{n}-{p.stem}") for n, p, valid in GOLDEN if valid])
def test_golden_message_is_valid(schemas, strict_schemas, name, path):
    message = contract.load(path)
    assert contract.golden_problems(schemas, name, message) == []
    if path.stem != "later":
        assert contract.golden_problems(strict_schemas, name, message) == []


@pytest.mark.parametrize("name,path", [pytest.param(n, p, id=f"{n}-{p.stem}") for n, p, valid in GOLDEN if valid])
def test_schema_lives_with_fields_of_tomorrow(schemas, name, path):
    message = contract.load(path)
    if name.startswith(contract.EVENT_PREFIX):
        message["data"] = contract.with_a_field_of_tomorrow(message["data"])
    else:
        message = contract.with_a_field_of_tomorrow(message)
    assert contract.golden_problems(schemas, name, message) == []


@pytest.mark.parametrize("name,path", [pytest.param(n, p, id=f"{n}-{p.stem}") for n, p, valid in GOLDEN if not valid])
def test_invalid_message_is_refused_where_it_is_wrong(schemas, name, path):
    golden = contract.load(path)
    fields = {field for field, _ in contract.golden_problems(schemas, name, golden["message"])}
    body_field = f"body.{golden['field']}"
    assert golden["field"] in fields or body_field in fields, f"{golden['why']}: {fields}"


@pytest.mark.parametrize("name", sorted(p.name for p in contract.PROTO.glob("openapi*.yaml")))
def test_openapi_document_is_valid(name):
    document = yaml.safe_load((contract.PROTO / name).read_text())
    assert document["openapi"].startswith("3.1")
    validate_openapi(document)


@pytest.fixture(scope="module")
def redocly():
    """The linter of somebody else, where Node can fetch it."""
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("Node is not installed")
    command = [npx, "--yes", "@redocly/cli@2.77.0"]
    environment = {**os.environ, "REDOCLY_TELEMETRY": "off"}
    if subprocess.run([*command, "--version"], capture_output=True, env=environment, check=False, timeout=300).returncode != 0:
        pytest.skip("redocly could not be fetched")
    return command, environment


@pytest.mark.parametrize("name", sorted(p.name for p in contract.PROTO.glob("openapi*.yaml")))
def test_openapi_document_passes_redocly(redocly, name):
    command, environment = redocly
    argv = [*command, "lint", "--extends=minimal", str(contract.PROTO / name)]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_signed_payloads_are_the_bodies_of_the_device_door():
    """The same rules in two places: the schemas of what is signed, and the door's description."""
    door = contract.DeviceDoor()
    for name, path, valid in GOLDEN:
        if name.startswith("device-payload."):
            golden = contract.load(path)
            exchange = name.split(".")[1]
            problems = door.request_problems(f"/v1/device/{exchange}", golden if valid else golden["message"])
            assert (problems == []) == valid, f"{path}: {problems}"


def read_event(record):
    """As a program of somebody else: bytes in, CloudEvent out."""
    headers = {k: v.encode() for k, v in record.headers.items()}
    return from_binary(KafkaMessage(headers=headers, key=record.key, value=record.value), JSONFormat())


def test_golden_events_read_with_a_cloudevents_library():
    for name, path, valid in GOLDEN:
        if not name.startswith(contract.EVENT_PREFIX) or not valid:
            continue
        golden = contract.load(path)
        headers = {k: v.encode() for k, v in golden["headers"].items()}
        event = from_binary(KafkaMessage(headers=headers, key=None, value=json.dumps(golden["data"]).encode()), JSONFormat())
        assert event.get_type() == name
        assert event.get_data() == golden["data"]
        assert event.get_extension("domain") == golden["headers"]["ce_domain"]


# ---- a running stack, after a small flow ----


@pytest.fixture(scope="module")
def records(finished_flow):
    return finished_flow.records()


def test_everything_that_flows_is_described(records):
    checker = contract.Contract()
    problems = [p for record in records for p in checker.problems(record)]
    assert not problems, f"{len(problems)} problems, the first:\n" + "\n".join(problems[:20])


def test_the_flow_touched_every_topic_of_the_main_job(records):
    seen = {r.topic.removeprefix("fleetseal.") for r in records}
    wanted = {f"{owner}.{log}" for owner in ("registry", "ca", "device", "order", "ledger") for log in ("requests", "state")}
    wanted |= {"ca.keys", "certificates", "events", "billing.events", "heartbeats", "webhook.requests", "webhook.deliveries"}
    assert wanted <= seen


def test_events_read_with_a_cloudevents_library(records, finished_flow):
    events = [read_event(r) for r in records if r.topic in WHOLE_VALUE_LISTS]
    assert len({e.get_id() for e in events}) == len(events)
    renewed = [e for e in events if e.get_type() == "io.fleetseal.certificate.renewed.v1"]
    charges = [e for e in events if e.get_type() == "io.fleetseal.billing.charge.v1"]
    assert len(renewed) == len(charges) >= finished_flow.devices
    for event in renewed:
        data = event.get_data()
        assert event.get_source() == f"/fleetseal/{finished_flow.domain}"
        assert event.get_subject() == data["uid"] == event.get_extension("partitionkey")
        assert data["serial"] != data["previous_serial"] and data["fingerprint"] != data["previous_fingerprint"]
    assert {e.get_data()["serial"] for e in charges} == {e.get_data()["serial"] for e in renewed}


def test_events_of_one_device_are_numbered_in_their_order(records):
    last = {}
    for record in (r for r in records if r.topic == "fleetseal.events" and "ce_sequence" in r.headers):
        subject = record.headers["ce_subject"]
        assert record.headers["ce_sequence"] > last.get(subject, ""), f"{subject} at {record.partition}/{record.offset}"
        last[subject] = record.headers["ce_sequence"]


def test_records_lie_in_the_partition_of_their_aggregate(records):
    """A record's state lies in the partition of its request: device topics agree on every device."""
    where = {}
    for record in records:
        if record.topic not in ("fleetseal.device.requests", "fleetseal.device.state", "fleetseal.heartbeats"):
            continue
        if record.key != b"#log":
            where.setdefault(record.key, set()).add(record.partition)
    assert where and all(len(partitions) == 1 for partitions in where.values())
