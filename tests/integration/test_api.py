"""The operators' API on the real stack: the registry's own things, idempotency, isolation, and what happens to writes when Redis or
Kafka fail. What would break a user: a write that is acknowledged and lost, one domain seeing another's, a secret shown twice."""

import base64
import concurrent.futures
import re
import time
import uuid

import openapi_spec_validator
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import harness
import openapi
import owners
from api_client import Gateway, check_error, eventually

UID_1, UID_2 = "00112233445566aa", "00112233445566bb"
NOBODY = "ffffffff-ffff-4fff-bfff-ffffffffffff"


@pytest.fixture
def gateway(start_service, work_folder):
    return Gateway(start_service, work_folder)


def test_description_is_valid_and_served(gateway):
    openapi_spec_validator.validate(openapi.description())
    answer = gateway.client().session.get(gateway.url + "/openapi.yaml", timeout=10)
    assert answer.status_code == 200
    assert answer.content == openapi.PATH.read_bytes()


def test_every_example_fits_its_schema():
    for path, methods in openapi.description()["paths"].items():
        body = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json")
        if body:
            pointer = f"/paths/{openapi.escape(path)}/post/requestBody/content/application~1json/schema"
            assert not list(openapi.validator(pointer).iter_errors(body["example"])), path


def described_calls():
    return [path for path, methods in openapi.description()["paths"].items() if "post" in methods]


def request_schema(path):
    """The request's schema, its reference followed."""
    return openapi.schema_of(openapi.description()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"])


def test_description_and_door_agree(gateway):
    """The same calls, and for each of them the same members of its request."""
    sources = "".join(p.read_text() for p in (harness.ROOT / "services" / "api-gateway").glob("calls_*.c"))
    assert set(described_calls()) == set(re.findall(r'\.path = "([^"]+)"', sources)) | set(
        re.findall(r'\{"(/v1/[^"]+)"', sources)
    )
    for path in described_calls():
        error = check_error(gateway.operator.post(path, {"Zz": 1}), 400, "unknown_field", "Zz")
        accepted = re.search(r"accepted are (.*)", error["message"]).group(1)
        wanted = set(request_schema(path)["properties"])
        if accepted.endswith("..."):
            assert set(accepted.split(", ")[:-1]) <= wanted, path
        else:
            assert set(accepted.split(", ")) == wanted, path
        required = request_schema(path).get("required", [])
        if required:
            error = gateway.operator.post(path, {}).json()
            assert error["type"] == "missing_field" and error["fields"][0]["field"] in required, path


def test_nothing_without_a_credential(gateway):
    public = {"/v1/authenticate", "/v1/authenticate/refresh"}
    for path in set(described_calls()) - public:
        check_error(gateway.client().post(path), 401, "invalid_auth")
        check_error(gateway.client("not a token").post(path), 401, "invalid_auth")


def test_domain_and_access_keys(gateway):
    created = gateway.operator.ok(
        "/v1/domain/create",
        Name="Acme",
        Company="Acme AG",
        AccountType="developer",
        Contacts=[{"Email": "ops@example.com", "Role": "billing"}],
    )
    assert created["Limits"] == {"RootCAs": 15, "AccessKeys": 5}
    domain = created["DomainUID"]
    assert gateway.operator.ok("/v1/domain/get", DomainUID=domain) == created
    listed = []
    after = None
    while True:
        page = gateway.operator.ok("/v1/domain/list", Limit=2, **({"After": after} if after else {}))
        listed += [d["DomainUID"] for d in page["data"]]
        after = page["after"]
        if not page["has_more"]:
            break
    assert domain in listed and listed == sorted(listed)

    keys = [gateway.operator.ok("/v1/accesskey/create", DomainUID=domain, Name=f"key {i}") for i in range(5)]
    gateway.operator.refused(
        "/v1/accesskey/create", 403, "account_limit_exceeded", "access-key-count", DomainUID=domain, Name="sixth"
    )
    client = gateway.login(keys[0])
    rows = client.ok("/v1/accesskey/list")["data"]
    assert sorted(r["APIKey"] for r in rows) == sorted(k["APIKey"] for k in keys)
    assert not any("APISecret" in r for r in rows)
    assert [r["APIKey"] for r in rows if "LastUsedAt" in r] == [keys[0]["APIKey"]]

    # a revoked key: its tokens end at once, it cannot log in, its place is free
    client.ok("/v1/accesskey/revoke", APIKey=keys[0]["APIKey"])
    check_error(client.post("/v1/domain/get"), 401, "invalid_auth")
    login = {"APIKey": keys[0]["APIKey"], "APISecret": keys[0]["APISecret"]}
    check_error(gateway.client().post("/v1/authenticate", login), 401, "invalid_auth")
    gateway.operator.ok("/v1/accesskey/create", DomainUID=domain, Name="sixth")


def test_refresh(gateway):
    domain = gateway.operator.ok("/v1/domain/create", Name="R", AccountType="developer")["DomainUID"]
    key = gateway.operator.ok("/v1/accesskey/create", DomainUID=domain, Name="k")
    tokens = gateway.client().ok("/v1/authenticate", APIKey=key["APIKey"], APISecret=key["APISecret"])
    assert tokens["ExpiresIn"] == 3600 and tokens["DomainUID"] == domain
    def last_used():
        return gateway.operator.ok("/v1/accesskey/list", DomainUID=domain)["data"][0]["LastUsedAt"]

    login_at = last_used()
    again = gateway.client().ok("/v1/authenticate/refresh", RefreshToken=tokens["RefreshToken"])
    assert last_used() > login_at, "a key that is only refreshed is in use"
    assert gateway.client(again["AuthToken"]).ok("/v1/domain/get")["DomainUID"] == domain
    # neither token does the other's work
    gateway.client().refused("/v1/authenticate/refresh", 401, "invalid_auth", RefreshToken=tokens["AuthToken"])
    check_error(gateway.client(tokens["RefreshToken"]).post("/v1/domain/get"), 401, "invalid_auth")
    # the bare token is accepted, as older clients send it
    bare = {"Authorization": tokens["AuthToken"]}
    assert gateway.client().post("/v1/domain/get", headers=bare).status_code == 200


def test_same_key_same_answer(gateway):
    client, domain = gateway.new_domain()
    first = client.ok("/v1/accesskey/create", key="once", Name="k")
    again = client.ok("/v1/accesskey/create", key="once", Name="k")
    assert "APISecret" in first and "APISecret" not in again
    assert again == {k: v for k, v in first.items() if k != "APISecret"}
    client.refused("/v1/accesskey/create", 422, "idempotency_key_reused", "Idempotency-Key", key="once", Name="other")
    assert client.ok("/v1/domain/get")["Usage"]["AccessKeys"] == 2
    # the same key of another domain, and for another call, is another request
    other, _ = gateway.new_domain("Other")
    assert other.ok("/v1/accesskey/create", key="once", Name="k")["APIKey"] != first["APIKey"]
    client.ok("/v1/accesskey/revoke", key="once", APIKey=first["APIKey"])
    client.refused("/v1/accesskey/create", 400, "validation_error", "Idempotency-Key", key="x" * 256, Name="k")


def test_same_key_another_list(gateway):
    """Lists are decided in chunks; under a used key not one of them counts, whatever the lengths."""
    client, _ = gateway.new_domain()

    def devices(count, start):
        return [{"RoTPublicUID": f"{start + i:016x}"} for i in range(count)]

    def listed():
        return len(client.ok("/v1/device/whitelist/list", Limit=1000)["data"])

    for key, count, others in (("short", 3, (4, 70)), ("long", 60, (3, 170))):
        before = listed()
        answer = client.ok("/v1/device/whitelist/add", key=key, Devices=devices(count, 1000 * before))
        assert client.ok("/v1/device/whitelist/add", key=key, Devices=devices(count, 1000 * before)) == answer
        for other in others:
            client.refused(
                "/v1/device/whitelist/add", 422, "idempotency_key_reused", key=key, Devices=devices(other, 1 << 40)
            )
        assert listed() == before + count


def test_spelling_of_a_repeat_does_not_matter(gateway):
    client, domain = gateway.new_domain()
    url = "https://example.com/hook"
    one = '{"URL":"%s","Events":["*"],"Description":"d"}' % url
    two = '{ "Description" : "d",\n"Events" : [ "*" ] , "URL":"%s" }' % url.replace("/", "\\/")
    first = client.post("/v1/notification/webhook/create", data=one, key="k")
    again = client.post("/v1/notification/webhook/create", data=two, key="k")
    assert first.status_code == again.status_code == 200
    assert first.json()["WebhookUID"] == again.json()["WebhookUID"]
    named = {"URL": url, "Events": ["*"], "Description": "d", "DomainUID": domain}
    for caller in (client, gateway.operator):
        assert caller.ok("/v1/notification/webhook/create", key="k", **named)["WebhookUID"] == first.json()["WebhookUID"]


def test_webhooks(gateway):
    client, _ = gateway.new_domain()
    made = client.ok(
        "/v1/notification/webhook/create",
        URL="https://hooks.example.com/x?y=1",
        Events=["io.fleetseal.certificate.renewed.v1", "io.fleetseal.device.*"],
        Description="test",
    )
    assert made.pop("Secret").startswith("whsec_")
    assert client.ok("/v1/notification/webhook/get", WebhookUID=made["WebhookUID"]) == made
    assert client.ok("/v1/notification/webhook/list")["data"] == [made]
    for url in ("http://example.com:8080", "https://[2001:db8::1]:443/x?y=z", "https://a-b.example.com./%20"):
        assert client.ok("/v1/notification/webhook/create", URL=url, Events=["*"])["URL"] == url
    gone = client.ok("/v1/notification/webhook/delete", WebhookUID=made["WebhookUID"])
    assert gone == {"WebhookUID": made["WebhookUID"], "Status": "deleted"}
    client.refused("/v1/notification/webhook/get", 404, "not_found", "WebhookUID", WebhookUID=made["WebhookUID"])


def test_secrets_stand_nowhere(gateway, kafka, redis):
    client, domain = gateway.new_domain()
    key = client.ok("/v1/accesskey/create", Name="k")
    hook = client.ok("/v1/notification/webhook/create", URL="https://example.com/", Events=["*"])
    wanted = [key["APISecret"].encode(), hook["Secret"].encode()]
    for topic in ("registry.requests", "registry.state", "events"):
        for record in kafka.read("fleetseal." + topic):
            assert not any(w in (record.value or b"") for w in wanted), topic
    log = gateway.service.log_path.read_bytes()
    assert not any(w in log for w in [*wanted, gateway.operator_token.encode(), client.token.encode()])


def test_whitelist(gateway):
    client, _ = gateway.new_domain()
    answer = client.ok("/v1/device/whitelist/add", Devices=[{"RoTPublicUID": UID_1}, {"RoTPublicUID": UID_2.upper()}])
    assert answer == {"Added": 2, "Unchanged": 0}
    rows = client.ok("/v1/device/whitelist/list")["data"]
    assert [r["RoTPublicUID"] for r in rows] == [UID_1, UID_2]
    lines = "RoTPublicUID,PublicKey\r\n" + "".join(f"{i:016x}\r\n" for i in range(1, 1234))
    csv = {"Content-Type": "text/csv"}
    answer = client.post("/v1/device/whitelist/add", data=lines, headers=csv)
    assert answer.status_code == 200 and answer.json() == {"Added": 1233, "Unchanged": 0}
    seen, after = [], None
    while True:
        page = client.ok("/v1/device/whitelist/list", Limit=500, **({"After": after} if after else {}))
        seen += [r["RoTPublicUID"] for r in page["data"]]
        after = page["after"]
        if not page["has_more"]:
            break
    assert len(seen) == 1235 == len(set(seen)) and seen == sorted(seen)
    backwards = client.ok("/v1/device/whitelist/list", Limit=2, Order="DESC")["data"]
    assert [r["RoTPublicUID"] for r in backwards] == [UID_2, UID_1]
    assert client.ok("/v1/device/whitelist/remove", Devices=[{"RoTPublicUID": UID_1}]) == {"Removed": 1, "Unchanged": 0}
    for bad, field in (("nonsense\n", "line 1.RoTPublicUID"), (f"{UID_1},!!\n", "line 1.PublicKey"), (f"{UID_1},a,b\n", "line 1")):
        check_error(client.post("/v1/device/whitelist/add", data=bad, headers=csv), 400, "validation_error", field)
    check_error(client.post("/v1/device/whitelist/add", data="\n\n", headers=csv), 400, "missing_field")


def test_a_csv_names_its_domain(gateway):
    client, domain = gateway.new_domain()
    _, theirs = gateway.new_domain("Theirs")

    def add(caller, named):
        query = f"?DomainUID={named}" if named is not None else ""
        return caller.post("/v1/device/whitelist/add", data=UID_1, headers={"Content-Type": "text/csv"}, query=query)

    check_error(add(client, theirs), 404, "not_found", "DomainUID")
    check_error(add(client, "theirs"), 400, "validation_error", "DomainUID")
    check_error(add(gateway.operator, None), 400, "missing_field", "DomainUID")
    check_error(add(gateway.operator, NOBODY), 404, "not_found", "DomainUID")
    assert client.ok("/v1/device/whitelist/list")["data"] == []
    json_body = {"Devices": [{"RoTPublicUID": UID_1}]}
    for path, query, field in (
        ("/v1/device/whitelist/add", f"?DomainUID={domain}", "DomainUID"),
        ("/v1/device/whitelist/add", "?domainUID=x", "domainUID"),
        ("/v1/domain/get", f"?DomainUID={domain}", "DomainUID"),
    ):
        check_error(client.post(path, json_body if "add" in path else {}, query=query), 400, "unknown_field", field)
    for caller, named, added in ((client, domain, 1), (gateway.operator, domain, 0), (client, None, 0)):
        assert add(caller, named).json() == {"Added": added, "Unchanged": 1 - added}


def test_a_long_csv_with_keys(gateway):
    """100,000 lines with their keys are promised: the door takes that many bytes, here with one mistake in the last line."""
    client, _ = gateway.new_domain()
    key = base64.b64encode(
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).decode()
    lines = [f"{i:016x},{key}" for i in range(99_999)] + ["nonsense"]
    answer = client.post("/v1/device/whitelist/add", data="\n".join(lines), headers={"Content-Type": "text/csv"})
    check_error(answer, 400, "validation_error", "line 100000.RoTPublicUID")


def test_a_device_on_the_list_is_told(gateway, kafka):
    client, domain = gateway.new_domain()
    uid = uuid.uuid4().hex[:16]
    client.ok("/v1/device/whitelist/add", Devices=[{"RoTPublicUID": uid}])
    requests = [r.json() for r in kafka.read("fleetseal.device.requests") if r.key == uid.encode()]
    assert [r["type"] for r in requests] == ["device.unblock.v1"]
    assert requests[0]["domain"] == domain


def test_another_domains_things_do_not_exist(gateway):
    mine, _ = gateway.new_domain("Mine")
    theirs, their_domain = gateway.new_domain("Theirs")
    hook = theirs.ok("/v1/notification/webhook/create", URL="https://example.com/", Events=["*"])["WebhookUID"]
    key = theirs.ok("/v1/accesskey/create", Name="k")["APIKey"]
    mine.refused("/v1/notification/webhook/get", 404, "not_found", "WebhookUID", WebhookUID=hook)
    mine.refused("/v1/notification/webhook/delete", 404, "not_found", "WebhookUID", WebhookUID=hook)
    mine.refused("/v1/accesskey/revoke", 404, "not_found", "APIKey", APIKey=key)
    mine.refused("/v1/domain/get", 404, "not_found", "DomainUID", DomainUID=their_domain)
    mine.refused("/v1/accesskey/create", 404, "not_found", "DomainUID", DomainUID=their_domain, Name="k")
    check_error(mine.post("/v1/domain/list"), 403, "forbidden")
    check_error(mine.post("/v1/domain/create", {"Name": "x", "AccountType": "developer"}), 403, "forbidden")
    assert mine.ok("/v1/notification/webhook/list")["data"] == []
    gateway.operator.refused("/v1/accesskey/list", 400, "missing_field", "DomainUID")


def test_each_write_leaves_an_audit_line(gateway):
    client, domain = gateway.new_domain()
    client.ok("/v1/accesskey/create", Name="k")
    client.refused("/v1/accesskey/revoke", 404, "not_found", APIKey=NOBODY)
    check_error(gateway.client().post("/v1/authenticate", {"APIKey": NOBODY, "APISecret": "x"}), 401, "invalid_auth")

    def audited(count, **having):
        rows = gateway.service.logs(event="audit", **having)
        return len(rows) >= count and [(row["call"], row["status"]) for row in rows]

    assert harness.wait_until(lambda: audited(3, domain=domain, actor_kind="access-key")) == [
        ("/v1/authenticate", 200),
        ("/v1/accesskey/create", 200),
        ("/v1/accesskey/revoke", 404),
    ]
    assert ("/v1/authenticate", 401) in harness.wait_until(lambda: audited(1, actor_kind="nobody"))


def test_metrics(gateway):
    client, _ = gateway.new_domain()
    client.ok("/v1/accesskey/create", Name="k")
    samples = gateway.service.metrics()
    assert samples["fleetseal_owner_requests_answered"] >= 3 and samples["fleetseal_owner_requests_pending"] == 0
    assert any("/v1/accesskey/create" in name for name in samples), "requests are counted by route"
    assert any(name.startswith("fleetseal_processor_") for name in samples), "the owner's work is counted"


# ---- failures ----


def test_replies_survive_a_dropped_subscription(gateway, redis):
    client, _ = gateway.new_domain()
    for i in range(10):
        redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
        answer = client.ok("/v1/accesskey/create", key=f"k{i}", Name="k") if i < 4 else client.ok("/v1/domain/get")
        assert answer["DomainUID"]


def test_late_answer_is_202_and_can_be_read(start_service, work_folder):
    gateway = Gateway(start_service, work_folder)
    client, domain = gateway.new_domain()
    door = Gateway(start_service, work_folder / "door", replica=1, secrets_of=gateway, role="door", answer__timeout="300ms")
    far = door.client(client.token)
    gateway.service.pause()
    try:
        answer = far.post("/v1/accesskey/create", {"Name": "late"}, key="late")
        assert answer.status_code == 202 and int(answer.headers["Retry-After"]) > 0
        pending = answer.json()
        assert far.post("/v1/request/get", {"RequestUID": pending["RequestUID"]}).status_code == 202
        listed = far.post("/v1/device/whitelist/add", {"Devices": [{"RoTPublicUID": f"{i:016x}"} for i in range(120)]})
        assert listed.status_code == 202
    finally:
        gateway.service.resume()

    def outcome():
        later = [far.post("/v1/request/get", {"RequestUID": p["RequestUID"]}) for p in (pending, listed.json())]
        assert [answer.status_code for answer in later] == [200, 200], [answer.text for answer in later]
        return [answer.json() for answer in later]

    created, added = harness.wait_until(outcome, 40)
    assert added == {"Added": 120, "Unchanged": 0}, "of all its chunks"
    assert created["Name"] == "late"
    # the secret came with the 202, and works
    assert gateway.login({"APIKey": created["APIKey"], "APISecret": pending["APISecret"]})
    other, _ = gateway.new_domain("Other")
    other.refused("/v1/request/get", 404, "not_found", "RequestUID", RequestUID=pending["RequestUID"])


def test_a_late_repeat_shows_no_other_secret(start_service, work_folder):
    """The first call's connection was lost; its secret is the stored one, whatever the repeat made up."""
    gateway = Gateway(start_service, work_folder)
    client, _ = gateway.new_domain()
    door = Gateway(start_service, work_folder / "door", replica=1, secrets_of=gateway, role="door", answer__timeout="300ms")
    far = door.client(client.token)
    key, hook = "/v1/accesskey/create", "/v1/notification/webhook/create"
    webhook = {"URL": "https://example.com/", "Events": ["*"]}
    gateway.service.pause()
    calls = [(key, {"Name": "late"}, "late"), (hook, webhook, "late"), (key, {"Name": "late"}, None)]

    def all_at_once():  # each waits for its secret's sake
        with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(lambda call: door.client(client.token).post(*call), calls))

    try:
        first, repeats = all_at_once(), all_at_once()
    finally:
        gateway.service.resume()
    assert [answer.status_code for answer in first + repeats] == [202] * 6
    first, repeats = [answer.json() for answer in first], [answer.json() for answer in repeats]
    assert first[0]["APISecret"] and first[1]["Secret"]
    assert repeats[2]["APISecret"], "without a key nothing can be a repeat"
    for repeat in repeats[:2]:
        assert "APISecret" not in repeat and "Secret" not in repeat and "first" in repeat["Message"]

    def outcome():
        answer = far.post(key, {"Name": "late"}, key="late")
        return answer.json() if answer.status_code == 200 else None

    created = harness.wait_until(outcome, 40)
    assert "APISecret" not in created
    assert gateway.login({"APIKey": created["APIKey"], "APISecret": first[0]["APISecret"]})


def test_results_are_swept_until_none_is_left(start_service, work_folder, kafka, redis):
    """More than a batch a minute, but never more than a batch that its owner has not taken. The owner is played by this test: the
    members stand for no records."""
    first = Gateway(start_service, work_folder)
    _, domain = first.new_domain()
    first.service.stop()
    views = owners.Owners(kafka, redis)
    index = f"{{r{views.partition(domain)}}}i:expire"
    members = [f"{domain}/request/{uuid.uuid4()}" for _ in range(1234)]
    views.wire("ZADD", index, *(part for number, member in enumerate(members) for part in (1000 + number, member)))
    Gateway(start_service, work_folder / "again", secrets_of=first)

    def asked():
        requests = [r.json() for r in kafka.read("fleetseal.registry.requests") if r.key == domain.encode()]
        return [i for r in requests if r["type"] == "registry.expire.v1" for i in r["body"]["ids"]]

    for wanted in (500, 1000, 1234):
        harness.wait_until(lambda: len(asked()) >= wanted, 20, f"{wanted} results to be asked for")
        assert asked() == [m.split("/")[2] for m in members[:wanted]], "each once, and only after those before were taken"
        if wanted == 500:
            until = time.monotonic() + 2.5  # nothing moves: neither more of them nor the same again
            assert harness.wait_until(lambda: len(asked()) != 500 or time.monotonic() > until) and len(asked()) == 500
        views.wire("ZREM", index, *members[:wanted])


def test_flushed_view_comes_back(gateway, redis):
    """Nothing that is stored is reported as absent for long, and nothing is lost."""
    client, _ = gateway.new_domain()
    hook = client.ok("/v1/notification/webhook/create", URL="https://example.com/", Events=["*"])["WebhookUID"]
    redis.flush()
    answers = []

    def there_again():
        answer = client.post("/v1/notification/webhook/get", {"WebhookUID": hook})
        answers.append(answer.status_code)
        return answer.status_code == 200

    # the owner notices at its next write at the latest
    gateway.operator.post("/v1/domain/create", {"Name": "x", "AccountType": "developer"})
    harness.wait_until(there_again, 30)
    assert set(answers) <= {200, 503}
    assert client.ok("/v1/accesskey/create", Name="k")["Status"] == "ACTIVE"


def test_view_rebuilt_in_part(gateway, redis):
    """What is found is served; what is not found may still come."""
    client, _ = gateway.new_domain()
    hook = client.ok("/v1/notification/webhook/create", URL="https://example.com/", Events=["*"])["WebhookUID"]
    marks = [m for m in redis.cli("--raw", "KEYS", "{r*}#").split() if m]
    try:
        for mark in marks:
            redis.cli("HSET", mark, "part", "1")
        assert client.ok("/v1/notification/webhook/get", WebhookUID=hook)["WebhookUID"] == hook
        for path, body in (("/v1/notification/webhook/get", {"WebhookUID": NOBODY}), ("/v1/notification/webhook/list", {})):
            answer = client.post(path, body)
            check_error(answer, 503, "view_rebuilding")
            assert int(answer.headers["Retry-After"]) >= 1
    finally:
        for mark in marks:
            redis.cli("HDEL", mark, "part")
    client.refused("/v1/notification/webhook/get", 404, "not_found", "WebhookUID", WebhookUID=NOBODY)


def test_kafka_away(start_service, work_folder, make_kafka, make_redis):
    """Nothing is acknowledged that is not stored, and the repeat tells what became of it."""
    kafka, redis = make_kafka(), make_redis()
    gateway = Gateway(start_service, work_folder, kafka=kafka, redis=redis)
    client, _ = gateway.new_domain()
    kafka.pause()
    try:
        answer = client.post("/v1/accesskey/create", {"Name": "k"}, key="k")
        check_error(answer, 503, "outcome_unknown")
        assert int(answer.headers["Retry-After"]) >= 1
        assert client.post("/v1/domain/get").status_code == 200, "what is known can still be read"
    finally:
        kafka.resume()

    def stored():
        again = client.post("/v1/accesskey/create", {"Name": "k"}, key="k")
        return again if again.status_code == 200 else None

    created = harness.wait_until(stored, 60).json()
    assert client.ok("/v1/domain/get")["Usage"]["AccessKeys"] == 2
    assert created["APIKey"] in [k["APIKey"] for k in client.ok("/v1/accesskey/list")["data"]]


def test_redis_away(start_service, work_folder, make_redis):
    redis = make_redis()
    gateway = Gateway(start_service, work_folder, redis=redis)
    client, domain = gateway.new_domain()
    redis.kill()
    answer = client.post("/v1/domain/get")
    check_error(answer, 503, "view_rebuilding")
    assert int(answer.headers["Retry-After"]) >= 1
    redis.start()
    harness.wait_until(lambda: client.post("/v1/domain/get").status_code == 200, 30)
    assert client.ok("/v1/accesskey/create", Name="k")["DomainUID"] == domain


def test_stops_and_starts_where_it_was(start_service, work_folder):
    gateway = Gateway(start_service, work_folder)
    client, domain = gateway.new_domain()
    gateway.service.stop()
    again = Gateway(start_service, work_folder / "again", secrets_of=gateway)
    assert again.client(client.token).ok("/v1/domain/get")["DomainUID"] == domain
    eventually(lambda: again.client(client.token).ok("/v1/accesskey/create", Name="k"))
