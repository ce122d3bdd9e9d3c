"""Keys that the node fetches from an address: new ones, outages, addresses that misbehave, and strangers who ask for keys that are not."""

import asyncio
import json
import signal
import urllib.error
import urllib.request

import pytest

import key_server
from authority import Authority
from conftest import SECRET, cases, own
from key_server import Key, KeyServer, nonsense
from raw import Client
from roadstead import Server, free_port, wait_until
from tokens import token

LATER = 100  # the code of a temporary error


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return [Key(folder, kid) for kid in ("a", "b")]


@pytest.fixture
def provider(keys):
    """An address with the first key."""
    with KeyServer(keys[0]) as server:
        yield server


def settings(server, *more, refresh=300, max_age=86400):
    given = (f"jwks_url={server.url}", f"jwks_refresh_s={refresh}", f"jwks_max_age_s={max_age}", *more)
    return [word for setting in given for word in ("--set", f"token.{setting}")]


async def come(server, shown):
    """How a client is received that shows a token: "in", the code of an error, or that of a close."""
    async with await Client.open(server) as client:
        await client.say({"id": 1, "connect": {"token": shown}})
        opcode, _, payload = await client.read_frame()
        if opcode == 8:
            return int.from_bytes(payload[:2], "big")
        reply = json.loads(payload)
        return "in" if "connect" in reply else reply["error"]["code"]


async def comes_at_last(server, shown, seconds=15):
    """Comes back until it is let in, as an SDK does."""
    async with asyncio.timeout(seconds):
        while (outcome := await come(server, shown)) != "in":
            assert outcome == LATER
            await asyncio.sleep(0.2)


def sample(server, name, **labels):
    labels = {"tokens": "connection", **labels}
    return server.samples().get((f"roadstead_jwks_{name}", tuple(sorted(labels.items()))))


async def test_a_new_key_lets_its_client_in_at_once(start, keys, provider):
    first, second = keys
    server = start(*settings(provider))
    assert await come(server, first.token(sub="ann")) == "in"
    assert (len(provider.asked), sample(server, "keys")) == (1, 1)
    provider.keys = [first, second]
    assert await asyncio.gather(*(come(server, second.token(sub="ben")) for _ in range(10))) == ["in"] * 10
    assert (len(provider.asked), sample(server, "keys")) == (2, 2)
    assert "2 keys from http://127.0.0.1" in server.log()
    # One that is gone may come back, as far as the node knows; it may ask again only after a while.
    provider.keys = [second]
    assert await come(server, first.token(sub="ann")) == "in"
    server.signal(signal.SIGHUP)
    wait_until(lambda: "nothing to apply" in server.log(), what="a reload")
    assert await come(server, second.token(sub="ben")) == "in"
    assert len(provider.asked) == 2, "a reload keeps the keys"


async def test_a_key_that_was_withdrawn_counts_no_more(start, keys, provider):
    first, second = keys
    server = start(*settings(provider, refresh=1))
    assert await come(server, first.token(sub="ann")) == "in"
    provider.keys = [second]
    wait_until(lambda: len(provider.asked) > 2, what="two fetches")
    assert await come(server, second.token(sub="ben")) == "in"
    assert await come(server, first.token(sub="ann")) == 3500


async def test_https_is_trusted_by_its_authority_only(start, keys, tmp_path):
    authority, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other", "other")
    certificate = authority.issue("provider", "IP:127.0.0.1")
    with KeyServer(keys[0], certificate=certificate) as provider:
        server = start(*settings(provider, f"jwks_ca_file={authority.path}"))
        assert await come(server, keys[0].token(sub="ann")) == "in"
        provider.keys = [keys[1]]
        assert await come(server, keys[1].token(sub="ben")) == "in"
        asked = len(provider.asked)
        secret = f"hmac_secret={SECRET}"
        for trusted in ((secret,), (secret, f"jwks_ca_file={other.path}")):
            server = start(*settings(provider, *trusted))
            assert await come(server, keys[1].token(sub="ben")) == LATER
            assert sample(server, "fetches_total", outcome="unreachable") >= 1
            assert "invalid peer certificate" in server.log()
        assert len(provider.asked) == asked


async def test_an_outage_keeps_the_keys_for_a_while(start, keys, provider):
    shown = keys[0].token(sub="ann")
    server = start(*settings(provider, refresh=1, max_age=4))
    assert await come(server, shown) == "in"
    async with await Client.open(server) as stays:
        assert "connect" in await stays.connect(token=shown)
        provider.close()
        wait_until(lambda: sample(server, "fetches_total", outcome="unreachable") >= 1, what="a failure")
        assert await come(server, shown) == "in"
        wait_until(lambda: sample(server, "keys") == 0, what="keys that are too old")
        assert await come(server, shown) == LATER
        wait_until(lambda: "are too old" in server.log(), what="the log to say so")
        assert server.get("/ready")[0] == 200, "an outage does not send everybody away"
        assert sample(server, "age_seconds") > 4
        with KeyServer(keys[0], port=provider.port):
            await comes_at_last(server, shown)
            wait_until(lambda: "answers again" in server.log(), what="the log to say so")
        assert (await stays.ask(rpc={"method": "nothing"}))["error"]["code"] == 108, "who was in stays in"
    log = server.log(0)
    assert log.count("no keys from") <= 3, log


async def test_unknown_keys_cannot_stampede(start, keys, provider):
    server = start(*settings(provider))
    good = [come(server, keys[0].token(sub=f"user {number}")) for number in range(5)]
    bad = [come(server, nonsense(f"unknown {number % 100}")) for number in range(200)]
    outcomes = await asyncio.gather(*bad, *good)
    assert outcomes[200:] == ["in"] * 5
    assert set(outcomes[:200]) <= {LATER, 3500}, set(outcomes)
    assert len(provider.asked) <= 2, "the first one, and one for all of them"
    refused = sample(server, "refused_total", reason="unknown_kid")
    assert 100 <= refused <= 200, refused


FAULTS = cases(
    "fault, outcome",
    [
        ("not there", lambda handler: key_server.answer(handler, 404), "status"),
        ("broken", lambda handler: key_server.answer(handler, 500, b"{}"), "status"),
        ("too long", key_server.too_long, "too_long"),
        ("a long head", key_server.long_head, "too_long"),
        ("an octet now and then", key_server.slow, "late"),
        ("silent", key_server.silent, "late"),
        ("cut off", key_server.cut, "unreachable"),
        ("no HTTP", key_server.no_http, "malformed"),
        ("a page", key_server.body(b"<html>Welcome</html>"), "malformed"),
        ("no octet", key_server.body(b""), "malformed"),
        ("no keys", key_server.body(b'{"keys": []}'), "malformed"),
        ("deep JSON", key_server.body(b'{"keys": ' + b"[" * 100_000), "malformed"),
        ("a loop", key_server.redirect("/keys"), "redirected"),
        ("no address", key_server.redirect("ftp://127.0.0.1/keys"), "redirected"),
    ],
)


@FAULTS
async def test_what_an_address_does_wrong_changes_nothing(start, keys, provider, fault, outcome):
    server = start(*settings(provider, refresh=1))
    shown = keys[0].token(sub="ann")
    assert await come(server, shown) == "in"
    provider.fault = fault
    wait_until(
        lambda: sum(sample(server, "fetches_total", outcome=word) for word in WORDS) >= 1, what="a fault"
    )
    assert sample(server, "fetches_total", outcome=outcome) >= 1, server.samples()
    assert await come(server, shown) == "in"
    assert sample(server, "keys") == 1
    assert "no keys from" in server.log()
    provider.fault = None
    good = sample(server, "fetches_total", outcome="good")
    wait_until(lambda: sample(server, "fetches_total", outcome="good") > good, what="a good fetch")
    assert await come(server, shown) == "in"


WORDS = ("unreachable", "late", "status", "redirected", "too_long", "malformed")


async def test_redirects_are_followed_but_not_out_of_tls(start, keys, provider, tmp_path):
    authority = Authority(tmp_path)
    with KeyServer(keys[0], certificate=authority.issue("provider", "IP:127.0.0.1")) as protected:
        ca = f"jwks_ca_file={authority.path}"
        protected.fault = lambda handler: (
            key_server.redirect("/elsewhere")(handler)
            if handler.path == "/keys"
            else key_server.answer(handler, 200, json.dumps({"keys": [keys[0].jwk]}).encode())
        )
        server = start(*settings(protected, ca))
        assert await come(server, keys[0].token(sub="ann")) == "in"
        protected.fault = key_server.redirect(provider.url)
        server = start(*settings(protected, ca, f"hmac_secret={SECRET}"))
        wait_until(lambda: sample(server, "fetches_total", outcome="redirected") >= 1, what="a refusal")
        assert provider.asked == [] and "from https to http" in server.log()


def status(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


async def test_who_could_let_nobody_in_is_not_ready(keys):
    port, admin = free_port(), free_port()
    nobody = KeyServer(keys[0])
    nobody.close()
    nobody.port = port
    server = Server(*settings(nobody), admin=f"127.0.0.1:{admin}")
    own.append(server)
    try:
        wait_until(lambda: status(admin) == 503, what="an answer")
        wait_until(lambda: "Connection refused" in server.log(), what="the reason")
        assert status(admin) == 503
        with KeyServer(keys[0], port=port):
            server.wait_ready()
            assert await come(server, keys[0].token(sub="ann")) == "in"
        assert status(admin) == 200
    finally:
        own.remove(server)
        server.stop()
        server.remove()


async def test_who_can_let_others_in_is_ready(start, keys):
    nobody = KeyServer(keys[0])
    nobody.close()
    server = start(*settings(nobody, f"hmac_secret={SECRET}"))
    assert await come(server, token(SECRET, sub="ann")) == "in"
    assert await come(server, keys[0].token(sub="ann")) == LATER
    assert sample(server, "keys") == 0
    with KeyServer(keys[0], port=nobody.port):
        await comes_at_last(server, keys[0].token(sub="ann"))


async def test_an_address_can_change_while_the_node_runs(start, keys, provider):
    first, second = keys
    server = start(config=f'[token]\njwks_url = "{provider.url}?key=hidden"\n')
    assert await come(server, first.token(sub="ann")) == "in"
    with KeyServer(second) as other:
        with open(server.config_path, "w", encoding="utf-8") as file:
            file.write(f'[token]\njwks_url = "{other.url}"\n')
        server.signal(signal.SIGHUP)
        wait_until(lambda: "applied token.jwks_url" in server.log(), what="a reload")
        assert await come(server, second.token(sub="ben")) == "in"
        assert await come(server, first.token(sub="ann")) in (LATER, 3500)
    assert provider.asked == ["/keys?key=hidden"] and "hidden" not in server.log(0)


async def test_subscription_tokens_may_have_an_address_of_their_own(start, keys, provider):
    ours, theirs = keys
    with KeyServer(theirs) as other:
        own_keys = ("--set", "subscription_token.enabled=true", "--set", f"subscription_token.jwks_url={other.url}")
        server = start(*settings(provider), *own_keys)
        async with await Client.open(server) as client:
            assert "connect" in await client.connect(token=ours.token(sub="ann"))
            good, bad = (key.token(sub="ann", channel="$a") for key in (theirs, ours))
            assert (await client.ask(subscribe={"channel": "$a", "token": bad}))["error"]["code"] in (LATER, 103)
            assert (await client.ask(subscribe={"channel": "$a", "token": good}))["subscribe"] == {}
        assert sample(server, "keys", tokens="subscription") == 1
