#!/usr/bin/env python3
"""Runs every test of the project and adds them up.

    run.py [GROUP...]      groups: rules, cargo, tuning, e2e, conform, hostile; all of them unless told

The end-to-end tests run once for each io back end against the release binary; those of a fleet once, with both back
ends in it. Of the Autobahn suite the quick cases run; `make conform` runs all. Each step has a time limit; the last
line is the sum. The exit code is 0 only if something ran and nothing failed.
"""

import ctypes
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
TARGET = os.path.abspath(os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target"))
PYTHON = os.path.join(TESTS, "e2e", "python")
TUNING = os.path.join(TESTS, "tuning")
JS = os.path.join(TESTS, "e2e", "js")
FLEET = "test_fleet.py"
CONFORM = os.path.join(TESTS, "conform")
HOSTILE = os.path.join(TESTS, "hostile")
GROUPS = ("rules", "cargo", "tuning", "e2e", "conform", "hostile")

# The closing lines of the runners: how each counts.
COUNTED = {
    "passed": [
        r"^import rules: (\d+) passed",
        r"^autobahn: (\d+) passed",
        r"^hostile: (\d+) passed",
        r"^test result: \w+\. (\d+) passed",
        r"^=+ .*?(\d+) passed",
        r"^ℹ pass (\d+)",
    ],
    "failed": [
        r"^import rules: .*?(\d+) failed",
        r"^autobahn: .*?(\d+) failed",
        r"^hostile: .*?(\d+) failed",
        r"^test result: .*?(\d+) failed",
        r"^=+ .*?(\d+) failed",
        r"^=+ .*?(\d+) errors?",
        r"^ℹ fail (\d+)",
        r"^ℹ cancelled (\d+)",
    ],
}
SYS_IO_URING_SETUP = 425


@dataclass
class Step:
    """One command with its limit. `counts` says that it runs tests, and must run some."""

    name: str
    command: list
    seconds_max: int
    folder: str = ROOT
    environment: dict = field(default_factory=dict)
    counts: bool = True


def main(groups):
    unknown = set(groups) - set(GROUPS)
    if unknown:
        sys.exit(f"run.py: unknown group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    chosen = groups or GROUPS
    started = time.monotonic()
    totals = {"passed": 0, "failed": 0}
    skipped = []
    for step in steps(chosen, skipped):
        passed, failed, code = run(step)
        totals["passed"] += passed
        totals["failed"] += failed
        if code != 0 and not step.counts:
            break
    print(f"\n{time.monotonic() - started:.0f} seconds")
    for reason in skipped:
        print(reason)
    print(f"{totals['passed']} passed, {totals['failed']} failed", flush=True)
    return 1 if totals["failed"] or not totals["passed"] else 0


def steps(groups, skipped):
    """What is to be done, in order."""
    if "e2e" in groups or "tuning" in groups:
        yield Step("what the tests need", [os.path.join(TESTS, "prepare")], 1800, counts=False)
    if "rules" in groups:
        yield Step("import rules", [sys.executable, os.path.join(ROOT, "tools", "check", "selftest.py")], 120)
    if "cargo" in groups:
        yield Step("unit, property and simulated tests", ["cargo", "test", "--workspace", "--locked"], 2400)
        fuzz = ["cargo", "check", "--locked", "--manifest-path", os.path.join(ROOT, "fuzz", "Cargo.toml")]
        yield Step("fuzz targets compile", fuzz, 1200, environment={"CARGO_TARGET_DIR": TARGET}, counts=False)
    pytest = [os.path.join(PYTHON, ".venv", "bin", "python"), "-m", "pytest"]
    unwritten = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if "tuning" in groups:
        if os.geteuid() != 0:
            skipped.append("network namespaces are for root: the tests of kernel tuning in them did not run")
        yield Step("kernel tuning", pytest, 300, TUNING, unwritten)
    if not {"e2e", "conform", "hostile"} & set(groups):
        return
    build = [
        "cargo",
        "build",
        "--release",
        "--locked",
        "--package",
        "roadstead-engine",
        "--package",
        "loadgen",
    ]
    yield Step("the release binaries", build, 2400, counts=False)
    back_ends = ["io_uring", "epoll"]
    if not io_uring_allowed():
        back_ends.remove("io_uring")
        skipped.append("io_uring is not to be had on this machine: its end-to-end tests did not run")
    environment = {
        "ROADSTEAD_BINARY": os.path.join(TARGET, "release", "roadstead"),
        "ROADSTEAD_LOADGEN": os.path.join(TARGET, "release", "loadgen"),
        **unwritten,
    }
    if "conform" in groups:
        suite = [sys.executable, os.path.join(CONFORM, "conform.py"), "--fast"]
        yield Step("the Autobahn suite, quick cases", suite, 900, environment=environment)
    if "hostile" in groups:
        corpus = [sys.executable, os.path.join(HOSTILE, "hostile.py")]
        yield Step("hostile input", corpus, 300, environment=environment)
    if "e2e" not in groups:
        return
    for number, io in enumerate(back_ends):
        environment = {
            **environment,
            "ROADSTEAD_IO": io,
            "ROADSTEAD_PASS": "first" if number == 0 else "later",
        }
        alone = [*pytest, f"--ignore={FLEET}"]
        yield Step(f"end to end, {io}: protocol, process, SDK for Python", alone, 600, PYTHON, environment)
        files = sorted(name for name in os.listdir(JS) if name.endswith(".test.mjs"))
        node = ["node", "--test", "--test-concurrency=1", "--test-reporter=spec", *files]
        yield Step(f"end to end, {io}: SDK for JavaScript, browser", node, 600, JS, environment)
    environment = {**environment, "ROADSTEAD_IO": back_ends[0], "ROADSTEAD_PASS": "first"}
    yield Step("end to end: a fleet", [*pytest, FLEET], 400, PYTHON, environment)


def run(step):
    """Runs one step with its output shown: (tests passed, tests failed, exit code)."""
    print(f"\n=== {step.name} ===", flush=True)
    if not shutil.which(step.command[0]):
        print(f"=== {step.name}: {step.command[0]} is not there ===")
        return 0, 1, 127
    process = subprocess.Popen(
        step.command,
        cwd=step.folder,
        env={**os.environ, **step.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    late = threading.Event()
    timer = threading.Timer(step.seconds_max, lambda: (late.set(), end(process)))
    timer.start()
    found = {"passed": 0, "failed": 0}
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            for kind, patterns in COUNTED.items():
                found[kind] += sum(
                    int(match[1]) for match in (re.match(pattern, line) for pattern in patterns) if match
                )
        code = process.wait()
    except BaseException:
        end(process)
        raise
    finally:
        timer.cancel()
    if late.is_set():
        print(f"=== {step.name}: stopped after {step.seconds_max} s ===")
    if code != 0 and not found["failed"]:
        print(f"=== {step.name}: exit code {code} ===")
        found["failed"] = 1
    if code == 0 and step.counts and not found["passed"]:
        print(f"=== {step.name}: no test ran ===")
        found["failed"] += 1
    return found["passed"] if step.counts else 0, found["failed"], code


def end(process):
    """Ends the step with everything it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def io_uring_allowed():
    """Asks the kernel with a bad pointer: EFAULT means that the call itself is allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(SYS_IO_URING_SETUP, 1, None)
    return ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM, errno.EACCES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
