"""The benches that need servers. Each yields rows {name, value, unit, reference, reference_value, ratio}; `note` says on
standard error what was seen besides."""

import json
import subprocess
import sys
import time
import uuid

import stack as stacks
from stack import BENCH, BenchError, Stack, processor_seconds, tool_json, wait_until

SIGNER_TOPICS = ("registry.state", "ca.requests", "ca.state", "ca.keys", "device.requests", "device.state")
SIGNER_TOPICS += ("certificates", "events", "ledger.requests", "heartbeats")
DEVICES = 'fleetseal_processor_requests_total{app="ca-signer.device"}'
ROUNDS = 'fleetseal_processor_transactions_total{app="ca-signer.device"}'


def note(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def row(name, value, unit, reference, reference_value):
    ratio = value / reference_value if reference_value else 0
    return {
        "name": name,
        "value": round(value, 2),
        "unit": unit,
        "reference": reference,
        "reference_value": round(reference_value, 2),
        "ratio": round(ratio, 3),
    }


class Shares:
    """How much of a core each process used between two moments."""

    def __init__(self, **pids):
        self.pids = pids
        self.start = time.monotonic()
        self.before = {k: processor_seconds(p) for k, p in pids.items()}

    def used(self):
        """Processor seconds by name so far."""
        return {k: processor_seconds(p) - self.before[k] for k, p in self.pids.items()}

    def text(self, count):
        """What share of a core each had, and what that is for each of `count` things."""
        seconds = time.monotonic() - self.start
        return ", ".join(f"{k} {u / seconds:.2f} cores ({u / count * 1e6:.0f} us each)" for k, u in self.used().items())


class Kernel:
    """The rows of the signing kernel; other benches need its reference."""

    rows = None

    @classmethod
    def measure(cls):
        if cls.rows is None:
            text = stacks.tool("bench_signing_kernel")
            cls.rows = [json.loads(line) for line in text.splitlines()]
        return cls.rows


def signing_kernel(_folder):
    yield from Kernel.measure()


# ---- recorded certificates ----


def drain(stack, signer, count):
    """Certificates per second over the middle of the work: from a tenth to the last."""

    def worked_off(wanted):
        done = wait_until(lambda: signer.metrics().get(DEVICES, 0) >= wanted and signer.metrics()[DEVICES], 60, "the work")
        return time.monotonic(), done

    start, before = worked_off(count / 10)
    shares = Shares(signer=signer.process.pid, kafka=stack.kafka_pid(), redis=stack.redis_pid())
    end, done = worked_off(count)
    note(f"{shares.text(done - before)}; {signer.metrics()[ROUNDS]:.0f} transactions")
    return (done - before) / (end - start)


def recorded(folder, partitions, count=10000):
    with Stack(folder / f"recorded-{partitions}", partitions, SIGNER_TOPICS) as stack:
        ca, domain = str(uuid.uuid4()), str(uuid.uuid4())
        who = ("--ca", ca, "--domain", domain)
        signer = stack.signer()
        stack.seed("ca", *who)
        wait_until(lambda: signer.metrics().get('fleetseal_processor_requests_total{app="ca-signer.ca"}'), 20, "the CA")
        signer.stop()
        stack.seed("devices", *who, "--count", count, "--queued")
        stack.seed("pickups", *who, "--count", count)
        signer = stack.signer()
        rate = drain(stack, signer, count)
        # The broker writes the markers of the last transaction behind its commit.
        wait_until(lambda: records(stack, "fleetseal.certificates") == count, 20, f"{count} certificates in the log")
        return rate


def records(stack, topic):
    return tool_json("bench-bare-kafka", "read", "--brokers", stack.brokers, "--topic", topic)["records"]


def recorded_certificates(folder):
    bare = Kernel.measure()[0]["reference_value"]
    for touched in (24, 60, 480):
        rate = recorded(folder, touched // 3)
        name = "recorded_certificates" if touched == 24 else f"recorded_certificates_{touched}"
        yield row(name, rate, f"certificates/s, {touched} partitions", "EVP_PKEY_sign, one core", bare)


# ---- heartbeats ----


class Bare:
    """bench-bare-https, running."""

    def __init__(self, stack, tickets):
        argv = [BENCH / "bench-bare-https", *stack.server_tls(), *([stack.secret("ticket.key", 64)] if tickets else [])]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)


def load(port, seconds, *options):
    """One run of the load client; its counts."""
    counted = tool_json("bench-load", "--port", port, "--seconds", seconds, *options)
    if counted["failures"] > counted["good"] / 100 or counted["bad_status"]:
        raise BenchError(f"the load client was refused: {counted}")
    return counted


def start_door(stack):
    certificate, key = stack.server_tls()
    port = stack.free_port()
    config = {
        "device.listen": f"127.0.0.1:{port}",
        "device.tls_certificate": certificate,
        "device.tls_key": key,
        "device.ticket_key": stack.secret("ticket.key", 64),
        "device.ratchet_key_file": stack.secret("ratchet.key", 32),
        "device.accept_rate": 0,
    }
    return stack.service("heartbeat-ingest", config).wait_ready(), port


def idle_heartbeats(folder, seconds=5, rounds=2, connections=64):
    """Ours and the bare handler take turns; the client is on the same cores."""
    with Stack(folder / "heartbeats", 12, SIGNER_TOPICS) as stack:
        who = ("--ca", uuid.uuid4(), "--domain", uuid.uuid4())
        stack.seed("devices", *who, "--count", 1000, "--flood", 0)
        stack.signer().stop()  # it has put them into the view
        door, port = start_door(stack)
        ours, bare = [], []
        with Bare(stack, tickets=True) as server:
            options = ("--connections", connections)
            for _ in range(rounds):
                shares = Shares(door=door.process.pid, redis=stack.redis_pid(), kafka=stack.kafka_pid())
                counted = load(port, seconds, *options)
                ours.append(counted["rate"])
                note(f"heartbeats: {shares.text(counted['rate'] * seconds)}")
                shares = Shares(bare=server.process.pid)
                counted = load(server.port, seconds, *options)
                bare.append(counted["rate"])
                note(f"bare handler: {shares.text(counted['rate'] * seconds)}")
        yield row("idle_heartbeats", max(ours), "heartbeats/s", "bare libmicrohttpd handler, same TLS and client", max(bare))


# ---- the view ----


def recoveries(signer):
    return [e for e in signer.logs("partitions_live") if "ca-signer.device" in e.values()]


def view(folder, count=100000):
    """Redis memory of a fleet at rest, and how long its view takes to come back."""
    with Stack(folder / "view", 12, SIGNER_TOPICS) as stack:
        stack.seed("devices", "--ca", uuid.uuid4(), "--domain", uuid.uuid4(), "--count", count)
        empty = used_memory(stack)
        signer = stack.signer()
        full = used_memory(stack)
        yield row("redis_bytes_per_device", (full - empty) / count, "bytes", "budget", 700)
        before = len(recoveries(signer))
        shares = Shares(signer=signer.process.pid, kafka=stack.kafka_pid(), redis=stack.redis_pid())
        stack.redis_cli("FLUSHALL")
        wait_until(lambda: len(recoveries(signer)) > before and signer.ready(), 60, "the view to be back")
        last = recoveries(signer)[-1]
        note(f"{shares.text(count)}; {last['records']} records in {last['took_ms']} ms")
        if int(stack.redis_cli("DBSIZE")) < count:
            raise BenchError("the view is not whole")
        rate = count / (last["took_ms"] / 1000)
        topic = ("--brokers", stack.brokers, "--topic", "fleetseal.device.state")
        bare = tool_json("bench-bare-kafka", "read", *topic)
        yield row("view_rebuild", rate, "devices/s", "bare read of the same topic", bare["records"] / bare["seconds"])
        yield row("view_rebuild_vs_set", rate, "devices/s", "redis-benchmark SET, 100 in a pipeline", set_rate(stack))


def used_memory(stack):
    lines = dict(line.split(":", 1) for line in stack.redis_cli("INFO", "memory").splitlines() if ":" in line)
    return int(lines["used_memory"])


def set_rate(stack):
    host, port = stack.redis.rsplit(":", 1)
    password = (stack.folder / "redis" / "admin.password").read_text().strip()
    argv = ["redis-benchmark", "-h", host, "-p", port, "--user", "admin", "-a", password, "-t", "set", "-n", "300000"]
    argv += ["-P", "100", "-c", "1", "-d", "250", "-r", "100000", "--csv"]
    lines = [line for line in stacks.output(*argv).splitlines() if line.startswith('"SET"')]
    return float(lines[-1].split(",")[1].strip('"'))
