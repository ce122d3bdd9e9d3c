//! Killed in a loop under load: nothing that was acknowledged is lost, and nothing is there that nobody gave.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use roadstead_engine::log::{Folder, Ledger, Read};

use crate::surroundings;
use crate::victim::{self, EPOCH, SHORT, SHORT_COUNT, WHOLE, data, start};

const KILLS: u64 = 60;

#[test]
fn nothing_acknowledged_is_lost_and_nothing_invented() {
    let place = surroundings::Folder::new("log-crashes");
    let folder = place.path("log");
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    let mut total = 0;
    for kill in 0..KILLS {
        let mut child = start(&folder, 16, 0);
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut wait_ms = Some(kill * 13 % 47);
        // It lives until something was acknowledged and a while more; what it said before its end is still in the pipe.
        while let Some(Ok(line)) = lines.next() {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["P", channel, epoch, top] => {
                    assert_eq!(epoch.parse(), Ok(EPOCH), "{channel}: the epoch is as it was");
                    let top: u64 = top.parse().expect("a number");
                    let before = acknowledged.get(channel).copied().unwrap_or(0);
                    assert!(
                        top >= before,
                        "{channel}: {top} after kill {kill}, where {before} was acknowledged"
                    );
                }
                ["A", channel, offset] => {
                    let offset: u64 = offset.parse().expect("a number");
                    let before = acknowledged.insert(channel.to_owned(), offset).unwrap_or(0);
                    assert!(offset > before, "{channel}: {offset} after {before}");
                    total += 1;
                    if let Some(wait_ms) = wait_ms.take() {
                        let process = child.id();
                        thread::sleep(Duration::from_millis(wait_ms));
                        child.kill().unwrap_or_else(|error| panic!("{process} cannot be killed: {error}"));
                    }
                }
                _ => {}
            }
        }
        assert!(wait_ms.is_none(), "life {kill} acknowledged nothing");
        child.wait().expect("it was started here");
        if kill % 10 == 9 {
            compare(&folder, &acknowledged);
        }
    }
    assert_eq!(acknowledged.len(), WHOLE + SHORT);
    assert!(total > KILLS * 10, "{total} publications are no load");
}

/// All that is read against all that was acknowledged.
fn compare(folder: &str, acknowledged: &BTreeMap<String, u64>) {
    let mut ledger = Ledger::load(Folder::take(Path::new(folder)).expect("nobody has it")).expect("it opens");
    assert_eq!(ledger.damage(), []);
    ledger.retire_all(victim::unix_ms());
    for (channel, offset) in acknowledged {
        let channel: Arc<str> = channel.as_str().into();
        let mut offsets = Vec::new();
        let mut since = 0;
        let top = loop {
            let read =
                Read { channel: channel.clone(), epoch: Some(EPOCH), since, reverse: false, count: 1_000 };
            let found = ledger.read(&read).expect("it is read");
            for kept in &found.publications {
                assert_eq!(kept.data, data(&channel, kept.offset), "{channel}: {}", kept.offset);
                offsets.push(kept.offset);
            }
            since = offsets.last().copied().unwrap_or(since);
            if !found.has_more {
                break found.position.sequence;
            }
        };
        assert!(top >= *offset, "{channel} ends at {top}, and {offset} was acknowledged");
        let from = if channel.starts_with("short") { top.saturating_sub(SHORT_COUNT) + 1 } else { 1 };
        assert_eq!(offsets, (from..=top).collect::<Vec<_>>(), "{channel}");
    }
}
