"""An operator's client for tests, and the gateway it talks to: TLS files, tokens, and every answer checked against the description."""

import datetime
import ipaddress
import json
import secrets

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import harness
import openapi


def make_server_tls(folder):
    """A throw-away CA and a certificate for 127.0.0.1; returns the paths (ca, certificate, key). With the extensions of RFC 5280:
    since Python 3.13 a client refuses a chain without key identifiers and key usage (VERIFY_X509_STRICT is the default)."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(subject, key, issuer, issuer_key, is_ca):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(not is_ca, False, False, False, False, is_ca, is_ca, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if not is_ca:
            addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
            builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = certificate("test CA", ca_key, "test CA", ca_key, True)
    leaf = certificate("127.0.0.1", key, "test CA", ca_key, False)
    paths = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    paths[0].write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


class Gateway:
    """A running api-gateway with its files."""

    def __init__(self, start_service, folder, replica=0, secrets_of=None, **config):
        if secrets_of is None:
            self.ca, self.certificate, self.key = make_server_tls(folder / "tls")
            self.operator_token = secrets.token_urlsafe(32)
            self.files = {}
            for name, data in (
                ("token.key", secrets.token_bytes(32).hex().encode()),
                ("operator.token", self.operator_token.encode()),
                ("webhook.kek", secrets.token_bytes(32)),
            ):
                path = folder / name
                path.write_bytes(data)
                path.chmod(0o600)
                self.files[name] = path
        else:
            for name in ("ca", "certificate", "key", "operator_token", "files"):
                setattr(self, name, getattr(secrets_of, name))
        options = {k: config.pop(k) for k in ("kafka", "redis", "wait_ready") if k in config}
        self.port = harness.free_port()
        self.service = start_service(
            "api-gateway",
            replica,
            {
                "http.listen": f"127.0.0.1:{self.port}",
                "tls.cert_file": self.certificate,
                "tls.key_file": self.key,
                "token.key_file": self.files["token.key"],
                "operator.token_file": self.files["operator.token"],
                "webhook.kek_file": self.files["webhook.kek"],
                **{k.replace("__", "."): v for k, v in config.items()},
            },
            **options,
        )
        self.url = f"https://127.0.0.1:{self.port}"
        self.operator = Client(self, self.operator_token)

    def client(self, token=None):
        return Client(self, token)

    def new_domain(self, name="Acme"):
        """A domain with an access key; returns (client logged in, domain UID)."""
        domain = self.operator.ok("/v1/domain/create", Name=name, AccountType="commercial")["DomainUID"]
        key = self.operator.ok("/v1/accesskey/create", DomainUID=domain, Name="tests")
        return self.login(key), domain

    def login(self, key):
        def try_login():
            answer = self.client().post(
                "/v1/authenticate", {"APIKey": key["APIKey"], "APISecret": key["APISecret"]}
            )
            return answer if answer.status_code == 200 else None

        return self.client(harness.wait_until(try_login, 10, "the new key to be known").json()["AuthToken"])


class Client:
    """Calls the API with one token. Every answer is checked against proto/openapi.yaml."""

    def __init__(self, gateway, token):
        self.gateway = gateway
        self.token = token
        self.session = requests.Session()
        self.session.trust_env = False  # neither proxies nor another trust store
        self.session.verify = str(gateway.ca)

    def post(self, path, body=None, key=None, data=None, headers=None, timeout=30, check=True, query=""):
        """The answer, whatever its status."""
        all_headers = {"Content-Type": "application/json", **(headers or {})}
        if self.token and "Authorization" not in all_headers:
            all_headers["Authorization"] = f"Bearer {self.token}"
        if key:
            all_headers["Idempotency-Key"] = key
        answer = self.session.post(
            self.gateway.url + path + query,
            data=data if data is not None else json.dumps(body if body is not None else {}),
            headers={k: v for k, v in all_headers.items() if v is not None},
            timeout=timeout,
        )
        if check:
            openapi.check_answer(path, answer)
        return answer

    def ok(self, path, key=None, **body):
        answer = self.post(path, body, key)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def refused(self, path, status, kind, field=None, key=None, **body):
        answer = self.post(path, body, key)
        return check_error(answer, status, kind, field)


def check_error(answer, status, kind, field=None):
    """The one error shape, with this status and type; a field at fault is named."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    error = answer.json()
    assert error["object"] == "error" and error["code"] == status and error["message"]
    assert error["request_id"] == answer.headers["X-Request-Id"]
    assert error["type"] == kind, error
    assert answer.headers.get("WWW-Authenticate", "").startswith("Bearer ") == (status == 401)
    if field is not None:
        assert field in [f["field"] for f in error["fields"]], error
    return error


def eventually(call, seconds=10):
    """The first result of `call` that raises nothing: views follow the log by a moment."""
    return harness.wait_until(lambda: call() or True, seconds, getattr(call, "__name__", "it"))
