"""Tokens signed with private keys that the node does not have: judged beside the shards, while the client waits."""

import asyncio
import base64
import subprocess

import pytest

from raw import Client
from roadstead import wait_until
from tokens import part


def openssl(*arguments, given=None):
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two RSA keys, the public half of the first in a file."""
    folder = tmp_path_factory.mktemp("keys")
    ours, theirs, public = folder / "ours.pem", folder / "theirs.pem", folder / "public.pem"
    for key in (ours, theirs):
        openssl("genrsa", "-out", str(key), "2048")
    openssl("rsa", "-in", str(ours), "-pubout", "-out", str(public))
    return ours, theirs, public


def signed(key, **claims):
    text = b".".join(part({"alg": "RS256"}, claims))
    signature = openssl("dgst", "-sha256", "-sign", str(key), given=text)
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


async def test_what_is_said_behind_a_token_waits_for_its_verdict(start, keys):
    ours, theirs, public = keys
    server = start("--set", f"token.public_key_files={public}")
    commands = (
        {"id": 1, "connect": {"token": signed(ours, sub="ann")}},
        {"id": 2, "subscribe": {"channel": "$a", "token": signed(ours, sub="ann", channel="$a")}},
        {"id": 3, "subscribe": {"channel": "$b"}},
    )
    async with await Client.open(server) as client:
        await client.say(*commands)
        assert "connect" in await client.hear()
        # A channel of another shard is answered later than a refusal.
        replies = {reply["id"]: reply for reply in (await client.hear(), await client.hear())}
        assert replies[2] == {"id": 2, "subscribe": {}}
        assert replies[3]["error"]["code"] == 103

    async with await Client.open(server) as client:
        await client.say({"id": 1, "connect": {"token": signed(theirs, sub="ann")}})
        assert (await client.closed())[0] == 3500

    async def come(number):
        async with await Client.open(server) as client:
            return "connect" in await client.connect(token=signed(ours, sub=f"user {number}"))

    assert all(await asyncio.gather(*(come(number) for number in range(40))))
    # Shards count at the end of a turn, when the answer may have arrived already.
    expected = {
        ("roadstead_tokens_accepted_total", ()): 42,
        ("roadstead_tokens_refused_total", (("reason", "signature"),)): 1,
    }
    wait_until(lambda: expected.items() <= server.samples().items(), what="the tokens to be counted")
