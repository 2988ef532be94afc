"""A private stack for a bench: Kafka with as many partitions as wanted, Redis, single services, and what they use of the
processor. Standard library only; servers are started and stopped by the scripts of deploy/."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["FLEETSEAL_BUILD"])
DEPLOY = ROOT / "deploy"
BENCH = BUILD / "tests" / "bench"
TICKS = os.sysconf("SC_CLK_TCK")
# A proxy of the person at the shell does not know our loopback.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class BenchError(Exception):
    """A bench could not be played; the text says why."""


def clean_environment():
    return {k: v for k, v in os.environ.items() if not k.startswith("FLEETSEAL_")}


def output(*argv, timeout=120, env=None):
    """What a command printed; a failure shows what it said."""
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=timeout, env=env, check=False)
    if done.returncode != 0:
        raise BenchError(f"{pathlib.Path(argv[0]).name} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


@contextlib.contextmanager
def undisturbed():
    """While servers are being stopped neither the limit nor a second Ctrl-C counts: whoever is interrupted there leaves the rest
    running. The scripts that stop them inherit it."""
    began, left = time.monotonic(), signal.alarm(0)
    numbers = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if left:
            signal.alarm(max(1, left - int(time.monotonic() - began)))


def tool(name, *argv, timeout=120):
    return output(BENCH / name, *argv, timeout=timeout)


def tool_json(name, *argv, timeout=120):
    return json.loads(tool(name, *argv, timeout=timeout))


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while True:
        try:
            value = condition()
        except OSError:
            value = None
        if value:
            return value
        if time.monotonic() > deadline:
            raise BenchError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)


def processor_seconds(pid):
    """User and system time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def metrics_of(address):
    """The samples of /metrics: {'name{labels}': value}."""
    with DIRECT.open(f"http://{address}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


class Service:
    """A service started with a configuration of its own."""

    def __init__(self, stack, name, config):
        self.name = name
        self.metrics_address = f"127.0.0.1:{stack.free_port()}"
        rows = {
            "instance": f"{name}-0",
            "kafka.brokers": stack.brokers,
            "redis.address": stack.redis,
            "redis.user": name,
            "redis.password_file": stack.folder / "redis" / f"{name}.password",
            "metrics.address": self.metrics_address,
            **config,
        }
        path = stack.folder / f"{name}.conf"
        path.write_text("".join(f"{k} = {v}\n" for k, v in rows.items()))
        self.log_path = stack.folder / f"{name}.log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [BUILD / "services" / name / name, "--config", path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
            )

    def metrics(self):
        return metrics_of(self.metrics_address)

    def ready(self):
        if self.process.poll() is not None:
            raise BenchError(f"{self.name} ended with {self.process.returncode}, see {self.log_path}")
        try:
            with DIRECT.open(f"http://{self.metrics_address}/readyz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def wait_ready(self, seconds=60):
        wait_until(self.ready, seconds, f"{self.name} to be ready")
        return self

    def logs(self, event):
        found = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if event in entry.values():
                found.append(entry)
        return found

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(12)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


class Stack:
    """Kafka and Redis in a folder, and the services a bench starts there; a context manager that stops all of them."""

    def __init__(self, folder, partitions, topics=None):
        self.folder = pathlib.Path(folder)
        self.partitions = partitions
        self.topics = topics
        self.services = []

    def __enter__(self):
        self.folder.mkdir(parents=True)
        try:
            self.brokers = output(DEPLOY / "kafka" / "start", self.folder / "kafka")
            self.redis = output(DEPLOY / "redis" / "start", self.folder / "redis")
            self._make_topics()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with undisturbed():
            for service in reversed(self.services):
                service.stop()
            for part in ("redis", "kafka"):
                subprocess.run([DEPLOY / part / "stop", self.folder / part], capture_output=True, check=False)

    def _make_topics(self):
        catalog = json.loads((ROOT / "proto" / "topics.json").read_text())
        if self.topics is not None:
            catalog["topics"] = [t for t in catalog["topics"] if t["name"].removeprefix("fleetseal.") in self.topics]
        path = self.folder / "topics.json"
        path.write_text(json.dumps(catalog))
        program = BUILD / "services" / "topic-tool" / "fleetseal-topics"
        output(program, "apply", "--brokers", self.brokers, "--topics", path, "--partitions", self.partitions)

    @staticmethod
    def free_port():
        return int(output("bash", "-euc", '. "$0"; free_port', DEPLOY / "lib.sh"))

    def service(self, name, config):
        service = Service(self, name, config)
        self.services.append(service)
        return service

    def secret(self, name, size):
        path = self.folder / name
        if not path.exists():
            path.touch(0o600)
            path.write_bytes(os.urandom(size))
        return path

    def signer(self, **config):
        rows = {"keystore.kek_file": self.secret("ca.kek", 32), **config}
        return self.service("ca-signer", rows).wait_ready()

    def seed(self, what, *options):
        return tool("bench-seed", what, "--brokers", self.brokers, "--partitions", self.partitions, *options)

    def redis_cli(self, *argv):
        host, port = self.redis.rsplit(":", 1)
        password = (self.folder / "redis" / "admin.password").read_text().strip()
        env = {**os.environ, "REDISCLI_AUTH": password}
        return output("redis-cli", "-h", host, "-p", port, "--user", "admin", *argv, env=env)

    def redis_pid(self):
        return int((self.folder / "redis" / "redis.pid").read_text())

    def kafka_pid(self):
        return int((self.folder / "kafka" / "1" / "kafka.pid").read_text())

    def server_tls(self):
        """A certificate of its own for 127.0.0.1: (certificate, key)."""
        certificate, key = self.folder / "server.pem", self.folder / "server.key"
        if not certificate.exists():
            argv = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
            argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
            output("openssl", *argv, "-keyout", key, "-out", certificate)
            key.chmod(0o600)
        return certificate, key
