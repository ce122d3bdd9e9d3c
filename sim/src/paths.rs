//! Which hosts hear each other: partitions, and hosts without power.
//!
//! Invariants: a path is open unless something closes it; nobody is told of a change; a closed path loses what
//! is on its way.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// The state of all paths.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// Closed ways, each in one direction.
    closed: BTreeSet<(IpAddr, IpAddr)>,
    /// Hosts without power.
    dark: BTreeSet<IpAddr>,
}

impl Paths {
    /// Whether what `from` sends reaches `to`. A host always hears itself.
    pub(crate) fn leads(&self, from: IpAddr, to: IpAddr) -> bool {
        from == to
            || !(self.closed.contains(&(from, to)) || self.dark.contains(&from) || self.dark.contains(&to))
    }

    /// Whether both hear each other, as a connection needs.
    pub(crate) fn joins(&self, one: IpAddr, other: IpAddr) -> bool {
        self.leads(one, other) && self.leads(other, one)
    }

    /// Closes the way from each of `from` to each of `to`.
    pub(crate) fn close(&mut self, from: &[IpAddr], to: &[IpAddr]) {
        self.closed.extend(from.iter().flat_map(|&from| to.iter().map(move |&to| (from, to))));
    }

    /// Opens everything that was closed; hosts without power stay dark.
    pub(crate) fn open_all(&mut self) {
        self.closed.clear();
    }

    pub(crate) fn power_off(&mut self, host: IpAddr) {
        self.dark.insert(host);
    }

    pub(crate) fn power_on(&mut self, host: IpAddr) {
        self.dark.remove(&host);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn host(number: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, number).into()
    }

    #[test]
    fn paths_close_one_way_or_both() {
        let mut paths = Paths::default();
        paths.close(&[host(1), host(2)], &[host(3)]);
        let leads = |paths: &Paths, from, to| paths.leads(host(from), host(to));
        assert!(!leads(&paths, 1, 3) && !leads(&paths, 2, 3) && leads(&paths, 3, 1) && leads(&paths, 1, 2));
        assert!(!paths.joins(host(3), host(1)) && paths.joins(host(1), host(2)));
        paths.open_all();
        assert!(paths.joins(host(1), host(3)));
        paths.power_off(host(1));
        assert!(!paths.joins(host(1), host(3)) && leads(&paths, 1, 1));
        paths.open_all();
        assert!(!paths.joins(host(1), host(3)));
        paths.power_on(host(1));
        assert!(paths.joins(host(1), host(3)));
    }
}
