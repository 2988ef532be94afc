"""The checks of tests/tools where they cannot do their work: that must not pass for nothing found."""

import os
import shutil

import harness
import pytest


@pytest.fixture
def tree(work_folder):
    """As a tarball leaves it: no repository. One source file, and one that a build made."""
    for name in ("src/short.c", "build/asan/made.c", "deploy/.run/made.c"):
        path = work_folder / name
        path.parent.mkdir(parents=True)
        path.write_text("int short_one;\n")
    shutil.copy(harness.ROOT / ".gitignore", work_folder)
    shutil.copytree(harness.ROOT / "tests" / "tools", work_folder / "tests" / "tools")
    return work_folder


def check_source(tree, only, **env):
    argv = [tree / "tests" / "tools" / "check-source", "--only", only]
    return harness.run(*argv, check=False, env={"GIT_CEILING_DIRECTORIES": str(tree.parent), **env})


# A folder that the repository around it ignores has no files for git.
@pytest.mark.parametrize("around", [{}, {"GIT_CEILING_DIRECTORIES": ""}])
def test_sources_are_checked_without_a_repository(tree, around):
    done = check_source(tree, "files are short", **around)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("src/short.c", "build/asan/made.c", "deploy/.run/made.c"):
        (tree / name).write_text("int long_one;\n" * 501)
    done = check_source(tree, "files are short", **around)
    assert done.returncode == 1 and "src/short.c: 501 lines" in done.stdout
    assert "made.c" not in done.stdout


@pytest.mark.parametrize("tool, only", [("shellcheck", "shell scripts"), ("clang-format-14", "formatted")])
def test_a_tool_that_fails_is_a_finding(tree, tool, only):
    stub = tree / "bin" / tool
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\necho no such option >&2\nexit 4\n")
    stub.chmod(0o755)
    done = check_source(tree, only, PATH=f"{stub.parent}:{os.environ['PATH']}")
    assert done.returncode == 1 and f"{tool} ended with 4: no such option" in done.stdout
