//! The figures of a run of durable appends as Markdown: medians over the rounds.

use std::fmt::Write;

use super::{DurableRun, PUBLISHERS, Sample};
use crate::run::machine::Machine;
use crate::run::table::median;

/// The summary of a run, as kept beside its raw data.
pub fn summary(run: &DurableRun, machine: &Machine) -> String {
    let mut text = format!(
        "# {}\n\n{machine}\nMedians of {} rounds of {} s; publications of {} bytes, each publisher with a channel of its own and one \
         outstanding. The floor writes groups of as many bytes to the same disk and syncs each (fdatasync).\n\n\
         | publishers | appends/s | in a group | acknowledged after p50 / p99, ms | floor: appends/s | floor: write and sync p50 / p99, ms | of the floor |\n\
         |---:|---:|---:|---:|---:|---:|---:|\n",
        run.name,
        rounds(run, PUBLISHERS[0]).count(),
        run.seconds,
        run.data_bytes
    );
    for publishers in PUBLISHERS.into_iter().filter(|publishers| rounds(run, *publishers).count() > 0) {
        let of = |figure: fn(&Sample) -> f64| {
            median(&rounds(run, publishers).map(figure).collect::<Vec<_>>()).unwrap_or(0.0)
        };
        let ms = |figure: fn(&Sample) -> f64| of(figure) / 1e3;
        let _ = writeln!(
            text,
            "| {publishers} | {:.0} | {:.1} | {:.2} / {:.2} | {:.0} | {:.2} / {:.2} | {:.0} % |",
            of(|sample| sample.rate),
            of(|sample| sample.group),
            ms(|sample| sample.p50_us as f64),
            ms(|sample| sample.p99_us as f64),
            of(|sample| sample.floor_rate),
            ms(|sample| sample.floor_p50_us as f64),
            ms(|sample| sample.floor_p99_us as f64),
            100.0 * of(|sample| sample.rate / sample.floor_rate),
        );
    }
    text
}

fn rounds(run: &DurableRun, publishers: usize) -> impl Iterator<Item = &Sample> {
    run.samples.iter().filter(move |sample| sample.publishers == publishers)
}
