//! How many connections one source address carries to one target: what the kernel's range of ephemeral ports allows.

use std::fs;

use crate::limits::{CONNECTIONS_PER_SOURCE, EPHEMERAL_PORTS};

/// The ports that the kernel picks from for outgoing connections (`net.ipv4.ip_local_port_range`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    count: u32,
}

impl Ports {
    /// This machine's range.
    #[must_use]
    pub(crate) fn of_this_machine() -> Self {
        let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        Self::parse(&text).unwrap_or(Self { count: EPHEMERAL_PORTS })
    }

    /// Reads the two numbers of the kernel's file.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<u32>);
        let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (last >= first && last <= 65_535).then(|| Self { count: last - first + 1 })
    }

    /// Connections from one address that open quickly. The kernel tries all ports of one parity before the other
    /// (`__inet_hash_connect`); once they are used up, every further connection searches them all, a millisecond each.
    #[must_use]
    pub(crate) fn comfortable(self) -> u32 {
        (self.count / 2 * 4 / 5).clamp(1, CONNECTIONS_PER_SOURCE)
    }

    /// Connections from one address that are possible at all.
    #[must_use]
    pub(crate) fn possible(self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_bounds_the_connections_of_an_address() {
        let table = [
            ("32768\t60999\n", Some((11_292, 28_232))),
            ("1024 65535", Some((20_000, 64_512))),
            ("5000 5000", Some((1, 1))),
            ("9 8", None),
            ("1 70000", None),
            ("", None),
            ("x y", None),
        ];
        for (text, expected) in table {
            let ports = Ports::parse(text);
            assert_eq!(ports.map(|ports| (ports.comfortable(), ports.possible())), expected, "{text}");
        }
    }
}
