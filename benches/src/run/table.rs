//! The figures of a run as Markdown: medians, spreads, and the ratio to the floor of the same back end.

use std::fmt::Write;

use super::machine::Machine;
use super::plan::{Backend, Contender, Family};
use super::record::{Run, Sample};
use crate::limits;

/// The summary of a run, as kept beside its raw data.
pub fn summary(run: &Run, machine: &Machine) -> String {
    let mut text = format!("# {}\n\n", run.name);
    text.push_str(&tables(run, machine));
    if !run.failures.is_empty() {
        text.push_str("\nFailed:\n\n");
        for failure in &run.failures {
            let reason = failure.reason.replace('\n', " ");
            let (bench, backend, contender) = (&failure.bench, failure.backend, failure.contender);
            let _ = writeln!(text, "- {bench}, {backend}, {contender}: {reason}");
        }
    }
    text
}

/// The same for a document that names the run.
pub fn section(run: &Run, machine: &Machine) -> String {
    format!("Run `{}`.\n\n{}", run.name, tables(run, machine))
}

fn tables(run: &Run, machine: &Machine) -> String {
    let mut text = set_up(run, machine);
    if let Some(codec) = &run.codec {
        text.push_str(&codec.table());
    }
    let has = |family: Family| run.samples.iter().any(|sample| sample.family == family);
    if run.samples.iter().any(|sample| sample.family.is_rate()) {
        text.push_str(
            "\n| bench | back end | floor | polled floor | Roadstead | of the floor | range | notes |\n\
             |---|---|---:|---:|---:|---:|---:|---|\n",
        );
        for group in groups(run).filter(|group| group.family.is_rate()) {
            text.push_str(&rate_row(&group));
        }
    }
    if has(Family::Crossing) {
        text.push_str(
            "\n| two shards, one publication outstanding | back end | floor | all on one shard | publisher on the other | subscribers on both | other / one | both / one | notes |\n\
             |---|---|---:|---:|---:|---:|---:|---:|---|\n",
        );
        for group in groups(run).filter(|group| group.family == Family::Crossing) {
            text.push_str(&crossing_row(&group));
        }
    }
    if has(Family::Idle) {
        text.push_str(
            "\n| bench | back end | floor | bytes each (RSS) | marginal | PSS | private dirty | spread |\n\
             |---|---|---:|---:|---:|---:|---:|---:|\n",
        );
        for group in groups(run).filter(|group| group.family == Family::Idle) {
            text.push_str(&idle_row(&group));
        }
    }
    if has(Family::Shards) {
        text.push_str(
            "\n| fixed memory | back end | MiB before the first connection | MiB after a fan-out to 1,000 |\n\
             |---|---|---:|---:|\n",
        );
        for group in groups(run).filter(|group| group.family == Family::Shards) {
            text.push_str(&shards_row(&group));
        }
    }
    text
}

fn set_up(run: &Run, machine: &Machine) -> String {
    let effort = &run.effort;
    let protobuf = match run.fan_out_protobuf_bytes {
        0 => String::new(),
        bytes => format!(", {bytes} in Protobuf"),
    };
    format!(
        "{machine}\n\
         Medians of {} × {} s, one core for the server, one for the driver; floors with {} KiB buffers; \
         a fan-out delivery is {} bytes in JSON{}.\n",
        effort.repeats,
        effort.seconds,
        run.floor_buffer_bytes / 1024,
        run.fan_out_message_bytes,
        protobuf,
    )
}

/// The samples of one bench on one back end.
struct Group<'r> {
    family: Family,
    bench: &'r str,
    backend: Backend,
    samples: Vec<&'r Sample>,
}

fn groups(run: &Run) -> impl Iterator<Item = Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for sample in &run.samples {
        match groups.iter_mut().find(|g| g.bench == sample.bench && g.backend == sample.backend) {
            Some(group) => group.samples.push(sample),
            None => groups.push(Group {
                family: sample.family,
                bench: &sample.bench,
                backend: sample.backend,
                samples: vec![sample],
            }),
        }
    }
    groups.into_iter()
}

impl Group<'_> {
    fn figures(&self, contender: Contender) -> Vec<f64> {
        self.samples.iter().filter(|s| s.contender == contender).map(|s| s.figure).collect()
    }

    /// The figure of one contender divided by that of another, round by round.
    fn ratios_of(&self, contender: Contender, other: Contender) -> Vec<f64> {
        let of = |wanted: Contender, round: usize| {
            self.samples.iter().find(|s| s.contender == wanted && s.round == round).map(|s| s.figure)
        };
        let ours = self.samples.iter().filter(|sample| sample.contender == contender);
        ours.filter_map(|ours| Some(ours.figure / of(other, ours.round)?)).collect()
    }

    /// Roadstead's figure divided by that of the better floor, round by round: the speed of a virtual
    /// machine changes within minutes, and the contenders of one round are seconds apart.
    fn ratios(&self) -> Vec<f64> {
        let floors = [Contender::Floor, Contender::PolledFloor];
        let typical = |contender: &Contender| median(&self.figures(*contender)).unwrap_or(0.0);
        let better = floors.into_iter().max_by(|a, b| typical(a).total_cmp(&typical(b)));
        better.map_or_else(Vec::new, |better| self.ratios_of(Contender::Roadstead, better))
    }

    fn details(&self, name: &str) -> Vec<f64> {
        self.samples.iter().filter_map(|sample| sample.detail[name].as_f64()).collect()
    }

    fn notes(&self) -> String {
        let mut notes = Vec::new();
        let saturated = |sample: &&&Sample| sample.detail["client_saturated"] == true;
        match self.samples.iter().filter(saturated).count() {
            0 => {}
            all if all == self.samples.len() => notes.push("driver's core full".to_owned()),
            some => notes.push(format!("driver's core full in {some} of {}", self.samples.len())),
        }
        let disturbed = |share: &&f64| **share > limits::DISTURBED_SHARE;
        match self.details("others_core_share").iter().filter(disturbed).count() {
            0 => {}
            some => notes.push(format!("other work on the machine in {some} of {}", self.samples.len())),
        }
        notes.join("; ")
    }
}

fn rate_row(group: &Group<'_>) -> String {
    let [floor, polled, roadstead] = [Contender::Floor, Contender::PolledFloor, Contender::Roadstead]
        .map(|contender| median(&group.figures(contender)));
    let ratios = group.ratios();
    let ratio = median(&ratios).map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    let range = match (ratios.iter().copied().reduce(f64::min), ratios.iter().copied().reduce(f64::max)) {
        (Some(least), Some(most)) if ratios.len() > 1 => format!("{least:.2} to {most:.2}"),
        _ => String::new(),
    };
    format!(
        "| {} | {} | {} | {} | {} | {ratio} | {range} | {} |\n",
        group.bench,
        group.backend,
        rate(floor),
        rate(polled),
        rate(roadstead),
        group.notes(),
    )
}

/// Figures of two shards, and what crossing takes of them, round by round.
fn crossing_row(group: &Group<'_>) -> String {
    let contenders = [Contender::Floor, Contender::SameShard, Contender::OtherShard, Contender::BothShards];
    let [floor, same, other, both] = contenders.map(|contender| rate(median(&group.figures(contender))));
    let [to_other, to_both] = [Contender::OtherShard, Contender::BothShards].map(|contender| {
        let ratios = group.ratios_of(contender, Contender::SameShard);
        median(&ratios).map_or_else(String::new, |ratio| format!("{ratio:.2}"))
    });
    let (bench, backend, notes) = (group.bench, group.backend, group.notes());
    format!(
        "| {bench} | {backend} | {floor} | {same} | {other} | {both} | {to_other} | {to_both} | {notes} |\n"
    )
}

fn shards_row(group: &Group<'_>) -> String {
    let mib = |name| {
        let bytes = median(&group.details(name));
        bytes.map_or_else(String::new, |bytes| format!("{:.1}", bytes / f64::from(1 << 20)))
    };
    let (bench, backend) = (group.bench, group.backend);
    format!("| {bench} | {backend} | {} | {} |\n", mib("rss_bytes_before"), mib("rss_bytes_after"))
}

fn idle_row(group: &Group<'_>) -> String {
    let figures = group.figures(Contender::Roadstead);
    let bytes = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.0}"));
    let ours = Group {
        samples: group.samples.iter().copied().filter(|s| s.contender == Contender::Roadstead).collect(),
        ..*group
    };
    let detail = |name| bytes(median(&ours.details(name)));
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} |\n",
        group.bench,
        group.backend,
        bytes(median(&group.figures(Contender::Floor))),
        bytes(median(&figures)),
        detail("rss_bytes_each_marginal"),
        detail("pss_bytes_each"),
        detail("private_dirty_bytes_each"),
        percent(spread(&figures)),
    )
}

fn rate(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value >= 1e6 => format!("{:.2}M", value / 1e6),
        Some(value) if value >= 1e5 => format!("{:.0}k", value / 1e3),
        Some(value) => format!("{:.1}k", value / 1e3),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(String::new, |share| format!("{:.0} %", share * 100.0))
}

/// The middle of figures, or the mean of the two in the middle; `None` of none.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some((low + high) / 2.0)
}

/// Distance of the extremes, as a share of the median; needs two figures.
fn spread(figures: &[f64]) -> Option<f64> {
    let least = figures.iter().copied().reduce(f64::min)?;
    let most = figures.iter().copied().reduce(f64::max)?;
    median(figures).filter(|median| figures.len() > 1 && *median != 0.0).map(|median| (most - least) / median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::plan::Effort;

    #[test]
    fn medians_and_spreads() {
        let table: [(&[f64], Option<f64>, Option<f64>); 4] = [
            (&[], None, None),
            (&[7.0], Some(7.0), None),
            (&[9.0, 10.0, 8.0], Some(9.0), Some(2.0 / 9.0)),
            (&[1.0, 3.0], Some(2.0), Some(1.0)),
        ];
        for (figures, middle, distance) in table {
            assert_eq!((median(figures), spread(figures)), (middle, distance));
        }
    }

    fn run_of(figures: &[(Contender, f64)]) -> Run {
        let sample = |(contender, figure): &(Contender, f64)| Sample {
            family: Family::Echo,
            bench: "echo 20 B, depth 1".into(),
            backend: Backend::IoUring,
            contender: *contender,
            round: 0,
            figure: *figure,
            detail: serde_json::json!({ "client_saturated": *contender == Contender::Roadstead }),
        };
        Run {
            name: "2026-01-01-example".into(),
            effort: Effort::QUICK,
            floor_buffer_bytes: 65_536,
            fan_out_message_bytes: 180,
            fan_out_protobuf_bytes: 150,
            codec: None,
            samples: figures.iter().map(sample).collect(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn the_ratio_is_to_the_better_floor_round_by_round() {
        let mut run = run_of(&[
            (Contender::Floor, 150_000.0),
            (Contender::PolledFloor, 200_000.0),
            (Contender::Roadstead, 190_000.0),
        ]);
        let row = groups(&run).map(|group| rate_row(&group)).collect::<String>();
        assert_eq!(
            row,
            "| echo 20 B, depth 1 | io_uring | 150k | 200k | 190k | 0.95 |  | driver's core full in 1 of 3 |\n"
        );
        // A slow second round leaves the ratios as they are.
        let mut slow = run.samples.clone();
        for sample in &mut slow {
            sample.round = 1;
            sample.figure /= 2.0;
        }
        run.samples.extend(slow);
        let row = groups(&run).map(|group| rate_row(&group)).collect::<String>();
        assert!(row.contains("| 0.95 | 0.95 to 0.95 |"), "{row}");
    }
}
