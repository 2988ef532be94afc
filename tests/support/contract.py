"""The contract of proto/ as a test sees it: the schemas, the golden messages, and which topic may carry what.

A schema is open, so that a reader of today lives with the fields of tomorrow. Here it is closed (`strict`): what is written by
the services of this checkout must be described in this checkout.
"""

import base64
import copy
import json
import pathlib
import re

import jsonschema
import referencing
import referencing.jsonschema
import yaml

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
GOLDEN = PROTO / "golden"
EVENT_PREFIX = "io.fleetseal."


def load(path):
    return json.loads(pathlib.Path(path).read_text())


def close(schema):
    """The schema, refusing every field that it does not describe."""
    if isinstance(schema, list):
        return [close(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {k: close(v) for k, v in schema.items()}
    if "properties" in closed and closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def schema_names():
    return sorted(p.name.removesuffix(".json") for p in (PROTO / "schemas").glob("*.json") if p.name != "common.json")


class Schemas:
    """Validators over proto/schemas by name; references are resolved inside the folder only."""

    def __init__(self, strict=False):
        found = {p.name: load(p) for p in (PROTO / "schemas").glob("*.json")}
        self.schemas = {name: close(schema) for name, schema in found.items()} if strict else found
        resources = [(name, referencing.Resource.from_contents(schema)) for name, schema in self.schemas.items()]
        self.registry = referencing.Registry().with_resources(resources)
        self.validators = {}

    def problems(self, name, value):
        """[(path, message)]: what is wrong with a value."""
        if name not in self.validators:
            schema = self.schemas[f"{name}.json"]
            self.validators[name] = jsonschema.Draft202012Validator(schema, registry=self.registry)
        return [(path_of(e), e.message[:300]) for e in self.validators[name].iter_errors(value)]


def path_of(error):
    """As the services name a field: signed.sequence, devices[3].uid; a missing field is named itself."""
    path = ""
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    if error.validator == "required":
        missing = next(n for n in error.validator_value if n not in error.instance)
        path += f".{missing}" if path else missing
    return path


class Contract:
    """Checks Kafka records (harness.Record) against proto/messages.json and the schemas."""

    def __init__(self):
        self.schemas = Schemas(strict=True)
        self.topics = load(PROTO / "messages.json")["topics"]
        self.dead_letters = load(PROTO / "messages.json")["dead_letters"]

    def problems(self, record):
        where = f"{record.topic}[{record.partition}]@{record.offset}"
        return [f"{where}: {text}" for text in self._problems(record)]

    def _problems(self, record):
        if record.topic.endswith(".dlq") and record.topic.removesuffix(".dlq") in self.topics:
            return named("header", self.schemas.problems(self.dead_letters, record.headers))
        rules = self.topics.get(record.topic)
        if rules is None:
            return ["the topic is not in messages.json"]
        problems = named("header", self.schemas.problems(rules["headers"], record.headers))
        key = (record.key or b"").decode(errors="replace")
        if not re.search(rules["key"], key):
            problems.append(f"the record key {key!r} has another form than {rules['key']}")
        if record.value is None:
            return problems if record.topic.endswith(".state") else [*problems, "a tombstone in a topic without them"]
        return problems + self._value_problems(record, rules)

    def _value_problems(self, record, rules):
        try:
            value = record.json()
        except ValueError:
            return ["the value is not JSON"]
        name = record.headers.get("ce_type") or value.get("type")
        if name not in rules["messages"]:
            return [f"a message of type {name!r}, which messages.json does not know there"]
        problems = named(name, self.schemas.problems(name, value))
        if name in ("device.bootstrap.v1", "device.pickup.v1", "device.confirm.v1") and not problems:
            signed = value["body"]["signed"]
            payload = json.loads(base64.b64decode(signed["payload"]))
            problems = named("payload", self.schemas.problems(f"device-payload.{signed['kind']}.v1", payload))
        return problems


class DeviceDoor:
    """proto/openapi-device.yaml: what the device door may be asked and may answer, closed as the schemas are."""

    def __init__(self):
        self.document = close(yaml.safe_load((PROTO / "openapi-device.yaml").read_text()))
        resource = referencing.Resource(contents=self.document, specification=referencing.jsonschema.DRAFT202012)
        self.registry = referencing.Registry().with_resource("door", resource)

    def _resolve(self, part):
        while "$ref" in part:
            at = self.document
            for step in part["$ref"].removeprefix("#/").split("/"):
                at = at[step]
            part = at
        return part

    def _errors(self, schema, value):
        if "$ref" in schema:
            schema = {"$ref": "door" + schema["$ref"]}
        else:
            schema = json.loads(json.dumps(schema).replace('"$ref": "#/', '"$ref": "door#/'))
        validator = jsonschema.Draft202012Validator(schema, registry=self.registry)
        return [f"{path_of(e)}: {e.message[:300]}" for e in validator.iter_errors(value)]

    def request_problems(self, path, body):
        return self._errors(self.document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"], body)

    def answer_problems(self, path, status, headers, body):
        """What is not as described about the answer to a POST."""
        operation = self.document["paths"].get(path, {}).get("post")
        if operation is None:
            return []
        if str(status) not in operation["responses"]:
            return [f"{path} does not describe status {status}"]
        response = self._resolve(operation["responses"][str(status)])
        missing = [h for h in response.get("headers", {}) if h not in headers]
        problems = [f"the header {h} is missing" for h in missing]
        return problems + self._errors(response["content"]["application/json"]["schema"], json.loads(body))


def named(what, problems):
    return [f"{what}: {path or 'as a whole'}: {message}" for path, message in problems]


def golden_files():
    """(type, path, valid) of every golden message."""
    for folder in sorted(GOLDEN.iterdir()):
        yield from ((folder.name, path, True) for path in sorted(folder.glob("*.json")))
        yield from ((folder.name, path, False) for path in sorted((folder / "invalid").glob("*.json")))


def golden_problems(schemas, name, message):
    """An event's golden message is {headers, data}; every other one is the value itself."""
    if not name.startswith(EVENT_PREFIX):
        return schemas.problems(name, message)
    problems = [(f"headers.{p}", m) for p, m in schemas.problems("headers.cloudevent", message["headers"])]
    return problems + [(f"data.{p}", m) for p, m in schemas.problems(name, message["data"])]


def with_a_field_of_tomorrow(message):
    """A copy with an unknown field in every object, which readers must live with."""
    later = copy.deepcopy(message)
    todo = [later]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            todo.extend(value.values())
            value["field_of_tomorrow"] = 1
        elif isinstance(value, list):
            todo.extend(value)
    return later
