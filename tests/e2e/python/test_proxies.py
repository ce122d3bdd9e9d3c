"""Clients behind real proxies: each is known, bounded and refused by its own address, and none can give itself another."""

import asyncio
import ssl

import pytest

import raw
from authority import Authority
from conftest import own
from proxies import haproxy, nginx
from roadstead import Server, wait_until

pytestmark = pytest.mark.once

CLIENT, OTHER, DENIED = "127.0.0.5", "127.0.0.6", "127.0.0.66"
RULES = f"""
[proxy]
listen = ["127.0.0.1:0"]
trusted = ["127.0.0.1"]
[guard]
exempt = []
deny = ["{DENIED}"]
connections_per_source = 2
"""


class Target:
    """What raw.request needs of a server."""

    host = "localhost"

    def __init__(self, port):
        self.port = port


async def ask(port, address, context=None, headers=()):
    """Asks for an upgrade from `address`: (status, writer); the status is 0 where nothing is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0), ssl=context)
    try:
        writer.write(raw.request(Target(port), path="/echo", headers=headers))
        await writer.drain()
        status, _ = await raw.read_head(reader)
    except (ConnectionError, asyncio.IncompleteReadError):
        status = 0
    return status, reader, writer


async def assert_known_by_address(port, context=None):
    """What is the same behind every proxy. Over TLS who is refused gets no answer."""
    denied, full = (0, 0) if context else (403, 429)

    async def status(address, headers=()):
        try:
            said, _, writer = await ask(port, address, context, headers)
            writer.close()
            return said
        except (ConnectionError, ssl.SSLError):
            return 0

    assert await status(DENIED) == denied
    assert await status(DENIED, [("X-Forwarded-For", CLIENT)]) == denied, "nobody gives himself an address"
    assert await status(CLIENT, [("X-Forwarded-For", DENIED)]) == 101
    held = []
    for _ in range(2):
        end = asyncio.get_running_loop().time() + raw.WAIT_SECONDS
        said, reader, writer = await ask(port, CLIENT, context)
        while said != 101:  # an earlier one may not be gone yet
            assert asyncio.get_running_loop().time() < end, said
            await asyncio.sleep(0.05)
            said, reader, writer = await ask(port, CLIENT, context)
        held.append((reader, writer))
    assert await status(CLIENT) == full
    assert await status(OTHER) == 101
    for reader, writer in held:
        writer.write(raw.frame(raw.TEXT, "through"))
        assert await asyncio.wait_for(reader.readexactly(9), raw.WAIT_SECONDS) == b"\x81\x07through"
        writer.close()


def serve(*arguments):
    server = Server("--insecure", "--echo", *arguments, config=RULES)
    own.append(server)
    server.wait_ready()
    return server, *(port for _, port in server.addresses)


@pytest.fixture
def running(start):
    """Proxies of one test, stopped after it; `start` ends its servers."""
    proxies = []
    yield proxies
    for proxy in proxies:
        proxy.stop()


@pytest.mark.parametrize("version", [1, 2])
async def test_haproxy_passes_connections_on(running, version):
    server, direct, proxied = serve()
    proxy, connections, _ = haproxy(direct, proxied, version)
    running.append(proxy)
    await assert_known_by_address(connections)
    refused = ("roadstead_guard_refused_total", (("reason", "proxy_header"),))
    assert server.samples()[refused] == 0, "its looks whether the node lives are headers too"


async def test_haproxy_passes_tls_on(running, tmp_path):
    authority = Authority(tmp_path / "authority")
    cert, key = authority.issue("node", "DNS:node.example")
    _, direct, proxied = serve("--tls-cert", cert, "--tls-key", key)
    proxy, connections, _ = haproxy(direct, proxied)
    running.append(proxy)
    context = ssl.create_default_context(cafile=authority.path)
    context.check_hostname = False
    await assert_known_by_address(connections, context)


async def test_haproxy_passes_requests_on(running):
    _, direct, proxied = serve()
    proxy, _, requests = haproxy(direct, proxied)
    running.append(proxy)
    await assert_known_by_address(requests)


async def test_nginx_passes_requests_on(running):
    _, direct, _ = serve()
    proxy, requests = nginx(direct)
    running.append(proxy)
    await assert_known_by_address(requests)


async def test_sources_are_shown_by_client(running):
    server, direct, _ = serve()
    proxy, requests = nginx(direct)
    running.append(proxy)
    _, _, writer = await ask(requests, CLIENT)
    series = ("roadstead_guard_source", (("measure", "connections"), ("source", CLIENT)))
    wait_until(lambda: server.samples().get(series) == 1, what="the client's address in the metrics")
    writer.close()
