#!/usr/bin/env python3
"""Checks the direction of imports: between crates, between the rooms of the engine, and towards the outside world.

    imports.py [ROOT]     ROOT is the workspace, by default the one this file lies in

Prints one line for each violation and exits 1 when there is one, 2 when it could not look. The rules are in rules.py.
"""

import json
import os
import subprocess
import sys

import rules
from rust_paths import named_paths, tokens

SKIPPED = {".git", "target", "node_modules", ".venv", "__pycache__"}


def main(arguments):
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.abspath(arguments[0] if arguments else os.path.join(here, "..", ".."))
    sources = read_sources(root)
    if not sources:
        print(f"imports: no Rust source under {root}", file=sys.stderr)
        return 2
    violations = (
        crate_violations(root)
        + room_violations(sources)
        + world_violations(sources)
        + unsafe_violations(sources)
    )
    for violation in violations:
        print(violation)
    print(f"imports: {len(sources)} files, {len(violations)} violations")
    return 1 if violations else 0


def read_sources(root):
    """Path below `root` -> text, for every Rust file."""
    sources = {}
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name not in SKIPPED)
        for file in sorted(files):
            if file.endswith(".rs"):
                path = os.path.join(folder, file)
                with open(path, encoding="utf-8") as source:
                    sources[os.path.relpath(path, root)] = source.read()
    return sources


def crate_violations(root):
    """Dependencies between packages of the workspace that rules.CRATES does not grant."""
    manifest = os.path.join(root, "Cargo.toml")
    command = [
        "cargo",
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
        "--manifest-path",
        manifest,
    ]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        sys.exit(f"imports: cargo metadata failed:\n{asked.stderr}")
    packages = json.loads(asked.stdout)["packages"]
    ours = {package["name"] for package in packages}
    violations = []
    for package in packages:
        name = package["name"]
        if name not in rules.CRATES:
            violations.append(f"{name}: the crate is not in CRATES of tools/check/rules.py")
            continue
        named = {dependency["name"] for dependency in package["dependencies"]} & ours
        for other in sorted(named - rules.CRATES[name]):
            violations.append(f"{name}: depends on {other}, which lies above or beside it")
    return violations


def room_violations(sources):
    """What modules of the engine name of each other, and of other crates, without being granted it."""
    files = {path: text for path, text in sources.items() if path.startswith(rules.ENGINE + "/")}
    modules = {module_of(path)[0] for path in files if module_of(path)}
    exported = root_exports(files)
    violations = []
    for module in sorted(modules - rules.VALUES - rules.CARRIERS - set(rules.ROOMS)):
        violations.append(f"{rules.ENGINE}/{module}: the module is not in tools/check/rules.py")
    for path, text in files.items():
        place = module_of(path)
        if not place or place[0] in rules.CARRIERS:
            continue
        room = place[0]
        granted, refused = rules.ROOMS.get(room, (set(), rules.RUNTIME))
        for named in named_paths(text):
            where = f"{path}:{named.line}"
            head = named.segments[0]
            if head in refused:
                violations.append(f"{where}: {room} may not name the crate {head}")
                continue
            target = resolve(named, place)
            if not target or target[0] == "*":
                if named.imported and target is not None:
                    violations.append(f"{where}: {room} takes in the crate root, and every room with it")
                continue
            other = exported.get(target[0], target[0])
            if other in modules and other != room and other not in rules.VALUES | granted:
                violations.append(f"{where}: {room} may not name crate::{other}")
    return list(dict.fromkeys(violations))


def module_of(path):
    """The module path of a file of the engine; empty for the crate roots."""
    parts = path[len(rules.ENGINE) + 1 : -len(".rs")].split("/")
    if parts[-1] in ("mod", "lib", "main"):
        parts = parts[:-1]
    return tuple(parts)


def root_exports(files):
    """Name at the crate root -> the room it comes from, for what lib.rs re-exports."""
    exported = {}
    for named in named_paths(files.get(rules.ENGINE + "/lib.rs", "")):
        segments = named.segments[1:] if named.segments[0] in ("crate", "self") else named.segments
        if named.imported and len(segments) > 1:
            exported[segments[-1]] = segments[0]
    return exported


def resolve(named, place):
    """The path from the crate root, or None when it does not start with crate, self or super."""
    head, rest = named.segments[0], named.segments[1:]
    here = place + named.inside
    if head == "crate":
        return rest
    if head == "self":
        return here + rest
    if head != "super":
        return None
    while head == "super":
        here = here[:-1]
        head, rest = (rest[0], rest[1:]) if rest else (None, ())
    return here + ((head,) if head else ()) + rest


def world_violations(sources):
    """Sockets, clocks and disks named by crates that are sans-IO."""
    violations = []
    for folder, forbidden in rules.SANS_IO.items():
        for path, text in sources.items():
            if path.startswith(folder + "/"):
                violations += world_of_file(path, text, [tuple(entry.split("::")) for entry in forbidden])
    return violations


def world_of_file(path, text, forbidden):
    violations = []
    for named in named_paths(text):
        segments = named.segments[:-1] if named.segments[-1] == "*" else named.segments
        for entry in forbidden:
            reaches = segments[: len(entry)] == entry
            takes_in = named.imported and segments == entry[: len(segments)]
            if segments and (reaches or takes_in):
                violations.append(f"{path}:{named.line}: sans-IO code may not name {'::'.join(entry)}")
                break
    return violations


def unsafe_violations(sources):
    """`unsafe` outside the places that are built and reviewed for it."""
    return [
        f"{path}:{line}: unsafe belongs in {', '.join(rules.UNSAFE)}"
        for path, text in sources.items()
        if not path.startswith(rules.UNSAFE)
        for kind, word, line in tokens(text)
        if kind == "word" and word == "unsafe"
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
