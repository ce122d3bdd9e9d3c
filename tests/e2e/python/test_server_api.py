"""The server API: with the published library of back ends, unchanged, on one node and on two; by hand where it must refuse."""

import asyncio
import http.client
import json
import os
import socket
import subprocess

import cent
import pytest

from conftest import GUARDED, SECRET, cases
from fleet import Fleet, eventually
from raw import joined
from roadstead import Server, split_address
from tokens import token

KEY, OTHER = "a-key-of-the-tests", "another-key"
DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "docs", "server-api.md")
RULES = f'[api]\nkeys = ["{OTHER}", "{KEY}"]\nlisten = "127.0.0.1:0"\n'


@pytest.fixture(scope="module")
def node():
    server = Server(config=GUARDED + RULES).wait_ready()
    yield server
    assert server.stop() == 0, server.log()
    assert KEY not in server.log(0) and OTHER not in server.log(0), "keys are not logged"
    server.remove()


@pytest.fixture(scope="module")
def pair():
    """A fleet of two; each test asks the first one, about clients on either."""
    fleet = Fleet({name: {"io": io, "set": {"api.keys": KEY}} for name, io in (("a", "epoll"), ("b", "auto"))})
    try:
        for name in ("a", "b"):
            fleet.launch(name)
        fleet.runner.run(fleet.wait_ready("a", "b"))

        def agree():
            return all(len(json.loads(fleet.nodes[name].get("/nodes")[1])["nodes"]) == 2 for name in ("a", "b"))

        def serve():
            return all(fleet.nodes[name].get("/ready")[0] == 200 for name in ("a", "b"))

        fleet.runner.run(eventually(lambda: agree() and serve(), 30, "both are a fleet"))
        yield fleet
    finally:
        fleet.end()


def post(server, path, body, headers=None, door="api"):
    """(status, body) of a request by hand."""
    host, port = split_address(server.ready[door])
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("POST", path, body, {"X-API-Key": KEY} if headers is None else headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def call(server, called, **params):
    status, text = post(server, f"/api/{called}", json.dumps(params))
    assert status == 200, (status, text)
    return json.loads(text)


def library(server, door="api"):
    return cent.Client(f"http://{server.ready[door]}/api", KEY)


async def user(server, name, *channels):
    return await joined(server, *channels, token=token(SECRET, sub=name))


async def push(client):
    """The next push."""
    while True:
        heard = await client.hear()
        if "push" in heard:
            return heard["push"]


async def ordered_with(client, server):
    """Returns when everything that was asked of the server before has reached the client."""
    assert "error" in (await client.ask(presence={"channel": "x"}))


@pytest.mark.parametrize("door", ["api", "admin"])
async def test_the_library_publishes(node, door):
    async with await user(node, "ann", "news", "more") as client:
        back_end = library(node, door)
        result = back_end.publish(cent.PublishRequest(channel="news", data={"n": 1}))
        assert (result.offset, result.epoch) == (0, "")
        assert await client.publication("news") == {"data": {"n": 1}}, "nobody speaks for it"
        answers = back_end.broadcast(cent.BroadcastRequest(channels=["news", "more", "nope:x"], data=[2])).responses
        assert [answer.error and answer.error.code for answer in answers] == [None, None, 102]
        assert (await client.publication("news"))["data"] == [2] and (await client.publication("more"))["data"] == [2]


async def test_the_library_publishes_in_batches(node):
    async with await user(node, "ann", "news") as client:
        requests = [cent.PublishRequest(channel="news", data=n) for n in range(100)]
        back_end = cent.AsyncClient(f"http://{node.ready['api']}/api", KEY)
        try:
            for parallel in (False, True):
                replies = (await back_end.batch(cent.BatchRequest(requests=requests, parallel=parallel))).replies
                assert len(replies) == 100
                assert [(await client.publication())["data"] for _ in range(100)] == list(range(100)), "in order"
        finally:
            await back_end.close()


async def test_one_connection_keeps_the_order(node):
    async with await user(node, "ann", "order") as client:
        back_end = library(node)
        for n in range(200):
            back_end.publish(cent.PublishRequest(channel="order", data=n))
        assert [(await client.publication())["data"] for _ in range(200)] == list(range(200))


async def test_a_key_of_idempotency_publishes_once(node):
    async with await user(node, "ann", "once", "twice") as client:
        for channel, key in (("once", "k"), ("once", "k"), ("twice", "k"), ("once", "l")):
            assert call(node, "publish", channel=channel, data=key, idempotency_key=key) == {"result": {}}
        call(node, "publish", channel="once", data="end")
        heard = []
        while not heard or heard[-1] != "end":
            heard.append((await client.publication())["data"])
        assert heard == ["k", "k", "l", "end"]


async def test_binary_payloads(node):
    async with await user(node, "ann", "bytes") as client:
        assert call(node, "publish", channel="bytes", b64data="eyJhIjogMX0=") == {"result": {}}
        assert (await client.publication())["data"] == {"a": 1}
        assert call(node, "publish", channel="bytes", b64data="!")["error"]["code"] == 107
        assert call(node, "publish", channel="bytes", b64data="AAE=") == {"result": {}}
        assert await client.closed() == (3506, "inappropriate protocol")


@cases(
    "method, params, code",
    [
        ("no data", "publish", {"channel": "a"}, 107),
        ("null is data", "publish", {"channel": "a", "data": None}, None),
        ("no channel", "publish", {"data": 1}, 107),
        ("an unknown namespace", "publish", {"channel": "nope:a", "data": 1}, 102),
        ("a name that is too long", "publish", {"channel": "a" * 256, "data": 1}, 107),
        ("more data than a message", "publish", {"channel": "a", "data": "x" * 65_536}, 107),
        ("tags", "publish", {"channel": "a", "data": 1, "tags": {"a": "b"}}, 108),
        ("not to be kept", "publish", {"channel": "a", "data": 1, "skip_history": True}, 108),
        ("a version", "publish", {"channel": "a", "data": 1, "version": 3}, 108),
        ("no channels", "broadcast", {"channels": [], "data": 1}, 107),
        ("presence", "presence", {"channel": "a"}, 108),
        ("presence_stats", "presence_stats", {"channel": "a"}, 108),
        ("history", "history", {"channel": "a"}, 108),
        ("history_remove", "history_remove", {"channel": "a"}, 108),
        ("rpc", "rpc", {"method": "a", "params": 1}, 108),
        ("nobody", "disconnect", {}, 107),
        ("a user who is not there", "disconnect", {"user": "nobody"}, None),
        ("a code that is none", "disconnect", {"user": "a", "disconnect": {"code": 1000, "reason": "x"}}, 107),
        ("a reason that is advice", "disconnect", {"user": "a", "disconnect": {"code": 4000, "reason": "{}"}}, 107),
        ("subscribe to an unknown namespace", "subscribe", {"user": "a", "channel": "nope:a"}, 102),
        ("unsubscribe from nothing", "unsubscribe", {"user": "a"}, 107),
        ("refresh of nobody", "refresh", {"user": "nobody", "expire_at": 1}, None),
    ],
)
def test_what_is_answered(node, method, params, code):
    said = call(node, method, **params)
    assert said.get("error", {}).get("code") == code, said
    status, text = post(
        node, f"/api/{method}", json.dumps(params), {"X-API-Key": KEY, "X-Centrifugo-Error-Mode": "transport"}
    )
    assert status == {None: 200, 102: 404}.get(code, 400), text


@cases(
    "path, body, headers, expected",
    [
        ("no key", "/api/info", "{}", {}, 401),
        ("a wrong key", "/api/info", "{}", {"X-API-Key": "no"}, 401),
        ("an empty key", "/api/info", "{}", {"X-API-Key": ""}, 401),
        ("the other key", "/api/info", "{}", {"X-API-Key": OTHER}, 200),
        ("a key as authorization", "/api/info", "{}", {"Authorization": f"apikey {KEY}"}, 200),
        ("a key in the query", f"/api/info?api_key={KEY}", "{}", {}, 200),
        ("an unknown method", "/api/nope", "{}", None, 404),
        ("no JSON", "/api/publish", "{", None, 400),
        ("nothing", "/api/publish", "", None, 400),
        ("another type", "/api/publish", '{"channel": 1, "data": 1}', None, 400),
        ("no UTF-8", "/api/publish", b'{"channel": "\xff", "data": 1}', None, 400),
        ("very deep", "/api/publish", "[" * 100_000, None, 400),
        ("deep where nobody looks", "/api/publish", '{"x": ' + "[" * 20_000 + "]" * 20_000 + "}", None, 200),
        ("too many commands", "/api/batch", json.dumps({"commands": [{"info": {}}] * 32_769}), None, 400),
        ("a command with two methods", "/api/batch", '{"commands": [{"info": {}, "publish": {}}]}', None, 400),
        ("no commands", "/api", "", None, 400),
    ],
)
def test_what_is_refused(node, path, body, headers, expected):
    for door in ("api", "admin"):
        status, _ = post(node, path, body, headers, door)
        assert status == expected, door


def test_a_body_that_is_too_large_is_refused_by_its_head(node):
    for length, status in ((4 * 1024 * 1024, b""), (4 * 1024 * 1024 + 1, b"HTTP/1.1 413 ")):
        with socket.create_connection(split_address(node.ready["api"]), timeout=10) as peer:
            head = f"POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {length}\r\n\r\n"
            peer.sendall(head.encode())
            if status:
                assert peer.recv(100).startswith(status)


def test_other_verbs_are_refused(node):
    host, port = split_address(node.ready["api"])
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", "/api/publish", headers={"X-API-Key": KEY})
    assert connection.getresponse().status == 405
    connection.close()


def test_nothing_but_the_api_is_on_its_address(node):
    host, port = split_address(node.ready["api"])
    for path, status in (("/metrics", 404), ("/status", 404), ("/", 404), ("/drain", 404), ("/api/openapi.json", 200)):
        connection = http.client.HTTPConnection(host, port, timeout=10)
        connection.request("GET", path, headers={"X-API-Key": KEY})
        assert connection.getresponse().status == status, path
        connection.close()


def test_a_body_that_never_comes_is_given_up(node):
    """Ten seconds are the server's patience; others are answered meanwhile."""
    with socket.create_connection(split_address(node.ready["api"]), timeout=20) as slow:
        head = f"POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: 100\r\n\r\n{{"
        slow.sendall(head.encode())
        assert "result" in call(node, "info")
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")


def test_the_lines_of_the_documentation(start):
    """Word for word, but for the port."""
    with open(DOCUMENT, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.startswith("curl ")]
    assert len(lines) >= 9
    server = start("--set", "api.keys=KEY", "--set", "channel.allow_subscribe_for_client=true")
    for line in lines:
        line = line.replace("127.0.0.1:9000", server.ready["admin"])
        said = json.loads(subprocess.run(line, shell=True, capture_output=True, timeout=20, check=True).stdout)
        assert set(said) in ({"result"}, {"replies"}), (line, said)


def test_batches_and_lines(node):
    commands = [{"publish": {"channel": "a", "data": 1}}, {"nope": {}}, {"publish": {"data": 1}}, {"channels": {}}]
    status, text = post(node, "/api/batch", json.dumps({"commands": commands}))
    replies = json.loads(text)["replies"]
    assert status == 200 and replies[0] == {"publish": {}}
    assert [reply.get("error", {}).get("code") for reply in replies] == [None, 104, 107, None]
    lines = [{"method": "publish", "params": {"channel": "a", "data": 1}}, {"method": "nope"}, {"method": "info"}]
    status, text = post(node, "/api", "\n".join(map(json.dumps, lines)))
    first, second, third = map(json.loads, text.split("\n"))
    assert (status, first, second["error"]["code"]) == (200, {"result": {}}, 104)
    assert third["result"]["nodes"][0]["name"]


def test_the_document_names_every_method(node):
    said = json.loads(node.get("/api/openapi.json")[1])
    assert said["openapi"].startswith("3.")
    for path in said["paths"]:
        assert post(node, path, "{}")[0] in (200, 400), f"{path} is served"


async def test_users_are_subscribed_unsubscribed_and_disconnected(node):
    back_end = library(node)
    async with await user(node, "bob") as first, await user(node, "bob") as second, await user(node, "eve") as other:
        back_end.subscribe(cent.SubscribeRequest(user="bob", channel="gift", data={"hello": 1}))
        for client in (first, second):
            assert await push(client) == {"channel": "gift", "subscribe": {"data": {"hello": 1}}}
        back_end.publish(cent.PublishRequest(channel="gift", data=1))
        for client in (first, second):
            assert (await client.publication("gift"))["data"] == 1
        assert (await first.ask(subscribe={"channel": "gift"}))["error"]["code"] == 105
        back_end.unsubscribe(cent.UnsubscribeRequest(user="bob", channel="gift", client=first.id))
        assert await push(first) == {"channel": "gift", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}
        await first.subscribe("gift")
        channels = back_end.channels(cent.ChannelsRequest(pattern="gi*")).channels
        assert {name: channel.num_clients for name, channel in channels.items()} == {"gift": 2}
        back_end.disconnect(cent.DisconnectRequest(user="bob", whitelist=[second.id]))
        assert await first.closed() == (3503, "force disconnect")
        back_end.disconnect(cent.DisconnectRequest(user="bob", disconnect=cent.Disconnect(code=4100, reason="bye")))
        assert await second.closed() == (4100, "bye")
        assert "error" in await other.ask(presence={"channel": "x"}), "others stay"


async def test_users_are_refreshed(node):
    back_end = library(node)
    async with await user(node, "zoe", "talk") as client, await user(node, "amy", "talk") as listener:
        call(node, "refresh", user="zoe", expire_at=4_000_000_000, info={"name": "Zoe"})
        assert (await push(client))["refresh"]["expires"] is True
        await client.ask(publish={"channel": "talk", "data": 1})
        assert (await listener.publication())["info"]["conn_info"] == {"name": "Zoe"}
        back_end.refresh(cent.RefreshRequest(user="zoe", expired=True))
        assert await client.closed() == (3005, "connection expired")


async def test_the_socket_of_the_node_needs_no_key(node):
    class Local(http.client.HTTPConnection):
        def connect(self):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(node.socket_path)

    connection = Local("node")
    connection.request("POST", "/api/info", "{}")
    assert connection.getresponse().status == 200


def test_without_keys_the_api_is_closed(start):
    server = start(config=GUARDED)
    assert post(server, "/api/info", "{}", {"X-API-Key": KEY}, "admin")[0] == 401
    assert post(server, "/api/info", "{}", {}, "admin")[0] == 401


def test_in_development_mode_this_machine_needs_no_key(start):
    server = start("--insecure")
    assert "the server API needs no key" in server.log()
    assert post(server, "/api/info", "{}", {}, "admin")[0] == 200
    assert post(server, "/api/info", "{}", {"Host": "evil.example"}, "admin")[0] == 403
    assert post(server, "/api/info", "{}", {"Origin": "http://evil.example"}, "admin")[0] == 403


@pytest.mark.limit(60)
async def test_two_nodes_are_one_for_back_ends(pair):
    a, b = pair.nodes["a"], pair.nodes["b"]
    back_end = library(a, "admin")
    channels = [f"far-{n}" for n in range(20)]
    async with await user(a, "ann", *channels) as near, await user(b, "ann", *channels) as far:
        replies = back_end.batch(
            cent.BatchRequest(requests=[cent.PublishRequest(channel=name, data=name) for name in channels])
        ).replies
        assert len(replies) == 20
        for client in (near, far):
            assert {(await client.publication())["data"] for _ in channels} == set(channels)
        nodes = {one.name: one for one in back_end.info(cent.InfoRequest()).nodes}
        assert set(nodes) == {"a", "b"} and all(one.num_clients == 1 and one.version for one in nodes.values())
        assert nodes["b"].num_subs >= 20
        counted = back_end.channels(cent.ChannelsRequest(pattern="far-*")).channels
        assert {name: channel.num_clients for name, channel in counted.items()} == dict.fromkeys(channels, 2)

        back_end.subscribe(cent.SubscribeRequest(user="ann", channel="gift"))
        for client in (near, far):
            assert (await push(client))["channel"] == "gift"
        back_end.publish(cent.PublishRequest(channel="gift", data=7))
        for client in (near, far):
            assert (await client.publication("gift"))["data"] == 7
        back_end.unsubscribe(cent.UnsubscribeRequest(user="ann", channel="gift"))
        for client in (near, far):
            assert (await push(client))["unsubscribe"]["code"] == 2000
        back_end.disconnect(
            cent.DisconnectRequest(user="ann", client=far.id, disconnect=cent.Disconnect(code=4501, reason="elsewhere"))
        )
        assert await far.closed() == (4501, "elsewhere")
        assert "error" in await near.ask(presence={"channel": "x"}), "the other connection stays"


@pytest.mark.limit(60)
async def test_a_node_that_is_gone_makes_the_outcome_unknown_and_no_more(pair):
    """Until the fleet knows: then the other one is all there is."""
    a = pair.nodes["a"]
    async with await user(a, "ann") as client:
        pair.nodes["b"].kill()

        def info():
            return post(a, "/api/info", "{}", door="admin")

        def alone():
            said = json.loads(info()[1])
            assert said.get("error", {"code": 100})["code"] == 100, said
            return "result" in said and len(said["result"]["nodes"]) == 1

        await eventually(alone, 30, "one node is left")
        assert post(a, "/api/disconnect", json.dumps({"user": "ann"}), door="admin") == (200, '{"result":{}}')
        assert (await client.closed())[0] == 3503
