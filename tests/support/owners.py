"""Talking to owners without their doors: requests written to topics, answers read where doors find them, and a device in Python."""

import base64
import hashlib
import json
import socket
import struct
import time
import uuid
from datetime import datetime, timezone

import harness
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def b64(data):
    return base64.b64encode(data).decode()


def unb64(text):
    return base64.b64decode(text)


def rfc3339(at=None):
    at = at or datetime.now(timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def stable_hash(text):
    """common/partition.h, written down a second time."""
    h = 2166136261
    for byte in text.encode():
        h = ((h ^ byte) * 16777619) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return h ^ (h >> 16)


def profile_uid(domain):
    number, digits = stable_hash(domain), ""
    for _ in range(6):
        number, rest = divmod(number, 62)
        digits = BASE62[rest] + digits
    return digits + "".join(BASE62[b % 62] for b in uuid.uuid4().bytes)


class Wire:
    """Enough of Redis' protocol for values with any bytes in them."""

    def __init__(self, redis, user="admin"):
        host, port = redis.address.rsplit(":", 1)
        self.file = socket.create_connection((host, int(port)), timeout=10).makefile("rwb")
        self("AUTH", user, redis.password_file(user).read_text().strip())

    def __call__(self, *argv):
        parts = [a if isinstance(a, bytes) else str(a).encode() for a in argv]
        self.file.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        self.file.flush()
        return self._read()

    def _read(self):
        line = self.file.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise AssertionError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self._read() for _ in range(int(rest))]
        return rest


class Owners:
    """The request topics of a private stack."""

    def __init__(self, kafka, redis):
        self.kafka = kafka
        self.redis = redis
        self.wire = Wire(redis)
        self.partitions = len(kafka.partitions("fleetseal.device.state"))

    def partition(self, key):
        return stable_hash(key) % self.partitions

    def send(self, topic, kind, key, body, domain="", request=None, actor="operator", **more):
        """Writes a request and returns its id; the answer is kept for `answer`."""
        request = request or str(uuid.uuid4())
        envelope = {
            "id": request,
            "type": kind,
            "time": rfc3339(),
            "domain": domain,
            "reply_to": "g:c:test",
            "actor": {"kind": actor, "id": "test"},
            "body": body,
            **more,
        }
        envelope = {k: v for k, v in envelope.items() if v != ""}
        self.kafka.produce(topic, json.dumps(envelope), key, partition=self.partition(key))
        return request

    def answer(self, request, seconds=20):
        text = harness.wait_until(lambda: self.wire("GET", f"g:r:{request}"), seconds, f"an answer to {request}")
        return json.loads(text)

    def ask(self, *argv, **more):
        request = self.send(*argv, **more)
        return self.answer(request)

    def records(self, topic, key=None, **where):
        found = [r for r in self.kafka.read(topic) if r.value and (key is None or r.key == key.encode())]
        return [r for r in found if all(r.json().get(k) == v for k, v in where.items())]

    def events(self, subject):
        return [r for r in self.kafka.read("fleetseal.events") if r.headers.get("ce_subject") == subject]

    def put_view(self, letter, partition, key, value, indexes=()):
        """Puts a record into a view whose owner is not running."""
        packed = bytes([1, len(indexes)])
        for name, member, score in indexes:
            packed += bytes([len(name)]) + name.encode() + bytes([len(member)]) + member.encode() + struct.pack("<d", score)
            self.wire("ZADD", f"{{{letter}{partition}}}i:{name}", score, member)
        self.wire("SET", f"{{{letter}{partition}}}:{key}", packed + json.dumps(value).encode())

    def view_is_current(self, letter, topic):
        """Marks the views of an owner that is not running as up to date. Other tests may have left records, and tombstones."""
        logs, ends = {}, {}
        for record in self.kafka.read(topic):
            ends[record.partition] = record.offset
            if record.key == b"#log":
                logs[record.partition] = record.json()["id"]
        for partition, log in logs.items():
            self.wire("HSET", f"{{{letter}{partition}}}#", "log", log, "off", ends[partition])

    def create_ca(self, domain, **changes):
        body = {
            "name": "Plant",
            "subject": {"common_name": "Plant Root", "organization": "Example"},
            "validity_s": 10 * 365 * 86400,
            "device_validity_s": 365 * 86400,
            "automatic_renewal": True,
            "renew_ahead_s": 30 * 86400,
            **changes,
        }
        ca = str(uuid.uuid4())
        return self.ask("fleetseal.ca.requests", "ca.create.v1", ca, body, domain=domain, request=ca, hash="00" * 16)

    def create_profile(self, domain, ca, uid=None, **changes):
        """With the `uid` of one that is there: what it says from now on."""
        uid = uid or profile_uid(domain)
        value = {
            "type": "profile.v1",
            "uid": uid,
            "domain": domain,
            "name": "profile",
            "ca": ca,
            "heartbeat_interval_s": 3600,
            "flood_interval_s": 60,
            "whitelist": "ignore",
            "key_algorithm": "EC-P256",
            "features": {"zero_touch": True, "data_protection": False, "chip_to_chip": False},
            "created_at": rfc3339(),
            "updated_at": rfc3339(),
            **changes,
        }
        key = f"{domain}/profile/{uid}"
        indexes = [("keys", key, 0), ("alias", f"profile:{uid}\n{key}", 0)]
        self.put_view("r", self.partition(domain), key, value, indexes)
        return uid

    def list_device(self, domain, uid):
        key = f"{domain}/whitelist/{uid}"
        value = {"type": "whitelist.v1", "uid": uid, "domain": domain, "created_at": rfc3339(), "updated_at": rfc3339()}
        self.put_view("r", self.partition(domain), key, value, [("keys", key, 0)])


def spki(key):
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


class Device:
    """What a device knows and signs; `owners` stands where its door would be."""

    def __init__(self, owners, profile=None, serial=""):
        self.owners = owners
        self.root = new_key()
        self.key = new_key()
        self.uid = hashlib.sha256(spki(self.root)).hexdigest()[:16]
        self.profile = profile
        self.serial = serial
        self.nonce = uuid.uuid4().bytes
        self.sequence = 0
        self.last = None
        self.last_bootstrap = None

    def csr(self, key=None, signer=None):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whatever the device says")])
        builder = x509.CertificateSigningRequestBuilder().subject_name(name)
        return b64(builder.sign(key or self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))

    def message(self, kind, payload, signer, operation="-", rot=None):
        self.sequence += 1
        text = json.dumps(payload).encode()
        digest = hashlib.sha256(text).hexdigest()
        signed = f"fleetseal-device-v1|{kind}|{self.uid}|{operation}|{self.sequence}|{digest}".encode()
        return {
            "signed": {
                "kind": kind,
                "operation": operation,
                "sequence": str(self.sequence),
                "payload": b64(text),
                "signature": b64(signer.sign(signed, ec.ECDSA(hashes.SHA256()))),
            },
            "rot_key": b64(spki(rot or self.root)),
        }

    def send(self, kind, body):
        self.last = (kind, body)
        return self.owners.ask("fleetseal.device.requests", f"device.{kind}.v1", self.uid, body, actor="device")

    def payload(self, csr="made"):
        """What it signs at its bootstrap."""
        payload = {
            "uid": self.uid,
            "install_nonce": b64(self.nonce),
            "model": "m1",
            "firmware": "1.0",
            "agent": "test",
            "time": rfc3339(),
        }
        payload |= {"csr": self.csr() if csr == "made" else csr} if csr else {}
        return payload | ({"profile": self.profile, "serial": self.serial} if self.profile else {})

    def bootstrap(self, csr="made", **changes):
        self.last_bootstrap = self.message("bootstrap", self.payload(csr) | changes, self.root)
        return self.send("bootstrap", self.last_bootstrap)

    def pickup(self, operation, signer=None, rot=None, **payload):
        body = self.message("pickup", {"operation": operation, **payload}, signer or self.root, operation, rot)
        return self.send("pickup", body)

    def confirm(self, operation, serial, signer=None, key=None):
        payload = {"operation": operation, "serial": serial, "time": rfc3339(), "key": b64(spki(key or self.key))}
        return self.send("confirm", self.message("confirm", payload, signer or key or self.key, operation))

    def again(self):
        """The very same message once more."""
        return self.send(*self.last)

    def state(self):
        """The newest state record, and the proof that the view says the same is left to the processor's tests."""
        records = self.owners.records("fleetseal.device.state", self.uid)
        return records[-1].json() if records else None

    def installed(self):
        """Bootstraps and confirms; returns the first certificate's answer."""
        first = self.bootstrap()["result"]
        assert self.confirm(first["operation"], first["serial"])["status"] == 200
        return first


def certificate(der_base64):
    return x509.load_der_x509_certificate(unb64(der_base64))


def now_ms():
    return int(time.time() * 1000)
