"""The upgrade request: what is accepted, and which status each kind of bad request gets."""

import asyncio
import json

import pytest

import raw
from conftest import cases
from raw import HOLD, Client, Rejected, exchange, request

HUGE = "x" * 20_000


@cases(
    "sent, status",
    [
        ("garbage", lambda s: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        ("no version", lambda s: b"GET /connection/websocket\r\n\r\n", 400),
        ("a space in a header name", lambda s: request(s, headers=[("Bad Name", "1")]), 400),
        ("no host", lambda s: request(s, headers=[("Host", HOLD)]), 400),
        ("no key", lambda s: request(s, headers=[("Sec-WebSocket-Key", HOLD)]), 400),
        ("a key that is no base64", lambda s: request(s, key="!" * 24), 400),
        ("a key of 8 bytes", lambda s: request(s, key="c2hvcnRrZXk="), 400),
        ("post", lambda s: request(s).replace(b"GET", b"POST", 1), 405),
        ("no upgrade", lambda s: request(s, headers=[("Upgrade", HOLD), ("Connection", "keep-alive")]), 426),
        ("another upgrade", lambda s: request(s, headers=[("Upgrade", "h2c")]), 426),
        ("version 8", lambda s: request(s, version="8"), 426),
        ("no version of the protocol", lambda s: request(s, headers=[("Sec-WebSocket-Version", HOLD)]), 426),
        ("a long header", lambda s: request(s, headers=[("X-Long", HUGE)]), 431),
        ("a long path", lambda s: request(s, path="/" + HUGE), 431),
        ("many headers", lambda s: request(s, headers=[(f"X-{n}", "1") for n in range(500)]), 431),
        ("a body", lambda s: request(s, headers=[("Content-Length", "5")]) + b"hello", 413),
        ("a chunked body", lambda s: request(s, headers=[("Transfer-Encoding", "chunked")]), 413),
        ("an unknown path", lambda s: request(s, path="/nowhere"), 404),
        ("http/1.0", lambda s: request(s).replace(b"HTTP/1.1", b"HTTP/1.0", 1), 505),
    ],
)
async def test_bad_request(server, sent, status):
    got, headers = await exchange(server, sent(server))
    assert got == status
    if status == 405:
        assert headers["allow"] == "GET"
    if status == 426:
        assert headers["sec-websocket-version"] == "13"


async def test_rejection_ends_the_connection(server):
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(request(server, path="/nowhere"))
    await raw.read_head(reader)
    await asyncio.wait_for(reader.read(), raw.WAIT_SECONDS)
    writer.close()


async def test_accept_key_of_the_rfc(server):
    status, headers = await exchange(server, request(server))
    assert status == 101
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    "offered, chosen",
    [
        (None, None),
        ("", None),
        ("centrifuge-json", "centrifuge-json"),
        ("centrifuge-protobuf", "centrifuge-protobuf"),
        ("something, centrifuge-protobuf", "centrifuge-protobuf"),
        ("something", None),
    ],
)
async def test_subprotocol(server, offered, chosen):
    async with await Client.open(server, protocol=offered) as client:
        assert client.headers.get("sec-websocket-protocol") == chosen


@pytest.mark.parametrize("query", ["format=protobuf", "cf_protocol=protobuf", "a=b&format=protobuf&c"])
async def test_protobuf_by_query(server, query):
    async with await Client.open(server, path=f"/connection/websocket?{query}") as client:
        assert "sec-websocket-protocol" not in client.headers
        await client.frame(raw.BINARY, b"\x04\x08\x01\x22\x00")  # id 1, connect {}
        kind, payload = await client.message()
        assert kind == raw.BINARY
        assert payload[1:4] == b"\x08\x01\x2a", "id 1, then the connect result (tag 5)"


async def test_declined_extension(server):
    async with await Client.open(
        server, headers=[("Sec-WebSocket-Extensions", "permessage-deflate")]
    ) as client:
        assert "sec-websocket-extensions" not in client.headers
        assert "connect" in await client.connect()


async def test_head_in_single_bytes(server):
    async with await Client.open(server, trickle=True) as client:
        await client.send(raw.frame(raw.TEXT, '{"id":1,"connect":{}}'), trickle=True)
        assert "connect" in await client.hear()


async def test_head_and_first_message_in_one_packet(server):
    following = raw.frame(raw.TEXT, '{"id":1,"connect":{}}')
    async with await Client.open(server, following=following) as client:
        assert "connect" in await client.hear()


@pytest.mark.parametrize(
    "origin, status",
    [
        ("https://evil.example", 403),
        ("https://app.example", 101),
        ("https://app.example.evil", 403),
        ("null", 403),
        (None, 101),
    ],
)
async def test_origin(guarded, origin, status):
    headers = [("Origin", origin)] if origin else []
    got, _ = await exchange(guarded, request(guarded, headers=headers))
    assert got == status


async def test_own_origin(guarded):
    headers = [("Origin", f"http://{guarded.host}:{guarded.port}")]
    assert (await exchange(guarded, request(guarded, headers=headers)))[0] == 101


async def test_unfinished_head_is_given_up(quick):
    reader, writer = await asyncio.open_connection(quick.host, quick.port)
    writer.write(request(quick)[:-2])
    await asyncio.wait_for(reader.read(), raw.WAIT_SECONDS)
    writer.close()


async def test_silent_connection_is_given_up(quick):
    reader, writer = await asyncio.open_connection(quick.host, quick.port)
    await asyncio.wait_for(reader.read(), raw.WAIT_SECONDS)
    writer.close()


async def test_full_node_answers_503(start):
    server = start("--insecure", config="[limits]\nconnections = 4\n", shards=1)
    held = [await raw.joined(server) for _ in range(4)]
    with pytest.raises(Rejected) as refused:
        await Client.open(server)
    assert refused.value.status == 503
    assert int(refused.value.headers["retry-after"]) > 0
    held.pop().writer.close()
    for _ in range(100):
        try:
            held.append(await raw.joined(server))
            break
        except Rejected:
            await asyncio.sleep(0.05)
    else:
        raise AssertionError("the freed slot was not given out again")
    for client in held:
        client.writer.close()


async def test_echo_is_off_unless_asked_for(guarded):
    assert (await exchange(guarded, request(guarded, path="/echo")))[0] == 404


async def test_health_answers_beside_bad_requests(server):
    assert server.get("/health")[0] == 200
    async with await raw.joined(server, "beside") as client:
        reply = await client.ask(publish={"channel": "beside", "data": json.loads("[1]")})
        assert reply["publish"] == {}
