"""The rights of each service in Redis: everybody reads every view, only its owner writes it, nobody administers."""

import harness
import pytest

OWNERS = {
    "r": "api-gateway",
    "c": "ca-signer",
    "d": "ca-signer",
    "o": "scheduler",
    "w": "webhook-notifier",
    "l": "billing-meter",
}
SERVICES = ["api-gateway", "ca-signer", "heartbeat-ingest", "scheduler", "webhook-notifier", "billing-meter"]


def denied(redis, user, *command):
    done = redis.cli(*command, user=user, check=False)
    return "NOPERM" in done.stdout + done.stderr


@pytest.mark.parametrize("user", SERVICES)
@pytest.mark.parametrize("letter", OWNERS)
def test_views_are_written_by_their_owner_only(redis, user, letter):
    key = f"{{{letter}7}}:users-test"
    assert denied(redis, user, "SET", key, user) == (OWNERS[letter] != user)
    assert redis.cli("EXISTS", key, user=user) in ("0", "1")


@pytest.mark.parametrize("user", SERVICES)
def test_a_script_has_no_more_rights_than_its_caller(redis, user):
    sha = redis.cli("SCRIPT", "LOAD", "return redis.call('SET', KEYS[1], 'x')", user=user)
    assert denied(redis, user, "EVALSHA", sha, 1, "{d7}:users-test-script") == (user != "ca-signer")


@pytest.mark.parametrize("user", SERVICES)
def test_guards_and_replies_are_everybodys(redis, user):
    assert redis.cli("SET", f"g:users-test:{user}", "1", "EX", "60", user=user) == "OK"
    assert redis.cli("PUBLISH", "g:c:users-test", "x", user=user) == "0"
    assert denied(redis, user, "PUBLISH", "elsewhere", "x")


@pytest.mark.parametrize("user", SERVICES)
@pytest.mark.parametrize(
    "command",
    [
        ["FLUSHALL"],
        ["CONFIG", "GET", "maxmemory"],
        ["KEYS", "*"],
        ["EVAL", "return 1", "0"],
        ["ACL", "LIST"],
        ["SHUTDOWN"],
        ["CLIENT", "KILL", "ID", "1"],
        ["SCRIPT", "FLUSH"],
        ["FUNCTION", "FLUSH"],
        ["SET", "elsewhere", "1"],
    ],
    ids=" ".join,
)
def test_no_service_administers(redis, user, command):
    assert denied(redis, user, *command)


def test_nobody_without_a_password(redis):
    host, port = redis.address.split(":")
    done = harness.run("redis-cli", "-h", host, "-p", port, "GET", "x", check=False)
    assert "NOAUTH" in done.stdout + done.stderr


def test_passwords_are_readable_by_their_owner_only(redis):
    for user in [*SERVICES, "admin"]:
        assert redis.password_file(user).stat().st_mode & 0o777 == 0o600


def test_nothing_is_evicted(redis):
    assert "maxmemory_policy:noeviction" in redis.cli("INFO", "memory", user="scheduler")
