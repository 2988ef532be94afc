"""Fixtures of integration and fault tests. The private stack lasts a session; what a test starts ends with the test."""

import itertools
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))

import harness  # noqa: E402


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    """Under the folder of tests/run when that started us, so that it can stop whatever is left."""
    given = os.environ.get("FLEETSEAL_RUN_DIR")
    if given:
        folder = pathlib.Path(given) / "session"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    return tmp_path_factory.mktemp("session")


@pytest.fixture(scope="session")
def kafka(session_folder):
    """One node, all topics of proto/topics.json. Tests share it: they use ids of their own."""
    cluster = harness.Kafka(session_folder / "kafka").start()
    try:
        cluster.topics()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def redis(session_folder):
    server = harness.Redis(session_folder / "redis").start()
    yield server
    server.stop()


@pytest.fixture
def work_folder(session_folder, request):
    """A folder for one test; kept when it fails, with everything that the programs said."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in request.node.name)[:80]
    for n in itertools.count():
        folder = session_folder / (f"{name}.{n}" if n else name)
        if not folder.exists():
            folder.mkdir()
            return folder


@pytest.fixture
def make_kafka(work_folder):
    """make_kafka(nodes=1): a private cluster for tests that break it."""
    made = []

    def make(nodes=1, topics=True):
        cluster = harness.Kafka(work_folder / f"kafka-{len(made)}", nodes)
        made.append(cluster)
        cluster.start()
        if topics:
            cluster.topics()
        return cluster

    yield make
    for cluster in made:
        cluster.stop()


@pytest.fixture
def make_redis(work_folder):
    made = []

    def make():
        server = harness.Redis(work_folder / f"redis-{len(made)}")
        made.append(server)
        return server.start()

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def start_program(work_folder):
    """start_program(name, *arguments, env=None): a built program; at the end it is stopped and its stderr checked."""
    made = []

    def start(name, *arguments, env=None):
        argv = [harness.program(name), *arguments]
        started = harness.Program(f"{name}-{len(made)}", argv, work_folder, env)
        made.append(started)
        return started

    yield start
    end_all(made)


@pytest.fixture
def start_service(work_folder, request):
    """start_service(name, replica=0, config={...}, kafka=..., redis=...): waits until it is ready; at the end it is stopped,
    which must work, and its stderr checked."""
    made = []

    def start(name, replica=0, config=None, **options):
        kafka = options.pop("kafka", None) or request.getfixturevalue("kafka")
        redis = options.pop("redis", None) or request.getfixturevalue("redis")
        started = harness.Service(name, kafka, redis, work_folder, replica, config, **options)
        made.append(started)
        return started

    yield start
    end_all(made)


def end_all(programs):
    """All get their signal, also when the first of them fails the test."""
    problems = []
    for started in reversed(programs):
        try:
            started.check_end()
        except AssertionError as error:
            problems.append(str(error))
    assert not problems, "\n".join(problems)
