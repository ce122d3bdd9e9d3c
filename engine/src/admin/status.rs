//! The node and its shards as JSON: for the page, the command line and scripts.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::metrics::sum;
use super::process::Process;
use super::{Subject, VERSION, fleet};
use crate::counters::{METRICS, Metric};

/// The whole node. `complete` is false if a shard did not answer in time: its numbers are old.
pub(super) fn node(subject: &Subject, process: &Process) -> Value {
    let answering = (0..subject.counters.len()).filter(|shard| subject.health.answers(*shard)).count();
    let (reloads_applied, reloads_refused) = subject.health.reloads();
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    json!({
        "version": VERSION,
        "node": subject.name,
        "region": subject.region.as_str(),
        "fleet": fleet::summary(subject),
        "state": subject.health.word(),
        "ready": subject.health.is_ready(),
        "complete": answering == subject.counters.len(),
        "uptime_s": subject.started.elapsed().as_secs(),
        "time_ms": unix_ms,
        "io": subject.io,
        "listen": subject.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "tls": subject.tls,
        "insecure": subject.insecure,
        "echo": subject.echo,
        "reloads": { "applied": reloads_applied, "refused": reloads_refused },
        "shards": subject.counters.len(),
        "shards_answering": answering,
        "process": {
            "cpu_s": process.cpu_s,
            "resident_bytes": process.resident_bytes,
            "threads": process.threads,
            "descriptors": process.descriptors,
            "descriptors_max": process.descriptors_max,
        },
        "counters": counters(|index| sum(subject, index)),
        "shard_connections": subject.counters.iter().map(|c| c.get(Metric::Connections)).collect::<Vec<_>>(),
    })
}

/// Each shard.
pub(super) fn shards(subject: &Subject) -> Value {
    let rows = subject.counters.iter().enumerate().map(|(shard, numbers)| {
        json!({
            "shard": shard,
            "answering": subject.health.answers(shard),
            "silent_ms": subject.health.silent_ms(shard),
            "counters": counters(|index| numbers.value(index)),
        })
    });
    let complete = (0..subject.counters.len()).all(|shard| subject.health.answers(shard));
    json!({ "complete": complete, "shards": rows.collect::<Vec<_>>() })
}

/// By metric name; a fixed label follows as in Prometheus: `name{label="value"}`.
fn counters(value: impl Fn(usize) -> u64) -> BTreeMap<String, u64> {
    let name = |index: usize| match METRICS[index].label {
        None => METRICS[index].name.to_owned(),
        Some((label, value)) => format!("{}{{{label}=\"{value}\"}}", METRICS[index].name),
    };
    (0..METRICS.len()).map(|index| (name(index), value(index))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::subject;
    use crate::health::ANSWER_MS;

    #[test]
    fn a_silent_shard_makes_the_answer_partial() {
        let subject = subject(2);
        subject.health.observe([1, 1].into_iter(), 0);
        assert_eq!(node(&subject, &Process::default())["complete"], true);
        subject.health.observe([2, 1].into_iter(), ANSWER_MS);
        let status = node(&subject, &Process::default());
        assert_eq!(status["complete"], false);
        assert_eq!(status["shards_answering"], 1);
        let shards = shards(&subject);
        assert_eq!(shards["complete"], false);
        assert_eq!(shards["shards"][0]["answering"], true);
        assert_eq!(shards["shards"][1]["answering"], false);
    }

    #[test]
    fn every_number_has_a_name_of_its_own() {
        assert_eq!(counters(|_| 0).len(), METRICS.len());
    }
}
