"""Shows the main job on this machine, end to end, and counts what happened where it happened.

    deploy/demo [--devices N] [--json FILE]

Starts the stack (deploy/up), makes a customer with two CAs and a webhook, lets N simulated devices (default 1000) bootstrap over
mutual TLS, orders a renewal of all, lets the scheduler renew a tenth once more by itself, and waits until everything confirmed
is billed and every webhook has arrived. Ends with a table; exit status 0 when all the numbers agree. The stack stays up.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import flow  # noqa: E402
import webhook_receiver  # noqa: E402

DEVICES_MAX = 100000


def arguments():
    parser = argparse.ArgumentParser(
        prog="deploy/demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=1000, metavar="N", help=f"10 to {DEVICES_MAX}")
    parser.add_argument("--json", type=flow.result_file, metavar="FILE", help="write the numbers to FILE")
    given = parser.parse_args()
    if not 10 <= given.devices <= DEVICES_MAX:
        parser.error(f"--devices must be 10 to {DEVICES_MAX}")
    flow.remove_old(given.json)
    return given


def say(text):
    print(text, file=sys.stderr, flush=True)


def play(demo):
    """The numbers, each from where it happened."""
    say("a customer, its CAs, profiles and webhook")
    demo.set_up()
    say(f"{demo.devices} devices bootstrap")
    first = demo.bootstrap()
    say(f"renewal of {demo.devices} devices is ordered")
    ordered = demo.order_renewals()
    renewed = demo.renew()
    say(f"the scheduler renews {demo.automatic} devices by itself")
    demo.switch_automatic_on()
    automatic = demo.renew_automatically()
    confirmed = renewed["renewals_confirmed"] + automatic["renewals_confirmed"]
    charges, wanted, seen = demo.settle(confirmed)
    return {
        "devices": demo.devices,
        "bootstrapped": first["bootstrapped"],
        "installed": first["installed"],
        "renewals_ordered": ordered,
        "renewals_confirmed": renewed["renewals_confirmed"],
        "automatic_renewals_confirmed": automatic["renewals_confirmed"],
        "billed": len(charges),
        "webhooks_expected": len(wanted),
        "webhooks_verified": len(wanted & seen),
        "failures": demo.failures + len(demo.receiver.refused) + len(charges) - len(set(charges)),
    }


def problems_of(n, automatic):
    rules = [
        ("every device bootstrapped", n["bootstrapped"] == n["devices"]),
        ("every device installed its certificate", n["installed"] == n["devices"]),
        ("a renewal was ordered for every device", n["renewals_ordered"] == n["devices"]),
        ("every ordered renewal was confirmed", n["renewals_confirmed"] == n["devices"]),
        ("a tenth was renewed automatically", n["automatic_renewals_confirmed"] == automatic),
        ("billed is what was confirmed", n["billed"] == n["renewals_confirmed"] + n["automatic_renewals_confirmed"]),
        ("there were events to deliver", n["webhooks_expected"] >= n["devices"]),
        ("every webhook arrived with a valid signature", n["webhooks_verified"] == n["webhooks_expected"]),
        ("nothing failed", n["failures"] == 0),
    ]
    return [text for text, holds in rules if not holds]


def print_table(numbers):
    width = max(len(k) for k in numbers)
    print()
    for name, value in numbers.items():
        print(f"  {name.replace('_', ' '):{width}}  {value:>10}")
    print()


def main():
    given = arguments()
    started = time.monotonic()
    if subprocess.run([ROOT / "deploy" / "up"], check=False).returncode != 0:
        return 1
    run = pathlib.Path(os.environ.get("FLEETSEAL_RUN", ROOT / "deploy" / ".run"))
    env = flow.read_env(run / "env")
    folder = run / "demo" / time.strftime("%Y%m%d-%H%M%S")
    with webhook_receiver.Receiver(run / "tls" / "receiver.pem", run / "tls" / "receiver.key") as receiver:
        demo = flow.Flow(env, folder, given.devices, receiver, say)
        try:
            numbers = play(demo)
        except flow.FlowError as error:
            say(f"demo: {error}")
            return 1
    numbers["seconds"] = round(time.monotonic() - started, 1)
    print_table(numbers)
    if given.json:
        given.json.write_text(json.dumps(numbers, indent=2) + "\n")
    problems = problems_of(numbers, demo.automatic)
    for problem in problems:
        print(f"not so: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
