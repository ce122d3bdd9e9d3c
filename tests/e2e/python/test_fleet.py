"""Three real nodes as one service: the same fleet, phase by phase, with SDK clients of both languages on it.

Node b has twice the weight of the others, so that it owns half of the channels; node a is on epoll, the others are on
io_uring. The tests build on each other and run in this order. Nothing here waits for a time to pass: everything is
waited for, with an end to the patience.
"""

import asyncio
import json
import os
import random
import socket
import time

import pytest

from conftest import SECRET
from fleet import DRAIN, Fleet, JsDevice, PyDevice, eventually
from roadstead import clean_environment, free_port

LOADGEN = os.environ.get("ROADSTEAD_LOADGEN", "")
RING = os.environ.get("ROADSTEAD_IO", "auto")
NODES = {
    "a": {"io": "epoll", "set": {"shutdown.ready_delay_ms": 4000}},
    "b": {"io": RING, "set": {"node.weight": 200}},
    "c": {"io": RING},
}
CHANNELS = [f"fleet-{n}" for n in range(100)]
COLD_START_SECONDS = 15
LOSS_SECONDS = 8
# Joins wait for their stability window before ownership moves.
JOIN_SECONDS = 20
# What a drained node's clients may take to be elsewhere: the delay, the window, and the SDKs' back-off with the way there.
MOVED_SECONDS = (DRAIN["shutdown.ready_delay_ms"] + DRAIN["shutdown.window_ms"]) / 1_000 + 10


@pytest.fixture(scope="module")
def fleet():
    fleet = Fleet(NODES)
    try:
        yield fleet
    finally:
        fleet.end()


async def agreed(fleet, names):
    """Waits until every node says that exactly `names` are alive and own channels; gives what one of them says."""
    said = {}

    async def agree():
        said.clear()
        for name in names:
            nodes = (await fleet.ask(name, "nodes"))["nodes"]
            said[name] = {node["name"]: node for node in nodes if node["state"] == "alive" and node["active"]}
        views = [
            {name: (node["incarnation"], node["ownership"]) for name, node in nodes.items()} for nodes in said.values()
        ]
        return all(view == views[0] and set(view) == set(names) for view in views)

    await eventually(agree, JOIN_SECONDS, lambda: said)
    return said[names[0]]


def sum_of(samples, metric, **labels):
    """The sum over all samples of a metric that have these labels."""
    wanted = set(labels.items())
    return sum(value for (name, found), value in samples.items() if name == metric and wanted <= set(found))


def members(fleet, *names):
    return [device for device in fleet.devices.values() if device.node in names and device.channels]


@pytest.mark.limit(60)
async def test_a_cold_fleet_finds_itself(fleet):
    """All start at once, with only each other to join through."""
    began = time.monotonic()
    for name in NODES:
        fleet.launch(name)
    await fleet.wait_ready(*NODES)
    for name in NODES:
        await eventually(
            lambda name=name: fleet.nodes[name].get("/ready")[0] == 200, COLD_START_SECONDS, f"{name} ready"
        )
    took = time.monotonic() - began
    assert took <= COLD_START_SECONDS, f"{took:.1f} s"
    nodes = await agreed(fleet, list(NODES))
    assert sum(node["ownership"] for node in nodes.values()) == pytest.approx(1, abs=0.01)
    assert nodes["b"]["ownership"] == pytest.approx(0.5, abs=0.05)
    for name, node in fleet.nodes.items():
        assert sum_of(node.samples(), "roadstead_node_info", node=name, region="default") == 1
        code, said, _ = await fleet.command(name, "nodes")
        assert code == 0 and all(other in said for other in NODES), said


@pytest.mark.limit(90)
async def test_clients_on_different_nodes_exchange_messages(fleet):
    """Nine clients, three on each node, read a hundred channels and publish on all of them."""
    await fleet.crew.start()
    for name in NODES:
        await asyncio.gather(
            fleet.open(JsDevice, f"{name}-js-json", name, "json", CHANNELS),
            fleet.open(JsDevice, f"{name}-js-protobuf", name, "protobuf", CHANNELS),
            fleet.open(PyDevice, f"{name}-python", name, "json", CHANNELS),
        )
    everybody = members(fleet, *NODES)
    assert len(everybody) == 9
    await fleet.whole_round(everybody, CHANNELS)
    await fleet.whole_round(everybody, CHANNELS[:20], each=5)
    fleet.undisturbed(everybody)


@pytest.mark.limit(60)
async def test_a_user_is_found_and_reached_on_every_node(fleet):
    ann = [
        await fleet.open(JsDevice, "ann-phone", "a", "json", user="ann"),
        await fleet.open(JsDevice, "ann-laptop", "b", "protobuf", user="ann"),
        await fleet.open(PyDevice, "ann-tablet", "c", "json", user="ann"),
        await fleet.open(PyDevice, "ann-watch", "c", "protobuf", user="ann"),
    ]
    bob = await fleet.open(PyDevice, "bob-phone", "b", "json", user="bob")

    async def found(user, devices):
        """Whether every node finds exactly these, by its command and its admin address."""
        wanted = {(device.client, device.node) for device in devices}
        for name, node in fleet.running().items():
            status, text, _ = await asyncio.to_thread(node.get, f"/connections?user={user}")
            assert status == 200, text
            for entries in (await fleet.where(name, user), json.loads(text)["connections"]):
                assert all(entry["age_s"] >= 0 and entry["shard"] in (0, 1) for entry in entries)
                if {(entry["client"], entry["node"]) for entry in entries} != wanted or len(entries) != len(wanted):
                    return False
        return True

    await eventually(lambda: found("ann", ann), 10, "every node finds all devices of ann")
    await eventually(lambda: found("bob", [bob]), 10, "every node finds bob")
    assert await found("nobody", [])

    for number, sender in enumerate(["a-js-json", "b-python", "c-js-protobuf"]):
        outcome = await fleet.devices[sender].publish([["#ann", number]])
        assert outcome == [None], f"{sender}: {outcome}"
    direct = fleet.witness.direct
    await eventually(
        lambda: all(len(direct[device.name]) >= 3 for device in ann), 10, lambda: f"three messages each: {direct}"
    )
    for device in ann:
        assert sorted(direct[device.name]) == [0, 1, 2]
    assert not direct["bob-phone"]

    await ann[3].close()
    await eventually(lambda: found("ann", ann[:3]), 10, "a closed device is forgotten everywhere")
    fleet.undisturbed(ann[:3] + [bob])


@pytest.mark.limit(60)
async def test_strangers_are_refused_and_disturb_nobody(fleet):
    """A node with another key, and one that takes a name that is taken."""
    address = f"127.0.0.1:{free_port()}"
    before = {name: node.samples() for name, node in fleet.nodes.items()}
    wrong = fleet.process("d", address, [*fleet.addresses.values()], key_path=fleet.new_key("other"), io=RING)
    double = fleet.process("a", f"127.0.0.1:{free_port()}", [fleet.addresses["b"]], io=RING)
    fleet.past += [wrong, double]

    def rejected(metric, reason):
        def risen():
            return any(
                sum_of(node.samples(), metric, reason=reason) > sum_of(before[name], metric, reason=reason)
                for name, node in fleet.nodes.items()
            )

        return risen

    everybody = members(fleet, *NODES)
    await eventually(rejected("roadstead_gossip_rejected_total", "key"), 10, "a metric counts the other key")
    for stranger, why in ((wrong, "a key that is not in the key file"), (double, "the name or id of another")):
        await eventually(lambda log=stranger.log, why=why: why in log(0), 10, stranger.log)
        await eventually(lambda log=stranger.log: log(0).count("asking on") >= 2, 15, stranger.log)
    for name, node in fleet.nodes.items():
        assert f"refused {address}: it uses a key that is not in the key file" in node.log(0), name
    await fleet.whole_round(everybody, CHANNELS)
    for stranger in (wrong, double):
        assert stranger.running(), stranger.log()
        assert await asyncio.to_thread(stranger.stop) == 0, stranger.log()
    assert set(await agreed(fleet, list(NODES))) == set(NODES)
    fleet.undisturbed(everybody)


@pytest.mark.limit(60)
async def test_noise_on_the_fleets_ports_disturbs_nobody(fleet):
    """Datagrams and connections from somebody who has no key, or who has only heard one."""
    noise = random.Random(7)
    host, port = fleet.addresses["b"].split(":")
    before = fleet.nodes["b"].samples()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for length in [0, 1, 7, 64, 1_200, 1_401, 9_000, 65_000]:
            udp.sendto(noise.randbytes(length), (host, int(port)))
    frames = [b"", b"GET / HTTP/1.1\r\n\r\n", noise.randbytes(4_096), b"\xff\xff\xff\xff", b"\0\0\0\0"]
    frames.append((9).to_bytes(4, "little") + b"\x01" + bytes(8))  # a greeting without a body
    opened = []
    for frame in frames:
        opened.append(await asyncio.open_connection(host, int(port)))
        opened[-1][1].write(frame)
    await eventually(
        lambda: (
            sum_of(fleet.nodes["b"].samples(), "roadstead_gossip_rejected_total")
            >= sum_of(before, "roadstead_gossip_rejected_total") + 5
        ),
        10,
        "rejected datagrams are counted",
    )
    everybody = members(fleet, *NODES)
    await fleet.whole_round(everybody, CHANNELS)
    for frame, (reader, writer) in zip(frames, opened):
        if frame:
            said = await asyncio.wait_for(reader.read(), 20)
            assert len(said) < 1_000, "nothing but a refusal"
        writer.close()
    assert set(await agreed(fleet, list(NODES))) == set(NODES)
    fleet.undisturbed(everybody)


@pytest.mark.limit(60)
@pytest.mark.skipif(not LOADGEN, reason="ROADSTEAD_LOADGEN does not name the load generator")
async def test_the_load_generator_finds_no_loss(fleet):
    """Readers of every channel on every node, a publisher on each."""
    urls = ",".join(node.url for node in fleet.nodes.values())
    result_path = os.path.join(fleet.folder, "result.json")
    line = "--connections 300 --channels 10 --publishers 3 --rate 150 --duration 3 --threads 1 --quiet"
    process = await asyncio.create_subprocess_exec(
        LOADGEN,
        "fanout",
        "--url",
        urls,
        *line.split(),
        "--token-secret",
        SECRET,
        "--json",
        result_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=clean_environment(),
    )
    said, _ = await asyncio.wait_for(process.communicate(), 45)
    assert process.returncode == 0, said.decode()
    with open(result_path, encoding="utf-8") as file:
        result = json.load(file)
    assert result["messages"]["received"] >= 400 * 30
    assert [url["lost"] for url in result["urls"]] == [0, 0, 0]
    counts = [result["latency_us"][kind]["count"] for kind in ("message_same_url", "message_other_url")]
    assert counts[1] == 2 * counts[0]


@pytest.mark.limit(90)
async def test_a_killed_owner_is_replaced_under_traffic(fleet):
    """kill -9 of the node that owns half of the channels: within eight seconds everything arrives again."""
    survivors = members(fleet, "a", "c")
    gone = members(fleet, "b")
    fleet.undisturbed(survivors)
    rounds = 0
    traffic = asyncio.create_task(fleet.round(survivors, CHANNELS, each=3, seconds=3))
    await eventually(lambda: fleet.witness.rounds and len(fleet.witness.rounds[0]) > 100, 10, "traffic")
    killed = time.monotonic()
    await asyncio.to_thread(fleet.nodes["b"].kill)
    for device in [*gone, fleet.devices["ann-laptop"], fleet.devices["bob-phone"]]:
        await device.close()
        del fleet.devices[device.name]
    while True:
        began = time.monotonic()
        assert began - killed <= LOSS_SECONDS, f"after {began - killed:.1f} s: {refused[:5]} {fleet.by_node(missing)}"
        refused, missing = await fleet.round(survivors, CHANNELS, seconds=1)
        rounds += 1
        if not refused and not missing:
            break
    print(f"right again {began - killed:.1f} s after the kill, in round {rounds}")
    await traffic
    for _ in range(3):
        await fleet.whole_round(survivors, CHANNELS)
    fleet.undisturbed(survivors)

    left = {fleet.devices[device].client for device in ("ann-phone", "ann-tablet")}

    async def forgotten():
        for name in ("a", "c"):
            entries = await fleet.where(name, "ann")
            if entries is None or {entry["client"] for entry in entries} != left:
                return False
        return True

    await eventually(forgotten, LOSS_SECONDS, "the devices on the dead node are forgotten")
    nodes = await agreed(fleet, ["a", "c"])
    assert nodes["a"]["ownership"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.limit(90)
async def test_a_node_comes_back_under_its_name(fleet):
    """Another life of b joins through the others; its share of the channels comes back to it without a loss of order."""
    fleet.launch("b")
    await fleet.wait_ready("b")
    await eventually(lambda: fleet.nodes["b"].get("/ready")[0] == 200, JOIN_SECONDS, "b ready")
    nodes = await agreed(fleet, list(NODES))
    assert nodes["b"]["ownership"] == pytest.approx(0.5, abs=0.05)
    await fleet.open(JsDevice, "b-js-again", "b", "json", CHANNELS)
    await fleet.open(PyDevice, "b-python-again", "b", "protobuf", CHANNELS)
    everybody = members(fleet, *NODES)

    async def whole():
        refused, missing = await fleet.round(everybody, CHANNELS, seconds=3)
        return not refused and not missing

    await eventually(whole, JOIN_SECONDS, "whole rounds through the new node")
    await fleet.whole_round(everybody, CHANNELS, each=2)
    fleet.undisturbed(everybody)


@pytest.mark.limit(90)
async def test_a_drain_can_be_cancelled(fleet):
    """As long as the node still accepts, no client notices."""
    here = members(fleet, "a")
    fleet.undisturbed(here)
    code, said, err = await fleet.command("a", "drain")
    assert code == 0, said + err
    assert (await fleet.ask("a", "drain", "--status"))["phase"] == "announced"
    assert fleet.nodes["a"].get("/ready")[0] != 200
    await eventually(lambda: draining_of(fleet, "c", "a"), 5, "the drain is known elsewhere")
    code, said, err = await fleet.command("a", "drain", "--cancel")
    assert code == 0, said + err
    await eventually(lambda: fleet.nodes["a"].get("/ready")[0] == 200, 10, "ready again")
    assert (await fleet.ask("a", "drain", "--status"))["phase"] == "serving"
    await eventually(lambda: not_draining(fleet, "c", "a"), 10, "the cancel is known elsewhere")
    fleet.undisturbed(here)


async def draining_of(fleet, asked, name):
    return any(node["name"] == name and node["draining"] for node in (await fleet.ask(asked, "nodes"))["nodes"])


async def not_draining(fleet, asked, name):
    return not await draining_of(fleet, asked, name)


@pytest.mark.limit(120)
async def test_a_drained_node_hands_its_clients_over(fleet):
    """Clients come through a balancer that prefers c; after its drain all are on other nodes, and receive."""
    balancer = await fleet.balancer("c", "a", "b")
    moving = [
        await fleet.open(JsDevice, "moving-js-json", "c", "json", CHANNELS[:50], balancer=balancer),
        await fleet.open(JsDevice, "moving-js-protobuf", "c", "protobuf", CHANNELS[:50], balancer=balancer),
        await fleet.open(PyDevice, "moving-python-1", "c", "json", CHANNELS[:50], balancer=balancer),
        await fleet.open(PyDevice, "moving-python-2", "c", "protobuf", CHANNELS[:50], balancer=balancer),
    ]
    for device in [*members(fleet, "c"), fleet.devices["ann-tablet"]]:
        if device not in moving:
            await device.close()
            del fleet.devices[device.name]
    staying = members(fleet, "a", "b")
    await fleet.whole_round(moving + staying, CHANNELS[:50])

    code, said, err = await fleet.command("c", "drain")
    assert code == 0, said + err
    traffic = asyncio.create_task(traffic_until(fleet, staying, lambda: all(d.connections >= 2 for d in moving)))
    await eventually(
        lambda: all(device.connections >= 2 for device in moving),
        MOVED_SECONDS,
        lambda: [(device.name, device.happened[:6]) for device in moving],
    )
    await traffic
    for device in moving:
        assert ("connecting", 3001) in device.happened, device.happened
        assert device.connections == 2, device.happened
        device.node = "a or b"
    await eventually(
        lambda: all(device.subscribed() == 50 for device in moving), 15, "all subscriptions are back"
    )
    await fleet.whole_round(moving + staying, CHANNELS[:50])
    assert await asyncio.to_thread(fleet.nodes["c"].wait, 30) == 0, fleet.nodes["c"].log()
    await agreed(fleet, ["a", "b"])
    fleet.undisturbed(staying)
    for device in moving:
        entries = await fleet.where("a", device.name)
        assert [entry["client"] for entry in entries] == [device.client]


async def traffic_until(fleet, publishers, done):
    while not done():
        await fleet.round(publishers, CHANNELS[:50], seconds=1)


@pytest.mark.limit(60)
async def test_the_fleet_ends(fleet):
    """SIGTERM drains too; the last node ends alone."""
    await fleet.close()
    fleet.witness.assert_clean()
    for name in ("a", "b"):
        assert await asyncio.to_thread(fleet.nodes[name].stop) == 0, fleet.nodes[name].log()
    for node in fleet.used():
        assert "panicked" not in node.log(0), node.log()
