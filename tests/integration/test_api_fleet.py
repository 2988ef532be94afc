"""The operators' API with devices behind it: CAs, profiles, a small simulated fleet, renewal by order, filters, isolation. What would
break a user: a device list that misses one, a status that never becomes "installed", another domain's devices."""

import datetime
import json
import secrets
import uuid

import device_door
import harness
import openapi
import owners
import pytest
from api_client import Gateway, check_error
from cryptography import x509

DEVICES = 8
NOBODY = "ffffffff-ffff-4fff-bfff-ffffffffffff"
CA = {
    "Name": "meters",
    "Subject": {"CommonName": "Acme Meters", "Organization": "Acme", "Country": "CH"},
    "Validity": "10y",
    "DeviceCertificateValidity": "90d",
}


@pytest.fixture
def gateway(start_service, work_folder):
    secret = work_folder / "ca.kek"
    secret.write_bytes(secrets.token_bytes(32))
    secret.chmod(0o600)
    signer = start_service("ca-signer", config={"keystore.kek_file": secret})
    gateway = Gateway(start_service, work_folder)
    gateway.signer = signer
    return gateway


@pytest.fixture
def fleet(gateway, start_service, work_folder):
    return Fleet(gateway, start_service, work_folder)


class Fleet:
    """DEVICES simulated devices of a domain of their own, over the real device door."""

    def __init__(self, gateway, start_service, folder, **scheduler):
        port = harness.free_port()
        ratchet = folder / "ratchet.key"
        ratchet.write_bytes(secrets.token_hex(32).encode())
        start_service(
            "heartbeat-ingest",
            config={
                "device.listen": f"127.0.0.1:{port}",
                "device.tls_certificate": gateway.certificate,
                "device.tls_key": gateway.key,
                "device.ratchet_key_file": ratchet,
                "device.accept_rate": 0,
            },
        )
        self.port = port
        start_service("scheduler", config=scheduler)
        self.client, self.domain = gateway.new_domain("Fleet")
        self.ca = self.client.ok("/v1/ztp/rootca/create", **CA)["RootCAUID"]
        self.profile = self.client.ok(
            "/v1/device/profile/create",
            Name="meters",
            RootCAUID=self.ca,
            HeartbeatInterval="1s",
            FloodInterval="1s",
            Whitelist="ignore",
        )["DeviceProfileUID"]
        self.folder = folder
        self.base = ["--devices", DEVICES, "--keys", folder / "keys"]
        self.server = ["--state", folder / "state", "--server", f"https://127.0.0.1:{port}", "--server-ca", gateway.ca]
        self.uids = self._run("list", *self.base).split()

    @staticmethod
    def _run(*argv):
        return harness.run(harness.program("fleetseal-simulator"), *argv, timeout=120).stdout

    def bootstrap(self):
        counted = json.loads(self._run("bootstrap", *self.base, *self.server, "--profile", self.profile))
        assert counted["installed"] == DEVICES, counted
        return self

    def one(self, gateway):
        """A device of our own making, on board with its first certificate."""
        device, key = device_door.Device(self.folder, gateway.ca, self.port), owners.new_key()
        csr = owners.Device.csr(device, key)
        wish = device.bootstrap_payload(profile=self.profile, serial="SN-1", csr=csr)
        first = device.exchange("bootstrap", wish)
        assert first.status == 200, first.body
        proof = {name: first.json()[name] for name in ("operation", "serial")} | {"key": owners.b64(owners.spki(key))}
        assert device.exchange("confirm", proof, key=key).status == 200
        return device

    def more(self, devices):
        """Other devices than those of `uids`, with the fleet's profile."""
        base = ["--devices", devices, "--keys", self.folder / "more-keys", *self.server]
        base[base.index("--state") + 1] = self.folder / "more-state"
        return json.loads(self._run("bootstrap", *base, "--profile", self.profile))

    def renew(self):
        return json.loads(self._run("heartbeat-until-renewed", *self.base, *self.server))


def test_authorities(gateway):
    client, _ = gateway.new_domain()
    made = client.ok("/v1/ztp/rootca/create", key="ca", AutomaticRenewal=True, RenewAhead="30d", **CA)
    assert made["DeviceCertificateValidity"] == "90d" and made["RenewAhead"] == "30d" and made["AutomaticRenewal"]
    certificate = x509.load_pem_x509_certificate(made["Certificate"].encode())
    assert certificate.subject.rfc4514_string() == "C=CH,O=Acme,CN=Acme Meters" or "Acme Meters" in str(certificate.subject)
    assert client.ok("/v1/ztp/rootca/create", key="ca", AutomaticRenewal=True, RenewAhead="30d", **CA) == made
    client.refused(
        "/v1/ztp/rootca/create", 422, "idempotency_key_reused", "Idempotency-Key", key="ca", **{**CA, "Name": "other"}
    )
    uid = made["RootCAUID"]
    assert client.ok("/v1/ztp/rootca/get", RootCAUID=uid) == made
    changed = client.ok("/v1/ztp/rootca/update", RootCAUID=uid, DeviceCertificateValidity="60d", Name="new")
    assert changed["DeviceCertificateValidity"] == "60d" and changed["Name"] == "new"
    assert changed["Certificate"] == made["Certificate"]
    assert [c["RootCAUID"] for c in client.ok("/v1/ztp/rootca/list")["data"]] == [uid]

    # nothing that can never work
    for extra, field in (
        ({"DeviceCertificateValidity": "10y"}, "DeviceCertificateValidity"),
        ({"RenewAhead": "90d"}, "RenewAhead"),
        ({"RenewAhead": "89d"}, "RenewAhead"),  # below it, but refused by the CA's owner
        ({"Validity": "101y"}, "Validity"),
        ({"Validity": "10"}, "Validity"),
        ({"KeyUsage": ["dragon"]}, "KeyUsage[0]"),
        ({"Subject": {"CommonName": "x", "Country": "ch"}}, "Subject.Country"),
    ):
        client.refused("/v1/ztp/rootca/create", 400, "validation_error", field, **{**CA, **extra})
    client.refused("/v1/ztp/rootca/update", 400, "missing_field", RootCAUID=uid)
    for extra in ({"DeviceCertificateValidity": "11y"}, {"RenewAhead": "89d"}):
        client.refused("/v1/ztp/rootca/update", 400, "validation_error", *extra, RootCAUID=uid, **extra)
    client.ok("/v1/ztp/rootca/update", key="update", RootCAUID=uid, Name="newer")
    client.refused(
        "/v1/ztp/rootca/update", 422, "idempotency_key_reused", "Idempotency-Key", key="update", RootCAUID=uid, Name="newest"
    )
    client.refused("/v1/device/profile/create", 400, "validation_error", "HeartbeatInterval", Name="p", RootCAUID=uid, HeartbeatInterval="31d")
    client.refused("/v1/device/profile/create", 404, "not_found", "RootCAUID", Name="p", RootCAUID=NOBODY)
    client.ok("/v1/device/profile/create", Name="p", RootCAUID=uid, HeartbeatInterval="20d")
    client.refused("/v1/ztp/rootca/update", 400, "validation_error", "RenewAhead", RootCAUID=uid, RenewAhead="20d")
    client.ok("/v1/ztp/rootca/update", RootCAUID=uid, RenewAhead="21d")
    client.ok("/v1/ztp/rootca/update", RootCAUID=uid, AutomaticRenewal=False, RenewAhead="1d")

    # another domain neither sees nor uses it
    other, _ = gateway.new_domain("Other")
    other.refused("/v1/ztp/rootca/get", 404, "not_found", "RootCAUID", RootCAUID=uid)
    other.refused("/v1/ztp/rootca/update", 404, "not_found", "RootCAUID", RootCAUID=uid, Name="mine")
    other.refused("/v1/device/profile/create", 404, "not_found", "RootCAUID", Name="p", RootCAUID=uid)
    assert other.ok("/v1/ztp/rootca/list")["data"] == []


def test_sixteenth_authority(gateway):
    client, _ = gateway.new_domain()
    for i in range(15):
        client.ok("/v1/ztp/rootca/create", **{**CA, "Name": f"ca {i}"})
    client.refused("/v1/ztp/rootca/create", 403, "account_limit_exceeded", "ca-count", **CA)
    seen, after = [], None
    while True:
        page = client.ok("/v1/ztp/rootca/list", Limit=4, **({"After": after} if after else {}))
        seen += [c["RootCAUID"] for c in page["data"]]
        after = page["after"]
        if not page["has_more"]:
            break
    assert len(set(seen)) == len(seen) == 15


def test_profiles(gateway):
    client, _ = gateway.new_domain()
    ca = client.ok("/v1/ztp/rootca/create", **CA)["RootCAUID"]
    made = client.ok("/v1/device/profile/create", Name="p", RootCAUID=ca)
    assert made["HeartbeatInterval"] == "7d" and made["FloodInterval"] == "5m" and made["Whitelist"] == "on"
    assert made["Features"] == {"ZeroTouch": True, "DataProtection": False, "ChipToChip": False}
    assert client.ok("/v1/device/profile/get", DeviceProfileUID=made["DeviceProfileUID"]) == made
    assert client.ok("/v1/device/profile/list")["data"] == [made]
    other, _ = gateway.new_domain("Other")
    other.refused("/v1/device/profile/get", 404, "not_found", DeviceProfileUID=made["DeviceProfileUID"])
    client.refused(
        "/v1/device/profile/create", 400, "validation_error", "FloodInterval", Name="p", RootCAUID=ca, FloodInterval="25h"
    )


def test_profile_update(gateway):
    client, _ = gateway.new_domain()
    ca = client.ok("/v1/ztp/rootca/create", **CA)["RootCAUID"]
    strict = client.ok("/v1/ztp/rootca/create", AutomaticRenewal=True, RenewAhead="10d", **{**CA, "Name": "strict"})["RootCAUID"]
    made = client.ok("/v1/device/profile/create", Name="p", RootCAUID=ca)
    uid = made["DeviceProfileUID"]
    change = lambda key=None, **what: client.ok("/v1/device/profile/update", key, DeviceProfileUID=uid, **what)  # noqa: E731
    refused = lambda *how, **what: client.refused(  # noqa: E731
        "/v1/device/profile/update", *how, **{"DeviceProfileUID": uid, **what}
    )
    features = {"ZeroTouch": True, "DataProtection": False, "ChipToChip": True}
    assert change(Features={"ChipToChip": True}) == {**made, "Features": features}
    first = change("change", Name="q", HeartbeatInterval="20d", FloodInterval="1h", Whitelist="ignore")
    expected = {"Name": "q", "HeartbeatInterval": "20d", "FloodInterval": "1h", "Whitelist": "ignore", "Features": features}
    assert first == {**made, **expected}
    assert client.ok("/v1/device/profile/get", DeviceProfileUID=uid) == first
    assert client.ok("/v1/device/profile/list")["data"] == [first]

    # a repeat is the first answer, whatever happened since; the key is not for another body
    change(Name="r")
    assert change("change", Name="q", HeartbeatInterval="20d", FloodInterval="1h", Whitelist="ignore") == first
    assert client.ok("/v1/device/profile/get", DeviceProfileUID=uid)["Name"] == "r"
    refused(422, "idempotency_key_reused", "Idempotency-Key", key="change", Name="s")

    # nothing that can never work, and nothing half: heartbeat and CA go together or not at all
    refused(400, "missing_field")
    refused(400, "missing_field", Features={})
    refused(400, "validation_error", "FloodInterval", FloodInterval="25h")
    refused(400, "validation_error", "HeartbeatInterval", HeartbeatInterval="367d")
    refused(400, "validation_error", "FloodInterval", HeartbeatInterval="30m")
    refused(400, "validation_error", "HeartbeatInterval", RootCAUID=strict)
    refused(400, "validation_error", "HeartbeatInterval", RootCAUID=strict, HeartbeatInterval="10d")
    refused(400, "validation_error", "Name", Name="two\nlines")
    refused(400, "unknown_field", "KeyAlgorithm", KeyAlgorithm="EC-P256")
    refused(404, "not_found", "RootCAUID", RootCAUID=NOBODY)
    refused(404, "not_found", "DeviceProfileUID", DeviceProfileUID=uid[:-1] + ("0" if uid[-1] != "0" else "1"), Name="x")
    assert change(Name="q") == first
    assert change(RootCAUID=strict, HeartbeatInterval="9d")["RootCAUID"] == strict
    refused(400, "validation_error", "HeartbeatInterval", HeartbeatInterval="10d")

    other, _ = gateway.new_domain("Other")
    other.refused("/v1/device/profile/update", 404, "not_found", "DeviceProfileUID", DeviceProfileUID=uid, Name="mine")
    theirs = other.ok("/v1/ztp/rootca/create", **CA)["RootCAUID"]
    refused(404, "not_found", "RootCAUID", RootCAUID=theirs)


def test_profile_update_is_for_later_bootstraps(fleet, kafka):
    client = fleet.bootstrap().client
    before = client.ok("/v1/device/get", RoTPublicUID=fleet.uids[0])
    ca = client.ok("/v1/ztp/rootca/create", **{**CA, "Name": "later"})["RootCAUID"]
    client.ok("/v1/device/profile/update", DeviceProfileUID=fleet.profile, Name="later", RootCAUID=ca, HeartbeatInterval="2s")
    assert fleet.more(1)["installed"] == 1
    later = [d for d in client.ok("/v1/device/list")["data"] if d["RoTPublicUID"] not in fleet.uids]
    assert [(d["HeartbeatInterval"], d["Certificate"]["RootCAUID"]) for d in later] == [("2s", ca)]
    # those on board keep CA and settings, through a renewal as well
    client.ok("/v1/ztp/devicecertificate/renew", RoTPublicUIDs=fleet.uids, Validity="120d")
    fleet.renew()
    for device in client.ok("/v1/device/list")["data"]:
        if device["RoTPublicUID"] in fleet.uids:
            assert (device["HeartbeatInterval"], device["Certificate"]["RootCAUID"]) == ("1s", fleet.ca)
            assert device["Certificate"]["SerialNumber"] != before["Certificate"]["SerialNumber"]
    events = [r for r in kafka.read("fleetseal.events") if r.headers.get("ce_type") == "io.fleetseal.profile.updated.v1"]
    mine = [r.json() for r in events if r.headers["ce_domain"] == fleet.domain]
    assert [(e["name"], e["previous_name"], e["heartbeat_interval_s"], e["ca"]) for e in mine] == [("later", "meters", 2, ca)]
    assert fleet.profile not in json.dumps(mine)


def test_renewal_by_order(fleet, gateway):
    fleet.bootstrap()
    client = fleet.client
    devices = client.ok("/v1/device/list", Limit=100)
    assert sorted(d["RoTPublicUID"] for d in devices["data"]) == sorted(fleet.uids) and not devices["has_more"]
    one = client.ok("/v1/device/get", RoTPublicUID=fleet.uids[0].upper())
    assert one["State"] == "active" and one["DeviceProfileUID"] == fleet.profile
    assert one["Certificate"]["RootCAUID"] == fleet.ca
    before = client.ok("/v1/ztp/devicecertificate/get", RoTPublicUID=fleet.uids[0])
    assert before["Status"] == "installed" and before["Key"]["Algorithm"] == "EC-P256"
    assert before["SerialNumber"] == one["Certificate"]["SerialNumber"]

    stranger = uuid.uuid4().hex[:16]
    wish = {"RoTPublicUIDs": [*fleet.uids, stranger], "Validity": "120d"}
    order = client.ok("/v1/ztp/devicecertificate/renew", key="renew", **wish)
    assert (order["Queued"], order["Refused"]) == (DEVICES, 1)
    assert [d["RoTPublicUID"] for d in order["Devices"]] == wish["RoTPublicUIDs"]
    assert order["Devices"][-1]["Code"] == "not_found"
    assert client.ok("/v1/ztp/devicecertificate/renew", key="renew", **wish) == order
    assert client.ok("/v1/request/get", RequestUID=order["OrderUID"]) == order
    client.refused(
        "/v1/ztp/devicecertificate/renew", 422, "idempotency_key_reused", key="renew", RoTPublicUIDs=fleet.uids
    )

    fleet.renew()

    def all_installed():
        progress = client.ok("/v1/ztp/order/get", OrderUID=order["OrderUID"])["Progress"]
        assert progress["Installed"] == DEVICES, progress
        return True

    harness.wait_until(all_installed, 30)
    assert client.ok("/v1/device/get", RoTPublicUID=fleet.uids[0])["LastHeartbeatAt"] > one["RegisteredAt"]
    after = client.ok("/v1/ztp/devicecertificate/get", RoTPublicUID=fleet.uids[0])
    assert after["SerialNumber"] != before["SerialNumber"]
    assert after["Key"] == before["Key"]
    assert after["NotAfter"] > before["NotAfter"]
    assert {"renew": "installed", "issue": "installed"}.items() <= {h["Kind"]: h["State"] for h in after["History"]}.items()
    shown = client.ok("/v1/ztp/order/get", OrderUID=order["OrderUID"])
    assert shown["Devices"][0]["OperationUID"] == order["Devices"][0]["OperationUID"]
    assert [o["OrderUID"] for o in client.ok("/v1/ztp/order/list", Order="DESC")["data"]] == [order["OrderUID"]]

    # another domain: neither the devices nor the order
    other, _ = gateway.new_domain("Other")
    assert other.ok("/v1/device/list")["data"] == []
    other.refused("/v1/device/get", 404, "not_found", "RoTPublicUID", RoTPublicUID=fleet.uids[0])
    other.refused("/v1/ztp/devicecertificate/get", 404, "not_found", "RoTPublicUID", RoTPublicUID=fleet.uids[0])
    other.refused("/v1/ztp/order/get", 404, "not_found", "OrderUID", OrderUID=order["OrderUID"])
    answer = other.ok("/v1/ztp/devicecertificate/renew", RoTPublicUIDs=fleet.uids[:1])
    assert [d.get("Code") for d in answer["Devices"]] == ["not_found"]


def test_an_order_of_long_ago_is_not_queued_again(fleet, kafka, redis):
    """Devices forget: nobody knows how it ended, but nothing is under way."""
    client = fleet.bootstrap().client
    views = owners.Owners(kafka, redis)
    now = datetime.datetime.now(datetime.timezone.utc)
    for state, days, queued in (("done", 9, 0), ("done", 7, DEVICES), ("feeding", 9, DEVICES)):
        order, at = str(uuid.uuid4()), owners.rfc3339(now - datetime.timedelta(days=days))
        head = {"type": "order.v1", "id": order, "domain": fleet.domain, "kind": "renew", "state": state, "created_at": at}
        counts = {"total": DEVICES, "queued": DEVICES, "refused": 0, "cursor": DEVICES, "updated_at": at}
        views.put_view("o", views.partition(order), order, {**head, **counts})
        views.put_view("o", views.partition(order), f"{order}/0", {"type": "order-chunk.v1", "devices": fleet.uids})
        shown = client.ok("/v1/ztp/order/get", OrderUID=order)
        assert (shown["Progress"]["Queued"], shown["Progress"]["Past"]) == (queued, DEVICES - queued)
        assert {d["Status"] for d in shown["Devices"]} == {"queued" if queued else "past"}


def test_an_unknown_domain_is_not_an_empty_one(gateway):
    gateway.new_domain()  # something to read: a view that never was written says 503
    ca = gateway.new_domain("With a CA")[0].ok("/v1/ztp/rootca/create", **CA)["RootCAUID"]
    for path, methods in openapi.description()["paths"].items():
        if "post" not in methods or path in ("/v1/domain/list", "/v1/request/get"):
            continue
        body = methods["post"]["requestBody"]["content"]["application/json"]
        if "DomainUID" in openapi.schema_of(body["schema"])["properties"]:
            example = body["example"] | ({"RootCAUID": ca} if "RootCAUID" in body["example"] else {})
            answer = gateway.operator.post(path, {**example, "DomainUID": NOBODY})
            assert answer.status_code == 404, f"{path}: {answer.text}"


def test_no_call_reaches_into_another_domain(fleet, gateway):
    """Every described call, made by a stranger: with the owner's domain, and with each of the owner's things in turn."""
    owner = fleet.bootstrap().client
    hook = owner.ok("/v1/notification/webhook/create", URL="https://example.com/", Events=["*"])["WebhookUID"]
    order = owner.ok("/v1/ztp/devicecertificate/renew", RoTPublicUIDs=fleet.uids)["OrderUID"]
    key = owner.ok("/v1/accesskey/create", Name="k")["APIKey"]
    things = {
        "RootCAUID": fleet.ca,
        "DeviceProfileUID": fleet.profile,
        "RoTPublicUID": fleet.uids[0],
        "OrderUID": order,
        "WebhookUID": hook,
        "APIKey": key,
        "RequestUID": order,
    }

    def settled():
        rows = owner.ok("/v1/device/list")["data"]
        return all("Operation" in d for d in rows) and owner.ok("/v1/ztp/order/get", OrderUID=order)["State"] == "done"

    harness.wait_until(settled, 20)

    def all_of_it():
        pages = [p for p in openapi.description()["paths"] if p.endswith("/list") and p != "/v1/domain/list"]
        return {p: owner.ok(p)["data"] for p in pages} | {"domain": owner.ok("/v1/domain/get")}

    before = all_of_it()
    stranger, own = gateway.new_domain("Stranger")
    tried = 0
    for path, methods in openapi.description()["paths"].items():
        if "post" not in methods or path.startswith("/v1/authenticate"):
            continue
        body = methods["post"]["requestBody"]["content"]["application/json"]
        members = openapi.schema_of(body["schema"])["properties"]
        if path in ("/v1/domain/create", "/v1/domain/list"):
            check_error(stranger.post(path, body["example"]), 403, "forbidden")
            continue
        if path != "/v1/request/get":
            stranger.refused(path, 404, "not_found", "DomainUID", **{**body["example"], "DomainUID": fleet.domain})
        for member in members.keys() & things.keys():
            answer = stranger.post(path, {**body["example"], member: things[member]})
            if path.endswith("/list"):  # a filter
                assert answer.status_code == 200 and answer.json()["data"] == [], path
            else:
                check_error(answer, 404, "not_found", member)
            tried += 1
        if path.endswith("/list"):
            after = {"/v1/device/list": fleet.uids[0], "/v1/ztp/devicecertificate/list": fleet.uids[0]}.get(path, order)
            answer = stranger.post(path, {"After": after, "Order": "DESC"})
            rows = answer.json().get("data", [])
            assert all(row.get("DomainUID") == own for row in rows), path  # its own access key, nothing else
    assert tried >= len(things)
    assert all_of_it() == before


def test_lists_and_filters(fleet):
    client = fleet.bootstrap().client

    def pages(path, limit=3, **filters):
        found, after = [], None
        while True:
            page = client.ok(path, Limit=limit, **filters, **({"After": after} if after else {}))
            found += [d["RoTPublicUID"] for d in page["data"]]
            after = page["after"]
            if not page["has_more"]:
                return found

    uids = sorted(fleet.uids)
    for path in ("/v1/device/list", "/v1/ztp/devicecertificate/list"):
        assert pages(path) == uids
        assert pages(path, Order="DESC") == uids[::-1]
        assert pages(path, RootCAUID=fleet.ca) == uids
        assert pages(path, RootCAUID=NOBODY) == []
        assert pages(path, State="active") == uids
        assert pages(path, State="suspended") == []
        assert pages(path, DeviceProfileUID=fleet.profile) == uids
        assert pages(path, ExpiresBefore="2020-01-01T00:00:00.000Z") == []
        assert pages(path, ExpiresAfter="2020-01-01T00:00:00.000Z") == uids
        assert pages(path, Search=uids[2][3:15].upper()) == [uids[2]]


def test_a_long_order_does_not_stand_before_a_short_one(gateway, start_service, work_folder, kafka):
    """With the devices' owner away every window is waited for; whoever asked for one device must not wait for all of another's."""
    fleet = Fleet(gateway, start_service, work_folder, **{"feed.window": "1"}).bootstrap()
    gateway.signer.stop()
    rest, last = fleet.uids[:-1], fleet.uids[-1]
    for uids in (rest, [last]):
        answer = fleet.client.ok("/v1/ztp/devicecertificate/renew", RoTPublicUIDs=uids, Validity="120d")
        assert answer["Queued"] == len(uids), answer

    def handed():
        # Beside what other tests have written, which need not be JSON.
        found = [r.json() for r in kafka.read("fleetseal.device.requests") if b"device.renew.v1" in r.value]
        return {r["body"]["uid"] for r in found if r["type"] == "device.renew.v1"} & set(fleet.uids)

    wait = harness.wait_until(lambda: last in (seen := handed()) and seen, 45, "the one device of the second order to be handed over")
    assert len(wait) < len(fleet.uids) / 2, "it had to wait for the first one"


def test_an_unlisted_device_waits_and_is_let_in(fleet, work_folder):
    client = fleet.client
    strict = client.ok("/v1/device/profile/create", Name="strict", RootCAUID=fleet.ca, HeartbeatInterval="1s", FloodInterval="1s")
    # the simulator counts devices that got no certificate as failures: they wait for the list
    argv = ["bootstrap", *fleet.base, *fleet.server, "--profile", strict["DeviceProfileUID"], "--deadline", "5"]
    harness.run(harness.program("fleetseal-simulator"), *argv, timeout=120, check=False)
    states = {d["State"] for d in client.ok("/v1/device/list")["data"]}
    assert states == {"allocated"}
    check_error(
        client.post("/v1/ztp/devicecertificate/get", {"RoTPublicUID": fleet.uids[0]}), 404, "no_certificate", "RoTPublicUID"
    )
    client.ok("/v1/device/whitelist/add", Devices=[{"RoTPublicUID": u} for u in fleet.uids])
    harness.wait_until(lambda: {d["State"] for d in client.ok("/v1/device/list")["data"]} == {"active"}, 20)


def test_settings_of_one_device(fleet, gateway, kafka):
    """From the call to the device that hears of it, and the door that goes by it."""
    client = fleet.client
    device, other = fleet.one(gateway), fleet.one(gateway)
    stranger = uuid.uuid4().hex[:16]

    def update(uids, key=None, **what):
        return client.ok("/v1/device/update", key, RoTPublicUIDs=uids, **what)

    def beat(device):
        return harness.wait_until(lambda: (a := device.beat()).status == 200 and a.json(), 10, "a heartbeat to pass")

    assert beat(device)["settings"] == {"heartbeat_interval_s": 1, "flood_interval_s": 1}
    wish = [device.uid.upper(), stranger]
    answer = update(wish, "once", HeartbeatInterval="1h", FloodInterval="10m")
    assert (answer["Updated"], answer["Refused"]) == (1, 1)
    updated, unknown = answer["Devices"]
    assert updated == {"RoTPublicUID": device.uid, "Status": "updated"}
    assert (unknown["RoTPublicUID"], unknown["Status"], unknown["Code"]) == (stranger, "refused", "not_found")
    shown = client.ok("/v1/device/get", RoTPublicUID=device.uid)
    assert (shown["HeartbeatInterval"], shown["FloodInterval"]) == ("1h", "10m")
    assert beat(device)["settings"] == {"heartbeat_interval_s": 3600, "flood_interval_s": 600}

    def guarded():
        early = device.beat()
        return early.status == 429 and int(early.headers["Retry-After"]) > 300

    harness.wait_until(guarded, 10, "the door to know the new flood interval")
    assert beat(other)["settings"] == {"heartbeat_interval_s": 1, "flood_interval_s": 1}

    # once: a repeat is the first answer and changes nothing, the key is not for another body
    assert update([device.uid], HeartbeatInterval="2h")["Updated"] == 1
    assert update(wish, "once", HeartbeatInterval="1h", FloodInterval="10m") == answer
    assert client.ok("/v1/device/get", RoTPublicUID=device.uid)["HeartbeatInterval"] == "2h"
    reused = {"RoTPublicUIDs": [other.uid], "HeartbeatInterval": "1h"}
    client.refused("/v1/device/update", 422, "idempotency_key_reused", "Idempotency-Key", key="once", **reused)
    assert client.ok("/v1/device/get", RoTPublicUID=other.uid)["HeartbeatInterval"] == "1s"

    # its own settings outlive changes of the profile
    client.ok("/v1/device/profile/update", DeviceProfileUID=fleet.profile, HeartbeatInterval="3s")
    assert client.ok("/v1/device/get", RoTPublicUID=device.uid)["HeartbeatInterval"] == "2h"

    # what can never work, by rule and device
    assert update([device.uid], FloodInterval="3h")["Devices"][0]["Code"] == "flood_above_heartbeat"
    client.ok("/v1/ztp/rootca/update", RootCAUID=fleet.ca, AutomaticRenewal=True, RenewAhead="1d")
    rare = update([device.uid, other.uid], HeartbeatInterval="1d")
    assert [d["Code"] for d in rare["Devices"]] == ["heartbeat_too_rare"] * 2 and "RenewAhead" in rare["Devices"][0]["Message"]
    assert update([device.uid, other.uid], HeartbeatInterval="23h")["Updated"] == 2
    facts = [r for r in kafka.read("fleetseal.events") if r.key == device.uid.encode()]
    told = [r.json() for r in facts if r.headers["ce_type"] == "io.fleetseal.device.settings_changed.v1"]
    assert [(e["previous_heartbeat_interval_s"], e["heartbeat_interval_s"]) for e in told] == [(1, 3600), (3600, 7200), (7200, 82800)]

    # another domain's device is no device
    theirs, _ = gateway.new_domain("Other")
    answer = theirs.ok("/v1/device/update", RoTPublicUIDs=[device.uid], HeartbeatInterval="1h")
    assert [d["Code"] for d in answer["Devices"]] == ["not_found"]


def test_settings_that_took_longer(fleet, gateway):
    client = fleet.bootstrap().client
    stranger = uuid.uuid4().hex[:16]
    gateway.signer.pause()
    try:
        answer = client.post("/v1/device/update", {"RoTPublicUIDs": [stranger, fleet.uids[0]], "HeartbeatInterval": "2h"})
        assert answer.status_code == 202, answer.text
        ask = lambda: client.post("/v1/request/get", {"RequestUID": answer.json()["RequestUID"]})  # noqa: E731
        assert ask().status_code == 202
    finally:
        gateway.signer.resume()
    shown = harness.wait_until(lambda: (a := ask()).status_code == 200 and a.json(), 30, "the outcome")
    assert (shown["Updated"], shown["Refused"]) == (1, 1)
    assert {d["RoTPublicUID"]: d["Status"] for d in shown["Devices"]} == {stranger: "refused", fleet.uids[0]: "updated"}
    assert client.ok("/v1/device/get", RoTPublicUID=fleet.uids[0])["HeartbeatInterval"] == "2h"


def test_settings_of_many_devices(fleet):
    client = fleet.bootstrap().client
    uids = fleet.uids + [uuid.uuid4().hex[:16] for _ in range(100 - DEVICES)]
    answer = client.ok("/v1/device/update", "many", RoTPublicUIDs=uids, HeartbeatInterval="1d")
    assert (answer["Updated"], answer["Refused"]) == (DEVICES, 100 - DEVICES)
    assert [d["RoTPublicUID"] for d in answer["Devices"]] == uids
    assert {d["HeartbeatInterval"] for d in client.ok("/v1/device/list")["data"]} == {"1d"}
    refused = lambda *how, **what: client.refused("/v1/device/update", *how, **what)  # noqa: E731
    refused(400, "validation_error", "RoTPublicUIDs", RoTPublicUIDs=[*uids, uuid.uuid4().hex[:16]], HeartbeatInterval="1d")
    refused(400, "validation_error", "RoTPublicUIDs", RoTPublicUIDs=[], HeartbeatInterval="1d")
    refused(400, "validation_error", "RoTPublicUIDs", RoTPublicUIDs=[uids[0], uids[0].upper()], HeartbeatInterval="1d")
    refused(400, "validation_error", "RoTPublicUIDs[0]", RoTPublicUIDs=["x"], HeartbeatInterval="1d")
    refused(400, "missing_field", RoTPublicUIDs=uids[:1])
    refused(400, "validation_error", "HeartbeatInterval", RoTPublicUIDs=uids[:1], HeartbeatInterval="367d")
    refused(400, "validation_error", "FloodInterval", RoTPublicUIDs=uids[:1], FloodInterval="25h")
    refused(400, "validation_error", "FloodInterval", RoTPublicUIDs=uids[:1], FloodInterval="0s")
