"""What may name what: the only file to change when a crate, a room or a permission is added.

Everything not granted here is refused; a crate or an engine module that is missing here is refused too.
"""

# Crate -> the crates of this workspace it may depend on. Development dependencies obey the same table.
CRATES = {
    "wsproto": set(),
    "roadstead-protocol": set(),
    "roadstead-io": set(),
    "roadstead-control": {"roadstead-protocol"},
    "roadstead-engine": {"wsproto", "roadstead-protocol", "roadstead-io", "roadstead-control"},
    "loadgen": {"wsproto", "roadstead-protocol", "roadstead-io"},
    "roadstead-sim": {
        "wsproto",
        "roadstead-protocol",
        "roadstead-io",
        "roadstead-control",
        "roadstead-engine",
    },
    "benches": {"wsproto", "roadstead-protocol", "roadstead-io", "roadstead-control", "roadstead-engine"},
}

ENGINE = "engine/src"

# The runtime of the admin thread; nothing of it may reach a shard.
RUNTIME = {"tokio", "axum", "hyper", "hyper_util"}

# Plain values that every module of the engine may name. They name no room, only each other.
VALUES = {"admission", "bucket", "buffers", "counters", "flow", "limits", "names", "prefix", "revocations", "settings"}

# The modules that carry values from room to room. They may name every room.
CARRIERS = {"shard", "node", "cli"}

# Room -> (engine modules it may name beyond itself and VALUES, crates it may not name).
ROOMS = {
    "guards": (set(), {"roadstead_io", "wsproto"} | RUNTIME),
    # A token is judged while its session connects, a stranger when its request names it.
    "session": ({"guards", "token"}, {"roadstead_io"} | RUNTIME),
    "router": (set(), {"roadstead_io", "wsproto"} | RUNTIME),
    "outbox": (set(), RUNTIME),
    "siblings": (set(), {"roadstead_io", "wsproto"} | RUNTIME),
    "peers": (set(), {"wsproto"} | RUNTIME),  # of roadstead_io it knows only what is to be sent
    "tls": ({"health"}, RUNTIME),  # says how long its certificates are good
    "token": (set(), {"roadstead_io", "wsproto"} | RUNTIME),
    "log": (set(), {"roadstead_io", "wsproto"} | RUNTIME),
    "config": (set(), {"wsproto"} | RUNTIME),
    "tuning": (set(), {"roadstead_io", "wsproto"} | RUNTIME),
    "health": (set(), {"roadstead_io", "wsproto"} | RUNTIME),
    "logging": (set(), {"roadstead_io", "wsproto"} | RUNTIME),
    "admin": ({"guards", "health"}, {"roadstead_io", "wsproto"}),  # answers how the node is, and whom it has banned
}

# Source folder -> std paths that sans-IO code may not reach: sockets, clocks, disks, threads, the environment.
WORLD = [
    "std::net",
    "std::os",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::time::Instant",
    "std::time::SystemTime",
]
SANS_IO = {
    "wsproto/src": WORLD,
    "protocol/src": WORLD,
    "control/src": WORLD,
    "engine/src/peers": WORLD,
}

# Path prefixes under which `unsafe` may stand.
UNSAFE = ("engine/io/", "wsproto/src/mask", "benches/")
