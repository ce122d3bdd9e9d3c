"""Connection tokens: who gets in as whom, and what each kind of bad token gets."""

import os

import pytest

import raw
from conftest import GUARDED, SECRET, cases
from raw import Client, joined
from roadstead import command_line
from tokens import token


def minted(*arguments, server, environment=None):
    code, out, err = command_line(
        "token", "--config", server.config_path, *arguments, environment=environment
    )
    assert code == 0, err
    return out.strip()


async def test_minted_token_is_accepted(guarded):
    async with await Client.open(guarded) as client:
        result = (await client.connect(token=minted("--user", "ann", server=guarded)))["connect"]
        assert result["subs"] == {"#ann": {}}


async def test_user_is_in_publications(guarded):
    async with await joined(guarded, "room", token=token(SECRET, sub="ann", info={"name": "Ann"})) as ann:
        await ann.ask(publish={"channel": "room", "data": 1})
        async with await joined(guarded, "room", token=token(SECRET, sub="bob")) as bob:
            await ann.ask(publish={"channel": "room", "data": 2})
            info = (await bob.publication("room"))["info"]
            assert (info["user"], info["client"]) == ("ann", ann.id)


async def test_personal_channel_reaches_every_device(guarded):
    first = await joined(guarded, token=token(SECRET, sub="carl"))
    second = await joined(guarded, token=token(SECRET, sub="carl"))
    other = await joined(guarded, token=token(SECRET, sub="dora"))
    assert (await other.ask(publish={"channel": "#carl", "data": "hello"}))["publish"] == {}
    for device in (first, second):
        assert (await device.publication("#carl"))["data"] == "hello"
    await other.say({"id": 90, "unsubscribe": {"channel": "nothing"}})
    assert await other.hear() == {"id": 90, "unsubscribe": {}}, "nobody else hears it"
    for client in (first, second, other):
        client.writer.close()


async def test_personal_channel_of_another_is_denied(guarded):
    async with await joined(guarded, token=token(SECRET, sub="eve")) as eve:
        assert (await eve.ask(subscribe={"channel": "#ann"}))["error"]["code"] == 103
        assert (await eve.ask(subscribe={"channel": "#eve"}))["error"]["code"] == 105, (
            "already subscribed by the server"
        )


async def test_longest_user_has_a_channel(guarded):
    async with await joined(guarded, token=token(SECRET, sub="u" * 254)) as client:
        assert (await client.ask(subscribe={"channel": "#" + "u" * 254}))["error"]["code"] == 105


@cases(
    "command, code",
    [
        ("subscribe to a namespace that is not there", {"subscribe": {"channel": "nowhere:1"}}, 102),
        ("publish to a namespace that is not there", {"publish": {"channel": "nowhere:1", "data": 1}}, 102),
        ("subscribe to a private channel", {"subscribe": {"channel": "$room"}}, 103),
        ("subscribe where others are listed", {"subscribe": {"channel": "room#bob,carl"}}, 103),
        ("subscribe with a token that is none", {"subscribe": {"channel": "room", "token": "a.b.c"}}, 103),
    ],
)
async def test_refused(guarded, command, code):
    async with await joined(guarded, token=token(SECRET, sub="ann")) as ann:
        assert (await ann.ask(**command))["error"]["code"] == code
        assert (await ann.ask(subscribe={"channel": "room#ann,bob"}))["subscribe"] == {}, "the rest goes on"


@cases(
    "bad",
    [
        ("garbage", "garbage"),
        ("three dots", "a.b.c"),
        ("another secret", token("another-secret-altogether", sub="ann")),
        ("no algorithm", token(SECRET, "none", sub="ann")),
        ("a changed claim", token(SECRET, sub="ann").replace(".ey", ".fy", 1)),
        ("a cut signature", token(SECRET, sub="ann")[:-2]),
        ("an expired token of another secret", token("another-secret-altogether", sub="ann", exp=-60)),
        ("a channel claim", token(SECRET, sub="ann", channel="room")),
        ("a numeric user", token(SECRET, sub=7)),
        ("a user too long for a channel", token(SECRET, sub="u" * 255)),
    ],
)
async def test_bad_token(guarded, bad):
    async with await Client.open(guarded) as client:
        await client.say({"id": 1, "connect": {"token": bad}})
        assert await client.closed() == (3500, "invalid token")


@pytest.mark.parametrize("claims", [{"exp": -60}, {"nbf": 3600}])
async def test_token_out_of_time_is_109_and_ends_the_conversation(guarded, claims):
    async with await Client.open(guarded) as client:
        late = token(SECRET, sub="ann", **claims)
        await client.say(
            {"id": 1, "connect": {"token": late}},
            {"id": 2, "subscribe": {"channel": "room"}},
            {"id": 3, "publish": {"channel": "room", "data": 1}},
        )
        reply = await client.hear()
        assert (reply["id"], reply["error"]["code"]) == (1, 109)
        await client.frame(raw.CLOSE, b"\x03\xe8")
        opcode, _, _ = await client.read_frame()
        assert opcode == raw.CLOSE, "the commands behind a failed connect are not answered"


async def test_token_that_expires_later_says_when(guarded):
    async with await Client.open(guarded) as client:
        result = (await client.connect(token=token(SECRET, sub="ann", exp=600)))["connect"]
        assert result["expires"] is True
        assert 590 <= result["ttl"] <= 600


async def test_no_token(guarded):
    async with await Client.open(guarded) as client:
        await client.say({"id": 1, "connect": {}})
        assert (await client.closed())[0] == 3501


async def test_token_counts_in_development_mode(start):
    server = start("--insecure", config=GUARDED)
    async with await Client.open(server) as client:
        assert "#ann" in (await client.connect(token=token(SECRET, sub="ann")))["connect"]["subs"]
    async with await Client.open(server) as client:
        await client.say({"id": 1, "connect": {"token": "garbage"}})
        assert (await client.closed())[0] == 3500
    async with await Client.open(server) as client:
        assert "subs" not in (await client.connect())["connect"], "anonymous clients have no personal channel"


@pytest.mark.once
def test_secret_from_file_and_environment(guarded, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    os.chmod(secret, 0o600)
    code, out, err = command_line(
        "token", "--user", "ann", environment={"ROADSTEAD_TOKEN__HMAC_SECRET_FILE": str(secret)}
    )
    assert code == 0, err
    assert len(out.strip().split(".")) == 3
