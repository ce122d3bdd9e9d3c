"""Clients that send a byte now and then: none of them is waited for longer than one that sends nothing, and others are served meanwhile."""

import asyncio
import json
import os
import ssl

import pytest

import raw
from authority import Authority
from conftest import SECRET
from raw import Client, close_of, frame, request
from tokens import token

QUICK = """
[client]
handshake_timeout_s = 1
message_timeout_s = 1
stale_close_s = 5
close_timeout_s = 1
ping_s = 3
pong_timeout_s = 2
"""
# A byte comes so often that each would be in time if it began a new second, and a pong among others well within its time.
PAUSE = 0.05
# Until then who is not waited for must be gone; far more than any limit here, and far less than the bytes would take.
GONE_SECONDS = 15
ENDLESS = 1_000
LATE = ("roadstead_guard_late_total", (("kind", "message"),))
FAULTS = ("roadstead_guard_faults_total", (("kind", "handshake"),))


async def trickle(writer, data):
    """Sends the bytes one by one, until the peer has had enough."""
    try:
        for at in range(len(data)):
            writer.write(data[at : at + 1])
            await writer.drain()
            await asyncio.sleep(PAUSE)
    except ConnectionError:
        pass


async def said(reader):
    """Everything up to the end of the connection."""
    try:
        return await asyncio.wait_for(reader.read(), GONE_SECONDS)
    except ConnectionError:
        return b""


async def while_trickling(writer, data, heard):
    """What `heard` gives while the bytes trickle."""
    sending = asyncio.create_task(trickle(writer, data))
    try:
        return await heard
    finally:
        sending.cancel()
        writer.close()


@pytest.fixture
def quick_server(start):
    return start("--insecure", "--echo", config=QUICK)


@pytest.fixture
def encrypted(start, tmp_path):
    authority = Authority(tmp_path / "authority")
    cert, key = authority.issue("node", "DNS:node.example")
    server = start("--insecure", "--echo", "--tls-cert", cert, "--tls-key", key, config=QUICK)
    server.authority = authority
    return server


async def assert_serves(server, context=None):
    """Others are served as if nothing were."""
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context)
    writer.write(request(server, path="/echo") + frame(raw.TEXT, "well"))
    await writer.drain()
    assert (await raw.read_head(reader))[0] == 101
    assert await asyncio.wait_for(reader.readexactly(6), raw.WAIT_SECONDS) == b"\x81\x04well"
    writer.close()


async def test_a_request_that_trickles(quick_server):
    reader, writer = await asyncio.open_connection(quick_server.host, quick_server.port)
    head = request(quick_server, headers=[("X-Long", "x" * ENDLESS)])
    answer = await while_trickling(writer, head, said(reader))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert quick_server.samples()[FAULTS] == 1, "it counts against its source"
    await assert_serves(quick_server)


async def test_a_tls_handshake_that_trickles(encrypted):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="node.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    assert len(hello) * PAUSE > GONE_SECONDS, "else it might be whole in time"
    reader, writer = await asyncio.open_connection(encrypted.host, encrypted.port)
    await while_trickling(writer, hello, said(reader))
    assert encrypted.samples()[FAULTS] == 1, "it counts against its source"
    context = ssl.create_default_context(cafile=encrypted.authority.path)
    context.check_hostname = False
    await assert_serves(encrypted, context)


async def test_a_request_over_tls_that_trickles(encrypted):
    context = ssl.create_default_context(cafile=encrypted.authority.path)
    context.check_hostname = False
    reader, writer = await asyncio.open_connection(encrypted.host, encrypted.port, ssl=context)
    head = request(encrypted, headers=[("X-Long", "x" * ENDLESS)])
    answer = await while_trickling(writer, head, said(reader))
    assert answer.startswith(b"HTTP/1.1 408 ")


async def close_code(client):
    """The code of the close frame, past everything else."""
    while True:
        opcode, _, payload = await client.read_frame()
        if opcode == raw.CLOSE:
            return close_of(payload)[0]


@pytest.mark.parametrize("path, code", [("/echo", 1008), ("/connection/websocket", 3008)])
async def test_a_message_that_trickles(quick_server, path, code):
    client = await Client.open(quick_server, path + "?cf_ws_frame_ping_pong=true")
    if code == 3008:
        await client.connect()
    # Fragments of one byte, with pongs between them: pings are answered, and the message is never over.
    endless = frame(raw.TEXT, "[", fin=False) + ENDLESS * (frame(raw.CONTINUATION, " ", fin=False) + frame(raw.PONG))
    assert await while_trickling(client.writer, endless, close_code(client)) == code
    assert quick_server.samples()[LATE] == 1
    await assert_serves(quick_server)


async def test_fragments_that_come_whole(quick_server):
    client = await Client.open(quick_server, "/connection/websocket?cf_ws_frame_ping_pong=true")
    await client.connect()

    async def feed():
        await client.frame(raw.TEXT, "[", fin=False)
        while True:
            await client.send(frame(raw.CONTINUATION, " ", fin=False) + frame(raw.PONG))
            await asyncio.sleep(PAUSE)

    feeding = asyncio.create_task(feed())
    try:
        assert await asyncio.wait_for(close_code(client), GONE_SECONDS) == 3008
    finally:
        feeding.cancel()
        client.writer.close()


class Records:
    """A TLS client that holds its records in hand."""

    def __init__(self, reader, writer, authority):
        context = ssl.create_default_context(cafile=authority.path)
        context.check_hostname = False
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.reader, self.writer = reader, writer
        self.tls = context.wrap_bio(self.incoming, self.outgoing)

    async def until(self, step):
        """Tries until the library has read enough."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.writer.write(self.outgoing.read())
                received = await asyncio.wait_for(self.reader.read(1 << 16), raw.WAIT_SECONDS)
                assert received, "the server has ended the connection"
                self.incoming.write(received)

    def records(self, plain):
        self.tls.write(plain)
        return self.outgoing.read()


async def test_a_record_that_trickles(encrypted):
    reader, writer = await asyncio.open_connection(encrypted.host, encrypted.port)
    peer = Records(reader, writer, encrypted.authority)
    await peer.until(peer.tls.do_handshake)
    writer.write(peer.outgoing.read() + peer.records(request(encrypted, path="/echo")))
    head = await peer.until(lambda: peer.tls.read(1 << 16))
    assert head.startswith(b"HTTP/1.1 101 ")
    # Never whole, so that the server does not know what is in it.
    record = peer.records(frame(raw.TEXT, os.urandom(ENDLESS)))
    goodbye = await while_trickling(writer, record, peer.until(lambda: peer.tls.read(1 << 16)))
    assert goodbye[0] == 0x88 and close_of(goodbye[2:])[0] == 1008


async def test_who_never_connects(quick_server):
    client = await Client.open(quick_server, "/connection/websocket")
    # Pings of WebSocket are answered, and give no more time.
    pings = frame(raw.PING) * ENDLESS
    assert await while_trickling(client.writer, pings, close_code(client)) == 3502


async def test_who_fails_to_connect(start):
    server = start(config=QUICK + f'[token]\nhmac_secret = "{SECRET}"\n')
    client = await Client.open(server)
    reply = await client.connect(token=token(SECRET, sub="ann", exp=-60))
    assert reply["error"]["code"] == 109
    # Whatever else it says is not heard, and gives no more time.
    endless = ENDLESS * frame(raw.TEXT, json.dumps({"id": 2, "connect": {}}))
    assert await while_trickling(client.writer, endless, close_code(client)) == 3502
