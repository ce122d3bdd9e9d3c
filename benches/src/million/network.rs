//! The network namespace of a run and its settings.

use std::fs;
use std::io;

use crate::{kernel, limits};

/// Where a kernel setting of the calling thread's namespace is read and written.
const SETTINGS: &str = "/proc/sys/net";

/// What a million connections between two processes of one machine need (kernel-tuning/settings.table says why).
const NEEDED: [(&str, &str); 3] = [
    ("ipv4/ip_local_port_range", "1024 65535"),
    ("core/somaxconn", "65535"),
    ("ipv4/tcp_max_syn_backlog", "65535"),
];

/// Enters a namespace with room for `connections`. The size of a namespace's table of connections is a setting of the
/// one that makes it; so there are two, the first of which only makes the second.
///
/// # Errors
/// Not permitted, or a setting is refused; the text says what to do.
pub fn enter(connections: u32) -> io::Result<()> {
    let enter = || {
        kernel::enter_new_network().map_err(|error| {
            io::Error::other(format!(
                "no network namespace of its own: {error}; run it as root (CAP_SYS_ADMIN), in a container that allows it"
            ))
        })
    };
    enter()?;
    let entries = (u64::from(connections) * limits::TABLE_ENTRIES_EACH).next_power_of_two();
    set("ipv4/tcp_child_ehash_entries", &entries.min(limits::TABLE_ENTRIES_MAX).to_string())?;
    enter()?;
    kernel::bring_up_loopback()?;
    NEEDED.iter().try_for_each(|(name, value)| set(name, value))
}

fn set(name: &str, value: &str) -> io::Result<()> {
    let path = format!("{SETTINGS}/{name}");
    fs::write(&path, value)
        .map_err(|error| io::Error::other(format!("cannot set {path} to {value}: {error}")))
}
