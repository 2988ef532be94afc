"""How far an owner's group has come, by kcat and the standard library alone: it can read any topic, also the one where Kafka
keeps the offsets of all groups."""

import struct
import subprocess


def consume(brokers, topic, pattern):
    """Every committed record of a topic in kcat's format; None when it could not be read."""
    argv = ["kcat", "-b", brokers, "-C", "-t", topic, "-o", "beginning", "-e", "-q"]
    argv += ["-X", "isolation.level=read_committed", "-f", pattern]
    done = subprocess.run(argv, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def group_offset(key, value):
    """(group, topic, partition), offset of one record of __consumer_offsets; None when it tells something else."""
    if struct.unpack_from(">h", key)[0] > 1:
        return None
    at, names = 2, []
    for _ in ("group", "topic"):
        size = struct.unpack_from(">h", key, at)[0]
        names.append(key[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return (*names, struct.unpack_from(">i", key, at)[0]), struct.unpack_from(">q", value, 2)[0] if value else None


def committed(brokers):
    """{(group, topic, partition): offset} of all groups; None when it could not be read."""
    raw = consume(brokers, "__consumer_offsets", "%K %S\\n%k%s")
    if raw is None:
        return None
    found, at = {}, 0
    while at < len(raw):
        head = raw.index(b"\n", at)
        key_size, value_size = (max(0, int(size)) for size in raw[at:head].split())
        border = head + 1 + key_size
        at = border + value_size
        told = group_offset(raw[head + 1 : border], raw[border:at])
        if told:
            found[told[0]] = told[1]
    return {place: offset for place, offset in found.items() if offset is not None}


def worked_off(brokers, topic):
    """Has every group that takes from the topic committed beyond its last committed record, in each partition?"""
    raw, groups = consume(brokers, topic, "%p %o\\n"), committed(brokers)
    if raw is None or groups is None:
        return False
    last = dict(map(int, line.split()) for line in raw.splitlines())
    taken = {}
    for (_, of_topic, partition), offset in groups.items():
        if of_topic == topic:
            taken[partition] = min(offset, taken.get(partition, offset))
    return all(taken.get(partition, 0) > offset for partition, offset in last.items())
