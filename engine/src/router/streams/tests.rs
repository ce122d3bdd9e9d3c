//! Tables of readings, and random lives of streams beside a model that keeps everything.

use super::*;
use crate::names::NameHasher;

const KEEPING: History = History { size: 5, bytes: 1 << 20, ttl_ms: 1_000, meta_ttl_ms: 10_000 };

fn publication(text: &str) -> Arc<Publication> {
    Arc::new(Publication {
        data: text.as_bytes().to_vec(),
        user: "ann".into(),
        client: String::new(),
        conn_info: None,
    })
}

fn streams() -> Streams<NameHasher> {
    Streams::new(NameHasher::new((1, 2)))
}

/// A stream of epoch `0x8000_0007` in which `published` publications came, at time 0.
fn filled(published: u64) -> (Streams<NameHasher>, u32) {
    let mut streams = streams();
    let place = streams.open(&Arc::from("a"), || 7, 0);
    for number in 1..=published {
        let position = streams.append(place, KEEPING, publication(&number.to_string()), 0);
        assert_eq!(position, Position { epoch: 0x8000_0007, sequence: number });
    }
    (streams, place)
}

const OWN: Option<u32> = Some(0x8000_0007);
const OTHER: Option<u32> = Some(0x8000_0008);

#[test]
fn what_was_missed_comes_whole_or_not_at_all() {
    // Of 8 publications 4 to 8 are kept; what is expected begins there and ends with the last.
    for (epoch, offset, limit, expected) in [
        (OWN, 8, 10, Some(9)),
        (OWN, 7, 10, Some(8)),
        (OWN, 3, 10, Some(4)),
        (OWN, 3, 5, Some(4)),
        (OWN, 3, 4, None),
        (OWN, 2, 10, None),
        (OWN, 0, 10, None),
        (OWN, 9, 10, None),
        (OWN, u64::MAX, 10, None),
        (None, 6, 10, Some(7)),
        (OTHER, 6, 10, None),
        (OTHER, 8, 10, None),
        (Some(0), 8, 10, None),
    ] {
        let (mut streams, place) = filled(8);
        let reading = Reading::Missed { since: Claim { epoch, offset }, limit };
        let found = streams.read(place, KEEPING, &reading, 0).unwrap();
        let offsets: Vec<u64> = found.publications.iter().map(|stored| stored.offset).collect();
        let recovered = expected.is_some();
        let wanted: Vec<u64> = expected.map_or_else(Vec::new, |first| (first..=8).collect());
        assert_eq!((found.recovered, offsets), (recovered, wanted), "{epoch:?} {offset} {limit}");
        assert_eq!(found.position.sequence, 8);
        assert!(found.publications.iter().all(|it| it.publication.data == it.offset.to_string().as_bytes()));
    }
    // A first subscription to a channel that nobody has used.
    let (mut streams, place) = filled(0);
    let reading = Reading::Missed { since: Claim { epoch: None, offset: 0 }, limit: 10 };
    assert!(streams.read(place, KEEPING, &reading, 0).unwrap().recovered);
}

#[test]
fn the_latest_comes_unless_it_is_known() {
    for (published, age_ms, epoch, offset, recovered, offsets) in [
        (3, 0, OWN, 3, true, &[][..]),
        (3, 0, OWN, 2, true, &[3][..]),
        (3, 0, None, 3, true, &[3]),
        (3, 0, None, 0, true, &[3]),
        (3, 0, OTHER, 3, true, &[3]),
        (0, 0, OWN, 0, false, &[]),
        (3, 1_000, OWN, 3, true, &[]),
        (3, 1_000, OWN, 2, false, &[]),
        (3, 1_000, None, 3, false, &[]),
    ] {
        let (mut streams, place) = filled(published);
        let reading = Reading::Latest { since: Claim { epoch, offset } };
        let found = streams.read(place, KEEPING, &reading, age_ms).unwrap();
        let read: Vec<u64> = found.publications.iter().map(|stored| stored.offset).collect();
        assert_eq!(
            (found.recovered, &read[..]),
            (recovered, offsets),
            "{published} {age_ms} {epoch:?} {offset}"
        );
    }
}

#[test]
fn pages_are_read_both_ways() {
    let since = |offset| Some(Claim { epoch: OWN, offset });
    // Of 8 publications 4 to 8 are kept.
    for (since, limit, reverse, expected) in [
        (None, 10, false, Ok(&[4, 5, 6, 7, 8][..])),
        (None, 2, false, Ok(&[4, 5])),
        (None, 0, false, Ok(&[])),
        (None, 2, true, Ok(&[8, 7])),
        (since(5), 2, false, Ok(&[6, 7])),
        (since(1), 2, false, Ok(&[4, 5])),
        (since(0), 1, false, Ok(&[4])),
        (since(8), 2, false, Ok(&[])),
        (since(u64::MAX), 2, false, Ok(&[])),
        (since(7), 2, true, Ok(&[6, 5])),
        (since(4), 2, true, Ok(&[])),
        (since(3), 2, true, Ok(&[])),
        (since(9), 2, true, Ok(&[])),
        (since(0), 2, true, Err(ErrorCode::BadRequest)),
        (Some(Claim { epoch: None, offset: 7 }), 1, false, Ok(&[8])),
        (Some(Claim { epoch: OTHER, offset: 7 }), 1, false, Err(ErrorCode::UnrecoverablePosition)),
        (Some(Claim { epoch: OTHER, offset: 7 }), 0, true, Err(ErrorCode::UnrecoverablePosition)),
    ] {
        let (mut streams, place) = filled(8);
        let found = streams.read(place, KEEPING, &Reading::Page { since, limit, reverse }, 0);
        let read = found.map(|found| found.publications.iter().map(|it| it.offset).collect::<Vec<_>>());
        assert_eq!(read, expected.map(<[u64]>::to_vec), "{since:?} {limit} {reverse}");
    }
}

#[test]
fn memory_is_bounded_for_each_and_for_all() {
    let large = publication(&"x".repeat(1_000));
    let each = charge(&large);
    let mut streams = streams();
    let names: Vec<Arc<str>> = (0..4).map(|number| Arc::from(format!("n{number}"))).collect();
    let places: Vec<u32> = names.iter().map(|name| streams.open(name, || 1, 0)).collect();
    let keeping = History { size: 100, bytes: 3 * each as u32, ..KEEPING };
    for _ in 0..10 {
        streams.append(places[0], keeping, Arc::clone(&large), 0);
    }
    assert_eq!((streams.publications(), streams.take_tally().dropped_bytes), (3, 7));
    // All together have room for five: the one that was silent longest gives.
    let records = 4 * (STREAM_OVERHEAD_BYTES + 2);
    streams.bound(records + 5 * each);
    for &place in &places[1..] {
        streams.append(place, keeping, Arc::clone(&large), 1);
    }
    assert_eq!((streams.publications(), streams.take_tally().dropped_ceiling), (5, 1));
    assert_eq!(streams.all[places[0] as usize].kept.len(), 2);
    // A record that is closed goes as a whole, one that is open only loses what it keeps.
    streams.close(places[0]);
    streams.bound(records);
    streams.append(places[1], keeping, Arc::clone(&large), 2);
    assert!(streams.bytes() <= records, "{} bytes", streams.bytes());
    assert_eq!(streams.position(places[1]).sequence, 2);
    let again = streams.open(&names[1], || unreachable!("it is known"), 3);
    assert_eq!(again, places[1]);
}

#[test]
fn time_takes_publications_first_and_positions_later() {
    let mut keeping = Keeping::nothing(NameHasher::new((3, 4)));
    let mut settings = Settings::default();
    settings.channel.history = KEEPING;
    keeping.learn(&settings);
    let (mut streams, place) = filled(3);
    streams.close(place);
    let sweep = |streams: &mut Streams<NameHasher>, from_ms: u64, to_ms: u64| {
        (from_ms..to_ms).step_by(SWEEP_EVERY_MS as usize).for_each(|ms| streams.sweep(&keeping, ms));
    };
    sweep(&mut streams, 0, 999);
    assert_eq!((streams.count(), streams.publications()), (1, 3));
    sweep(&mut streams, 1_000, 2_000);
    assert_eq!((streams.count(), streams.publications()), (1, 0));
    assert_eq!(streams.position(place).sequence, 3, "the position stays");
    sweep(&mut streams, 10_000, 11_000);
    assert_eq!((streams.count(), streams.bytes(), streams.take_tally().forgotten), (0, 0, 1));
    // One that is in use stays.
    let (mut streams, _) = filled(3);
    sweep(&mut streams, 0, 30_000);
    assert_eq!((streams.count(), streams.publications()), (1, 0));
}

/// Random lives beside a model: what is read is what was published, in order, without a hole up to the top.
#[test]
fn streams_agree_with_a_list_of_everything() {
    for seed in 1..200_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = move |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 11) % bound
        };
        let mut streams = streams();
        streams.bound(1_000 + below(20_000) as usize);
        let names: Vec<Arc<str>> = (0..5).map(|number| Arc::from(format!("n{number}"))).collect();
        let places: Vec<u32> = names.iter().map(|name| streams.open(name, || seed as u32, 0)).collect();
        let mut model: Vec<Vec<Arc<Publication>>> = vec![Vec::new(); names.len()];
        let mut now_ms = 0;
        for _ in 0..300 {
            let chosen = below(names.len() as u64) as usize;
            let (place, all) = (places[chosen], &mut model[chosen]);
            now_ms += below(100);
            match below(3) {
                0 | 1 => {
                    let next = publication(&"y".repeat(below(300) as usize));
                    all.push(Arc::clone(&next));
                    let position = streams.append(place, KEEPING, next, now_ms);
                    assert_eq!(position.sequence, all.len() as u64);
                }
                _ => {
                    let offset = below(all.len() as u64 + 2);
                    let since = Claim { epoch: None, offset };
                    let reading = Reading::Missed { since, limit: 4 };
                    let found = streams.read(place, KEEPING, &reading, now_ms).unwrap();
                    let top = found.position.sequence;
                    assert_eq!(top, all.len() as u64);
                    if found.recovered {
                        let expected: Vec<Stored> = (offset + 1..=top)
                            .map(|offset| Stored {
                                offset,
                                publication: Arc::clone(&all[offset as usize - 1]),
                            })
                            .collect();
                        assert_eq!(found.publications, expected);
                    } else {
                        assert!(found.publications.is_empty() && offset != top);
                    }
                }
            }
            let bytes: usize =
                streams.all.iter().map(|(_, it)| it.kept.iter().map(|p| charge(p)).sum::<usize>()).sum();
            let records: usize = names.iter().map(|name| STREAM_OVERHEAD_BYTES + name.len()).sum();
            assert_eq!(streams.bytes(), bytes + records);
        }
    }
}
