#!/usr/bin/env python3
"""Runs the Autobahn test suite against `/echo`, and against the client side of `loadgen`.

    conform.py [--fast] [--io io_uring|epoll]... [--role server|client]... [--cases PATTERN]... [--jobs N]

Without arguments: all cases, both roles, each back end that the kernel allows. The verdicts are compared with
`expected.txt`; the exit code is 0 only if each is there and is one of those allowed. ROADSTEAD_BINARY and
ROADSTEAD_LOADGEN name the programs. What is needed from package registries is installed beside this file, once.
"""

import argparse
import fcntl
import fnmatch
import glob
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
INSTALLED = os.path.join(HERE, ".venv")
PYTHON = os.path.join(INSTALLED, "bin", "python")
TESTS = os.path.dirname(HERE)
sys.path[:0] = [TESTS, os.path.join(TESTS, "e2e", "python")]
from roadstead import Server  # noqa: E402: its folder is named above
from run import io_uring_allowed  # noqa: E402

BACK_ENDS = ("io_uring", "epoll")
ROLES = ("server", "client")
RUN_SECONDS_MAX = 3000
INSTALL_SECONDS_MAX = 600
# The suite sends messages of 16 MiB, and of 4 MiB in fragments of 64 bytes with an empty one behind them.
SERVED = ("--insecure", "--echo", "--compression")
SERVED_CONFIG = f"""
[limits]
echo_message_bytes = {16 << 20}
inbound_bytes_per_shard = {256 << 20}
fragments = {1 << 17}
outbox_bytes = {64 << 20}
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--fast", action="store_true", help="the cases of fast.txt")
    arguments.add_argument("--io", action="append", choices=BACK_ENDS)
    arguments.add_argument("--role", action="append", choices=ROLES, help="which end of ours is tested")
    arguments.add_argument("--cases", action="append", metavar="PATTERN", help="such as '6.*'")
    arguments.add_argument("--jobs", type=int, default=os.cpu_count(), help="fuzzing peers at a time")
    given = arguments.parse_args()
    install()
    every = all_cases()
    patterns = given.cases or (lines("fast.txt") if given.fast else ["*"])
    cases = [case for case in every if any(fnmatch.fnmatchcase(case, pattern) for pattern in patterns)]
    if not cases:
        sys.exit("conform: no case fits")
    back_ends = given.io or [io for io in BACK_ENDS if io == "epoll" or io_uring_allowed()]
    if not given.io and len(back_ends) < len(BACK_ENDS):
        print("io_uring is not to be had on this machine: the suite runs on epoll only")
    passed = failed = 0
    for io in back_ends:
        for role in given.role or ROLES:
            as_expected, unexpected = run(role, io, cases, given.jobs)
            passed, failed = passed + as_expected, failed + unexpected
    print(f"autobahn: {passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def install():
    """The library that the suite stands on, and the suite's source; does nothing if they are there."""
    wanted = text("requirements.txt") + text("source.txt")
    stamp = os.path.join(INSTALLED, "installed.txt")
    with open(os.path.join(HERE, "requirements.txt"), encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(stamp) and text(stamp) == wanted:
            return
        print("conform: installing the Autobahn suite", flush=True)
        venv.EnvBuilder(clear=True, with_pip=True, symlinks=True).create(INSTALLED)
        pip = [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        quietly = {"check": True, "timeout": INSTALL_SECONDS_MAX}
        # Version 0.10.9 of `autobahn` has no wheel, and is built with the setuptools of the list.
        plain = os.path.join(INSTALLED, "plain.txt")
        built = ("autobahn==", "txaio==")
        with open(plain, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines("requirements.txt") if not line.startswith(built))
        subprocess.run([*pip, "install", "--requirement", plain], **quietly)
        requirements = os.path.join(HERE, "requirements.txt")
        subprocess.run([*pip, "install", "--no-deps", "--requirement", requirements], **quietly)
        source = os.path.join(HERE, "source.txt")
        fetch = ["download", "--no-deps", "--no-binary", ":all:", "--require-hashes", "--dest", INSTALLED]
        subprocess.run([*pip, *fetch, "--requirement", source], **quietly)
        (archive,) = glob.glob(os.path.join(INSTALLED, "autobahntestsuite-*.tar.gz"))
        with tarfile.open(archive) as packed:
            packed.extractall(INSTALLED, filter="data")
        with open(stamp, "w", encoding="utf-8") as file:
            file.write(wanted)


def all_cases():
    """Ids of all cases, in order."""
    listing = "import json, sys, suite; print(json.dumps(list(suite.load(sys.argv[1]))))"
    asked = [PYTHON, "-W", "ignore", "-c", listing, suite_folder()]
    return json.loads(subprocess.run(asked, cwd=HERE, check=True, capture_output=True, timeout=60).stdout)


def suite_folder():
    (folder,) = glob.glob(os.path.join(INSTALLED, "autobahntestsuite-*/"))
    return folder


def run(role, io, cases, jobs):
    """Runs `cases` on one back end; returns how many came out as expected, and how many not."""
    since = time.monotonic()
    jobs = max(1, min(jobs, len(cases)))
    print(f"\n=== Autobahn, {role}, {io}: {len(cases)} cases ===", flush=True)
    results = {}
    serving = Server(*SERVED, config=SERVED_CONFIG, io=io).wait_ready() if role == "server" else None
    try:
        parts = [
            threading.Thread(target=run_part, args=(role, io, cases[number::jobs], serving, results))
            for number in range(jobs)
        ]
        for part in parts:
            part.start()
        for part in parts:
            part.join()
        if serving and not serving.running():
            print(serving.log())
    finally:
        if serving:
            serving.stop()
            serving.remove()
    return judge(cases, results, time.monotonic() - since)


def run_part(role, io, cases, serving, results):
    """One fuzzing peer with its share of the cases."""
    fuzzer = [PYTHON, "-W", "ignore", os.path.join(HERE, "fuzzer.py"), suite_folder()]
    if role == "server":
        command = [*fuzzer, "client", f"ws://{serving.host}:{serving.port}/echo", *cases]
    else:
        command = [*fuzzer, "server", *cases]
    peer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(RUN_SECONDS_MAX, peer.kill)
    timer.start()
    client = None
    try:
        for line in peer.stdout:
            result = json.loads(line)
            if "listening" in result:
                loadgen = [os.environ["ROADSTEAD_LOADGEN"], "conform", "--io", io, result["listening"]]
                client = subprocess.Popen(loadgen, stdin=subprocess.DEVNULL)
                # Without its client the peer would wait for ever.
                threading.Thread(target=lambda: client.wait() and peer.kill(), daemon=True).start()
            else:
                results[result["case"]] = result
        peer.wait()
    finally:
        timer.cancel()
        if client and client.poll() is None:
            client.kill()
            client.wait()


def judge(cases, results, seconds):
    """Compares with what is expected and tells what is not as it should be."""
    counts, unexpected = {}, []
    for case in cases:
        found = verdict(results.get(case))
        counts[found] = counts.get(found, 0) + 1
        allowed = allowed_verdicts(case)
        if found not in allowed:
            why = results[case]["why"] if case in results else "the run ended before it"
            unexpected.append(f"case {case}: {found} instead of {' or '.join(allowed)}: {why}")
    print(*unexpected, sep="\n" if unexpected else "", end="\n" if unexpected else "")
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(f"{told}; {len(unexpected)} not as expected; {seconds:.0f} s", flush=True)
    return len(cases) - len(unexpected), len(unexpected)


def verdict(result):
    """One word for what happened to the messages and how the connection ended."""
    if result is None:
        return "missing"
    behavior, close = result["behavior"], result["close"]
    if behavior in ("UNIMPLEMENTED", "INFORMATIONAL"):
        return behavior.lower()
    if behavior not in ("OK", "NON-STRICT") or close in ("FAILED", "UNCLEAN"):
        return "failed"
    return "ok" if (behavior, close) == ("OK", "OK") else "non-strict"


def allowed_verdicts(case):
    allowed = []
    for line in lines("expected.txt"):
        pattern, *verdicts = line.split()
        if fnmatch.fnmatchcase(case, pattern):
            allowed = verdicts
    return allowed


def lines(name):
    """The lines of a file beside this one that say something."""
    return [line for line in text(name).splitlines() if line and not line.startswith("#")]


def text(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


if __name__ == "__main__":
    for name in ("ROADSTEAD_BINARY", "ROADSTEAD_LOADGEN"):
        if not shutil.which(os.environ.get(name, "")):
            sys.exit(f"conform: {name} does not name a program; `make conform` sets it")
    sys.exit(main())
