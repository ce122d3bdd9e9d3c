"""The client protocol word for word, and the places where implementations go wrong."""

import asyncio
import json

import centrifuge.protocol.client_pb2 as protobuf
import pytest
from centrifuge.codecs import _varint_decode, _varint_encode

import raw
from conftest import cases
from raw import BINARY, TEXT, Client, Ended, joined


def encoded(*commands):
    """Commands as one Protobuf message."""
    parts = [command.SerializeToString() for command in commands]
    return b"".join(_varint_encode(len(part)) + part for part in parts)


async def heard(client):
    """The replies of the next Protobuf message."""
    kind, payload = await client.message()
    assert kind == BINARY, "Protobuf goes in binary frames"
    replies, at = [], 0
    while at < len(payload):
        size, at = _varint_decode(payload, at)
        replies.append(protobuf.Reply.FromString(payload[at : at + size]))
        at += size
    return replies


async def joined_in_protobuf(server, *channels):
    client = await Client.open(server, protocol="centrifuge-protobuf")
    commands = [protobuf.Command(id=1, connect=protobuf.ConnectRequest())]
    for at, channel in enumerate(channels):
        commands.append(protobuf.Command(id=2 + at, subscribe=protobuf.SubscribeRequest(channel=channel)))
    await client.frame(BINARY, encoded(*commands))
    replies = []
    while len(replies) < len(commands):
        replies += await heard(client)
    assert [reply.id for reply in replies] == [command.id for command in commands]
    assert not any(reply.HasField("error") for reply in replies)
    client.id = replies[0].connect.client
    return client


async def closes_with(client, code):
    got, reason = await client.closed()
    assert got == code, (got, reason)
    assert reason, "SDKs ignore the code of a close without a reason"
    with pytest.raises(ValueError):
        json.loads(reason)
    await client.ended()


async def test_connect_result(server):
    async with await Client.open(server) as client:
        reply = await client.connect(name="raw", version="1", data={"ignored": True}, unknown_field=[1])
        result = reply["connect"]
        assert reply == {"id": 1, "connect": result}
        assert result["client"] and result["version"]
        assert (result["ping"], result["pong"]) == (25, True)
        assert set(result) <= {"client", "version", "ping", "pong", "subs", "time", "node"}


async def test_client_ids_differ(server):
    clients = [await joined(server) for _ in range(20)]
    assert len({client.id for client in clients}) == 20
    for client in clients:
        client.writer.close()


async def test_connect_subscribe_publish_in_one_frame(server):
    async with await Client.open(server) as client:
        await client.say(
            {"id": 1, "connect": {}},
            {"id": 2, "subscribe": {"channel": "at-once", "flag": 1}},
            {"id": 3, "publish": {"channel": "at-once", "data": {"n": 1}}},
        )
        heard = [await client.hear() for _ in range(4)]
        assert heard[0]["id"] == 1 and heard[1] == {"id": 2, "subscribe": {}}
        assert {"id": 3, "publish": {}} in heard[2:]
        push = next(message["push"] for message in heard if "push" in message)
        assert push["channel"] == "at-once" and push["pub"]["data"] == {"n": 1}


async def test_trailing_newline_and_binary_opcode(server):
    async with await Client.open(server) as client:
        await client.frame(TEXT, '{"id":1,"connect":{}}\n')
        assert "connect" in await client.hear()
        await client.frame(BINARY, '{"id":2,"unsubscribe":{"channel":"never"}}')
        assert await client.hear() == {"id": 2, "unsubscribe": {}}


async def test_first_request_in_tag_order_wins(server):
    async with await joined(server) as client:
        reply = await client.ask(publish={"channel": "tags", "data": 1}, subscribe={"channel": "tags"})
        assert reply == {"id": client.next_id, "subscribe": {}}


@pytest.mark.parametrize(
    "data", [None, 0, -1.5e300, "", "text", [], {}, {"a": {"b": [1, None, True]}}, '\u2028 " \\ 🚢']
)
async def test_data_arrives_as_it_was(server, data):
    async with await joined(server, "data") as client:
        assert (await client.ask(publish={"channel": "data", "data": data}))["publish"] == {}
    async with await joined(server, "data") as subscriber, await joined(server) as publisher:
        await publisher.ask(publish={"channel": "data", "data": data})
        assert (await subscriber.publication())["data"] == data


async def test_own_publication_arrives(server):
    async with await joined(server, "own") as client:
        await client.say({"id": 50, "publish": {"channel": "own", "data": 1}})
        heard = [await client.hear(), await client.hear()]
        assert {"id": 50, "publish": {}} in heard
        assert any(message.get("push", {}).get("channel") == "own" for message in heard)


async def test_publisher_is_named_by_the_server(server):
    async with await joined(server, "spoof") as subscriber, await joined(server) as publisher:
        await publisher.ask(publish={"channel": "spoof", "data": 1, "info": {"user": "root", "client": "x"}})
        publication = await subscriber.publication()
        assert publication["info"] == {"user": "", "client": publisher.id}


@cases(
    "command, code",
    [
        ("rpc", {"rpc": {"method": "m", "data": 1}}, 108),
        ("rpc without method", {"rpc": {"data": 1}}, 108),
        ("presence", {"presence": {"channel": "c"}}, 108),
        ("presence stats", {"presence_stats": {"channel": "c"}}, 108),
        ("history", {"history": {"channel": "c", "limit": 1}}, 108),
        ("a private channel without a token", {"subscribe": {"channel": "$c"}}, 103),
        ("a subscription token that is none", {"subscribe": {"channel": "c", "token": "a.b.c"}}, 103),
        ("a name of 256 bytes", {"subscribe": {"channel": "c" * 256}}, 107),
        ("a name outside ascii", {"subscribe": {"channel": "größe"}}, 107),
        ("publish without data", {"publish": {"channel": "c"}}, 107),
    ],
)
async def test_error_reply(server, command, code):
    async with await joined(server) as client:
        reply = await client.ask(**command)
        assert set(reply) == {"id", "error"}
        assert reply["error"]["code"] == code
        assert reply["error"]["message"]
        assert "temporary" not in reply["error"]
        assert (await client.ask(unsubscribe={"channel": "c"}))["unsubscribe"] == {}, "the connection goes on"


async def test_development_mode_allows_any_namespace(server):
    """Nothing is configured there, and everything is allowed."""
    async with await joined(server) as client:
        assert (await client.ask(subscribe={"channel": "nowhere:1"}))["subscribe"] == {}
        assert (await client.ask(publish={"channel": "nowhere:1", "data": 1}))["publish"] == {}


async def test_name_of_255_bytes(server):
    async with await joined(server, "c" * 255) as client:
        await client.ask(publish={"channel": "c" * 255, "data": 1})


async def test_second_subscribe_is_105(server):
    async with await joined(server, "twice") as client:
        await client.say({"id": 10, "subscribe": {"channel": "twice"}})
        assert (await client.hear())["error"]["code"] == 105
        await client.say(
            {"id": 11, "subscribe": {"channel": "thrice"}}, {"id": 12, "subscribe": {"channel": "thrice"}}
        )
        replies = {reply["id"]: reply for reply in (await client.hear(), await client.hear())}
        assert replies[11]["subscribe"] == {}
        assert replies[12]["error"]["code"] == 105, "also in flight, and then perhaps first"


async def test_channel_129_is_106(server):
    async with await joined(server) as client:
        await client.say(*({"id": 100 + n, "subscribe": {"channel": f"many-{n}"}} for n in range(129)))
        heard = {}
        for _ in range(129):
            reply = await client.hear()
            heard[reply["id"]] = reply
        assert [heard[100 + n].get("subscribe") for n in range(128)] == [{}] * 128
        assert heard[228]["error"]["code"] == 106
        assert (await client.ask(unsubscribe={"channel": "many-0"}))["unsubscribe"] == {}
        await client.subscribe("many-128")


async def test_unsubscribe(server):
    async with await joined(server, "left") as client, await joined(server) as publisher:
        flood = [{"id": 1000 + n, "publish": {"channel": "left", "data": n}} for n in range(500)]
        await publisher.say(*flood[:250])
        await client.say({"id": 20, "unsubscribe": {"channel": "left"}})
        await publisher.say(*flood[250:])
        while (await client.hear()).get("id") != 20:
            pass
        await client.say({"id": 21, "unsubscribe": {"channel": "left"}})
        assert await client.hear() == {"id": 21, "unsubscribe": {}}, (
            "nothing follows the reply; a second one succeeds"
        )
        await client.subscribe("left")


async def test_subscribe_and_unsubscribe_back_to_back(server):
    async with await joined(server) as client:
        for n in range(50):
            await client.say(
                {"id": 1000 + 2 * n, "subscribe": {"channel": "flip"}},
                {"id": 1001 + 2 * n, "unsubscribe": {"channel": "flip"}},
            )
        for n in range(50):
            assert await client.hear() == {"id": 1000 + 2 * n, "subscribe": {}}
            assert await client.hear() == {"id": 1001 + 2 * n, "unsubscribe": {}}


async def test_push_never_precedes_its_subscribe_reply(server):
    """Clients of both shards join a channel on which publications are running."""
    async with await joined(server) as publisher:
        sending = True

        async def flood():
            n = 0
            while sending:
                n += 1
                assert (await publisher.ask(publish={"channel": "busy", "data": n}))["publish"] == {}

        flooding = asyncio.create_task(flood())
        for _ in range(30):
            async with await joined(server) as client:
                await client.say({"id": 7, "subscribe": {"channel": "busy"}})
                assert await client.hear() == {"id": 7, "subscribe": {}}
                first = (await client.publication("busy"))["data"]
                assert (await client.publication("busy"))["data"] == first + 1
        sending = False
        await flooding


async def test_protobuf_replies(server):
    async with await joined_in_protobuf(server) as client:
        assert client.id
        await client.frame(
            BINARY,
            encoded(protobuf.Command(id=4, publish=protobuf.PublishRequest(channel="p", data=b"\x00"))),
        )
        assert await client.message() == (BINARY, b"\x04\x08\x04\x42\x00"), "an empty result is present"
        await client.frame(
            BINARY, encoded(protobuf.Command(id=5, unsubscribe=protobuf.UnsubscribeRequest(channel="p")))
        )
        assert await client.message() == (BINARY, b"\x04\x08\x05\x3a\x00")
        await client.frame(BINARY, encoded(protobuf.Command(id=6, rpc=protobuf.RPCRequest(method="m"))))
        (reply,) = await heard(client)
        assert (reply.id, reply.error.code, reply.error.temporary) == (6, 108, False)
        assert reply.error.message


async def test_json_and_protobuf_meet(server):
    async with (
        await joined(server, "mix") as json_client,
        await joined_in_protobuf(server, "mix") as protobuf_client,
    ):
        await json_client.ask(publish={"channel": "mix", "data": {"from": "json"}})
        (reply,) = await heard(protobuf_client)
        assert reply.push.channel == "mix"
        assert json.loads(reply.push.pub.data) == {"from": "json"}
        assert reply.push.pub.info.client == json_client.id
        data = b'{\n  "from":\n  "protobuf"\n}\n'
        await protobuf_client.frame(
            BINARY, encoded(protobuf.Command(id=9, publish=protobuf.PublishRequest(channel="mix", data=data)))
        )
        while True:
            publication = await json_client.publication("mix")
            if publication["info"]["client"] == protobuf_client.id:
                break
        assert publication["data"] == {"from": "protobuf"}


async def test_bytes_that_are_no_json_close_json_subscribers(server):
    subscribers = [await joined(server, "bytes") for _ in range(6)]
    async with await joined_in_protobuf(server, "bytes") as publisher:
        await publisher.frame(
            BINARY,
            encoded(
                protobuf.Command(id=9, publish=protobuf.PublishRequest(channel="bytes", data=b"\x00\xff{"))
            ),
        )
        replies = await heard(publisher)
        while len(replies) < 2:
            replies += await heard(publisher)
        assert any(reply.push.pub.data == b"\x00\xff{" for reply in replies)
        for subscriber in subscribers:
            await closes_with(subscriber, 3506)


async def test_silence_before_connect_is_stale(quick):
    async with await Client.open(quick) as client:
        await closes_with(client, 3502)


async def test_pings_are_answered_once(quick):
    async with await joined(quick) as client:
        for _ in range(2):
            assert await client.hear() == {}
            await client.frame(TEXT, "{}")
        assert (await client.ask(unsubscribe={"channel": "c"}))["unsubscribe"] == {}
        assert await client.hear() == {}
        await client.frame(TEXT, "{}\n{}")
        await closes_with(client, 3501)


async def test_pings_come_in_traffic(quick):
    async with await joined(quick) as client:
        pings = 0
        while pings < 2:
            await client.say({"id": 5, "unsubscribe": {"channel": "c"}})
            if await client.hear() == {}:
                pings += 1
                await client.frame(TEXT, "{}")


async def test_missing_pong(quick):
    """Other commands are no pong, however many there are."""
    async with await joined(quick) as client:
        pings = 0
        while True:
            await client.say({"id": 10, "unsubscribe": {"channel": "c"}})
            opcode, _, payload = await client.read_frame()
            if opcode == raw.CLOSE:
                break
            pings += payload == b"{}"
            assert pings <= 1, "the connection outlived an unanswered ping"
            await asyncio.sleep(0.02)
        assert raw.close_of(payload) == (3012, "no pong")


async def test_protobuf_ping(quick):
    async with await joined_in_protobuf(quick) as client:
        assert await client.message() == (BINARY, b"\x00")
        await client.frame(BINARY, b"\x00")
        assert await client.message() == (BINARY, b"\x00")


async def test_pings_as_frames(quick):
    """Asked for by the query, pings are those of RFC 6455 and the connect result announces none."""
    async with await Client.open(quick, path="/connection/websocket?cf_ws_frame_ping_pong=true") as client:
        result = (await client.connect())["connect"]
        assert not {"ping", "pong"} & set(result)
        for _ in range(2):
            opcode, _, payload = await client.read_frame()
            assert opcode == raw.PING
            await client.frame(raw.PONG, payload)
        assert (await client.read_frame())[0] == raw.PING
        await closes_with(client, 3012)


async def test_subscriber_that_does_not_read_is_closed(start):
    """The publisher and a reading subscriber are served to the end; the one that does not read is cut off."""
    server = start("--insecure", config="[limits]\nslow_close_ms = 500\n")
    async with (
        await joined(server, "flood") as slow,
        await joined(server, "flood") as subscriber,
        await joined(server) as publisher,
    ):
        slow.reader._transport.pause_reading()
        data = "x" * 50_000
        for n in range(400):
            assert (await publisher.ask(publish={"channel": "flood", "data": [n, data]}))["publish"] == {}
            assert (await subscriber.publication("flood"))["data"][0] == n
        slow.reader._transport.resume_reading()
        with pytest.raises((Ended, AssertionError)) as cut:
            while True:
                await slow.message()
        assert cut.type is Ended or "3008" in str(cut.value)


async def test_publications_across_shards(server):
    """Sixteen clients on four channels: everybody gets everything once, each publisher's messages in order."""
    channels = [f"across-{n}" for n in range(4)]
    clients = [await joined(server, *channels) for _ in range(16)]
    each = 25

    async def publish(number, client):
        commands = [
            {"id": 1000 + n, "publish": {"channel": channels[(number + n) % 4], "data": [number, n]}}
            for n in range(each)
        ]
        for command in commands:
            await client.say(command)
            await asyncio.sleep(0)

    async def collect(client):
        got, acknowledged = [], 0
        while len(got) < each * len(clients) or acknowledged < each:
            message = await client.hear()
            if "push" in message:
                got.append((message["push"]["channel"], *message["push"]["pub"]["data"]))
            elif "publish" in message:
                acknowledged += 1
        return got

    collecting = [asyncio.create_task(collect(client)) for client in clients]
    await asyncio.gather(*(publish(number, client) for number, client in enumerate(clients)))
    for got in await asyncio.gather(*collecting):
        assert len(set(got)) == len(got) == each * len(clients)
        for number in range(len(clients)):
            for channel in channels:
                order = [n for where, who, n in got if (where, who) == (channel, number)]
                assert order == sorted(order)
    for client in clients:
        client.writer.close()


async def test_names_that_come_and_go_leave_nothing(start):
    """Channels live on for a while after their last subscriber; how many do so is bounded."""
    server = start("--insecure")
    async with await joined(server) as client:
        batch, rounds = 500, 300
        for n in range(rounds):
            commands = []
            for m in range(batch):
                channel = f"fleeting-{n}-{m}"
                commands += [{"id": 1000, "subscribe": {"channel": channel}}, {"id": 1001, "unsubscribe": {"channel": channel}}]
            await client.say(*commands)
            answered = 0
            while answered < 2 * batch:
                reply = await client.hear()
                answered += reply.get("id") in (1000, 1001)
        known = sum(value for (name, _), value in server.samples().items() if name == "roadstead_channels")
        assert known <= 80_000, f"{known} channels of {batch * rounds} names"
        assert (await client.ask(subscribe={"channel": "here to stay"}))["subscribe"] == {}
