"""What the fault tests of the processor share: a small owner over its own topics, a list of requests, what must come out.

The outcome of a list is the state topic as compaction leaves it, the events of each key in their order, the dead letters,
and every byte of the Redis view. It depends on each request exactly once and in order, and on nothing else: not on how requests
were batched, how often the owner died, or which owner it was.
"""

import contextlib
import functools
import json
import random
import socket
import struct
import threading
from collections import defaultdict
from dataclasses import dataclass, field

import confluent_kafka
import confluent_kafka.admin
import harness

PARTITIONS = 4
USER = "api-gateway"  # it may write views of the letter that processor-owner uses
STEPS = ["decoded", "loaded", "decided", "signed", "produced", "offsets-sent", "committed", "view-written", "replied"]


def stable_hash(key):
    """common/partition.h"""
    h = 2166136261
    for byte in key:
        h = (h ^ byte) * 16777619 & 0xFFFFFFFF
    h = (h ^ h >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    h = (h ^ h >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return h ^ h >> 16


def partition_of(key):
    return stable_hash(key.encode()) % PARTITIONS


def request(number, key, add, **more):
    return {"type": "counter.add.v1", "id": f"r{number:05}", "key": key, "add": add, **more}


def request_list(count=240, keys=24, seed=1):
    """Mixed work: counters that are added to, some with a signature in between, some that pass half on to a counter of
    their own over two steps (each target has one source, so that its order is certain), some that ask to be put aside."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        key = f"k{rng.randrange(keys):03}"
        more = {}
        kind = rng.random()
        if kind < 0.3:
            more["sign"] = True
        if kind > 0.85:
            more["to"] = f"t-{key},u-{key}"
        elif kind > 0.8:
            more["dead"] = True
        made.append(request(number, key, rng.randrange(1, 1000), **more))
        if kind < 0.1:  # the next one of the batch needs what this one signs
            made[-1]["key"] = made[-2]["key"] if len(made) > 1 else key
            made[-1].pop("to", None)
    return made


REQUESTS = request_list()
FIRST, THEN = REQUESTS[:120], REQUESTS[120:]


def model(requests):
    """What a list of requests comes to, worked out here: {key: state}, {key: [(id, event)]}, [dead ids]."""
    state, events, dead = {}, defaultdict(list), []
    queue = [dict(r) for r in requests]
    while queue:
        r = queue.pop(0)
        if r.get("dead"):
            dead.append(r["id"])
            continue
        now = state.setdefault(r["key"], {"type": "counter.v1", "key": r["key"], "total": 0, "count": 0, "chain": 0})
        now["total"] += r["add"]
        now["count"] += 1
        now["chain"] = stable_hash(f"{now['chain']}|{r['id']}".encode())
        now["signature"] = f"{stable_hash(r['id'].encode()):08x}" if r.get("sign") else ""
        events[r["key"]].append((r["id"], {"id": r["id"], "key": r["key"], "total": now["total"]}))
        if r.get("to"):
            first, _, rest = r["to"].partition(",")
            queue.append({"id": f"{r['id']}-to", "key": first, "add": r["add"] // 2, "to": rest})
    return state, dict(events), sorted(dead)


class Resp:
    """As much of a Redis client as is needed to see bytes as they are."""

    def __init__(self, redis):
        host, port = redis.address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.file = self.socket.makefile("rb")
        self("AUTH", "admin", redis.password_file("admin").read_text().strip())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, *argv):
        argv = [a if isinstance(a, bytes) else str(a).encode() for a in argv]
        self.socket.sendall(b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in argv))

    def __call__(self, *argv):
        self.send(*argv)
        return self.reply()

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise AssertionError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        return rest

    def keys(self, pattern):
        cursor, found = b"0", set()
        while True:
            cursor, page = self("SCAN", cursor, "MATCH", pattern, "COUNT", "1000")
            found.update(page)
            if cursor == b"0":
                return sorted(found)

    def content(self, key):
        kind = self("TYPE", key)
        if kind == b"string":
            return self("GET", key)
        if kind == b"zset":
            return self("ZRANGE", key, 0, -1, "WITHSCORES")
        if kind == b"hash":
            flat = self("HGETALL", key)
            return dict(zip(flat[::2], flat[1::2], strict=True))
        raise AssertionError(f"{key} is a {kind}")

    def snapshot(self):
        return [(key, self("DUMP", key)) for key in self.keys("*")]

    def restore(self, snapshot):
        """All at once, as a replica that lags takes over."""
        self("MULTI")
        self("FLUSHALL")
        for key, dump in snapshot:
            self("RESTORE", key, 0, dump)
        self("EXEC")


@dataclass
class Outcome:
    state: dict = field(default_factory=dict)  # key -> bytes
    events: dict = field(default_factory=lambda: defaultdict(list))  # key -> [(ce_id, bytes)]
    dead: list = field(default_factory=list)  # [(value, code)]
    view: dict = field(default_factory=dict)  # redis key -> content
    replies: dict = field(default_factory=dict)  # request id -> bytes


class Rig:
    """Topics of its own for one owner, on a cluster that may be shared; a Redis that must not be."""

    def __init__(self, kafka, redis, start_program, prefix, folder):
        self.kafka, self.redis, self.prefix = kafka, redis, prefix
        self.start_program = start_program
        self._make_topics(folder)
        # Idempotent: a request that the test itself wrote twice, when a broker dies, is none that the owner doubled.
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": kafka.brokers,
                "enable.idempotence": True,
                "linger.ms": 2,
                "message.max.bytes": 1048000,
            }
        )
        self._seen, self._follower = defaultdict(int), None

    def _make_topics(self, folder):
        catalog = json.loads((harness.ROOT / "proto" / "topics.json").read_text())
        about = {"partition_key": "key", "record_key": "key", "holds": "a test"}
        catalog["topics"] = [
            {"name": f"{self.prefix}.requests", "settings": "requests", "dlq": True, **about},
            {"name": f"{self.prefix}.state", "settings": "state", "state": True, **about},
            {"name": f"{self.prefix}.events", "settings": "month", **about},
        ]
        path = folder / f"{self.prefix}.topics.json"
        path.write_text(json.dumps(catalog))
        self.kafka.topics(catalog=path, partitions=PARTITIONS)

    def owner(self, *arguments, instance="owner-0", batch=20, session_ms=6000, transaction_ms=10000):
        return self.start_program(
            "processor-owner",
            *("--brokers", self.kafka.brokers, "--redis", self.redis.address, "--user", USER),
            *("--password", self.redis.password_file(USER).read_text().strip(), "--prefix", self.prefix),
            *("--instance", instance, "--batch", batch, "--session-ms", session_ms, "--transaction-ms", transaction_ms),
            *arguments,
        )

    def produce(self, requests):
        """Returns when the brokers have them all, in the order given: requests, or (key, value) that is none, or its value."""
        failed = []
        for r in requests:
            raw = ("k000", r) if isinstance(r, bytes) else r
            key, value = raw if isinstance(raw, tuple) else (r["key"], json.dumps(r).encode())
            while True:
                try:
                    self._producer.produce(
                        f"{self.prefix}.requests",
                        value=value,
                        key=key.encode(),
                        partition=partition_of(key),
                        on_delivery=lambda error, _: failed.append(error) if error else None,
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)
        assert self._producer.flush(60) == 0 and not failed, failed[:1]

    @contextlib.contextmanager
    def flow(self, requests, piece=5):
        """Produces from `requests` piece by piece while the block runs; what it gives is the list of those produced."""
        produced, over, failed = [], threading.Event(), []

        def run():
            try:
                for at in range(0, len(requests), piece):
                    if over.is_set():
                        return
                    self.produce(requests[at : at + piece])
                    produced.extend(requests[at : at + piece])
                    over.wait(0.02)
                failed.append("the list was too short")
            except (AssertionError, confluent_kafka.KafkaException) as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield produced
        finally:
            over.set()
            thread.join()
        assert not failed, failed

    # ---- its group ----

    @property
    def group(self):
        return f"{self.prefix}.owner"

    @functools.cached_property
    def admin(self):
        return confluent_kafka.admin.AdminClient({"bootstrap.servers": self.kafka.brokers})

    def members(self):
        return len(self.admin.describe_consumer_groups([self.group])[self.group].result(20).members)

    def expel(self, instance):
        """Its membership ends, as when a session runs out. LeaveGroup, which no client of a static member sends."""

        def text(value):
            return struct.pack(">h", len(value)) + value.encode()

        body = struct.pack(">hhi", 13, 3, 1) + text("test") + text(self.group)
        body += struct.pack(">i", 1) + text("") + text(instance)
        host, port = self.kafka.brokers.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=20) as s, s.makefile("rb") as answers:
            s.sendall(struct.pack(">i", len(body)) + body)
            answer = answers.read(struct.unpack(">i", answers.read(4))[0])
        assert struct.unpack(">h", answer[8:10])[0] == 0, answer
        assert struct.unpack(">h", answer[-2:])[0] == 0, answer

    def end_membership(self, instance):
        self.expel(instance)
        harness.wait_until(lambda: self.members() == 0, 20, "the group to be empty")

    def committed(self):
        """{partition: offset}; -1001: none"""
        asked = confluent_kafka.ConsumerGroupTopicPartitions(self.group)
        found = self.admin.list_consumer_group_offsets([asked])[self.group].result(20).topic_partitions
        return {p.partition: p.offset for p in found}

    def set_committed(self, offsets):
        """Of a group that nobody is in."""
        topic = f"{self.prefix}.requests"
        parts = [confluent_kafka.TopicPartition(topic, p, offset) for p, offset in offsets.items()]
        asked = confluent_kafka.ConsumerGroupTopicPartitions(self.group, parts)
        self.admin.alter_consumer_group_offsets([asked])[self.group].result(20)

    def forget_committed(self):
        self.admin.delete_consumer_groups([self.group])[self.group].result(20)

    def end_retention(self, offsets):
        """Deletes the requests below these offsets, as age does."""
        topic = f"{self.prefix}.requests"
        parts = [confluent_kafka.TopicPartition(topic, p, offset) for p, offset in offsets.items()]
        for done in self.admin.delete_records(parts).values():
            done.result(20)

    def close(self):
        if self._follower is not None:
            self._follower.close()
        self._follower = self._producer = None

    # ---- waiting ----

    def _follow(self):
        """Counts committed events and dead letters as they come."""
        if self._follower is None:
            topics = [f"{self.prefix}.events", f"{self.prefix}.requests.dlq"]
            self._follower = self.kafka.consumer(**{"enable.partition.eof": False, "fetch.wait.max.ms": 50})
            self._follower.assign(
                [confluent_kafka.TopicPartition(t, p, 0) for t in topics for p in range(PARTITIONS)]
            )
        for message in self._follower.consume(500, timeout=0.05):
            if message.error() is None:
                self._seen[message.topic()] += 1
        return self._seen[f"{self.prefix}.events"], self._seen[f"{self.prefix}.requests.dlq"]

    def seen_events(self):
        return self._follow()[0]

    def seen_dead(self):
        return self._follow()[1]

    def wait_for_events(self, count, seconds=60):
        harness.wait_until(lambda: self._follow()[0] >= count, seconds, f"{count} events")

    def settle(self, requests, seconds=90, dead=None, owners=()):
        """Until all that must come has come, and the view stands at the end of the log."""
        _, events, dead_ids = model([r for r in requests if isinstance(r, dict)])
        wanted = sum(map(len, events.values())), len(dead_ids) if dead is None else dead

        def all_there():
            for owner in owners:
                assert owner.running, f"{owner.name} ended\n{owner.tail()}"
            seen = self._follow()
            assert seen >= wanted, f"saw {seen} of {wanted} events and dead letters"
            return True

        harness.wait_until(all_there, seconds, "events and dead letters")
        harness.wait_until(self._view_is_current, seconds, "the view to reach the end of the log")

    def _view_is_current(self):
        marks, ends = self.marks(), self.log_ends()
        assert marks == ends, f"view at {marks}, log at {ends}"
        return True

    def marks(self):
        """{partition: (log id, offset)} of the view"""
        with Resp(self.redis) as r:
            found = {p: r.content(f"{{r{p}}}#") if r("EXISTS", f"{{r{p}}}#") else {} for p in range(PARTITIONS)}
        return {p: (m.get(b"log", b"").decode(), int(m.get(b"off", b"-1"))) for p, m in found.items()}

    def log_ends(self):
        """The same of the state topic: its own log id, the offset of its last committed record"""
        ends = {}
        for record in self.kafka.read(f"{self.prefix}.state"):
            log = record.json()["id"] if record.offset == 0 else ends[record.partition][0]
            ends[record.partition] = log, record.offset
        return ends

    # ---- what came out ----

    def outcome(self):
        out = Outcome()
        for record in self.kafka.read(f"{self.prefix}.state"):
            if record.key != b"#log":
                out.state[record.key] = record.value
                assert partition_of(record.key.decode()) == record.partition
        for record in self.kafka.read(f"{self.prefix}.events"):
            out.events[record.key].append((record.headers["ce_id"], record.value))
        for record in self.kafka.read(f"{self.prefix}.requests.dlq"):
            out.dead.append((record.value, record.headers["code"]))
        out.dead.sort()
        out.view = self.view()
        with Resp(self.redis) as r:
            out.replies = {key[4:].decode(): r("GET", key) for key in r.keys("g:r:*")}
        return out

    def view(self):
        with Resp(self.redis) as r:
            return {key: r.content(key) for key in r.keys("{r*") if not key.endswith(b"#")}

    @staticmethod
    def _same(what, found, wanted):
        keys = sorted(k for k in found.keys() | wanted.keys() if found.get(k) != wanted.get(k))
        some = "".join(f"\n{k}: {found.get(k)}\n  not {wanted.get(k)}" for k in keys[:5])
        assert not keys, f"{what} of {len(keys)} keys differ{some}"

    def check(self, reference):
        """Byte for byte what `reference` says, replies as far as they were not lost, and the marks at the log's end."""
        out = self.outcome()
        self._same("events", dict(out.events), dict(reference.events))
        self._same("state", out.state, reference.state)
        self._same("view", out.view, reference.view)
        assert out.dead == reference.dead
        events = {ce_id: value for of_key in reference.events.values() for ce_id, value in of_key}
        assert {k: v for k, v in out.replies.items() if events.get(k) != v} == {}
        self._view_is_current()

    def finish(self, reference):
        """All that is left of REQUESTS, by a new owner; as `reference` says."""
        owner = self.owner()
        self.settle(REQUESTS, owners=[owner])
        owner.stop()
        self.check(reference)

    def check_against_model(self, requests, more_dead=()):
        """For lists of their own: state and events by the sums done here, the view by building it again from the log."""
        state, events, dead = model(requests)
        out = self.outcome()
        assert {k.decode(): json.loads(v) for k, v in out.state.items()} == state
        assert {k.decode(): [(i, json.loads(v)) for i, v in of] for k, of in out.events.items()} == events
        assert sorted(json.loads(value)["id"] for value, _ in out.dead) == sorted([*dead, *more_dead])
        self.redis.flush()
        owner = self.owner()
        self.settle(requests, dead=len(out.dead), owners=[owner])
        owner.stop()
        assert self.view() == out.view


def stopped(program):
    """True when the program has stopped itself, at the step it was told."""
    with open(f"/proc/{program.pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "T"


def await_stop(program, seconds=30):
    harness.wait_until(lambda: stopped(program), seconds, f"{program.name} to stop itself")


def await_death(program, seconds=30):
    assert program.wait(seconds) == -9, program.tail()
