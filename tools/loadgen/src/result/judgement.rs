//! What is wrong with a run: faults of the server or the way to it, and signs that the generator itself fell short.

use super::{Fault, RunResult};
use crate::counters::Counters;
use crate::failure::Failures;
use crate::latency::readable;
use crate::limits::{LAG_SHARE_MAX, LAG_US_MIN};
use crate::plan::Plan;

/// What makes the exit code 1.
pub(super) fn faults(plan: &Plan, counters: &Counters, failures: &Failures, interrupted: bool) -> Vec<Fault> {
    let unopened = u64::from(plan.clients).saturating_sub(counters.attempted);
    let table = [
        ("failed", counters.failed, "connections could not be opened"),
        ("attempted", if interrupted { 0 } else { unopened }, "connections were not begun in time"),
        ("dropped", counters.dropped, "connections were lost"),
        ("given_up", counters.given_up, "connections gave up coming back"),
        ("away", if interrupted { 0 } else { counters.away }, "connections had not come back at the end"),
        ("unclean", counters.unclean, "connections were not closed properly by the server"),
        ("lost", counters.lost(), "messages were lost"),
        ("unsent", counters.unsent, "messages could not be sent"),
        ("duplicated", counters.duplicated, "messages arrived more than once"),
        ("reordered", counters.reordered, "messages arrived out of order"),
        ("corrupt", counters.corrupt, "messages arrived damaged"),
        ("refused", counters.refused, "publish commands were refused"),
    ];
    let mut faults: Vec<Fault> = table
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(number, count, what)| Fault { number: Some(number), text: format!("{count} {what}") })
        .collect();
    if faults.is_empty() && !failures.is_empty() {
        faults.push(Fault { number: None, text: "operations failed: see the errors".to_owned() });
    }
    faults
}

/// How it is known that the generator was the bottleneck: a thread that had no time left, or messages that left so late
/// that it shows in the latencies.
pub(super) fn bottleneck(result: &RunResult) -> Vec<String> {
    let mut reasons = Vec::new();
    let generator = &result.generator;
    if generator.saturated {
        reasons.push(format!(
            "its busiest thread ran {:.0} % and waited for a core {:.0} % of the time",
            100.0 * generator.busiest_thread,
            100.0 * generator.busiest_thread_waiting
        ));
    }
    let table = &result.latency_us;
    if let (Some(lag), Some(latency)) = (&table.lag, table.message.as_ref().or(table.direct.as_ref()))
        && lag.p90 >= LAG_US_MIN
        && lag.p90 >= LAG_SHARE_MAX * latency.p90
    {
        reasons.push(format!(
            "one message in ten left {} late, and their latency at that percentile is {}",
            readable(lag.p90),
            readable(latency.p90)
        ));
    }
    reasons
}
