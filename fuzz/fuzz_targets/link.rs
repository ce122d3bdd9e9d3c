//! What a peer node sends to a shard's links, at once and in pieces: before it has greeted, and when its link is up.
//!
//! An input is one byte of settings, one byte of piece lengths, and what the peer sends.
#![no_main]

use std::net::SocketAddr;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use roadstead_control::{ClusterKeys, Incarnation, Member, NodeName, Region, Roster, Version, View, Weight};
use roadstead_engine::flow::{LinkChange, Parcel};
use roadstead_engine::peers::{Peers, PeersParts};

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const SLOT: u32 = 1;

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    parcels: Vec<Parcel>,
    changes: Vec<LinkChange>,
    refused: u64,
    lost: u64,
    said: Vec<u8>,
}

fuzz_target!(|bytes: &[u8]| {
    let [settings, pieces, sent @ ..] = bytes else { return };
    let (is_up, is_dialler) = (settings & 1 == 1, settings & 2 == 2);
    // Two lengths in turn: 1 to 16, and 1 to 61.
    let lens = [usize::from(pieces & 15) + 1, usize::from(pieces >> 4) * 4 + 1];
    let at_once = hear(is_up, is_dialler, sent, &[sent.len().max(1)]);
    assert_eq!(hear(is_up, is_dialler, sent, &lens), at_once);
    assert_eq!(hear(is_up, is_dialler, sent, &[1]), at_once);
    assert!(is_up || at_once.parcels.is_empty() && at_once.changes.is_empty(), "a stranger was believed");
});

fn hear(is_up: bool, is_dialler: bool, sent: &[u8], lens: &[usize]) -> Seen {
    let [mut dialler, mut acceptor] = nodes();
    let dial = dialler.poll_dial(0).expect("the other node is in the View");
    dialler.dialled(dial.ticket, Some(SLOT), 0);
    dialler.connected(SLOT, 0);
    assert!(acceptor.accept(SLOT, dial.address, 0));
    if is_up {
        greet(&mut dialler, &mut acceptor);
    }
    let mut peers = if is_dialler { dialler } else { acceptor };
    let mut seen = Seen { parcels: Vec::new(), changes: Vec::new(), refused: 0, lost: 0, said: Vec::new() };
    let (mut rest, mut lens, mut received) = (sent, lens.iter().cycle(), 0);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(lens.next().map_or(1, |len| *len).min(rest.len()));
        (rest, received) = (after, received + piece.len());
        peers.hear(SLOT, piece, 0, &mut seen.parcels);
    }
    while let Some((_, payload)) = peers.poll_send() {
        seen.said.extend_from_slice(&payload);
    }
    // The first look comes when a question is due; what is held then was received.
    peers.tick(2_000);
    let tally = peers.take_tally();
    assert!(tally.held_bytes <= 2 * received.max(4) && (is_up || tally.held_bytes <= 2 * 1_028));
    (seen.refused, seen.lost) = (tally.refused.iter().sum(), tally.lost.iter().sum());
    while let Some(change) = peers.poll_change() {
        seen.changes.push(change);
    }
    // Silence ends whatever is left.
    peers.tick(20_000);
    while let Some(slot) = peers.poll_close() {
        assert_eq!(slot, SLOT);
    }
    assert!(peers.address(SLOT).is_none() && peers.take_tally().up == 0);
    seen
}

/// Two nodes that know each other; the first dials.
fn nodes() -> [Peers; 2] {
    let mut names = ["a", "b"].map(|name| NodeName::new(name).expect("a name"));
    names.sort_by_key(NodeName::id);
    let address = SocketAddr::from(([127, 0, 0, 1], 7_400));
    let members: Vec<Member> = names
        .iter()
        .map(|name| Member {
            name: name.clone(),
            incarnation: Incarnation(5),
            revision: 0,
            address,
            region: Region::new("fra").expect("a name"),
            weight: Weight::default(),
            version: Version(0, 1, 0),
            shards: 1,
            draining: false,
            settled: false,
            connections: 0,
        })
        .collect();
    let view = View::new(1, members.iter().map(Member::in_view)).expect("two nodes");
    let roster = Arc::new(Roster { view, members });
    names.map(|own| {
        let parts = PeersParts {
            cluster: "harbour".into(),
            own,
            incarnation: Incarnation(5),
            shard: 0,
            shards: 1,
            keys: Arc::new(ClusterKeys::parse(KEY).expect("a key")),
            links_per_peer: 1,
            link_queue_bytes: 4_096,
            seed: 42,
        };
        let mut peers = Peers::new(parts, 0);
        peers.handle_roster(&roster, 0);
        peers
    })
}

fn greet(dialler: &mut Peers, acceptor: &mut Peers) {
    for _ in 0..2 {
        for (from, to) in [(0, 1), (1, 0)] {
            let ends = [&mut *dialler, &mut *acceptor];
            let said: Vec<_> = std::iter::from_fn(|| ends[from].poll_send()).collect();
            for (slot, payload) in said {
                let ends = [&mut *dialler, &mut *acceptor];
                ends[to].hear(slot, &payload, 0, &mut Vec::new());
            }
        }
    }
    for end in [dialler, acceptor] {
        assert!(end.poll_change().is_some_and(|change| change.carrier.is_some()), "the link is up");
        end.take_tally();
    }
}
