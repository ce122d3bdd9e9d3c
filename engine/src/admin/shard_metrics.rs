//! Where shards may differ from each other in a way that an operator must see: balance, liveness, and how busy they are.

use super::Subject;
use super::metrics::Text;
use crate::counters::{Codes, Counters, Kind, Metric, TURN_MS_BOUNDS};

pub(super) fn of_shards(text: &mut Text, subject: &Subject) {
    let numbers: [(&str, &str, Kind, Metric); 3] = [
        ("roadstead_shard_connections", "Open connections of a shard.", Kind::Gauge, Metric::Connections),
        ("roadstead_shard_turns_total", "Turns made by a shard.", Kind::Counter, Metric::Turns),
        (
            "roadstead_shard_mailbox_messages",
            "Messages of other shards that wait for a shard.",
            Kind::Gauge,
            Metric::MailboxMessages,
        ),
    ];
    for (name, help, kind, metric) in numbers {
        text.name(name, help, kind);
        for (shard, counters) in subject.counters.iter().enumerate() {
            text.sample(name, &[("shard", &shard.to_string())], counters.get(metric));
        }
    }
    let name = "roadstead_shard_answering";
    text.name(name, "1 if a shard has turned within the last seconds.", Kind::Gauge);
    for shard in 0..subject.counters.len() {
        text.sample(name, &[("shard", &shard.to_string())], u8::from(subject.health.answers(shard)));
    }
    of_turns(text, subject);
}

fn of_turns(text: &mut Text, subject: &Subject) {
    let name = "roadstead_shard_turn_seconds";
    text.name(name, "How long a shard's turns take; nobody else is served meanwhile.", Kind::Histogram);
    for (shard, counters) in subject.counters.iter().enumerate() {
        let shard = shard.to_string();
        let (up_to, seconds) = counters.turns.read();
        let bounds = TURN_MS_BOUNDS.iter().map(|ms| (*ms as f64 / 1_000.0).to_string());
        for (bound, count) in bounds.chain(["+Inf".into()]).zip(up_to) {
            text.sample(&format!("{name}_bucket"), &[("shard", &shard), ("le", &bound)], count);
        }
        text.sample(&format!("{name}_sum"), &[("shard", &shard)], seconds);
        text.sample(&format!("{name}_count"), &[("shard", &shard)], up_to[TURN_MS_BOUNDS.len()]);
    }
}

/// Name, help and place of what is counted by code.
type Family = (&'static str, &'static str, fn(&Counters) -> &Codes);

/// What clients were told when they came, and when this node closed them.
pub(super) fn of_codes(text: &mut Text, subject: &Subject) {
    let families: [Family; 2] = [
        (
            "roadstead_connects_total",
            "Connect commands answered, by the code of the error; 0: a session. Those that were closed instead are closes.",
            |counters| &counters.connects,
        ),
        (
            "roadstead_closes_total",
            "Closes begun by this node, by the code that the peer was told; other: none of the client protocol.",
            |counters| &counters.closes,
        ),
    ];
    for (name, help, of) in families {
        text.name(name, help, Kind::Counter);
        let mut sums: Vec<(Option<u16>, u64)> = Vec::new();
        for counters in subject.counters.iter() {
            for (place, (code, count)) in of(counters).counts().enumerate() {
                match sums.get_mut(place) {
                    Some((_, sum)) => *sum += count,
                    None => sums.push((code, count)),
                }
            }
        }
        for (code, sum) in sums {
            let code = code.map_or_else(|| "other".into(), |code| code.to_string());
            text.sample(name, &[("code", &code)], sum);
        }
    }
}
