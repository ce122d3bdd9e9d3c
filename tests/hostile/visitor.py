"""A hostile server, and `loadgen` as the client that is attacked.

Outcomes: `succeeds`, `fails` (loadgen says so with its exit code), or what should not be: a signal, a panic, too much memory.
"""

import asyncio
import base64
import hashlib
import os

import parts
import raw

# loadgen takes messages of up to twice its largest payload of 64 MiB, in a buffer that doubles.
CLIENT_BYTES_MAX = 512 * 1024 * 1024
SECONDS_MAX = 20
PANICKED = 101


async def visit(row, io):
    """Serves one client what the row says."""
    server = await asyncio.start_server(lambda reader, writer: serve(row, reader, writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    command = [os.environ["ROADSTEAD_LOADGEN"], "echo", "--url", f"ws://127.0.0.1:{port}/", "--connections", "1"]
    command += ["--compression", "--duration", "1", "--timeout", "3", "--io", io, "--threads", "1", "--progress", "none"]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        peak = asyncio.create_task(watch(process))
        said = (await asyncio.wait_for(process.communicate(), SECONDS_MAX))[0].decode(errors="replace")
    except asyncio.TimeoutError:
        process.kill()
        await process.wait()
        return f"loadgen does not end within {SECONDS_MAX} s"
    finally:
        server.close()
    peak = await peak
    if process.returncode < 0 or process.returncode == PANICKED or "panicked" in said:
        return f"loadgen ended with {process.returncode}: {said}"
    if peak > CLIENT_BYTES_MAX:
        return f"loadgen took {peak} bytes"
    return "fails" if process.returncode else "succeeds"


async def watch(process):
    """The most memory that the process has had."""
    peak = 0
    while process.returncode is None:
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
                peak = max([peak, *(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))])
        except OSError:
            break
        await asyncio.sleep(0.02)
    return peak


async def serve(row, reader, writer):
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(line.split(": ", 1)[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1((key + raw.GUID).encode()).digest()).decode()
        answer = row.get("answer", "HTTP/1.1 101 x\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                                   "Sec-WebSocket-Accept: KEY\\r\\n\\r\\n")  # fmt: skip
        writer.write(parts.octets(answer).replace(b"KEY", accept.encode()))
        for part in parts.plan(row["send"], None):
            writer.write(part)
            await writer.drain()
        while await reader.read(1 << 16):
            pass
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.transport.abort()
