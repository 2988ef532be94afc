"""The device door alone, on real Kafka and Redis, with a fake owner behind it. What would break a user: a door that a hostile or
broken device can stop, wait out or fill; a refusal that does not say what to do; a device that is told "done" or "never" when
neither is known; an identity that is believed without its key."""

import base64
import datetime
import ipaddress
import json
import os
import signal
import socket
import ssl
import time
import uuid

import contract
import device_door
import harness
import owners
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from device_door import OPERATION, RESULTS, SERIAL, success

SIGNED = ["bootstrap", "pickup", "confirm"]
DEADLINE_S = 1
HEADER_TIMEOUT_S = 10


class Rig:
    """One door with its backends, and devices for it."""

    def __init__(self, folder, kafka, redis):
        self.folder = folder
        self.kafka = kafka
        self.redis = redis
        self.owners = owners.Owners(kafka, redis)
        self.port = harness.free_port()
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        self.server_ca, server_key = device_door.write_pem(
            folder, "server", key, device_door.self_signed(key, "door", san=names)
        )
        ratchet = folder / "ratchet.key"
        ratchet.write_bytes(os.urandom(32).hex().encode())
        self.config = {
            "device.listen": f"127.0.0.1:{self.port}",
            "device.tls_certificate": self.server_ca,
            "device.tls_key": server_key,
            "device.server_ca": self.server_ca,
            "device.ratchet_key_file": ratchet,
            "device.exchange_deadline": f"{DEADLINE_S}s",
        }

    def start(self, **more):
        return harness.Service("heartbeat-ingest", self.kafka, self.redis, self.folder, config={**self.config, **more})

    def device(self, **how):
        return device_door.Device(self.folder, self.server_ca, self.port, **how)

    def known(self, flood_s=60, **changes):
        """A device that its owner (who is not here) has put into the view."""
        device = self.device()
        record = contract.load(contract.GOLDEN / "device.v1" / "idle.json") | {"uid": device.uid, "rot_key": owners.b64(device.spki)}
        record |= {"settings": {"heartbeat_interval_s": 3600, "flood_interval_s": flood_s}} | changes
        value = harness.run(harness.program("fleetseal-view-value"), stdin=json.dumps(record)).stdout
        partition = self.owners.partition(device.uid)
        self.owners.wire("SET", f"{{d{partition}}}:".encode() + bytes.fromhex(device.uid), bytes.fromhex(value))
        return device


@pytest.fixture(scope="module")
def rig(session_folder):
    folder = session_folder / "device-door"
    folder.mkdir()
    kafka = harness.Kafka(folder / "kafka").start()
    redis = harness.Redis(folder / "redis").start()
    try:
        kafka.topics()
        rig = Rig(folder, kafka, redis)
        rig.owners.view_is_current("d", "fleetseal.device.state")
        yield rig
    finally:
        redis.stop()
        kafka.stop()


@pytest.fixture(scope="module")
def door(rig):
    """The one most tests use: what is left of it must stop in time, with nothing leaked."""
    service = rig.start()
    yield service
    service.stop()


@pytest.fixture
def owner(rig):
    fake = device_door.FakeOwner(rig.kafka, rig.redis)
    yield fake
    fake.stop()


@pytest.fixture(autouse=True)
def still_serving(rig, request):
    """Whatever a test did: afterwards the door answers somebody else."""
    yield
    if "door" in request.fixturenames:
        assert rig.device().heartbeat(sequence="1").status == 409


def assert_error(answer, status, kind, field=None):
    """The one error shape; the text says something."""
    assert answer is not None, "the door closed without an answer"
    assert answer.headers["Content-Type"] == "application/json"
    error = answer.json()
    assert (answer.status, error["type"]) == (status, kind), error
    assert error["object"] == "error" and error["code"] == status and error["message"]
    assert uuid.UUID(error["request_id"])
    if field is not None:
        assert [f["field"] for f in error["fields"]] == [field], error
    return error


def assert_broken_off(answer):
    """What broken HTTP gets: an answer of 400 that ends the connection, or its end only. What libmicrohttpd refuses by itself it
    says in its own words; since 1.0 that is, among others, a request without Host."""
    if answer is not None:
        assert answer.status in (400, 501) and answer.headers["Connection"].lower() == "close"
        if answer.headers["Content-Type"] == "application/json":
            assert_error(answer, answer.status, answer.json()["type"])


def payload_of(device, exchange, **changes):
    if exchange == "bootstrap":
        return device.bootstrap_payload(**changes)
    if exchange == "pickup":
        return {"operation": OPERATION} | changes
    return {"operation": OPERATION, "serial": SERIAL, "key": owners.b64(device.spki)} | changes


# ---- bodies ----

NOT_JSON = [b"", b"{", b"nonsense", b'{"uid":}', b"\xff\xfe", b'{"uid":"a"} trailing', b"{'uid': 1}", b'{"uid":"\x01"}', b"\x00" * 64]
DEEP = b'{"a":' * 2000 + b"1" + b"}" * 2000


@pytest.mark.parametrize("path", [*SIGNED, "heartbeat"])
@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
def test_malformed_json(door, rig, path, body):
    device = rig.device()
    answer = device.post(f"/v1/device/{path}", body, device.signature(path, body))
    assert answer.status == 400
    assert_error(answer, 400, answer.json()["type"])


@pytest.mark.parametrize("path", SIGNED)
def test_deeply_nested_json(door, rig, path):
    device = rig.device()
    error = device.post(f"/v1/device/{path}", DEEP[:8000], device.signature(path, DEEP[:8000]))
    assert error.status in (400, 413)
    assert_error(error, error.status, error.json()["type"])


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"text"', b"true"])
@pytest.mark.parametrize("path", [*SIGNED, "heartbeat"])
def test_body_that_is_no_object(door, rig, path, body):
    device = rig.device()
    assert_error(device.post(f"/v1/device/{path}", body, device.signature(path, body)), 400, "validation_error")


BAD_FIELDS = [
    ("bootstrap", {"uid": 7}, "validation_error", "uid"),
    ("bootstrap", {"uid": None}, "validation_error", "uid"),
    ("bootstrap", {"install_nonce": "c2hvcnQ="}, "validation_error", "install_nonce"),
    ("bootstrap", {"install_nonce": [1]}, "validation_error", "install_nonce"),
    ("bootstrap", {"profile": "too-short"}, "validation_error", "profile"),
    ("bootstrap", {"serial": "with spaces"}, "validation_error", "serial"),
    ("bootstrap", {"csr": "not base64!"}, "validation_error", "csr"),
    ("bootstrap", {"model": "m" * 65}, "validation_error", "model"),
    ("pickup", {"operation": 5}, "validation_error", "operation"),
    ("pickup", {"operation": "no uuid"}, "validation_error", "operation"),
    ("pickup", {"csr": {}}, "validation_error", "csr"),
    ("confirm", {"serial": "zz"}, "validation_error", "serial"),
    ("confirm", {"key": "%%%"}, "validation_error", "key"),
    ("confirm", {"operation": ""}, "validation_error", "operation"),
]


@pytest.mark.parametrize("exchange,changes,kind,field", BAD_FIELDS)
def test_wrong_field_of_an_exchange(door, rig, owner, exchange, changes, kind, field):
    """Refused at once: an owner could only put such a message aside, and the device would never learn why."""
    device = rig.device()
    assert_error(device.exchange(exchange, payload_of(device, exchange, **changes)), 400, kind, field)
    assert owner.of(device) == []


@pytest.mark.parametrize(
    "exchange,field", [("bootstrap", "uid"), ("bootstrap", "install_nonce"), ("pickup", "operation"), ("confirm", "key")]
)
def test_missing_field_of_an_exchange(door, rig, owner, exchange, field):
    device = rig.device()
    payload = payload_of(device, exchange)
    del payload[field]
    assert_error(device.exchange(exchange, payload), 400, "missing_field", field)
    assert owner.of(device) == []


def test_field_of_tomorrow_passes(door, rig, owner):
    """A newer device behind an older door: what is signed is handed on untouched."""
    device = rig.device()
    payload = device.bootstrap_payload(battery=0.5)
    assert device.exchange("bootstrap", payload).status == 200
    signed = owner.of(device)[0].json()["body"]["signed"]
    assert json.loads(base64.b64decode(signed["payload"])) == payload


BAD_BEATS = [
    ({}, "missing_field", "sequence"),
    ({"sequence": 1}, "validation_error", "sequence"),
    ({"sequence": "0"}, "validation_error", "sequence"),
    ({"sequence": "-1"}, "validation_error", "sequence"),
    ({"sequence": "1.5"}, "validation_error", "sequence"),
    ({"sequence": "9" * 30}, "validation_error", "sequence"),
    ({"sequence": "1", "token": "!!"}, "validation_error", "token"),
    ({"sequence": "1", "installed": "abc"}, "validation_error", "installed"),
    ({"sequence": "1", "result": []}, "validation_error", "result"),
    ({"sequence": "1", "result": {"operation": OPERATION, "status": "fine", "reason": "x"}}, "validation_error", "result.status"),
    ({"sequence": "1", "result": {"operation": OPERATION, "status": "failed"}}, "missing_field", "result.reason"),
    ({"sequence": "1", "colour": "red"}, "unknown_field", "colour"),
]


@pytest.mark.parametrize("body,kind,field", BAD_BEATS, ids=[f"{k}-{f}" for _, k, f in BAD_BEATS[:3]] + list(map(str, range(9))))
def test_wrong_field_of_a_heartbeat(door, rig, body, kind, field):
    assert_error(rig.device().heartbeat(**body), 400, kind, field)


# ---- HTTP itself ----


@pytest.mark.parametrize("path", [*SIGNED, "heartbeat"])
def test_body_of_10_megabytes(door, rig, path):
    assert_error(rig.device().post(f"/v1/device/{path}", b"x" * 10_000_000), 413, "too_large")


def test_chunked_body_over_the_limit(door, rig):
    head = b"POST /v1/device/heartbeat HTTP/1.1\r\nHost: door\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert_error(rig.device().send(head + b"1000\r\n" + b"x" * 4096 + b"\r\n0\r\n\r\n"), 413, "too_large")


def test_chunked_body_that_never_ends(door, rig):
    """Such a body tells its size last: up to 32 MiB are dropped for the sake of an answer, then the door hangs up."""
    device = rig.device()
    with device.connect() as connection:
        connection.sendall(
            b"POST /v1/device/heartbeat HTTP/1.1\r\nHost: door\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        sent = 0
        try:
            while sent < 128 << 20:
                connection.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                sent += 0x4000
        except (OSError, ssl.SSLError):
            pass
    assert sent < 64 << 20


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content-Length: 2\r\nContent-Length: 40\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 2, 2\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Host: other\r\nContent-Length: 2\r\n",
    ],
)
def test_ambiguous_framing(door, rig, head):
    """Never a second request inside the body."""
    text = f"POST /v1/device/heartbeat HTTP/1.1\r\nHost: door\r\nContent-Type: application/json\r\n{head}\r\n{{}}"
    answer = rig.device().send(text.encode() + b"GET /smuggled HTTP/1.1\r\nHost: door\r\n\r\n")
    assert_broken_off(answer)


def test_without_host(door, rig):
    head = b"POST /v1/device/heartbeat HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    assert_broken_off(rig.device().send(head))


def test_headers_of_a_megabyte(door, rig):
    answer = rig.device().send(b"POST /v1/device/heartbeat HTTP/1.1\r\nHost: door\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n")
    assert answer is None or answer.status in (400, 413, 431)


def test_header_trickle(door, rig):
    """A byte now and then keeps nobody's connection open beyond the limit for headers."""
    device = rig.device()
    with device.connect() as connection:
        connection.settimeout(0.25)
        begin = time.monotonic()
        connection.sendall(b"POST /v1/device/heartbeat HTTP/1.1\r\nHost: door\r\nX-Slow: ")
        while time.monotonic() < begin + HEADER_TIMEOUT_S + 10:
            try:
                connection.sendall(b"a")
                if connection.recv(4096) == b"":
                    break
            except TimeoutError:
                continue
            except (OSError, ssl.SSLError):
                break
        assert time.monotonic() - begin < HEADER_TIMEOUT_S + 5


def test_silence_instead_of_tls(door, rig):
    with socket.create_connection(("127.0.0.1", rig.port), timeout=HEADER_TIMEOUT_S + 5) as connection:
        assert connection.recv(1) == b""


def test_plain_http(door, rig):
    with socket.create_connection(("127.0.0.1", rig.port), timeout=HEADER_TIMEOUT_S) as connection:
        connection.sendall(b"POST /v1/device/heartbeat HTTP/1.1\r\nHost: door\r\n\r\n" * 20)
        assert not connection.recv(4096).startswith(b"HTTP/1.1 2")


@pytest.mark.parametrize(
    "method,path,status,kind",
    [
        ("GET", "/v1/device/heartbeat", 405, "method_not_allowed"),
        ("PUT", "/v1/device/bootstrap", 405, "method_not_allowed"),
        ("POST", "/v1/device/heartbeats", 404, "not_found"),
        ("POST", "/v1/device/../device/heartbeat", 404, "not_found"),
        ("POST", "/", 404, "not_found"),
        ("POST", "/metrics", 404, "not_found"),
    ],
)
def test_other_paths_and_methods(door, rig, method, path, status, kind):
    answer = rig.device().send(f"{method} {path} HTTP/1.1\r\nHost: door\r\nContent-Length: 0\r\n\r\n".encode())
    assert answer.status in (status, 400)
    assert_error(answer, answer.status, kind if answer.status == status else answer.json()["type"])


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", None])
def test_other_content_types(door, rig, content_type):
    answer = rig.device().post("/v1/device/heartbeat", {"sequence": "1"}, content_type=content_type)
    assert_error(answer, 415, "unsupported_media_type")


# ---- who is there ----


def test_client_without_certificate(door, rig):
    try:
        answer = rig.device(anonymous=True).heartbeat(sequence="1")
    except (ssl.SSLError, ConnectionError):
        return
    assert answer is None or assert_error(answer, 401, answer.json()["type"])


def other_keys():
    p256 = ec.generate_private_key(ec.SECP256R1())
    maker = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    yield "rsa", rsa.generate_private_key(65537, 2048), None
    yield "p384", ec.generate_private_key(ec.SECP384R1()), None
    yield "issued-by-a-stranger", p256, device_door.self_signed(p256, signer=maker, issuer=issuer)
    yield "self-issued-by-another-key", p256, device_door.self_signed(p256, signer=maker)


@pytest.mark.parametrize("key,certificate", [pytest.param(k, c, id=i) for i, k, c in other_keys()])
def test_certificate_that_is_no_identity(door, rig, key, certificate):
    answer = rig.device(key=key, certificate=certificate).heartbeat(sequence="1")
    assert_error(answer, 401, "client_certificate_invalid")
    assert answer.headers["Connection"] == "close"


def issued(key, name, issuer=None, days=30):
    """A certificate for `key` that ends in `days`; `issuer` is (key, certificate), None makes a CA."""
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[1].subject if issuer else subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - 2 * device_door.MONTH).not_valid_after(now + datetime.timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), True)
    return builder.sign(issuer[0] if issuer else key, hashes.SHA256())


def test_manufacturers_certificate(rig, work_folder):
    """The key is the identity: a device outlives the certificate its factory gave it, and the factory's CA."""
    makers = {days: ec.generate_private_key(ec.SECP256R1()) for days in (30, -1)}
    cas = {days: issued(key, f"maker {days}", days=days) for days, key in makers.items()}
    file = work_folder / "makers.pem"
    file.write_bytes(b"".join(ca.public_bytes(serialization.Encoding.PEM) for ca in cas.values()))
    other = Rig(work_folder, rig.kafka, rig.redis)
    service = other.start(**{"device.manufacturers_file": file})
    try:
        for maker, days in [(30, 30), (30, -1), (-1, -1)]:
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = issued(key, "device", (makers[maker], cas[maker]), days)
            assert_error(other.device(key=key, certificate=certificate).heartbeat(sequence="1"), 409, "not_bootstrapped")
        key, stranger = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        certificate = issued(key, "device", (stranger, cas[30]))
        assert_error(other.device(key=key, certificate=certificate).heartbeat(sequence="1"), 401, "client_certificate_invalid")
    finally:
        service.stop()


def test_ed25519_is_no_root_of_trust(door, rig):
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "device")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    certificate = builder.not_valid_before(now - device_door.MONTH).not_valid_after(now + device_door.MONTH).sign(key, None)
    try:
        answer = rig.device(key=key, certificate=certificate).heartbeat(sequence="1")
    except (ssl.SSLError, ConnectionError):
        return
    assert answer is None or assert_error(answer, 401, "client_certificate_invalid")


def test_uid_of_another_key(door, rig, owner):
    device, other = rig.device(), rig.device()
    assert_error(device.exchange("bootstrap", device.bootstrap_payload(uid=other.uid)), 403, "uid_mismatch", "uid")
    assert owner.of(device) == owner.of(other) == []


# ---- signed exchanges ----

BAD_SIGNATURES = ["", "v1", "v1 1", "v2 1 AAAA", "v1 0 AAAA", "v1 -1 AAAA", "v1 01 AAAA", "v1 1 !!!!", "v1 1 AAAA extra", "v1 1 "]
BAD_SIGNATURES += ["v1 9007199254740992 AAAA", "v1 12345678901234567 AAAA", "v1 99999999999999999999 AAAA", "v1 1 " + "AAAA" * 200]


@pytest.mark.parametrize("value", BAD_SIGNATURES, ids=range(len(BAD_SIGNATURES)))
def test_signature_header_of_another_form(door, rig, value):
    device = rig.device()
    answer = device.post("/v1/device/bootstrap", device.bootstrap_payload(), {"Fleetseal-Signature": value})
    assert answer.status == 400
    assert answer.json()["type"] in ("signature_invalid", "signature_missing")
    assert_error(answer, 400, answer.json()["type"], "Fleetseal-Signature")


@pytest.mark.parametrize("exchange", SIGNED)
def test_with_two_signatures(door, rig, exchange):
    """Which one counts must not depend on who reads: whatever stands between the device and the door could take the other."""
    device = rig.device()
    payload = json.dumps(payload_of(device, exchange)).encode()
    headers = [*device.signature(exchange, payload).items(), ("fleetseal-signature", "v1 1 AAAA")]
    assert_error(device.post(f"/v1/device/{exchange}", payload, headers), 400, "bad_request", "Fleetseal-Signature")


def test_with_a_query(door, rig):
    device = rig.device()
    answer = device.post("/v1/device/heartbeat?verbose=1", {"sequence": "1"})
    assert_error(answer, 400, "unknown_field", "verbose")


@pytest.mark.parametrize("exchange", SIGNED)
def test_without_signature(door, rig, exchange):
    device = rig.device()
    answer = device.post(f"/v1/device/{exchange}", payload_of(device, exchange))
    assert_error(answer, 400, "signature_missing", "Fleetseal-Signature")


@pytest.mark.parametrize("exchange", SIGNED)
def test_exchange_reaches_its_owner_as_the_contract_says(door, rig, owner, exchange):
    device = rig.device()
    payload = payload_of(device, exchange)
    answer = device.exchange(exchange, payload)
    assert answer.status == 200
    expected = RESULTS[exchange] | ({"server_ca": rig.server_ca.read_text()} if exchange == "bootstrap" else {})
    assert answer.json() == expected
    (record,) = owner.of(device)
    assert contract.Contract().problems(record) == []
    assert record.partition == rig.owners.partition(device.uid)
    signed = record.json()["body"]["signed"]
    assert signed["sequence"] == "1" and json.loads(base64.b64decode(signed["payload"])) == payload
    assert base64.b64decode(record.json()["body"]["rot_key"]) == device.spki


def test_refusal_of_the_owner_is_passed_on(door, rig, owner):
    field = {"field": "sequence", "message": "must be above 17"}
    owner.answer = lambda e: {"status": 409, "type": "stale_sequence", "message": "must be above 17", "fields": [field]}
    device = rig.device()
    error = assert_error(device.exchange("pickup", payload_of(device, "pickup")), 409, "stale_sequence", "sequence")
    assert error["fields"] == [field]


def test_owner_that_asks_for_patience(door, rig, owner):
    owner.answer = lambda e: {"status": 503, "type": "try_again", "message": "repeat the request"}
    device = rig.device()
    answer = device.exchange("pickup", payload_of(device, "pickup"))
    assert_error(answer, 503, "try_again")
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("reply", [{"status": 700}, {"status": "ok"}, {}])
def test_owner_that_talks_nonsense(door, rig, owner, reply):
    owner.answer = lambda e: reply
    device = rig.device()
    assert_error(device.exchange("pickup", payload_of(device, "pickup")), 500, "internal_error")


@pytest.mark.parametrize("exchange", SIGNED)
def test_owner_that_is_late(door, rig, owner, exchange):
    """202: not known yet. The same message again is the same request, and gets the answer that came meanwhile."""
    owner.answer = lambda envelope: None
    device = rig.device()
    payload = json.dumps(payload_of(device, exchange)).encode()
    operation = OPERATION if exchange != "bootstrap" else "-"
    header = device.signature(exchange, payload, operation)
    begin = time.monotonic()
    first = device.post(f"/v1/device/{exchange}", payload, header)
    assert first.status == 202 and int(first.headers["Retry-After"]) > 0
    assert DEADLINE_S - 0.1 < time.monotonic() - begin < DEADLINE_S + 5
    assert first.json()["status"] == "pending" and first.json().get("operation", "-") == operation
    (record,) = owner.of(device)
    owner.answer = success
    owner.say(record.json(), success(record.json()))
    again = device.post(f"/v1/device/{exchange}", payload, header)
    assert (again.status, again.json() | RESULTS[exchange]) == (200, again.json())
    assert {r.json()["id"] for r in owner.of(device)} == {record.json()["id"]}


# ---- heartbeats ----


def test_heartbeat_before_bootstrap(door, rig):
    assert_error(rig.device().beat(), 409, "not_bootstrapped")


def test_idle_heartbeat(door, rig):
    device = rig.known()
    answer = device.beat(installed=SERIAL)
    assert answer.status == 200, answer.body
    body = answer.json()
    assert body["work"] is None
    assert body["settings"] == {"heartbeat_interval_s": 3600, "flood_interval_s": 60}
    assert 3240 <= body["next_heartbeat_s"] <= 3600
    assert len(base64.b64decode(body["token"])) == 32
    checker = contract.Contract()
    records = harness.wait_until(lambda: [r for r in rig.kafka.read("fleetseal.heartbeats") if r.key == device.uid.encode()])
    assert [p for r in records for p in checker.problems(r)] == []
    assert records[-1].json()["installed"] == SERIAL


def test_heartbeat_that_brings_work(door, rig):
    renewing = contract.load(contract.GOLDEN / "device.v1" / "renewing.json")
    device = rig.known(operation=renewing["operation"] | {"state": "queued"})
    assert device.beat().json()["work"] == {"operation": renewing["operation"]["id"], "kind": "renew", "new_key": False}


@pytest.mark.parametrize("state", ["registered", "allocated", "suspended", "decommissioned"])
def test_device_that_is_not_active_gets_no_work(door, rig, state):
    renewing = contract.load(contract.GOLDEN / "device.v1" / "renewing.json")
    device = rig.known(state=state, operation=renewing["operation"] | {"state": "queued"})
    assert device.beat().json()["work"] is None


def test_same_heartbeat_again_gets_the_same_answer(door, rig):
    device = rig.known()
    first = device.beat()
    again = device.heartbeat(sequence=str(device.sequence))
    assert (first.status, again.status) == (200, 200)
    stable = ("work", "settings")
    assert {k: first.json()[k] for k in stable} == {k: again.json()[k] for k in stable}


def test_flood(door, rig):
    device = rig.known(flood_s=60)
    assert device.beat().status == 200
    harness.wait_until(lambda: device.beat().status == 429, what="the profile's interval to be in force")
    answer = device.beat()
    assert_error(answer, 429, "heartbeat_too_early")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


def test_flood_passes_pickup_and_confirm(door, rig, owner):
    device = rig.known(flood_s=60)
    assert device.beat().status == 200
    harness.wait_until(lambda: device.beat().status == 429)
    assert device.exchange("pickup", payload_of(device, "pickup")).status == 200
    assert device.exchange("confirm", payload_of(device, "confirm")).status == 200


def test_stale_sequence(door, rig):
    device = rig.known(flood_s=0)
    assert device.heartbeat(sequence="10").status == 200
    assert_error(device.heartbeat(sequence="9"), 409, "stale_sequence")
    assert device.heartbeat(sequence="11").status == 200


def forks(door):
    return door.metrics()['fleetseal_ratchet_total{verdict="fork"}']


def test_ratchet_follows_and_a_lost_answer_is_no_clone(door, rig):
    device = rig.known(flood_s=0)
    before = forks(door)
    token = device.beat().json()["token"]
    token = device.beat(token=token).json()["token"]
    lost = device.beat(token=token).json()["token"]
    assert lost != token
    assert device.beat(token=token).status == 200
    assert forks(door) == before


def test_ratchet_tells_a_copy(door, rig, owner):
    device = rig.known(flood_s=0)
    before = forks(door)
    first = device.beat().json()["token"]
    token = device.beat(token=first).json()["token"]
    for _ in range(2):
        token = device.beat(token=token).json()["token"]
    assert forks(door) == before
    assert owner.of(device) == []
    assert device.beat(token=first).status == 200
    assert forks(door) == before + 1
    (record,) = harness.wait_until(lambda: owner.of(device))
    assert contract.Contract().problems(record) == []
    assert record.json()["type"] == "device.fork.v1"
    assert record.json()["body"] == {"sequence": str(device.sequence), "token": "other"}


def test_guards_come_back_as_the_last_heartbeat_left_them(door, rig):
    """The log holds several heartbeats of a device; after a loss of Redis an older one would make the next one a fork."""
    device = rig.known(flood_s=0)
    before, rebuilt = forks(door), door.metrics()["fleetseal_guard_rebuilds_total"]
    token = device.beat().json()["token"]
    for _ in range(3):
        token = device.beat(token=token).json()["token"]
    logged = lambda: sum(r.key == device.uid.encode() for r in rig.kafka.read("fleetseal.heartbeats"))  # noqa: E731
    harness.wait_until(lambda: logged() == 4, what="all heartbeats to be in the log")
    rig.owners.wire("DEL", b"g:h:" + bytes.fromhex(device.uid), "g:h#")
    harness.wait_until(lambda: door.metrics()["fleetseal_guard_rebuilds_total"] > rebuilt)
    assert_error(device.heartbeat(sequence=str(device.sequence - 1), token=token), 409, "stale_sequence")
    assert device.beat(token=token).status == 200
    assert forks(door) == before


def test_fork_is_reported_once_for_each_heartbeat_that_shows_it(door, rig, owner):
    """Not for a repeat, nor for one that is refused. A device without any token, once it had one, is off its line too."""
    device = rig.known(flood_s=0)
    token = device.beat().json()["token"]
    assert device.beat(token=token).status == 200
    for _ in range(2):
        assert device.heartbeat(sequence="50").status == 200
    assert device.heartbeat(sequence="49").status == 409
    harness.wait_until(lambda: owner.of(device))
    probe = rig.known()
    assert probe.exchange("pickup", payload_of(probe, "pickup")).status == 200
    assert [r.json()["body"] for r in owner.of(device)] == [{"sequence": "50", "token": "none"}]


@pytest.mark.parametrize("token", [b"x", b"\0" * 32, os.urandom(32), b"y" * 64])
def test_token_of_another_making(door, rig, token):
    assert_error(rig.known().beat(token=owners.b64(token)), 403, "bad_token", "token")


def test_token_of_another_device(door, rig):
    token = rig.known().beat().json()["token"]
    assert_error(rig.known().beat(token=token), 403, "bad_token", "token")


FAILED = {"operation": OPERATION, "status": "failed", "reason": "storage_full"}


def test_failure_is_reported_to_the_owner(door, rig, owner):
    device = rig.known(flood_s=0)
    assert device.beat(result=FAILED).status == 200
    (record,) = harness.wait_until(lambda: owner.of(device))
    assert contract.Contract().problems(record) == []
    assert record.json()["body"] == {"operation": OPERATION, "reason": "storage_full"}


def test_failure_counts_once_for_each_heartbeat_that_says_it(door, rig, owner):
    device = rig.known(flood_s=0)
    for _ in range(2):
        assert device.beat(result=FAILED).status == 200
        assert device.heartbeat(sequence=str(device.sequence), result=FAILED).status == 200
    assert device.exchange("pickup", payload_of(device, "pickup")).status == 200
    failed = [r.json()["id"] for r in owner.of(device) if r.json()["type"] == "device.failed.v1"]
    assert len(failed) == len(set(failed)) == 2


@pytest.mark.parametrize("case", ["flood", "stranger", "stale"])
def test_refused_heartbeat_reports_nothing(door, rig, owner, case):
    """Otherwise anybody could fill the owners' topic through the one exchange that is not signed."""
    device = rig.device() if case == "stranger" else rig.known(flood_s=0 if case == "stale" else 60)
    device.sequence = 10
    device.beat()
    if case == "flood":
        harness.wait_until(lambda: device.beat().status == 429)
    refused = device.heartbeat(sequence="3" if case == "stale" else "99", result=FAILED)
    assert refused.status in (409, 429)
    probe = rig.device()
    assert probe.exchange("bootstrap", probe.bootstrap_payload()).status == 200
    harness.wait_until(lambda: owner.of(probe))
    assert owner.of(device) == []


def test_view_that_is_being_rebuilt(door, rig):
    device = rig.known()
    mark = f"{{d{rig.owners.partition(device.uid)}}}#"
    held = rig.owners.wire("HGET", mark, "log"), rig.owners.wire("HGET", mark, "off")
    rig.owners.wire("DEL", mark)
    try:
        answer = device.beat()
        assert_error(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    finally:
        rig.owners.wire("HSET", mark, "log", held[0], "off", held[1])
    assert device.beat().status == 200


def test_view_that_is_rebuilt_in_part(door, rig):
    """A device that is not there yet must not be sent into a new bootstrap."""
    known, other = rig.known(), rig.device()
    marks = {f"{{d{rig.owners.partition(d.uid)}}}#" for d in (known, other)}
    try:
        for mark in marks:
            rig.owners.wire("HSET", mark, "part", "1")
        answer = other.beat()
        assert_error(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert known.beat().status == 200
    finally:
        for mark in marks:
            rig.owners.wire("HDEL", mark, "part")
    assert_error(other.beat(), 409, "not_bootstrapped")


# ---- coming and going ----


def test_redis_goes_and_comes_back(rig, make_redis, work_folder):
    redis = make_redis()
    away = Rig(work_folder, rig.kafka, redis)
    away.owners.view_is_current("d", "fleetseal.device.state")
    device = away.known(flood_s=0)
    service = away.start()
    try:
        assert device.beat().status == 200
        redis.stop()
        answer = device.beat()
        assert_error(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert device.exchange("pickup", payload_of(device, "pickup")).status in (202, 503)
        redis.start()
        owners_again = owners.Owners(rig.kafka, redis)
        owners_again.view_is_current("d", "fleetseal.device.state")
        harness.wait_until(lambda: away.known().beat().status in (200, 409, 503))
        away.owners = owners_again
        later = away.known(flood_s=0)
        harness.wait_until(lambda: later.beat().status == 200, 30, "heartbeats to be answered again")
    finally:
        service.stop()


def test_sigterm_ends_with_an_exchange_waiting(rig, work_folder):
    """Within 10 s, and the device that waits is told something."""
    other = Rig(work_folder, rig.kafka, rig.redis)
    service = other.start(**{"device.exchange_deadline": "30s"})
    device = other.device()
    with device.connect() as connection:
        payload = json.dumps(device.bootstrap_payload()).encode()
        head = "".join(f"{k}: {v}\r\n" for k, v in device.signature("bootstrap", payload).items())
        connection.sendall(
            f"POST /v1/device/bootstrap HTTP/1.1\r\nHost: door\r\nContent-Type: application/json\r\n{head}"
            f"Content-Length: {len(payload)}\r\n\r\n".encode()
            + payload
        )
        harness.wait_until(lambda: service.metrics()['fleetseal_device_exchanges_total{kind="bootstrap"}'] == 1)
        begin = time.monotonic()
        service.signal(signal.SIGTERM)
        answer = device_door.read_answer(connection)
        assert answer is not None and answer.status in (202, 503)
    assert service.wait(10 - (time.monotonic() - begin)) == 0
    service.check_clean()


def test_second_sigterm_ends_at_once(rig, work_folder):
    other = Rig(work_folder, rig.kafka, rig.redis)
    service = other.start()
    idle = other.device().connect()
    service.signal(signal.SIGSTOP)
    service.signal(signal.SIGTERM)
    begin = time.monotonic()
    service.signal(signal.SIGCONT)
    harness.wait_until(lambda: service.logs(event="stopping") or not service.running, 5)
    service.signal(signal.SIGTERM)
    service.wait(10)
    idle.close()
    assert time.monotonic() - begin < 5
    service.check_clean()
