"""The agent's program and the fleet simulator against a mock door: what a person at a device sees, and how the device's side
holds when answers are lost, the server is busy, or processes are killed. The real door is in the tests of the whole system."""

import json
import os
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from harness import Program, SANITIZER_ENV, clean_environment, program, run, wait_until

PROFILE = "000000abcdefghijklmnOP"


@pytest.fixture(scope="session")
def server_tls(session_folder):
    """A development CA and a certificate for localhost."""
    folder = session_folder / "device-tls"
    folder.mkdir(exist_ok=True)
    ca, key = folder / "ca.pem", folder / "ca.key"
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("openssl", "req", "-x509", *ec, "-keyout", key, "-out", ca, "-days", 2, "-subj", "/CN=test server CA")
    for name in ("localhost", "elsewhere.invalid"):
        run(
            *["openssl", "req", "-x509", *ec, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"],
            *["-days", 2, "-subj", f"/CN={name}", "-CA", ca, "-CAkey", key],
            *["-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE"],
        )
    return folder


class Door(Program):
    def __init__(self, tls, folder, *options, name="localhost"):
        argv = [program("fleetseal-mock-door"), tls / f"{name}.pem", tls / f"{name}.key", *options]
        super().__init__(f"door-{name}", argv, folder)
        self.port = int(wait_until(lambda: self.log_path.read_text().split("\n")[0], what="the door's port"))
        self.url = f"https://localhost:{self.port}"
        self.ca = tls / "ca.pem"

    def numbers(self):
        self.stop()
        return json.loads(self.log_path.read_text().splitlines()[-1])


@pytest.fixture
def door(server_tls, work_folder):
    made = []

    def make(*options, **more):
        made.append(Door(server_tls, work_folder / f"door{len(made)}", *options, **more))
        return made[-1]

    yield make
    for one in made:
        one.stop()


class Agent:
    def __init__(self, folder, door):
        self.folder, self.door = folder / "device", door

    def argv(self, command, *options):
        talks = command in ("bootstrap", "heartbeat", "run")
        server = ["--server", self.door.url, "--server-ca", self.door.ca] if talks else []
        return [program("device-agent"), command, "--state-dir", self.folder, *server, *options]

    def run(self, command, *options, expect=0):
        done = run(*self.argv(command, *options), check=False)
        assert done.returncode == expect, f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def status(self, *options):
        return json.loads(self.run("status", "--json", *options).stdout)

    def seal(self):
        self.run("seal", "--profile", PROFILE, "--serial", "SN-1")


@pytest.mark.parametrize(
    "argv, words",
    [
        ([], "a command is needed"),
        (["dance"], "no such command"),
        (["uid", "--colour"], "no such option"),
        (["uid", "--state-dir"], "needs a value"),
        (["uid", "--profile", PROFILE], "does not belong"),
        (["seal"], "is needed"),
        (["status", "--timeout", "soon"], "1 to 86400"),
        (["heartbeat", "--server-ca", "/nowhere"], "is needed"),
        (["heartbeat", "--server", "http://x", "--server-ca", "/dev/null"], "https://"),
        (["heartbeat", "--server", "https://x", "--server-ca", "/dev/null"], "PEM"),
        (["heartbeat", "--server", "https://x", "--server-ca", "/nowhere"], "No such file"),
        (["seal", "--profile", "short"], "22 letters"),
        (["seal", "--profile", PROFILE, "--serial", "a b"], "1 to 16"),
    ],
)
def test_bad_input_is_named(work_folder, argv, words):
    environment = {k: v for k, v in clean_environment(SANITIZER_ENV).items() if not k.startswith("FLEETSEAL_")}
    environment["FLEETSEAL_STATE_DIR"] = str(work_folder / "device")
    done = subprocess.run(
        [program("device-agent"), *argv], capture_output=True, text=True, env=environment, timeout=30, check=False
    )
    assert done.returncode == 64, done.stderr
    assert words in done.stderr
    assert done.stdout == ""


def test_life_by_hand(door, work_folder):
    agent = Agent(work_folder, door("--renewals", "1"))
    assert agent.run("status", expect=65).stderr.startswith("device-agent:")
    uid = agent.run("uid").stdout.strip()
    assert agent.run("uid").stdout.strip() == uid and len(uid) == 16
    assert not agent.status()["sealed"]
    agent.run("status", "--wait", "--timeout", "1", expect=75)
    agent.seal()
    assert "already" not in agent.run("status").stdout
    agent.run("seal", "--profile", PROFILE, "--serial", "SN-2", expect=65)
    agent.run("bootstrap")
    status = agent.status()
    assert status["uid"] == uid and status["registered"] and status["activated"] and status["serial"] == "SN-1"
    first = status["certificate"]
    text = run("openssl", "x509", "-in", first["certificate_file"], "-noout", "-pubkey").stdout
    assert text == run("openssl", "pkey", "-in", first["key_file"], "-pubout").stdout
    agent.run("heartbeat")
    second = agent.status()["certificate"]
    assert second["serial"] != first["serial"] and second["confirmed"]
    assert text == run("openssl", "pkey", "-in", second["key_file"], "-pubout").stdout
    assert oct(os.stat(second["key_file"]).st_mode & 0o777) == "0o600"
    numbers = agent.door.numbers()
    assert numbers["confirms"] == 2 and numbers["bootstraps"] == 1 and numbers["refused"] == 0


def test_update_changes_the_key(door, work_folder):
    agent = Agent(work_folder, door("--renewals", "1", "--kind", "update", "--new-key"))
    agent.seal()
    agent.run("bootstrap")
    before = run("openssl", "pkey", "-in", agent.status()["certificate"]["key_file"], "-pubout").stdout
    agent.run("heartbeat")
    after = run("openssl", "pkey", "-in", agent.status()["certificate"]["key_file"], "-pubout").stdout
    assert before != after


def test_flood_interval_is_kept_on_the_device(door, work_folder):
    agent = Agent(work_folder, door("--flood", "300"))
    agent.seal()
    agent.run("bootstrap")
    agent.run("heartbeat")
    assert "the next heartbeat is allowed in" in agent.run("heartbeat", expect=75).stderr
    assert agent.door.numbers()["heartbeats"] == 1


def test_server_is_verified(door, server_tls, work_folder):
    stranger = work_folder / "stranger.pem"
    run(
        *["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
        *["-keyout", work_folder / "s.key", "-out", stranger, "-days", 2, "-subj", "/CN=stranger"],
    )
    for ca, name in ((stranger, "localhost"), (server_tls / "ca.pem", "elsewhere.invalid")):
        one = door(name=name)
        one.ca = ca
        agent = Agent(work_folder, one)
        assert "certificate is refused" in agent.run("bootstrap", "--timeout", "5", expect=75).stderr
        assert one.numbers()["requests"] == 0


def test_told_to_stop_it_stops(server_tls, work_folder):
    server = Hostile(server_tls, b"HTTP/1.1 200 OK\r\n", close=False)
    agent = Agent(work_folder, server)
    one = Program("agent", agent.argv("bootstrap"), work_folder)
    try:
        wait_until(lambda: server.held, what="the agent's request")
        one.signal(signal.SIGTERM)
        assert one.wait(10) == 0
        one.check_clean()
    finally:
        server.stop()


class Hostile:
    """A TLS server that says the same bytes to everybody, whatever was asked."""

    def __init__(self, tls, says, close=True):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(tls / "localhost.pem", tls / "localhost.key")
        self.says, self.close = says, close
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self.listener.getsockname()[1]}"
        self.ca = tls / "ca.pem"
        self.held = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            try:
                if self.says is None:
                    plain.close()
                    continue
                talk = self.context.wrap_socket(plain, server_side=True)
                talk.recv(65536)
                talk.sendall(self.says)
                self.held.append(talk)
                if self.close:
                    talk.close()
            except OSError:
                continue

    def stop(self):
        self.listener.close()
        for talk in self.held:
            talk.close()


def http(body, status="200 OK", length=None, extra=""):
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\n{extra}Content-Length: {size}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    "says, close, status, words",
    [
        (None, True, 75, "connection"),
        (b"", True, 75, "closed without an answer"),
        (b"hello\r\n\r\n", True, 75, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20000, True, 75, "not HTTP"),
        (http("", length=1 << 30), True, 75, "not HTTP"),
        (http("{}", length=10), True, 75, "broke within the answer"),
        (http("{}", length=10), False, 75, "no answer in time"),
        (b"HTTP/1.1 200 OK\r\n", False, 75, "no answer in time"),
        (http("[" * 5000), True, 64, "not a JSON object"),
        (http('{"state":"king"}'), True, 64, "state"),
        (http("<html>no</html>", "403 Forbidden"), True, 64, "HTTP 403"),
        (http('{"type":"duplicate","message":"known already"}', "409 Conflict"), True, 65, "known already"),
        (http("{}", "503 Busy", extra="Retry-After: 0\r\n"), True, 75, "HTTP 503"),
        (http("{}", "202 Later", extra="Retry-After: 600\r\n"), True, 75, "HTTP 202"),
    ],
)
def test_broken_servers(server_tls, work_folder, says, close, status, words):
    """None of them keeps the agent longer than it was told to try, and the reason can be read."""
    server = Hostile(server_tls, says, close)
    agent = Agent(work_folder, server)
    agent.seal()
    try:
        done = agent.run("bootstrap", "--timeout", "2", expect=status)
    finally:
        server.stop()
    assert words in done.stderr
    assert words in agent.status()["error"] and not agent.status()["registered"]


def test_daemon(door, work_folder):
    agent = Agent(work_folder, door("--renewals", "1", "--busy-every", "3"))
    agent.seal()
    daemon = Program("agent", agent.argv("run"), work_folder)
    try:
        assert agent.status("--wait", "--timeout", "30")["activated"]
        assert "another agent" in agent.run("seal", "--profile", PROFILE, expect=65).stderr
        first = agent.status()["certificate"]["serial"]
        agent.run("heartbeat")
        wait_until(lambda: agent.status()["certificate"]["serial"] != first, what="the renewal")
        wait_until(lambda: agent.status()["certificate"]["confirmed"], what="its confirmation")
    finally:
        daemon.stop()
    assert daemon.logs(event="agent_started") and daemon.logs(event="certificate_installed")


def test_killed_daemon_goes_on(door, work_folder):
    """Killed after its n-th change of state, for every n: in the end each renewal is confirmed exactly once."""
    agent = Agent(work_folder, door("--renewals", "3"))
    agent.seal()
    state = agent.folder / "state"
    for changes in range(1, 9):
        seen = {state.stat().st_ino}
        daemon = Program(f"agent{changes}", agent.argv("run"), work_folder)

        def changed():
            seen.add(state.stat().st_ino)
            return len(seen) > changes or agent.status()["activated"]

        wait_until(changed, what="the agent to get on")
        daemon.kill()
    agent.run("bootstrap")
    serials = {agent.status()["certificate"]["serial"]}
    for _ in range(3):
        agent.run("heartbeat")
        serials.add(agent.status()["certificate"]["serial"])
    assert len(serials) == 4 and agent.status()["certificate"]["confirmed"]
    assert agent.door.numbers()["confirms"] == 4


class Fleet:
    def __init__(self, folder, door, devices):
        self.door, self.devices = door, devices
        self.files = ["--keys", folder / "keys", "--state", folder / "state"]

    def run(self, phase, *options, expect=0):
        done = run(
            *[program("fleetseal-simulator"), phase, "--server", self.door.url, "--server-ca", self.door.ca, *self.files],
            *["--devices", self.devices, "--interval-override", 0, "--interval-ms", 20, "--deadline", 60, *options],
            check=False,
            timeout=90,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return json.loads(done.stdout)


def test_fleet(door, work_folder):
    fleet = Fleet(work_folder, door("--renewals", "2"), 60)
    numbers = fleet.run("bootstrap", "--profile", PROFILE)
    assert (numbers["bootstrapped"], numbers["installed"], numbers["failures"]) == (60, 60, 0)
    assert fleet.run("bootstrap")["installed"] == 60  # nothing to do, nothing done twice
    numbers = fleet.run("heartbeat-until-renewed", "--count", 20, "--first", 40)
    assert (numbers["renewals_confirmed"], numbers["finished"], numbers["handshakes_full"]) == (20, 20, 0)
    numbers = fleet.run("heartbeat-until-renewed", "--first", 0, "--count", 40, "--renewals", 2, "--no-resume")
    assert (numbers["renewals_confirmed"], numbers["handshakes_resumed"]) == (80, 0)
    assert fleet.run("idle-heartbeats", "--seconds", 1, "--keep-alive", "--count", 30)["heartbeats"] >= 30
    assert fleet.door.numbers()["confirms"] == 60 + 20 + 80


def test_fleet_with_lost_and_dishonest_messages(door, work_folder):
    fleet = Fleet(work_folder, door("--renewals", "1", "--busy-every", "7"), 40)
    fleet.run("bootstrap", "--profile", PROFILE, "--drop-answer-every", 3)
    numbers = fleet.run(
        *["heartbeat-until-renewed", "--drop-answer-every", 4, "--replay-confirm", "--forge-confirm", "--wrong-serial-confirm"]
    )
    assert (numbers["renewals_confirmed"], numbers["failures"]) == (40, 0)
    assert (numbers["forged_accepted"], numbers["wrong_serial_accepted"], numbers["replays_other"]) == (0, 0, 0)
    assert numbers["forged_refused"] >= 40 and numbers["wrong_serial_refused"] >= 40 and numbers["replays_same"] >= 40
    assert numbers["answers_dropped"] > 0
    assert fleet.door.numbers()["confirms"] == 80


def test_fleet_stopped_goes_on(door, work_folder):
    """A phase that is stopped keeps what its devices have, and the next run finishes it."""
    fleet = Fleet(work_folder, door("--renewals", "1", "--allocate-only"), 10)
    numbers = fleet.run("bootstrap", "--profile", PROFILE)
    assert (numbers["waiting"], numbers["installed"]) == (10, 0)
    numbers = fleet.run("heartbeat-until-renewed", "--deadline", 1, expect=1)
    assert numbers["failures"] == 10


@pytest.mark.parametrize(
    "argv, words",
    [
        (["dance"], "no phase"),
        (["bootstrap", "--devices", "0"], "1 to"),
        (["bootstrap", "--devices", "ten"], "1 to"),
        (["bootstrap", "--keys", "k"], "is needed"),
        (["list"], "is needed"),
        (["list", "--keys", "/dev/null"], "not a file of keys"),
        (["list", "--keys", "k", "--first", "5", "--devices", "5"], "--devices"),
        (["bootstrap", "--profile-for-last", "5"], "K=PROFILE"),
        (["bootstrap", "--what"], "no flag"),
    ],
)
def test_simulator_refuses_bad_flags(argv, words):
    done = run(program("fleetseal-simulator"), *argv, check=False)
    assert done.returncode in (64, 70) and words in done.stderr
