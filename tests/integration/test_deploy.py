"""The scripts of deploy/ where a chance decides what they meet."""

import os

import harness
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
