"""Tokens that end: connections and subscriptions go on with new ones or are over, told by bytes and with the SDK for Python."""

import asyncio

import pytest

from conftest import GUARDED, SECRET, cases
from raw import joined
from roadstead import Server, command_line, wait_until
from test_sdk import Channel, Session, soon, unpacked
from tokens import token

SHORT, LONG = 2, 600
# A short token, its grace, the second that it may be in, and one in which an idle shard looks.
OVER = SHORT + 1 + 2
ENCODINGS = pytest.mark.parametrize("encoding", ["json", "protobuf"])


@pytest.fixture(scope="module")
def brief():
    """Tokens are needed, and are honoured for a second after their end."""
    server = Server("--set", "client.token_grace_s=1", config=GUARDED).wait_ready()
    yield server
    assert server.stop() == 0, server.log()


def for_channel(channel="$room", **claims):
    return token(SECRET, **{"sub": "ann", "channel": channel, **claims})


async def subscribed(server, **claims):
    """A raw client of ann's, and the answer to its subscribe with a token of these claims."""
    client = await joined(server, token=token(SECRET, sub="ann"))
    return client, (await client.ask(subscribe={"channel": "$room", "token": for_channel(**claims)}))["subscribe"]


async def test_a_subscription_ends_with_its_token(brief):
    client, result = await subscribed(brief, exp=SHORT, data={"n": 1})
    assert result["expires"] is True and 1 <= result["ttl"] <= SHORT and result["data"] == {"n": 1}
    assert "subscribe" in await client.ask(subscribe={"channel": "lasting"})
    said = await client.hear()
    assert said == {
        "push": {"channel": "$room", "unsubscribe": {"code": 2501, "reason": "subscription expired"}}
    }
    assert (await client.ask(publish={"channel": "lasting", "data": 2}))["publish"] == {}
    assert (await client.publication("lasting"))["data"] == 2, "another subscription stays"
    again = await client.ask(subscribe={"channel": "$room", "token": for_channel(exp=LONG)})
    assert again["subscribe"]["ttl"] > SHORT, "it is gone before the client is told"
    client.writer.close()
    await client.writer.wait_closed()
    expired = ("roadstead_subscriptions_expired_total", ())
    wait_until(lambda: brief.samples()[expired] >= 1, what="the end to be counted")
    wait_until(lambda: brief.samples()[("roadstead_subscription_terms", ())] == 0, what="the table to be empty")


async def test_a_refresh_prolongs_a_subscription(brief):
    client, _ = await subscribed(brief, exp=SHORT)
    result = (await client.ask(sub_refresh={"channel": "$room", "token": for_channel(exp=LONG)}))["sub_refresh"]
    assert result["expires"] is True and LONG - 10 <= result["ttl"] <= LONG
    await asyncio.sleep(OVER)
    assert (await client.ask(publish={"channel": "$room", "data": 3}))["publish"] == {}
    assert (await client.publication("$room"))["data"] == 3
    # Without the channel, as an old SDK says it, and for good.
    assert await client.ask(sub_refresh={"token": for_channel()}) == {"id": client.next_id, "sub_refresh": {}}
    client.writer.close()


@cases(
    "asked, code",
    [
        ("a token that is over", {"channel": "$room", "token": for_channel(exp=-5)}, 109),
        ("what is over already", {"channel": "$room", "token": for_channel(expire_at=1)}, 110),
        ("no token", {"channel": "$room"}, 107),
        ("not subscribed", {"channel": "$other", "token": for_channel("$other")}, 103),
        ("not subscribed, and over", {"channel": "$other", "token": for_channel("$other", exp=-5)}, 103),
    ],
)
async def test_a_refresh_is_refused(brief, asked, code):
    client, _ = await subscribed(brief, exp=LONG)
    assert (await client.ask(sub_refresh=asked))["error"]["code"] == code
    assert (await client.ask(subscribe={"channel": "$room"}))["error"]["code"] == 105, "the subscription stays"
    client.writer.close()


@cases(
    "shown",
    [
        ("garbage", "a.b.c"),
        ("another secret", token("another-secret-altogether", sub="ann", channel="$room")),
        ("another user", for_channel(sub="eve")),
        ("another channel", for_channel("$other")),
        ("another client", for_channel(client="somebody")),
        ("no channel", token(SECRET, sub="ann")),
    ],
)
async def test_a_refresh_with_a_bad_token_closes(brief, shown):
    client, _ = await subscribed(brief, exp=LONG)
    await client.say({"id": 9, "sub_refresh": {"channel": "$room", "token": shown}})
    assert await client.closed() == (3500, "invalid token")


async def test_a_revoked_token_ends_its_subscription(brief):
    client, result = await subscribed(brief, jti="stolen")
    assert result == {}, "it has no end"
    assert "subscribe" in await client.ask(subscribe={"channel": "lasting"})
    code, _, err = command_line("revoke", "--token-id", "stolen", "--admin-socket", brief.socket_path)
    assert code == 0, err
    said = await client.hear()
    assert said == {"push": {"channel": "$room", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}}
    assert (await client.ask(publish={"channel": "lasting", "data": 4}))["publish"] == {}, "the connection stays"
    assert (await client.publication("lasting"))["data"] == 4
    refused = await client.ask(subscribe={"channel": "$room", "token": for_channel(jti="stolen")})
    assert refused["error"]["code"] == 103
    assert "subscribe" in await client.ask(subscribe={"channel": "$room", "token": for_channel(jti="another")})
    refused = await client.ask(sub_refresh={"channel": "$room", "token": for_channel(jti="stolen")})
    assert refused["error"]["code"] == 103
    client.writer.close()


class Issuer:
    """Gives tokens one after the other as the SDK asks for them; the last one again and again."""

    def __init__(self, *claims):
        self.claims = claims
        self.asked = 0

    async def __call__(self, *channel):
        claims = self.claims[min(self.asked, len(self.claims) - 1)]
        self.asked += 1
        if claims is None:
            await asyncio.Future()
        named = {"channel": channel[0]} if channel else {}
        return token(SECRET, **{"sub": "ann", **named, **claims})


class Happenings(Channel):
    def __init__(self):
        super().__init__()
        self.subscribing = asyncio.Queue()
        self.subscribed = asyncio.Queue()

    async def on_subscribing(self, ctx):
        self.subscribing.put_nowait(ctx)

    async def on_subscribed(self, ctx):
        self.subscribed.put_nowait(ctx)


async def watched(session, issuer):
    """A client of ann's, its subscription with tokens of `issuer`, and what happens to that."""
    client = await session.connected(token=token(SECRET, sub="ann"))
    events = Happenings()
    subscription = client.new_subscription("$room", events=events, get_token=issuer)
    await subscription.subscribe()
    await soon(events.subscribed)
    return client, subscription, events


@ENCODINGS
async def test_sdk_refreshes_its_connection(brief, encoding):
    async with Session(brief, encoding) as session:
        issuer = Issuer({"exp": SHORT}, {"exp": LONG})
        client = await session.connected(get_token=issuer)
        await asyncio.sleep(OVER)
        assert issuer.asked == 2 and client.events.connected.qsize() == 1
        await client.publish("#ann", session.packed("still here"))
        assert unpacked((await soon(client.events.publications)).pub.data) == "still here"


@ENCODINGS
async def test_sdk_comes_back_when_its_connection_has_expired(brief, encoding):
    async with Session(brief, encoding) as session:
        client = await session.connected(get_token=Issuer({"exp": SHORT}, None, {"exp": LONG}))
        await soon(client.events.connecting)
        assert (await soon(client.events.connecting)).code == 3005
        await soon(client.events.connected)
        await soon(client.events.connected)


@ENCODINGS
async def test_sdk_refreshes_its_subscription(brief, encoding):
    async with Session(brief, encoding) as session:
        issuer = Issuer({"exp": SHORT}, {"exp": LONG})
        _, subscription, events = await watched(session, issuer)
        await asyncio.sleep(OVER)
        assert issuer.asked == 2 and events.subscribing.qsize() == 1
        await subscription.publish(session.packed("still here"))
        assert unpacked((await soon(events.publications)).data) == "still here"


@ENCODINGS
async def test_sdk_subscribes_again_when_its_subscription_has_expired(brief, encoding):
    async with Session(brief, encoding) as session:
        client, _, events = await watched(session, Issuer({"exp": SHORT}, None, {"exp": LONG}))
        await soon(events.subscribing)
        assert (await soon(events.subscribing)).code == 2501
        await soon(events.subscribed)
        assert client.events.connected.qsize() == 1, "the connection stays"


@ENCODINGS
async def test_sdk_is_refused_a_refresh(brief, encoding):
    async with Session(brief, encoding) as session:
        _, _, events = await watched(session, Issuer({"exp": SHORT}, {"exp": -5}))
        assert (await soon(events.unsubscribed)).code == 109
    async with Session(brief, encoding) as session:
        client, _, _ = await watched(session, Issuer({"exp": SHORT}, {"exp": LONG, "sub": "eve"}))
        assert (await soon(client.events.disconnected)).code == 3500
