"""The real server as a child process: started on ports that the kernel chooses, stopped by SIGTERM, its log kept.

Every wait here has an end; a server that outlives a test session is killed by its own process id.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

BINARY = os.environ.get("ROADSTEAD_BINARY", "")
IO = os.environ.get("ROADSTEAD_IO", "auto")
START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 20
LOG_LINES_SHOWN = 60


class Server:
    """One `roadstead serve`. `config` is TOML text; `arguments` follow the ones every server here gets."""

    def __init__(
        self,
        *arguments,
        config="",
        listen=("127.0.0.1:0",),
        admin="127.0.0.1:0",
        shards=2,
        io=IO,
        environment=None,
    ):
        self.folder = tempfile.mkdtemp(prefix="roadstead-")
        self.log_path = os.path.join(self.folder, "log")
        self.config_path = os.path.join(self.folder, "roadstead.toml")
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(config)
        command = [BINARY, "serve", "--config", self.config_path, "--io", io, "--shards", str(shards)]
        # A guarded server would wait for balancers and spread its closes; tests that want that say so in `arguments`.
        command += ["--set", "shutdown.ready_delay_ms=0", "--set", "shutdown.window_ms=0"]
        for address in listen:
            command += ["--listen", address]
        self.socket_path = os.path.join(self.folder, "admin.sock")
        command += ["--admin", admin, "--admin-socket", self.socket_path, *arguments]
        self.command = command
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env=clean_environment(environment), text=True
            )
        self.ready = {}

    def wait_ready(self):
        """Reads the ready line; raises with the log when the server ends or stays silent instead."""
        timer = threading.Timer(START_SECONDS_MAX, self.process.kill)
        timer.start()
        for line in self.process.stdout:
            if line.startswith("roadstead ready "):
                timer.cancel()
                self.ready = dict(re.findall(r"(\w+)=(\S+)", line))
                return self
        timer.cancel()
        code = self.process.wait(STOP_SECONDS_MAX)
        raise AssertionError(f"the server did not get ready (exit code {code}): {self.command}\n{self.log()}")

    @property
    def addresses(self):
        """Listen addresses as (host, port)."""
        return [split_address(address) for address in self.ready["listen"].split(",")]

    @property
    def host(self):
        return self.addresses[0][0]

    @property
    def port(self):
        return self.addresses[0][1]

    @property
    def url(self):
        """Where SDK clients connect."""
        return f"ws://{self.ready['listen'].split(',')[0]}/connection/websocket"

    def get(self, path, headers=None):
        """GET on the admin address: (status, text, headers)."""
        request = urllib.request.Request(f"http://{self.ready['admin']}{path}", headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), error.headers

    def samples(self):
        """The metrics as (name, labels) -> value."""
        from prometheus_client.parser import text_string_to_metric_families

        text = self.get("/metrics")[1]
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def running(self):
        return self.process.poll() is None

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, seconds=STOP_SECONDS_MAX):
        """The exit code."""
        return self.process.wait(seconds)

    def stop(self):
        """SIGTERM, and the exit code; None when it had to be killed."""
        if self.running():
            self.signal()
        try:
            code = self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_SECONDS_MAX)
            code = None
        self.process.stdout.close()
        return code

    def kill(self):
        """SIGKILL, if it still runs; its output is closed."""
        if self.running():
            self.process.kill()
            self.process.wait(STOP_SECONDS_MAX)
        self.process.stdout.close()

    def log(self, lines=LOG_LINES_SHOWN):
        """The last lines of the log; all of it with `lines=0`."""
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def clean_environment(extra=None):
    """The environment without anything that configures a server."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ROADSTEAD_", "NOTIFY_", "WATCHDOG_")) and not name.lower().endswith("_proxy")
    }
    return {**kept, **(extra or {})}


def split_address(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def command_line(*arguments, environment=None, seconds=20):
    """Runs one short command of the binary: (exit code, stdout, stderr)."""
    done = subprocess.run(
        [BINARY, *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env=clean_environment(environment),
    )
    return done.returncode, done.stdout, done.stderr


def wait_until(true, seconds=10, what="condition"):
    """Polls until `true()` gives something true, and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = true()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not reached within {seconds} s: {what}")


def free_port():
    """A port of loopback that is free for UDP and TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                try:
                    udp.bind(("127.0.0.1", port))
                except OSError:
                    continue
        return port
