"""A device in front of the real door, and a fake owner behind it: TLS with a root-of-trust key, requests down to the byte, and
answers in Redis as ca-signer gives them."""

import base64
import datetime
import hashlib
import http.client
import json
import os
import socket
import ssl
import threading
import uuid

import confluent_kafka
import contract
import harness
import owners
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REQUESTS = "fleetseal.device.requests"
MONTH = datetime.timedelta(days=30)


# What an owner says when all is well, by exchange; device and certificate are nobody's.
OPERATION = "8b0e8015-15af-4e3e-8cf2-f9c4f13424aa"
SERIAL = "de37e70c2ab8ef383a1cf2499d00e00d"
NOT_AFTER = "2027-11-21T06:00:00.000Z"
RESULTS = {
    "bootstrap": {"state": "registered", "settings": {"heartbeat_interval_s": 604800, "flood_interval_s": 300}},
    "pickup": {"operation": OPERATION, "serial": SERIAL, "certificate": "MAA=", "chain": ["MAA="], "not_after": NOT_AFTER},
    "confirm": {"operation": OPERATION, "serial": SERIAL, "status": "installed"},
}


def success(envelope):
    return {"status": 200, "result": RESULTS[envelope["type"].split(".")[1]]}


def self_signed(key, name="device", signer=None, issuer=None, san=None):
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - MONTH).not_valid_after(now + MONTH)
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName(san), False)
    return builder.sign(signer or key, hashes.SHA256())


def write_pem(folder, name, key, certificate):
    """(certificate file, key file)"""
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths[1].write_bytes(key.private_bytes(*form))
    return paths


DESCRIPTION = contract.DeviceDoor()


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)


class Device:
    """A root-of-trust key with its self-signed certificate; one TLS connection per request."""

    def __init__(self, folder, server_ca, port, key=None, certificate=None, anonymous=False):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.spki = owners.spki(self.key)
        self.uid = hashlib.sha256(self.spki).hexdigest()[:16]
        self.port = port
        self.sequence = 0
        self.context = ssl.create_default_context(cafile=server_ca)
        self.context.check_hostname = False
        if not anonymous:
            certificate = certificate or self_signed(self.key)
            self.context.load_cert_chain(*write_pem(folder, f"device-{uuid.uuid4().hex[:8]}", self.key, certificate))

    def connect(self):
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return self.context.wrap_socket(raw)

    def send(self, data):
        """Sends these bytes and reads what comes: an Answer, or None when the door closed without one."""
        with self.connect() as connection:
            try:
                connection.sendall(data)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                pass  # it may answer before it has read everything
            return read_answer(connection)

    def post(self, path, body, headers=(), content_type="application/json"):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "Host: door", f"Content-Length: {len(body)}"]
        lines += [f"Content-Type: {content_type}"] if content_type else []
        lines += [f"{k}: {v}" for k, v in (headers.items() if isinstance(headers, dict) else headers)]
        answer = self.send("\r\n".join([*lines, "", ""]).encode() + body)
        if answer is not None:
            problems = DESCRIPTION.answer_problems(path, answer.status, answer.headers, answer.body)
            assert not problems, f"{path} answered {answer.status} {answer.body}: {problems}"
        return answer

    def signature(self, exchange, payload, operation="-", sequence=None, key=None):
        """The header over these bytes. Without `sequence` the next one is taken."""
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        digest = hashlib.sha256(payload).hexdigest()
        text = f"fleetseal-device-v1|{exchange}|{self.uid}|{operation}|{sequence}|{digest}".encode()
        signature = (key or self.key).sign(text, ec.ECDSA(hashes.SHA256()))
        return {"Fleetseal-Signature": f"v1 {sequence} {base64.b64encode(signature).decode()}"}

    def exchange(self, name, payload, **how):
        text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        operation = payload.get("operation", "-") if isinstance(payload, dict) else "-"
        return self.post(f"/v1/device/{name}", text, self.signature(name, text, operation, **how))

    def bootstrap_payload(self, **changes):
        nonce = base64.b64encode(os.urandom(16)).decode()
        return {"uid": self.uid, "install_nonce": nonce, "model": "m1", "firmware": "1", "agent": "test"} | changes

    def heartbeat(self, **body):
        return self.post("/v1/device/heartbeat", body)

    def beat(self, **more):
        self.sequence += 1
        return self.heartbeat(sequence=str(self.sequence), **more)


def read_answer(connection):
    response = http.client.HTTPResponse(connection, method="POST")
    try:
        response.begin()
        return Answer(response.status, response.headers, response.read())
    except (http.client.HTTPException, ConnectionError, ssl.SSLError, TimeoutError):
        return None


class FakeOwner:
    """Reads device.requests from now on and answers as `answer(envelope)` says; None leaves the door waiting."""

    def __init__(self, kafka, redis):
        self.answer = success
        self.seen = []
        self.wire = owners.Wire(redis)
        self.consumer = kafka.consumer(**{"enable.partition.eof": False, "fetch.wait.max.ms": 20})
        ends = [confluent_kafka.TopicPartition(REQUESTS, p) for p in kafka.partitions(REQUESTS)]
        for end in ends:
            end.offset = self.consumer.get_watermark_offsets(end, timeout=20)[1]
        self.consumer.assign(ends)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.stopping.is_set():
            message = self.consumer.poll(0.1)
            if message is None or message.error():
                continue
            record = harness.Record(
                message.topic(),
                message.partition(),
                message.offset(),
                message.key(),
                message.value(),
                {k: v.decode() for k, v in message.headers() or []},
            )
            self.seen.append(record)
            reply = self.answer(record.json()) if "reply_to" in record.json() else None
            if reply is not None:
                self.say(record.json(), reply)

    def say(self, envelope, reply):
        text = json.dumps({"request": envelope["id"], **reply})
        self.wire("SETEX", f"g:r:{envelope['id']}", 600, text)
        self.wire("PUBLISH", envelope["reply_to"], f"{envelope['id']} {text}")

    def of(self, device):
        return [r for r in list(self.seen) if r.key == device.uid.encode()]

    def stop(self):
        self.stopping.set()
        self.thread.join(10)
        self.consumer.close()
