//! What a run of storms says at its end, and what it leaves behind.

use std::fmt::Write as _;

use serde::Serialize;

use super::storm::{Storm, Way};
use crate::limits::COMEBACK_SUBSCRIPTIONS;
use crate::run::machine::Machine;

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its storms.
    pub storms: Vec<Storm>,
}

impl Storm {
    /// Memory at the end beside that before the cut.
    #[must_use]
    pub fn memory_ratio(&self) -> f64 {
        self.resident[1] as f64 / self.resident[0].max(1) as f64
    }

    /// Whether all are back, each as it was to come, and memory is within a tenth of what it was.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let clients = u64::from(self.plan.clients);
        let resumed = if self.plan.way == Way::TlsResumed { clients } else { 0 };
        self.failed == 0 && self.back >= clients && self.resumed >= resumed && self.memory_ratio() <= 1.1
    }
}

impl Report {
    /// Tables for people.
    #[must_use]
    pub fn summary(&self, name: &str, machine: &Machine) -> String {
        let mut rows = String::new();
        for storm in &self.storms {
            let way = match storm.plan.way {
                Way::Plain => "TCP",
                Way::TlsFull => "TLS, full",
                Way::TlsResumed => "TLS, resumed",
            };
            let waits = if storm.plan.backs_off { "full jitter" } else { "none" };
            let [half, most, all] = storm.back_s;
            let mib = storm.resident.map(|bytes| bytes >> 20);
            let _ = writeln!(
                rows,
                "| {} | {} | {way} | {waits} | {:.0} | {half:.2} | {most:.2} | {all:.2} | {} | {} | {} | {} | {} | {:.2} |",
                storm.plan.clients,
                storm.plan.backend,
                storm.server_us,
                storm.resumed,
                storm.retries,
                storm.failed,
                mib[0],
                mib[1],
                storm.memory_ratio(),
            );
        }
        format!(
            "# {name}\n\n{machine}\nAll clients are cut off at once by resets and come back: connection, upgrade, token, \
             {COMEBACK_SUBSCRIPTIONS} subscriptions. Recovery of missed publications is not part of it. TLS handshakes are not paced.\n\n\
             | clients | back end | by | back-off | server µs each | half back, s | 99 % | all | resumed | failed attempts | failed clients | \
             MiB before | MiB after | ratio |\n|---:|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n{rows}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comeback::storm::Plan;
    use crate::run::plan::Backend;

    fn storm(way: Way, resumed: u64, back: u64, failed: u64, resident: [u64; 2]) -> Storm {
        let plan = Plan { backend: Backend::Epoll, clients: 10, way, backs_off: true, patience_s: 5 };
        Storm {
            plan,
            back,
            retries: 3,
            failed,
            resumed,
            back_s: [0.5, 1.0, 1.5],
            server_us: 120.4,
            resident,
            result: serde_json::Value::Null,
        }
    }

    #[test]
    fn a_storm_is_good_if_all_are_back_and_memory_is_too() {
        for (storm, good) in [
            (storm(Way::TlsFull, 0, 10, 0, [100, 110]), true),
            (storm(Way::TlsFull, 0, 10, 0, [100, 111]), false),
            (storm(Way::TlsFull, 0, 9, 0, [100, 100]), false),
            (storm(Way::TlsFull, 0, 10, 1, [100, 100]), false),
            (storm(Way::TlsResumed, 10, 10, 0, [100, 100]), true),
            (storm(Way::TlsResumed, 9, 10, 0, [100, 100]), false),
        ] {
            assert_eq!(storm.is_good(), good, "{storm:?}");
        }
    }
}
