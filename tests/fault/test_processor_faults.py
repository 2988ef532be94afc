"""The processor on a real broker, killed, stopped, robbed of its view and of its brokers: nothing lost, nothing doubled."""

import json

import confluent_kafka
import harness
import owner_rig
import pytest
from owner_rig import REQUESTS, STEPS, await_death, await_stop


def test_an_undisturbed_owner_does_the_sums(reference):
    state, events, dead = owner_rig.model(REQUESTS)
    assert {k.decode(): json.loads(v) for k, v in reference.state.items()} == state
    assert {k.decode(): [(i, json.loads(v)) for i, v in of] for k, of in reference.events.items()} == events
    assert sorted(json.loads(value)["id"] for value, _ in reference.dead) == dead
    assert {code for _, code in reference.dead} == {"asked_for"}
    assert len(reference.view) > len(state), "records and indexes"
    assert len(reference.replies) == sum(map(len, events.values()))


# ---- killed ----


@pytest.mark.parametrize("time", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("step", STEPS)
def test_killed_between_two_steps(rig, reference, step, time):
    rig.produce(REQUESTS)
    await_death(rig.owner("--kill", f"{step}:{time}"))
    owner = rig.owner()
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()
    rig.check(reference)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["catching-up", *STEPS])
def test_killed_twice_in_a_row(rig, reference, step):
    rig.produce(REQUESTS)
    await_death(rig.owner("--kill", f"{step}:2"))
    await_death(rig.owner("--kill", f"{step}:2"))
    owner = rig.owner()
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()
    rig.check(reference)


# ---- hung, and replaced ----


def test_a_hung_owner_whose_offsets_are_handed_over_is_waited_for(rig, reference):
    """It wakes inside the transaction timeout, when another already has its partitions: what it commits then counts.
    One that waits for longer than its own transactions may last says so, for an operator."""
    rig.produce(REQUESTS)
    old = rig.owner("--stop", "offsets-sent:2", transaction_ms=40000)
    await_stop(old)
    new = rig.owner(instance="owner-1", transaction_ms=2000)
    told = new.wait_for_log(30, event="recovery_held_back")[0]
    assert told["topic"] == f"{rig.prefix}.requests" and told["partition"] in range(owner_rig.PARTITIONS)
    assert 6000 <= told["waited_ms"] < 20000
    assert new.logs(event="partitions_live") == [], "it must wait for the transaction that is open on its partitions"
    old.resume()
    rig.settle(REQUESTS, owners=[old, new])
    assert old.logs(event="clients_rebuilt", at="commit") == [], "the commit was to succeed"
    old.stop()
    new.stop()
    rig.check(reference)


def test_a_producers_first_transaction_ends_what_is_pending(rig):
    """A broker may have lost the end of its predecessor's (KAFKA-20734): the offsets in it would count with the next commit. Seen
    in the log only: a broker without that fault leaves nothing pending."""
    rig.produce(REQUESTS)
    owner = rig.owner()
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()

    def topics_in(isolation):
        found = rig.kafka.read("__consumer_offsets", **{"isolation.level": isolation})
        names = ("requests", "state")
        return {n for n in names if any(f"{rig.prefix}.{n}".encode() in (r.key or b"") for r in found)}

    assert topics_in("read_uncommitted") == {"requests", "state"}
    assert topics_in("read_committed") == {"requests"}


def test_logs_that_end_in_an_open_transaction_are_waited_for(rig, reference):
    """Whoever left it open: these partitions are not live before it has ended, and one says what it waits for. The others go
    on meanwhile, also when the view is lost."""
    state, held = f"{rig.prefix}.state", {0, 1, 2}
    stranger = confluent_kafka.Producer(
        {"bootstrap.servers": rig.kafka.brokers, "transactional.id": f"{rig.prefix}.stranger", "linger.ms": 0}
    )
    stranger.init_transactions(30)
    stranger.begin_transaction()
    for partition in held:
        stranger.produce(state, b"never committed", key=b"k-of-nobody", partition=partition)
    assert stranger.flush(30) == 0
    others = [owner_rig.partition_of(r["key"]) not in held and not r.get("dead") for r in REQUESTS]
    assert 10 < sum(others[:120]) < sum(others)

    rig.produce(owner_rig.FIRST)
    owner = rig.owner(transaction_ms=2000)
    rig.wait_for_events(sum(others[:120]))
    told = owner.wait_for_log(30, event="recovery_held_back")[0]
    assert told["topic"] == state and told["partition"] in held
    rig.redis.flush()
    rig.produce(owner_rig.THEN)
    rig.wait_for_events(sum(others))
    assert owner.logs(event="partitions_live") == []

    stranger.abort_transaction(30)
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()
    rig.check(reference)


def test_offsets_that_an_open_transaction_holds_back_hold_up_no_other_partition(rig, reference):
    """As it is after a hung owner's partitions have moved: only those that it handed over are waited for."""
    only = [r for r in REQUESTS if owner_rig.partition_of(r["key"]) == 1][:20]
    rest = [r for r in REQUESTS if r not in only]
    others = sum(owner_rig.partition_of(r["key"]) != 1 and not r.get("dead") for r in rest)
    rig.produce(only)
    old = rig.owner("--stop", "offsets-sent:1", transaction_ms=40000)
    await_stop(old)
    new = rig.owner(instance="owner-1", transaction_ms=2000)
    rig.produce(rest)
    rig.wait_for_events(others)
    told = new.wait_for_log(30, event="recovery_held_back")[0]
    assert (told["topic"], told["partition"]) == (f"{rig.prefix}.requests", 1)
    old.resume()
    rig.settle(REQUESTS, owners=[old, new])
    old.stop()
    new.stop()
    rig.check(reference)


def test_a_hung_owner_that_wakes_too_late_is_refused(rig, reference):
    """It wakes after the transaction timeout, when another has done its requests again."""
    rig.produce(REQUESTS)
    old = rig.owner("--stop", "offsets-sent:2", transaction_ms=4000)
    await_stop(old)
    new = rig.owner(instance="owner-1")
    rig.settle(REQUESTS, owners=[new])
    old.resume()
    old.wait_for_log(30, event="clients_rebuilt", at="commit")
    old.stop()
    new.stop()
    rig.check(reference)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["decided", "produced", "committed", "view-written"])
def test_an_owner_that_hangs_at_another_step(rig, reference, step):
    rig.produce(REQUESTS)
    old = rig.owner("--stop", f"{step}:2", transaction_ms=4000)
    await_stop(old)
    new = rig.owner(instance="owner-1")
    rig.settle(REQUESTS, owners=[new])
    old.resume()
    harness.wait_until(
        lambda: old.logs(event="partitions_revoked") or old.logs(event="clients_rebuilt"), 30, "the old owner to notice"
    )
    old.stop()
    new.stop()
    rig.check(reference)


def test_an_owner_that_hangs_while_it_drops_a_view_leaves_the_next_one_alone(rig, reference):
    rig.produce(owner_rig.FIRST)
    owner = rig.owner()
    rig.settle(owner_rig.FIRST, owners=[owner])
    owner.stop()
    with owner_rig.Resp(rig.redis) as r:
        for p in range(owner_rig.PARTITIONS):
            r("HSET", f"{{r{p}}}#", "log", "0" * 32)
    old = rig.owner("--stop", "view-dropping:1")
    await_stop(old)
    new = rig.owner(instance="owner-1")
    rig.produce(owner_rig.THEN)
    rig.settle(REQUESTS, owners=[new])
    old.resume()
    harness.wait_until(
        lambda: old.logs(event="partitions_revoked") or old.logs(event="processor_waits"), 30, "the old owner to notice"
    )
    old.stop()
    new.stop()
    rig.check(reference)


@pytest.mark.slow
def test_two_owners_hand_partitions_to_each_other_while_requests_flow(rig):
    first = rig.owner(instance="owner-0")
    with rig.flow(owner_rig.request_list(20000, keys=60, seed=2)) as requests:
        for _ in range(3):
            second = rig.owner(instance="owner-1")
            second.wait_for_log(30, event="partitions_live")
            first.stop()
            wait_for_all_partitions(second)
            first = rig.owner(instance="owner-0")
            first.wait_for_log(30, event="partitions_live")
            second.stop()
            wait_for_all_partitions(first)
    rig.settle(requests, owners=[first])
    first.stop()
    rig.check_against_model(requests)


def wait_for_all_partitions(owner):
    def has_all():
        lines = owner.logs(event="partitions_assigned")
        return lines and lines[-1]["partitions"] == owner_rig.PARTITIONS

    harness.wait_until(has_all, 30, f"{owner.name} to have all partitions")


# ---- robbed of its view ----


@pytest.mark.parametrize("step", ["decoded", "loaded", "committed", "view-written", "catching-up"])
def test_redis_is_flushed(rig, reference, step):
    """Between a load and the write after it, between a write and the next load, in the middle of a rebuild."""
    rig.produce(REQUESTS[:100])
    if step == "catching-up":
        owner = rig.owner()
        rig.settle(REQUESTS[:100], owners=[owner])
        owner.stop()
        rig.redis.flush()
    owner = rig.owner("--stop", f"{step}:2")
    await_stop(owner)
    rig.redis.flush()
    owner.resume()
    rig.produce(REQUESTS[100:])
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()
    rig.check(reference)


def test_redis_is_flushed_again_and_again_while_requests_flow(rig):
    """Requests that are fetched while their partition catches up must neither be lost nor done twice."""
    owner = rig.owner()
    with rig.flow(owner_rig.request_list(20000, keys=500, seed=3)) as requests:
        for n in range(1, 7):
            rig.wait_for_events(150 * n)
            lives = len(owner.logs(event="partitions_live"))
            rig.redis.flush()
            harness.wait_until(lambda: len(owner.logs(event="partitions_live")) > lives, 30, "the view to be back")
    rig.settle(requests, owners=[owner])
    owner.stop()
    rig.check_against_model(requests)


def test_redis_comes_back_empty(rig, reference):
    rig.produce(REQUESTS[:100])
    owner = rig.owner("--stop", "committed:3")
    await_stop(owner)
    rig.redis.kill()
    owner.resume()
    rig.produce(REQUESTS[100:])
    owner.wait_for_log(30, event="processor_waits")
    rig.redis.start()
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()
    rig.check(reference)


@pytest.mark.parametrize("step", ["loaded", "committed", "view-written"])
def test_redis_fails_over_to_an_old_copy(rig, reference, step):
    """What a replica that lagged knows: everything as it was some transactions ago, marks and all."""
    rig.produce(REQUESTS)
    owner = rig.owner("--stop", "view-written:2", "--stop", f"{step}:5")
    await_stop(owner)
    with owner_rig.Resp(rig.redis) as r:
        old = r.snapshot()
        owner.resume()
        owner.wait_for_log(30, event="fault", step=step) if step != "view-written" else harness.wait_until(
            lambda: len(owner.logs(event="fault")) == 2, 30, "the second stop"
        )
        await_stop(owner)
        r.restore(old)
    owner.resume()
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()
    rig.check(reference)


def test_an_old_copy_is_put_back_while_no_owner_runs(rig, reference):
    rig.produce(REQUESTS[:60])
    owner = rig.owner()
    rig.settle(REQUESTS[:60], owners=[owner])
    with owner_rig.Resp(rig.redis) as r:
        old = r.snapshot()
    rig.produce(REQUESTS[60:120])
    rig.settle(REQUESTS[:120], owners=[owner])
    owner.stop()
    with owner_rig.Resp(rig.redis) as r:
        r.restore(old)
    rig.produce(REQUESTS[120:])
    owner = rig.owner()
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()
    rig.check(reference)


@pytest.mark.parametrize("lie", ["another log", "beyond the end"])
def test_a_view_that_is_not_of_this_log_is_dropped(rig, reference, lie):
    rig.produce(REQUESTS)
    owner = rig.owner()
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()
    with owner_rig.Resp(rig.redis) as r:
        for p in range(owner_rig.PARTITIONS):
            if lie == "another log":
                r("HSET", f"{{r{p}}}#", "log", "0" * 32)
            else:
                r("HSET", f"{{r{p}}}#", "off", "1000000")
            r("SET", f"{{r{p}}}:ghost", "never in the log")
    owner = rig.owner()
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()
    rig.check(reference)


@pytest.mark.slow
def test_a_view_of_50000_keys_is_rebuilt(rig):
    requests = [owner_rig.request(n, f"key-{n:05}", n) for n in range(50000)]
    rig.produce(requests)
    owner = rig.owner(batch=1000)
    rig.settle(requests, seconds=240, owners=[owner])
    before = rig.view()
    rig.redis.flush()
    rig.settle(requests, seconds=120, owners=[owner])
    assert rig.view() == before
    owner.stop()


# ---- robbed of its brokers ----


@pytest.mark.slow
@pytest.mark.parametrize("step", ["loaded", "produced", "offsets-sent", "committed"])
def test_the_broker_is_killed(make_kafka, make_rig, reference, step):
    kafka = make_kafka(topics=False)
    rig = make_rig(kafka)
    rig.produce(REQUESTS[:120])
    owner = rig.owner("--stop", f"{step}:2")
    await_stop(owner)
    kafka.kill()
    owner.resume()
    owner.wait_for_log(40, event="clients_rebuilt") if step in ("produced", "offsets-sent") else None
    kafka.start()
    rig.produce(REQUESTS[120:])
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()
    rig.check(reference)


@pytest.mark.slow
def test_one_broker_of_three_is_lost(make_kafka, make_rig):
    kafka = make_kafka(nodes=3, topics=False)
    rig = make_rig(kafka)
    owner = rig.owner()
    with rig.flow(owner_rig.request_list(20000, keys=60, seed=4)) as requests:
        for node in (1, 2, 3):
            rig.wait_for_events(rig.seen_events() + 200)
            kafka.kill(node)
            rig.wait_for_events(rig.seen_events() + 200, seconds=90)
            kafka.start_node(node)
    rig.settle(requests, owners=[owner])
    owner.stop()
    rig.check_against_model(requests)


@pytest.mark.parametrize("step", ["replied", "offsets-sent"])
def test_it_stops_in_time_while_kafka_is_away(make_kafka, make_rig, step):
    kafka = make_kafka(topics=False)
    rig = make_rig(kafka)
    rig.produce(REQUESTS)
    owner = rig.owner("--stop", f"{step}:2")
    await_stop(owner)
    kafka.kill()
    owner.stop(seconds=10)


# ---- poisoned ----


@pytest.mark.parametrize("at", [0, 500, 899])
def test_a_request_that_crashes_its_owner_is_put_aside(rig, at):
    """After at most three attempts, wherever in a batch it stands; what is around it is done."""
    requests = owner_rig.request_list(900, seed=6)
    for r in requests:
        r.pop("sign", None)
    poison = owner_rig.request(99999, requests[at]["key"], 1, crash=True)
    rig.produce([*requests[:at], poison, *requests[at:]])
    dead = len(owner_rig.model(requests)[2]) + 1
    crashes = 0
    # The pause after its first round lets all that is left become one batch.
    owner = rig.owner("--spacing-ms", 1000, batch=1000)
    while True:
        harness.wait_until(lambda: not owner.running or rig.seen_dead() == dead, 30, "a crash or the last dead letter")
        if owner.running:
            break
        await_death(owner)
        crashes += 1
        assert crashes <= 3, "three attempts are enough"
        owner = rig.owner(batch=1000)
    rig.settle(requests, dead=dead, owners=[owner])
    owner.stop()
    letters = rig.kafka.read(f"{rig.prefix}.requests.dlq")
    assert [r.json()["id"] for r in letters if r.headers["code"] == "crashed"] == [poison["id"]]
    rig.check_against_model(requests, [poison["id"]])


BAD = {
    "not JSON": (b"\xff\x00 nonsense", "invalid"),
    "cut off": (b'{"type":"counter.add.v1","id":"x"', "invalid"),
    "empty": (b"", "invalid"),
    "too deep": (b'{"a":' * 100 + b"1" + b"}" * 100, None),
    "a megabyte": (b'{"type":"counter.add.v1","id":"' + b"x" * 1000000 + b'"}', "too_large"),
    "another version": (b'{"type":"counter.add.v9","id":"x","key":"k000","add":1}', "unsupported"),
    "a wrong type": (b'{"type":"counter.add.v1","id":"x","key":"k000","add":"many"}', "invalid"),
}


def test_what_cannot_be_decoded_goes_to_the_dead_letters(rig, reference):
    mixed = list(REQUESTS)
    for n, (value, _) in enumerate(BAD.values()):
        mixed.insert(30 * (n + 1), value)
    rig.produce(mixed)
    owner = rig.owner()
    rig.settle(REQUESTS, dead=len(reference.dead) + len(BAD), owners=[owner])
    owner.stop()
    dead = [r for r in rig.kafka.read(f"{rig.prefix}.requests.dlq") if r.headers["code"] != "asked_for"]
    assert len(dead) == len(BAD)
    requests = {(r.partition, r.offset): r for r in rig.kafka.read(f"{rig.prefix}.requests")}
    for letter in dead:
        source = requests[int(letter.headers["source-partition"]), int(letter.headers["source-offset"])]
        name, reason = next((name, reason) for name, (value, reason) in BAD.items() if value == source.value)
        assert letter.headers["source-topic"] == f"{rig.prefix}.requests"
        assert letter.headers["source-size"] == str(len(source.value))
        assert letter.key == source.key
        assert reason in (None, letter.headers["reason"]), name
        assert letter.headers["code"] and letter.headers["text"]
        kept = source.value if len(source.value) <= 512 * 1024 else source.value[: 64 * 1024]
        assert letter.value == kept, name
    out = rig.outcome()
    assert (out.state, dict(out.events), out.view) == (reference.state, dict(reference.events), reference.view)


def test_an_unknown_state_version_stops_its_partition_with_an_alarm_and_no_other(rig):
    """It is never skipped: a newer version wrote it, this one must not decide on what it cannot read."""
    requests = owner_rig.request_list(60, seed=5)
    bad = owner_rig.partition_of("k-from-the-future")
    others = [r for r in requests if owner_rig.partition_of(r["key"]) != bad and "to" not in r]
    value = json.dumps({"type": "counter.v2", "key": "k-from-the-future"}).encode()
    rig.kafka.produce(f"{rig.prefix}.state", value, key=b"k-from-the-future", partition=bad)
    owner = rig.owner()
    owner.wait_for_log(event="state_record_unreadable", partition=bad)
    rig.produce(others)
    _, events, _ = owner_rig.model(others)
    rig.wait_for_events(sum(map(len, events.values())))
    assert owner.logs(event="ready") == [], "it must not call itself ready"
    assert rig.marks()[bad][1] <= 0
    owner.stop()
