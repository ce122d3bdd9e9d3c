"""RFC 6455 on /echo and on the client endpoint: what is echoed, and how a close is answered. Violations are in ../../hostile."""

import asyncio
import os
import random

import pytest

import raw
from raw import BINARY, CONTINUATION, PING, PONG, TEXT, Client, close_frame, frame

ENDPOINTS = ["/echo", "/connection/websocket"]
KIB = 1024


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
)
async def test_close_code_is_answered_with_itself(server, path, code):
    async with await Client.open(server, path) as client:
        await client.send(close_frame(code, "grüße".encode()))
        opcode, _, payload = await client.read_frame()
        assert opcode == raw.CLOSE
        assert raw.close_of(payload)[0] == code
        await client.ended()


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_close_without_code(server, path):
    async with await Client.open(server, path) as client:
        await client.send(close_frame())
        opcode, _, payload = await client.read_frame()
        assert opcode == raw.CLOSE
        assert raw.close_of(payload)[0] in (None, 1000)
        await client.ended()


async def test_nothing_after_close_is_answered(server):
    async with await Client.open(server, "/echo") as client:
        await client.send(close_frame(1000) + frame(PING, "late") + frame(TEXT, "late"))
        opcode, _, _ = await client.read_frame()
        assert opcode == raw.CLOSE
        rest = await asyncio.wait_for(client.reader.read(), raw.WAIT_SECONDS)
        assert rest == b""


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_ping_is_answered(server, path):
    async with await Client.open(server, path) as client:
        for payload in (b"", b"hello", bytes(range(125))):
            await client.frame(PING, payload)
            assert await client.read_frame() == (PONG, True, payload)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 65537, 1024 * KIB, 16 * 1024 * KIB])
async def test_echo_of_size(server, size):
    sent = os.urandom(size)
    async with await Client.open(server, "/echo") as client:
        await client.frame(BINARY, sent)
        assert await client.message() == (BINARY, sent)


async def test_echo_of_text(server):
    text = "Grüße, 世界 🚢 " * 5000
    async with await Client.open(server, "/echo") as client:
        await client.frame(TEXT, text)
        assert await client.message() == (TEXT, text.encode())


async def test_echo_of_fragments_with_pings_between(server):
    text = "Grüße, 世界 🚢".encode()
    async with await Client.open(server, "/echo") as client:
        await client.frame(TEXT, text[:1], fin=False)
        for at in range(1, len(text)):
            await client.send(
                frame(PING, str(at)) + frame(CONTINUATION, text[at : at + 1], fin=at + 1 == len(text))
            )
        pongs = []
        while len(pongs) < len(text) - 1:
            opcode, _, payload = await client.read_frame()
            if opcode == PONG:
                pongs.append(payload)
            else:
                assert (opcode, payload) == (TEXT, text)
                text = None
        assert pongs == [str(at).encode() for at in range(1, len(pongs) + 1)]
        if text is not None:
            assert await client.message() == (TEXT, text)


async def test_echo_in_single_bytes(server):
    async with await Client.open(server, "/echo", trickle=True) as client:
        await client.send(frame(TEXT, "slow") + frame(TEXT, "x" * 300), trickle=True)
        assert await client.message() == (TEXT, b"slow")
        assert await client.message() == (TEXT, b"x" * 300)


async def test_echo_keeps_order_of_a_pipeline(server):
    async with await Client.open(server, "/echo") as client:
        await client.send(b"".join(frame(TEXT, str(n)) for n in range(5000)))
        for n in range(5000):
            assert await client.message() == (TEXT, str(n).encode())


@pytest.mark.limit(90)
async def test_random_bytes_leave_other_clients_alone(server):
    """Clients that send noise, under a seed, while a pair of good clients goes on talking."""
    noise = random.Random(20)
    publisher = await raw.joined(server)
    subscriber = await raw.joined(server, "calm")
    for round_number in range(150):
        path = noise.choice(ENDPOINTS)
        hostile = await Client.open(server, path)
        data = noise.randbytes(noise.randrange(1, 3000))
        if noise.random() < 0.5:
            data = frame(noise.choice([TEXT, BINARY]), data)
        try:
            await hostile.send(data)
            if noise.random() < 0.3:
                await hostile.send(frame(TEXT, data, length=noise.randrange(1 << 20)))
        except ConnectionError:
            pass
        reply = await publisher.ask(publish={"channel": "calm", "data": round_number})
        assert reply["publish"] == {}
        assert (await subscriber.publication("calm"))["data"] == round_number
        if noise.random() < 0.5:
            hostile.writer.transport.abort()
        else:
            hostile.writer.close()
    assert server.running() and server.get("/live")[0] == 200
    publisher.writer.close()
    subscriber.writer.close()
