"""Webhooks on real Kafka and Redis, subscribed through the real API, to a real receiver that checks signatures. What would break
a user: an event that does not arrive, one that cannot be trusted, an endpoint that holds up others or their memory, and a
notifier that can be sent into the operator's own network."""

import contextlib
import json
import threading
import time
import uuid

import confluent_kafka
import confluent_kafka.admin
import jsonschema
import pytest
import referencing

import harness
import owners
import webhook_receiver
from api_client import Gateway, make_server_tls
from harness import wait_until

EVENTS = "fleetseal.events"
DELIVERIES = "fleetseal.webhook.deliveries"
RENEWED = "io.fleetseal.certificate.renewed.v1"
INSTALLED = "io.fleetseal.certificate.installed.v1"
REGISTERED = "io.fleetseal.device.registered.v1"
QUICK = {"retry.tiers": "1s,2s", "webhook.allow_private": "true"}


@pytest.fixture
def quick_tiers(kafka):
    """Retry topics with delays that a test can wait for."""
    client = confluent_kafka.admin.AdminClient({"bootstrap.servers": kafka.brokers})
    names = ["fleetseal.webhook.retry.1s", "fleetseal.webhook.retry.2s"]
    there = client.list_topics(timeout=20).topics
    new = [confluent_kafka.admin.NewTopic(n, num_partitions=12, replication_factor=1) for n in names if n not in there]
    for made in client.create_topics(new).values() if new else []:
        made.result(20)


class Stack:
    """A gateway with one domain, and a notifier that shares its key."""

    def __init__(self, start_service, folder, kafka):
        self.start_service = start_service
        self.kafka = kafka
        self.gateway = Gateway(start_service, folder)
        self.operator, self.domain = self.gateway.new_domain()

    def notifier(self, replica=0, wait_ready=True, **config):
        settings = {"webhook.kek_file": self.gateway.files["webhook.kek"], **QUICK, **config}
        return self.start_service("webhook-notifier", replica, settings, wait_ready=wait_ready)

    def subscribe(self, receiver, events=("io.fleetseal.certificate.*",), url=None):
        made = self.operator.ok("/v1/notification/webhook/create", URL=url or receiver.url, Events=list(events))
        receiver.secrets.append(made["Secret"])
        return made["WebhookUID"]

    def emit(self, count, kind=RENEWED, domain=None):
        """That many events of devices; their ids."""
        producer = confluent_kafka.Producer({"bootstrap.servers": self.kafka.brokers, "linger.ms": 5})
        ids = [str(uuid.uuid4()) for _ in range(count)]
        failed = []
        for n, event_id in enumerate(ids):
            uid = f"{n:016x}"
            headers = {
                "ce_specversion": "1.0",
                "ce_id": event_id,
                "ce_source": f"/fleetseal/{domain or self.domain}",
                "ce_type": kind,
                "ce_subject": uid,
                "ce_time": owners.rfc3339(),
                "ce_partitionkey": uid,
                "ce_domain": domain or self.domain,
                "ce_sequence": f"{n + 1:020d}",
                "content-type": "application/json",
            }
            producer.produce(
                EVENTS,
                json.dumps({"uid": uid, "number": n}),
                uid,
                partition=owners.stable_hash(uid) % 12,
                headers=headers,
                on_delivery=lambda error, _: failed.append(error) if error else None,
            )
        producer.flush(20)
        assert not failed, failed
        return ids

    def attempts(self, webhook):
        found = [r.json() for r in self.kafka.read(DELIVERIES)]
        return [a for a in found if a["webhook"] == webhook]


@pytest.fixture
def stack(start_service, work_folder, kafka, quick_tiers):
    return Stack(start_service, work_folder, kafka)


@pytest.fixture
def receiver():
    with webhook_receiver.Receiver() as r:
        yield r


def event_ids(receiver):
    with receiver.lock:
        return {event["id"] for event in receiver.verified.values()}


def all_arrive(receiver, ids, seconds=30):
    wait_until(lambda: set(ids) <= event_ids(receiver), seconds, f"{len(ids)} events to arrive")


def schema(name):
    folder = harness.ROOT / "proto" / "schemas"
    registry = referencing.Registry(
        retrieve=lambda uri: referencing.Resource.from_contents(json.loads((folder / uri).read_text()))
    )
    return jsonschema.Draft202012Validator(json.loads((folder / f"{name}.json").read_text()), registry=registry)


# ---- what must not happen ----


def test_no_address_of_our_own_network(stack, receiver):
    webhook = stack.subscribe(receiver)
    notifier = stack.notifier(**{"webhook.allow_private": "false", "webhook.allow_http": "true"})
    stack.emit(1)

    def refused():
        return [a for a in stack.attempts(webhook) if a.get("error") == "the address is not public"]

    assert wait_until(refused, what="the attempt to be refused")[0]["outcome"] == "failed"
    assert receiver.attempts == {} and receiver.refused == []
    assert notifier.metrics()['webhook_attempts_total{outcome="delivered"}'] == 0


def test_no_plain_text_unless_it_is_allowed(stack, receiver):
    webhook = stack.subscribe(receiver)
    stack.notifier(**{"webhook.allow_private": "false"})
    stack.emit(1)
    attempts = wait_until(lambda: stack.attempts(webhook), what="an attempt")
    assert "http" in attempts[0]["error"] and receiver.attempts == {}


def test_no_certificate_of_nobody(stack, work_folder):
    _, certificate, key = make_server_tls(work_folder / "foreign")
    with webhook_receiver.Receiver(certificate, key) as receiver:
        webhook = stack.subscribe(receiver)
        stack.notifier()
        stack.emit(1)
        attempts = wait_until(lambda: stack.attempts(webhook), what="an attempt")
        assert "certificate" in attempts[0]["error"] and receiver.attempts == {}


def test_a_redirect_is_a_failure(stack, receiver):
    with webhook_receiver.Receiver() as elsewhere:
        receiver.answer = lambda attempt, event: (302, {"Location": elsewhere.url}) if attempt == 1 else 204
        webhook = stack.subscribe(receiver)
        stack.notifier()
        all_arrive(receiver, stack.emit(1))
        wait_until(lambda: len(stack.attempts(webhook)) == 2, what="both attempts to be told")
        assert sorted(a["status"] for a in stack.attempts(webhook)) == [204, 302]
        assert elsewhere.attempts == {} and elsewhere.refused == []


def test_another_domain_gets_nothing(stack, receiver):
    stack.subscribe(receiver)
    stack.notifier()
    stack.emit(5, domain=str(uuid.uuid4()))
    ours = stack.emit(5)
    all_arrive(receiver, ours)
    assert event_ids(receiver) == set(ours)


def test_what_cannot_be_read_goes_to_the_dead_letters(stack, receiver, kafka):
    stack.subscribe(receiver)
    stack.notifier()
    mark = str(uuid.uuid4())
    kafka.produce(EVENTS, "{", key=mark, headers={"ce_specversion": "1.0", "ce_id": mark}, partition=3)
    kafka.produce("fleetseal.webhook.requests", "not json", key=mark, partition=4)
    all_arrive(receiver, stack.emit(50))
    for topic in (EVENTS, "fleetseal.webhook.requests"):
        dead = wait_until(lambda t=topic: [r for r in kafka.read(t + ".dlq") if r.key == mark.encode()], what=f"{topic}.dlq")
        assert dead[0].headers["source-topic"] == topic
        jsonschema.validate(dead[0].headers, {"required": ["reason", "code", "field", "text", "source-offset"]})
        assert not list(schema("headers.dead-letter").iter_errors(dead[0].headers))


def test_no_record_stops_its_partition(stack, receiver, kafka):
    """Records that are refused only when they are written on, and one too large for the dead letters as it is."""
    webhook = stack.subscribe(receiver)
    stack.notifier()
    mark = str(uuid.uuid4())
    far, past = "9999-01-01T00:00:00.000Z", owners.rfc3339()
    event = {
        "ce_specversion": "1.0",
        "ce_id": mark,
        "ce_source": "/test",
        "ce_type": RENEWED,
        "ce_domain": stack.domain,
        "content-type": "application/json",
    }
    delivery = {
        "type": "webhook-delivery.v1",
        "id": str(uuid.uuid4()),
        "webhook": webhook,
        "domain": stack.domain,
        "event_id": mark,
        "event_type": RENEWED,
        "created_at": past,
    }
    deliveries = [
        b"x" * 1_048_000,
        json.dumps({**delivery, "event": {}, "attempts": 2147483647}).encode(),
        (json.dumps({**delivery, "event": {}})[:-2] + '"data":[' + ",".join(["0.1"] * 18000) + "]}}").encode(),
    ]
    events = [b"x" * 1_048_000, b"[" + b",".join([b"0.1"] * 16000) + b"]"]
    at = owners.stable_hash(webhook) % 12
    for value in events:
        kafka.produce(EVENTS, value, key=mark, headers=event, partition=3)
    for value in deliveries:
        kafka.produce("fleetseal.webhook.requests", value, key=mark, partition=at)
    # not due in any time that its tier knows: written by a clock that was set back later
    ahead = {**delivery, "due_at": far, "event": {"specversion": "1.0", "id": mark, "type": RENEWED}}
    kafka.produce("fleetseal.webhook.retry.1s", json.dumps(ahead), key=mark, partition=at)
    all_arrive(receiver, [*stack.emit(50), mark])
    for topic, count in ((EVENTS, len(events)), ("fleetseal.webhook.requests", len(deliveries))):
        dead = wait_until(
            lambda t=topic, n=count: (found := [r for r in kafka.read(t + ".dlq") if r.key == mark.encode()])[n - 1 :] and found,
            what=f"{topic}.dlq",
        )
        assert len(dead) == count and len(dead[0].value) == 65536 and dead[0].headers["source-size"] == "1048000"


# ---- what must happen ----


def test_a_secret_that_does_not_open_is_told(stack, receiver, work_folder):
    webhook = stack.subscribe(receiver)
    other = work_folder / "other.kek"
    other.touch(mode=0o600)
    other.write_bytes(bytes(32))
    notifier = stack.notifier(**{"webhook.kek_file": other})
    ids = stack.emit(1)
    attempt = wait_until(lambda: stack.attempts(webhook), what="the failure to be told")[0]
    assert (attempt["attempt"], attempt["outcome"]) == (0, "failed") and "secret" in attempt["error"]
    notifier.stop()
    stack.notifier()
    all_arrive(receiver, ids)


def test_every_event_of_the_subscription_arrives_signed(stack, work_folder, kafka):
    ca, certificate, key = make_server_tls(work_folder / "endpoint")
    with webhook_receiver.Receiver(certificate, key) as every, webhook_receiver.Receiver() as some:
        webhooks = [stack.subscribe(every, ["*"]), stack.subscribe(some, [RENEWED, "io.fleetseal.device.*"])]
        stack.notifier(**{"webhook.ca_file": ca})
        renewed, installed, registered = stack.emit(150), stack.emit(100, INSTALLED), stack.emit(50, REGISTERED)
        all_arrive(every, renewed + installed + registered)
        all_arrive(some, renewed + registered)
        assert not event_ids(some) & set(installed)
        assert every.refused == some.refused == []
        event = next(e for e in every.verified.values() if e["id"] == renewed[7])
        assert event["type"] == RENEWED and event["data"] == {"uid": f"{7:016x}", "number": 7}
        assert (event["specversion"], event["datacontenttype"], event["domain"]) == ("1.0", "application/json", stack.domain)
        assert event["sequence"] == f"{8:020d}"
        for webhook, count in zip(webhooks, (300, 200)):
            wait_until(lambda w=webhook, c=count: len(stack.attempts(w)) >= c, what="all attempts to be told")
            for attempt in stack.attempts(webhook):
                assert not list(schema("webhook-attempt.v1").iter_errors(attempt)), attempt
                assert (attempt["outcome"], attempt["attempt"]) == ("delivered", 1) and "response" not in attempt
        for record in kafka.read("fleetseal.webhook.requests"):
            if record.value and record.value.startswith(b"{") and record.json()["webhook"] in webhooks:
                assert not list(schema("webhook-delivery.v1").iter_errors(record.json())), record


def test_a_failure_is_tried_again_by_tiers(stack, receiver):
    receiver.answer = lambda attempt, event: 500 if attempt <= 2 else 204
    webhook = stack.subscribe(receiver)
    stack.notifier(**{"breaker.failures": "100"})
    ids = stack.emit(3)
    all_arrive(receiver, ids)
    wait_until(lambda: len(stack.attempts(webhook)) == 9, what="all attempts to be told")
    deliveries = {}
    for attempt in stack.attempts(webhook):
        deliveries.setdefault(attempt["delivery"], []).append(attempt)
    assert len(deliveries) == 3
    for attempts in deliveries.values():
        attempts.sort(key=lambda a: a["attempt"])
        assert [(a["attempt"], a["outcome"]) for a in attempts] == [(1, "failed"), (2, "failed"), (3, "delivered")]
        times = [time.mktime(time.strptime(a["at"][:19], "%Y-%m-%dT%H:%M:%S")) for a in attempts]
        assert 0 <= times[1] - times[0] <= 4 and 1 <= times[2] - times[1] <= 6
        assert attempts[1]["at"] >= attempts[0]["next_at"] and attempts[2]["at"] >= attempts[1]["next_at"]


def test_retry_after_is_obeyed(stack, receiver):
    receiver.answer = lambda attempt, event: (429, {"Retry-After": "2"}) if attempt == 1 else 204
    webhook = stack.subscribe(receiver)
    stack.notifier()
    all_arrive(receiver, stack.emit(1))
    first = wait_until(lambda: [a for a in stack.attempts(webhook) if a["attempt"] == 1], what="the first attempt")[0]

    def ms(text):
        return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) * 1000 + int(text[20:23])

    assert ms(first["next_at"]) - ms(first["at"]) >= 2000


def test_retry_after_holds_for_all_deliveries(stack, receiver):
    receiver.answer = lambda attempt, event: (503, {"Retry-After": "2"}) if sum(receiver.attempts.values()) == 1 else 204
    stack.subscribe(receiver)
    notifier = stack.notifier(**{"send.per_endpoint": "1"})
    started = time.monotonic()
    ids = stack.emit(30)
    all_arrive(receiver, ids)
    assert time.monotonic() - started >= 2
    with receiver.lock:
        assert sum(n for n in receiver.attempts.values()) == len(ids) + 1
    assert notifier.metrics()['webhook_deferred_total{why="breaker"}'] == len(ids) - 1


def test_gone_disables_the_webhook(stack, receiver, kafka):
    receiver.answer = lambda attempt, event: 410
    webhook = stack.subscribe(receiver)
    stack.notifier()
    stack.emit(1)

    def status():
        return stack.operator.ok("/v1/notification/webhook/get", WebhookUID=webhook)

    shown = wait_until(lambda: status() if status()["Status"] == "disabled" else None, what="the webhook to be disabled")
    assert "410" in shown["Reason"]
    told = [r for r in kafka.read(EVENTS) if r.headers.get("ce_type") == "io.fleetseal.webhook.disabled.v1"]
    assert [r.json()["webhook"] for r in told].count(webhook) == 1
    before = len(receiver.attempts)
    with webhook_receiver.Receiver() as other:
        stack.subscribe(other)
        all_arrive(other, stack.emit(20))
    assert len(receiver.attempts) == before


def test_an_endpoint_that_only_fails_is_disabled_at_last(stack, receiver):
    receiver.answer = lambda attempt, event: 500
    webhook = stack.subscribe(receiver)
    stack.notifier(**{"webhook.disable_after": "3s", "breaker.open": "200ms"})
    stack.emit(8)

    def disabled():
        stack.emit(1)
        return stack.operator.ok("/v1/notification/webhook/get", WebhookUID=webhook)["Status"] == "disabled"

    wait_until(disabled, 30, "the webhook to be disabled")


def test_a_hanging_endpoint_delays_nobody(stack, receiver):
    release = threading.Event()
    with webhook_receiver.Receiver(answer=lambda attempt, event: 204 if release.wait(60) else 500) as hanging:
        stack.subscribe(hanging)
        stack.subscribe(receiver)
        notifier = stack.notifier(**{"send.timeout": "30s"})
        started = time.monotonic()
        ids = stack.emit(400)
        all_arrive(receiver, ids, 20)
        assert time.monotonic() - started < 15
        assert hanging.most_concurrent == 4
        wait_until(lambda: notifier.metrics()["webhook_in_flight"] == 4, what="only the hanging one to be left")
        release.set()
        all_arrive(hanging, ids)
        assert hanging.most_concurrent == 4


def test_what_does_not_fit_goes_to_a_tier(stack, receiver):
    stack.subscribe(receiver)
    notifier = stack.notifier(**{"send.endpoint_pending": "10", "send.per_endpoint": "1"})
    all_arrive(receiver, stack.emit(300), 120)
    assert notifier.metrics()['webhook_deferred_total{why="full"}'] > 0


def test_slow_endpoints_leave_room_for_others(stack, receiver):
    """One customer's endpoints work, but slowly, and fill the memory for all; another customer's must not climb the tiers for it."""
    other, domain = stack.gateway.new_domain("Other")
    made = other.ok("/v1/notification/webhook/create", URL=receiver.url, Events=["*"])
    receiver.secrets.append(made["Secret"])
    released = threading.Event()
    slow = [webhook_receiver.Receiver(answer=lambda attempt, event: 204 if released.wait(2) else 204) for _ in range(5)]
    with contextlib.ExitStack() as open_receivers:
        for endpoint in slow:
            stack.subscribe(open_receivers.enter_context(endpoint))
        notifier = stack.notifier(**{"send.pending": "30", "send.per_endpoint": "1", "retry.tiers": "1s,1m"})
        theirs = stack.emit(100)
        wait_until(lambda: notifier.metrics()["webhook_in_hand"] >= 30, what="no room to be left")
        for _ in range(3):
            all_arrive(receiver, stack.emit(12, domain=domain), 15)
        assert notifier.metrics()["webhook_in_hand"] <= 2 * 30 + 6 * 4
        assert all(len(event_ids(endpoint)) < len(theirs) for endpoint in slow), "they were slow all the time"
        released.set()


def test_kill_in_the_middle_loses_nothing(stack, receiver):
    stack.subscribe(receiver)
    notifier = stack.notifier()
    ids = stack.emit(600)
    wait_until(lambda: len(event_ids(receiver)) > 100, what="the first deliveries")
    notifier.kill()
    assert len(event_ids(receiver)) < len(ids)
    stack.notifier(wait_ready=False)
    all_arrive(receiver, ids, 60)
    assert set(ids) == event_ids(receiver)


def test_stopping_gives_back_what_is_under_way(stack, receiver):
    release = threading.Event()
    receiver.answer = lambda attempt, event: 204 if release.wait(60) else 500
    stack.subscribe(receiver)
    notifier = stack.notifier(**{"send.timeout": "60s"})
    ids = stack.emit(30)
    wait_until(lambda: notifier.metrics()["webhook_in_flight"] == 4, what="deliveries under way")
    notifier.stop(10)
    release.set()
    stack.notifier()
    all_arrive(receiver, ids)


def test_a_flushed_redis_costs_no_event(stack, receiver, redis):
    stack.subscribe(receiver)
    stack.notifier()
    all_arrive(receiver, stack.emit(20))
    redis.flush()
    all_arrive(receiver, stack.emit(100), 60)


def test_two_replicas_share_and_hand_over(stack, receiver):
    stack.subscribe(receiver)
    first = stack.notifier(0)
    stack.notifier(1)
    ids = stack.emit(300)
    all_arrive(receiver, ids)
    first.stop()
    stack.notifier(0, wait_ready=False)
    all_arrive(receiver, stack.emit(100), 60)
