"""The operator's command line against the real API: login, every group, JSON for scripts, exit codes by class."""

import json
import os
import secrets
import stat
import uuid

import harness
import pytest
from api_client import Gateway


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
    order = ctl.json("certificate", "renew", "--file", work_folder / "uids", "--wait")
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
