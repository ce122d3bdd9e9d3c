//! Times every operation against its floor, batch by batch in turn, so that both meet the same machine.

use std::time::{Duration, Instant};

use super::Cost;
use super::operations::{Loop, Operation};
use crate::limits;
use crate::run::table::median;

/// What an operation costs in time, over so many pairs of batches.
pub fn time(operation: &mut Operation, pairs: usize) -> Cost {
    let Operation { name, bytes, floor, work, least } = operation;
    let (work_times, least_times) = (batch(work), batch(least));
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..pairs.max(1) {
        let own = nanoseconds(work, work_times);
        let floor = nanoseconds(least, least_times);
        for (list, value) in times.iter_mut().zip([own, floor, floor / own]) {
            list.push(value);
        }
    }
    let [ns, floor_ns, of_the_floor] = times.map(|list| median(&list).unwrap_or(0.0));
    Cost {
        operation: name.clone(),
        bytes: *bytes,
        floor: (*floor).to_owned(),
        ns,
        floor_ns,
        of_the_floor,
        instructions: None,
        floor_instructions: None,
    }
}

/// Repetitions that take as long as a batch should.
fn batch(work: &mut Loop) -> u64 {
    let mut times = 1;
    loop {
        let begun = Instant::now();
        work(times);
        let took = begun.elapsed();
        if took >= Duration::from_micros(limits::CODEC_BATCH_US) {
            return times;
        }
        times *= 2;
    }
}

fn nanoseconds(work: &mut Loop, times: u64) -> f64 {
    let begun = Instant::now();
    work(times);
    begun.elapsed().as_secs_f64() * 1e9 / times as f64
}
