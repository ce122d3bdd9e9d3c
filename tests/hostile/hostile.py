#!/usr/bin/env python3
"""Does to the real server what `corpus.toml` says, and checks what comes of it.

    hostile.py [--io io_uring|epoll]... [--rows PATTERN]... [--show]

Without arguments: all rows, on each back end that the kernel allows. Of each row the table says what must happen and
within what time. Beside that it is checked, row by row, that a pair of good clients goes on exchanging messages, that the
process lives, and that its memory does not grow by more than CONNECTION_BYTES for each hostile connection and twice the
bytes that these have sent; and at the end that nothing is left of them. ROADSTEAD_BINARY and ROADSTEAD_LOADGEN name the
programs. The exit code is 0 only if every row came out as it should.
"""

import argparse
import asyncio
import collections
import fnmatch
import os
import shutil
import sys
import tempfile
import time
import tomllib

import parts
from attack import Attack, outcomes
from harbour import Harbour
from visitor import visit

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from run import io_uring_allowed  # noqa: E402: its folder is named above

BACK_ENDS = ("io_uring", "epoll")
ATTACKERS = 4
WITHIN_S = 6
# What one hostile connection may cost beside twice its bytes: its record, a block for what is incomplete, and with TLS the
# state of a handshake.
CONNECTION_BYTES = 64 * 1024
# What the process may take meanwhile for anything else: pools that are filled for the first time, the good clients' messages.
SLACK_BYTES = 1024 * 1024
# What the inflaters of both shards may take for a moment: each inflates one message at a time, up to the
# limit of messages, into a buffer that doubles.
INFLATING_BYTES = 2 * 4 * 1024 * 1024
# What all of it may leave behind: blocks that pools keep for reuse, and pages that the allocator does.
LEFT_BYTES = 96 * 1024 * 1024
FAILURES_SHOWN = 60
# Timed rows run together, from sources of their own.
TIMED = {"pause_ms", "trickle"}
TIMED_FROM = 2000


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--io", action="append", choices=BACK_ENDS)
    arguments.add_argument("--rows", action="append", metavar="PATTERN", help="such as '*CVE*' or 'a bomb*'")
    arguments.add_argument("--show", action="store_true", help="what came of each row, and what it cost")
    given = arguments.parse_args()
    rows = corpus()
    patterns = given.rows or ["*"]
    rows = [row for row in rows if any(fnmatch.fnmatchcase(title(row), pattern) for pattern in patterns)]
    if not rows:
        sys.exit("hostile: no row fits")
    back_ends = given.io or [io for io in BACK_ENDS if io == "epoll" or io_uring_allowed()]
    if not given.io and len(back_ends) < len(BACK_ENDS):
        print("io_uring is not to be had on this machine: the corpus runs on epoll only")
    passed, failures = 0, []
    for io in back_ends:
        since = time.monotonic()
        results, left = asyncio.run(run(rows, io, given.show))
        wrong = [f"{io}: {told}" for told in [*(result.wrong for result in results if result.wrong), *left]]
        passed, failures = passed + len(results) - len(wrong) + 1, failures + wrong
        dearest = max((result.bytes_each for result in results), default=0)
        print(f"{io}: {len(results)} rows, {time.monotonic() - since:.0f} s; the dearest took {dearest} bytes a connection", flush=True)
    for failure in failures[:FAILURES_SHOWN]:
        print(failure)
    print(f"hostile: {passed} passed, {len(failures)} failed", flush=True)
    return 1 if failures else 0


def corpus():
    """The rows, one for each door, and no class of faults without one."""
    with open(os.path.join(HERE, "corpus.toml"), "rb") as file:
        table = tomllib.load(file)
    rows = []
    for row in table["row"]:
        doors = row["door"] if isinstance(row["door"], list) else [row["door"]]
        rows += [{**row, "door": door} for door in doors]
    counts = collections.Counter(title(row) for row in rows)
    assert max(counts.values()) == 1, f"two rows of one name: {counts.most_common(1)}"
    named = {row["class"] for row in rows if "class" in row}
    classes = {entry["id"] for entry in table["class"]}
    assert named == classes, f"classes without a row, or unknown ones: {named ^ classes}"
    return rows


def title(row):
    return " | ".join([row.get("class", ""), row["name"], row["door"]]).removeprefix(" | ")


class Result:
    """What came of one row."""

    def __init__(self, row):
        self.row = row
        self.wrong = None
        self.told = ""
        self.bytes_each = 0
        self.seconds = 0

    def fail(self, why):
        self.wrong = self.wrong or f"{title(self.row)}: {why}"

    def __str__(self):
        return f"{'FAILED ' if self.wrong else ''}{title(self.row)}: {self.told}; {self.bytes_each} bytes a connection, {self.seconds:.1f} s"


async def run(rows, io, is_shown):
    """All rows on one back end: their results, and what was wrong when they were over."""
    folder = tempfile.mkdtemp(prefix="roadstead-hostile-")
    harbour = Harbour(io, folder)
    try:
        await harbour.open()
        results = []
        for number, together in groups(rows):
            results += await perform(harbour, together, number)
            if is_shown:
                print(*results[-len(together) :], sep="\n", flush=True)
        return results, await harbour.close(LEFT_BYTES)
    finally:
        harbour.remove()
        shutil.rmtree(folder, ignore_errors=True)


def groups(rows):
    """Rows that run at the same time, with the number of the first."""
    timed = [row for row in rows if is_timed(row)]
    yield from ((number, [row]) for number, row in enumerate(row for row in rows if not is_timed(row)))
    for number, reads in ((TIMED_FROM, True), (TIMED_FROM + len(timed), False)):
        together = [row for row in timed if row.get("reads", True) is reads]
        if together:
            yield number, together


def is_timed(row):
    return row.get("timed", any(isinstance(part, dict) and TIMED & set(part) for part in row["send"]))


async def perform(harbour, rows, number):
    """Rows at the same time: the attacks, what the good clients notice of them, and what they cost."""
    since = time.monotonic()
    results = [Result(row) for row in rows]
    attacks = []
    for at, row in enumerate(rows):
        if row["door"] != "loadgen":
            count = row.get("attackers", ATTACKERS)
            attacks.append([Attack(row, harbour, source(number + at, one)) for one in range(count)])
        else:
            attacks.append([])
        # What takes long to make is made while others run.
        await asyncio.to_thread(parts.prepare, row["send"])
    costs = harbour.begin_costs()
    rounds = harbour.rounds()
    await asyncio.gather(*(end_in_time(result, attack) for result, group in zip(results, attacks) for attack in group))
    try:
        # While the hostile ones are still there.
        await harbour.prove(rounds)
    except AssertionError as error:
        for result in results:
            result.fail(f"the good clients were not served: {error}")
        await harbour.mend()
    every = [attack for group in attacks for attack in group]
    bytes_sent = sum(attack.sent for attack in every)
    grown = harbour.costs(costs)
    allowed = SLACK_BYTES + CONNECTION_BYTES * len(every) + 2 * bytes_sent
    allowed += sum(attack.row.get("queued_bytes", 0) for attack in every)
    if any(row.get("deflates") for row in rows):
        allowed += INFLATING_BYTES
    for result, group in zip(results, attacks):
        judge(result, group)
        result.bytes_each = max(0, grown - 2 * bytes_sent) // max(1, len(every))
        if grown > allowed:
            result.fail(f"memory grew by {grown} bytes, for {len(every)} connections and {bytes_sent} bytes sent")
        if not harbour.runs():
            result.fail(f"the server has died:\n{harbour.log()}")
        if result.row["door"] == "loadgen":
            result.told = await visit(result.row, harbour.io)
            if result.told not in outcomes(result.row):
                result.fail(f"{result.told}, not {result.row['expect']}")
    for attack in every:
        attack.leave()
    for result in results:
        result.seconds = time.monotonic() - since
    return results


def source(number, attacker):
    """Addresses of loopback: each row has its own, so that what is held against one touches no other."""
    return f"127.{1 + number // 200}.{number % 200}.{attacker + 1}"


async def end_in_time(result, attack):
    within = result.row.get("within_s", WITHIN_S)
    try:
        await asyncio.wait_for(attack.run(), within)
    except asyncio.TimeoutError:
        attack.outcome = f"nothing within {within} s"
    except AssertionError as error:
        attack.outcome = f"the server said what it may not: {error}"
    except (ValueError, KeyError, UnicodeError) as error:
        attack.outcome = f"the row is wrong: {error!r}"


def judge(result, attacks):
    if not attacks:
        return
    found = collections.Counter(attack.outcome for attack in attacks)
    result.told = ", ".join(f"{outcome} ({count})" for outcome, count in found.items())
    if set(found) - set(outcomes(result.row)):
        result.fail(f"{result.told}, not {result.row['expect']}")


if __name__ == "__main__":
    for name in ("ROADSTEAD_BINARY", "ROADSTEAD_LOADGEN"):
        if not shutil.which(os.environ.get(name, "")):
            sys.exit(f"hostile: {name} does not name a program; `make test` sets it")
    sys.exit(main())
