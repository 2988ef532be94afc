"""ca-signer against a real Kafka and Redis, asked over its topics: what it signs, records, tells, bills, and what it refuses
even when a message is written straight to the topic, past every door."""

import hashlib
import json
import secrets
import uuid

import contract
import harness
import owners
import pytest
from cryptography import x509


SPKI = (owners.serialization.Encoding.DER, owners.serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def stack(kafka, redis):
    o = owners.Owners(kafka, redis)
    o.view_is_current("r", "fleetseal.registry.state")
    return o


@pytest.fixture
def kek(session_folder):
    path = session_folder / "ca.kek"
    if not path.exists():
        path.write_bytes(secrets.token_bytes(32))
        path.chmod(0o600)
    return path


def settings(kek):
    # A replica that stopped is missed sooner, so that the next test's gets its partitions at once.
    return {"keystore.kek_file": kek, "kafka.session_timeout": "6s"}


@pytest.fixture
def signer(start_service, stack, kek):
    return start_service("ca-signer", config=settings(kek))


@pytest.fixture
def domain():
    return str(uuid.uuid4())


@pytest.fixture
def ca(signer, stack, domain):
    answer = stack.create_ca(domain)
    assert answer["status"] == 200, answer
    return answer["result"]


@pytest.fixture
def profile(stack, domain, ca):
    return stack.create_profile(domain, ca["id"])


def types(events):
    return [e.headers["ce_type"].removeprefix("io.fleetseal.") for e in events]


def verify(folder, ca, der):
    """openssl verify, with the CA as only anchor."""
    root, leaf = folder / "root.pem", folder / "leaf.pem"
    encoding = owners.serialization.Encoding.PEM
    root.write_bytes(owners.certificate(ca["certificate"]).public_bytes(encoding))
    leaf.write_bytes(owners.certificate(der).public_bytes(encoding))
    harness.run("openssl", "verify", "-x509_strict", "-CAfile", root, leaf)


def order_renewal(stack, device, domain, **body):
    operation = str(uuid.uuid4())
    answer = stack.ask(
        "fleetseal.device.requests",
        "device.renew.v1",
        device.uid,
        {"uid": device.uid, "operation": operation, **body},
        domain=domain,
        request=operation,
    )
    return operation, answer


def installs_of(stack, device):
    return [r for r in stack.kafka.read("fleetseal.ledger.requests") if r.json()["body"]["uid"] == device.uid]


def test_ca_is_made_recorded_and_told(signer, stack, domain, ca, work_folder):
    verify(work_folder, ca, ca["certificate"])
    certificate = owners.certificate(ca["certificate"])
    assert certificate.subject.rfc4514_string() == "CN=Plant Root,O=Example"
    assert "requests" not in ca
    state = stack.records("fleetseal.ca.state", ca["id"])
    assert len(state) == 1 and state[0].json()["certificate"] == ca["certificate"]
    sealed = stack.records("fleetseal.ca.keys", ca["id"])[0].json()
    assert sealed["domain"] == domain and b"PRIVATE" not in owners.unb64(sealed["sealed"])
    assert types(stack.events(ca["id"])) == ["ca.created.v1"]
    partition = stack.partition(ca["id"])
    assert stack.wire("ZSCORE", f"{{c{partition}}}i:auto", ca["id"]) == b"2592000"
    assert stack.wire("ZSCORE", f"{{c{partition}}}i:keys", f"{domain}/{ca['id']}") == b"0"
    assert not stack.wire("KEYS", f"*{sealed['sealed'][:20]}*")


def test_ca_requests_are_idempotent_and_checked(signer, stack, domain, ca):
    def update(request=None, hash="aa" * 16, **body):
        topic = "fleetseal.ca.requests"
        return stack.ask(
            topic, "ca.update.v1", ca["id"], {"id": ca["id"], **body}, domain=domain, request=request, hash=hash
        )

    request = str(uuid.uuid4())
    assert update(request, name="New", automatic_renewal=False)["result"]["name"] == "New"
    assert stack.wire("ZSCORE", f"{{c{stack.partition(ca['id'])}}}i:auto", ca["id"]) is None
    stack.wire("DEL", f"g:r:{request}")
    assert update(request, name="New", automatic_renewal=False)["status"] == 200
    stack.wire("DEL", f"g:r:{request}")
    again = update(request, hash="bb" * 16, name="Other")
    assert (again["status"], again["type"]) == (422, "idempotency_key_reused")
    never = update(renew_ahead_s=364 * 86400)
    assert (never["status"], never["fields"][0]["field"]) == (400, "RenewAhead")
    assert update(device_validity_s=20 * 365 * 86400)["status"] == 400
    stranger = stack.ask(
        "fleetseal.ca.requests", "ca.update.v1", ca["id"], {"id": ca["id"], "name": "x"}, domain=str(uuid.uuid4())
    )
    assert stranger["status"] == 404
    assert len(stack.records("fleetseal.ca.state", ca["id"])) == 2


def test_refused_ca_gives_its_seat_back(signer, stack, domain):
    answer = stack.create_ca(domain, key_algorithm="EC-P999")
    assert answer["status"] == 400 and answer["fields"][0]["field"] == "KeyAlgorithm"
    released = stack.records("fleetseal.registry.requests", domain, type="registry.ca.release.v1")
    assert [r.json()["body"]["id"] for r in released] == [answer["request"]]


@pytest.mark.parametrize("how", ["sealed under another key", "gone"])
def test_a_lost_key_holds_up_its_own_devices_only(start_service, stack, kek, work_folder, how):
    """Two of them, since each is found missing by itself."""
    lost_kek = work_folder / "lost.kek"
    lost_kek.write_bytes(secrets.token_bytes(32))
    lost_kek.chmod(0o600)
    first = start_service("ca-signer", config=settings(lost_kek if how == "sealed under another key" else kek))

    def device():
        owner = str(uuid.uuid4())
        ca = stack.create_ca(owner)["result"]["id"]
        return ca, owners.Device(stack, stack.create_profile(owner, ca), "SN-1")

    lost = [device(), device()]
    first.stop()
    if how == "gone":
        for ca, _ in lost:
            stack.kafka.produce("fleetseal.ca.keys", None, ca, partition=stack.partition(ca))
    start_service("ca-signer", config=settings(kek))
    wishes = [held.message("bootstrap", held.payload(), held.root) for _, held in lost]
    asked = [stack.send("fleetseal.device.requests", "device.bootstrap.v1", d.uid, w, actor="device") for (_, d), w in zip(lost, wishes)]
    for request in asked:
        answer = stack.answer(request)
        assert (answer["status"], answer["type"]) == (503, "try_again")
    _, good = device()
    assert good.bootstrap()["status"] == 200


def test_a_key_that_would_replace_another_is_not_taken(signer, stack, domain, ca, profile):
    other = stack.create_ca(domain)["result"]["id"]
    (record,) = stack.records("fleetseal.ca.keys", other)
    forged = json.dumps(record.json() | {"id": ca["id"]})
    stack.kafka.produce("fleetseal.ca.keys", forged, ca["id"], partition=stack.partition(ca["id"]))
    signer.wait_for_log(event="ca_key_changed", ca=ca["id"])
    assert owners.Device(stack, profile).bootstrap()["status"] == 200


def test_device_from_bootstrap_to_billed_renewal(signer, stack, domain, ca, profile, work_folder):
    device = owners.Device(stack, profile, "SN-1")
    first = device.bootstrap()
    assert first["status"] == 200 and first["result"]["state"] == "active"
    first = first["result"]
    verify(work_folder, ca, first["certificate"])
    leaf = owners.certificate(first["certificate"])
    assert leaf.subject.rfc4514_string() == f"CN={device.uid}"
    assert first["chain"] == [ca["certificate"]]
    assert f"{leaf.serial_number:032x}" == first["serial"]
    # Recorded before it was handed out.
    recorded = stack.records("fleetseal.certificates", f"{ca['id']}/{first['serial']}")
    assert recorded[0].json()["der"] == first["certificate"]

    confirmed = device.confirm(first["operation"], first["serial"])
    assert confirmed["result"] == {"operation": first["operation"], "serial": first["serial"], "status": "installed"}
    assert not installs_of(stack, device)

    operation, answer = order_renewal(stack, device, domain)
    assert answer["result"] == {"operation": operation, "status": "queued"}
    second = device.pickup(operation)["result"]
    verify(work_folder, ca, second["certificate"])
    renewed = owners.certificate(second["certificate"])
    assert renewed.subject == leaf.subject
    assert owners.b64(renewed.public_key().public_bytes(*SPKI)) == owners.b64(owners.spki(device.key))
    assert renewed.serial_number != leaf.serial_number
    assert renewed.not_valid_after_utc >= leaf.not_valid_after_utc
    assert not installs_of(stack, device)
    assert device.confirm(operation, second["serial"])["status"] == 200

    installs = installs_of(stack, device)
    assert len(installs) == 1
    body = installs[0].json()["body"]
    assert (body["serial"], body["previous_serial"], body["kind"]) == (second["serial"], first["serial"], "renew")
    assert body["certificate"] == second["certificate"]
    assert body["confirmation"]["signature"] == device.last[1]["signed"]["signature"]
    assert stack.records("fleetseal.certificates", f"{ca['id']}/{first['serial']}/status")[-1].json()["status"] == "superseded"
    assert stack.records("fleetseal.certificates", f"{ca['id']}/{second['serial']}/status")[-1].json()["status"] == "installed"
    state = device.state()
    assert state["certificate"]["serial"] == second["serial"] and "unconfirmed" not in state
    assert [r["state"] for r in state["recent"]] == ["installed", "installed"]

    events = stack.events(device.uid)
    assert sorted(types(events)) == sorted(
        ["device.registered.v1", "device.activated.v1"]
        + ["certificate.issued.v1"] * 2
        + ["certificate.installed.v1"] * 2
        + ["operation.queued.v1", "certificate.renewed.v1", "certificate.superseded.v1"]
    )
    assert len({e.headers["ce_id"] for e in events}) == len(events)
    sequences = [e.headers["ce_sequence"] for e in events]
    assert sequences == sorted(sequences) and all(len(s) == 20 for s in sequences)
    fact = next(e for e in events if e.headers["ce_type"].endswith("renewed.v1"))
    assert fact.headers["ce_source"] == f"/fleetseal/{domain}"
    assert fact.json()["fingerprint"] == hashlib.sha256(owners.unb64(second["certificate"])).hexdigest()
    assert fact.json()["previous_serial"] == first["serial"]


def test_forged_messages_are_refused_at_the_owner(signer, stack, domain, profile):
    device = owners.Device(stack, profile)
    device.installed()
    operation, _ = order_renewal(stack, device, domain)
    thief = owners.new_key()
    before = device.state()
    # Signed by another key, shown as the device's; by another root of trust; with a CSR for a key of the thief.
    assert device.pickup(operation, signer=thief)["type"] == "bad_signature"
    assert device.pickup(operation, signer=thief, rot=thief)["type"] == "wrong_key"
    assert device.pickup(operation, csr=device.csr(thief))["type"] == "unexpected_key"
    assert device.pickup(str(uuid.uuid4()))["type"] == "unknown_operation"
    forged = owners.Device(stack, profile)
    forged.uid = device.uid
    forged.sequence = 100
    assert forged.bootstrap()["type"] == "wrong_key"
    after = device.state()
    assert after["operation"]["state"] == "queued" and "unconfirmed" not in after
    assert after["certificate"] == before["certificate"]
    assert len(stack.records("fleetseal.certificates", uid=device.uid, type="certificate.v1")) == 1


def test_an_order_for_another_domains_device_is_told_to_nobody_but_who_ordered(signer, stack, domain, profile):
    device = owners.Device(stack, profile)
    device.installed()
    stranger, operation = str(uuid.uuid4()), str(uuid.uuid4())
    body = {"uid": device.uid, "operation": operation, "order": str(uuid.uuid4())}
    stack.send(
        "fleetseal.device.requests", "device.renew.v1", device.uid, body, domain=stranger, request=operation, reply_to=""
    )

    def told():
        return [e for e in stack.events(device.uid) if e.headers["ce_type"].endswith("operation.failed.v1")]

    (event,) = harness.wait_until(told, what="the refusal's event")
    assert event.headers["ce_source"] == f"/fleetseal/{stranger}"
    assert event.json()["reason"] == "unknown_device" and "profile" not in event.json()


def test_confirmations_that_prove_nothing_change_nothing(signer, stack, domain, ca, profile):
    device = owners.Device(stack, profile)
    first = device.installed()
    operation, _ = order_renewal(stack, device, domain)
    second = device.pickup(operation)["result"]
    other = owners.new_key()
    assert device.confirm(operation, second["serial"], signer=other)["type"] == "bad_signature"
    assert device.confirm(operation, second["serial"], key=other)["type"] == "wrong_key"
    assert device.confirm(operation, "00" * 15 + "01")["type"] == "unknown_certificate"
    assert not installs_of(stack, device)
    assert device.state()["certificate"]["serial"] == first["serial"]
    assert device.confirm(operation, second["serial"])["status"] == 200
    count = len(stack.events(device.uid))
    for _ in range(3):
        assert device.again()["result"]["status"] == "installed"
    assert device.confirm(first["operation"], first["serial"])["type"] == "unknown_certificate"
    assert len(installs_of(stack, device)) == 1
    assert len(stack.events(device.uid)) == count


def test_bootstrap_repeated_interrupted_and_copied(signer, stack, profile):
    device = owners.Device(stack, profile)
    first = device.bootstrap()["result"]
    assert device.again()["result"] == first
    assert device.bootstrap()["result"]["serial"] == first["serial"]
    device.nonce, device.key = uuid.uuid4().bytes, owners.new_key()
    second = device.bootstrap()["result"]
    assert second["serial"] != first["serial"]
    assert device.confirm(second["operation"], second["serial"])["status"] == 200
    device.nonce = uuid.uuid4().bytes
    copied = device.bootstrap()
    assert (copied["status"], copied["type"]) == (409, "already_bootstrapped")
    assert "device.duplicate.v1" in types(stack.events(device.uid))


def test_a_certificate_handed_out_again_brings_the_chain_of_the_ca_that_signed_it(signer, stack, domain, ca, profile):
    device = owners.Device(stack, profile)
    first = device.bootstrap()["result"]
    other = stack.create_ca(domain)["result"]
    stack.create_profile(domain, other["id"], uid=profile)
    again = device.bootstrap()["result"]
    assert again["serial"] == first["serial"]
    assert first["chain"] == again["chain"] == [ca["certificate"]]
    device.nonce = secrets.token_bytes(16)
    assert device.bootstrap()["result"]["chain"] == [other["certificate"]]


def test_fork_that_a_door_reports(signer, stack, profile):
    device = owners.Device(stack, profile)
    granted = device.bootstrap()["result"]
    request = str(uuid.uuid4())
    report = ("fleetseal.device.requests", "device.fork.v1", device.uid, {"sequence": "17", "token": "other"})
    for _ in range(2):
        assert stack.ask(*report, request=request, actor="device")["status"] == 200
    told = [e for e in stack.events(device.uid) if e.headers["ce_type"].endswith("device.forked.v1")]
    assert [e.json() for e in told] == [{"uid": device.uid, "profile": profile, "sequence": "17", "token": "other"}]
    assert contract.Contract().problems(told[0]) == []
    record = stack.records("fleetseal.device.state", device.uid)[-1]
    assert record.json()["fork"]["sequence"] == "17" and contract.Contract().problems(record) == []
    # It is carried on through the view, and takes nothing away from the device.
    assert device.confirm(granted["operation"], granted["serial"])["status"] == 200
    assert stack.records("fleetseal.device.state", device.uid)[-1].json()["fork"] == record.json()["fork"]


def test_two_stages_unknown_profile_and_whitelist(signer, stack, domain, ca):
    strict = stack.create_profile(domain, ca["id"], whitelist="on")
    device = owners.Device(stack)
    assert device.bootstrap()["result"]["state"] == "registered"
    device.profile = owners.profile_uid(domain)
    unknown = device.bootstrap()["result"]
    assert (unknown["state"], unknown["reason"]) == ("registered", "unknown_profile")

    device = owners.Device(stack)
    assert device.bootstrap()["result"]["state"] == "registered"
    device.profile = strict
    answer = device.bootstrap()["result"]
    assert (answer["state"], answer["reason"]) == ("allocated", "not_whitelisted")
    unblock = lambda: stack.ask("fleetseal.device.requests", "device.unblock.v1", device.uid, {}, domain=domain)  # noqa: E731
    assert unblock()["type"] == "not_whitelisted"
    stack.list_device(domain, device.uid)
    assert unblock()["result"]["state"] == "active"
    operation = device.state()["operation"]["id"]
    assert device.pickup(operation)["type"] == "csr_required"
    second = device.pickup(operation, csr=device.csr())["result"]
    assert device.confirm(operation, second["serial"])["status"] == 200
    assert types(stack.events(device.uid)).count("device.activated.v1") == 1


def test_a_serial_used_twice_is_told(signer, stack, domain, profile):
    first, second = (owners.Device(stack, profile, "SN-7") for _ in range(2))
    other = owners.Device(stack, profile, "SN-8")
    foreign_domain = str(uuid.uuid4())
    foreign_ca = stack.create_ca(foreign_domain)["result"]["id"]
    foreign = owners.Device(stack, stack.create_profile(foreign_domain, foreign_ca), "SN-7")
    refused = owners.Device(stack, profile, other.serial)
    assert refused.bootstrap(csr=refused.csr(refused.root))["type"] == "invalid_csr"
    for device in (first, second, other, foreign, second):
        assert device.bootstrap()["result"]["state"] == "active"

    def told_of(device):
        return [e.json() for e in stack.events(device.uid) if "serial_duplicate" in e.headers["ce_type"]]

    told = {d.uid: told_of(d) for d in (first, second, other, foreign)}
    assert [e["holder"] for e in told[second.uid]] == [first.uid] and told[second.uid][0]["device_serial"] == "SN-7"
    assert told[first.uid] == told[other.uid] == told[foreign.uid] == []


def test_settings_straight_on_the_topic(signer, stack, domain, profile):
    device = owners.Device(stack, profile)
    device.installed()

    def wish(uid=device.uid, domain=domain, request=None, **body):
        return stack.ask(
            "fleetseal.device.requests", "device.settings.v1", uid, {"uid": uid, **body}, domain=domain, request=request
        )

    first = str(uuid.uuid4())
    answer = wish(request=first, heartbeat_interval_s=1800)
    assert (answer["status"], answer["result"]) == (200, {"uid": device.uid, "status": "updated"})
    assert device.state()["settings"] == {"heartbeat_interval_s": 1800, "flood_interval_s": 60}
    assert wish(flood_interval_s=30)["status"] == 200
    records = len(stack.records("fleetseal.device.state", device.uid))
    stack.wire("DEL", f"g:r:{first}")
    assert wish(request=first, heartbeat_interval_s=1800)["result"] == answer["result"]
    stranger = wish(domain=str(uuid.uuid4()), heartbeat_interval_s=900)
    assert (stranger["status"], stranger["type"], stranger["result"]) == (404, "unknown_device", {"uid": device.uid})
    # the CA of the fixture renews 30 days ahead by itself
    assert wish(heartbeat_interval_s=30 * 86400)["type"] == "heartbeat_too_rare"
    assert wish(flood_interval_s=1801)["type"] == "flood_above_heartbeat"
    assert len(stack.records("fleetseal.device.state", device.uid)) == records
    assert types(stack.events(device.uid)).count("device.settings_changed.v1") == 2


def test_due_index_follows_the_device(signer, stack, domain, ca, profile):
    device = owners.Device(stack, profile)
    first = device.installed()
    name = f"{{d{stack.partition(device.uid)}}}i:due:".encode() + uuid.UUID(ca["id"]).bytes
    uid = bytes.fromhex(device.uid)
    end = owners.certificate(first["certificate"]).not_valid_after_utc.timestamp()
    due = float(stack.wire("ZSCORE", name, uid))
    assert end - 366 * 86400 * 0.05 <= due <= end
    operation, _ = order_renewal(stack, device, domain)
    assert stack.wire("ZSCORE", name, uid) is None
    second = device.pickup(operation)["result"]
    device.confirm(operation, second["serial"])
    assert float(stack.wire("ZSCORE", name, uid)) >= due
    members = stack.wire("ZCARD", f"{{d{stack.partition(device.uid)}}}i:n:".encode() + uuid.UUID(domain).bytes)
    assert members == 1


def test_bad_messages_go_to_the_dead_letters(signer, stack):
    device = owners.Device(stack)
    good = device.message("bootstrap", {"uid": device.uid, "install_nonce": owners.b64(device.nonce)}, device.root)
    lie = json.loads(json.dumps(good))
    lie["signed"]["kind"] = "pickup"
    envelope = {"id": str(uuid.uuid4()), "type": "device.bootstrap.v1", "time": owners.rfc3339(), "body": good}
    bad = {
        "not json": b"{",
        "another version": json.dumps({**envelope, "type": "device.bootstrap.v2"}).encode(),
        "contradiction": json.dumps({**envelope, "body": lie}).encode(),
        "no body": json.dumps({**envelope, "body": {}}).encode(),
        "huge": json.dumps({**envelope, "body": {"x": "y" * 300000}}).encode(),
    }
    partition = stack.partition(device.uid)
    for value in bad.values():
        stack.kafka.produce("fleetseal.device.requests", value, device.uid, partition=partition)

    def dead():
        return len([r for r in stack.kafka.read("fleetseal.device.requests.dlq") if r.key == device.uid.encode()]) == len(bad)

    harness.wait_until(dead, what="the dead letters")
    assert device.send("bootstrap", good)["status"] == 200
    assert signer.running


def test_requests_outside_the_partition_of_their_key_go_to_the_dead_letters(signer, stack, domain, profile):
    """An owner knows its own partitions only: elsewhere a device would be unknown, and could have a second life."""
    device = owners.Device(stack, profile)
    device.installed()
    body = {"name": "x", "subject": {"common_name": "x"}, "validity_s": 9, "device_validity_s": 9, "automatic_renewal": False}
    ca = str(uuid.uuid4())
    strays = {
        "device": (device.uid, {"type": "device.bootstrap.v1", "body": device.last_bootstrap}),
        "ca": (ca, {"id": ca, "type": "ca.create.v1", "domain": domain, "body": body}),
    }
    for name, (key, envelope) in strays.items():
        envelope = {"id": str(uuid.uuid4()), "time": owners.rfc3339()} | envelope
        partition = (stack.partition(key) + 1) % stack.partitions
        stack.kafka.produce(f"fleetseal.{name}.requests", json.dumps(envelope).encode(), key, partition=partition)

    def dead(name):
        return [r for r in stack.kafka.read(f"fleetseal.{name}.requests.dlq") if r.key == strays[name][0].encode()]

    for name in strays:
        (record,) = harness.wait_until(lambda name=name: dead(name), what=f"the dead letter of the {name}")
        assert record.headers["code"] == "wrong_partition"
    assert {r.partition for r in stack.records("fleetseal.device.state", device.uid)} == {stack.partition(device.uid)}
    assert not stack.records("fleetseal.ca.state", ca)


def test_restart_goes_on_where_it_was(start_service, stack, kek, domain):
    first = start_service("ca-signer", replica=1, config=settings(kek))
    ca = stack.create_ca(domain)["result"]
    device = owners.Device(stack, stack.create_profile(domain, ca["id"]))
    device.installed()
    operation, _ = order_renewal(stack, device, domain)
    first.stop()
    stack.redis.cli("DEL", *[f"{{d{p}}}#" for p in range(stack.partitions)])
    start_service("ca-signer", replica=2, config=settings(kek))
    second = device.pickup(operation)["result"]
    assert device.confirm(operation, second["serial"])["status"] == 200
    assert len(installs_of(stack, device)) == 1


def test_killed_among_requests_signs_each_once(start_service, stack, kek, domain):
    first = start_service("ca-signer", config=settings(kek))
    ca = stack.create_ca(domain)["result"]
    profile = stack.create_profile(domain, ca["id"])
    devices = [owners.Device(stack, profile, f"SN-{i}") for i in range(60)]
    messages = {}
    for device in devices:
        payload = {"uid": device.uid, "install_nonce": owners.b64(device.nonce), "csr": device.csr(), "profile": profile}
        body = device.message("bootstrap", payload | {"serial": device.serial}, device.root)
        messages[device.uid] = (str(uuid.uuid4()), body)

    def send(batch):
        for device in batch:
            request, body = messages[device.uid]
            stack.send("fleetseal.device.requests", "device.bootstrap.v1", device.uid, body, request=request, actor="device")

    send(devices[:40])
    stack.answer(messages[devices[0].uid][0])
    first.kill()
    send(devices[40:])
    # Doors and devices repeat what they have no answer to.
    send(devices[20:])
    second = start_service("ca-signer", config=settings(kek))
    # What was written after the kill, at least, is the second one's.
    done = 'fleetseal_processor_requests_total{app="ca-signer.device"}'
    harness.wait_until(lambda: second.metrics()[done] >= 60, 60, "the repeated requests to be done")
    # What the first had committed when it died before it could reply is not done again: who waits for it asks once more.
    send([d for d in devices if not stack.wire("GET", f"g:r:{messages[d.uid][0]}")])
    answers = {d.uid: stack.answer(messages[d.uid][0], 60)["result"] for d in devices}
    signed = [r.json() for r in stack.kafka.read("fleetseal.certificates") if r.json().get("ca") == ca["id"]]
    assert sorted(r["uid"] for r in signed) == sorted(answers)
    assert {r["uid"]: r["serial"] for r in signed} == {uid: a["serial"] for uid, a in answers.items()}
    registered = [
        e.headers["ce_subject"]
        for e in stack.kafka.read("fleetseal.events")
        if e.headers["ce_type"].endswith("device.registered.v1") and e.headers["ce_subject"] in answers
    ]
    assert sorted(registered) == sorted(answers)


def test_csr_for_a_key_it_does_not_hold_is_refused(signer, stack, profile):
    device = owners.Device(stack, profile)
    csr = bytearray(owners.unb64(device.csr()))
    csr[-3] ^= 1
    answer = device.bootstrap(csr=owners.b64(bytes(csr)))
    assert (answer["status"], answer["type"]) == (422, "invalid_csr")
    answer = device.bootstrap(csr=device.csr(device.root))
    assert (answer["status"], answer["type"]) == (422, "invalid_csr")
    assert device.state() is None
    assert isinstance(owners.certificate(device.bootstrap()["result"]["certificate"]), x509.Certificate)
