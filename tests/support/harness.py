"""What integration and fault tests stand on: a private Kafka and Redis, the real programs, and waiting by condition.

Everything is started through the scripts of deploy/ in folders of its own, on free ports, and stopped by process id. Each
process leaves `<name>.pid` in its folder, so that tests/run can stop it even when this interpreter is killed.
"""

import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import confluent_kafka
import postmortem

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FLEETSEAL_BUILD", ROOT / "build" / "asan"))
DEPLOY = ROOT / "deploy"

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
}
# All servers are on this machine's loopback, which a proxy does not know.
NO_PROXY_ENV = {"no_proxy": "*"}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
POLL_S = 0.02


def clean_environment(extra=None):
    """Ours without FLEETSEAL_ variables, from which a service would read settings that are not meant for it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FLEETSEAL_")}
    return {**kept, **SANITIZER_ENV, **(extra or {})}


def wait_until(condition, seconds=20, what="the condition"):
    """Calls `condition` until it returns something true, and returns that; fails after `seconds`.

    An AssertionError or a connection error inside the condition counts as "not yet", and is shown when time is up."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = None
        except (AssertionError, OSError) as error:
            last = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}" + (f": {last}" if last else "")) from last
        time.sleep(POLL_S)


def run(*argv, timeout=60, check=True, env=None, stdin=None):
    """Runs a command to its end; a failure shows what it said."""
    done = subprocess.run(
        [str(a) for a in argv],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **SANITIZER_ENV, **NO_PROXY_ENV, **(env or {})},
        input=stdin,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{argv[0]} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def free_port():
    """A port that is free now, from the claims that the scripts of deploy/ share."""
    done = run("bash", "-euc", '. "$0"; free_port', DEPLOY / "lib.sh")
    return int(done.stdout)


def program(name):
    """The path of a built program: build/asan/services/<folder>/<name>, or tests/support/<name>."""
    for folder in ("services", "tests"):
        for path in sorted((BUILD / folder).rglob(name)):
            if path.is_file() and os.access(path, os.X_OK):
                return path
    raise AssertionError(f"there is no program {name} in {BUILD}: was it built?")


@dataclass
class Record:
    """A Kafka record as read back."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict = field(default_factory=dict)

    def json(self):
        return json.loads(self.value)


class Kafka:
    """A private cluster of one or three nodes."""

    def __init__(self, folder, nodes=1):
        self.folder = pathlib.Path(folder)
        self.nodes = nodes
        self.brokers = None

    def start(self):
        done = run(DEPLOY / "kafka" / "start", self.folder, "--nodes", self.nodes, timeout=120)
        self.brokers = done.stdout.strip()
        return self

    def stop(self, node=None):
        run(DEPLOY / "kafka" / "stop", self.folder, *(["--node", node] if node else []), timeout=60)

    def kill(self, node=1):
        """As a power cut would; `start` or `start_node` brings it back on its old data."""
        run(DEPLOY / "kafka" / "stop", self.folder, "--node", node, "--kill")

    def start_node(self, node=1):
        run(DEPLOY / "kafka" / "start", self.folder, "--node", node, timeout=120)

    def pid(self, node=1):
        return int((self.folder / str(node) / "kafka.pid").read_text())

    def pause(self, node=1):
        os.kill(self.pid(node), signal.SIGSTOP)

    def resume(self, node=1):
        os.kill(self.pid(node), signal.SIGCONT)

    def topics(self, command="apply", catalog=None, partitions=None, check=True):
        """Runs fleetseal-topics against this cluster."""
        argv = [program("fleetseal-topics"), command, "--brokers", self.brokers]
        argv += ["--topics", catalog or ROOT / "proto" / "topics.json"]
        return run(*argv, *(["--partitions", partitions] if partitions else []), check=check)

    def kcat(self, *argv, stdin=None, check=True):
        return run("kcat", "-b", self.brokers, *argv, stdin=stdin, check=check)

    def produce(self, topic, value, key=None, headers=None, partition=-1):
        """Writes one record and waits for the brokers to have it; returns (partition, offset)."""
        result = []
        producer = confluent_kafka.Producer({"bootstrap.servers": self.brokers, "acks": "all", "message.max.bytes": 1_100_000})
        producer.produce(
            topic,
            value=value,
            key=key,
            headers=headers,
            partition=partition,
            on_delivery=lambda error, message: result.append((error, message)),
        )
        producer.flush(20)
        assert result, f"{topic} did not take the record in time"
        error, message = result[0]
        assert error is None, f"{topic}: {error}"
        return message.partition(), message.offset()

    def consumer(self, **extra):
        return confluent_kafka.Consumer(
            {
                "bootstrap.servers": self.brokers,
                "group.id": "fleetseal-tests",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                **extra,
            }
        )

    def partitions(self, topic):
        consumer = self.consumer()
        try:
            return sorted(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
        finally:
            consumer.close()

    def read(self, topic, **extra):
        """Every committed record of a topic, from its beginning to its end of now, by partition and offset."""
        consumer = self.consumer(**extra)
        try:
            partitions = sorted(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
            consumer.assign([confluent_kafka.TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in partitions])
            return self._read_to_end(consumer, set(partitions))
        finally:
            consumer.close()

    @staticmethod
    def _read_to_end(consumer, open_partitions):
        records = []
        deadline = time.monotonic() + 60
        while open_partitions:
            assert time.monotonic() < deadline, f"no end seen of partitions {sorted(open_partitions)}"
            message = consumer.poll(1)
            if message is None:
                continue
            error = message.error()
            if error is None:
                headers = {k: v.decode() for k, v in message.headers() or []}
                records.append(
                    Record(message.topic(), message.partition(), message.offset(), message.key(), message.value(), headers)
                )
            elif error.code() == confluent_kafka.KafkaError._PARTITION_EOF:
                open_partitions.discard(message.partition())
            elif error.fatal() or not error.retriable():
                raise AssertionError(str(error))
        return sorted(records, key=lambda r: (r.partition, r.offset))


class Redis:
    """A private Redis with the users of deploy/redis/users.acl.in."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.address = None

    def start(self):
        self.address = run(DEPLOY / "redis" / "start", self.folder).stdout.strip()
        return self

    def stop(self):
        run(DEPLOY / "redis" / "stop", self.folder)

    def kill(self):
        run(DEPLOY / "redis" / "stop", self.folder, "--kill")

    def pid(self):
        return int((self.folder / "redis.pid").read_text())

    def password_file(self, user):
        return self.folder / f"{user}.password"

    def cli(self, *argv, user="admin", check=True):
        """One command as `user`; its answer as text, an error reply fails."""
        host, port = self.address.rsplit(":", 1)
        password = self.password_file(user).read_text().strip()
        done = run(
            "redis-cli", "-e", "-h", host, "-p", port, "--user", user, *argv, env={"REDISCLI_AUTH": password}, check=check
        )
        return done.stdout.strip() if check else done

    def flush(self):
        self.cli("FLUSHALL")


class Program:
    """A running program of ours. Its log (JSON lines on stdout) and stderr go to files in `folder`."""

    def __init__(self, name, argv, folder, env=None):
        self.name = name
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log_path = self.folder / f"{name}.log"
        self.error_path = self.folder / f"{name}.stderr"
        self.end_awaited = False
        with open(self.log_path, "ab") as out, open(self.error_path, "ab") as err:
            self.process = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=clean_environment(env),
                start_new_session=True,
            )
        self._leave_pid()

    def _leave_pid(self):
        birth = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
        (self.folder / f"{self.name}.pid").write_text(f"{self.pid}\n")
        (self.folder / f"{self.name}.birth").write_text(f"{birth}\n")

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process.poll() is None

    def logs(self, **wanted):
        """The log lines so far, parsed; with arguments only those whose fields have these values."""
        lines = []
        for text in self.log_path.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if all(line.get(k) == v for k, v in wanted.items()):
                lines.append(line)
        return lines

    def wait_for_log(self, seconds=20, **wanted):
        return wait_until(lambda: self._still(self.logs(**wanted)), seconds, f"{self.name} to log {wanted}")

    def _still(self, value):
        if not value and not self.running:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}\n{self.tail()}")
        return value

    def tail(self, lines=30):
        text = self.log_path.read_text(errors="replace") + self.error_path.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def signal(self, number):
        self.process.send_signal(number)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        """As the kernel would; nothing is asserted about how it ends."""
        if self.running:
            self.process.kill()
        self.wait(10)

    def stop(self, seconds=10):
        """SIGTERM; it must end by itself with status 0 in time, and no sanitizer may have complained."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGCONT)
        try:
            status = self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {seconds} s of SIGTERM\n{self.tail()}") from None
        self.check_clean()
        assert status == 0, f"{self.name} ended with {status}\n{self.tail()}"

    def wait(self, seconds=60):
        """Waits for a program that ends by itself; its exit status."""
        status = self.process.wait(seconds)
        self.end_awaited = True
        self._forget_pid()
        return status

    def check_clean(self):
        said = postmortem.crash_text(self.error_path.read_text(errors="replace"))
        assert not said, f"{self.name}:\n{said}"

    def check_end(self):
        """At the end of a test: it stops as it should, or has ended in the course of it because the test wanted that."""
        if self.running:
            self.stop()
            return
        self.check_clean()
        assert self.end_awaited, f"{self.name} ended by itself with {self.process.returncode}\n{self.tail()}"

    def _forget_pid(self):
        for suffix in ("pid", "birth"):
            (self.folder / f"{self.name}.{suffix}").unlink(missing_ok=True)


class Service(Program):
    """A service started with a generated configuration file. `config` holds its own rows; the common ones are filled in
    unless given (a value of None leaves a row out)."""

    def __init__(self, name, kafka, redis, folder, replica=0, config=None, env=None, wait_ready=True, binary=None):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.metrics_address = f"127.0.0.1:{free_port()}"
        self.config = {
            "instance": f"{name}-{replica}",
            "kafka.brokers": kafka.brokers if kafka else None,
            "redis.address": redis.address if redis else None,
            "redis.user": name if redis else None,
            "redis.password_file": redis.password_file(name) if redis else None,
            "metrics.address": self.metrics_address,
            "log.level": "debug",
            **(config or {}),
        }
        self.config_path = folder / f"{name}-{replica}.conf"
        self.config_path.write_text("".join(f"{k} = {v}\n" for k, v in self.config.items() if v is not None))
        super().__init__(f"{name}-{replica}", [binary or program(name), "--config", self.config_path], folder, env)
        if wait_ready:
            self.wait_ready()

    def get(self, path):
        """(status, body) of a GET on the admin port."""
        try:
            with DIRECT.open(f"http://{self.metrics_address}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def ready(self):
        return self.get("/readyz")[0] == 200

    def wait_ready(self, seconds=30):
        wait_until(lambda: self._still(self._ready_or_running()), seconds, f"{self.name} to be ready")

    def _ready_or_running(self):
        try:
            return self.ready()
        except OSError:
            return False

    def metrics(self):
        """The samples of /metrics: {'name{labels}': value}."""
        samples = {}
        for line in self.get("/metrics")[1].splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples
