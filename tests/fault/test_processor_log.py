"""What an owner hears comes twice, late, never, or makes no sense."""

import os
import signal

import harness
import pytest
from owner_rig import REQUESTS, THEN


# ---- delivered twice ----


@pytest.mark.parametrize("batch", [20, 1000])
@pytest.mark.parametrize("after", [1, 60, 200])
def test_requests_that_are_delivered_twice_are_decided_once(rig, reference, after, batch):
    """Whether the first ones still wait in the backlog or are committed already when they come again."""
    rig.produce(REQUESTS)
    owner = rig.owner("--redeliver", after, batch=batch)
    owner.wait_for_log(30, event="fault", step="redelivered")
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()
    rig.check(reference)
    assert owner.logs(event="requests_out_of_order")


# ---- switched off for long ----


def test_requests_below_the_committed_offset_are_gone(halfway, reference):
    """Switched off for longer than requests are kept: everything was done in time, it goes on where it was."""
    halfway.produce(THEN)
    halfway.end_retention(halfway.committed())
    halfway.finish(reference)


# ---- no member any more ----


def test_a_round_in_hand_is_refused_when_the_group_was_lost_and_is_empty(rig, reference):
    """A member whose session ran out must not commit, not even when those who took over have left since."""
    rig.produce(REQUESTS)
    old = rig.owner("--hold", "decided:2")
    old.wait_for_log(30, event="fault", step="decided")
    rig.expel("owner-0")
    new = rig.owner(instance="owner-1")
    rig.settle(REQUESTS, owners=[new])
    new.stop()
    rig.end_membership("owner-1")
    old.signal(signal.SIGUSR1)
    harness.wait_until(
        lambda: old.logs(event="clients_rebuilt") or old.logs(event="partitions_live")[1:], 30, "the old owner to notice"
    )
    rig.settle(REQUESTS, owners=[old])
    old.stop()
    rig.check(reference)


# ---- answers that come late ----


@pytest.mark.parametrize("step", ["decoded", "committed", "view-written", "catching-up"])
def test_redis_hangs_longer_than_anybody_waits(rig, reference, step):
    """What it was asked before it carries out when it wakes, at the same time as what the owner asks on a new connection."""
    rig.produce(REQUESTS)
    if step == "catching-up":
        owner = rig.owner()
        rig.settle(REQUESTS, owners=[owner])
        owner.stop()
        rig.redis.flush()
    owner = rig.owner("--hold", f"{step}:2")
    owner.wait_for_log(30, event="fault", step=step)
    os.kill(rig.redis.pid(), signal.SIGSTOP)
    try:
        owner.signal(signal.SIGUSR1)
        owner.wait_for_log(30, event="processor_waits")
    finally:
        os.kill(rig.redis.pid(), signal.SIGCONT)
    rig.settle(REQUESTS, owners=[owner])
    owner.stop()
    rig.check(reference)


# ---- nonsense ----


def test_requests_without_value_or_key_are_put_aside(rig, reference):
    rig.produce([("k000", None), ("", b"nonsense"), ("", None), *REQUESTS])
    owner = rig.owner()
    rig.settle(REQUESTS, dead=len(reference.dead) + 3, owners=[owner])
    owner.stop()
