//! What a run says at its end, and what it leaves behind.

use std::fmt::Write as _;

use serde::Serialize;

use super::load::Measured;
use super::stand::Load;
use crate::run::machine::Machine;
use crate::run::plan::Backend;

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of both ends.
    pub backend: Backend,
    /// Connections that were to be held.
    pub connections: u32,
    /// Connections of the small run beside it.
    pub small_connections: u32,
    /// The same load on few connections.
    pub small: Measured,
    /// All connections.
    pub large: Measured,
    /// As many connections to the bare loop.
    pub floor: Option<Measured>,
}

/// The figures of the last line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Connections that were open while held.
    pub connections: u64,
    /// Connections that failed or were lost, and messages that were lost, came twice, damaged or out of order.
    pub failed: u64,
    /// All resident memory of the server, divided by the connections.
    pub process_bytes: f64,
    /// Growth of the kernel's memory, both ends, divided by two and the connections.
    pub kernel_bytes: f64,
    /// Cores of the server while only pings are exchanged.
    pub idle_cores: f64,
    /// From the moment a publication was due to its arrival at a subscriber, 99 of 100, milliseconds.
    pub publish_p99_ms: f64,
    /// The same on few connections.
    pub publish_p99_small_ms: f64,
}

impl Measured {
    fn count(&self, path: &str) -> u64 {
        self.result.as_ref().and_then(|result| result.pointer(path)?.as_u64()).unwrap_or(0)
    }

    fn number(&self, path: &str) -> f64 {
        self.result.as_ref().and_then(|result| result.pointer(path)?.as_f64()).unwrap_or(0.0)
    }

    fn milliseconds(&self, figure: &str) -> f64 {
        self.number(&format!("/latency_us/message/{figure}")) / 1000.0
    }

    /// Everything that should not have happened.
    pub fn failed(&self) -> u64 {
        let kinds = ["connections/failed", "connections/dropped", "messages/lost", "messages/duplicated"];
        let more = ["messages/reordered", "messages/corrupt", "messages/refused", "messages/unsent"];
        let counted = kinds.iter().chain(&more).map(|kind| self.count(&format!("/{kind}"))).sum::<u64>();
        // A run that failed in a way that none of them counts has failed all the same.
        counted.max(u64::from(self.exit_code != 0))
    }

    fn opened(&self) -> u64 {
        self.count("/connections/opened")
    }
}

impl Report {
    /// The figures.
    pub fn figures(&self) -> Figures {
        let large = Figures::of(&self.large);
        Figures {
            failed: large.failed + self.small.failed(),
            publish_p99_small_ms: self.small.milliseconds("p99"),
            ..large
        }
    }

    /// Tables for people.
    pub fn summary(&self, name: &str, machine: &Machine, load: &Load) -> String {
        let figures = self.figures();
        let mut text = String::new();
        let mut row = |what: &str, value: String| {
            let _ = writeln!(text, "| {what} | {value} |");
        };
        row("connections held, each with a user and a channel", figures.connections.to_string());
        row("failures of any kind", figures.failed.to_string());
        row("opened per second", format!("{:.0}", self.large.number("/connections/opened_per_s")));
        row("process memory of the server, bytes each", format!("{:.0}", figures.process_bytes));
        if let Some(after) = self.large.after {
            let each = after.process_bytes as f64 / figures.connections.max(1) as f64;
            row("the same after all have left", format!("{each:.0}"));
        }
        row("kernel memory, bytes for each end of a connection", format!("{:.0}", figures.kernel_bytes));
        row("memory of the load generator, bytes each", {
            format!("{:.0}", self.large.number("/generator/memory_per_connection"))
        });
        row("server cores, only pings", format!("{:.2}", figures.idle_cores));
        if let Some(floor) = &self.floor {
            row("cores of the bare loop, as many pings", format!("{:.2}", floor.idle_cores));
            row("ratio", format!("{:.2}", figures.idle_cores / floor.idle_cores));
        }
        if let Some(cores) = self.large.publishing_cores {
            row("server cores, pings and publications", format!("{cores:.2}"));
        }
        let latency = |run: &Measured| {
            let ms = |figure| format!("{:.1}", run.milliseconds(figure));
            format!("{} / {} / {} / {}", ms("p50"), ms("p90"), ms("p99"), ms("p999"))
        };
        row("publication to subscriber, ms: p50 / p90 / p99 / p99.9", latency(&self.large));
        row(&format!("the same at {} connections", self.small_connections), latency(&self.small));
        let pings = self.large.count("/messages/pings");
        row("pings answered", pings.to_string());
        format!(
            "# {name}\n\n{machine}\nBack end {}, {} channels, {} publications a second of 128 bytes to channels drawn at \
             random, {} s of silence, {} s of publications.\n\n| | |\n|---|---:|\n{text}",
            self.backend, load.channels, load.rate, load.hold_s, load.publish_s,
        )
    }
}

impl Figures {
    /// Those of one run of the load, which has none beside it.
    pub fn of(measured: &Measured) -> Self {
        let each = 1.0 / measured.opened().max(1) as f64;
        let kernel = measured.held.kernel_bytes.saturating_sub(measured.before.kernel_bytes);
        Self {
            connections: measured.opened(),
            failed: measured.failed(),
            process_bytes: measured.held.process_bytes as f64 * each,
            kernel_bytes: kernel as f64 * each / 2.0,
            idle_cores: measured.idle_cores,
            publish_p99_ms: measured.milliseconds("p99"),
            publish_p99_small_ms: 0.0,
        }
    }

    /// The line for programs.
    pub fn line(&self) -> String {
        format!(
            "million: connections={} failed={} process_bytes={:.0} kernel_bytes={:.0} idle_cores={:.2} \
             publish_p99_ms={:.1} publish_p99_10k_ms={:.1}",
            self.connections,
            self.failed,
            self.process_bytes,
            self.kernel_bytes,
            self.idle_cores,
            self.publish_p99_ms,
            self.publish_p99_small_ms,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::million::watch::Look;
    use serde_json::json;

    fn measured(opened: u64, lost: u64, p99_us: f64) -> Measured {
        let look = |process_bytes, kernel_bytes| Look { process_bytes, kernel_bytes };
        Measured {
            before: look(1_000, 10_000),
            held: look(400_000, 8_210_000),
            idle_cores: 0.4,
            publishing_cores: Some(0.6),
            after: Some(look(300_000, 20_000)),
            result: Some(json!({
                "connections": { "opened": opened, "failed": 0, "dropped": 0, "opened_per_s": 5.0 },
                "messages": { "lost": lost, "pings": 3 },
                "latency_us": { "message": { "p50": 1.0, "p90": 2.0, "p99": p99_us, "p999": 4.0 } },
            })),
            exit_code: i32::from(lost > 0),
        }
    }

    fn report(lost: u64) -> Report {
        let (small, large) = (measured(10, 0, 1_500.0), measured(1_000, lost, 3_000.0));
        Report {
            backend: Backend::IoUring,
            connections: 1_000,
            small_connections: 10,
            small,
            large,
            floor: None,
        }
    }

    #[test]
    fn the_last_line_has_every_figure_per_connection() {
        let line = report(0).figures().line();
        let expected = "million: connections=1000 failed=0 process_bytes=400 kernel_bytes=4100 idle_cores=0.40 \
                        publish_p99_ms=3.0 publish_p99_10k_ms=1.5";
        assert_eq!(line, expected);
    }

    #[test]
    fn what_is_lost_or_fails_uncounted_is_a_failure() {
        assert_eq!(report(7).figures().failed, 7);
        let mut uncounted = report(0);
        uncounted.large.exit_code = 1;
        assert_eq!(uncounted.figures().failed, 1);
    }
}
