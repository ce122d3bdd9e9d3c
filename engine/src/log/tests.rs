//! The log over a real folder, in the small: what a table of cases can say.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::record::{HEADER_BYTES, Kind, Piece, Record, Scanner};
use super::*;

/// A folder of this test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("roadstead-log-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn store(&self, options: Options, unix_ms: u64) -> Store<Folder> {
        let folder = Folder::make(&self.0).expect("free");
        Store::open(folder, options, 5, unix_ms).expect("it opens")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn small() -> Options {
    Options { segment_bytes: 2_048, free_bytes_min: 0, ..Options::default() }
}

fn append(channel: &str, epoch: u32, after: After, offsets: std::ops::RangeInclusive<u64>) -> Append {
    let kept = |offset: u64| {
        let data: Arc<[u8]> = format!("{channel}/{epoch}/{offset}").into_bytes().into();
        Kept { offset, unix_ms: offset, data }
    };
    Append {
        channel: channel.into(),
        epoch,
        after,
        publications: offsets.map(kept).collect(),
        retention: Retention::ALL,
    }
}

fn read(store: &mut Store<Folder>, channel: &str, unix_ms: u64) -> (u32, u64, Vec<u64>) {
    let read = Read { channel: channel.into(), epoch: None, since: 0, reverse: false, count: 1_000 };
    let found = store.read(&read, unix_ms).expect("it is read");
    for kept in &found.publications {
        let data = format!("{channel}/{}/{}", found.position.epoch, kept.offset);
        assert_eq!(*kept.data, *data.as_bytes());
    }
    let offsets = found.publications.iter().map(|kept| kept.offset).collect();
    (found.position.epoch, found.position.sequence, offsets)
}

#[test]
fn an_append_follows_or_fails() {
    use After::{Offset, Start};
    use Failure::{Stale, TooLarge, Unfollowed};
    let scratch = Scratch::new("follows");
    let mut store = scratch.store(small(), 0);
    let mut huge = append("a", 1, Offset(4), 5..=5);
    huge.publications[0].data = vec![0; crate::limits::LOG_RECORD_BYTES_MAX].into();
    for (given, expected) in [
        (append("a", 1, Offset(0), 1..=1), Err(Unfollowed)),
        (append("a", 1, Start(0), 1..=2), Ok(2)),
        (append("a", 1, Start(0), 1..=2), Err(Stale)),
        (append("a", 1, Offset(2), 3..=4), Ok(4)),
        (append("a", 1, Offset(2), 3..=4), Err(Stale)),
        (append("a", 1, Offset(4), 4..=4), Err(Stale)),
        (append("a", 1, Offset(5), 6..=6), Err(Unfollowed)),
        (append("a", 2, Offset(4), 5..=5), Err(Unfollowed)),
        (huge, Err(TooLarge)),
        // Offsets that failed elsewhere are left out.
        (append("a", 1, Offset(4), 9..=9), Ok(9)),
        (append("a", 2, Start(0), 1..=1), Ok(1)),
        (append("b", 9, Start(100), 101..=102), Ok(102)),
    ] {
        assert_eq!(store.append(std::slice::from_ref(&given), 0), [expected], "{given:?}");
    }
    // One that fails takes those behind it in its channel along, and no others.
    let group = [
        append("a", 2, Offset(1), 2..=2),
        append("a", 2, Offset(3), 4..=4),
        append("a", 2, Offset(4), 5..=5),
        append("b", 9, Offset(102), 103..=103),
    ];
    assert_eq!(store.append(&group, 0), [Ok(2), Err(Unfollowed), Err(Unfollowed), Ok(103)]);
    drop(store);
    let mut store = scratch.store(small(), 0);
    assert_eq!(read(&mut store, "a", 0), (2, 2, vec![1, 2]));
    assert_eq!(read(&mut store, "b", 0), (9, 103, vec![101, 102, 103]));
    assert_eq!(read(&mut store, "c", 0), (0, 0, vec![]));
}

#[test]
fn both_ways_and_page_by_page() {
    let scratch = Scratch::new("pages");
    let mut store = scratch.store(small(), 0);
    store.append(&[append("a", 1, After::Start(0), 1..=10)], 0)[0].expect("appended");
    for (since, reverse, count, offsets, has_more) in [
        (0, false, 3, vec![1, 2, 3], true),
        (7, false, 3, vec![8, 9, 10], false),
        (10, false, 3, vec![], false),
        (u64::MAX, true, 2, vec![10, 9], true),
        (3, true, 5, vec![2, 1], false),
        (0, false, 0, vec![], true),
    ] {
        let read = Read { channel: "a".into(), epoch: Some(1), since, reverse, count };
        let found = store.read(&read, 0).expect("read");
        let found_offsets: Vec<_> = found.publications.iter().map(|kept| kept.offset).collect();
        assert_eq!((found_offsets, found.has_more), (offsets, has_more), "{read:?}");
    }
    let other = Read { channel: "a".into(), epoch: Some(2), since: 0, reverse: false, count: 5 };
    let found = store.read(&other, 0).expect("read");
    assert_eq!((found.publications.len(), found.position.epoch), (0, 1));
}

#[test]
fn retention_takes_the_oldest_and_positions_stay() {
    let scratch = Scratch::new("retention");
    let mut store = scratch.store(small(), 0);
    let with = |retention: Retention, after, offsets| Append { retention, ..append("a", 1, after, offsets) };
    let few = Retention { count: 3, ..Retention::ALL };
    store.append(&[with(few, After::Start(0), 1..=5)], 0)[0].expect("appended");
    assert_eq!(read(&mut store, "a", 0).2, [3, 4, 5]);
    // What went does not come back when more is kept.
    store.append(&[with(Retention::ALL, After::Offset(5), 6..=6)], 0)[0].expect("appended");
    drop(store);
    let mut store = scratch.store(small(), 0);
    assert_eq!(read(&mut store, "a", 0), (1, 6, vec![3, 4, 5, 6]));
    // The time of each publication is its offset.
    let short = Retention { age_ms: 100, forget_ms: 1_000, ..Retention::ALL };
    store.trim(&Trim { channel: "a".into(), below: 0, retention: Some(short) }, 104).expect("trimmed");
    assert_eq!(read(&mut store, "a", 104).2, [5, 6]);
    assert_eq!(read(&mut store, "a", 200), (1, 6, vec![]));
    drop(store);
    let mut store = scratch.store(small(), 200);
    assert_eq!(read(&mut store, "a", 200), (1, 6, vec![]));
    store.tend(1_006);
    assert_eq!(store.recorded(), []);
}

#[test]
fn disk_is_bounded_and_tops_survive_cleaning() {
    let scratch = Scratch::new("bounded");
    let options = Options { bytes_max: 40_000, ..small() };
    let mut store = scratch.store(options, 0);
    let retention = Retention { count: 2, ..Retention::ALL };
    store.append(&[Append { retention, ..append("still", 3, After::Start(0), 1..=7) }], 0)[0]
        .expect("appended");
    let gone = Retention { age_ms: 10, ..Retention::ALL };
    store.append(&[Append { retention: gone, ..append("gone", 4, After::Start(0), 1..=9) }], 0)[0]
        .expect("appended");
    for offset in 1..=800 {
        let after = if offset == 1 { After::Start(0) } else { After::Offset(offset - 1) };
        let answer =
            store.append(&[Append { retention, ..append("busy", 5, after, offset..=offset) }], offset);
        assert_eq!(answer, [Ok(offset)]);
        while store.tend(offset) {}
    }
    assert!(store.ledger().bytes() <= 40_000, "{} bytes", store.ledger().bytes());
    assert!(store.take_tally().cleaned > 10);
    drop(store);
    let mut store = scratch.store(options, 800);
    assert_eq!(read(&mut store, "still", 800), (3, 7, vec![6, 7]));
    assert_eq!(read(&mut store, "gone", 800), (4, 9, vec![]));
    assert_eq!(read(&mut store, "busy", 800), (5, 800, vec![799, 800]));
    assert!(store.ledger().segments().len() < 20);
}

#[test]
fn a_full_log_refuses_and_reads_and_recovers() {
    let scratch = Scratch::new("full");
    let options = Options { bytes_max: 20_000, ..small() };
    let mut store = scratch.store(options, 0);
    let mut top = 0;
    let refused = loop {
        let after = if top == 0 { After::Start(0) } else { After::Offset(top) };
        match store.append(&[append("a", 1, after, top + 1..=top + 1)], 0)[0] {
            Ok(offset) => top = offset,
            Err(failure) => break failure,
        }
        store.tend(0);
    };
    assert_eq!(refused, Failure::Full);
    assert!(refused.is_temporary());
    assert_eq!(read(&mut store, "a", 0).2.len() as u64, top);
    store.trim(&Trim { channel: "a".into(), below: top, retention: None }, 0).expect("trimming needs little");
    while store.tend(0) {}
    assert_eq!(store.append(&[append("a", 1, After::Offset(top), top + 2..=top + 2)], 0), [Ok(top + 2)]);
    assert_eq!(read(&mut store, "a", 0).2, [top, top + 2]);
}

#[test]
fn each_damaged_byte_costs_its_record_alone() {
    let scratch = Scratch::new("rot");
    let mut store = scratch.store(small(), 0);
    for offset in 1..=6 {
        let after = if offset == 1 { After::Start(0) } else { After::Offset(offset - 1) };
        store.append(&[append("a", 1, after, offset..=offset)], 0)[0].expect("appended");
    }
    store.close();
    let name = scratch.0.join(&store.ledger().segments()[0].name);
    drop(store);
    let good = fs::read(&name).expect("read");
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x20;
        fs::write(&name, &bytes).expect("written");
        let mut ledger = match Ledger::load(Folder::take(&scratch.0).expect("free")) {
            Ok(ledger) => ledger,
            Err(error) => panic!("byte {at}: {error}"),
        };
        assert_eq!(ledger.damage().len() + usize::from(ledger.torn().is_some()), 1, "byte {at}");
        let read = Read { channel: "a".into(), epoch: None, since: 0, reverse: false, count: 99 };
        let found = ledger.read(&read).expect("read");
        assert!(found.publications.len() >= 5, "byte {at}: {:?}", found.publications);
        assert!(
            found.publications.iter().all(|kept| *kept.data == *format!("a/1/{}", kept.offset).as_bytes())
        );
    }
}

#[test]
fn a_record_in_a_payload_is_none() {
    // Somebody publishes what looks like a record; the head before it rots.
    let inner = Record {
        kind: Kind::Publication,
        is_first: true,
        channel: "secret",
        epoch: 1,
        offset: 1,
        unix_ms: 0,
        rest: b"forged",
    };
    for (nonce, moved) in [(7, 0), (8, 0), (7, 1)] {
        let mut forged = Vec::new();
        inner.write(7, 0, &mut forged);
        let mut bytes = vec![0; HEADER_BYTES];
        let outer = Record { channel: "open", rest: &forged, ..inner };
        outer.write(nonce, 0, &mut bytes);
        bytes[HEADER_BYTES + moved] ^= 1;
        let pieces: Vec<_> = Scanner::new(&bytes, nonce, HEADER_BYTES).collect();
        assert!(matches!(pieces[..], [Piece::Damage { .. }]), "{pieces:?}");
    }
}

#[test]
fn desks_are_answered_and_bounded() {
    let scratch = Scratch::new("desks");
    let store = scratch.store(small(), 0);
    let (woken, wakes) = crossbeam_channel::unbounded();
    let wake = |place: usize| -> Wake {
        let woken = woken.clone();
        Arc::new(move || woken.send(place).unwrap_or(()))
    };
    let (mut desks, keeper) = open_desks(store, vec![wake(0), wake(1)]).expect("a thread");
    for (place, desk) in desks.iter_mut().enumerate() {
        let channel = format!("of-{place}");
        for offset in 1..=50 {
            let after = if offset == 1 { After::Start(0) } else { After::Offset(offset - 1) };
            let request = Request::Append(append(&channel, 1, after, offset..=offset));
            desk.hand_in(Job { ticket: offset, request }).expect("there is room");
        }
        let read = Read { channel: channel.into(), epoch: None, since: 0, reverse: false, count: 99 };
        desk.hand_in(Job { ticket: 51, request: Request::Read(read) }).expect("there is room");
    }
    let mut heard = [0, 0];
    while heard != [51, 51] {
        let place = wakes.recv().expect("it wakes");
        while let Some(Answer { ticket, outcome }) = desks[place].poll() {
            heard[place] += 1;
            match outcome {
                Outcome::Appended(offset) => assert_eq!(offset, ticket),
                Outcome::Read(_) => assert_eq!(ticket, 51),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(desks.iter().map(Desk::open).sum::<usize>(), 0);
    // A desk takes so much and no more, whatever the thread does meanwhile.
    let large = |ticket| {
        let mut append = append("large", 1, After::Start(0), 1..=1);
        append.publications[0].data = vec![0; crate::limits::LOG_QUEUE_BYTES_MAX / 8].into();
        Job { ticket, request: Request::Append(append) }
    };
    let taken = (0..8).filter(|ticket| desks[0].hand_in(large(*ticket)).is_ok()).count();
    assert!(taken < 8, "all were taken");
    drop(desks);
    keeper.join().expect("it ends in order");
    let ledger = Ledger::load(Folder::take(&scratch.0).expect("free")).expect("it opens");
    assert!(ledger.is_sealed() && ledger.damage().is_empty());
}
