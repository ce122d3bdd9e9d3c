"""Servers that tests share, coroutine tests with a time limit, and the servers' logs beside a failure."""

import asyncio
import inspect
import os

import pytest

from roadstead import BINARY, Server

TEST_SECONDS_MAX = 30
SECRET = "a-secret-of-the-tests-only"

OPEN = ("--insecure", "--echo")
GUARDED = f"""
[token]
hmac_secret = "{SECRET}"
[client]
user_personal_channel = true
allowed_origins = ["https://app.example"]
[channel]
allow_subscribe_for_client = true
allow_publish_for_client = true
allow_user_limited_channels = true
"""
QUICK = """
[client]
ping_s = 2
pong_timeout_s = 1
stale_close_s = 1
handshake_timeout_s = 1
close_timeout_s = 1
"""

own = []  # the servers that the running test has started itself


def cases(names, rows):
    """Parametrizes a test with rows of (what it is called, value...)."""
    return pytest.mark.parametrize(
        names, [row[1] if len(row) == 2 else row[1:] for row in rows], ids=[row[0] for row in rows]
    )


def pytest_configure(config):
    if not os.access(BINARY, os.X_OK):
        pytest.exit("ROADSTEAD_BINARY does not name the server's binary; `make test` sets it", returncode=2)


def pytest_collection_modifyitems(config, items):
    if os.environ.get("ROADSTEAD_PASS", "first") != "first":
        later = [item for item in items if item.get_closest_marker("once")]
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if item not in later]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs coroutine tests, each with its own limit."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    limit = pyfuncitem.get_closest_marker("limit")
    seconds = limit.args[0] if limit else TEST_SECONDS_MAX
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    # A fleet's clients live longer than one test, and so does their loop.
    runner = next((value.runner for value in arguments.values() if hasattr(value, "runner")), asyncio)
    runner.run(asyncio.wait_for(pyfuncitem.obj(**arguments), seconds))
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        used = [value for value in item.funcargs.values() if isinstance(value, Server)]
        used += [server for value in item.funcargs.values() if hasattr(value, "used") for server in value.used()]
        for server in used + [server for server in own if server not in used]:
            report.sections.append((f"log of {' '.join(server.command)}", server.log()))


def shared(*arguments, **options):
    """A server for all tests of a session; that it lives and how it ends is part of the test."""
    server = Server(*arguments, **options)
    yield server.wait_ready()
    alive = server.running()
    code = server.stop()
    log = server.log()
    server.remove()
    assert alive, f"the server had died:\n{log}"
    assert code == 0, f"exit code {code} after SIGTERM:\n{log}"
    assert "panicked" not in log, log


@pytest.fixture(scope="session")
def server():
    """Development mode with /echo."""
    yield from shared(*OPEN)


@pytest.fixture(scope="session")
def guarded():
    """Tokens are needed; every user has a personal channel; clients may subscribe and publish."""
    yield from shared(config=GUARDED)


@pytest.fixture(scope="session")
def quick():
    """Development mode with time limits of one second, pings every two."""
    yield from shared(*OPEN, config=QUICK)


@pytest.fixture
def start():
    """Starts servers of one test's own: `start(*arguments, **options)` gives one that is ready."""

    def ready(*arguments, **options):
        own.append(Server(*arguments, **options))
        return own[-1].wait_ready()

    yield ready
    while own:
        server = own.pop()
        server.stop()
        server.remove()
