"""A fleet of real nodes on loopback: its processes, SDK clients of two languages on them, a balancer before them.

A `Witness` sees everything that any client receives. From one publishing connection to one receiving connection
every channel must be in order, and nothing may come twice; that holds at any time, also while nodes come and go.
Whether everything arrives is asked of single rounds.
"""

import asyncio
import collections
import json
import os
import shutil
import tempfile
import time

from centrifuge import Client, ClientEventHandler, ReplyError, SubscriptionEventHandler

from conftest import GUARDED, SECRET
from roadstead import Server, command_line, free_port
from tokens import token

CREW = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "js", "crew.mjs")
WAIT_SECONDS = 15
# Rounds are bursts; here nobody is to be too slow for them.
LIMITS = """
[limits]
outbox_messages = 16384
outbox_bytes = "16MiB"
"""
DRAIN = {"shutdown.ready_delay_ms": 1_500, "shutdown.window_ms": 3_000}


async def eventually(true, seconds, what):
    """Asks `true`, a function or coroutine function, until it gives something true, and returns it."""
    end = time.monotonic() + seconds
    while True:
        value = true()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"not reached within {seconds} s: {what() if callable(what) else what}"
        await asyncio.sleep(0.05)


class Witness:
    """Judges what each client receives; see the module's head. Breaches are kept until `assert_clean`."""

    def __init__(self):
        self.breaches = []
        self.order = {}  # (receiver, channel, publishing connection) -> last number
        self.seen = collections.defaultdict(set)  # (receiver, channel) -> (publisher, number)
        self.direct = collections.defaultdict(list)  # receiver -> data on personal channels
        self.rounds = []

    def connected(self, receiver):
        """A new connection of a receiver: neither order nor repetition reach back to the one before."""
        for known in [key for key in self.order if key[0] == receiver]:
            del self.order[known]
        for known in [key for key in self.seen if key[0] == receiver]:
            del self.seen[known]

    def publication(self, receiver, channel, data, connection):
        if channel.startswith("#"):
            self.direct[receiver].append(data)
            return
        publisher, number = data
        last = self.order.get((receiver, channel, connection), -1)
        if number <= last:
            self.breaches.append(f"{receiver} on {channel}: {publisher} {number} after {last}")
        self.order[receiver, channel, connection] = number
        if (publisher, number) in self.seen[receiver, channel]:
            self.breaches.append(f"{receiver} on {channel}: {publisher} {number} twice")
        self.seen[receiver, channel].add((publisher, number))
        for missing in self.rounds:
            missing.discard((receiver, channel, publisher, number))

    def assert_clean(self):
        assert not self.breaches, self.breaches[:20]


class Device:
    """One SDK client as tests see it: `client` is its id, `happened` what happened to it after it was opened."""

    def __init__(self, fleet, name, node, encoding, channels):
        self.fleet = fleet
        self.name = name
        self.node = node
        self.encoding = encoding
        self.channels = channels
        self.client = None
        self.connections = 0
        self.happened = []
        self.number = 0

    def event(self, kind, *rest):
        if kind == "publication":
            self.fleet.witness.publication(self.name, *rest)
            return
        if kind == "connected":
            self.client = rest[0]
            self.connections += 1
            self.fleet.witness.connected(self.name)
        self.happened.append((kind, *rest))

    def subscribed(self):
        """How many subscriptions were answered lately."""
        return sum(event[0] == "subscribed" for event in self.happened)

    def undisturbed(self):
        """Asserts that nothing has happened since this was last asked."""
        happened, self.happened = self.happened, []
        assert not happened, f"{self.name} on {self.node}: {happened[:10]}"


class JsDevice(Device):
    """The SDK for JavaScript, in the process of all such clients."""

    async def open(self, url, given):
        order = {"url": url, "encoding": self.encoding, "token": given, "channels": self.channels}
        await self.fleet.crew.order("open", name=self.name, **order)

    async def publish(self, items):
        """Publishes [channel, data]s without waiting in between; of each the error code, or None."""
        return await self.fleet.crew.order("publish", name=self.name, items=items)

    async def close(self):
        await self.fleet.crew.order("close", name=self.name)


class Crew:
    """The process of the clients in JavaScript."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.process = None
        self.reading = None
        self.awaited = {}
        self.last_id = 0

    async def start(self):
        self.process = await asyncio.create_subprocess_exec(
            "node", CREW, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=64 << 20
        )
        self.reading = asyncio.create_task(self.read())

    async def read(self):
        while line := await self.process.stdout.readline():
            said = json.loads(line)
            for kind, name, *rest in said.get("events", ()):
                if name in self.fleet.devices:  # else it was closed meanwhile
                    self.fleet.devices[name].event(kind, *rest)
            if "id" in said:
                self.awaited.pop(said["id"]).set_result(said)
        for future in self.awaited.values():
            future.set_exception(AssertionError("the clients in JavaScript have ended"))

    async def order(self, what, **parts):
        self.last_id += 1
        future = asyncio.get_running_loop().create_future()
        self.awaited[self.last_id] = future
        self.process.stdin.write(json.dumps({"id": self.last_id, "do": what, **parts}).encode() + b"\n")
        said = await asyncio.wait_for(future, 3 * WAIT_SECONDS)
        assert "error" not in said, f"{what} {parts.get('name')}: {said['error']}"
        return said["result"]

    async def end(self):
        process, self.process = self.process, None
        if process:
            process.stdin.close()
            await asyncio.wait_for(process.wait(), WAIT_SECONDS)
            await self.reading


class PyDevice(Device):
    """The SDK for Python."""

    async def open(self, url, given):
        self.sdk = Client(
            url,
            events=Events(self),
            token=given,
            use_protobuf=self.encoding == "protobuf",
            min_reconnect_delay=0.05,
            max_reconnect_delay=0.2,
            proxy=None,
        )
        await self.sdk.connect()
        await self.sdk.ready(WAIT_SECONDS)
        subscriptions = [
            self.sdk.new_subscription(channel, events=ChannelEvents(self, channel)) for channel in self.channels
        ]
        for subscription in subscriptions:
            await subscription.subscribe()
        for subscription in subscriptions:
            await subscription.ready(WAIT_SECONDS)

    async def publish(self, items):
        """Publishes [channel, data]s, those of one channel one after the other; of each the error code, or None."""
        outcomes = [None] * len(items)
        by_channel = collections.defaultdict(list)
        for place, (channel, data) in enumerate(items):
            by_channel[channel].append((place, data))

        async def publish(channel, values):
            for place, data in values:
                packed = json.dumps(data).encode() if self.encoding == "protobuf" else data
                try:
                    await self.sdk.publish(channel, packed)
                except ReplyError as error:
                    outcomes[place] = error.code
                except Exception:  # the connection was lost: the outcome is not known
                    outcomes[place] = 0

        await asyncio.gather(*(publish(channel, values) for channel, values in by_channel.items()))
        return outcomes

    async def close(self):
        await self.sdk.disconnect()


class Events(ClientEventHandler):
    """What happens to a client in Python."""

    def __init__(self, device):
        self.device = device

    async def on_connected(self, ctx):
        self.device.event("connected", ctx.client)

    async def on_connecting(self, ctx):
        self.device.event("connecting", ctx.code)

    async def on_disconnected(self, ctx):
        self.device.event("disconnected", ctx.code)

    async def on_publication(self, ctx):
        publish(self.device, ctx.channel, ctx.pub)


class ChannelEvents(SubscriptionEventHandler):
    """What happens to a subscription in Python."""

    def __init__(self, device, channel):
        self.device = device
        self.channel = channel

    async def on_publication(self, ctx):
        publish(self.device, self.channel, ctx.pub)

    async def on_subscribing(self, ctx):
        self.device.event("subscribing", self.channel, ctx.code)

    async def on_subscribed(self, ctx):
        self.device.event("subscribed", self.channel)

    async def on_unsubscribed(self, ctx):
        self.device.event("unsubscribed", self.channel, ctx.code)


def publish(device, channel, publication):
    data = publication.data
    data = json.loads(data) if isinstance(data, bytes) else data
    device.event("publication", channel, data, publication.info.client if publication.info else None)


class Balancer:
    """What stands before a fleet: takes TCP connections to a node whose /ready says yes, in the order given."""

    def __init__(self, nodes):
        self.nodes = nodes  # a function: the nodes by preference
        self.server = None
        self.tasks = set()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        host, port = self.server.sockets[0].getsockname()
        self.url = f"ws://{host}:{port}/connection/websocket"

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            for node in self.nodes():
                try:
                    if (await asyncio.to_thread(node.get, "/ready"))[0] != 200:
                        continue
                    to_node = await asyncio.open_connection(node.host, node.port)
                except OSError:
                    continue
                await asyncio.gather(self.pass_on(reader, to_node[1]), self.pass_on(to_node[0], writer))
                return
        finally:
            self.tasks.discard(task)
            writer.close()

    async def pass_on(self, reader, writer):
        try:
            while bytes_read := await reader.read(1 << 16):
                writer.write(bytes_read)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def stop(self):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()


class Fleet:
    """Nodes by name, and the clients on them. `runner` is the loop that all coroutine tests with it share."""

    def __init__(self, nodes):
        self.runner = asyncio.Runner()
        self.folder = tempfile.mkdtemp(prefix="roadstead-fleet-")
        self.key_path = self.new_key("key")
        self.settings = nodes
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in nodes}
        self.nodes = {}
        self.past = []  # processes that have ended, or are strangers to the fleet
        self.devices = {}
        self.witness = Witness()
        self.crew = Crew(self)
        self.balancers = []

    def new_key(self, name):
        code, out, err = command_line("cluster-key")
        assert code == 0, err
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
            file.write(out)
        return path

    def process(self, name, address, join, key_path=None, listen="127.0.0.1:0", admin="127.0.0.1:0", **settings):
        """A node that is starting, whether it belongs to the fleet or not."""
        arguments = ["--node-name", name, "--cluster-listen", address, "--join", ",".join(join)]
        arguments += ["--cluster-key-file", key_path or self.key_path]
        for key, value in {**DRAIN, **settings.get("set", {})}.items():
            arguments += ["--set", f"{key}={value}"]
        return Server(
            *arguments, config=GUARDED + LIMITS, listen=[listen], admin=admin, shards=2, io=settings["io"]
        )

    def launch(self, name, **options):
        """Starts a node of the fleet, at the addresses it had before."""
        if name in self.nodes:
            options = {**self.nodes[name].ready, **options}
            self.past.append(self.nodes[name])
        places = {key: options[key] for key in ("listen", "admin") if key in options}
        self.nodes[name] = self.process(
            name, self.addresses[name], list(self.addresses.values()), **places, **self.settings[name]
        )
        return self.nodes[name]

    async def wait_ready(self, *names):
        await asyncio.gather(*(asyncio.to_thread(self.nodes[name].wait_ready) for name in names))

    def running(self):
        return {name: node for name, node in self.nodes.items() if node.running()}

    async def open(self, sdk, name, node, encoding, channels=(), user=None, balancer=None):
        """A client, connected and subscribed; its user is `user`, or named like it."""
        device = sdk(self, name, node, encoding, list(channels))
        self.devices[name] = device
        url = (balancer or self.nodes[node]).url
        await device.open(url, token(SECRET, sub=user or name))
        # The events come behind the call's return.
        await eventually(lambda: device.client and device.subscribed() == len(device.channels), WAIT_SECONDS, name)
        device.happened = []
        return device

    async def balancer(self, *names):
        """A balancer that prefers nodes in this order."""
        made = Balancer(lambda: [self.nodes[name] for name in names if self.nodes[name].running()])
        await made.start()
        self.balancers.append(made)
        return made

    def readers(self, channel):
        return [device for device in self.devices.values() if channel in device.channels]

    async def round(self, publishers, channels, each=1, seconds=WAIT_SECONDS, refused_ok=False):
        """Every publisher publishes `each` numbers on every channel, and every reader gets them.

        Gives what was refused and what did not arrive within `seconds`: both empty in a healthy fleet.
        """
        missing = set()
        self.witness.rounds.append(missing)

        async def publish(device):
            first = device.number
            device.number += each
            items = [[channel, [device.name, first + n]] for n in range(each) for channel in channels]
            for channel, (name, number) in items:
                missing.update((reader.name, channel, name, number) for reader in self.readers(channel))
            outcomes = await device.publish(items)
            return [(device.name, *item, code) for item, code in zip(items, outcomes) if code is not None]

        end = time.monotonic() + seconds
        try:
            refused = sum(await asyncio.gather(*(publish(device) for device in publishers)), [])
            while missing and time.monotonic() < end:
                await asyncio.sleep(0.02)
        finally:
            self.witness.rounds.remove(missing)
        return refused, missing

    async def whole_round(self, publishers, channels, each=1):
        """A round in which nothing may be refused or missing."""
        refused, missing = await self.round(publishers, channels, each)
        assert not refused, f"{len(refused)} refused: {refused[:10]}"
        assert not missing, f"{len(missing)} missing: {sorted(missing)[:10]}; {self.by_node(missing)}"
        self.witness.assert_clean()

    def by_node(self, missing):
        """How many are missing for each pair of the publisher's and the reader's node."""
        node = {name: device.node for name, device in self.devices.items()}
        return dict(collections.Counter(f"{node[who]} -> {node[reader]}" for reader, _, who, _ in missing))

    async def command(self, node, *arguments):
        """A command to a running node: (exit code, stdout, stderr)."""
        socket_path = self.nodes[node].socket_path
        return await asyncio.to_thread(command_line, *arguments, "--admin-socket", socket_path)

    async def ask(self, node, *arguments):
        """A query to a running node, as JSON."""
        code, out, err = await self.command(node, *arguments, "--output", "json")
        assert code == 0, f"{arguments} on {node}: exit code {code}: {out}{err}"
        return json.loads(out)

    async def where(self, node, user):
        """The connections of a user as a node finds them; None while its answer is not complete."""
        code, out, _ = await self.command(node, "where", "--user", user, "--output", "json")
        return json.loads(out)["connections"] if code == 0 else None

    def undisturbed(self, devices):
        for device in devices:
            device.undisturbed()

    def used(self):
        """All processes, for the logs beside a failure."""
        return self.past + list(self.nodes.values())

    async def close(self):
        """Ends all clients; may be called twice."""
        for device in self.devices.values():
            if isinstance(device, PyDevice):
                await device.close()
        self.devices.clear()
        await self.crew.end()
        while self.balancers:
            await self.balancers.pop().stop()

    def end(self):
        """Ends everything that still runs."""
        try:
            self.runner.run(self.close())
        finally:
            for node in self.used():
                node.kill()
                node.remove()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.runner.close()
