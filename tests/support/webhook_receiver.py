"""An endpoint for webhooks, as a customer would build it: HTTPS, checks the signature of Standard Webhooks, remembers what it saw.

Only the standard library. `with Receiver(certificate, key) as receiver:` serves on a free port of the loopback until the block ends.
"""

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import threading
import time

TOLERANCE_S = 300
BODY_MAX = 1 << 20


def signature_of(secret, message_id, timestamp, body):
    """The `v1` signature of Standard Webhooks; `secret` is whsec_ and base64."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Receiver:
    """`answer` decides what an attempt gets: a function of (attempt number of this message, event) to a status code, or to
    (status code, headers). It may take its time: others are served meanwhile."""

    def __init__(self, certificate=None, key=None, answer=lambda attempt, event: 204, path="/hook"):
        self.secrets = []
        self.answer = answer
        self.path = path
        self.verified = {}  # message id -> event
        self.attempts = {}  # message id -> number
        self.refused = []  # why, for each request that was not what it should be
        self.concurrent = 0
        self.most_concurrent = 0
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.server.handle_error = lambda request, address: None  # a client that does not wait for the answer
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
            self.scheme = "https"

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server.server_address[1]}{self.path}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def take(self, headers, body):
        """Judges one request; the status and further headers to answer."""
        message_id = headers.get("webhook-id", "")
        timestamp = headers.get("webhook-timestamp", "")
        problem = self._problem(headers, message_id, timestamp, body)
        if problem:
            with self.lock:
                self.refused.append(problem)
            return 400, {}
        event = json.loads(body)
        with self.lock:
            attempt = self.attempts[message_id] = self.attempts.get(message_id, 0) + 1
            self.concurrent += 1
            self.most_concurrent = max(self.most_concurrent, self.concurrent)
        answer = self.answer(attempt, event)
        status, extra = answer if isinstance(answer, tuple) else (answer, {})
        with self.lock:
            self.concurrent -= 1
            if 200 <= status < 300:
                self.verified[message_id] = event
        return status, extra

    def _problem(self, headers, message_id, timestamp, body):
        if not message_id or not timestamp.isdigit():
            return "no webhook-id or webhook-timestamp"
        if abs(time.time() - int(timestamp)) > TOLERANCE_S:
            return f"{message_id}: timestamp {timestamp} is too far from now"
        given = [s.removeprefix("v1,") for s in headers.get("webhook-signature", "").split() if s.startswith("v1,")]
        wanted = [signature_of(secret, message_id, timestamp, body) for secret in self.secrets]
        if not any(hmac.compare_digest(g, w) for g in given for w in wanted):
            return f"{message_id}: no valid signature"
        return None

    def _handler(receiver):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_POST(self):
                length = int(self.headers.get("content-length", "0"))
                if self.path != receiver.path or length > BODY_MAX:
                    self.close_connection = True
                    self.send_response(404 if self.path != receiver.path else 413)
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                status, extra = receiver.take(self.headers, self.rfile.read(length))
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        return Handler
