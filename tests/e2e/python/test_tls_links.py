"""TLS between nodes: certificates on both sides, what is refused and in which words, and tickets that are good on every node."""

import asyncio
import json
import ssl

import pytest
import websockets

from authority import Authority
from conftest import own
from fleet import eventually
from roadstead import Server, command_line, free_port
from test_tls_identity import handshake

pytestmark = [pytest.mark.once, pytest.mark.limit(90)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("fleet"))


class Pair:
    """Two nodes, a and b, that are to become a fleet; `links` and `clients` give their certificates, if they have any."""

    def __init__(self, folder, links, clients=None):
        key = folder / "key"
        key.write_text(command_line("cluster-key")[1])
        ports = {"a": free_port(), "b": free_port()}
        while ports["a"] == ports["b"]:
            ports["b"] = free_port()
        seeds = ",".join(f"127.0.0.1:{port}" for port in ports.values())
        self.nodes = {}
        for name in "ab":
            arguments = ["--insecure", "--node-name", name, "--cluster-listen", f"127.0.0.1:{ports[name]}", "--join", seeds,
                         "--cluster-key-file", str(key)]  # fmt: skip
            if clients:
                arguments += ["--tls-cert", clients[0], "--tls-key", clients[1]]
            if links[name]:
                ca, (cert, secret) = links[name]
                for setting, value in (("certificate", cert), ("key", secret), ("ca", ca)):
                    arguments += ["--set", f"cluster.tls_{setting}={value}"]
            self.nodes[name] = Server(*arguments, shards=2, io={"a": "epoll"}.get(name, "auto"))
            own.append(self.nodes[name])
        for node in self.nodes.values():
            node.wait_ready()

    def links(self):
        return [node.samples()["roadstead_peer_links", ()] for node in self.nodes.values()]

    def refused(self, name):
        return self.nodes[name].samples()["roadstead_peer_links_refused_total", (("reason", "tls"),)]

    async def until_linked(self):
        await eventually(lambda: all(count >= 2 for count in self.links()), 30, self.links)


async def carried(pair):
    """A publication on one node reaches a subscriber on the other, for each of many channels, the long ones too."""
    urls = [pair.nodes[name].url for name in "ab"]
    async with websockets.connect(urls[0]) as one, websockets.connect(urls[1]) as two:
        for client in (one, two):
            await client.send('{"id":1,"connect":{}}')
            await client.recv()
        for number in range(20):
            await two.send(json.dumps({"id": 2 + number, "subscribe": {"channel": f"c{number}"}}))
        confirmed = set()
        while len(confirmed) < 20:
            confirmed |= {json.loads(line).get("id") for line in (await two.recv()).split("\n")}
        for number in range(20):
            data = str(number) + "x" * (number * 2_500)
            await one.send(json.dumps({"id": 2 + number, "publish": {"channel": f"c{number}", "data": data}}))
        heard = {}
        while len(heard) < 20:
            for line in (await asyncio.wait_for(two.recv(), 20)).split("\n"):
                push = json.loads(line).get("push", {})
                if "pub" in push:
                    heard[push["channel"]] = len(push["pub"]["data"])
        assert heard == {f"c{number}": len(str(number)) + number * 2_500 for number in range(20)}


@pytest.mark.parametrize("names", [("DNS:*.x", "DNS:A", "DNS:b"), ()], ids=["theirs", "none"])
async def test_links_with_certificates(authority, tmp_path, names):
    node = authority.issue(f"node-{len(names)}", *names)
    pair = Pair(tmp_path, {name: (authority.path, node) for name in "ab"})
    await pair.until_linked()
    await carried(pair)
    assert "links to other nodes are TLS" in pair.nodes["a"].log(0)
    left = [key for key in pair.nodes["a"].samples() if key[0] == "roadstead_tls_certificate_expires_in_seconds"]
    assert [dict(labels)["usage"] for _, labels in left] == ["links"]
    assert [pair.refused(name) for name in "ab"] == [0, 0]


MIX = "give both cluster.tls_certificate"


@pytest.mark.parametrize("plain", ["a", "b"])
async def test_a_mix_is_refused_in_clear_words(authority, tmp_path, plain):
    node = authority.issue("mixed", "DNS:a", "DNS:b")
    pair = Pair(tmp_path, {name: None if name == plain else (authority.path, node) for name in "ab"})
    words = (MIX, "this one has no cluster.tls_certificate")
    for server in pair.nodes.values():
        await eventually(lambda: any(text in server.log(0) for text in words), 20, server.log)
    assert pair.links() == [0, 0] and any(pair.refused(name) for name in "ab")


async def test_who_is_not_of_the_authority_is_refused(authority, tmp_path):
    stranger = Authority(tmp_path / "stranger", "stranger")
    links = {"a": (authority.path, authority.issue("good", "DNS:a")), "b": (stranger.path, stranger.issue("b", "DNS:b"))}
    pair = Pair(tmp_path, links)
    for server in pair.nodes.values():
        await eventually(lambda: "refused: TLS: " in server.log(0), 20, server.log)
    assert pair.links() == [0, 0]


async def test_a_certificate_of_another_node_is_refused(authority, tmp_path):
    good, other = authority.issue("a-only", "DNS:a"), authority.issue("c-only", "DNS:c.example")
    pair = Pair(tmp_path, {"a": (authority.path, good), "b": (authority.path, other)})
    words = "its certificate is for c.example, and not for b"
    await eventually(lambda: any(words in node.log(0) for node in pair.nodes.values()), 20, pair.nodes["a"].log)
    assert pair.links() == [0, 0]


async def test_a_ticket_of_one_node_is_good_on_the_other(authority, tmp_path):
    clients = authority.issue("clients", "DNS:a.example")
    pair = Pair(tmp_path, {"a": None, "b": None}, clients)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=authority.path)
        context.minimum_version = context.maximum_version = version
        session = handshake(pair.nodes["a"], context)[2]
        assert [handshake(pair.nodes[name], context, session=session)[1] for name in "baab"] == [True] * 4


def test_half_of_a_setting_is_refused(authority, tmp_path):
    cert, key = authority.issue("half", "DNS:a")
    (tmp_path / "key").write_text(command_line("cluster-key")[1])
    fleet = ["--cluster-listen", "127.0.0.1:7900", "--alone", "--cluster-key-file", str(tmp_path / "key")]
    code, _, said = command_line("config", "check", *fleet, "--set", f"cluster.tls_certificate={cert}")
    assert code == 78 and "cluster.tls_key" in said, said
    more = [part for name in ("certificate", "key", "ca") for part in ("--set", f"cluster.tls_{name}={cert}")]
    code, _, said = command_line("config", "check", *fleet, *more)
    assert code == 78 and "holds no private key" in said, said
    more[3] = f"cluster.tls_key={key}"
    assert command_line("config", "check", *fleet, *more)[0] == 0
