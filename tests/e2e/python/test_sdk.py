"""The real SDK for Python, in both encodings, and beside the one for JavaScript."""

import asyncio
import json
import os

import pytest
from centrifuge import (
    CentrifugeError,
    Client,
    ClientEventHandler,
    DuplicateSubscriptionError,
    ReplyError,
    SubscriptionEventHandler,
)

from conftest import SECRET
from tokens import token

PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "js", "peer.mjs")
WAIT_SECONDS = 15

pytestmark = pytest.mark.parametrize("encoding", ["json", "protobuf"])


class Connection(ClientEventHandler):
    """Puts what happens to a client into queues."""

    def __init__(self):
        self.connected = asyncio.Queue()
        self.connecting = asyncio.Queue()
        self.disconnected = asyncio.Queue()
        self.subscribed = asyncio.Queue()
        self.publications = asyncio.Queue()

    async def on_connected(self, ctx):
        self.connected.put_nowait(ctx)

    async def on_connecting(self, ctx):
        self.connecting.put_nowait(ctx)

    async def on_disconnected(self, ctx):
        self.disconnected.put_nowait(ctx)

    async def on_subscribed(self, ctx):
        self.subscribed.put_nowait(ctx)

    async def on_publication(self, ctx):
        self.publications.put_nowait(ctx)


class Channel(SubscriptionEventHandler):
    """Puts what happens to a subscription into queues."""

    def __init__(self):
        self.publications = asyncio.Queue()
        self.unsubscribed = asyncio.Queue()
        self.errors = asyncio.Queue()

    async def on_publication(self, ctx):
        self.publications.put_nowait(ctx.pub)

    async def on_unsubscribed(self, ctx):
        self.unsubscribed.put_nowait(ctx)

    async def on_error(self, ctx):
        self.errors.put_nowait(ctx)


class Session:
    """SDK clients that are disconnected at the end of the test, and data in the encoding's own form."""

    def __init__(self, server, encoding):
        self.server = server
        self.encoding = encoding
        self.clients = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for client in self.clients:
            await client.disconnect()

    def client(self, encoding=None, **options):
        client = Client(
            self.server.url,
            events=Connection(),
            use_protobuf=(encoding or self.encoding) == "protobuf",
            min_reconnect_delay=0.05,
            max_reconnect_delay=0.2,
            proxy=None,
            **options,
        )
        self.clients.append(client)
        return client

    async def connected(self, **options):
        client = self.client(**options)
        await client.connect()
        await client.ready(WAIT_SECONDS)
        return client

    async def subscribed(self, client, channel):
        events = Channel()
        subscription = client.new_subscription(channel, events=events)
        await subscription.subscribe()
        await subscription.ready(WAIT_SECONDS)
        return subscription, events

    def packed(self, value, encoding=None):
        return value if (encoding or self.encoding) == "json" else json.dumps(value).encode()


def unpacked(data):
    return json.loads(data) if isinstance(data, bytes) else data


async def soon(queue):
    return await asyncio.wait_for(queue.get(), WAIT_SECONDS)


async def test_connect_publish_receive(server, encoding):
    async with Session(server, encoding) as session:
        publisher, subscriber = await session.connected(), await session.connected()
        context = await soon(subscriber.events.connected)
        assert context.client and context.version
        _, events = await session.subscribed(subscriber, "sdk")
        await publisher.publish("sdk", session.packed({"hello": ["world", 1]}))
        publication = await soon(events.publications)
        assert unpacked(publication.data) == {"hello": ["world", 1]}
        assert publication.info.client == (await soon(publisher.events.connected)).client


async def test_many_clients_across_shards(server, encoding):
    """Eight subscribers in both encodings, eight publishers, three channels; nothing is lost, doubled or reordered."""
    channels = [f"sdk-many-{encoding}-{n}" for n in range(3)]
    each = 30
    async with Session(server, encoding) as session:
        received = []
        for n in range(8):
            client = await session.connected(encoding=["json", "protobuf"][n % 2])
            received.append(
                [(await session.subscribed(client, channel))[1].publications for channel in channels]
            )
        publishers = [await session.connected() for _ in range(8)]

        async def publish(number, client):
            for n in range(each):
                await client.publish(channels[n % 3], session.packed([number, n]))

        await asyncio.gather(*(publish(number, client) for number, client in enumerate(publishers)))
        for queues in received:
            for at, queue in enumerate(queues):
                got = [tuple(unpacked((await soon(queue)).data)) for _ in range(8 * each // 3)]
                assert len(set(got)) == len(got)
                for number in range(8):
                    assert [n for who, n in got if who == number] == list(range(at, each, 3))
        assert all(queue.empty() for queues in received for queue in queues)


async def test_unsubscribe_stops(server, encoding):
    async with Session(server, encoding) as session:
        client = await session.connected()
        subscription, events = await session.subscribed(client, "sdk-stop")
        _, others = await session.subscribed(client, "sdk-go-on")
        await client.publish("sdk-stop", session.packed(1))
        assert unpacked((await soon(events.publications)).data) == 1
        await subscription.unsubscribe()
        assert (await soon(events.unsubscribed)).code == 0
        await client.publish("sdk-stop", session.packed(2))
        await client.publish("sdk-go-on", session.packed(3))
        assert unpacked((await soon(others.publications)).data) == 3
        assert events.publications.empty()
        await subscription.subscribe()
        await subscription.ready(WAIT_SECONDS)
        await subscription.publish(session.packed(4))
        assert unpacked((await soon(events.publications)).data) == 4


async def test_what_is_not_available(server, encoding):
    async with Session(server, encoding) as session:
        client = await session.connected()
        subscription, _ = await session.subscribed(client, "sdk-none")
        requests = {
            "rpc": lambda: client.rpc("method", session.packed({})),
            "presence": lambda: client.presence("sdk-none"),
            "presence_stats": lambda: client.presence_stats("sdk-none"),
            "history": lambda: subscription.history(limit=1),
        }
        for name, request in requests.items():
            with pytest.raises(ReplyError) as refused:
                await request()
            assert refused.value.code == 108, name
        with pytest.raises(DuplicateSubscriptionError):
            client.new_subscription("sdk-none")


async def test_unknown_namespace_ends_the_subscription(guarded, encoding):
    async with Session(guarded, encoding) as session:
        client = await session.connected(token=token(SECRET, sub="ann"))
        events = Channel()
        subscription = client.new_subscription("nowhere:1", events=events)
        await subscription.subscribe()
        assert (await soon(events.unsubscribed)).code == 102


async def test_large_message(server, encoding):
    async with Session(server, encoding) as session:
        client = await session.connected()
        _, events = await session.subscribed(client, "sdk-large")
        large = "x" * 60_000
        await client.publish("sdk-large", session.packed(large))
        assert unpacked((await soon(events.publications)).data) == large


async def test_token_and_personal_channel(guarded, encoding):
    async with Session(guarded, encoding) as session:
        user = f"frida-{encoding}"
        phone = await session.connected(token=token(SECRET, sub=user))
        laptop = await session.connected(token=token(SECRET, sub=user))
        for device in (phone, laptop):
            assert (await soon(device.events.subscribed)).channel == f"#{user}"
        other = await session.connected(token=token(SECRET, sub="george"))
        await other.publish(f"#{user}", session.packed("to all devices"))
        for device in (phone, laptop):
            context = await soon(device.events.publications)
            assert context.channel == f"#{user}"
            assert unpacked(context.pub.data) == "to all devices"


async def test_bad_token_is_final(guarded, encoding):
    async with Session(guarded, encoding) as session:
        client = session.client(token="garbage")
        await client.connect()
        context = await soon(client.events.disconnected)
        assert (context.code, context.reason) == (3500, "invalid token")


async def test_expired_token_is_replaced(guarded, encoding):
    asked = []

    async def fresh():
        asked.append(1)
        return token(SECRET, sub="hanna")

    async with Session(guarded, encoding) as session:
        client = session.client(token=token(SECRET, sub="hanna", exp=-60), get_token=fresh)
        await client.connect()
        assert (await soon(client.events.connected)).client
        assert asked == [1]


async def test_pings_keep_the_connection(quick, encoding):
    async with Session(quick, encoding) as session:
        client = await session.connected(max_server_ping_delay=2.0)
        await soon(client.events.connecting)
        await asyncio.sleep(5)
        assert client.events.connecting.empty() and client.events.disconnected.empty()
        await client.publish("sdk-ping", session.packed(1))


async def test_restart_of_the_server(start, encoding):
    server = start("--insecure")
    async with Session(server, encoding) as session:
        client = await session.connected()
        await soon(client.events.connecting)
        subscription, events = await session.subscribed(client, "sdk-restart")
        listen, admin = server.ready["listen"], server.ready["admin"]
        server.signal()
        assert (await soon(client.events.connecting)).code == 3001
        assert await asyncio.to_thread(server.wait) == 0
        await asyncio.to_thread(lambda: start("--insecure", listen=[listen], admin=admin))
        await client.ready(WAIT_SECONDS)
        await subscription.ready(WAIT_SECONDS)
        await client.publish("sdk-restart", session.packed("back"))
        assert unpacked((await soon(events.publications)).data) == "back"


async def test_python_and_javascript(server, encoding):
    """An SDK client of each language in each encoding on one channel; each hears all four."""
    channel = f"languages-{encoding}"
    async with Session(server, encoding) as session:
        client = await session.connected()
        _, events = await session.subscribed(client, channel)
        peers = [
            await asyncio.create_subprocess_exec(
                "node",
                PEER,
                server.url,
                form,
                channel,
                "5",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            for form in ("json", "protobuf")
        ]
        try:
            for peer in peers:
                assert await asyncio.wait_for(peer.stdout.readline(), WAIT_SECONDS) == b"subscribed\n"
            for peer in peers:
                peer.stdin.write(b"publish\n")
            for n in range(5):
                await client.publish(channel, session.packed(["python", n]))
            expected = {(who, n) for who in ("python", "js-json", "js-protobuf") for n in range(5)}
            got = [tuple(unpacked((await soon(events.publications)).data)) for _ in range(15)]
            assert set(got) == expected
            for peer in peers:
                lines = [
                    json.loads(await asyncio.wait_for(peer.stdout.readline(), WAIT_SECONDS))
                    for _ in range(15)
                ]
                assert {tuple(line) for line in lines} == expected
                peer.stdin.write(b"end\n")
                assert await asyncio.wait_for(peer.wait(), WAIT_SECONDS) == 0
        finally:
            for peer in peers:
                if peer.returncode is None:
                    peer.kill()
                    await peer.wait()


async def test_publish_after_disconnect_fails(server, encoding):
    async with Session(server, encoding) as session:
        client = await session.connected()
        await client.disconnect()
        with pytest.raises(CentrifugeError):
            await client.publish("sdk", session.packed(1))
