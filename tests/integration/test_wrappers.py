"""The C programs of this folder: libcommon's Kafka and Redis wrappers against real servers, one test per program."""

import pathlib

import harness
import pytest

PROGRAMS = sorted(path.stem for path in pathlib.Path(__file__).parent.glob("test_*.c"))
# These stop and start a server: they get their own.
BREAK_KAFKA = {"test_kafka_restart"}
BREAK_REDIS = {"test_redis"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, request):
    env = {"DEPLOY_DIR": str(harness.DEPLOY)}
    if "kafka" in name:
        breaks = name in BREAK_KAFKA
        kafka = request.getfixturevalue("make_kafka")(topics=False) if breaks else request.getfixturevalue("kafka")
        env |= {"KAFKA_BROKERS": kafka.brokers, "KAFKA_DIR": str(kafka.folder)}
    if "redis" in name:
        breaks = name in BREAK_REDIS
        redis = request.getfixturevalue("make_redis")() if breaks else request.getfixturevalue("redis")
        env |= {"REDIS_ADDRESS": redis.address, "REDIS_DIR": str(redis.folder)}
    harness.run(harness.program(f"integration_{name}"), env=env, timeout=300)
