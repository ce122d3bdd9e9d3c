"""The process as operators see it: readiness, health, metrics, signals, systemd, exit codes, messages."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

import raw
from conftest import GUARDED, SECRET
from raw import joined
from roadstead import BINARY, IO, clean_environment, command_line, wait_until

OK, FAILURE, USAGE, CONFIGURATION = 0, 1, 2, 78


def serve(*arguments, environment=None, seconds=20):
    """A server that must not get ready: (exit code, stdout, stderr)."""
    address = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--io", IO, "--shards", "1"]
    return command_line("serve", *address, *arguments, environment=environment, seconds=seconds)


def test_ready_line(server):
    assert list(server.ready) == ["listen", "admin", "io", "shards"]
    assert server.ready["shards"] == "2"
    if IO != "auto":
        assert server.ready["io"] == IO


@pytest.mark.parametrize("path", ["/health", "/live", "/ready"])
def test_probe(server, path):
    assert server.get(path)[0] == 200


def test_metrics(server):
    status, text, headers = server.get("/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(text))
    names = {family.name for family in families}
    assert "roadstead_build_info" in {name.removesuffix("_info") + "_info" for name in names}
    assert any(name.startswith("process_") for name in names)
    units = ("_milliseconds", "_ms", "_us", "_kib", "_mib", "_kilobytes", "_minutes")
    for family in families:
        assert re.fullmatch(r"(roadstead|process)_[a-z0-9_]+", family.name), family.name
        assert family.documentation.strip(), f"{family.name} has no HELP"
        assert family.type in ("counter", "gauge", "histogram", "summary", "info"), (
            f"{family.name} has no TYPE"
        )
        assert family.samples, family.name
        assert not family.name.endswith(units), f"{family.name} is not in base units"
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total"), sample.name
            assert not {"channel", "user", "client", "address", "ip"} & set(sample.labels), sample
    declared = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(declared) == len(set(declared)), "a name is declared twice"


async def test_metrics_move_with_the_work(server):
    def total(samples, name):
        values = [value for (sample, _), value in samples.items() if sample == name]
        assert values, f"no metric {name}; there are {sorted({sample for sample, _ in samples})}"
        return sum(values)

    def counted():
        samples = server.samples()
        gauges = [
            total(samples, f"roadstead_{name}") for name in ("connections", "sessions", "subscriptions")
        ]
        return min(gauges) >= 1 and max(gauges) <= total(samples, "roadstead_connections_max")

    before = server.samples()
    async with await joined(server, "measured") as client:
        for n in range(10):
            await client.ask(publish={"channel": "measured", "data": n})
        await asyncio.to_thread(wait_until, counted, what="the client is counted")
    after = server.samples()
    grown = {
        "roadstead_connections_accepted_total": 1,
        "roadstead_upgrades_total": 1,
        "roadstead_commands_total": 12,
        "roadstead_publications_total": 10,
        "roadstead_deliveries_total": 10,
        "roadstead_received_bytes_total": 300,
        "roadstead_sent_bytes_total": 300,
    }
    for counter, least in grown.items():
        assert total(after, counter) >= total(before, counter) + least, counter
    assert not [key for key in after if "measured" in str(key)], "a channel's name is in the metrics"


async def test_both_shards_serve(server):
    clients = [await joined(server) for _ in range(24)]

    def spread():
        connections = {
            dict(labels)["shard"]: value
            for (name, labels), value in server.samples().items()
            if name == "roadstead_shard_connections"
        }
        assert set(connections) == {"0", "1"}
        return all(connections.values())

    await asyncio.to_thread(wait_until, spread, what="connections on both shards")
    for client in clients:
        client.writer.close()


def test_status(server):
    status, text, _ = server.get("/status")
    assert status == 200
    assert json.loads(text)["shards"] == 2


def test_admin_answers_loopback_names_only(server):
    """A page elsewhere cannot read the node through a name that it makes resolve to 127.0.0.1."""
    assert server.get("/metrics", {"Host": "evil.example"})[0] == 403
    assert server.get("/metrics", {"Host": "localhost:9000"})[0] == 200


@pytest.mark.once
def test_admin_key(start, tmp_path):
    key = tmp_path / "key"
    key.write_text("the-key-of-an-operator\n")
    os.chmod(key, 0o600)
    server = start("--insecure", environment={"ROADSTEAD_ADMIN_KEY_FILE": str(key)})
    assert server.get("/live")[0] == 200
    assert server.get("/metrics")[0] == 401
    assert server.get("/metrics", {"X-API-Key": "another"})[0] == 401
    assert server.get("/metrics", {"X-API-Key": "the-key-of-an-operator"})[0] == 200


def test_ipv6_and_several_addresses(start):
    server = start("--insecure", listen=["127.0.0.1:0", "[::1]:0"])
    assert len(server.addresses) == 2
    for host, port in server.addresses:
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.settimeout(10)
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert connection.recv(12).startswith(b"HTTP/1.1 4")


@pytest.mark.limit(60)
async def test_sigterm_with_clients(start):
    server = start(*("--insecure", "--echo"), config="[shutdown]\nclose_ms = 3000\n")
    clients = [await joined(server, f"room-{n % 7}") for n in range(100)]
    echoes = [await raw.Client.open(server, "/echo") for _ in range(5)]
    silent = [await asyncio.open_connection(server.host, server.port) for _ in range(5)]
    server.signal(signal.SIGTERM)
    for client in clients:
        assert await client.closed() == (3001, "shutdown")
        await client.ended()
    for client in echoes:
        assert (await client.closed())[0] in (1001, 3001)
    assert await asyncio.to_thread(server.wait) == OK
    for _, writer in silent:
        writer.close()


@pytest.mark.limit(60)
async def test_sigterm_with_clients_that_do_not_answer(start):
    """Clients that ignore the close frame cannot keep the process alive."""
    server = start("--insecure", config="[shutdown]\nclose_ms = 1000\n")
    clients = [await joined(server) for _ in range(20)]
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == OK
    for client in clients:
        client.writer.close()


def test_sigint_ends_it_too(start):
    server = start("--insecure")
    server.signal(signal.SIGINT)
    assert server.wait() == OK


def test_not_ready_while_it_ends(start):
    server = start("--insecure", config="[shutdown]\nclose_ms = 3000\n")
    with socket.create_connection((server.host, server.port), timeout=10) as held:
        held.sendall(raw.request(server))
        assert held.recv(12) == b"HTTP/1.1 101"
        server.signal()
        seen = set()
        while server.running():
            try:
                seen.add(server.get("/ready")[0])
            except OSError:
                break
            if 503 in seen:
                break
        assert seen <= {200, 503}
    assert server.wait() == OK


@pytest.mark.once
def test_port_in_use(server):
    code, out, err = serve("--insecure", "--listen", f"127.0.0.1:{server.port}")
    assert code == FAILURE and "ready" not in out
    assert str(server.port) in err and "in use" in err


@pytest.mark.once
def test_admin_port_in_use(server):
    port = server.ready["admin"].rpartition(":")[2]
    code, out, err = serve("--insecure", "--admin", f"127.0.0.1:{port}")
    assert code == FAILURE and "ready" not in out
    assert port in err and "in use" in err


@pytest.mark.once
@pytest.mark.parametrize(
    "text, expected",
    [
        ("shard = 2", ["shard", "shards"]),
        ("shards = 0", ["shards", "0", "1"]),
        ("shards = 'many'", ["shards", "many"]),
        ("[limits]\nmessage_bytes = 1", ["limits.message_bytes", "1"]),
        ("[client]\npng_s = 3", ["client.png_s", "ping_s"]),
        ("[log]\nlevel = 'loud'", ["log.level", "loud", "debug"]),
        ("listen = ['nowhere']", ["listen", "nowhere"]),
        ("io = 'kqueue'", ["io", "kqueue", "epoll"]),
        ("this is no toml", ["roadstead.toml"]),
    ],
)
def test_bad_configuration(tmp_path, text, expected):
    path = tmp_path / "roadstead.toml"
    path.write_text(text)
    for command in (
        ["config", "check", "--config", str(path)],
        ["serve", "--insecure", "--config", str(path)],
    ):
        code, _, err = command_line(*command)
        assert code == CONFIGURATION, command
        for word in expected:
            assert word in err, err


@pytest.mark.once
def test_missing_configuration_file():
    code, _, err = command_line("serve", "--config", "no-such-file.toml")
    assert code == CONFIGURATION and "no-such-file.toml" in err


@pytest.mark.once
@pytest.mark.parametrize(
    "environment, word",
    [
        ({"ROADSTEAD_SHARD": "2"}, "ROADSTEAD_SHARD"),
        ({"ROADSTEAD_LIMITS__FRAGMENTS": "0"}, "ROADSTEAD_LIMITS__FRAGMENTS"),
    ],
)
def test_bad_environment(environment, word):
    code, _, err = command_line("config", "check", environment=environment)
    assert code == CONFIGURATION and word in err


@pytest.mark.once
def test_insecure_needs_loopback():
    code, _, err = serve("--insecure", "--listen", "0.0.0.0:0")
    assert code == CONFIGURATION and "insecure" in err and "0.0.0.0" in err


@pytest.mark.once
def test_open_admin_needs_a_key():
    code, _, err = command_line("config", "check", environment={"ROADSTEAD_ADMIN": "0.0.0.0:9000"})
    assert code == CONFIGURATION and "admin_key" in err


@pytest.mark.once
@pytest.mark.parametrize("arguments", [["serve", "--no-such-flag"], ["fly"], []])
def test_usage(arguments):
    assert command_line(*arguments)[0] == USAGE


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["serve", "--help"], ["token", "--help"], ["config", "--help"]]
)
def test_help(arguments):
    code, out, _ = command_line(*arguments)
    assert code == OK and "roadstead" in out


@pytest.mark.once
def test_configuration_is_printed_with_origins_and_without_secrets(tmp_path):
    path = tmp_path / "roadstead.toml"
    path.write_text(GUARDED)
    code, out, err = command_line(
        "config", "print", "--config", str(path), environment={"ROADSTEAD_CLIENT__PING_S": "20"}
    )
    assert code == OK, err
    assert SECRET not in out + err
    assert "redacted" in out
    (ping,) = [line for line in out.splitlines() if "ping_s" in line]
    assert "20" in ping and "ROADSTEAD_CLIENT__PING_S" in ping
    code, out, _ = command_line("config", "print", "--config", str(path), "--output", "json")
    assert code == OK and SECRET not in out
    json.loads(out)


@pytest.mark.once
def test_token_without_secret_is_a_configuration_error():
    code, _, err = command_line("token", "--user", "ann")
    assert code == CONFIGURATION and "token.hmac_secret" in err


def test_json_log(start):
    server = start("--insecure", config="[log]\nformat = 'json'\n")
    assert server.stop() == OK
    with open(server.log_path, encoding="utf-8") as log:
        lines = log.read().splitlines()
    assert lines
    for line in lines:
        json.loads(line)


class Systemd:
    """The receiving end of sd_notify."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(20)
        self.said = []

    def wait_for(self, *words):
        """Reads until each word has been said since the start."""
        end = time.monotonic() + 20
        while not set(words) <= set(self.said):
            assert time.monotonic() < end, f"waiting for {words}, heard {self.said}"
            self.said += self.socket.recv(65536).decode().splitlines()


def test_systemd(tmp_path):
    """READY after listening, the watchdog fed, reload announced, STOPPING at the end."""
    path = str(tmp_path / "notify")
    systemd = Systemd(path)
    environment = clean_environment({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
    arguments = [
        "--insecure",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--shards",
        "2",
        "--io",
        IO,
    ]
    command = [BINARY, "serve", *arguments, "--admin-socket", str(tmp_path / "admin.sock")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        systemd.wait_for("READY=1")
        systemd.wait_for("WATCHDOG=1")
        assert any(line.startswith("STATUS=") for line in systemd.said)
        fed = systemd.said.count("WATCHDOG=1")
        wait_until(
            lambda: hear_more(systemd) and systemd.said.count("WATCHDOG=1") > fed, what="a second WATCHDOG=1"
        )
        systemd.said.clear()
        process.send_signal(signal.SIGHUP)
        systemd.wait_for("RELOADING=1", "READY=1")
        assert any(line.startswith("MONOTONIC_USEC=") for line in systemd.said)
        process.send_signal(signal.SIGTERM)
        systemd.wait_for("STOPPING=1")
        _, log = process.communicate(timeout=20)
        assert process.returncode == OK, log
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        systemd.socket.close()


def hear_more(systemd):
    systemd.said += systemd.socket.recv(65536).decode().splitlines()
    return True


def test_watchdog_is_not_fed_for_a_stopped_process(tmp_path):
    """A process that does not turn says nothing; this is what systemd acts on."""
    path = str(tmp_path / "notify")
    systemd = Systemd(path)
    environment = clean_environment({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "600000"})
    arguments = [
        "--insecure",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--shards",
        "1",
        "--io",
        IO,
    ]
    command = [BINARY, "serve", *arguments, "--admin-socket", str(tmp_path / "admin.sock")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        systemd.wait_for("WATCHDOG=1")
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: stopped(process.pid), what="the process stopped")
        systemd.socket.setblocking(False)
        while drained(systemd.socket):
            pass
        time.sleep(1.5)
        assert not drained(systemd.socket)
        process.send_signal(signal.SIGCONT)
        systemd.socket.setblocking(True)
        systemd.socket.settimeout(20)
        systemd.said.clear()
        systemd.wait_for("WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == OK
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        systemd.socket.close()


def stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "T"


def drained(receiver):
    try:
        return receiver.recv(65536)
    except BlockingIOError:
        return b""


@pytest.mark.once
def test_few_descriptors_are_reported(tmp_path):
    """A descriptor limit below the configured connections is said, with what to do, and the node goes on."""
    command = [
        "bash",
        "-c",
        'ulimit -n 256; exec "$@"',
        "bash",
        BINARY,
        "serve",
        "--insecure",
    ]
    command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--shards", "1", "--io", "epoll"]
    command += ["--admin-socket", str(tmp_path / "admin.sock")]
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=clean_environment()
        )
    try:
        assert process.stdout.readline().startswith("roadstead ready ")
    finally:
        process.terminate()
        assert process.wait(20) == OK
    said = (tmp_path / "log").read_text()
    assert "256" in said and ("LimitNOFILE" in said or "ulimit" in said or "RLIMIT_NOFILE" in said), said
