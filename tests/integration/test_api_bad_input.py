"""Bad input at the operators' door: each a clear error in the one error shape, or a closed connection where HTTP itself is broken; and
the service serves on, without a leak (the programs run under ASan, and end with the test)."""

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import ssl
import time
import uuid

import harness
import pytest
from api_client import Gateway, check_error

UID = "00112233445566aa"


@pytest.fixture(scope="module")
def shared(session_folder, kafka, redis):
    """One gateway for all of them: what one test broke, the next would notice."""
    made = []

    def start(name, replica, config, **options):
        folder = session_folder / "bad-input"
        made.append(harness.Service(name, kafka, redis, folder, replica, config, **options))
        return made[-1]

    gateway = Gateway(start, session_folder / "bad-input", http__connections=64)
    gateway.customer, gateway.domain = gateway.new_domain("Bad input")
    yield gateway
    made[0].stop()


def served_domain(gateway):
    """Asked by another program: Python 3.13 leaves the error of a failed send in its thread's OpenSSL queue, and the next read of any
    connection that has to wait reports it. Seen without our server too; the packets showed that the server had ended nothing."""
    header = f"Authorization: Bearer {gateway.customer.token}"
    argv = ["--cacert", gateway.customer.session.verify, "-H", header, "-H", "Content-Type: application/json", "-d", "{}"]
    return json.loads(harness.run("curl", "-sS", "--max-time", "20", *argv, gateway.url + "/v1/domain/get").stdout)["DomainUID"]


@pytest.fixture
def gateway(shared):
    yield shared
    assert served_domain(shared) == shared.domain, "it must still serve"


AUTHORITY = {"Name": "x", "Subject": {"CommonName": "x"}, "Validity": "2y", "DeviceCertificateValidity": "90d"}
HOOK = {"URL": "https://example.com/", "Events": ["*"]}

BODIES = [
    # what, call, body as sent, status, type, field
    ("not JSON", "/v1/accesskey/create", "{", 400, "json_invalid", None),
    ("empty", "/v1/accesskey/create", "", 400, "missing_field", "Name"),
    ("an array", "/v1/accesskey/create", "[]", 400, "validation_error", None),
    ("a number", "/v1/accesskey/create", "7", 400, "validation_error", None),
    ("null", "/v1/accesskey/create", "null", 400, "validation_error", None),
    ("two documents", "/v1/accesskey/create", '{"Name":"a"}{"Name":"b"}', 400, "json_invalid", None),
    ("not UTF-8", "/v1/accesskey/create", b'{"Name":"\xff\xfe"}', 400, "json_invalid", None),
    ("a NUL", "/v1/accesskey/create", '{"Name":"a\\u0000b"}', 400, "json_invalid", None),
    ("a lone surrogate", "/v1/accesskey/create", '{"Name":"\\ud800"}', 400, "json_invalid", None),
    ("a key twice", "/v1/accesskey/create", '{"Name":"a","Name":"b"}', 400, "json_invalid", None),
    ("deep arrays", "/v1/accesskey/create", '{"Name":' + "[" * 1500 + "]" * 1500 + "}", None, "json_too_large", None),
    ("deep objects", "/v1/accesskey/create", '{"a":' * 500 + "1" + "}" * 500, None, "json_too_large", None),
    ("a member missing", "/v1/accesskey/create", "{}", 400, "missing_field", "Name"),
    ("an unknown member", "/v1/accesskey/create", '{"Name":"a","Colour":"red"}', 400, "unknown_field", "Colour"),
    ("another case", "/v1/accesskey/create", '{"name":"a"}', 400, "unknown_field", "name"),
    ("a number for a text", "/v1/accesskey/create", '{"Name":7}', 400, "validation_error", "Name"),
    ("null for a text", "/v1/accesskey/create", '{"Name":null}', 400, "validation_error", "Name"),
    ("an empty name", "/v1/accesskey/create", '{"Name":""}', 400, "validation_error", "Name"),
    ("a long name", "/v1/accesskey/create", json.dumps({"Name": "x" * 101}), 400, "validation_error", "Name"),
    ("a control character", "/v1/accesskey/create", '{"Name":"a\\u001b[2Jb"}', 400, "validation_error", "Name"),
    ("another control character", "/v1/accesskey/create", '{"Name":"a\\u009b2Jb"}', 400, "validation_error", "Name"),
    ("two lines", "/v1/ztp/rootca/create", json.dumps({**AUTHORITY, "Subject": {"CommonName": "a\nb"}}), 400, "validation_error", "Subject.CommonName"),
    ("nothing to see", "/v1/accesskey/create", '{"Name":"   "}', 400, "validation_error", "Name"),
    ("an empty duration", "/v1/ztp/rootca/create", json.dumps({**AUTHORITY, "RenewAhead": ""}), 400, "validation_error", "RenewAhead"),
    ("a text for a list", "/v1/device/whitelist/add", '{"Devices":"all"}', 400, "validation_error", "Devices"),
    ("an empty list", "/v1/device/whitelist/add", '{"Devices":[]}', 400, "validation_error", "Devices"),
    ("not a UID", "/v1/device/whitelist/add", '{"Devices":[{"RoTPublicUID":"00112233445566ag"}]}', 400, "validation_error", None),
    ("an unknown member within", "/v1/device/whitelist/add", '{"Devices":[{"UID":"%s"}]}' % UID, 400, "unknown_field", "Devices[0].UID"),
    ("not a key", "/v1/device/whitelist/add", '{"Devices":[{"RoTPublicUID":"%s","PublicKey":"AAAA"}]}' % UID, 400, "validation_error", "Devices[0].PublicKey"),
    ("a limit of text", "/v1/device/list", '{"Limit":"10"}', 400, "validation_error", "Limit"),
    ("a broken limit", "/v1/device/list", '{"Limit":2.5}', 400, "validation_error", "Limit"),
    ("an unknown order", "/v1/device/list", '{"Order":"UP"}', 400, "validation_error", "Order"),
    ("an unknown state", "/v1/device/list", '{"State":"happy"}', 400, "validation_error", "State"),
    ("not a time", "/v1/device/list", '{"ExpiresBefore":"tomorrow"}', 400, "validation_error", "ExpiresBefore"),
    ("ftp", "/v1/notification/webhook/create", json.dumps({**HOOK, "URL": "ftp://example.com/"}), 400, "validation_error", "URL"),
    ("a user in the URL", "/v1/notification/webhook/create", json.dumps({**HOOK, "URL": "https://a:b@example.com/"}), 400, "validation_error", "URL"),
    ("a port without a host", "/v1/notification/webhook/create", json.dumps({**HOOK, "URL": "https://:443/"}), 400, "validation_error", "URL"),
    ("a port beyond 65535", "/v1/notification/webhook/create", json.dumps({**HOOK, "URL": "https://example.com:65536/"}), 400, "validation_error", "URL"),
    ("a port of letters", "/v1/notification/webhook/create", json.dumps({**HOOK, "URL": "https://example.com:x/"}), 400, "validation_error", "URL"),
    ("an open bracket", "/v1/notification/webhook/create", json.dumps({**HOOK, "URL": "https://[::1/"}), 400, "validation_error", "URL"),
    ("a new line in the URL", "/v1/notification/webhook/create", json.dumps({**HOOK, "URL": "https://example.com/\r\nX: y"}), 400, "validation_error", "URL"),
    ("an unknown event", "/v1/notification/webhook/create", json.dumps({**HOOK, "Events": ["renewed"]}), 400, "validation_error", "Events[0]"),
    ("33 events", "/v1/notification/webhook/create", json.dumps({**HOOK, "Events": ["*"] * 33}), 400, "validation_error", "Events"),
    ("a device twice", "/v1/ztp/devicecertificate/renew", json.dumps({"RoTPublicUIDs": [UID, UID.upper()]}), 400, "validation_error", "RoTPublicUIDs"),
    ("validity of no unit", "/v1/ztp/devicecertificate/renew", json.dumps({"RoTPublicUIDs": [UID], "Validity": "365"}), 400, "validation_error", "Validity"),
    ("validity of ages", "/v1/ztp/devicecertificate/renew", json.dumps({"RoTPublicUIDs": [UID], "Validity": "999y"}), 400, "validation_error", "Validity"),
    ("not an id", "/v1/ztp/order/get", '{"OrderUID":"../../etc/passwd"}', 400, "validation_error", "OrderUID"),
    ("an id too long", "/v1/ztp/rootca/get", json.dumps({"RootCAUID": "a" * 5000}), 413, None, None),
]


@pytest.mark.parametrize("what,path,data,status,kind,field", BODIES, ids=[row[0].replace(" ", "-") for row in BODIES])
def test_body(gateway, what, path, data, status, kind, field):
    answer = gateway.customer.post(path, data=data)
    error = answer.json()
    check_error(answer, status or answer.status_code, kind or error["type"], field)
    assert 400 <= answer.status_code < 500
    if kind == "unknown_field":
        accepted = error["message"]
        assert "Name" in accepted or "RoTPublicUID" in accepted, "it must say what is accepted"


@pytest.mark.parametrize("path", ["/v1/device/whitelist/add", "/v1/ztp/devicecertificate/renew"])
def test_10001_devices(gateway, path):
    uids = [f"{i:016x}" for i in range(10001)]
    whitelist = path.endswith("add")
    body = {"Devices": [{"RoTPublicUID": u} for u in uids]} if whitelist else {"RoTPublicUIDs": uids}
    error = check_error(gateway.customer.post(path, body), 400, "validation_error", "Devices" if whitelist else "RoTPublicUIDs")
    assert "10000" in error["message"]


@pytest.mark.parametrize("path", ["/v1/accesskey/create", "/v1/device/whitelist/add"])
def test_10_megabytes(gateway, path):
    body = json.dumps({"Name": "x" * 10_000_000})
    try:
        answer = gateway.customer.post(path, data=body, check=False)
    except OSError:
        return  # it need not read 10 MB to say no
    check_error(answer, 413, answer.json()["type"])


def test_no_such_call(gateway):
    session = gateway.customer.session
    for method, path, status in (("POST", "/v1/device/destroy", 404), ("GET", "/v1/device/list", 405), ("POST", "/", 404)):
        answer = session.request(method, gateway.url + path, timeout=10)
        assert answer.status_code == status
        assert answer.json()["object"] == "error"


def test_content_type(gateway):
    answer = gateway.customer.post("/v1/accesskey/create", data="Name=x", headers={"Content-Type": "application/x-www-form-urlencoded"})
    check_error(answer, 415, answer.json()["type"])
    csv = {"Content-Type": "text/csv"}
    answer = gateway.customer.post("/v1/accesskey/create", data="x", headers=csv)
    check_error(answer, 415, answer.json()["type"])


# ---- credentials ----


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(key, algorithm="HS256", **claims):
    now = int(time.time())
    body = {"iss": "fleetseal", "sub": str(uuid.uuid4()), "dom": str(uuid.uuid4()), "token_use": "access"}
    body |= {"iat": now, "exp": now + 3600, "jti": str(uuid.uuid4())} | claims
    text = b64url(json.dumps({"alg": algorithm, "typ": "JWT"}, separators=(",", ":")).encode())
    text += "." + b64url(json.dumps(body, separators=(",", ":")).encode())
    return text + "." + b64url(hmac.new(key, text.encode(), hashlib.sha256).digest())


def test_tokens(gateway):
    key = gateway.files["token.key"].read_bytes()
    good = gateway.customer.token
    claims = json.loads(base64.urlsafe_b64decode(good.split(".")[1] + "=="))
    now = int(time.time())
    cases = [
        ("", "invalid_auth"),
        ("Bearer", "invalid_auth"),
        ("Bearer ", "invalid_auth"),
        ("Basic dXNlcjpwYXNz", "invalid_auth"),
        ("Bearer " + "x" * 3000, "invalid_auth"),
        (good[:-2], "invalid_auth"),
        (good[:-5] + "AAAAA", "invalid_auth"),
        (token(b"another key"), "invalid_auth"),
        (token(key, **{**claims, "exp": now - 1}), "token_expired"),
        (token(key, **{**claims, "token_use": "refresh"}), "invalid_auth"),
        (token(key, **{**claims, "iat": now + 7200, "exp": now + 9000}), "invalid_auth"),
        (token(key), "invalid_auth"),  # well signed, of an access key that does not exist
        (token(key, algorithm="none", **claims), "invalid_auth"),
        (gateway.operator_token[:-1], "invalid_auth"),
    ]
    for header, kind in cases:
        answer = gateway.client().post("/v1/domain/get", headers={"Authorization": header or None})
        check_error(answer, 401, kind)


def test_login(gateway):
    for body in ({"APIKey": "nobody", "APISecret": "x"}, {"APIKey": str(uuid.uuid4()), "APISecret": "x"}):
        check_error(gateway.client().post("/v1/authenticate", body), 401, "invalid_auth")
    check_error(gateway.client().post("/v1/authenticate", {"APIKey": "x"}), 400, "missing_field", "APISecret")


# ---- HTTP itself ----


class Raw:
    """Bytes over TLS, as no HTTP library would send them."""

    def __init__(self, gateway):
        context = ssl.create_default_context(cafile=str(gateway.ca))
        plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def all(self):
        """Everything until the server closes."""
        data = b""
        try:
            while part := self.socket.recv(65536):
                data += part
        except (ConnectionError, ssl.SSLError):
            pass
        return data


HEAD = b"POST /v1/authenticate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
        b"POST /v1/authenticate HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/authenticate HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"X: " + b"y" * 60000 + b"\r\nContent-Length: 2\r\n\r\n{}",
        b"\x16\x03\x01 not HTTP at all\r\n\r\n",
    ],
    ids=["two-lengths", "same-length-twice", "length-and-chunked", "gzip-chunked", "negative", "huge", "no-host", "two-hosts", "long-header", "noise"],
)
def test_broken_http(gateway, request_bytes):
    with Raw(gateway) as raw:
        # Refused and closed before all of it was sent: Python says EOF or reset, by its version and the moment.
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            raw.send(request_bytes)
        answer = raw.all()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert b"AuthToken" not in answer


def test_header_trickle(gateway):
    """A client that sends a header now and then is cut off, and keeps nobody from being served."""
    with Raw(gateway) as raw:
        raw.send(b"POST /v1/authenticate HTTP/1.1\r\nHost: localhost\r\n")
        begun = time.monotonic()
        raw.socket.settimeout(0.5)

        def cut_off():
            try:
                raw.send(b"X-Slow: y\r\n")
                return raw.socket.recv(1) == b""
            except TimeoutError:
                return False
            except (ConnectionError, ssl.SSLError):
                return True

        harness.wait_until(cut_off, 25, "the slow client to be cut off")
        assert time.monotonic() - begun < 20
        assert gateway.customer.ok("/v1/domain/get")


def test_one_address_does_not_take_all_connections(shared, start_service, work_folder):
    """Silent ones cost nothing to open, and each stays for the time that a handshake may take."""
    gateway = Gateway(start_service, work_folder, 2, shared, role="door", http__connections="48", http__connections_per_address="16")
    with contextlib.ExitStack() as silent:
        for _ in range(100):
            with contextlib.suppress(ConnectionError):  # a refused one may be reset before it is told that it was open
                silent.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 10, ("127.0.0.2", 0)))
        refused = 'http_connections_refused_total{server="api",reason="address"}'
        harness.wait_until(lambda: gateway.service.metrics()[refused] == 84)
        assert gateway.client(shared.customer.token).ok("/v1/domain/get")["DomainUID"] == shared.domain


def test_rate_limit(shared, start_service, work_folder):
    gateway = Gateway(start_service, work_folder, 1, shared, role="door", rate__requests="5", rate__burst="10")
    client = gateway.client(shared.customer.token)
    answers = [client.post("/v1/domain/get") for _ in range(30)]
    limited = [a for a in answers if a.status_code == 429]
    assert limited and all(int(a.headers["Retry-After"]) >= 1 for a in limited)
    check_error(limited[0], 429, "rate_limited")
    # another credential is not held up by it
    assert gateway.operator.post("/v1/domain/list").status_code == 200
