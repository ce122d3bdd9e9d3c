"""RFC 6455 on /echo and on the client endpoint: what is echoed, and which close code each violation gets."""

import asyncio
import os
import random
import struct

import pytest

import raw
from conftest import cases
from raw import BINARY, CONTINUATION, PING, PONG, TEXT, Client, close_frame, frame

ENDPOINTS = ["/echo", "/connection/websocket"]
KIB = 1024


@pytest.mark.parametrize("path", ENDPOINTS)
@cases(
    "sent, code",
    [
        ("no mask", frame(TEXT, "{}", mask=False), 1002),
        ("no mask on a ping", frame(PING, mask=False), 1002),
        ("rsv1", frame(TEXT, "{}", rsv=4), 1002),
        ("rsv2", frame(TEXT, "{}", rsv=2), 1002),
        ("rsv3", frame(TEXT, "{}", rsv=1), 1002),
        ("rsv1 on a ping", frame(PING, rsv=4), 1002),
        ("opcode 3", frame(3, "{}"), 1002),
        ("opcode 7", frame(7, "{}"), 1002),
        ("opcode 11", frame(11), 1002),
        ("opcode 15", frame(15), 1002),
        ("a fragmented ping", frame(PING, fin=False), 1002),
        ("a fragmented close", frame(raw.CLOSE, fin=False), 1002),
        ("a ping of 126 bytes", frame(PING, b"p" * 126), 1002),
        ("a close of 126 bytes", frame(raw.CLOSE, struct.pack(">H", 1000) + b"r" * 124), 1002),
        ("a continuation of nothing", frame(CONTINUATION, "{}"), 1002),
        ("a message inside a message", frame(TEXT, "{", fin=False) + frame(TEXT, "}"), 1002),
        ("a length with its highest bit", frame(TEXT, length=1 << 63), 1002),
        ("a close of one byte", frame(raw.CLOSE, b"\x03"), 1002),
        ("invalid utf-8", frame(TEXT, b"\xff\xfe"), 1007),
        ("overlong utf-8", frame(TEXT, b"\xc0\xaf"), 1007),
        ("a surrogate in utf-8", frame(TEXT, b"\xed\xa0\x80"), 1007),
        ("utf-8 past the last code point", frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
        ("truncated utf-8", frame(TEXT, b"\xe2\x82"), 1007),
        (
            "invalid utf-8 across fragments",
            frame(TEXT, b"\xe2", fin=False) + frame(CONTINUATION, b"\x28\xa1"),
            1007,
        ),
        ("invalid utf-8 in a frame that is not complete", frame(TEXT, b"\xff", length=1000), 1007),
        ("invalid utf-8 in a close reason", close_frame(1000, b"\xff\xff"), 1007),
        ("an announced size past every limit", frame(BINARY, length=1 << 40), 1009),
    ],
)
async def test_violation(server, path, sent, code):
    async with await Client.open(server, path) as client:
        await client.send(sent)
        got, reason = await client.closed()
        assert got == code
        assert reason, "SDKs ignore the code of a close without a reason"
        await client.ended()


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
async def test_close_code_that_may_not_be_sent(server, path, code):
    async with await Client.open(server, path) as client:
        await client.send(close_frame(code, b"bye"))
        assert (await client.closed())[0] == 1002


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


@pytest.mark.parametrize("path, limit", [("/connection/websocket", 64 * KIB), ("/echo", 16 * 1024 * KIB)])
@pytest.mark.parametrize("fragments", [1, 3])
async def test_oversized_message(server, path, limit, fragments):
    async with await Client.open(server, path) as client:
        part = limit // fragments + 1
        for n in range(fragments):
            head = frame(CONTINUATION if n else TEXT, b"x" * part, fin=n + 1 == fragments)
            try:
                await client.send(head)
            except ConnectionError:
                break  # the server stopped reading, and has said why
        assert (await client.closed())[0] == 1009


async def test_too_many_fragments(server):
    async with await Client.open(server, "/echo") as client:
        await client.send(frame(TEXT, "x", fin=False) + frame(CONTINUATION, "x", fin=False) * 2000)
        assert (await client.closed())[0] == 1009


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


async def test_clients_that_do_not_read_leave_others_alone(server):
    """Echo clients that send and never read cannot hold up anybody else."""
    stuck = [await Client.open(server, "/echo") for _ in range(8)]
    payload = frame(BINARY, bytes(256 * KIB))
    for client in stuck:
        for _ in range(40):
            client.writer.write(payload)
    publisher = await raw.joined(server)
    subscriber = await raw.joined(server, "aside")
    for n in range(50):
        assert (await publisher.ask(publish={"channel": "aside", "data": n}))["publish"] == {}
        assert (await subscriber.publication("aside"))["data"] == n
    for client in stuck:
        client.writer.transport.abort()
    publisher.writer.close()
    subscriber.writer.close()


@pytest.mark.parametrize("begun", [frame(TEXT, "half", fin=False), frame(TEXT, "x", length=100), b"\x81"],
                         ids=["a fragment", "a part of a frame", "a part of a header"])  # fmt: skip
async def test_a_message_must_be_finished_in_time(start, begun):
    server = start("--insecure", "--echo", config="[client]\nmessage_timeout_s = 1\nping_s = 0\n")
    async with (
        await Client.open(server, "/echo") as stuck,
        await Client.open(server, "/echo") as good,
        await Client.open(server) as client,
    ):
        await client.connect()
        await stuck.send(begun)
        await client.send(begun)
        for n in range(30):
            await good.frame(TEXT, str(n))
            assert await good.message() == (TEXT, str(n).encode())
            await asyncio.sleep(0.1)
        assert (await stuck.closed())[0] == 1008
        assert (await client.closed())[0] == 3008
