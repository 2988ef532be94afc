"""A request that lies in another partition than that of its key. Its owner knows nothing there of what was decided before: what
would break a user is the same thing done once more, without a word."""

import hashlib
import json
import secrets
import uuid

import contract
import harness
import owners
import pytest

PRODUCT = uuid.UUID("e1b9f9a452b04c639a377d7b62f6a0c5")


@pytest.fixture(scope="module")
def stack(kafka, redis):
    return owners.Owners(kafka, redis)


def golden(kind):
    return contract.load(contract.GOLDEN / kind / "full.json")


def derived_id(*parts):
    """common/id.h, uuid_v5, written down a second time."""
    name = b"".join(len(p).to_bytes(4, "big") + p for p in parts)
    return str(uuid.UUID(bytes=hashlib.sha1(PRODUCT.bytes + name).digest()[:16], version=5))


def send_astray(stack, name, aggregate, key, request):
    """Into the partition beside its own."""
    partition = (stack.partition(aggregate) + 1) % stack.partitions
    stack.kafka.produce(f"fleetseal.{name}.requests", json.dumps(request), key, partition=partition)


def assert_put_aside(stack, name, key, code="wrong_partition"):
    def dead():
        return [r for r in stack.kafka.read(f"fleetseal.{name}.requests.dlq") if r.key == key.encode()]

    (record,) = harness.wait_until(dead, what="the dead letter")
    assert record.headers["code"] == code
    assert record.headers["field"] == "key"


def test_an_install_is_not_charged_twice(start_service, stack):
    start_service("billing-meter")
    install = golden("ledger.install.v1")
    body = install["body"]
    install["id"] = derived_id(
        uuid.UUID(install["domain"]).bytes, body["uid"].encode(), bytes.fromhex(body["serial"]), body["kind"].encode()
    )
    key = f"{install['domain']}/install/{install['id']}"

    def charges():
        return [r for r in stack.kafka.read("fleetseal.billing.events") if r.headers["ce_id"] == install["id"]]

    stack.kafka.produce("fleetseal.ledger.requests", json.dumps(install), key, partition=stack.partition(install["domain"]))
    harness.wait_until(charges, what="the charge")
    send_astray(stack, "ledger", install["domain"], key, install)
    assert_put_aside(stack, "ledger", key)
    # The same domain in another spelling, where that would belong.
    shouted = install["domain"].upper()
    assert stack.partition(shouted) != stack.partition(install["domain"])
    key = key.replace(install["domain"], shouted)
    stack.kafka.produce("fleetseal.ledger.requests", json.dumps(install | {"domain": shouted}), key, partition=stack.partition(shouted))
    assert_put_aside(stack, "ledger", key)
    assert len(charges()) == 1


def test_a_domain_is_not_made_twice(start_service, stack):
    start_service("api-gateway", config={"role": "owner"})
    request = golden("registry.domain.create.v1") | {"id": str(uuid.uuid4()), "domain": str(uuid.uuid4())}
    domain = request["domain"]
    stack.kafka.produce("fleetseal.registry.requests", json.dumps(request), domain, partition=stack.partition(domain))
    assert stack.answer(request["id"])["status"] == 200
    send_astray(stack, "registry", domain, domain, request)
    assert_put_aside(stack, "registry", domain)
    records = [r for r in stack.kafka.read("fleetseal.registry.state") if r.key.startswith(domain.encode())]
    assert {r.partition for r in records} == {stack.partition(domain)}
    assert stack.answer(request["id"])["status"] == 200


def test_an_order_is_not_placed_twice(start_service, stack):
    for letter, owner in (("d", "device"), ("c", "ca")):
        stack.view_is_current(letter, f"fleetseal.{owner}.state")
    start_service("scheduler")
    request = golden("order.create.v1") | {"id": str(uuid.uuid4())}
    order = request["id"]
    stack.kafka.produce("fleetseal.order.requests", json.dumps(request), order, partition=stack.partition(order))
    assert stack.answer(order)["status"] == 200
    send_astray(stack, "order", order, order, request)
    assert_put_aside(stack, "order", order)
    records = [r for r in stack.kafka.read("fleetseal.order.state") if r.key.startswith(order.encode())]
    assert {r.partition for r in records} == {stack.partition(order)}


def test_a_ca_is_not_made_twice(start_service, stack, work_folder):
    """Its second key would be written over the first one: what the CA signs would not verify, and nothing brings the first back."""
    kek = work_folder / "ca.kek"
    kek.write_bytes(secrets.token_bytes(32))
    kek.chmod(0o600)
    start_service("ca-signer", config={"keystore.kek_file": kek})
    request = golden("ca.create.v1") | {"id": str(uuid.uuid4())}
    ca, shouted = request["id"], request["id"].upper()
    while stack.partition(shouted) == stack.partition(ca):
        request["id"] = ca = str(uuid.uuid4())
        shouted = ca.upper()
    stack.kafka.produce("fleetseal.ca.requests", json.dumps(request), ca, partition=stack.partition(ca))
    assert stack.answer(ca)["status"] == 200
    send_astray(stack, "ca", ca, ca, request)
    assert_put_aside(stack, "ca", ca)
    # The same CA in another spelling, where that would belong.
    again = json.dumps(request | {"id": shouted})
    stack.kafka.produce("fleetseal.ca.requests", again, shouted, partition=stack.partition(shouted))
    assert_put_aside(stack, "ca", shouted, "invalid_key")
    assert len(stack.records("fleetseal.ca.keys", ca)) == 1
    assert len(stack.records("fleetseal.ca.state", ca)) == 1
