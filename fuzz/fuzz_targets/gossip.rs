//! What a node that has the key may say: no panic, no datagram too long, nothing without bound.
//!
//! An input is steps: a byte that picks, a byte of time in 10 ms, two bytes of length, and a body. Even picks take the body as
//! it is; odd ones put the sender's true record behind its first byte, so that what follows is looked at.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use roadstead_control::{
    ClusterKeys, ClusterName, Fleet, FleetSettings, Incarnation, Member, NodeName, Region, Sealer, Version,
    Weight,
};

const NODES_MAX: usize = 4_096;

fuzz_target!(|bytes: &[u8]| {
    let (own, other) = (member("node-0", 1), member("node-1", 2));
    let cluster = ClusterName::new("test").expect("a name");
    let keys = ClusterKeys::parse("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").expect("a key");
    let mut sealer = Sealer::new(&keys, &cluster, other.id(), other.incarnation, 7);
    let settings = FleetSettings { cluster, own, seeds: vec![other.address], keys, alone: true };
    let mut fleet = Fleet::new(settings, 1, Duration::ZERO);
    let (mut rest, mut now) = (bytes, Duration::ZERO);
    while let Some(([pick, time, low, high], after)) = rest.split_first_chunk::<4>() {
        let (said, after) = after.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(after.len()));
        rest = after;
        let body = if pick % 2 == 0 { said.to_vec() } else { with_record(&other, said) };
        fleet.handle_datagram(now, other.address, &sealer.seal(&body));
        drain(&mut fleet, now);
        now = pass_time(&mut fleet, now, Duration::from_millis(10 * u64::from(*time)));
    }
    pass_time(&mut fleet, now, Duration::from_secs(15));
});

fn member(name: &str, number: u8) -> Member {
    Member {
        name: NodeName::new(name).expect("a name"),
        incarnation: Incarnation(1_700_000_000_000 + u64::from(number)),
        revision: 0,
        address: SocketAddr::from(([10, 0, 0, number], 7400)),
        region: Region::new("fra").expect("a name"),
        weight: Weight::default(),
        version: Version(0, 1, 0),
        shards: 2,
        draining: false,
        settled: false,
        connections: 0,
    }
}

fn with_record(sender: &Member, said: &[u8]) -> Vec<u8> {
    let Some((kind, content)) = said.split_first() else { return Vec::new() };
    let mut record = Vec::new();
    sender.encode(&mut record);
    [&[*kind], &(record.len() as u16).to_le_bytes()[..], &record, content].concat()
}

fn pass_time(fleet: &mut Fleet, mut now: Duration, time: Duration) -> Duration {
    let end = now + time;
    while let Some(due) = fleet.poll_timeout().filter(|due| *due <= end) {
        now = now.max(due);
        fleet.handle_timeout(now);
        drain(fleet, now);
    }
    end
}

fn drain(fleet: &mut Fleet, now: Duration) {
    while let Some((_, datagram)) = fleet.poll_datagram() {
        assert!(datagram.len() <= 1_400, "a datagram of {} bytes", datagram.len());
    }
    while fleet.poll_event().is_some() {}
    if let Some(roster) = fleet.poll_roster(now) {
        assert_eq!(roster.view.nodes().len(), roster.members.len());
    }
    assert!(fleet.members().len() <= NODES_MAX);
}
