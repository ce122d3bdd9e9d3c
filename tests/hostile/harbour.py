"""The servers that are attacked, the good clients on them, and what the servers' memory is.

Two nodes, since a listener speaks TLS or does not: one with everything that can be asked in clear, and a gossip and link port
of a fleet of its own; one with TLS.
"""

import asyncio
import os
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e", "python"))
import raw  # noqa: E402: their folder is named above
from authority import Authority  # noqa: E402
from roadstead import Server, free_port, split_address  # noqa: E402

# Times are short, so that rows which wait for them end; limits are the defaults, but that of messages on /echo.
CONFIG = """
insecure = true
echo = true
[compression]
enabled = true
[client]
handshake_timeout_s = 3
stale_close_s = 3
message_timeout_s = 2
close_timeout_s = 1
ping_s = 4
pong_timeout_s = 3
[limits]
slow_close_ms = 1_000
echo_message_bytes = "1MiB"
"""
CLUSTER = """
[cluster]
listen = "127.0.0.1:{port}"
key_file = "{key}"
alone = true
"""
PATIENCE_S = 10
PROOFS = 2
TOO_MANY = 111
LOST_S = 1


class Harbour:
    def __init__(self, io, folder):
        self.io = io
        self.folder = folder
        self.servers = []
        self.good = []
        self.trust = None

    async def open(self):
        """Starts the servers and lets good clients use what they serve, so that what is made once is made."""
        key = os.path.join(self.folder, "cluster.key")
        with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n")
        self.cluster = ("127.0.0.1", free_port())
        certificate, private = Authority(self.folder).issue("roadstead", "IP:127.0.0.1")
        self.trust = ssl.create_default_context(cafile=os.path.join(self.folder, "authority.pem"))
        clear = Server(config=CONFIG + CLUSTER.format(port=self.cluster[1], key=key), io=self.io)
        self.servers.append(clear)
        secret = Server("--tls-cert", certificate, "--tls-key", private, config=CONFIG, io=self.io)
        self.servers.append(secret)
        for server, options in self.ways():
            server.wait_ready()
            await warm(server, options)
            self.good.append(await Pair.begin(server, options))
        self.left_at_first = [resident(server)["VmRSS"] for server in self.servers]

    def ways(self):
        """The servers, and how to connect to them."""
        return zip(self.servers, ({}, {"ssl": self.trust, "server_hostname": "127.0.0.1"}))

    def door(self, name):
        """The server that a row attacks, and where."""
        clear, secret = self.servers
        if name.startswith("tls"):
            return secret, (secret.host, secret.port)
        if name in ("gossip", "links"):
            return clear, self.cluster
        if name == "admin":
            return clear, split_address(clear.ready["admin"])
        return clear, (clear.host, clear.port)

    def rounds(self):
        return [pair.rounds for pair in self.good]

    async def prove(self, rounds):
        """Waits until each good pair has exchanged messages anew."""
        for pair, before in zip(self.good, rounds):
            await pair.reach(max(before, pair.rounds) + PROOFS)

    async def mend(self):
        """Other good clients in place of those who were not served."""
        for number, (server, options) in enumerate(self.ways()):
            if self.good[number].task.done() and server.running():
                await self.good[number].stop()
                self.good[number] = await Pair.begin(server, options)

    def begin_costs(self):
        """Forgets the peak of memory; the memory now."""
        for server in self.servers:
            with open(f"/proc/{server.process.pid}/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        return [resident(server)["VmRSS"] for server in self.servers]

    def costs(self, before):
        """By how much memory has been above what it was, of both servers together."""
        peaks = [resident(server)["VmHWM"] for server in self.servers]
        return sum(max(0, peak - bytes) for peak, bytes in zip(peaks, before))

    def runs(self):
        return all(server.running() for server in self.servers)

    def log(self):
        """What servers that have died said last."""
        return "".join(f"exit code {server.process.poll()}\n{server.log()}" for server in self.servers if not server.running())

    async def close(self, left_bytes_max):
        """Ends everything; what was wrong with what is left of the attacks."""
        wrong = []
        for pair in self.good:
            await pair.stop()
        if not self.runs():
            return [self.log()]
        for server, first in zip(self.servers, self.left_at_first):
            sockets = await eventually_empty(server)
            if sockets:
                wrong.append(f"left behind: {sockets}")
            left = resident(server)["VmRSS"] - first
            if left > left_bytes_max:
                wrong.append(f"left behind: {left} bytes of memory")
            code, log = await asyncio.to_thread(server.stop), server.log(0)
            if code != 0 or "panicked" in log:
                wrong.append(f"exit code {code} after SIGTERM:\n{server.log()}")
        return wrong

    def remove(self):
        for server in self.servers:
            server.kill()
            server.remove()


class Pair:
    """A publisher and a subscriber that exchange messages all the time."""

    def __init__(self, publisher, subscriber):
        self.publisher, self.subscriber = publisher, subscriber
        self.rounds = 0
        self.moved = asyncio.Event()
        self.task = asyncio.create_task(self.talk())

    @staticmethod
    async def begin(server, options):
        subscriber = await raw.joined(server, "good", connection=options)
        return Pair(await raw.joined(server, connection=options), subscriber)

    async def talk(self):
        while True:
            received = asyncio.create_task(self.received(self.rounds))
            try:
                while not received.done():
                    # A node that is flooded may refuse a publication, or order it and lose it: then it is said again.
                    if await self.publish(self.rounds):
                        await asyncio.wait({received}, timeout=LOST_S)
                    else:
                        await asyncio.sleep(0.01)
                await received
            finally:
                received.cancel()
            self.rounds += 1
            self.moved.set()
            await asyncio.sleep(0.002)

    async def publish(self, number):
        """False: the node had no room for it (111), and it is to be tried again, as clients do."""
        try:
            await self.publisher.say({"id": number + 10, "publish": {"channel": "good", "data": number}})
        except ConnectionError:
            pass  # What is heard tells why.
        while True:
            reply = await hear(self.publisher)
            if reply.get("id") == number + 10:
                if reply.get("error", {}).get("code") == TOO_MANY:
                    return False
                assert reply["publish"] == {}, reply
                return True

    async def received(self, number):
        while True:
            push = (await hear(self.subscriber)).get("push")
            if push and push["pub"]["data"] == number:
                return
            assert not push or push["pub"]["data"] == number - 1, f"{push} instead of {number}"

    async def reach(self, rounds):
        async def wait():
            while self.rounds < rounds:
                self.moved.clear()
                waiting = asyncio.create_task(self.moved.wait())
                await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if self.task.done():
                    raise AssertionError(f"their connection failed: {self.task.exception()!r}")

        try:
            await asyncio.wait_for(wait(), PATIENCE_S)
        except asyncio.TimeoutError:
            raise AssertionError(f"nothing within {PATIENCE_S} s") from None

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        for client in (self.publisher, self.subscriber):
            client.writer.transport.abort()


async def hear(client):
    """The next reply or push; pings are answered."""
    while True:
        message = await client.hear()
        if message:
            return message
        await client.frame(raw.TEXT, "{}")


async def warm(server, options):
    """An echo, deflated and not, of the size of a large message."""
    deflates = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    for headers in ({}, deflates):
        for _ in range(4):
            async with await raw.Client.open(server, "/echo", headers=headers, **options) as client:
                await client.frame(raw.TEXT, "warm " * 1000)
                await client.message()


async def eventually_empty(server):
    """What sockets and input a server still holds when all of them have left; empty if nothing."""
    for _ in range(PATIENCE_S * 20):
        text = (await asyncio.to_thread(server.get, "/metrics"))[1]
        held = [line for line in text.splitlines() if line.startswith(("roadstead_connections{", "roadstead_inbound_bytes{"))]
        held = [line for line in held if float(line.rsplit(" ", 1)[1])]
        if not held:
            break
        await asyncio.sleep(0.05)
    return held


def resident(server):
    """Lines of /proc/PID/status in bytes; 0 of a process that has died."""
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as file:
        lines = (line.split() for line in file if line.startswith(("VmRSS", "VmHWM")))
        return {"VmRSS": 0, "VmHWM": 0} | {name[:-1]: int(kib) * 1024 for name, kib, _ in lines}
