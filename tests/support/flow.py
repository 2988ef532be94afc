"""The main job from end to end, against a running stack: what an operator does, what devices do, and counting the result where
it happened. Used by deploy/demo and by the fault tests. Only the standard library, and kcat to read Kafka.
"""

import argparse
import json
import os
import pathlib
import ssl
import subprocess
import time
import urllib.error
import urllib.request
import uuid

import kafka_offsets

ROOT = pathlib.Path(__file__).resolve().parents[2]
EVENTS_WANTED = ["io.fleetseal.certificate.installed.v1", "io.fleetseal.certificate.renewed.v1"]
LIST_MAX = 10000
TO_THE_LEDGER = ("order", "device", "ledger")
# The certificates of the tenth are valid for an hour, then by the ordered renewal for two: all are due the moment automatic
# renewal is switched on with three hours ahead. What it issues is valid for a year, and not due.
FIRST_VALIDITY = "1h"
ORDERED_VALIDITY = "2h"
RENEW_AHEAD = "3h"
LONG_VALIDITY = "365d"


class FlowError(Exception):
    """The stack did not do what it should; the text says what."""


def read_env(path):
    """The variables of deploy/.run/env."""
    script = 'set -a; . "$0"; env -0'
    done = subprocess.run(["sh", "-c", script, str(path)], capture_output=True, text=True, check=True)
    pairs = (entry.split("=", 1) for entry in done.stdout.split("\0") if "=" in entry)
    return {k: v for k, v in pairs if k.startswith("FLEETSEAL_")}


def result_file(text):
    """For argparse: a file for numbers that are there in minutes or hours; what cannot be written then is refused now."""
    path = pathlib.Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be written")
    return path


def remove_old(path):
    """A run that fails leaves no numbers, also not those of an earlier one. Devices and links are not ours to remove."""
    if path is not None and path.is_file() and not path.is_symlink():
        path.unlink()


class Api:
    """The operators' API: repeats what may be repeated until there is an answer, always under the same key."""

    def __init__(self, url, server_ca, deadline_s=60):
        self.url = url
        # A proxy of the person at the shell does not know our loopback.
        https = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=server_ca))
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)
        self.deadline_s = deadline_s
        self.token = None

    def call(self, path, body, token=None):
        key = str(uuid.uuid4())
        deadline = time.monotonic() + self.deadline_s
        while True:
            status, headers, answer = self._once(path, body, token or self.token, key)
            if status in (200, 201):
                return answer
            if status not in (202, 429, 502, 503) or time.monotonic() > deadline:
                raise FlowError(f"POST {path} was answered with {status}: {json.dumps(answer)}")
            pause(min(float(headers.get("Retry-After", 0.2)), 2))

    def _once(self, path, body, token, key):
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with self.opener.open(request, timeout=30) as answer:
                return answer.status, answer.headers, parse(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.headers, parse(error.read())
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            return 503, {}, {"message": str(error)}


def parse(data):
    try:
        return json.loads(data) if data else {}
    except ValueError:
        return {"message": data.decode(errors="replace")[:200]}


def pause(seconds):
    """Between two looks at a condition that has a deadline."""
    time.sleep(seconds)


class Fleet:
    """The simulated devices: one process per phase, keys and memory kept in a folder."""

    def __init__(self, env, folder, devices):
        self.env = env
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.devices = devices
        self.program = pathlib.Path(env["FLEETSEAL_BIN"]) / "fleetseal-simulator"

    def _argv(self, phase, *options):
        argv = [self.program, phase, "--devices", self.devices, "--keys", self.folder / "keys"]
        if phase != "list":
            argv += ["--state", self.folder / "state", "--server", self.env["FLEETSEAL_DEVICE"]]
            argv += ["--server-ca", self.env["FLEETSEAL_SERVER_CA"]]
        return [str(a) for a in (*argv, *options)]

    def list(self):
        done = subprocess.run(self._argv("list"), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise FlowError(f"the simulator could not list its devices: {done.stderr.strip()}")
        return done.stdout.split()

    def start(self, phase, *options, stderr=None):
        """A phase in the background; its progress goes to our stderr unless told otherwise."""
        return subprocess.Popen(self._argv(phase, *options), stdout=subprocess.PIPE, stderr=stderr, text=True)

    @staticmethod
    def finish(process):
        """Waits for a phase; what it counted. Its status says whether there were failures, and nothing else: it did not crash, and
        keeps what its devices must remember."""
        out = process.stdout.read()
        status = process.wait()
        try:
            counted = json.loads(out)
        except ValueError:
            raise FlowError(f"the simulator ended with {status} and said {out!r}") from None
        if status != (1 if counted["failures"] else 0):
            raise FlowError(f"the simulator ended with {status} after {counted['failures']} failures")
        return counted

    def run(self, phase, *options):
        return self.finish(self.start(phase, *options))


class Flow:
    """One domain of its own, its devices and everything that is counted for it."""

    def __init__(self, env, folder, devices, receiver, say=print):
        self.env = env
        self.say = say
        self.receiver = receiver
        self.api = Api(env["FLEETSEAL_API"], env["FLEETSEAL_SERVER_CA"])
        self.operator = pathlib.Path(env["FLEETSEAL_OPERATOR_TOKEN_FILE"]).read_text().strip()
        self.fleet = Fleet(env, folder, devices)
        self.devices = devices
        self.automatic = devices // 10
        # Of a phase. Two cores renew some 500 devices a second: a machine may be five times as slow.
        self.deadline_s = 120 + devices // 100
        self.failures = 0

    def set_up(self):
        """A domain, two CAs (one renews by itself later on), a profile for each, and a webhook."""
        name = f"demo-{uuid.uuid4().hex[:12]}"
        domain = {"Name": name, "Company": "Example", "AccountType": "commercial"}
        self.domain = self.api.call("/v1/domain/create", domain, self.operator)["DomainUID"]
        key = self.api.call("/v1/accesskey/create", {"DomainUID": self.domain, "Name": "demo"}, self.operator)
        login = {"APIKey": key["APIKey"], "APISecret": key["APISecret"]}
        self.api.token = self.api.call("/v1/authenticate", login)["AuthToken"]
        self.ca = self._make_ca("demo", LONG_VALIDITY)
        self.automatic_ca = self._make_ca("demo, automatic", FIRST_VALIDITY)
        self.profile = self._make_profile("demo", self.ca)
        self.automatic_profile = self._make_profile("demo, automatic", self.automatic_ca)
        webhook = {"URL": self.receiver.url, "Events": EVENTS_WANTED, "Description": "demo"}
        self.receiver.secrets.append(self.api.call("/v1/notification/webhook/create", webhook)["Secret"])
        return self.domain

    def _make_ca(self, name, validity):
        wish = {
            "Name": name,
            "Subject": {"CommonName": f"Fleetseal {name} CA", "Organization": "Example"},
            "KeyAlgorithm": "EC-P256",
            "Validity": "10y",
            "DeviceCertificateValidity": validity,
            "AutomaticRenewal": False,
        }
        return self.api.call("/v1/ztp/rootca/create", wish)["RootCAUID"]

    def _make_profile(self, name, ca):
        wish = {"Name": name, "RootCAUID": ca, "HeartbeatInterval": "1s", "FloodInterval": "1s", "Whitelist": "ignore"}
        return self.api.call("/v1/device/profile/create", wish)["DeviceProfileUID"]

    def bootstrap(self):
        share = f"{self.automatic}={self.automatic_profile}"
        return self._phase("bootstrap", "--profile", self.profile, "--profile-for-last", share)

    def order_renewals(self):
        """Every device, in lists of at most 10,000; the last tenth for two hours only. The number that was queued."""
        uids = self.fleet.list()
        border = len(uids) - self.automatic
        queued = self._order(uids[:border], {})
        return queued + self._order(uids[border:], {"Validity": ORDERED_VALIDITY})

    def _order(self, uids, extra):
        queued = 0
        for start in range(0, len(uids), LIST_MAX):
            part = uids[start : start + LIST_MAX]
            answer = self.api.call("/v1/ztp/devicecertificate/renew", {"RoTPublicUIDs": part, **extra})
            queued += answer["Queued"]
            refused = [d for d in answer["Devices"] if d["Status"] == "refused"]
            self.failures += answer["Refused"]
            if refused:
                self.say(f"refused: {len(refused)}, the first: {json.dumps(refused[0])}")
        return queued

    def renew(self):
        return self._phase("heartbeat-until-renewed")

    def switch_automatic_on(self):
        change = {"AutomaticRenewal": True, "RenewAhead": RENEW_AHEAD, "DeviceCertificateValidity": LONG_VALIDITY}
        self.api.call("/v1/ztp/rootca/update", {"RootCAUID": self.automatic_ca, **change})

    def renew_automatically(self):
        if not self.automatic:
            return {"renewals_confirmed": 0}
        return self._phase("heartbeat-until-renewed", "--first", self.devices - self.automatic)

    def _phase(self, phase, *options):
        counted = self.fleet.run(phase, "--deadline", self.deadline_s, *options)
        self.failures += counted["failures"]
        return counted

    def read(self, topic):
        """(key, headers, value) of every committed record of this domain in a topic, by kcat."""
        pattern = "%k\\x1f%h\\x1f%s\\x1e"
        raw = kafka_offsets.consume(self.env["FLEETSEAL_KAFKA"], topic, pattern) or b""
        records = []
        for text in raw.decode(errors="replace").split("\x1e")[:-1]:
            key, headers, value = text.split("\x1f", 2)
            fields = dict(h.split("=", 1) for h in headers.split(",") if "=" in h)
            if self.domain in (key, fields.get("ce_domain")):
                records.append((key, fields, value))
        return records

    def charges(self):
        """The ids of this domain's charges, as often as they were written."""
        found = self.read("fleetseal.billing.events")
        return [h["ce_id"] for _, h, _ in found if h.get("ce_type") == "io.fleetseal.billing.charge.v1"]

    def wanted_events(self):
        """The ids of the events that the webhook subscribed to."""
        return {h["ce_id"] for _, h, _ in self.read("fleetseal.events") if h.get("ce_type") in EVENTS_WANTED}

    def at_rest(self):
        """Nothing is left to do on the way to the ledger: of each topic in turn, all that was asked for is committed, and with it
        whatever it wrote to the next."""
        return all(kafka_offsets.worked_off(self.env["FLEETSEAL_KAFKA"], f"fleetseal.{t}.requests") for t in TO_THE_LEDGER)

    def settle(self, confirmed, seconds=None):
        """Waits until as much is billed as was confirmed and the receiver has seen every event it subscribed to, or time is up.
        Counted once more when nothing can follow: what is charged twice may come a moment behind the right number."""
        deadline = time.monotonic() + (seconds or self.deadline_s)
        shown, at_rest = 0, False
        while True:
            charges, wanted = self.charges(), self.wanted_events()
            seen = {e.get("id") for e in list(self.receiver.verified.values())}
            # At least: more is a defect, which no waiting mends.
            agreed = len(charges) >= confirmed and len(wanted) > 0 and wanted <= seen
            if agreed and at_rest:
                return charges, wanted, seen
            at_rest = agreed and self.at_rest()
            if at_rest:
                continue
            if time.monotonic() > deadline:
                return charges, wanted, seen
            if time.monotonic() - shown > 1:
                shown = time.monotonic()
                self.say(f"settling: {len(charges)} of {confirmed} billed, {len(wanted & seen)} of {len(wanted)} webhooks")
            pause(0.2)
