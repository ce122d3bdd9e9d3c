"""permessage-deflate against an implementation that is not ours: what is agreed to, random messages both ways, bombs."""

import asyncio
import json
import random

import pytest
import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate

from conftest import OPEN, cases, shared
from raw import Client

PLAIN = ("roadstead_deflate_plain_bytes_total", ())
DEFLATED = ("roadstead_deflate_deflated_bytes_total", ())
WINDOWS = ("roadstead_deflate_window_bytes", ())
TAKEOVER = "[compression]\ntakeover = true\nwindow_bits = 15\nwindow_bytes_per_shard = 65536\n"


@pytest.fixture(scope="module")
def deflating():
    """Development mode with /echo and compression."""
    yield from shared(*OPEN, "--compression")


@pytest.fixture(scope="module")
def leaning():
    """The same on one shard, where clients' messages may lean on earlier ones: two of them at a time."""
    yield from shared(*OPEN, "--compression", config=TAKEOVER, shards=1)


def connect(server, path="/echo", offer=None):
    extensions = [offer] if offer else None
    url = f"ws://{server.host}:{server.port}{path}"
    return websockets.connect(url, compression=None, extensions=extensions, max_size=None, ping_interval=None)


def agreed(client):
    return client.response.headers.get("Sec-WebSocket-Extensions")


OFFERS = [
    ("the usual", Deflate()),
    ("no takeover", Deflate(server_no_context_takeover=True, client_no_context_takeover=True)),
    ("the smallest window of the server", Deflate(server_max_window_bits=9)),
    ("a small window of the client", Deflate(client_max_window_bits=9)),
    ("nothing said of the client's window", Deflate(client_max_window_bits=None)),
    ("quick", Deflate(compress_settings={"level": 1, "memLevel": 1})),
]


def message(chance):
    """Text or octets, of any compressibility, from nothing to some 200 KB; sometimes in fragments."""
    size = int(2 ** chance.uniform(0, 17.6)) - 1
    words = ["channel", "{\"data\":", "ä€🌊", " ", "0123456789" * 8, chr(chance.randrange(0x20, 0xD7FF))]
    text = "".join(chance.choice(words) for _ in range(size // 8 + 1))[:size]
    whole = text if chance.random() < 0.6 else chance.choice([chance.randbytes(size), text.encode()])
    if chance.random() < 0.3:
        cuts = sorted(chance.randrange(len(whole) + 1) for _ in range(chance.randrange(1, 6)))
        return whole, [whole[one:two] for one, two in zip([0, *cuts], [*cuts, len(whole)])]
    return whole, whole


@pytest.mark.limit(120)
@pytest.mark.parametrize("name", ["deflating", "leaning"])
@cases("offer", OFFERS)
async def test_random_messages_come_back(request, name, offer):
    server, chance = request.getfixturevalue(name), random.Random(7692)
    async with connect(server, offer=offer) as client:
        assert agreed(client).startswith("permessage-deflate; server_no_context_takeover")
        for burst in range(40):
            sent = [message(chance) for _ in range(chance.randrange(1, 6))]

            async def send():
                for _, parts in sent:
                    await client.send(iter(parts) if isinstance(parts, list) else parts)
                    if chance.random() < 0.1:
                        await client.ping()

            sending = asyncio.create_task(send())
            for whole, _ in sent:
                assert await client.recv() == whole, f"burst {burst}"
            await sending


@cases(
    "offer, answer",
    [
        ("bare", "permessage-deflate", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        (
            "a small window",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10",
        ),
        (
            "the second of two",
            "permessage-deflate; server_max_window_bits=20, permessage-deflate",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
        ("unknown", "permessage-bzip2", None),
    ],
)
@pytest.mark.parametrize("path", ["/echo", "/connection/websocket"])
async def test_agreement(deflating, server, path, offer, answer):
    for asked, expected in [(deflating, answer), (server, None)]:
        async with await Client.open(asked, path, headers={"Sec-WebSocket-Extensions": offer}) as client:
            assert client.headers.get("sec-websocket-extensions") == expected


async def connected(server, offer=None):
    client = await connect(server, "/connection/websocket", offer)
    await client.send('{"id":1,"connect":{}}')
    assert json.loads(await client.recv())["id"] == 1
    return client


async def ask(client, command):
    """Sends a command and returns its reply; what comes before it, too."""
    await client.send(json.dumps({"id": 2, **command}))
    others = []
    while True:
        for line in (await client.recv()).split("\n"):
            told = json.loads(line)
            if told.get("id") == 2:
                return told, others
            others.append(told)


async def pushed(client):
    return json.loads(await client.recv())["push"]["pub"]["data"]


async def test_a_publication_is_deflated_once_for_all(leaning):
    offers = [Deflate(), Deflate(), Deflate(server_max_window_bits=9), None]
    subscribers = [await connected(leaning, offer) for offer in offers]
    publisher = await connected(leaning)
    for subscriber in subscribers:
        assert "error" not in (await ask(subscriber, {"subscribe": {"channel": "news"}}))[0]
    before = leaning.samples()
    data = {"text": "what is said to many is said the same way " * 40, "number": 1}
    assert "error" not in (await ask(publisher, {"publish": {"channel": "news", "data": data}}))[0]
    for subscriber in subscribers:
        assert await pushed(subscriber) == data
    after = leaning.samples()
    plain, deflated = (after[name] - before[name] for name in (PLAIN, DEFLATED))
    size = len(json.dumps(data))
    assert size < plain < 2 * size, "three subscribers deflate, and one of them has too small a window"
    assert deflated < plain / 5
    for client in [*subscribers, publisher]:
        await client.close()


async def test_windows_stay_within_their_budget(leaning):
    said = []
    clients = []
    for _ in range(4):
        clients.append(await connect(leaning, offer=Deflate()))
        said.append("client_no_context_takeover" in agreed(clients[-1]))
    assert said == [False, False, True, True], "two windows of 32 KiB are allowed"
    assert leaning.samples()[WINDOWS] == 65536
    for number, client in enumerate(clients):
        for _ in range(3):
            text = f"client {number} says the same again and again " * 30
            await client.send(text)
            assert await client.recv() == text
        await client.close()
    async with connect(leaning, offer=Deflate()) as late:
        assert "client_no_context_takeover" not in agreed(late), "what has ended gives its window back"
