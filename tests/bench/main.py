"""Plays the benches that were asked for; see tests/bench/run."""

import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import benches  # noqa: E402
import flow_bench  # noqa: E402
from flow import FlowError, remove_old, result_file  # noqa: E402
from stack import ROOT, BenchError  # noqa: E402

ALL = {
    "signing_kernel": benches.signing_kernel,
    "recorded_certificates": benches.recorded_certificates,
    "idle_heartbeats": benches.idle_heartbeats,
    "view": benches.view,
    "main_job": flow_bench.main_job,
}


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/run")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--json", type=result_file, metavar="FILE")
    parser.add_argument("--limit", type=int, default=360, metavar="SECONDS")
    given = parser.parse_args()
    unknown = set(given.names) - set(ALL)
    if unknown:
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    remove_old(given.json)
    return given


def on_signal(number, _frame):
    # Raised wherever we are, so that every server that was started is stopped on the way out.
    if number == signal.SIGALRM:
        raise BenchError("out of time")
    raise SystemExit(128 + number)


def print_table(rows):
    head = ("name", "value", "unit", "reference value", "ratio", "reference")
    table = [head]
    table += [tuple(str(r[k]) for k in ("name", "value", "unit", "reference_value", "ratio", "reference")) for r in rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    print()
    for line in table:
        cells = (text.rjust(w) if i in (1, 3, 4) else text.ljust(w) for i, (text, w) in enumerate(zip(line, widths)))
        print("  " + "  ".join(cells).rstrip())
    print()


def play(names, folder):
    """(rows, whether every bench gave its figures)"""
    rows, whole = [], True
    for name in names:
        print(name, file=sys.stderr, flush=True)
        started = time.monotonic()
        try:
            rows.extend(ALL[name](folder))
        except (BenchError, FlowError, OSError, subprocess.SubprocessError) as error:
            print(f"  {name}: {error}", file=sys.stderr, flush=True)
            whole = False
            if str(error) == "out of time":
                break
        print(f"  took {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return rows, whole


def main():
    given = arguments()
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    signal.alarm(given.limit)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-run.", dir=ROOT / "build"))
    rows, whole = play(given.names or list(ALL), folder)
    print_table(rows)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")
    if whole:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"kept: {folder}", file=sys.stderr)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
