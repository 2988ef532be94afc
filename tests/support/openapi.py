"""proto/openapi.yaml as tests use it: every answer of the API must be one that the description promises."""

import functools
import re

import jsonschema
import referencing
import referencing.jsonschema
import yaml

import harness

PATH = harness.ROOT / "proto" / "openapi.yaml"


@functools.lru_cache(maxsize=None)
def description():
    return yaml.safe_load(PATH.read_text())


@functools.lru_cache(maxsize=None)
def registry():
    resource = referencing.Resource(contents=description(), specification=referencing.jsonschema.DRAFT202012)
    return referencing.Registry().with_resource("openapi.yaml", resource)


def validator(pointer):
    """A validator of the schema at a JSON pointer into the description."""
    schema = {"$ref": f"openapi.yaml#{pointer}"}
    return jsonschema.Draft202012Validator(schema, registry=registry())


def escape(text):
    return text.replace("~", "~0").replace("/", "~1")


def schema_of(schema):
    """A schema, its reference into the components followed."""
    return description()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]


def schema_pointer(path, status):
    """Where the schema of this call's answer stands; a status that is not described falls to the default."""
    responses = description()["paths"][path]["post"]["responses"]
    name = str(status) if str(status) in responses else "default"
    pointer = f"/paths/{escape(path)}/post/responses/{name}"
    response = responses[name]
    if "$ref" in response:
        pointer = response["$ref"].lstrip("#")
    return pointer + "/content/application~1json/schema"


def check_answer(path, answer):
    """Fails when the answer is not as described: status, content type, every member of the body."""
    if path not in description()["paths"]:
        return
    assert answer.headers["Content-Type"].startswith("application/json"), answer.headers
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["X-Request-Id"])
    errors = sorted(validator(schema_pointer(path, answer.status_code)).iter_errors(answer.json()), key=str)
    assert not errors, f"{path} answered {answer.status_code} against its description:\n" + "\n".join(
        f"{error.json_path}: {error.message}" for error in errors[:5]
    )
