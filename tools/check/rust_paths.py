"""Reads which paths a Rust source file names: `use` trees spelled out, and paths in expressions and types.

It knows comments, strings, lifetimes and inline modules; it does not expand macros, but does read their tokens.
Nothing is resolved against declarations: a path is the list of its segments as written.
"""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<skip>\s+|//[^\n]*)
  | (?P<block>/\*)
  | (?P<raw>(?:b|c)?r(?P<hashes>\#*)")
  | (?P<string>(?:b|c)?"(?:[^"\\]|\\.)*")
  | (?P<char>b?'(?:[^'\\\n]|\\(?:u\{[^}]*\}|x..|.))')
  | (?P<lifetime>'[A-Za-z_]\w*)
  | (?P<word>(?:r\#)?[A-Za-z_]\w*)
  | (?P<number>\d\w*)
  | (?P<mark>::|.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Named:
    """One path: `segments` as written (a glob ends in "*"), the inline modules around it, where, and how."""

    segments: tuple
    inside: tuple
    line: int
    imported: bool


def tokens(source):
    """Yields (kind, text, line) for words and marks; comments, strings and numbers are left out."""
    at, line = 0, 1
    while at < len(source):
        found = _TOKEN.match(source, at)
        kind, end = found.lastgroup, found.end()
        if kind == "block":
            end = _block_end(source, end)
        elif found.group("raw"):
            kind = "raw"
            closing = source.find('"' + found.group("hashes"), end)
            end = len(source) if closing < 0 else closing + 1 + len(found.group("hashes"))
        if kind in ("word", "mark"):
            yield kind, found.group().removeprefix("r#"), line
        line += source.count("\n", at, end)
        at = end


def _block_end(source, at):
    depth = 1
    while depth and at < len(source):
        if source.startswith("/*", at):
            depth, at = depth + 1, at + 2
        elif source.startswith("*/", at):
            depth, at = depth - 1, at + 2
        else:
            at += 1
    return at


def named_paths(source):
    """Every path of `source` in order."""
    read = list(tokens(source)) + [("end", "", 0)] * 4
    paths, modules, depth, at = [], [], 0, 0
    while read[at][0] != "end":
        kind, text, line = read[at]
        inside = tuple(name for name, _ in modules)
        if text == "{":
            depth += 1
        elif text == "}":
            depth -= 1
            if modules and modules[-1][1] == depth:
                modules.pop()
        elif text == "mod" and read[at + 1][0] == "word" and read[at + 2][1] == "{":
            modules.append((read[at + 1][1], depth))
            depth, at = depth + 1, at + 3
            continue
        elif text == "use" and (read[at + 1][0] == "word" or read[at + 1][1] in ("::", "{")):
            at = _use_tree(read, at + 1, (), inside, paths)
            continue
        elif kind == "word" and not _follows_path(read, at):
            segments, at = _expression_path(read, at)
            paths.append(Named(segments, inside, line, False))
            continue
        at += 1
    return paths


def _follows_path(read, at):
    return at > 0 and read[at - 1][1] in ("::", ".")


def _expression_path(read, at):
    segments = [read[at][1]]
    at += 1
    while read[at][1] == "::" and (read[at + 1][0] == "word" or read[at + 1][1] == "*"):
        segments.append(read[at + 1][1])
        at += 2
    return tuple(segments), at


def _use_tree(read, at, prefix, inside, paths):
    """Reads one branch of a use tree; returns where the token after it stands."""
    segments = prefix
    line = read[at][2]
    while read[at][0] != "end":
        kind, text, _ = read[at]
        if text == "::":
            at += 1
        elif text == "as":
            at += 2
        elif text == "{":
            at += 1
            while read[at][1] not in ("}", ""):
                at = _use_tree(read, at, segments, inside, paths)
                if read[at][1] == ",":
                    at += 1
            return at + 1
        elif kind == "word" or text == "*":
            if text != "self" or not segments:
                segments += (text,)
            at += 1
        else:
            break
    paths.append(Named(segments, inside, line, True))
    return at
