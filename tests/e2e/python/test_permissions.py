"""Who may subscribe and publish where: the model against the real server, its reload and its metrics."""

import asyncio
import json
import signal

import pytest

from conftest import SECRET, cases
from raw import Client, joined
from roadstead import command_line, wait_until
from tokens import token

RULES = f"""
[token]
hmac_secret = "{SECRET}"
[client]
allow_anonymous = true
[namespace.chat]
allow_subscribe_for_client = true
allow_publish_for_subscriber = true
channel_regex = "^[a-z0-9#,]+$"
[namespace.open]
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_client = true
allow_publish_for_anonymous = true
[namespace.desk]
allow_user_limited_channels = true
[namespace.closed]
"""


@pytest.fixture(scope="module")
def ruled():
    from roadstead import Server

    server = Server(config=RULES).wait_ready()
    yield server
    assert server.stop() == 0, server.log()


def code_of(reply):
    return reply.get("error", {}).get("code", 0)


async def outcome(server, user, **command):
    """The error code of a command; 0: it was carried out."""
    sub = {"token": token(SECRET, sub=user)} if user else {}
    async with await joined(server, **sub) as client:
        return code_of(await client.ask(**command))


@cases(
    "channel, user, code",
    [
        ("nothing is allowed of itself", "news", "ann", 103),
        ("nor in a namespace", "closed:news", "ann", 103),
        ("an unknown namespace", "nowhere:news", "ann", 102),
        ("an unknown private one", "$nowhere:news", "ann", 102),
        ("open to users", "chat:news", "ann", 0),
        ("but not to anybody else", "chat:news", "", 103),
        ("open to all", "open:news", "", 0),
        ("private", "$open:news", "ann", 103),
        ("a name that does not match", "chat:News", "ann", 107),
        ("a name outside ascii", "open:größe", "ann", 107),
        ("limited, and listed", "desk:a#bob,ann", "ann", 0),
        ("limited, and not listed", "desk:a#bob", "ann", 103),
        ("limited, and nobody", "desk:a#", "", 103),
        ("limited where that is not known", "chat:a#ann", "ann", 103),
    ],
)
async def test_subscribe(ruled, channel, user, code):
    assert await outcome(ruled, user, subscribe={"channel": channel}) == code


@cases(
    "channel, user, code",
    [
        ("nothing is allowed of itself", "news", "ann", 103),
        ("an unknown namespace", "nowhere:news", "ann", 102),
        ("to subscribers, and none", "chat:news", "ann", 103),
        ("to all", "open:news", "", 0),
        ("a name that does not match", "chat:News", "ann", 107),
    ],
)
async def test_publish(ruled, channel, user, code):
    assert await outcome(ruled, user, publish={"channel": channel, "data": 1}) == code


async def test_subscribers_publish_where_that_is_allowed(ruled):
    async with await joined(ruled, "chat:room", token=token(SECRET, sub="ann")) as ann:
        assert (await ann.ask(publish={"channel": "chat:room", "data": 1}))["publish"] == {}
        assert code_of(await ann.ask(publish={"channel": "chat:another", "data": 1})) == 103
        assert (await ann.ask(unsubscribe={"channel": "chat:room"}))["unsubscribe"] == {}
        assert code_of(await ann.ask(publish={"channel": "chat:room", "data": 1})) == 103


async def test_what_a_client_says_of_itself_is_not_believed(ruled):
    async with await Client.open(ruled, headers=[("X-User", "ann")]) as client:
        said = {"data": {"user": "ann"}, "name": "ann", "headers": {"user": "ann"}}
        await client.say({"id": 1, "connect": said})
        assert "connect" in await client.hear()
        assert code_of(await client.ask(subscribe={"channel": "desk:a#ann", "data": {"user": "ann"}})) == 103


async def test_reload_changes_rules_and_leaves_subscriptions(start):
    server = start(config=RULES)
    async with await joined(server, "open:news") as client:
        with open(server.config_path, "w", encoding="utf-8") as file:
            file.write(RULES.replace("[namespace.open]", "[namespace.fresh]"))
        server.signal(signal.SIGHUP)
        for _ in range(100):
            if code_of(await client.ask(publish={"channel": "fresh:news", "data": 1})) == 0:
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError(server.log())
        assert code_of(await client.ask(publish={"channel": "open:news", "data": 1})) == 102
        assert code_of(await client.ask(subscribe={"channel": "open:more"})) == 102
        assert code_of(await client.ask(subscribe={"channel": "open:news"})) == 105, "the subscription stays"
    # Shards apply it before it is said.
    wait_until(lambda: "applied namespace.fresh, namespace.open" in server.log(), what="the log says so")


async def test_refusals_are_counted_by_reason(start):
    server = start(config=RULES)
    async with await joined(server, token=token(SECRET, sub="ann")) as ann:
        for channel in ("nowhere:a", "chat:A", "$open:a", "desk:a#bob", "closed:a", "closed:b"):
            assert code_of(await ann.ask(subscribe={"channel": channel})) != 0
        for channel in ("nowhere:a", "chat:A", "closed:a", "chat:a"):
            assert code_of(await ann.ask(publish={"channel": channel, "data": 1})) != 0
    samples = server.samples()

    def counted(name):
        return {
            dict(labels)["reason"]: value for (sample, labels), value in samples.items() if sample == name
        }

    assert counted("roadstead_subscribes_refused_total") == {
        "unknown_namespace": 1,
        "name": 1,
        "private": 1,
        "not_listed": 1,
        "not_allowed": 2,
        "token": 0,
    }
    assert counted("roadstead_publishes_refused_total") == {
        "unknown_namespace": 1,
        "name": 1,
        "not_allowed": 1,
        "not_subscribed": 1,
    }


@pytest.mark.once
def test_namespaces_are_printed_and_checked(tmp_path):
    path = tmp_path / "roadstead.toml"
    path.write_text(RULES)
    code, out, _ = command_line("config", "print", "--output", "json", "--config", str(path))
    assert code == 0
    values = {row["key"]: row["value"] for row in json.loads(out)["settings"]}
    assert values["namespace.chat.channel_regex"] == "^[a-z0-9#,]+$"
    assert values["namespace.closed.allow_subscribe_for_client"] is False
    path.write_text("[namespace.chat]\npresence = true\n")
    code, out, err = command_line("config", "check", "--config", str(path))
    assert code == 78 and "namespace.chat.presence" in out + err, out + err
