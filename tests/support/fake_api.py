"""The operators' API as a script: what each path answers, one call after the other. For clients that must bear what a real server
does only seldom."""

import http.server
import json
import secrets
import ssl
import threading
import time

from api_client import make_server_tls

DROP = "drop"  # as an answer: the connection ends without one


class FakeApi:
    """`script[path]` is a list of answers: (status, body) or (status, body, headers), or DROP; the last one stays."""

    def __init__(self, folder, script):
        self.ca, certificate, key = make_server_tls(folder / "fake-tls")
        self.files = {"operator.token": folder / "fake-operator.token"}
        self.files["operator.token"].write_text(secrets.token_urlsafe(32))
        self.script = {path: list(answers) for path, answers in script.items()}
        self.calls = []  # (path, body, headers, monotonic time)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.server.handle_error = lambda request, address: None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def times(self, path):
        return [at for called, _, _, at in self.calls if called == path]

    def _handler(api):  # noqa: N805
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                api.calls.append((self.path, body, self.headers, time.monotonic()))
                answers = api.script[self.path]
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if answer == DROP:
                    self.close_connection = True
                    return
                status, said, headers = (*answer, {})[:3]
                text = said.encode() if isinstance(said, str) else json.dumps(said).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        return Handler
