"""Certificates on the listen addresses: several hosts, renewal under way, certificates of clients, tickets, and many handshakes."""

import asyncio
import json
import os
import signal
import socket
import ssl

import pytest
import websockets

from authority import Authority
from conftest import GUARDED, own
from roadstead import Server, command_line, wait_until


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def serve(*arguments, config="", **options):
    server = Server("--echo", *arguments, config=config, **options)
    own.append(server)
    return server.wait_ready()


def trusting(authority, certificate=None, version=None):
    context = ssl.create_default_context(cafile=authority.path)
    if certificate:
        context.load_cert_chain(*certificate)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def handshake(server, context, host="a.example", session=None, alpn=None):
    """One handshake: the certificate's names, whether it was resumed, the session, the agreed protocol."""
    if alpn:
        context.set_alpn_protocols(alpn)
    with socket.create_connection((server.host, server.port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=host, session=session) as stream:
            # The answer to a request comes behind the tickets, and behind a refusal of the certificate.
            stream.sendall(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
            assert stream.recv(12) == b"HTTP/1.1 404"
            names = {name for _, name in (stream.getpeercert() or {}).get("subjectAltName", ())}
            return names, stream.session_reused, stream.session, stream.selected_alpn_protocol()


def names(server, context, host):
    return handshake(server, context, host)[0]


async def test_each_host_has_its_certificate(authority, tmp_path):
    first = authority.issue("first", "DNS:a.example")
    second = authority.issue("second", "DNS:b.example", "DNS:*.b.example")
    third = authority.issue("third", "DNS:x.b.example")
    both = tmp_path / "third.pem"
    both.write_text(open(third[0]).read() + open(third[1]).read())
    server = serve("--insecure", "--tls-cert", first[0], "--tls-key", first[1],
                   "--set", f"tls.certificates={second[0]}:{second[1]},{both}")  # fmt: skip
    context = trusting(authority)
    for host, named in [("a.example", "a.example"), ("b.example", "b.example"), ("y.b.example", "*.b.example")]:
        assert named in names(server, context, host), host
    assert names(server, context, "x.b.example") == {"x.b.example"}
    context.check_hostname = False
    assert names(server, context, "unknown.example") == names(server, context, None) == {"a.example"}
    assert handshake(server, trusting(authority), alpn=["h2", "http/1.1"])[3] == "http/1.1"
    with pytest.raises(ssl.SSLError):
        handshake(server, trusting(authority), alpn=["h2"])
    async with websockets.connect(
        f"wss://{server.ready['listen']}/echo", ssl=trusting(authority), server_hostname="b.example"
    ) as client:
        await client.send("here")
        assert await client.recv() == "here"
    left = [value for (name, _), value in server.samples().items() if name == "roadstead_tls_certificate_expires_in_seconds"]
    assert len(left) == 3 and all(86_400 < seconds < 2 * 86_400 + 60 for seconds in left), left


@pytest.mark.limit(60)
@pytest.mark.parametrize("way", ["watched", "SIGHUP"])
async def test_a_renewal_drops_nobody(authority, tmp_path, way):
    files = (str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    authority.issue("old", "DNS:a.example", "DNS:old.example", into=files)
    server = serve("--insecure", "--tls-cert", files[0], "--tls-key", files[1])
    context = trusting(authority)
    reloads = "roadstead_tls_certificate_reloads_total"

    def count(result):
        return server.samples()[reloads, (("result", result),)]

    async with websockets.connect(
        f"wss://{server.ready['listen']}/echo", ssl=context, server_hostname="a.example"
    ) as client:
        good = open(files[0]).read()
        with open(files[0], "w") as file:
            file.write("no certificate")
        if way == "SIGHUP":
            server.signal(signal.SIGHUP)
        await asyncio.to_thread(wait_until, lambda: count("refused") >= 1)
        assert "old.example" in await asyncio.to_thread(names, server, context, "a.example"), "the old one stays"
        assert "no certificate" in server.log() and server.get("/ready")[0] == 200
        with open(files[0], "w") as file:
            file.write(good)
        authority.issue("new", "DNS:a.example", "DNS:new.example", into=files)
        if way == "SIGHUP":
            server.signal(signal.SIGHUP)
        await asyncio.to_thread(wait_until, lambda: "new.example" in names(server, context, "a.example"))
        assert count("applied") >= 1
        await client.send("still here")
        assert await client.recv() == "still here"


@pytest.mark.parametrize("kernel", ["auto", "off"])
def test_without_tls_in_the_kernel_records_are_made_here(authority, kernel):
    cert, key = authority.issue("kernel", "DNS:a.example")
    server = serve("--insecure", "--tls-cert", cert, "--tls-key", key, "--set", f"tls.kernel={kernel}")
    assert names(server, trusting(authority), "a.example") == {"a.example"}
    assert ("the kernel has" in server.log()) == (kernel == "auto")


async def test_a_certificate_near_its_end_is_told_of(authority, tmp_path):
    expired = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    authority.issue("expired", "DNS:a.example", into=expired, days=0)
    server = serve("--insecure", "--tls-cert", expired[0], "--tls-key", expired[1])
    await asyncio.to_thread(wait_until, lambda: "the certificate of a.example has expired" in server.log())


def test_settings_that_do_not_fit_are_refused(authority):
    cert, key = authority.issue("alone", "DNS:a.example")
    for settings, named in [
        ({"tls.certificate": cert, "tls.key": key, "tls.certificates": f"{cert}:/no/such"}, "/no/such"),
        ({"tls.certificate": cert, "tls.key": key, "tls.client_ca": key}, "tls.client_ca"),
        ({"tls.client_ca": authority.path}, "tls.certificate"),
        ({"tls.certificate": cert, "tls.key": key, "tls.client_user": "dns"}, "tls.client_ca"),
    ]:
        flags = [part for item in settings.items() for part in ("--set", "=".join(item))]
        code, _, said = command_line("config", "check", *flags)
        assert code == 78 and named in said, said


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


@VERSIONS
async def test_clients_show_certificates(authority, tmp_path, version):
    cert, key = authority.issue("server", "DNS:a.example")
    alice = authority.issue("alice", "email:alice@a.example")
    stranger = Authority(tmp_path, "stranger").issue("mallory", "email:alice@a.example")
    tls = ["--tls-cert", cert, "--tls-key", key, "--set", f"tls.client_ca={authority.path}"]
    strict = serve("--insecure", *tls)
    lenient = serve("--set", "tls.client_certificates=optional", "--set", "tls.client_user=email", *tls, config=GUARDED)

    for server, shown, is_served in [
        (strict, alice, True),
        (strict, None, False),
        (strict, stranger, False),
        (lenient, alice, True),
        (lenient, None, True),
        (lenient, stranger, False),
    ]:
        context = trusting(authority, shown, version)
        if is_served:
            assert "a.example" in (await asyncio.to_thread(handshake, server, context))[0]
        else:
            with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
                await asyncio.to_thread(handshake, server, context)
    failed = strict.samples()["roadstead_tls_handshakes_failed_total", (("reason", "failed"),)]
    assert failed == 2

    async def connected(context):
        url = lenient.url.replace("ws://", "wss://")
        async with websockets.connect(url, ssl=context, server_hostname="a.example") as client:
            await client.send('{"id":1,"connect":{}}')
            return json.loads(await client.recv())

    # The user's own channel says who the certificate speaks for.
    reply = await connected(trusting(authority, alice, version))
    assert list(reply["connect"]["subs"]) == ["#alice@a.example"], reply
    with pytest.raises(websockets.ConnectionClosed):
        await connected(trusting(authority, None, version))


@VERSIONS
async def test_a_ticket_is_good_on_every_shard(authority, version):
    cert, key = authority.issue("resuming", "DNS:a.example")
    server = serve("--insecure", "--tls-cert", cert, "--tls-key", key)
    context = trusting(authority, version=version)
    session = handshake(server, context)[2]
    assert all(handshake(server, context, session=session)[1] for _ in range(8))
    samples = server.samples()
    counted = [samples["roadstead_tls_handshakes_total", (("kind", kind),)] for kind in ("full", "resumed")]
    assert counted == [1, 8]


@pytest.mark.limit(60)
async def test_a_storm_of_handshakes_waits_and_does_not_stop_who_is_served(authority):
    cert, key = authority.issue("storm", "DNS:a.example")
    server = serve("--insecure", "--tls-cert", cert, "--tls-key", key, "--set", "tls.handshakes_per_s=20",
                   "--set", "client.handshake_timeout_s=4", shards=1)  # fmt: skip
    context = trusting(authority)
    url = f"wss://{server.ready['listen']}/echo"
    async with websockets.connect(url, ssl=context, server_hostname="a.example") as served:

        async def one():
            try:
                async with websockets.connect(url, ssl=context, server_hostname="a.example") as client:
                    await client.send("x")
                    return await client.recv() == "x"
            except (OSError, EOFError, websockets.WebSocketException):
                return False

        storm = [asyncio.create_task(one()) for _ in range(150)]
        while not all(task.done() for task in storm):
            await served.send("still here")
            assert await asyncio.wait_for(served.recv(), 2) == "still here"
            await asyncio.sleep(0.05)
        came_through = sum(task.result() for task in storm)
        samples = server.samples()
        refused = samples["roadstead_tls_handshakes_failed_total", (("reason", "busy"),)]
        assert came_through >= 30 and refused >= 60, (came_through, refused)
        assert samples["roadstead_tls_handshakes_waiting", ()] == 0
        assert await one(), "after the storm there is room again"
