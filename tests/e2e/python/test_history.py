"""Histories, positions and recovery: the rules of the protocol over raw sockets, and the SDK for Python over cuts."""

import asyncio

import pytest
from centrifuge import StreamPosition

from conftest import SECRET, cases
from raw import Client, joined
from test_sdk import Channel, Session, soon, unpacked
from tokens import token

RULES = f"""
[token]
hmac_secret = "{SECRET}"
[client]
allow_anonymous = true
user_personal_channel = true
history_max_publication_limit = 5
recovery_max_publication_limit = 6
channel_position_check_delay = "200ms"
[channel]
history_size = 10
history_ttl = "60s"
force_recovery = true
allow_publish_for_client = true
allow_publish_for_anonymous = true
allow_history_for_client = true
[namespace.stream]
history_size = 8
history_ttl = "60s"
allow_recovery = true
allow_positioning = true
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_client = true
allow_publish_for_anonymous = true
allow_history_for_client = true
allow_history_for_anonymous = true
[namespace.cache]
history_size = 1
history_ttl = "60s"
force_recovery = true
force_recovery_mode = "cache"
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_client = true
allow_publish_for_anonymous = true
[namespace.auto]
history_size = 1
history_ttl = "60s"
force_recovery = true
force_recovery_mode = "cache"
auto_cache_recover = true
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_client = true
allow_publish_for_anonymous = true
[namespace.short]
history_size = 8
history_ttl = "300ms"
force_recovery = true
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_client = true
allow_publish_for_anonymous = true
allow_history_for_subscriber = true
allow_history_for_anonymous = true
[namespace.plain]
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_client = true
allow_publish_for_anonymous = true
"""

names = (f"c{n}" for n in range(1_000_000))


@pytest.fixture(scope="module")
def keeping():
    from roadstead import Server

    server = Server(config=RULES, shards=3).wait_ready()
    yield server
    assert server.stop() == 0, server.log()


@pytest.fixture(name="ns")
def fresh_name():
    """A channel name that nobody has used, of a namespace."""
    rest = next(names)
    return lambda namespace: f"{namespace}:{rest}"


async def published(client, channel, *texts):
    for text in texts:
        assert (await client.ask(publish={"channel": channel, "data": text}))["publish"] == {}


async def position(client, channel):
    reply = (await client.ask(history={"channel": channel}))["history"]
    assert reply["publications"] == []
    return reply["epoch"], reply["offset"]


def heard(publications):
    return [(publication["offset"], publication["data"]) for publication in publications]


async def test_an_untouched_channel_has_a_position(keeping, ns):
    """The same at once to whoever reads, subscribes and publishes, on any shard."""
    channel = ns("stream")
    clients = [await joined(keeping) for _ in range(6)]
    epoch, offset = await position(clients[0], channel)
    assert epoch and offset == 0
    for client in clients:
        assert await position(client, channel) == (epoch, 0)
        reply = (await client.ask(subscribe={"channel": channel, "recoverable": True}))["subscribe"]
        assert reply == {"recoverable": True, "positioned": True, "epoch": epoch}
    await published(clients[0], channel, "a")
    for client in clients[1:]:
        publication = await client.publication(channel)
        assert (publication["offset"], publication["epoch"], publication["data"]) == (1, epoch, "a")
    await published(clients[0], channel, "b")
    for client in clients[1:]:
        publication = await client.publication(channel)
        assert publication["offset"] == 2 and "epoch" not in publication
    for client in clients:
        client.writer.close()


async def test_wishes_are_granted_where_they_are_allowed(keeping, ns):
    async with await joined(keeping) as client:
        for namespace, wishes, granted in [
            ("stream", {}, set()),
            ("stream", {"positioned": True}, {"positioned"}),
            ("stream", {"recoverable": True}, {"positioned", "recoverable"}),
            ("cache", {}, {"positioned", "recoverable"}),
            ("plain", {"recoverable": True, "positioned": True, "recover": True}, set()),
        ]:
            channel = f"{namespace}:{next(names)}"
            reply = (await client.ask(subscribe={"channel": channel, **wishes}))["subscribe"]
            assert {key for key in ("positioned", "recoverable") if reply.get(key)} == granted
            assert ("epoch" in reply) == bool(granted) and "was_recovering" not in reply


@cases(
    "missed, flag, epoch, recovered",
    [
        ("nothing", 0, 1, None, True),
        ("some", 3, 1, None, True),
        ("as much as may be", 6, 1, None, True),
        ("more than may be", 7, 1, None, False),
        ("more than is kept", 12, 1, None, False),
        ("with any epoch", 2, 1, "", True),
        ("with another epoch", 2, 1, "8fffffff", False),
        ("with an impossible epoch", 0, 1, "_", False),
        ("refusing, some", 3, 3, None, True),
        ("refusing, too much", 12, 3, None, False),
    ],
)
async def test_recovery(keeping, ns, missed, flag, epoch, recovered):
    channel = ns("stream")
    async with await joined(keeping) as publisher:
        async with await joined(keeping) as client:
            wish = {"channel": channel, "recoverable": True, "flag": 1}
            reply = (await client.ask(subscribe=wish))["subscribe"]
            own = reply["epoch"]
            await published(publisher, channel, "seen")
            assert (await client.publication(channel))["offset"] == 1
        texts = [f"m{n}" for n in range(missed)]
        await published(publisher, channel, *texts)
        async with await joined(keeping) as client:
            since = {"recover": True, "offset": 1, "epoch": own if epoch is None else epoch}
            answer = await client.ask(subscribe={**wish, **since, "flag": flag})
            if not recovered and flag & 2:
                assert answer["error"] == {"code": 112, "message": "unrecoverable position"}
                again = await client.ask(subscribe=wish)
                assert again["subscribe"]["offset"] == 1 + missed, "it is free again"
                return
            reply = answer["subscribe"]
            assert reply["was_recovering"] and reply["epoch"] == own
            assert reply.get("recovered", False) == recovered
            assert heard(reply.get("publications", [])) == (
                list(enumerate(texts, 2)) if recovered else []
            )
            assert reply["offset"] == (1 if recovered else 1 + missed)
            await published(publisher, channel, "next")
            assert (await client.publication(channel))["offset"] == 2 + missed


async def test_publications_while_many_recover(keeping, ns):
    """Subscribers come and go while there is a stream of publications: each sees every offset once."""
    channel = ns("stream")
    total = 400

    async def publish():
        async with await joined(keeping) as publisher:
            for number in range(1, total + 1):
                await published(publisher, channel, number)

    async def follow(rounds):
        offset, epoch, seen = 0, "", []
        while offset < total:
            async with await joined(keeping) as client:
                since = {"recover": True, "offset": offset, "epoch": epoch}
                reply = (await client.ask(subscribe={"channel": channel, "recoverable": True, **since}))["subscribe"]
                epoch = reply["epoch"]
                if not reply.get("recovered"):
                    # It was away for longer than is kept: told so, and it goes on from the top.
                    offset, seen = reply.get("offset", 0), []
                for publication in reply.get("publications", []):
                    assert publication["offset"] == offset + 1
                    offset = publication["offset"]
                    seen.append(publication["data"])
                for _ in range(rounds):
                    if offset == total:
                        break
                    publication = await client.publication(channel)
                    assert publication["offset"] == offset + 1, "no gap and none twice"
                    offset = publication["offset"]
                    seen.append(publication["data"])
        assert seen == list(range(total - len(seen) + 1, total + 1))

    await asyncio.gather(publish(), *(follow(rounds) for rounds in (1, 2, 3, 5, 8, 13, 400)))


@cases(
    "asked, expected",
    [
        ("the position only", {}, []),
        ("from the oldest", {"limit": 3}, [3, 4, 5]),
        ("no more than the cap", {"limit": 100}, [3, 4, 5, 6, 7]),
        ("as many as may be", {"limit": -1}, [3, 4, 5, 6, 7]),
        ("from the newest", {"limit": 2, "reverse": True}, [10, 9]),
        ("behind one", {"limit": 2, "since": {"offset": 6}}, [7, 8]),
        ("behind one that is gone", {"limit": 2, "since": {"offset": 1}}, [3, 4]),
        ("behind the last", {"limit": 2, "since": {"offset": 10}}, []),
        ("before one", {"limit": 2, "since": {"offset": 6}, "reverse": True}, [5, 4]),
        ("before one that is gone", {"limit": 2, "since": {"offset": 2}, "reverse": True}, []),
        ("before the beginning", {"limit": 2, "since": {"offset": 0}, "reverse": True}, 107),
        ("of another epoch", {"limit": 2, "since": {"offset": 5, "epoch": "nope"}}, 112),
    ],
)
async def test_history(keeping, ns, asked, expected):
    channel = ns("stream")
    async with await joined(keeping) as client:
        await published(client, channel, *range(1, 11))
        for _ in range(2):
            answer = await client.ask(history={"channel": channel, **asked})
            if isinstance(expected, int):
                assert answer["error"]["code"] == expected
                return
            reply = answer["history"]
            assert heard(reply["publications"]) == [(offset, offset) for offset in expected]
            assert reply["offset"] == 10 and reply["epoch"]
            # With the right epoch it is the same.
            if "since" in asked:
                asked = {**asked, "since": {**asked["since"], "epoch": reply["epoch"]}}


async def test_history_needs_permission(keeping, ns):
    async with await joined(keeping) as client:
        for channel, code in [("plain:a", 108), ("nowhere:a", 102), ("own", 103), ("short:a", 103)]:
            assert (await client.ask(history={"channel": channel}))["error"]["code"] == code, channel
        await client.subscribe("short:a")
        assert "history" in await client.ask(history={"channel": "short:a"})


async def test_age_takes_publications_and_leaves_the_position(keeping, ns):
    channel = ns("short")
    async with await joined(keeping) as client:
        epoch = (await client.ask(subscribe={"channel": channel}))["subscribe"]["epoch"]
        await published(client, channel, "a", "b")
        for _ in range(100):
            reply = (await client.ask(history={"channel": channel, "limit": 5}))["history"]
            assert (reply["epoch"], reply["offset"]) == (epoch, 2)
            if not reply["publications"]:
                break
            await asyncio.sleep(0.05)
        assert reply["publications"] == []
        async with await joined(keeping) as other:
            for offset, recovered in [(2, True), (1, False)]:
                since = {"recover": True, "offset": offset, "epoch": epoch}
                reply = (await other.ask(subscribe={"channel": channel, **since}))["subscribe"]
                assert (reply.get("recovered", False), reply["offset"]) == (recovered, 2)
                await other.ask(unsubscribe={"channel": channel})


async def test_cache(keeping, ns):
    channel = ns("cache")
    async with await joined(keeping) as publisher, await joined(keeping) as client:
        async def subscribe(**since):
            reply = (await client.ask(subscribe={"channel": channel, **since}))["subscribe"]
            await client.ask(unsubscribe={"channel": channel})
            return reply

        reply = await subscribe(recover=True)
        assert "recovered" not in reply and reply["was_recovering"]
        await published(publisher, channel, "old", "new")
        epoch = reply["epoch"]
        reply = await subscribe(recover=True)
        assert reply["recovered"] and heard(reply["publications"]) == [(2, "new")]
        reply = await subscribe(recover=True, offset=2, epoch=epoch)
        assert reply["recovered"] and "publications" not in reply and reply["offset"] == 2
        reply = await subscribe(recover=True, offset=1, epoch="other")
        assert reply["recovered"] and heard(reply["publications"]) == [(2, "new")]
        reply = await subscribe()
        assert "was_recovering" not in reply and "publications" not in reply
        automatic = channel.replace("cache", "auto")
        await published(publisher, automatic, "it")
        reply = (await client.ask(subscribe={"channel": automatic}))["subscribe"]
        assert reply["recovered"] and reply["was_recovering"] and heard(reply["publications"]) == [(1, "it")]


async def test_messages_wait_for_their_user(keeping):
    """The personal channel is a stream: who is away gets what came meanwhile with the connect reply."""
    user = f"user-{next(names)}"
    channel = f"#{user}"
    own = token(SECRET, sub=user)
    async with await joined(keeping, token=token(SECRET, sub="sender")) as sender:
        async with await Client.open(keeping) as client:
            sub = (await client.connect(token=own))["connect"]["subs"][channel]
            assert sub["recoverable"] and sub["positioned"] and "offset" not in sub
            await published(sender, channel, "first")
            assert (await client.publication(channel))["offset"] == 1
        await published(sender, channel, "second", "third")
        for _ in range(3):
            async with await Client.open(keeping) as client:
                client.next_id = 1
                remembered = {channel: {"recover": True, "offset": 1, "epoch": sub["epoch"]}}
                # What is said behind the connect is heard behind it.
                await client.say(
                    {"id": 1, "connect": {"token": own, "subs": remembered}},
                    {"id": 2, "subscribe": {"channel": "stream:other"}},
                )
                reply = (await client.hear())["connect"]["subs"][channel]
                assert reply["recovered"] and reply["was_recovering"] and reply["offset"] == 1
                assert heard(reply["publications"]) == [(2, "second"), (3, "third")]
                assert (await client.hear()) == {"id": 2, "subscribe": {}}
                assert (await client.ask(subscribe={"channel": channel}))["error"]["code"] == 105
        async with await Client.open(keeping) as client:
            remembered = {channel: {"recover": True, "offset": 1, "epoch": "_"}}
            reply = (await client.connect(token=own, subs=remembered))["connect"]["subs"][channel]
            assert "recovered" not in reply and reply["was_recovering"] and reply["offset"] == 3
            await published(sender, channel, "fourth")
            assert (await client.publication(channel))["offset"] == 4


async def test_metrics(keeping, ns):
    channel = ns("stream")
    async with await joined(keeping) as client:
        epoch = (await client.ask(subscribe={"channel": channel, "recoverable": True}))["subscribe"]["epoch"]
        await published(client, channel, *range(10))
        await client.ask(unsubscribe={"channel": channel})
        before = keeping.samples()
        for offset in (8, 0):
            since = {"recoverable": True, "recover": True, "epoch": epoch, "offset": offset}
            await client.ask(subscribe={"channel": channel, **since})
            await client.ask(unsubscribe={"channel": channel})
        after = keeping.samples()

    def grown(name, **labels):
        key = (f"roadstead_{name}", tuple(sorted(labels.items())))
        return after[key] - before[key]

    assert grown("recoveries_total", outcome="recovered") == 1
    assert grown("recoveries_total", outcome="failed") == 1
    assert grown("recovered_publications_total") == 2
    assert after[("roadstead_history_publications", ())] >= 8
    assert after[("roadstead_history_bytes", ())] > 8 * 192
    assert after[("roadstead_history_dropped_total", (("reason", "count"),))] >= 2


class Follower(Channel):
    """A subscription that also tells how it began."""

    def __init__(self):
        super().__init__()
        self.begun = asyncio.Queue()

    async def on_subscribed(self, ctx):
        self.begun.put_nowait(ctx)


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
async def test_sdk_recovers_after_a_cut(keeping, ns, encoding):
    channel = ns("stream")
    async with Session(keeping, encoding) as session:
        publisher, client = await session.connected(), await session.connected()
        events = Follower()
        subscription = client.new_subscription(channel, events=events, recoverable=True)
        await subscription.subscribe()
        begun = await soon(events.begun)
        assert begun.recoverable and begun.positioned and not begun.was_recovering
        await publisher.publish(channel, session.packed(1))
        assert unpacked((await soon(events.publications)).data) == 1
        # The socket is lost; the SDK comes back by itself.
        client._conn.transport.abort()
        for number in (2, 3, 4):
            await publisher.publish(channel, session.packed(number))
        for number in (2, 3, 4):
            publication = await soon(events.publications)
            assert (unpacked(publication.data), publication.offset) == (number, number)
        begun = await soon(events.begun)
        assert begun.was_recovering and begun.recovered
        result = await subscription.history(limit=3, reverse=True)
        assert [unpacked(publication.data) for publication in result.publications] == [4, 3, 2]
        since = StreamPosition(offset=1, epoch=result.epoch)
        result = await subscription.history(limit=2, since=since)
        assert [publication.offset for publication in result.publications] == [2, 3]


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
async def test_sdk_is_told_what_cannot_be_recovered(keeping, ns, encoding):
    channel = ns("stream")
    async with Session(keeping, encoding) as session:
        publisher = await session.connected()
        events = Follower()
        client = session.client()
        since = StreamPosition(offset=1, epoch="_")
        subscription = client.new_subscription(channel, events=events, recoverable=True)
        await publisher.publish(channel, session.packed(1))
        await publisher.publish(channel, session.packed(2))
        subscription._recover, subscription._offset, subscription._epoch = True, since.offset, since.epoch
        await client.connect()
        await subscription.subscribe()
        begun = await soon(events.begun)
        assert begun.was_recovering and not begun.recovered
        await publisher.publish(channel, session.packed(3))
        assert unpacked((await soon(events.publications)).data) == 3
