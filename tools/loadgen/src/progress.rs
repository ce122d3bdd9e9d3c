//! One line a second on stderr while a run lasts: redrawn on a terminal, plain lines elsewhere, or JSON for programs.

use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::Sender;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::arguments::ProgressChoice;
use crate::counters::Counters;
use crate::latency::readable;
use crate::outcome::Second;
use crate::report::grouped;
use crate::schedule::{Nanos, SECOND};

/// Where progress goes.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nowhere.
    Quiet,
    /// A line that is redrawn in place.
    Redrawn(ProgressBar),
    /// A line below the other.
    Lines,
    /// The same as JSON.
    Json,
    /// To another thread: the stage, and what happened in a second of it.
    Told(Sender<(String, Second)>),
}

/// A line of JSON.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    /// A phase begins.
    Phase { phase: &'a str, at: f64, open: u64, failed: u64 },
    /// A second has passed.
    Second {
        phase: &'a str,
        #[serde(flatten)]
        second: &'a Second,
    },
}

impl Progress {
    /// Picks what fits stderr, unless it is prescribed.
    #[must_use]
    pub(crate) fn new(choice: ProgressChoice) -> Self {
        match choice {
            ProgressChoice::None => return Progress::Quiet,
            ProgressChoice::Json => return Progress::Json,
            ProgressChoice::Text => return Progress::Lines,
            ProgressChoice::Auto if !stderr().is_terminal() => return Progress::Lines,
            ProgressChoice::Auto => {}
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Progress::Redrawn(bar)
    }

    /// A phase begins.
    pub(crate) fn enter(&self, phase: &str, now: Nanos, totals: &Counters) {
        if matches!(self, Progress::Json) {
            let at = now as f64 / SECOND as f64;
            say(&Event::Phase { phase, at, open: totals.open, failed: totals.failed + totals.dropped });
        }
    }

    /// Shows a second.
    pub(crate) fn show(&self, phase: &str, second: &Second, totals: &Counters) {
        match self {
            Progress::Quiet => {}
            Progress::Redrawn(bar) => {
                bar.set_message(line(phase, second, totals));
                bar.tick();
            }
            // A closed stderr must not end a run.
            Progress::Lines => drop(writeln!(stderr(), "{}", line(phase, second, totals))),
            Progress::Json => say(&Event::Second { phase, second }),
            // Who does not listen any more will end the run.
            Progress::Told(to) => drop(to.send((phase.to_owned(), *second))),
        }
    }

    /// Leaves the terminal as it was.
    pub(crate) fn finish(&self) {
        if let Progress::Redrawn(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn say(event: &Event<'_>) {
    if let Ok(text) = serde_json::to_string(event) {
        // A closed stderr must not end a run.
        drop(writeln!(stderr(), "{text}"));
    }
}

fn line(phase: &str, second: &Second, totals: &Counters) -> String {
    let mut line = format!(
        "{:>5.0}s {phase:<8} open {}  failed {}  opened {}/s  sent {}/s  received {}/s",
        second.at,
        grouped(second.open),
        grouped(second.failed),
        grouped(second.opened),
        grouped(second.sent),
        grouped(second.received),
    );
    if second.p99_us > 0.0 {
        line.push_str(&format!("  p50 {}  p99 {}", readable(second.p50_us), readable(second.p99_us)));
    }
    if totals.duplicated + totals.reordered + totals.corrupt > 0 {
        line.push_str(&format!(
            "  duplicated {}  out of order {}  damaged {}",
            totals.duplicated, totals.reordered, totals.corrupt
        ));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rates_and_trouble() {
        let second = Second {
            at: 3.0,
            open: 1_200,
            failed: 1,
            opened: 400,
            sent: 50_000,
            received: 49_000,
            p50_us: 80.0,
            p99_us: 1_500.0,
            p999_us: 1_600.0,
        };
        let plain = line("sending", &second, &Counters::default());
        assert_eq!(
            plain,
            "    3s sending  open 1,200  failed 1  opened 400/s  sent 50,000/s  received 49,000/s  p50 80.0 us  p99 1.50 ms"
        );
        let troubled = line("sending", &second, &Counters { reordered: 2, ..Counters::default() });
        assert!(troubled.ends_with("duplicated 0  out of order 2  damaged 0"));
    }

    #[test]
    fn json_lines_name_their_event() {
        let phase = Event::Phase { phase: "holding", at: 2.5, open: 7, failed: 0 };
        let text = serde_json::to_string(&phase).unwrap();
        assert_eq!(text, r#"{"event":"phase","phase":"holding","at":2.5,"open":7,"failed":0}"#);
        let second = Second { at: 3.0, open: 7, ..Second::default() };
        let json = serde_json::to_value(Event::Second { phase: "running", second: &second }).unwrap();
        assert_eq!(
            (&json["event"], &json["phase"], &json["open"]),
            (&"second".into(), &"running".into(), &7.into())
        );
    }
}
