"""Tokens that are taken back: by id and by user, at a connect, a refresh, a channel, and of whoever is connected; the SDK stays away."""

import asyncio
import json
import time

import pytest
from centrifuge import Client as SdkClient
from centrifuge import ClientEventHandler, ClientState

from conftest import SECRET, cases
from raw import Client, joined
from roadstead import command_line
from tokens import token

RULES = f"""
[token]
hmac_secret = "{SECRET}"
[channel]
allow_subscribe_for_client = true
"""


@pytest.fixture(scope="module")
def revoking(tmp_path_factory):
    from roadstead import Server

    data = tmp_path_factory.mktemp("data")
    server = Server(config=f'data_dir = "{data}"\n{RULES}').wait_ready()
    yield server
    assert server.stop() == 0, server.log()


def revoke(server, *arguments):
    code, out, err = command_line("revoke", *arguments, "--admin-socket", server.socket_path, "--output", "json")
    assert code == 0, err
    return json.loads(out)


async def refused(server, connection_token):
    """Asserts that a connect with this token is closed as invalid."""
    async with await Client.open(server) as client:
        await client.say({"id": 1, "connect": {"token": connection_token}})
        assert await client.closed() == (3500, "invalid token")


async def test_a_token_is_revoked_by_its_id(revoking):
    one, other = token(SECRET, sub="ann", jti="one"), token(SECRET, sub="ann", jti="other")
    first = await joined(revoking, token=one)
    second = await joined(revoking, token=other)
    assert revoke(revoking, "--token-id", "one")["durable"] is True
    assert await first.closed() == (3500, "invalid token")
    await refused(revoking, one)
    assert "subscribe" in await second.ask(subscribe={"channel": "news"}), "another token of the same user stays"
    (await joined(revoking, token=other)).writer.close()
    second.writer.close()


@cases(
    "claims, good",
    [
        ("issued before", {"iat": -60}, False),
        ("issued in the same second", {"iat": 0}, False),
        ("nobody knows when", {}, False),
        ("issued after it", {"iat": 5}, True),
    ],
)
async def test_a_users_tokens_of_before_are_revoked(revoking, claims, good):
    user = f"bob-{len(claims)}-{claims.get('iat')}"
    shown = token(SECRET, sub=user, **claims)
    client = await joined(revoking, token=shown)
    bystander = await joined(revoking, token=token(SECRET, sub=f"not-{user}"))
    revoke(revoking, "--user", user, "--for", "1h")
    if good:
        assert "subscribe" in await client.ask(subscribe={"channel": "news"})
    else:
        assert await client.closed() == (3500, "invalid token")
        await refused(revoking, shown)
    assert "subscribe" in await bystander.ask(subscribe={"channel": "news"})
    (await joined(revoking, token=token(SECRET, sub=user, iat=5))).writer.close()


async def test_a_revoked_token_refreshes_nothing(revoking):
    async with await joined(revoking, token=token(SECRET, sub="carl", jti="carl-1", exp=60)) as client:
        revoke(revoking, "--token-id", "carl-2")
        fine = token(SECRET, sub="carl", jti="carl-3", exp=60)
        assert "refresh" in await client.ask(refresh={"token": fine})
        await client.say({"id": 9, "refresh": {"token": token(SECRET, sub="carl", jti="carl-2", exp=60)}})
        assert await client.closed() == (3500, "invalid token")


async def test_the_token_of_the_last_refresh_counts(revoking):
    async with await joined(revoking, token=token(SECRET, sub="dora", jti="dora-1", exp=60)) as client:
        assert "refresh" in await client.ask(refresh={"token": token(SECRET, sub="dora", jti="dora-2", exp=60)})
        revoke(revoking, "--token-id", "dora-1")
        assert "subscribe" in await client.ask(subscribe={"channel": "news"})
        revoke(revoking, "--token-id", "dora-2")
        assert await client.closed() == (3500, "invalid token")


async def test_a_revoked_subscription_token_opens_nothing(revoking):
    shown = token(SECRET, sub="eve", channel="$room", jti="room-1")
    async with await joined(revoking, token=token(SECRET, sub="eve")) as eve:
        revoke(revoking, "--token-id", "room-1")
        reply = await eve.ask(subscribe={"channel": "$room", "token": shown})
        assert reply["error"]["code"] == 103
        other = token(SECRET, sub="eve", channel="$room", jti="room-2")
        assert "subscribe" in await eve.ask(subscribe={"channel": "$room", "token": other})


async def test_a_revocation_ends(revoking):
    shown = token(SECRET, sub="fred", jti="fred-1")
    revoke(revoking, "--token-id", "fred-1", "--for", "2s")
    await refused(revoking, shown)
    await asyncio.sleep(2.5)
    (await joined(revoking, token=shown)).writer.close()


async def test_the_sdk_is_told_and_does_not_come_back(revoking):
    codes, connects = [], []

    class Events(ClientEventHandler):
        async def on_connected(self, context):
            connects.append(context.client)

        async def on_disconnected(self, context):
            codes.append(context.code)

    shown = token(SECRET, sub="gina", iat=-60)

    async def get_token():
        return shown

    client = SdkClient(revoking.url, events=Events(), token=shown, get_token=get_token)
    await client.connect()
    await client.ready()
    revoke(revoking, "--user", "gina")
    end = time.monotonic() + 10
    while not codes and time.monotonic() < end:
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    assert (codes, len(connects), client.state) == ([3500], 1, ClientState.DISCONNECTED)


@cases(
    "path, status",
    [
        ("nothing said", "/revocations", 400),
        ("for ever", "/revocations?user=x&until=99999999999", 400),
        ("two subjects", "/revocations?user=x&token_id=y&for_s=60", 400),
        ("an unknown word", "/revocations?user=x&for_s=60&how=gently", 400),
        ("a name that is too long", f"/revocations?user={'x' * 256}&for_s=60", 400),
    ],
)
@pytest.mark.once
def test_bad_wishes(revoking, path, status):
    import urllib.error
    import urllib.request

    request = urllib.request.Request(f"http://{revoking.ready['admin']}{path}", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=10)
    assert refusal.value.code == status and json.loads(refusal.value.read())["error"]


@pytest.mark.once
def test_without_a_folder_it_is_said_that_nothing_is_kept(start):
    server = start(config=RULES)
    code, out, err = command_line("revoke", "--user", "ann", "--admin-socket", server.socket_path)
    assert code == 0 and "tokens of ann" in out and "data_dir is not set" in err
    code, out, _ = command_line("revocations", "--admin-socket", server.socket_path)
    assert code == 0 and "ann" in out and "30 d" in out or "29 d" in out, out
