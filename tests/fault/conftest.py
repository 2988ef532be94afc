"""Fixtures of the processor's fault tests: an owner's own topics and Redis, and what an undisturbed owner makes of REQUESTS."""

import itertools

import harness
import owner_rig
import pytest

NAMES = itertools.count()


@pytest.fixture
def make_rig(make_redis, start_program, work_folder):
    made = []

    def make(kafka):
        made.append(owner_rig.Rig(kafka, make_redis(), start_program, f"fleetseal.fault{next(NAMES)}", work_folder))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.fixture
def rig(kafka, make_rig):
    return make_rig(kafka)


@pytest.fixture(scope="session")
def reference(kafka, session_folder):
    """What one owner that nobody disturbs makes of owner_rig.REQUESTS; checked against the same sums done in Python."""
    redis = harness.Redis(session_folder / "reference-redis").start()
    started = []

    def start(name, *arguments):
        program = harness.Program(f"reference-{name}", [harness.program(name), *arguments], session_folder)
        started.append(program)
        return program

    try:
        rig = owner_rig.Rig(kafka, redis, start, "fleetseal.reference", session_folder)
        rig.produce(owner_rig.REQUESTS)
        owner = rig.owner(batch=1000)
        rig.settle(owner_rig.REQUESTS, owners=[owner])
        owner.stop()
        rig.close()
        return rig.outcome()
    finally:
        for program in started:
            program.kill()
        redis.stop()


@pytest.fixture
def halfway(rig):
    """The first half of REQUESTS is done, the owner has stopped and left its group."""
    rig.produce(owner_rig.FIRST)
    owner = rig.owner()
    rig.settle(owner_rig.FIRST, owners=[owner])
    owner.stop()
    rig.end_membership("owner-0")
    return rig
