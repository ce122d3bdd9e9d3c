"""What a row of the corpus sends: parts, turned into bytes and deeds.

A part is text in which `\\x00`, `\\r` and the like stand for octets; or a table that begins with one of the names in
`KINDS`. A part's own content may be a list of parts again. Deeds are `Pause`, `Finish` and `Reset`; the rest is bytes.
"""

import codecs
import functools
import json
import os
import random
import ssl
import struct
import sys
import zlib
from dataclasses import dataclass

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e", "python"))
import raw  # noqa: E402: its folder is named above

OPCODES = {"continuation": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}
# What is sent at once where a part repeats itself.
CHUNK_BYTES = 64 * 1024


@dataclass
class Pause:
    seconds: float


class Finish:
    """The sending side is closed, the other stays open."""


class Reset:
    """The connection is reset."""


def plan(parts, server):
    """Yields the bytes and deeds of a list of parts, one after the other. `server` names the host of requests."""
    for part in parts if isinstance(parts, list) else [parts]:
        if isinstance(part, str):
            yield octets(part)
        elif "pause_ms" in part:
            yield Pause(part["pause_ms"] / 1000)
        elif "finish" in part:
            yield Finish()
        elif "reset" in part:
            yield Reset()
        elif "trickle" in part:
            whole, step = content(part["trickle"], server), part.get("step", 1)
            for at in range(0, len(whole), step):
                yield whole[at : at + step]
                yield Pause(part.get("every_ms", 0) / 1000)
        else:
            kind = next((name for name in KINDS if name in part), None)
            if not kind:
                raise ValueError(f"no such part: {part}")
            yield from repeated(KINDS[kind](part, server), part.get("times", 1))


def content(parts, server):
    """All bytes of parts that are no deeds."""
    return b"".join(plan(parts, server))


def prepare(part):
    """Makes what is deflated in `part`, so that it is there when it is wanted."""
    if isinstance(part, list):
        for one in part:
            prepare(one)
    elif isinstance(part, dict):
        if "deflated" in part:
            deflated(json.dumps(part["deflated"]))
        prepare(list(part.values()))


def octets(text):
    return codecs.decode(text, "unicode_escape").encode("latin-1")


def repeated(piece, times):
    at_once = max(1, CHUNK_BYTES // max(1, len(piece)))
    while times > 0:
        yield piece * min(at_once, times)
        times -= at_once


def frame(part, server):
    payload = content(part.get("payload", ""), server)
    options = {name: part[name] for name in ("fin", "rsv", "mask", "length") if name in part}
    opcode = part["frame"] if isinstance(part["frame"], int) else OPCODES[part["frame"]]
    if "code" in part:
        payload = struct.pack(">H", part["code"]) + payload
    return raw.frame(opcode, payload, **options)


def request(part, server):
    headers = {name: content(value, server).decode("latin-1") for name, value in part.get("headers", {}).items()}
    headers |= {name: raw.HOLD for name in part.get("without", ())}
    options = {name: part[name] for name in ("protocol", "key", "version") if name in part}
    return raw.request(server, octets(part["request"]).decode("latin-1"), headers=headers, encoding="latin-1", **options)


@functools.cache
def deflated(name):
    """For one message of its own (RFC 7692): without the tail of an empty block. `name` is the part's content, in JSON:
    what many attackers send alike is made once, and piece by piece."""
    stream = zlib.compressobj(wbits=-15)
    pieces = [stream.compress(piece) for piece in plan(json.loads(name), None)]
    return b"".join([*pieces, stream.flush(zlib.Z_SYNC_FLUSH)])[:-4]


def numbered(part, _):
    """`#` becomes a number that grows."""
    start, count = part.get("from", 1), part.get("count", 1)
    return b"".join(octets(part["numbered"].replace("#", str(number))) for number in range(start, start + count))


def delimited(part, server):
    """Behind its length, as messages of Protobuf are."""
    inside = content(part["delimited"], server)
    return varint(len(inside)) + inside


def nested(part, server):
    """Protobuf in Protobuf: `depth` times behind the tag `nested` and a length."""
    inside = content(part.get("around", ""), server)
    for _ in range(part["depth"]):
        inside = octets(part["nested"]) + varint(len(inside)) + inside
    return inside


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def noise(part, _):
    return random.Random(part.get("seed", 1)).randbytes(part["noise"])


@functools.cache
def hello():
    """The first record that a TLS client of OpenSSL sends."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    stream = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, outgoing, server_hostname="roadstead")
    try:
        stream.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


KINDS = {
    "frame": frame,
    "request": request,
    "deflated": lambda part, _: deflated(json.dumps(part["deflated"])),
    "numbered": numbered,
    "delimited": delimited,
    "nested": nested,
    "noise": noise,
    "hello": lambda part, _: hello()[part["hello"][0] : part["hello"][1] or None],
    "bytes": lambda part, server: content(part["bytes"], server),
}
