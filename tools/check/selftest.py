#!/usr/bin/env python3
"""Proves that imports.py passes a clean workspace and catches each kind of violation.

Every case is a small workspace in a temporary folder: a clean one, and clean ones with one file changed.
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def package(name, *dependencies):
    lines = ["[package]", f'name = "{name}"', 'version = "0.0.0"', 'edition = "2024"', "[dependencies]"]
    return "\n".join(lines + [f'{other} = {{ path = "{path}" }}' for other, path in dependencies]) + "\n"


CLEAN = {
    "Cargo.toml": '[workspace]\nresolver = "3"\nmembers = ["wsproto", "control", "engine", "engine/io", "loadgen"]\n',
    "wsproto/Cargo.toml": package("wsproto"),
    "wsproto/src/lib.rs": "use std::time::Duration;\n// std::net is not named here\npub mod mask;\n",
    "wsproto/src/mask.rs": "pub fn apply() { unsafe { core::hint::unreachable_unchecked() } }\n",
    "control/Cargo.toml": package("roadstead-control"),
    "control/src/lib.rs": 'pub const NOTE: &str = "std::net::TcpStream";\n',
    "engine/Cargo.toml": package("roadstead-engine", ("wsproto", "../wsproto"), ("roadstead-io", "io")),
    "engine/src/lib.rs": "pub mod session;\npub mod router;\npub mod shard;\npub mod limits;\npub use router::Index;\n",
    "engine/src/session/mod.rs": "use crate::limits::SLOTS;\nuse wsproto::mask;\nmod codes;\n"
    "#[cfg(test)]\nmod tests { use super::*; fn f<'a>(x: &'a str) -> char { '\"' } }\n",
    "engine/src/session/codes.rs": "use super::Session; // crate::router is only mentioned\n",
    "engine/src/router/mod.rs": "pub(crate) struct Index; pub(in crate::router) struct Slot; /* use crate::session; /* nested */ */\n",
    "engine/src/shard.rs": "use crate::{router::Index, session};\nuse roadstead_io as io;\n",
    "engine/src/limits.rs": "pub const SLOTS: usize = 1;\n",
    "engine/io/Cargo.toml": package("roadstead-io"),
    "engine/io/src/lib.rs": "pub fn poll() { unsafe { libc::poll() } }\n",
    "loadgen/Cargo.toml": package("loadgen", ("wsproto", "../wsproto")),
    "loadgen/src/main.rs": "fn main() {}\n",
}

# What changes in the clean workspace, and the words the check must then say.
CASES = [
    (
        "a crate depends upward",
        "wsproto/Cargo.toml",
        package("wsproto", ("roadstead-io", "../engine/io")),
        "wsproto: depends on roadstead-io",
    ),
    (
        "loadgen depends on the engine",
        "loadgen/Cargo.toml",
        package("loadgen", ("roadstead-engine", "../engine")),
        "loadgen: depends on roadstead-engine",
    ),
    ("an unknown crate", "control/Cargo.toml", package("steering"), "steering: the crate is not in CRATES"),
    (
        "session names router",
        "engine/src/session/codes.rs",
        "use crate::router::Index;\n",
        "codes.rs:1: session may not name crate::router",
    ),
    (
        "session names router in an expression",
        "engine/src/session/codes.rs",
        "\nfn f() { crate::router::go() }\n",
        "codes.rs:2: session may not name crate::router",
    ),
    (
        "session names router through super",
        "engine/src/session/mod.rs",
        "use super::router::Index;\n",
        "session may not name crate::router",
    ),
    (
        "session names router inside an inline module",
        "engine/src/session/mod.rs",
        "mod tests { use super::super::router::Index; }\n",
        "session may not name crate::router",
    ),
    (
        "session names router in a use tree",
        "engine/src/session/mod.rs",
        "use crate::{limits::*, router::{self, Index}};\n",
        "session may not name crate::router",
    ),
    (
        "session names a re-export of router",
        "engine/src/session/mod.rs",
        "use crate::Index;\n",
        "session may not name crate::router",
    ),
    (
        "session takes in the crate root",
        "engine/src/session/mod.rs",
        "use crate::*;\n",
        "session takes in the crate root",
    ),
    (
        "session renames the crate root",
        "engine/src/session/mod.rs",
        "use crate as root;\n",
        "session takes in the crate root",
    ),
    (
        "session names the turn",
        "engine/src/session/mod.rs",
        "use crate::shard::Turn;\n",
        "session may not name crate::shard",
    ),
    (
        "session names io",
        "engine/src/session/mod.rs",
        "use roadstead_io::Payload;\n",
        "session may not name the crate roadstead_io",
    ),
    (
        "router names session",
        "engine/src/router/mod.rs",
        "pub(crate) use crate::session as s;\n",
        "router may not name crate::session",
    ),
    (
        "router names wsproto",
        "engine/src/router/mod.rs",
        "fn f(x: wsproto::Role) {}\n",
        "router may not name the crate wsproto",
    ),
    (
        "a room names the runtime",
        "engine/src/router/mod.rs",
        "use tokio::sync;\n",
        "router may not name the crate tokio",
    ),
    (
        "a value names a room",
        "engine/src/limits.rs",
        "use crate::session::Session;\n",
        "limits may not name crate::session",
    ),
    (
        "a value names the runtime",
        "engine/src/limits.rs",
        "use tokio::time::Duration;\n",
        "limits may not name the crate tokio",
    ),
    ("an unknown room", "engine/src/lounge.rs", "\n", "engine/src/lounge: the module is not in"),
    (
        "a clock in wsproto",
        "wsproto/src/lib.rs",
        "fn f() { std::time::Instant::now(); }\n",
        "may not name std::time::Instant",
    ),
    (
        "a clock in a use tree",
        "wsproto/src/lib.rs",
        "use std::{fmt, time::{Duration, SystemTime}};\n",
        "may not name std::time::SystemTime",
    ),
    ("a clock by its module", "wsproto/src/lib.rs", "use std::time;\n", "may not name std::time::Instant"),
    ("a socket in control", "control/src/lib.rs", "use std::net::UdpSocket;\n", "may not name std::net"),
    ("a socket by a glob", "control/src/lib.rs", "use std::net::*;\n", "may not name std::net"),
    (
        "unsafe in the engine",
        "engine/src/shard.rs",
        "fn f() { unsafe { g() } }\n",
        "shard.rs:1: unsafe belongs in",
    ),
    (
        "unsafe beside the masking kernel",
        "wsproto/src/lib.rs",
        "unsafe fn f() {}\n",
        "lib.rs:1: unsafe belongs in",
    ),
]


def check(files):
    """Writes the workspace and runs the check on it; returns its exit code and what it said."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            target = os.path.join(root, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w", encoding="utf-8") as file:
                file.write(text)
        done = subprocess.run(
            [sys.executable, os.path.join(HERE, "imports.py"), root],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr


def main():
    failed = 0
    for name, path, text, expected in [("a clean workspace", None, None, None)] + CASES:
        code, said = check(CLEAN if path is None else {**CLEAN, path: text})
        good = code == 0 if expected is None else code == 1 and expected in said
        failed += not good
        print(f"{'ok    ' if good else 'FAILED'} import rules: {name}")
        if not good:
            print(f"  expected {expected or 'no violation'}, exit code {code}, output:\n{said}")
    print(f"import rules: {len(CASES) + 1 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
