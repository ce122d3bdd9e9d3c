"""The load generator as its users run it: against the gateway and against a server that is not ours."""

import asyncio
import json
import os

import pytest
import websockets

from conftest import OPEN, SECRET
from roadstead import IO, clean_environment

LOADGEN = os.environ.get("ROADSTEAD_LOADGEN", "")

pytestmark = pytest.mark.skipif(not LOADGEN, reason="ROADSTEAD_LOADGEN does not name the load generator")


async def run(tmp_path, *arguments):
    """Runs it once: (exit code, what --json wrote, all it said)."""
    result = tmp_path / "result.json"
    process = await asyncio.create_subprocess_exec(
        LOADGEN,
        *arguments,
        "--io",
        IO,
        "--threads",
        "1",
        "--json",
        str(result),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=clean_environment(),
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, json.loads(result.read_text()) if result.exists() else None, said.decode()


def echo_url(server):
    return f"ws://{server.host}:{server.port}/echo"


@pytest.mark.limit(90)
@pytest.mark.parametrize(
    "scenario, flags",
    [
        ("connect", ["--connections", "200", "--rate", "400"]),
        ("idle", ["--connections", "200", "--duration", "2"]),
        ("echo", ["--connections", "20", "--rate", "2000", "--duration", "2", "--size", "1KiB"]),
        ("echo", ["--connections", "20", "--depth", "16", "--duration", "2"]),
    ],
    ids=["connect", "idle", "echo at a rate", "echo in a closed loop"],
)
async def test_raw_websocket(server, tmp_path, scenario, flags):
    code, result, said = await run(tmp_path, scenario, "--url", echo_url(server), *flags)
    assert code == 0, said
    assert result["ok"] is True and result["scenario"] == scenario
    assert result["connections"]["opened"] == int(flags[1]) and result["connections"]["failed"] == 0
    if scenario == "echo":
        assert result["messages"]["received"] >= 1000


@pytest.mark.limit(90)
@pytest.mark.parametrize("encoding", [[], ["--protobuf"]], ids=["json", "protobuf"])
async def test_fanout(server, tmp_path, encoding):
    flags = ["--connections", "300", "--channels", "3", "--rate", "50", "--duration", "2", *encoding]
    code, result, said = await run(tmp_path, "fanout", "--url", server.url, *flags)
    assert code == 0, said
    assert result["messages"]["received"] >= 50 * 100


@pytest.mark.limit(90)
@pytest.mark.parametrize(
    "scenario, flags",
    [
        ("direct", ["--rate", "300"]),
        ("slow", ["--slow-share", "0.2", "--channels", "4", "--rate", "50", "--size", "4KiB"]),
        ("storm", ["--storm-share", "1", "--channels", "10", "--subscriptions", "5", "--backoff-min", "200ms"]),
        ("churn", ["--churn-rate", "200", "--channels", "10"]),
        ("mixed", ["--channels", "10", "--rate", "50", "--storm-share", "0.3"]),
    ],
    ids=["direct", "slow", "storm", "churn", "mixed"],
)
async def test_unrest(server, tmp_path, scenario, flags):
    """Nobody but those who stall or are cut off loses anything, and all come back."""
    line = [scenario, "--url", server.url, "--connections", "200", "--duration", "3", *flags]
    code, result, said = await run(tmp_path, *line)
    assert code == 0, said
    assert result["messages"]["received"] >= 100 and result["messages"]["lost"] == 0
    unrest = result["unrest"]
    assert unrest["back"] == unrest["cut"] + unrest["churned"] and unrest["away"] == 0


@pytest.mark.limit(90)
async def test_users_with_tokens(guarded, tmp_path):
    flags = ["--connections", "50", "--subscribe", "--token-secret", SECRET, "--duration", "1"]
    code, _, said = await run(tmp_path, "idle", "--url", guarded.url, *flags)
    assert code == 0, said
    code, result, said = await run(
        tmp_path, "idle", "--url", guarded.url, *flags[:2], "--subscribe", "--duration", "1"
    )
    assert code == 1, said
    assert result["connections"]["failed"] == 50


@pytest.mark.limit(90)
async def test_deflated_fanout(start, tmp_path):
    server = start(*OPEN, "--compression")
    flags = ["--connections", "50", "--rate", "50", "--duration", "2", "--size", "1KiB", "--compression"]
    code, result, said = await run(tmp_path, "fanout", "--url", server.url, *flags)
    assert code == 0, said
    assert result["messages"]["received"] >= 50 * 50
    deflated = server.samples()[("roadstead_deflate_deflated_bytes_total", ())]
    assert 0 < deflated < result["messages"]["received"] * 100, "once for all, not for each"


@pytest.mark.limit(90)
@pytest.mark.parametrize("deflates", [[], ["--compression"]], ids=["plain", "deflated"])
async def test_another_server(tmp_path, deflates):
    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0, ping_interval=None) as serving:
        port = serving.sockets[0].getsockname()[1]
        flags = ["--connections", "10", "--rate", "500", "--duration", "2", *deflates]
        code, result, said = await run(tmp_path, "echo", "--url", f"ws://127.0.0.1:{port}/", *flags)
    assert code == 0, said
    assert result["messages"]["received"] >= 500


@pytest.mark.limit(90)
async def test_lost_messages_are_a_failure(tmp_path):
    """A server that answers every second message only."""

    async def forget(connection):
        heard = 0
        async for message in connection:
            heard += 1
            if heard % 2:
                await connection.send(message)

    async with websockets.serve(forget, "127.0.0.1", 0, ping_interval=None) as serving:
        port = serving.sockets[0].getsockname()[1]
        flags = ["--connections", "4", "--rate", "100", "--duration", "1", "--drain", "1"]
        code, result, said = await run(tmp_path, "echo", "--url", f"ws://127.0.0.1:{port}/", *flags)
    assert code == 1, said
    assert result["ok"] is False and result["faults"]


@pytest.mark.once
async def test_nobody_listens(tmp_path):
    code, result, said = await run(tmp_path, "connect", "--url", "ws://127.0.0.1:1/", "--connections", "3")
    assert code == 1, said
    assert result["connections"]["failed"] == 3


@pytest.mark.once
@pytest.mark.parametrize("arguments", [["fly"], ["echo"], ["echo", "--url", "http://127.0.0.1:1/"]])
async def test_usage(tmp_path, arguments):
    code, _, said = await run(tmp_path, *arguments)
    assert code == 2, said
