"""TLS on the listen addresses: versions, large messages both ways, goodbyes, and peers that do not speak it."""

import asyncio
import json
import os
import ssl
import subprocess

import pytest
import websockets

from conftest import own
from roadstead import Server


def certificate(folder):
    """A self-signed certificate for 127.0.0.1; its path and the key's."""
    paths = [os.path.join(folder, name) for name in ("cert.pem", "key.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=roadstead", "-addext", "subjectAltName=IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]],
        check=True, capture_output=True, timeout=20,
    )  # fmt: skip
    return paths


def trusting(cert, version=ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=cert)
    context.minimum_version = context.maximum_version = version
    return context


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    cert, key = certificate(tmp_path_factory.mktemp("tls"))
    server = Server("--insecure", "--echo", "--tls-cert", cert, "--tls-key", key).wait_ready()
    server.cert = cert
    yield server
    code, log = server.stop(), server.log()
    server.remove()
    assert code == 0 and "panicked" not in log, log


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])
async def test_clients_exchange_messages(encrypted, version):
    url = encrypted.url.replace("ws://", "wss://")
    context = trusting(encrypted.cert, version)
    async with websockets.connect(url, ssl=context) as one, websockets.connect(url, ssl=context) as two:
        for client in (one, two):
            await client.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"tls"}}')
            heard = "\n".join([await client.recv(), await client.recv()])
            assert '"connect":{' in heard and '"subscribe":{' in heard
        await one.send('{"id":3,"publish":{"channel":"tls","data":"over TLS"}}')
        pushed = json.loads(await two.recv())
        assert pushed["push"]["pub"]["data"] == "over TLS"


@pytest.mark.parametrize("size", [0, 1, 16_384, 70_000, 3_000_000])
async def test_echo_of_any_size(encrypted, size):
    url = f"wss://{encrypted.ready['listen']}/echo"
    payload = os.urandom(size)
    async with websockets.connect(url, ssl=trusting(encrypted.cert), max_size=None, compression=None) as client:
        for _ in range(3):
            await client.send(payload)
        for _ in range(3):
            assert await client.recv() == payload


async def test_a_close_ends_with_a_goodbye(encrypted):
    url = f"wss://{encrypted.ready['listen']}/echo"
    client = await websockets.connect(url, ssl=trusting(encrypted.cert))
    await client.close(1000, "bye")
    assert client.close_code == 1000


async def test_resumption(encrypted):
    context = trusting(encrypted.cert, ssl.TLSVersion.TLSv1_2)

    def handshake(session):
        import socket

        with socket.create_connection((encrypted.host, encrypted.port), timeout=5) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as stream:
                return stream.session, stream.session_reused

    session, first = await asyncio.to_thread(handshake, None)
    results = [(await asyncio.to_thread(handshake, session))[1] for _ in range(4)]
    assert first is False and all(results), "a ticket is good on every shard"


def hello():
    """The first record of a real client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    stream = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="roadstead")
    with pytest.raises(ssl.SSLWantReadError):
        stream.do_handshake()
    return outgoing.read()


def split_hello():
    """The first 40 bytes of the hello in a record of their own: half a handshake message, whole records."""
    return b"\x16\x03\x01\x00\x28" + hello()[5:45]


async def test_stop_amid_handshakes(tmp_path):
    cert, key = certificate(tmp_path)
    server = Server("--insecure", "--echo", "--tls-cert", cert, "--tls-key", key).wait_ready()
    own.append(server)
    writers = []
    for cut in (0, 3, 20, 60, None):
        _, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(hello()[:cut] if cut != 60 else split_hello())
        writers.append(writer)
    await asyncio.sleep(0.5)
    code, log = await asyncio.to_thread(server.stop), server.log()
    assert code == 0 and "panicked" not in log, log
    for writer in writers:
        writer.close()


def test_bad_certificates_are_refused(tmp_path):
    cert, key = certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, strange = certificate(other)
    for pair, named in [((cert, strange), "tls.key"), ((key, key), "tls.certificate"), (("/no/such", key), "/no/such")]:
        server = Server("--insecure", "--tls-cert", pair[0], "--tls-key", pair[1])
        own.append(server)
        assert server.process.wait(20) == 78
        assert named in server.log(), server.log()
