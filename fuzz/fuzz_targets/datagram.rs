//! Datagrams as anybody may send them: nothing changes but counts.
//!
//! An input is datagrams, each with two bytes of length before it.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use roadstead_control::{
    ClusterKeys, ClusterName, Fleet, FleetSettings, Incarnation, Member, NodeName, Region, Standing, Version,
    Weight,
};

fuzz_target!(|bytes: &[u8]| {
    let own = Member {
        name: NodeName::new("node-0").expect("a name"),
        incarnation: Incarnation(1_700_000_000_000),
        revision: 0,
        address: SocketAddr::from(([10, 0, 0, 1], 7400)),
        region: Region::new("fra").expect("a name"),
        weight: Weight::default(),
        version: Version(0, 1, 0),
        shards: 2,
        draining: false,
        settled: false,
        connections: 0,
    };
    let settings = FleetSettings {
        cluster: ClusterName::new("test").expect("a name"),
        seeds: vec![SocketAddr::from(([10, 0, 0, 2], 7400))],
        keys: ClusterKeys::parse("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").expect("a key"),
        alone: false,
        own: own.clone(),
    };
    let mut fleet = Fleet::new(settings, 1, Duration::ZERO);
    let (mut rest, mut count) = (bytes, 0);
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (datagram, after) = after.split_at(usize::from(u16::from_le_bytes(*length)).min(after.len()));
        fleet.handle_datagram(Duration::ZERO, SocketAddr::from(([10, 0, 0, 2], 7400)), datagram);
        rest = after;
        count += 1;
    }
    let tally = fleet.tally();
    assert_eq!((tally.datagrams_received, tally.rejected()), (count, count));
    assert_eq!((fleet.standing(), fleet.members().len()), (Standing::Joining, 1));
    assert_eq!(fleet.own(), &own);
});
