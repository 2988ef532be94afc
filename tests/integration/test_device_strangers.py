"""Keys that anybody can make, at the device door. What would break a user: a flood of them that fills the log or Redis, that
keeps devices out somebody vouches for, or that shuts a device out for good which only came too early."""

import concurrent.futures
import time
import uuid

import device_door
import harness
import owners
import pytest
from test_device_door import Rig, assert_error, payload_of

BUDGET, SIGHTINGS, WINDOW_S = 5, 8, 600
GUARDS = "g:u", "g:us", "g:ud"


@pytest.fixture(scope="module")
def rig(session_folder):
    folder = session_folder / "strangers"
    folder.mkdir()
    kafka = harness.Kafka(folder / "kafka").start()
    redis = harness.Redis(folder / "redis").start()
    try:
        kafka.topics()
        rig = Rig(folder, kafka, redis)
        rig.owners.view_is_current("d", "fleetseal.device.state")
        rig.owners.view_is_current("r", "fleetseal.registry.state")
        yield rig
    finally:
        redis.stop()
        kafka.stop()


def settings(**more):
    return {
        "device.unvouched_max": BUDGET,
        "device.unvouched_window": f"{WINDOW_S}s",
        "device.sightings_max": SIGHTINGS,
        "device.sighting_ttl": "1h",
        **more,
    }


@pytest.fixture(scope="module")
def door(rig):
    service = rig.start(**settings())
    yield service
    service.stop()


@pytest.fixture
def owner(rig):
    fake = device_door.FakeOwner(rig.kafka, rig.redis)
    yield fake
    fake.stop()


@pytest.fixture(autouse=True)
def fresh(rig):
    rig.owners.wire("DEL", *GUARDS)


def bootstrap(device, **payload):
    return device.exchange("bootstrap", device.bootstrap_payload(**payload))


def spend(rig, count=BUDGET):
    """Strangers that use the whole budget up."""
    strangers = [rig.device() for _ in range(count)]
    assert [bootstrap(s).status for s in strangers] == [200] * count
    return strangers


def refused(answer):
    assert_error(answer, 429, "not_vouched")
    return int(answer.headers["Retry-After"])


def sighting(rig, device):
    note = rig.owners.wire("HGET", "g:ud", device.uid)
    return [int(n) for n in note.split()] if note else None


def count(door, outcome):
    return door.metrics()[f'fleetseal_unvouched_total{{outcome="{outcome}"}}']


def test_flood_of_made_up_keys(door, rig, owner):
    """The log gets what the budget allows, Redis stays small, and whoever is vouched for does not notice."""
    domain = str(uuid.uuid4())
    profile = rig.owners.create_profile(domain, str(uuid.uuid4()))
    before = count(door, "admitted"), count(door, "sighted")
    strangers = [rig.device() for _ in range(60)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        flood = pool.map(bootstrap, strangers)
        vouched = [rig.device() for _ in range(10)]
        assert [bootstrap(v, profile=profile).status for v in vouched] == [200] * 10
        known = [rig.known() for _ in range(5)]
        assert [bootstrap(k).status for k in known] == [200] * 5
        answers = list(flood)
    assert sorted(a.status for a in answers) == [200] * BUDGET + [429] * (60 - BUDGET)
    for answer in answers:
        if answer.status == 429:
            assert 1 <= refused(answer) <= WINDOW_S * 1.1 + 2
    in_log = {r.key.decode() for r in owner.seen}
    assert in_log & {s.uid for s in strangers} == {s.uid for s, a in zip(strangers, answers) if a.status == 200}
    assert {v.uid for v in vouched} | {k.uid for k in known} <= in_log
    assert rig.owners.wire("SCARD", "g:u") == BUDGET
    assert rig.owners.wire("ZCARD", "g:us") == rig.owners.wire("HLEN", "g:ud") == SIGHTINGS
    assert all(rig.owners.wire("PTTL", key) > 0 for key in GUARDS)
    assert (count(door, "admitted") - before[0], count(door, "sighted") - before[1]) == (BUDGET, 60 - BUDGET)
    assert door.logs(event="unvouched_device_sighted")


@pytest.mark.parametrize("exchange", ["pickup", "confirm"])
def test_other_messages_are_no_way_round(door, rig, owner, exchange):
    spend(rig)
    stranger, known = rig.device(), rig.known()
    refused(stranger.exchange(exchange, payload_of(stranger, exchange)))
    assert known.exchange(exchange, payload_of(known, exchange)).status == 200
    assert owner.of(stranger) == []


def test_the_same_device_counts_once(door, rig, owner):
    device = rig.device()
    payload = device.bootstrap_payload()
    for _ in range(3):
        assert device.exchange("bootstrap", payload, sequence=1).status == 200
    assert rig.owners.wire("SCARD", "g:u") == 1
    spend(rig, BUDGET - 1)
    refused(bootstrap(rig.device()))
    assert device.exchange("bootstrap", payload, sequence=1).status == 200


def test_sighting(door, rig, owner):
    spend(rig)
    device, claims = rig.device(), rig.device()
    begin = time.time() * 1000
    for _ in range(3):
        refused(bootstrap(device))
    refused(bootstrap(claims, profile="0" * 22))
    first, last, times, profile = sighting(rig, device)
    assert begin - 5 <= first < last <= time.time() * 1000 and (times, profile) == (3, 0)
    assert sighting(rig, claims)[2:] == [1, 1]
    others = [rig.device() for _ in range(SIGHTINGS - 1)]
    for other in others:
        refused(bootstrap(other))
    assert sighting(rig, device) is None, "the longest unseen one goes first"
    assert all(sighting(rig, d) for d in [claims, *others])
    assert rig.owners.wire("ZCARD", "g:us") == rig.owners.wire("HLEN", "g:ud") == SIGHTINGS


def partition_of_profile(rig, profile):
    """The partition that a DeviceProfileUID names itself."""
    number = 0
    for digit in profile[:6]:
        number = number * 62 + owners.BASE62.index(digit)
    return number % rig.owners.partitions


def test_sighting_expires(rig, owner, work_folder):
    other = Rig(work_folder, rig.kafka, rig.redis)
    service = other.start(**settings(**{"device.unvouched_max": 0, "device.sighting_ttl": "2s", "device.sightings_max": 100000}))
    try:
        device = other.device()
        refused(bootstrap(device))
        assert sighting(other, device)
        # Others keep the guard alive meanwhile, and the limit is far.
        harness.wait_until(lambda: refused(bootstrap(other.device())) and sighting(other, device) is None, 20)
        assert other.owners.wire("ZCARD", "g:us") == other.owners.wire("HLEN", "g:ud")
    finally:
        service.stop()


def test_sighted_device_whose_profile_becomes_known(door, rig, owner):
    spend(rig)
    domain = str(uuid.uuid4())
    profile, device = owners.profile_uid(domain), rig.device()
    refused(bootstrap(device, profile=profile))
    key = f"{domain}/profile/{profile}"
    rig.owners.put_view("r", partition_of_profile(rig, profile), key, {}, [("alias", f"profile:{profile}\n{key}", 0)])
    assert bootstrap(device, profile=profile).status == 200
    assert len(owner.of(device)) == 1
    assert sighting(rig, device) is None


def test_profile_that_no_domain_can_have(door, rig, owner):
    spend(rig)
    refused(bootstrap(rig.device(), profile="z" * 22))


def test_window_passes(rig, owner, work_folder):
    other = Rig(work_folder, rig.kafka, rig.redis)
    service = other.start(**settings(**{"device.unvouched_max": 1, "device.unvouched_window": "2s"}))
    try:
        spend(other, 1)
        device = other.device()
        wait_s = refused(bootstrap(device))
        begin = time.monotonic()
        assert wait_s <= 4
        harness.wait_until(lambda: time.monotonic() - begin >= wait_s or other.owners.wire("EXISTS", "g:u") == 0, 10)
        assert time.monotonic() - begin <= wait_s, "the device was told to come while the window still ran"
        assert bootstrap(device).status == 200
        assert other.owners.wire("PTTL", "g:u") <= 2000
    finally:
        service.stop()


def test_no_budget_at_all(rig, owner, work_folder):
    other = Rig(work_folder, rig.kafka, rig.redis)
    service = other.start(**settings(**{"device.unvouched_max": 0, "device.sightings_max": 0}))
    try:
        device = other.device()
        assert WINDOW_S < refused(bootstrap(device)) <= WINDOW_S * 1.1 + 2
        assert owner.of(device) == []
        assert other.owners.wire("EXISTS", *GUARDS) == 0
        assert bootstrap(other.known()).status == 200
    finally:
        service.stop()


def test_a_device_that_sends_too_much(rig, owner, work_folder):
    """Once known, or let in by the budget, it must not fill its partition of the log and keep the others waiting."""
    other = Rig(work_folder, rig.kafka, rig.redis)
    service = other.start(**settings(**{"device.messages_max": 4, "device.messages_window": "3s"}))
    try:
        stranger, known, bystander = other.device(), other.known(), other.known()
        payload = known.bootstrap_payload()
        assert known.exchange("bootstrap", payload, sequence=1).status == 200
        for device, sent in ((stranger, 0), (known, 1)):
            answers = [device.exchange("pickup", payload_of(device, "pickup"), sequence=10 + n) for n in range(8)]
            assert [a.status for a in answers] == [200] * (4 - sent) + [429] * (4 + sent)
            assert_error(answers[-1], 429, "too_many_messages")
            assert 1 <= int(answers[-1].headers["Retry-After"]) <= 3
            assert len(owner.of(device)) == 4
        assert known.exchange("bootstrap", payload, sequence=1).status == 200, "a repeat is no other message"
        assert bootstrap(bystander).status == 200
        again = harness.wait_until(lambda: (a := bootstrap(known)).status == 200 and a, 10)
        assert again.status == 200
        assert service.metrics()["fleetseal_device_messages_refused_total"] >= 9
    finally:
        service.stop()


def test_doors_share_the_budget(door, rig, owner, work_folder):
    other = Rig(work_folder, rig.kafka, rig.redis)
    service = other.start(**settings())
    try:
        spend(rig, BUDGET - 2)
        spend(other, 2)
        for at in (rig, other):
            refused(bootstrap(at.device()))
    finally:
        service.stop()


@pytest.mark.parametrize("how", ["no mark", "part"])
@pytest.mark.parametrize("view", ["d", "r"])
def test_view_that_is_being_rebuilt(door, rig, owner, view, how):
    """What is absent may still come: nothing is taken from the budget, the device comes again soon."""
    spend(rig)
    profile = "0" * 22
    device = rig.device()
    partition = rig.owners.partition(device.uid) if view == "d" else partition_of_profile(rig, profile)
    mark = f"{{{view}{partition}}}#"
    held = rig.owners.wire("HGET", mark, "log"), rig.owners.wire("HGET", mark, "off")
    if how == "part":
        rig.owners.wire("HSET", mark, "part", "1")
    else:
        rig.owners.wire("DEL", mark)
    try:
        answer = bootstrap(device, profile=profile)
        assert_error(answer, 503, "unavailable")
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
        assert sighting(rig, device) is None
    finally:
        rig.owners.wire("DEL", mark)
        rig.owners.wire("HSET", mark, "log", held[0], "off", held[1])
    refused(bootstrap(device, profile=profile))


def test_redis_away(rig, owner, make_redis, work_folder):
    redis = make_redis()
    away = Rig(work_folder, rig.kafka, redis)
    away.owners.view_is_current("d", "fleetseal.device.state")
    service = away.start()
    try:
        assert bootstrap(away.known()).status in (200, 202)
        redis.stop()
        answer = bootstrap(away.device())
        assert_error(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    finally:
        service.stop()
