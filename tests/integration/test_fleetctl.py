"""The operator's command line against the real API: login, every group, JSON for scripts, exit codes by class."""

import json
import os
import secrets
import stat
import time
import uuid

import harness
import pytest
from api_client import Gateway
from fake_api import DROP, FakeApi


@pytest.fixture
def gateway(start_service, work_folder):
    kek = work_folder / "ca.kek"
    kek.write_bytes(secrets.token_bytes(32))
    kek.chmod(0o600)
    start_service("ca-signer", config={"keystore.kek_file": kek})
    start_service("scheduler")
    return Gateway(start_service, work_folder)


class Fleetctl:
    def __init__(self, gateway, folder, operator=False):
        self.home = folder / f"home-{uuid.uuid4().hex[:6]}"
        self.home.mkdir()
        self.env = {
            "FLEETSEAL_API": gateway.url,
            "FLEETSEAL_SERVER_CA": str(gateway.ca),
            "FLEETSEAL_OPERATOR_TOKEN_FILE": str(gateway.files["operator.token"]) if operator else "",
            "FLEETSEAL_DOMAIN": "",
            "XDG_CONFIG_HOME": str(self.home),
        }

    def run(self, *argv, status=0, stdin=None):
        done = harness.run(harness.program("fleetctl"), *argv, env=self.env, check=False, stdin=stdin)
        assert done.returncode == status, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Sanitizer" not in done.stderr, done.stderr
        return done

    def json(self, *argv, status=0, stdin=None):
        return json.loads(self.run(*argv, "--json", status=status, stdin=stdin).stdout)


def test_from_login_to_order(gateway, work_folder):
    operator = Fleetctl(gateway, work_folder, operator=True)
    domain = operator.json(
        "domain", "create", "--name", "Acme", "--account-type", "commercial", "--contact", "ops@example.com:billing"
    )["DomainUID"]
    key = operator.json("key", "create", "--name", "laptop", "--domain", domain)

    ctl = Fleetctl(gateway, work_folder)
    ctl.run("domain", "get", status=77)  # nobody is logged in
    assert ctl.run("login", "--key", key["APIKey"], "--secret-file", "-", stdin="wrong\n", status=77)
    login = ("login", "--key", key["APIKey"], "--secret-file", "-")
    assert ctl.json(*login, stdin=key["APISecret"] + "\n") == {"DomainUID": domain}
    session = ctl.home / "fleetctl" / "session.json"
    assert stat.S_IMODE(os.stat(session).st_mode) == 0o600
    assert ctl.json("domain", "get")["DomainUID"] == domain

    ca = ctl.json(
        "ca", "create", "--name", "meters", "--common-name", "Acme Meters", "--validity", "10y", "--device-validity", "365d"
    )["RootCAUID"]
    assert ctl.json("ca", "update", ca, "--device-validity", "90d")["DeviceCertificateValidity"] == "90d"
    assert "BEGIN CERTIFICATE" in ctl.run("ca", "get", ca).stdout
    assert ca in ctl.run("ca", "list").stdout
    profile = ctl.json("profile", "create", "--name", "meters", "--root-ca", ca, "--heartbeat", "1d")["DeviceProfileUID"]
    assert ctl.json("profile", "get", profile)["HeartbeatInterval"] == "1d"
    assert [p["DeviceProfileUID"] for p in ctl.json("profile", "list")] == [profile]
    changed = ctl.json("profile", "update", profile, "--heartbeat", "2d", "--data-protection", "on", "--whitelist", "ignore")
    assert (changed["HeartbeatInterval"], changed["Whitelist"], changed["Name"]) == ("2d", "ignore", "meters")
    assert changed["Features"] == {"ZeroTouch": True, "DataProtection": True, "ChipToChip": False}
    ctl.run("profile", "update", profile, status=64)

    uids = [uuid.uuid4().hex[:16] for _ in range(3)]
    csv = work_folder / "list.csv"
    csv.write_text("RoTPublicUID\n" + "\n".join(uids) + "\n")
    assert ctl.json("whitelist", "add", "--file", csv)["Added"] == 3
    assert ctl.json("whitelist", "remove", uids[0])["Removed"] == 1
    assert [r["RoTPublicUID"] for r in ctl.json("whitelist", "list")] == sorted(uids[1:])
    assert ctl.json("device", "list") == [] and ctl.run("device", "list").stdout == ""
    ctl.run("device", "get", uids[0], status=65)
    table = ctl.run("device", "update", *uids[:2], "--heartbeat", "1d", "--flood", "10m").stdout
    assert uids[1] in table and "not_found" in table and "CODE" in table
    assert ctl.json("device", "update", uids[0], "--flood", "1m")["Refused"] == 1
    ctl.run("device", "update", "--heartbeat", "1d", status=64)
    ctl.run("device", "update", uids[0], status=64)
    ctl.run("certificate", "get", uids[0], status=65)
    assert ctl.json("certificate", "list") == []

    hook = ctl.json("webhook", "create", "--url", "https://example.com/", "--event", "*")
    assert hook["Secret"].startswith("whsec_")
    assert ctl.json("webhook", "get", hook["WebhookUID"])["URL"] == "https://example.com/"
    assert hook["WebhookUID"] in ctl.run("webhook", "list").stdout
    ctl.run("webhook", "delete", hook["WebhookUID"])
    ctl.run("webhook", "delete", hook["WebhookUID"], status=65)

    (work_folder / "uids").write_text("\n".join(uids))
    order = ctl.json("certificate", "renew", "--file", work_folder / "uids", "--wait", status=65)  # nothing was installed
    assert order["Refused"] == 3 and {d["Code"] for d in order["Devices"]} == {"not_found"}
    shown = ctl.run("order", "get", order["OrderUID"]).stdout
    assert "Progress.Refused" in shown and "not_found" in shown
    assert [o["OrderUID"] for o in ctl.json("order", "list")] == [order["OrderUID"]]

    assert [k["Status"] for k in ctl.json("key", "list")] == ["ACTIVE"]
    ctl.run("domain", "list", status=77)
    ctl.run("ca", "create", "--name", "x", "--common-name", "x", "--validity", "10", "--device-validity", "1d", status=64)
    ctl.run("key", "revoke", key["APIKey"])
    ctl.run("domain", "get", status=77)
    ctl.run("logout")
    assert not session.exists()
    assert domain in operator.run("domain", "list").stdout


def test_same_idempotency_key(gateway, work_folder):
    operator = Fleetctl(gateway, work_folder, operator=True)
    argv = ("domain", "create", "--name", "Once", "--account-type", "developer", "--idempotency-key", str(uuid.uuid4()))
    assert operator.json(*argv) == operator.json(*argv)


def test_the_domain_of_the_environment(gateway, work_folder):
    """FLEETSEAL_DOMAIN says where the operator acts; what acts on no domain does not care."""
    ctl = Fleetctl(gateway, work_folder, operator=True)
    domain = ctl.json("domain", "create", "--name", "First", "--account-type", "developer")["DomainUID"]
    ctl.env["FLEETSEAL_DOMAIN"] = domain
    ctl.run("domain", "create", "--name", "Third", "--account-type", "developer")
    assert ctl.json("domain", "create", "--name", "Second", "--account-type", "developer")["DomainUID"] != domain
    assert ctl.json("domain", "get")["DomainUID"] == domain
    assert domain in ctl.run("domain", "list", "--api", gateway.url + "/").stdout
    page = ctl.run("domain", "list", "--limit", "2", "--json")
    assert f"--after {json.loads(page.stdout)[-1]['DomainUID']}" in page.stderr
    csv = work_folder / "one.csv"
    csv.write_text("0011223344556677\n")
    assert ctl.json("whitelist", "add", "--file", csv)["Added"] == 1
    ctl.run("whitelist", "add", "--file", csv, "--domain", "x&y=z", status=64)
    ctl.run("whitelist", "add", "0011223344556688", "--file", csv, status=64)
    ca = ctl.json(
        *("ca", "create", "--name", "m", "--common-name", "M", "--state", "ZH", "--locality", "Thalwil"),
        *("--validity", "10y", "--device-validity", "90d"),
    )
    assert (ca["Subject"]["State"], ca["Subject"]["Locality"]) == ("ZH", "Thalwil")
    profile = ("profile", "create", "--name", "p", "--root-ca", ca["RootCAUID"])
    assert ctl.json(*profile)["Features"] == {"ZeroTouch": True, "DataProtection": False, "ChipToChip": False}
    features = ctl.json(*profile, "--zero-touch", "on", "--chip-to-chip", "on")["Features"]
    assert features == {"ZeroTouch": True, "DataProtection": False, "ChipToChip": True}
    url = "https://example.com/" + "x" * 300
    ctl.run("webhook", "create", "--url", url, "--event", "*")
    assert url[:150] in ctl.run("webhook", "list").stdout


def test_failures(gateway, work_folder):
    ctl = Fleetctl(gateway, work_folder, operator=True)
    ctl.run("dance", status=64)
    ctl.run("device", "get", status=64)
    ctl.run("device", "list", status=64)  # the operator's token needs a domain
    ctl.env["FLEETSEAL_API"] = f"https://127.0.0.1:{harness.free_port()}"
    assert "127.0.0.1" in ctl.run("domain", "list", status=75).stderr
    ctl.env["FLEETSEAL_API"] = gateway.url
    ctl.env["FLEETSEAL_SERVER_CA"] = str(gateway.key)  # no trust anchor: no word to that server
    ctl.run("domain", "list", status=75)


def test_a_session_others_can_read_is_refused(gateway, work_folder):
    _, domain = gateway.new_domain()
    key = gateway.operator.ok("/v1/accesskey/create", DomainUID=domain, Name="k")
    ctl = Fleetctl(gateway, work_folder)
    ctl.run("login", "--key", key["APIKey"], "--secret-file", "-", stdin=key["APISecret"])
    session = ctl.home / "fleetctl" / "session.json"
    session.chmod(0o644)
    assert "chmod 600" in ctl.run("domain", "get", status=64).stderr
    # an expired access token is renewed by itself
    session.chmod(0o600)
    text = json.loads(session.read_text())
    session.write_text(json.dumps({**text, "expires": 1}))
    assert ctl.json("domain", "get")["DomainUID"] == domain
    assert json.loads(session.read_text())["expires"] > 1


ORDER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
RENEW, ORDER_GET, REQUEST_GET = "/v1/ztp/devicecertificate/renew", "/v1/ztp/order/get", "/v1/request/get"
KEY_CREATE, REFRESH = "/v1/accesskey/create", "/v1/authenticate/refresh"
PLACED = (200, {"OrderUID": ORDER, "Queued": 2, "Refused": 0, "Devices": []})
WAIT = ("certificate", "renew", "0011223344556677", "0011223344556688", "--wait", "--json")


def order_of(**progress):
    numbers = {n: 0 for n in ("Queued", "Issued", "Installed", "Failed", "Superseded", "Cancelled", "Past", "Refused")}
    return 200, {"OrderUID": ORDER, "Total": 2, "Progress": {**numbers, **progress}, "Devices": []}


def error(status, kind, **headers):
    said = {"object": "error", "code": status, "type": kind, "message": kind, "request_id": ORDER, "fields": []}
    return status, said, {name.replace("_", "-"): value for name, value in headers.items()}


def test_waiting_bears_what_passes(work_folder):
    """The order is placed and billed: whatever passes must not end the wait, since "try again" would order once more."""
    passing = [error(503, "view_rebuilding"), DROP, error(429, "rate_limited", Retry_After="3"), (502, "<html>a proxy</html>")]
    script = {RENEW: [PLACED], ORDER_GET: [*passing, order_of(Issued=1, Installed=1), order_of(Installed=2)]}
    with FakeApi(work_folder, script) as api:
        done = Fleetctl(api, work_folder, operator=True).run(*WAIT)
        assert json.loads(done.stdout)["Progress"]["Installed"] == 2
        assert ORDER in done.stderr and [c[0] for c in api.calls].count(RENEW) == 1
        at = api.times(ORDER_GET)
        pauses = [b - a for a, b in zip(at, at[1:])]
        assert pauses[2] >= 2.9, pauses  # Retry-After
        assert pauses[0] >= 0.9 and pauses[4] > 2 * pauses[0], pauses  # each poll reads the whole fleet of an order


def test_waiting_names_the_order_when_it_ends(work_folder):
    for answer, status, timeout in (
        (error(503, "unavailable"), 75, 3),
        (DROP, 75, 2),
        (error(503, "unavailable", Retry_After="60"), 75, 30),  # not earlier than it says, so never
        (order_of(Queued=2), 75, 2),
        (error(404, "not_found"), 65, 30),
        (error(401, "invalid_auth"), 77, 30),  # a token of the operator cannot be refreshed
        (order_of(Installed=1, Failed=1), 65, 30),
    ):
        with FakeApi(work_folder, {RENEW: [PLACED], ORDER_GET: [answer]}) as api:
            began = time.monotonic()
            done = Fleetctl(api, work_folder, operator=True).run(*WAIT, "--timeout", timeout, status=status)
            assert time.monotonic() - began < timeout + 5
            assert done.stderr.startswith(f"fleetctl: order {ORDER} is placed"), done.stderr
            assert "Progress" in done.stdout or f"fleetctl order get {ORDER}" in done.stderr, done.stderr


def test_an_order_perhaps_placed_can_be_repeated(work_folder):
    with FakeApi(work_folder, {RENEW: [DROP, PLACED]}) as api:
        ctl = Fleetctl(api, work_folder, operator=True)
        key = ctl.run(*WAIT, status=75).stderr.split("--idempotency-key ")[1].split()[0]
        ctl.run(*WAIT[:-2], "--idempotency-key", key)
        assert [headers["Idempotency-Key"] for _, _, headers, _ in api.calls] == [key, key]


def test_a_request_that_takes_longer_is_followed_past_what_passes(work_folder):
    passing = [error(503, "unavailable"), DROP, error(429, "rate_limited")]
    pending = (202, {"RequestUID": ORDER, "Status": "pending"})
    made = (200, {"APIKey": ORDER, "Name": "k", "Status": "ACTIVE"})
    first = (202, {"RequestUID": ORDER, "Status": "pending", "APISecret": "shown once"})
    argv = ("key", "create", "--name", "k", "--json")
    with FakeApi(work_folder, {KEY_CREATE: [first], REQUEST_GET: [*passing, pending, made]}) as api:
        assert Fleetctl(api, work_folder, operator=True).json(*argv)["APISecret"] == "shown once"
    repeated = (202, {**pending[1], "Message": "the first secret counts"})
    with FakeApi(work_folder, {KEY_CREATE: [repeated], REQUEST_GET: [made]}) as api:
        assert "the first secret counts" in Fleetctl(api, work_folder, operator=True).run(*argv).stderr
    for answer, status in ((error(503, "unavailable"), 75), (pending, 75), (error(500, "internal_error"), 70)):
        with FakeApi(work_folder, {KEY_CREATE: [first], REQUEST_GET: [answer]}) as api:
            done = Fleetctl(api, work_folder, operator=True).run(*argv, "--timeout", 2, status=status)
            assert f"fleetctl request get {ORDER}" in done.stderr


def test_a_token_that_expires_while_waiting_is_renewed(work_folder):
    tokens = {"AuthToken": "first", "RefreshToken": "again", "ExpiresIn": 3600, "DomainUID": ORDER}
    expired = error(401, "token_expired")
    script = {
        "/v1/authenticate": [(200, tokens)],
        REFRESH: [error(503, "unavailable"), (200, {**tokens, "AuthToken": "second"}), (200, {**tokens, "AuthToken": "third"})],
        RENEW: [PLACED],
        ORDER_GET: [expired, expired, order_of(Queued=2), expired, order_of(Installed=2)],
    }
    with FakeApi(work_folder, script) as api:
        ctl = Fleetctl(api, work_folder)
        ctl.run("login", "--key", ORDER, "--secret-file", "-", stdin="secret\n")
        ctl.run(*WAIT)
        used = [headers["Authorization"].split()[1] for path, _, headers, _ in api.calls if path == ORDER_GET]
        assert used == ["first", "first", "second", "second", "third"]
        assert json.loads((ctl.home / "fleetctl" / "session.json").read_text())["access"] == "third"
    script = {"/v1/authenticate": [(200, tokens)], REFRESH: [(200, tokens)], RENEW: [PLACED], ORDER_GET: [expired]}
    with FakeApi(work_folder, script) as api:  # a server that believes no token is asked for one only once
        ctl = Fleetctl(api, work_folder)
        ctl.run("login", "--key", ORDER, "--secret-file", "-", stdin="secret\n")
        assert ORDER in ctl.run(*WAIT, status=77).stderr
        assert len(api.times(REFRESH)) == 1
