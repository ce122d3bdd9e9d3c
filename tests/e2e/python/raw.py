"""A WebSocket client that can do everything wrong: every byte it sends is the caller's choice.

It checks what a server may send (no mask, known opcodes, no reserved bits) and never waits longer than WAIT_SECONDS.
"""

import asyncio
import base64
import hashlib
import json
import os
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
WAIT_SECONDS = 15
HOLD = object()


class Rejected(Exception):
    """The server answered the upgrade with something other than 101."""

    def __init__(self, status, headers):
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers


class Ended(Exception):
    """The peer closed the TCP connection."""


def frame(opcode, payload=b"", fin=True, rsv=0, mask=True, length=None, key=None):
    """One frame; `length` overrides the declared length, `mask=False` breaks the rule for clients."""
    payload = payload.encode() if isinstance(payload, str) else payload
    size = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 1 << 16:
        head += struct.pack(">BH", bit | 126, size)
    else:
        head += struct.pack(">BQ", bit | 127, size)
    if not mask:
        return head + payload
    key = key or os.urandom(4)
    return head + key + xor(payload, key)


def xor(payload, key):
    size = len(payload)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def close_frame(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)


def request(
    server,
    path="/connection/websocket",
    protocol=None,
    headers=(),
    version="13",
    key="dGhlIHNhbXBsZSBub25jZQ==",
    encoding="utf-8",
):
    """The text of an upgrade request; a header given as (name, HOLD) is left out."""
    lines = {
        "Host": f"{server.host}:{server.port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": version,
    }
    if protocol is not None:
        lines["Sec-WebSocket-Protocol"] = protocol
    lines.update(headers)
    shown = [f"{name}: {value}" for name, value in lines.items() if value is not HOLD]
    return "\r\n".join([f"GET {path} HTTP/1.1", *shown, "", ""]).encode(encoding)


async def exchange(server, sent):
    """Sends bytes on a new connection and reads the head of the answer: (status, headers)."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(sent)
        await writer.drain()
        return await read_head(reader)
    finally:
        writer.close()


async def read_head(reader):
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_SECONDS)
    first, *rest = head.decode("latin-1").strip().split("\r\n")
    version, status, *_ = first.split(" ")
    assert version == "HTTP/1.1", first
    return int(status), {
        name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in rest)
    }


class Client:
    """An open WebSocket connection."""

    def __init__(self, reader, writer, headers):
        self.reader = reader
        self.writer = writer
        self.headers = headers
        self.queued = []
        self.next_id = 0

    @staticmethod
    async def open(
        server,
        path="/connection/websocket",
        protocol=None,
        headers=(),
        trickle=False,
        following=b"",
        **connection,
    ):
        """Upgrades. `trickle` sends one byte at a time; `following` goes into the same packet as the head; `connection` is
        for `asyncio.open_connection`."""
        key = base64.b64encode(os.urandom(16)).decode()
        reader, writer = await asyncio.open_connection(server.host, server.port, **connection)
        head = request(server, path, protocol, headers, key=key) + following
        try:
            await write(writer, head, trickle)
            status, answer = await read_head(reader)
        except BaseException:
            writer.close()
            raise
        if status != 101:
            writer.close()
            raise Rejected(status, answer)
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        assert answer["sec-websocket-accept"] == accept
        assert answer["upgrade"].lower() == "websocket" and answer["connection"].lower() == "upgrade"
        return Client(reader, writer, answer)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    async def send(self, data, trickle=False):
        """Bytes as they are."""
        await write(self.writer, data, trickle)

    async def frame(self, *arguments, **options):
        await self.send(frame(*arguments, **options))

    async def read_frame(self):
        """(opcode, fin, payload) of the next frame."""
        try:
            return await asyncio.wait_for(self._read_frame(), WAIT_SECONDS)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Ended from error

    async def _read_frame(self):
        first, second = await self.reader.readexactly(2)
        opcode = opcode_of(first, second)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
            assert size > 125, "the server used a longer length than needed"
        elif size == 127:
            (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
            assert size > 65535, "the server used a longer length than needed"
        return opcode, bool(first & 0x80), await self.reader.readexactly(size)

    async def message(self):
        """(opcode, payload) of the next data message; pings are not answered, a close raises."""
        kind, parts = None, []
        while True:
            opcode, fin, payload = await self.read_frame()
            if opcode == CLOSE:
                raise AssertionError(f"the server closed: {close_of(payload)}")
            if opcode in (PING, PONG):
                continue
            kind = kind or opcode
            parts.append(payload)
            if fin:
                return kind, b"".join(parts)

    async def closed(self):
        """(code, reason) of the close frame; what comes before it is dropped. Answers it, as a client must."""
        while True:
            opcode, _, payload = await self.read_frame()
            if opcode == CLOSE:
                code, reason = close_of(payload)
                await self.send(close_frame(code))
                return code, reason

    async def ended(self):
        """Waits for the end of the TCP connection, whatever is said before it."""
        try:
            while await asyncio.wait_for(self.reader.read(1 << 16), WAIT_SECONDS):
                pass
        except ConnectionError:
            pass

    # The JSON client protocol.

    async def say(self, *commands):
        """Sends commands as one message."""
        await self.frame(TEXT, "\n".join(json.dumps(command) for command in commands))

    async def hear(self):
        """The next reply or push, pings included."""
        while not self.queued:
            kind, payload = await self.message()
            assert kind == TEXT, "JSON goes in text frames"
            lines = payload.decode().split("\n")
            assert all(lines), f"an empty line in {payload!r}"
            self.queued = [json.loads(line) for line in lines]
        return self.queued.pop(0)

    async def ask(self, **command):
        """Sends one command and returns its reply; pushes and pings before it are dropped."""
        self.next_id += 1
        await self.say({"id": self.next_id, **command})
        while True:
            reply = await self.hear()
            if reply.get("id") == self.next_id:
                return reply

    async def connect(self, **connect):
        return await self.ask(connect=connect)

    async def subscribe(self, channel):
        reply = await self.ask(subscribe={"channel": channel})
        assert "subscribe" in reply, reply

    async def publication(self, channel=None):
        """The next publication (of a channel)."""
        while True:
            push = (await self.hear()).get("push", {})
            if "pub" in push and channel in (None, push["channel"]):
                return push["pub"]


def opcode_of(first, second):
    """The opcode of a frame that may begin like this."""
    assert first & 0x70 == 0, f"the server set reserved bits: {first:#x}"
    assert second & 0x80 == 0, "the server masked a frame"
    opcode = first & 0x0F
    assert opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG), f"the server sent opcode {opcode}"
    return opcode


def frames(heard):
    """The whole frames at the front of what was heard, as (opcode, payload): how many octets they are, and they."""
    at, found = 0, []
    while len(heard) - at >= 2:
        opcode, size, begin = opcode_of(heard[at], heard[at + 1]), heard[at + 1], at + 2
        if size > 125:
            begin = at + (4 if size == 126 else 10)
            size = int.from_bytes(heard[at + 2 : begin], "big")
        if len(heard) < begin + size:
            break
        found.append((opcode, bytes(heard[begin : begin + size])))
        at = begin + size
    return at, found


def close_of(payload):
    if not payload:
        return None, ""
    return struct.unpack(">H", payload[:2])[0], payload[2:].decode()


async def write(writer, data, trickle):
    if not trickle:
        writer.write(data)
        await writer.drain()
        return
    for at in range(len(data)):
        writer.write(data[at : at + 1])
        await writer.drain()
        await asyncio.sleep(0)


async def joined(server, *channels, connection=None, **connect):
    """A client that has connected and subscribed."""
    client = await Client.open(server, **(connection or {}))
    reply = await client.connect(**connect)
    assert "connect" in reply, reply
    client.id = reply["connect"]["client"]
    for channel in channels:
        await client.subscribe(channel)
    return client
