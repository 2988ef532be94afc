"""The scripts of deploy/ where a chance decides what they meet."""

import os
import pathlib
import shutil
import subprocess
import sys

import harness
import postmortem
import pytest

# Answers the first call with 16 bytes whose URL-safe form begins with a dash, the others as the real one.
DASH_FIRST = """#!/bin/sh
[ -e "$0.asked" ] && exec {real} "$@"
cat >/dev/null
: >"$0.asked"
echo +AAAAAAAAAAAAAAAAAAAAA==
"""


def test_a_cluster_id_never_begins_with_a_dash(work_folder):
    stub = work_folder / "bin" / "base64"
    stub.parent.mkdir()
    stub.write_text(DASH_FIRST.format(real=harness.run("sh", "-c", "command -v base64").stdout.strip()))
    stub.chmod(0o755)
    folder = work_folder / "kafka"
    path = f"{stub.parent}:{os.environ['PATH']}"
    try:
        harness.run(harness.DEPLOY / "kafka" / "start", folder, timeout=120, env={"PATH": path})
    finally:
        harness.run(harness.DEPLOY / "kafka" / "stop", folder, timeout=60)
    assert stub.with_name("base64.asked").exists()


def lib(script, *arguments, **options):
    """Runs a few lines of bash behind deploy/lib.sh; "$1" is the first argument."""
    return harness.run("bash", "-euc", f'. "$0"; {script}', harness.DEPLOY / "lib.sh", *arguments, **options)


def test_a_process_that_died_at_once_does_not_count_as_running(work_folder):
    """Its birth could not be noted. No process has this number: it is the first beyond the largest that Linux gives."""
    (work_folder / "early.pid").write_text("4194305\n")
    (work_folder / "early.birth").write_text("")
    assert lib('process_running "$1" early', work_folder, check=False).returncode == 1
    lib('start_process "$1" late sleep 60; process_running "$1" late; stop_process "$1" late', work_folder)
    assert not (work_folder / "late.pid").exists()


@pytest.mark.parametrize(
    "wish, said",
    [
        ("casigner=2", "there is no service casigner, only api-gateway heartbeat-ingest ca-signer"),
        ("ca-signer=17", "at most 16"),
        ("ca-signer=99999999999999999999", "at most 16"),
        ("ca-signer=08", "needs SERVICE=N"),
    ],
)
def test_replicas_that_cannot_be_are_refused(work_folder, wish, said):
    run = work_folder / "run"
    argv = [harness.DEPLOY / "up", "--no-build", "--replicas", wish]
    done = harness.run(*argv, check=False, env={"FLEETSEAL_RUN": str(run)})
    assert done.returncode == 1 and said in done.stderr
    assert not run.exists()


def test_programs_of_a_relative_folder_are_linked_from_anywhere():
    done = lib('. "${0%/*}/stack.sh"; echo "$build $PWD"', env={"FLEETSEAL_BUILD": "build/some"})
    build, here = done.stdout.split()
    assert build == f"{here}/build/some"


def test_kafka_unpacks_its_libraries_into_its_own_folder(kafka):
    """In the common one they would stay after a crash."""
    argv = pathlib.Path(f"/proc/{kafka.pid()}/cmdline").read_text().split("\0")
    assert f"-Djava.io.tmpdir={kafka.folder}/1/tmp" in argv


# Two servers to be stopped, each in a second; both must be, though the limit and a Ctrl-C fall into it.
LEAVING = """
import os, signal, sys, pathlib, threading
sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "tests" / "bench"))
import main, stack
for number in (signal.SIGALRM, signal.SIGINT):
    signal.signal(number, main.on_signal)
stack.DEPLOY = pathlib.Path(sys.argv[2])
signal.setitimer(signal.ITIMER_REAL, 0.3)
threading.Timer(1.2, os.killpg, (0, signal.SIGINT)).start()
stack.Stack(sys.argv[2], 1).__exit__()
"""


def test_a_bench_stops_its_servers_whatever_interrupts_it(work_folder):
    for part in ("kafka", "redis"):
        script = work_folder / part / "stop"
        script.parent.mkdir()
        script.write_text('#!/bin/bash\nsleep 1\n: >"$1/stopped"\n')
        script.chmod(0o755)
    argv = [sys.executable, "-c", LEAVING, harness.ROOT, work_folder]
    env = {**os.environ, "FLEETSEAL_BUILD": str(harness.BUILD)}
    done = subprocess.run(argv, env=env, start_new_session=True, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert (work_folder / "redis" / "stopped").exists() and (work_folder / "kafka" / "stopped").exists()


# What deploy/setup meets on a machine where everything is missing until apt-get has run; "seen" is the guard at each step.
SETUP_STUBS = {
    "dpkg-query": '[ ! -e "$HERE/installed" ] || { shift 3; printf "installed %s\\n" "$@"; }',
    "apt-cache": "",
    "sudo": 'exec "$@"',
    "apt-get": """case " $* " in *" install "*) ;; *) exit 0 ;; esac
cat "$HERE/policy-rc.d" >"$HERE/seen.apt"
[ ! -e "$HERE/kill" ] || kill -9 $PPID
: >"$HERE/installed"
""",
}
SEEN_BY_FETCH = '#!/bin/sh\n[ ! -e "$HERE/policy-rc.d" ] || cp "$HERE/policy-rc.d" "$HERE/seen.fetch"\n'


@pytest.fixture
def setup(work_folder):
    """deploy/setup with a guard of its own, on a machine that can be changed."""
    folder = work_folder / "deploy"
    (folder / "kafka").mkdir(parents=True)
    shutil.copy(harness.DEPLOY / "lib.sh", folder)
    text = (harness.DEPLOY / "setup").read_text()
    assert text.count("guard=/usr/sbin/policy-rc.d") == 1
    stubs = {"setup": text.replace("/usr/sbin/policy-rc.d", f"{work_folder}/policy-rc.d"), "kafka/fetch": SEEN_BY_FETCH}
    stubs |= {f"bin/{name}": f"#!/bin/sh\n{script}\n" for name, script in SETUP_STUBS.items()}
    (folder / "bin").mkdir()
    for name, script in stubs.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)

    def run():
        env = {"HERE": str(work_folder), "PATH": f"{folder}/bin:{os.environ['PATH']}"}
        return harness.run(folder / "setup", env=env, check=False)

    return run


def test_the_guard_is_there_only_while_packages_are_installed(setup, work_folder):
    done = setup()
    assert done.returncode == 0, done.stderr
    assert "exit 101" in (work_folder / "seen.apt").read_text()
    assert not (work_folder / "seen.fetch").exists() and not (work_folder / "policy-rc.d").exists()


@pytest.mark.parametrize("installed", [False, True])
def test_the_guard_of_a_killed_run_is_removed_by_the_next(setup, work_folder, installed):
    (work_folder / "kill").touch()
    assert setup().returncode == -9
    assert (work_folder / "policy-rc.d").exists()
    (work_folder / "kill").unlink()
    assert (work_folder / "installed").exists()
    if not installed:
        (work_folder / "installed").unlink()
    assert setup().returncode == 0
    assert not (work_folder / "policy-rc.d").exists()


def test_a_guard_of_somebody_else_stays(setup, work_folder):
    (work_folder / "policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    assert setup().returncode == 0
    assert (work_folder / "policy-rc.d").read_text() == "#!/bin/sh\nexit 101\n"


def test_numbers_that_could_not_be_written_are_refused_at_the_start(work_folder):
    for path, said in ((work_folder / "none" / "n.json", "there is no folder"), (work_folder, "cannot be written")):
        done = harness.run(harness.DEPLOY / "demo", "--json", path, check=False)
        assert done.returncode == 2 and said in done.stderr


def test_a_demo_that_fails_leaves_no_numbers(work_folder):
    numbers, no_folder = work_folder / "numbers.json", work_folder / "run"
    numbers.write_text("{}")
    no_folder.write_text("")
    done = harness.run(harness.DEPLOY / "demo", "--json", numbers, check=False, env={"FLEETSEAL_RUN": str(no_folder)})
    assert done.returncode == 1 and not numbers.exists()


def opened_by(pid):
    return [os.readlink(descriptor) for descriptor in pathlib.Path(f"/proc/{pid}/fd").iterdir()]


def copied(server, folder):
    """The same after `cp -a`, while it runs."""
    harness.run("cp", "-a", server.folder, folder)
    return type(server)(folder)


@pytest.mark.parametrize("kind", [harness.Redis, harness.Kafka])
def test_a_copied_server_is_another_one(work_folder, kind):
    original = kind(work_folder / "original").start()
    copy = copied(original, work_folder / "copy")
    try:
        watched = postmortem.Watched({"FLEETSEAL_PID_ORIGINAL": str(original.pid())})
        copied(original, work_folder / "second").stop()
        copy.start()
        assert original.pid() != copy.pid()
        places = [(s.folder / {"Redis": "address", "Kafka": "brokers"}[kind.__name__]).read_text() for s in (original, copy)]
        assert places[0] != places[1]
        opened = harness.wait_until(lambda: opened_by(copy.pid()), what="a look at its files")
        assert not [path for path in opened if path.startswith(f"{original.folder}/")]
        copy.stop()
        assert watched.ended() == []
    finally:
        copy.stop()
        original.stop()


@pytest.mark.parametrize("running", [False, True])
def test_a_moved_cluster_finds_its_data(work_folder, running):
    original = harness.Kafka(work_folder / "original").start()
    original.topics()
    original.produce("fleetseal.events", b"kept", key="key")
    watched = postmortem.Watched({"FLEETSEAL_PID_ORIGINAL": str(original.pid())})
    if not running:
        original.stop()
    original.folder.rename(work_folder / "moved")
    moved = harness.Kafka(work_folder / "moved")
    try:
        moved.start()
        assert moved.brokers == original.brokers
        assert [r.value for r in moved.read("fleetseal.events")] == [b"kept"]
        assert watched.ended() == ["ORIGINAL"], "one process for one folder"
    finally:
        moved.stop()


def test_a_moved_redis_starts_with_its_passwords(work_folder):
    original = harness.Redis(work_folder / "original").start()
    original.stop()
    original.folder.rename(work_folder / "moved")
    moved = harness.Redis(work_folder / "moved")
    try:
        moved.start()
        assert moved.address == original.address and moved.cli("PING") == "PONG"
    finally:
        moved.stop()


def test_down_in_a_copied_stack_ends_nothing_of_the_original(work_folder):
    run = work_folder / "run"
    (run / "services").mkdir(parents=True)
    lib('note_place "$1"; start_process "$1/services" some-0 sleep 60', run)
    try:
        harness.run("cp", "-a", run, work_folder / "copy")
        harness.run(harness.DEPLOY / "down", env={"FLEETSEAL_RUN": str(work_folder / "copy")})
        lib('process_running "$1/services" some-0', run)
    finally:
        harness.run(harness.DEPLOY / "down", env={"FLEETSEAL_RUN": str(run)})
    assert lib('process_running "$1/services" some-0', run, check=False).returncode == 1


def test_a_build_folder_of_another_place_is_configured_again(work_folder):
    cache = work_folder / "CMakeCache.txt"
    for made, said in ((work_folder, ""), (work_folder / "elsewhere", "--fresh\n")):
        cache.write_text(f"CMAKE_CACHEFILE_DIR:INTERNAL={made}\n")
        assert lib('fresh_if_moved "$1"', work_folder).stdout == said
