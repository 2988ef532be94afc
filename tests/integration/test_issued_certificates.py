"""What a stack has issued, as others look at it: read from Kafka with kcat, verified by openssl, linted by zlint and pkilint. What
would break a user: a certificate that does not verify, a renewal that is another identity, a charge without a proof."""

import base64
import collections
import hashlib
import json
import os
import subprocess

import harness
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

LINTED = 6
DER = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def kcat(flow, topic):
    """(key, value) of every committed record, by kcat alone."""
    argv = ["-C", "-t", topic, "-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed", "-f", "%k\\t%s\\n"]
    lines = flow.kafka.kcat(*argv).stdout.splitlines()
    return [(key, json.loads(value)) for key, value in (line.split("\t", 1) for line in lines)]


@pytest.fixture(scope="module")
def authorities(finished_flow):
    """CA id -> certificate, PEM."""
    records = kcat(finished_flow, "fleetseal.ca.state")
    return {key: pem(value["certificate"]) for key, value in records if value["type"] == "ca.v1"}


@pytest.fixture(scope="module")
def certificates(finished_flow):
    """Every certificate ever signed, in the order of each device."""
    return [v for _, v in kcat(finished_flow, "fleetseal.certificates") if v["type"] == "certificate.v1"]


def pem(der_base64):
    return x509.load_der_x509_certificate(base64.b64decode(der_base64)).public_bytes(serialization.Encoding.PEM)


def parsed(record):
    return x509.load_der_x509_certificate(base64.b64decode(record["der"]))


def test_each_verifies_with_openssl_against_its_ca(certificates, authorities, finished_flow, work_folder):
    assert len(certificates) >= 2 * finished_flow.devices
    for ca, text in authorities.items():
        (work_folder / f"{ca}.pem").write_bytes(text)
        files = []
        for record in (c for c in certificates if c["ca"] == ca):
            files.append(work_folder / f"{record['serial']}.pem")
            files[-1].write_bytes(pem(record["der"]))
        assert files
        verify = ["openssl", "verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslclient"]
        harness.run(*verify, "-CAfile", work_folder / f"{ca}.pem", *files)


def test_record_says_what_the_certificate_says(certificates):
    for record in certificates:
        certificate = parsed(record)
        assert f"{certificate.serial_number:032x}" == record["serial"]
        assert certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%S.000Z") == record["not_after"]
        assert certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%S.000Z") == record["not_before"]


def test_renewal_keeps_subject_and_key_and_changes_the_serial(certificates, finished_flow):
    by_device = collections.defaultdict(list)
    for record in certificates:
        by_device[record["uid"]].append(record)
    assert len(by_device) == finished_flow.devices
    for records in by_device.values():
        assert [r["kind"] for r in records] == ["issue"] + ["renew"] * (len(records) - 1) and len(records) >= 2
        all_of_it = [parsed(r) for r in records]
        assert len({c.subject.public_bytes() for c in all_of_it}) == 1
        assert len({c.public_key().public_bytes(*DER) for c in all_of_it}) == 1
    serials = [r["serial"] for r in certificates]
    assert len(set(serials)) == len(serials)


def linters(*files):
    """What they say, a line for each check."""
    argv = [harness.ROOT / "tests" / "interop" / "certificate-linters", *files]
    env = {**os.environ, "FLEETSEAL_BUILD": str(harness.BUILD)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_every_kind_of_certificate_passes_the_linters():
    """More kinds than a flow issues: algorithms, names, extensions; some of the linters may not be there."""
    lines = linters()
    assert lines[0] == "ok openssl-verify"
    assert {line.split()[1] for line in lines} == {"openssl-verify", "gnutls-verify", "zlint", "pkilint"}


def test_a_sample_passes_the_linters(certificates, authorities, work_folder):
    sample = certificates[:: max(1, len(certificates) // LINTED)][:LINTED]
    files = []
    for name, text in [(r["serial"], pem(r["der"])) for r in sample] + list(authorities.items()):
        files.append(work_folder / f"{name}.pem")
        files[-1].write_bytes(text)
    lines = linters(*files)
    skipped = [line for line in lines if line.startswith("SKIP ")]
    if not any(line.startswith("ok ") for line in lines):
        pytest.skip("; ".join(skipped))
    assert {line.split()[1] for line in lines} == {"zlint", "pkilint"}


def check_confirmation(body):
    """Throws when the device's signature is not over this confirmation by the certificate's key."""
    confirmation = body["confirmation"]
    payload = base64.b64decode(confirmation["payload"])
    said = json.loads(payload)
    assert said["serial"] == body["serial"]
    digest = hashlib.sha256(payload).hexdigest()
    text = f"fleetseal-device-v1|confirm|{body['uid']}|{said['operation']}|{confirmation['sequence']}|{digest}"
    key = x509.load_der_x509_certificate(base64.b64decode(body["certificate"])).public_key()
    key.verify(base64.b64decode(confirmation["signature"]), text.encode(), ec.ECDSA(hashes.SHA256()))


def test_charges_are_the_signed_confirmations(finished_flow):
    """As many charges as proofs, none twice, none for a first certificate; anybody can check each proof years later."""
    installs = [value for _, value in kcat(finished_flow, "fleetseal.ledger.requests")]
    for envelope in installs:
        check_confirmation(envelope["body"])
    charges = kcat(finished_flow, "fleetseal.billing.events")
    ids = [charge["charge"] for _, charge in charges]
    assert len(set(ids)) == len(ids) and sorted(ids) == sorted({e["id"] for e in installs})
    assert {charge["kind"] for _, charge in charges} == {"renew"}
    proofs = {e["id"]: hashlib.sha256(base64.b64decode(e["body"]["confirmation"]["signature"])).hexdigest() for e in installs}
    assert all(charge["confirmation_hash"] == proofs[charge["charge"]] for _, charge in charges)
    issued = {v["serial"] for _, v in kcat(finished_flow, "fleetseal.certificates") if v.get("kind") == "issue"}
    assert not issued & {charge["serial"] for _, charge in charges}
