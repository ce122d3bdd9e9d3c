"""The upgrade request: what is accepted, and what a refusal says. Bad requests are in ../../hostile."""

import asyncio
import json

import pytest

import raw
from conftest import cases
from raw import HOLD, Client, Rejected, exchange, request


@cases(
    "sent, status, header, value",
    [
        ("a method", lambda s: request(s).replace(b"GET", b"POST", 1), 405, "allow", "GET"),
        ("a version", lambda s: request(s, version="8"), 426, "sec-websocket-version", "13"),
        ("no upgrade", lambda s: request(s, headers=[("Upgrade", HOLD)]), 426, "sec-websocket-version", "13"),
    ],
)
async def test_a_refusal_says_what_is_allowed(server, sent, status, header, value):
    got, headers = await exchange(server, sent(server))
    assert (got, headers[header]) == (status, value)


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
