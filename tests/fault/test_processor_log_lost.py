"""What an owner relies on is lost or spoilt: requests, committed offsets, the end of a log, the view; or larger than thought."""

import owner_rig
from owner_rig import FIRST, PARTITIONS, REQUESTS, THEN


def test_requests_that_were_never_done_are_gone(halfway):
    """Some got too old while no owner ran. They are lost, which is said; all others are done."""
    halfway.produce(THEN)
    halfway.end_retention({p: offset + 5 for p, offset in halfway.committed().items()})
    left = {r.json()["id"] for r in halfway.kafka.read(f"{halfway.prefix}.requests")}
    done = [*FIRST, *(r for r in THEN if r["id"] in left)]
    assert len(FIRST) < len(done) < len(REQUESTS)
    owner = halfway.owner()
    halfway.settle(done, owners=[owner])
    lost = {line["partition"]: line["to"] - line["from"] for line in owner.logs(event="requests_expired")}
    assert lost == dict.fromkeys(range(PARTITIONS), 5)
    owner.stop()
    halfway.check_against_model(done)


def test_the_committed_offsets_are_gone(halfway, reference):
    """Of a group that nobody was in for longer than the brokers keep them: nothing is done a second time."""
    halfway.forget_committed()
    halfway.produce(THEN)
    halfway.finish(reference)


def test_the_log_of_requests_ends_before_the_committed_offset(halfway, reference):
    """A broker lost the end of it. The owner says so, and does what comes from now on."""
    halfway.set_committed({p: offset + 1000 for p, offset in halfway.committed().items()})
    owner = halfway.owner()
    owner.wait_for_log(30, event="request_log_cut")
    owner.wait_for_log(30, event="ready")
    halfway.produce(THEN)
    halfway.settle(REQUESTS, owners=[owner])
    owner.stop()
    halfway.check(reference)


def test_a_view_record_that_is_none_is_built_again(halfway, reference):
    with owner_rig.Resp(halfway.redis) as r:
        for key in r.keys("{r*}:k*"):
            r("SET", key, b"\xff\xfe spoilt")
    halfway.produce(THEN)
    halfway.finish(reference)


def test_a_request_with_a_very_long_key_is_put_aside(rig, reference):
    """Its dead letter must find room in a record as well."""
    rig.produce([("k" * 1040000, b"nonsense"), *REQUESTS])
    owner = rig.owner()
    rig.settle(REQUESTS, dead=len(reference.dead) + 1, owners=[owner])
    owner.stop()


def test_many_large_state_records_in_a_row(rig):
    """As the chunks of a large revocation list: more than one view call may carry, in one round and in a rebuild."""
    same = [key for n in range(400) if owner_rig.partition_of(key := f"large-{n}") == 0][:30]
    requests = [owner_rig.request(n, key, n, pad=700000) for n, key in enumerate(same)]
    rig.produce(requests)
    owner = rig.owner(batch=1000)
    rig.settle(requests, owners=[owner])
    assert owner.logs(event="view_write_failed") == []
    before = rig.view()
    rig.redis.flush()
    rig.settle(requests, owners=[owner])
    assert rig.view() == before
    owner.stop()
