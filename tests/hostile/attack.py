"""One hostile connection: what it sends, and what comes of it.

Outcomes are words that the corpus uses: `HTTP 400`, `close 1002`, `error 106`, `served` (the connection still answers),
`ended` (the server has ended it), `silence` (no datagram came back), `left` (it went by itself).
"""

import asyncio
import re
import socket
import struct

import parts
import raw

# What the server sends as a ping, and wants back: in JSON, and in Protobuf.
PINGS = {b"{}", b"\x00"}
ALIVE = b"are you there"
ERROR = re.compile(rb'"error":{"code":(\d+)')
TCP_CLOSE, TCP_CLOSE_WAIT = 7, 8
SILENCE_S = 0.3


class Attack:
    def __init__(self, row, harbour, source):
        self.row = row
        self.door = row["door"]
        self.server, self.address = harbour.door(self.door)
        self.trust = harbour.trust if self.door.startswith("tls /") else None
        # An unfinished frame would take the question whether the connection goes on for its own.
        self.goes_on = any(expected.startswith(("served", "error")) for expected in outcomes(row))
        self.source = source
        self.sent = 0
        self.outcome = None
        self.errors = set()
        self.reader = self.writer = self.client = None

    async def run(self):
        """Ends with `outcome`."""
        if self.door == "gossip":
            self.outcome = await self.throw()
            return
        try:
            await self.enter()
        except raw.Rejected as rejected:
            self.outcome = f"HTTP {rejected.status}"
            return
        except (ConnectionError, asyncio.IncompleteReadError):
            self.outcome = "ended"
            return
        if not self.row.get("reads", True):
            self.writer.transport.pause_reading()
            await self.send()
            await self.gone()
            return
        sending = asyncio.create_task(self.send())
        hearing = asyncio.create_task(self.hear())
        try:
            await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            if hearing.done() or self.outcome != "left":
                await hearing
        finally:
            sending.cancel()
            hearing.cancel()
            await asyncio.gather(sending, hearing, return_exceptions=True)

    async def enter(self):
        """Connects, and goes as far as the door is from the street."""
        options = {"local_addr": (self.source, 0)}
        if self.trust:
            options |= {"ssl": self.trust, "server_hostname": "127.0.0.1"}
        path = {"joined": "/connection/websocket", "protobuf": "/connection/websocket"}.get(self.door, self.door)
        path = path.removeprefix("tls ")
        if not path.startswith("/"):
            self.reader, self.writer = await asyncio.open_connection(*self.address, **options)
            return
        headers = {"Sec-WebSocket-Extensions": "permessage-deflate"} if self.row.get("deflates") else {}
        protocol = "centrifuge-protobuf" if self.door == "protobuf" else None
        self.client = await raw.Client.open(self.server, path, protocol, headers, **options)
        self.reader, self.writer = self.client.reader, self.client.writer
        if self.door == "joined":
            reply = await self.client.connect()
            assert "connect" in reply, reply

    async def send(self):
        try:
            for number in range(self.row.get("again", 1)):
                for part in parts.plan(self.row["send"], self.server):
                    await self.do(part)
            if self.client and self.goes_on:
                await self.do(raw.frame(raw.PING, ALIVE))
        except (ConnectionError, RuntimeError):
            pass  # The server has ended it; who hears says how.

    async def do(self, part):
        if isinstance(part, parts.Pause):
            await asyncio.sleep(part.seconds)
        elif isinstance(part, parts.Finish):
            self.writer.write_eof()
        elif isinstance(part, parts.Reset):
            endpoint = self.writer.get_extra_info("socket")
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.outcome = "left"
            self.writer.transport.abort()
        else:
            self.writer.write(part)
            self.sent += len(part)
            await self.writer.drain()

    async def hear(self):
        try:
            if self.client:
                self.outcome = await self.hear_frames()
            elif self.door in ("street", "admin"):
                self.outcome = await self.hear_head()
            else:
                self.outcome = await self.hear_end()
        except (raw.Ended, ConnectionError, asyncio.IncompleteReadError):
            self.outcome = self.outcome or "ended"

    async def hear_frames(self):
        heard = bytearray()
        while True:
            taken, frames = raw.frames(heard)
            del heard[:taken]
            for opcode, payload in frames:
                if outcome := await self.hear_frame(opcode, payload):
                    return outcome
            more = await self.reader.read(1 << 18)
            if not more:
                return "ended"
            heard += more

    async def hear_frame(self, opcode, payload):
        """What has come of it, if something has."""
        if opcode == raw.CLOSE:
            code, reason = raw.close_of(payload)
            assert reason or code in (None, 1000), "SDKs ignore the code of a close without a reason"
            self.outcome = f"close {code}"
            await self.do(raw.close_frame(code))
            await self.client.ended()
            return self.outcome
        if (opcode, payload) == (raw.PONG, ALIVE):
            return f"error {max(self.errors)}" if self.errors else "served"
        if opcode in (raw.TEXT, raw.BINARY) and self.door in ("joined", "protobuf"):
            await self.hear_message(opcode, payload)

    async def hear_message(self, opcode, payload):
        if payload in PINGS and self.row.get("answers", True):
            await self.do(raw.frame(opcode, payload))
        elif payload not in PINGS and opcode == raw.TEXT:
            # Thousands of replies are looked at, not read.
            self.errors |= {int(code) for code in ERROR.findall(payload)}

    async def hear_head(self):
        status, _ = await raw.read_head(self.reader)
        if status != 101 and self.door == "street":
            # A refused request ends its connection: what follows it is nobody's request.
            while await self.reader.read(1 << 16):
                pass
        return f"HTTP {status}"

    async def hear_end(self):
        while await self.reader.read(1 << 16):
            pass
        return "ended"

    async def gone(self):
        """Of a client that does not read: it is told nothing, and ended."""
        endpoint = self.writer.get_extra_info("socket")
        patience = self.row["patience_s"]
        for _ in range(int(patience * 20)):
            if self.writer.transport.is_closing():
                self.outcome = "ended"
                return
            if endpoint.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in (TCP_CLOSE, TCP_CLOSE_WAIT):
                self.outcome = "ended"
                return
            await asyncio.sleep(0.05)
        self.writer.transport.resume_reading()
        await self.hear_end()
        self.outcome = "ended"

    async def throw(self):
        """Datagrams, to which nobody answers."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
            endpoint.setblocking(False)
            endpoint.bind((self.source, 0))
            for part in parts.plan(self.row["send"], self.server):
                await loop.sock_sendto(endpoint, part, self.address)
                self.sent += len(part)
            try:
                answer = await asyncio.wait_for(loop.sock_recv(endpoint, 2048), SILENCE_S)
                return f"an answer of {len(answer)} bytes"
            except asyncio.TimeoutError:
                return "silence"

    def leave(self):
        if self.writer:
            self.writer.transport.abort()


def outcomes(row):
    """Those that the row allows."""
    return row["expect"] if isinstance(row["expect"], list) else [row["expect"]]
