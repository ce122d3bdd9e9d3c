//! What stands in the way at the listen addresses: ports that only root may take, ports that someone else may take first,
//! addresses that are not of this machine, and how many connections one address of clients can open.
//!
//! Invariant: nobody is listened to, so nobody's connection is lost.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};

use super::judge::{Finding, Verdict};
use super::machine::Machine;

/// `CAP_NET_BIND_SERVICE` (linux/capability.h).
const BIND_SERVICE: u32 = 10;

/// Ports that one address can connect from, where its range is as wide as it may be: 1,024 to 65,535 (ip(7)).
const PORTS_MAX: usize = 64_512;

/// Looks at the addresses that `connections` clients are to connect to.
#[must_use]
pub fn ports(machine: &Machine, listen: &[SocketAddr], connections: u32) -> Vec<Finding> {
    let fixed: BTreeSet<u16> = listen.iter().map(SocketAddr::port).filter(|port| *port != 0).collect();
    let mut findings: Vec<Finding> = listen.iter().filter_map(|address| foreign(*address)).collect();
    findings.extend(fixed.iter().filter_map(|port| privileged(machine, *port)));
    findings.extend(fixed.iter().filter_map(|port| outgoing(machine, *port)));
    findings.push(one_source(listen.len(), connections));
    findings
}

fn foreign(address: SocketAddr) -> Option<Finding> {
    // Binding a datagram socket tells whether the address is there, and takes nothing from anybody.
    let error = UdpSocket::bind((address.ip(), 0)).err()?;
    Some(Finding {
        name: format!("address {}", address.ip()),
        verdict: Verdict::Stops,
        is: error.to_string(),
        should: "of this machine".into(),
        why: "clients connect there".into(),
        cost: "the node does not start".into(),
        cure: format!("ip address add {} dev DEVICE, or another --listen", address.ip()),
        see: "ip address".into(),
        source: "bind(2)".into(),
    })
}

fn privileged(machine: &Machine, port: u16) -> Option<Finding> {
    let first: u16 = machine.sysctl("net.ipv4.ip_unprivileged_port_start")?.parse().ok()?;
    if port >= first || machine.may(BIND_SERVICE)? {
        return None;
    }
    Some(Finding {
        name: format!("port {port}"),
        verdict: Verdict::Stops,
        is: "not allowed to this user".into(),
        should: format!("{first} or more, or CAP_NET_BIND_SERVICE"),
        why: format!(
            "ports below {first} are for those with a capability; deploy/roadstead.service grants it"
        ),
        cost: "the node does not start".into(),
        cure: "setcap cap_net_bind_service=+ep \"$(command -v roadstead)\"".into(),
        see: "getcap \"$(command -v roadstead)\"".into(),
        source: "capabilities(7); net.ipv4.ip_unprivileged_port_start".into(),
    })
}

fn outgoing(machine: &Machine, port: u16) -> Option<Finding> {
    let range = machine.sysctl("net.ipv4.ip_local_port_range")?;
    let (first, last) = range.split_once(' ')?;
    if !(first.parse::<u16>().ok()?..=last.parse().ok()?).contains(&port) {
        return None;
    }
    let reserved = machine.sysctl("net.ipv4.ip_local_reserved_ports").unwrap_or_default();
    if is_listed(&reserved, port) {
        return None;
    }
    let all = if reserved.is_empty() { port.to_string() } else { format!("{reserved},{port}") };
    Some(Finding {
        name: format!("port {port}"),
        verdict: Verdict::Costs,
        is: format!("of those for outgoing connections ({first} to {last})"),
        should: "kept for the node".into(),
        why: "an outgoing connection of any program may hold the port when the node starts".into(),
        cost: "then the node does not start, until that connection has ended".into(),
        cure: format!("sysctl -w net.ipv4.ip_local_reserved_ports={all}"),
        see: format!("ss -tan 'sport = :{port}'"),
        source: "Documentation/networking/ip-sysctl.rst".into(),
    })
}

/// Whether `port` is in a list such as `80,8000-8010`.
fn is_listed(list: &str, port: u16) -> bool {
    list.split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&port),
            _ => false,
        }
    })
}

fn one_source(addresses: usize, connections: u32) -> Finding {
    let most = PORTS_MAX * addresses;
    let enough = connections as usize <= most;
    Finding {
        name: "connections of one client address".into(),
        verdict: if enough { Verdict::Ok } else { Verdict::Note },
        is: format!("at most {most}"),
        should: format!("{connections}, where a proxy or NAT is in front"),
        why: "an address connects to one listen address from each of its ports once: 28,232 by default, 64,512 at most"
            .into(),
        cost: format!(
            "behind one proxy address not all get through: it takes {} proxy or listen addresses",
            (connections as usize).div_ceil(PORTS_MAX)
        ),
        cure: String::new(),
        see: "EADDRNOTAVAIL in the log of the proxy".into(),
        source: "ip(7)".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::tests::MadeUp;
    use super::*;

    #[test]
    fn ports_are_for_some_and_for_outgoing_connections() {
        const FIRST: (&str, &str) = ("proc/sys/net/ipv4/ip_unprivileged_port_start", "1024\n");
        const RANGE: (&str, &str) = ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
        const NOBODY: (&str, &str) = ("proc/self/status", "CapEff:\t0000000000000000\n");
        const BINDER: (&str, &str) = ("proc/self/status", "CapEff:\t0000000000000400\n");
        const KEPT: (&str, &str) = ("proc/sys/net/ipv4/ip_local_reserved_ports", "80,40000-40010\n");
        for (name, port, files, found) in [
            ("plain", 8_000, &[FIRST, RANGE, NOBODY][..], None),
            ("low", 443, &[FIRST, RANGE, NOBODY], Some((Verdict::Stops, "setcap"))),
            ("granted", 443, &[FIRST, RANGE, BINDER], None),
            ("untold", 443, &[RANGE], None),
            (
                "outgoing",
                40_000,
                &[FIRST, RANGE, NOBODY],
                Some((Verdict::Costs, "ip_local_reserved_ports=40000")),
            ),
            ("reserved", 40_000, &[FIRST, RANGE, NOBODY, KEPT], None),
            (
                "beside",
                40_011,
                &[FIRST, RANGE, NOBODY, KEPT],
                Some((Verdict::Costs, "=80,40000-40010,40011")),
            ),
            ("any", 0, &[FIRST, RANGE, NOBODY], None),
        ] {
            let made_up = MadeUp::new(name, files);
            let findings = ports(&made_up.machine, &[([127, 0, 0, 1], port).into()], 100);
            let first = findings.first().filter(|finding| finding.verdict != Verdict::Ok);
            assert_eq!(first.map(|finding| finding.verdict), found.map(|(verdict, _)| verdict), "{name}");
            if let (Some(first), Some((_, words))) = (first, found) {
                assert!(first.cure.contains(words), "{name}: {}", first.cure);
            }
        }
    }

    #[test]
    fn lists_of_ports_are_understood() {
        for (list, port, listed) in [
            ("", 8_000, false),
            ("8000", 8_000, true),
            ("80,7000-9000", 8_000, true),
            ("80,7000-7999,8001", 8_000, false),
        ] {
            assert_eq!(is_listed(list, port), listed, "{list}");
        }
    }

    #[test]
    fn one_address_has_so_many_ports() {
        for (addresses, connections, verdict) in
            [(1, 64_512, Verdict::Ok), (1, 64_513, Verdict::Note), (2, 100_000, Verdict::Ok)]
        {
            assert_eq!(one_source(addresses, connections).verdict, verdict);
        }
        assert!(one_source(1, 1_000_000).cost.contains("takes 16 "));
    }

    #[test]
    fn addresses_of_others_are_found() {
        assert_eq!(foreign(([127, 0, 0, 1], 8_000).into()), None);
        let found = foreign(([192, 0, 2, 1], 8_000).into()).expect("an address for documentation");
        assert_eq!(found.verdict, Verdict::Stops);
    }
}
