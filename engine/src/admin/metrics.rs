//! Prometheus text (exposition format 0.0.4) of a node.
//!
//! Invariants: each name has one HELP and one TYPE line, directly before its samples; labels are fixed words, shard
//! numbers, the names of node, region and fleet in one series, those of the certificates in another, and a bounded number of
//! sources of connections in a third.

use std::fmt::{Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::process::Process;
use super::{Subject, VERSION, bans, fleet_metrics, key_sets, shard_metrics};
use crate::counters::{Kind, METRICS};
use crate::limits::REVOCATIONS_MAX;

/// Everything, in one text.
pub(super) fn render(subject: &Subject, process: &Process) -> String {
    let mut text = Text(String::with_capacity(16 << 10));
    text.name("roadstead_build_info", "What runs; the value is always 1.", Kind::Gauge);
    text.sample("roadstead_build_info", &[("version", VERSION), ("io", &subject.io)], 1);
    fleet_metrics::name_node(&mut text, subject);
    text.name("roadstead_shards", "Shards of the node.", Kind::Gauge);
    text.sample("roadstead_shards", &[], subject.counters.len());
    text.name("roadstead_ready", "1 if new clients are welcome.", Kind::Gauge);
    text.sample("roadstead_ready", &[], u8::from(subject.health.is_ready()));
    let (applied, refused) = subject.health.reloads();
    let name = "roadstead_config_reloads_total";
    text.name(
        name,
        "Times that the configuration was read again; refused if it was not valid.",
        Kind::Counter,
    );
    text.sample(name, &[("result", "applied")], applied);
    text.sample(name, &[("result", "refused")], refused);

    of_certificates(&mut text, subject);

    let mut last = "";
    for (index, metric) in METRICS.iter().enumerate() {
        if metric.name != last {
            text.name(metric.name, metric.help, metric.kind);
            last = metric.name;
        }
        text.sample(metric.name, metric.label.as_slice(), sum(subject, index));
    }

    of_revocations(&mut text, subject);
    key_sets::measure(&mut text, subject);
    shard_metrics::of_codes(&mut text, subject);
    shard_metrics::of_shards(&mut text, subject);
    of_admission(&mut text, subject);
    bans::measure(&mut text, subject);
    fleet_metrics::of_fleet(&mut text, subject);
    of_process(&mut text, process);
    text.0
}

fn of_certificates(text: &mut Text, subject: &Subject) {
    let certificates = subject.health.certificates();
    if certificates.is_empty() {
        return;
    }
    let (applied, refused) = subject.health.certificate_reloads();
    let name = "roadstead_tls_certificate_reloads_total";
    let help = "Times that certificates were read again; refused if they were of no use.";
    text.name(name, help, Kind::Counter);
    text.sample(name, &[("result", "applied")], applied);
    text.sample(name, &[("result", "refused")], refused);
    let name = "roadstead_tls_certificate_expires_in_seconds";
    text.name(name, "Seconds until a certificate in use, or one above it, ends.", Kind::Gauge);
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    for (place, certificate) in certificates.iter().enumerate() {
        let labels =
            [("usage", certificate.usage), ("place", &place.to_string()), ("name", &certificate.name)];
        text.sample(name, &labels, certificate.left_s(unix_s));
    }
}

/// The sum of one number over all shards.
pub(super) fn sum(subject: &Subject, index: usize) -> u64 {
    subject.counters.iter().map(|counters| counters.value(index)).sum()
}

/// What lets connections in, and what the kernel turns away before the node sees it.
fn of_admission(text: &mut Text, subject: &Subject) {
    text.single(
        "roadstead_memory_bytes",
        "Memory that counts against the ceiling: resident, and of idle sockets in the kernel.",
        Kind::Gauge,
        Some(subject.admission.used_bytes()),
    );
    text.single(
        "roadstead_memory_bytes_max",
        "The memory ceiling; past it new clients are refused.",
        Kind::Gauge,
        subject.admission.ceiling_bytes(),
    );
    let drops = subject.admission.listen_drops();
    text.single(
        "roadstead_listen_overflows_total",
        "Connections that the kernel dropped since an accept queue was full, of all listeners in the network namespace.",
        Kind::Counter,
        drops.map(|drops| drops.overflows),
    );
    text.single(
        "roadstead_listen_drops_total",
        "Connections that the kernel dropped before they were accepted for whatever reason, likewise.",
        Kind::Counter,
        drops.map(|drops| drops.drops),
    );
}

fn of_revocations(text: &mut Text, subject: &Subject) {
    let (set, is_written) = (subject.revocations.standing)();
    text.single("roadstead_revocations", "Revocations in force.", Kind::Gauge, Some(set.len()));
    text.single(
        "roadstead_revocations_max",
        "Revocations that can be in force.",
        Kind::Gauge,
        Some(REVOCATIONS_MAX),
    );
    text.single(
        "roadstead_revocations_unwritten",
        "1 if the disk does not have all of them; absent without data_dir.",
        Kind::Gauge,
        is_written.map(|is_written| u8::from(!is_written)),
    );
}

fn of_process(text: &mut Text, process: &Process) {
    text.single(
        "process_cpu_seconds_total",
        "User and system CPU time, seconds.",
        Kind::Counter,
        process.cpu_s,
    );
    text.single(
        "process_resident_memory_bytes",
        "Resident memory, bytes.",
        Kind::Gauge,
        process.resident_bytes,
    );
    text.single("process_virtual_memory_bytes", "Virtual memory, bytes.", Kind::Gauge, process.virtual_bytes);
    text.single("process_threads", "Threads.", Kind::Gauge, process.threads);
    text.single("process_open_fds", "Open file descriptors.", Kind::Gauge, process.descriptors);
    text.single(
        "process_max_fds",
        "Most file descriptors that can be open.",
        Kind::Gauge,
        process.descriptors_max,
    );
    text.single(
        "process_start_time_seconds",
        "When the process started, seconds since the Unix epoch.",
        Kind::Gauge,
        process.start_s,
    );
}

pub(super) struct Text(String);

impl Text {
    pub(super) fn name(&mut self, name: &str, help: &str, kind: Kind) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{value}\"");
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{after} {value}");
    }

    fn single(&mut self, name: &str, help: &str, kind: Kind, value: Option<impl Display>) {
        if let Some(value) = value {
            self.name(name, help, kind);
            self.sample(name, &[], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::{fleet, subject};
    use crate::admin::{KeySetDesk, KeySetStatus};
    use crate::counters::Metric;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    /// The rules of the format that Prometheus enforces, and ours on names.
    fn check(text: &str) -> BTreeMap<String, f64> {
        let mut samples = BTreeMap::new();
        let mut types = BTreeMap::new();
        let mut current = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                current = rest.split(' ').next().expect("a name");
                assert!(rest.len() > current.len() + 1, "{current} has a help text");
                assert!(!types.contains_key(current), "{current} appears once");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("name and type");
                assert_eq!(name, current);
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                assert!(name.starts_with("roadstead_") || name.starts_with("process_"), "{name}");
                types.insert(name.to_owned(), kind.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').expect("series and value");
                let name = series.split('{').next().expect("a name");
                let parts = ["_bucket", "_sum", "_count"];
                let family = match types[current].as_str() {
                    "histogram" => parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or_default(),
                    _ => name,
                };
                assert_eq!(family, current, "{series} follows its name");
                let value = value.parse().expect("a number");
                assert!(samples.insert(series.to_owned(), value).is_none(), "{series} appears once");
            }
        }
        samples
    }

    #[test]
    fn text_is_well_formed_and_sums_shards() {
        let subject = subject(2);
        subject.counters[0].set(Metric::Connections, 3);
        subject.counters[1].set(Metric::Connections, 4);
        subject.counters[1].set(Metric::MailboxMessages, 5);
        subject.counters[0].closes.add(3008);
        subject.counters[0].connects.add(109);
        subject.counters[1].closes.add(3008);
        subject.counters[1].turns.add(std::time::Duration::from_millis(5));
        let process = Process { cpu_s: Some(1.5), descriptors: Some(9), ..Process::default() };
        let samples = check(&render(&subject, &process));
        let build = format!("roadstead_build_info{{version=\"{VERSION}\",io=\"epoll\"}}");
        for (series, value) in [
            ("roadstead_connections", 7.0),
            ("roadstead_shard_connections{shard=\"0\"}", 3.0),
            ("roadstead_shard_connections{shard=\"1\"}", 4.0),
            ("roadstead_shard_mailbox_messages{shard=\"1\"}", 5.0),
            ("roadstead_closes_total{code=\"3008\"}", 2.0),
            ("roadstead_closes_total{code=\"other\"}", 0.0),
            ("roadstead_connects_total{code=\"0\"}", 0.0),
            ("roadstead_connects_total{code=\"109\"}", 1.0),
            ("roadstead_shard_turn_seconds_bucket{shard=\"1\",le=\"0.001\"}", 0.0),
            ("roadstead_shard_turn_seconds_bucket{shard=\"1\",le=\"0.01\"}", 1.0),
            ("roadstead_shard_turn_seconds_bucket{shard=\"1\",le=\"+Inf\"}", 1.0),
            ("roadstead_shard_turn_seconds_sum{shard=\"1\"}", 0.005),
            ("roadstead_shards", 2.0),
            ("roadstead_ready", 0.0),
            ("process_cpu_seconds_total", 1.5),
            ("process_open_fds", 9.0),
            (build.as_str(), 1.0),
        ] {
            assert_eq!(samples.get(series), Some(&value), "{series}");
        }
        assert!(!samples.contains_key("process_threads"), "what is not known is absent");
        assert!(!samples.keys().any(|series| series.starts_with("roadstead_fleet_")), "no fleet");
        assert_eq!(samples.get("roadstead_node_info{node=\"test\",region=\"here\"}"), Some(&1.0));
    }

    #[test]
    fn a_fleet_is_counted() {
        let mut subject = subject(1);
        subject.fleet = Some(fleet());
        let samples = check(&render(&subject, &Process::default()));
        for (series, value) in [
            ("roadstead_node_info{node=\"test\",region=\"here\",cluster=\"roadstead\"}", 1.0),
            ("roadstead_fleet_members{state=\"alive\"}", 1.0),
            ("roadstead_fleet_members{state=\"suspect\"}", 1.0),
            ("roadstead_fleet_members{state=\"down\"}", 1.0),
            ("roadstead_fleet_members{state=\"left\"}", 0.0),
            ("roadstead_fleet_view", 3.0),
            ("roadstead_fleet_view_nodes", 2.0),
            ("roadstead_gossip_received_total", 11.0),
            ("roadstead_gossip_rejected_total{reason=\"key\"}", 2.0),
            ("roadstead_gossip_rejected_total{reason=\"replayed\"}", 0.0),
            ("roadstead_fleet_deaths_total", 1.0),
        ] {
            assert_eq!(samples.get(series), Some(&value), "{series}");
        }
        let share = samples["roadstead_fleet_owner_share"];
        assert!((share - 0.5).abs() < 0.03, "{share}");
    }

    #[test]
    fn key_sets_are_shown_where_there_are_some() {
        let mut subject = subject(1);
        let names = |subject: &Subject| {
            let samples = check(&render(subject, &Process::default()));
            samples
                .into_iter()
                .filter(|(series, _)| series.starts_with("roadstead_jwks_"))
                .collect::<BTreeMap<_, _>>()
        };
        assert_eq!(names(&subject), BTreeMap::new());
        let status = |tokens, last| KeySetStatus {
            tokens,
            last,
            max_age_s: 60,
            fetches: vec![("good", 3), ("late", 1)],
            refused_unknown: 5,
            refused_keyless: 6,
        };
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        for (last, keys, has_age) in
            [(None, 0.0, false), (Some((now_s, 2)), 2.0, true), (Some((now_s - 61, 2)), 0.0, true)]
        {
            subject.key_sets =
                KeySetDesk(Arc::new(move || vec![status("connection", last), status("subscription", None)]));
            let samples = names(&subject);
            for (series, value) in [
                ("roadstead_jwks_keys{tokens=\"connection\"}", keys),
                ("roadstead_jwks_keys{tokens=\"subscription\"}", 0.0),
                ("roadstead_jwks_max_age_seconds{tokens=\"connection\"}", 60.0),
                ("roadstead_jwks_fetches_total{tokens=\"connection\",outcome=\"late\"}", 1.0),
                ("roadstead_jwks_refused_total{tokens=\"subscription\",reason=\"unknown_kid\"}", 5.0),
                ("roadstead_jwks_refused_total{tokens=\"subscription\",reason=\"no_keys\"}", 6.0),
            ] {
                assert_eq!(samples.get(series), Some(&value), "{series}");
            }
            assert_eq!(samples.contains_key("roadstead_jwks_age_seconds{tokens=\"connection\"}"), has_age);
        }
    }

    #[test]
    fn labels_come_from_a_short_list() {
        for metric in METRICS {
            assert!(!metric.help.is_empty(), "{}", metric.name);
            if let Some((label, value)) = metric.label {
                assert!(!["channel", "user", "address", "client", "shard"].contains(&label), "{label}");
                assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)), "{value}");
            }
        }
    }
}
