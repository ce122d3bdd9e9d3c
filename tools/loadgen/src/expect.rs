//! What a run is expected to show: `p99<50ms`, `lost==0`, `comeback.max<10s`.
//!
//! Invariants: a name that no result has is an error before the run; what was never measured meets no expectation.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use crate::latency::readable;

/// Kinds of latency that a name may begin with.
const KINDS: [&str; 9] = [
    "handshake",
    "login",
    "message",
    "message_same_url",
    "message_other_url",
    "direct",
    "comeback",
    "publish",
    "lag",
];

/// What a latency is asked for. Alone it means that of what the scenario is about, see [`main_kinds`].
const STATISTICS: [&str; 8] = ["min", "mean", "p50", "p90", "p99", "p999", "max", "count"];

/// Kinds that a statistic alone may mean.
const MAIN_KINDS: [&str; 4] = ["message", "direct", "login", "handshake"];

/// Kinds that a statistic alone means in a scenario, the first that was measured. Where messages are the point, logins do not stand
/// in for messages that never came.
fn main_kinds(scenario: &str) -> &'static [&'static str] {
    match scenario {
        "echo" | "fanout" | "mixed" | "slow" => &["message"],
        "direct" => &["direct"],
        _ => &MAIN_KINDS,
    }
}

/// Numbers of a result, by part.
const NUMBERS: [(&str, &[&str]); 4] = [
    (
        "messages",
        &[
            "sent",
            "received",
            "expected",
            "lost",
            "excused",
            "unchecked",
            "duplicated",
            "reordered",
            "corrupt",
            "foreign",
            "unsent",
            "answered",
            "refused",
            "pings",
            "sent_per_s",
            "received_per_s",
        ],
    ),
    (
        "connections",
        &[
            "planned",
            "attempted",
            "opened",
            "failed",
            "dropped",
            "closed",
            "unclean",
            "tls_handshakes",
            "tls_resumed",
            "opening_s",
            "opened_per_s",
        ],
    ),
    ("unrest", &["cut", "churned", "torn", "back", "retries", "given_up", "away", "slow", "slow_ended"]),
    ("generator", &["memory_bytes", "memory_per_connection", "cpu_cores", "busiest_thread"]),
];

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// Longer signs first: `<=` begins with `<`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
enum What {
    /// A statistic of what the scenario is about.
    Main(String),
    /// What a JSON pointer leads to.
    At(String),
}

/// One expectation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expectation {
    text: String,
    what: What,
    comparison: Comparison,
    /// Microseconds where a time is meant.
    bound: f64,
}

/// An expectation and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Checked {
    /// As it was written.
    pub(crate) expectation: String,
    #[serde(skip)]
    what: What,
    /// What was measured, microseconds where it is a time; `null`: nothing was.
    pub(crate) actual: Option<f64>,
    /// Whether it was met.
    pub(crate) met: bool,
}

impl Checked {
    /// What was measured, for people.
    #[must_use]
    pub(crate) fn shown(&self) -> String {
        let is_time = match &self.what {
            What::Main(statistic) => statistic != "count",
            What::At(path) => path.starts_with("/latency_us/") && !path.ends_with("/count"),
        };
        match self.actual {
            None => "nothing measured".to_owned(),
            Some(actual) if is_time => readable(actual),
            Some(actual) => actual.to_string(),
        }
    }

    /// Whether it is about this number of the result.
    pub(crate) fn bounds(&self, number: &str) -> bool {
        matches!(&self.what, What::At(path) if path.rsplit('/').next() == Some(number))
    }
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (at, sign, comparison) = COMPARISONS
            .iter()
            .filter_map(|(sign, comparison)| Some((text.find(sign)?, *sign, *comparison)))
            .min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())))
            .ok_or_else(|| "a name, a comparison and a value, as in p99<50ms or lost==0".to_owned())?;
        let (name, value) = (text[..at].trim(), text[at + sign.len()..].trim());
        let (what, is_time) = what(name).ok_or_else(|| {
            format!("no result is named {name:?}: a percentile (p99), one of a kind (login.p99), or a number (lost)")
        })?;
        let bound = if is_time { microseconds(value) } else { number(value) };
        let bound = bound.ok_or_else(|| match is_time {
            true => format!("{value:?} is no time: a number with us, ms or s"),
            false => format!("{value:?} is no number, nor one with k or M"),
        })?;
        Ok(Self { text: text.to_owned(), what, comparison, bound })
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Expectation {
    /// Compares with a result in its JSON form.
    #[must_use]
    pub(crate) fn check(&self, result: &Value) -> Checked {
        let number = |path: &str| result.pointer(path).and_then(Value::as_f64);
        let actual = match &self.what {
            What::At(path) => number(path),
            What::Main(statistic) => {
                let kinds = main_kinds(result["scenario"].as_str().unwrap_or_default());
                kinds.iter().find_map(|kind| number(&format!("/latency_us/{kind}/{statistic}")))
            }
        };
        let met = actual.is_some_and(|actual| match self.comparison {
            Comparison::Less => actual < self.bound,
            Comparison::LessOrEqual => actual <= self.bound,
            Comparison::Greater => actual > self.bound,
            Comparison::GreaterOrEqual => actual >= self.bound,
            Comparison::Equal => actual == self.bound,
            Comparison::NotEqual => actual != self.bound,
        });
        Checked { expectation: self.text.clone(), what: self.what.clone(), actual, met }
    }
}

/// What a name means, and whether it is a time.
fn what(name: &str) -> Option<(What, bool)> {
    if STATISTICS.contains(&name) {
        return Some((What::Main(name.to_owned()), name != "count"));
    }
    if let Some((kind, statistic)) = name.split_once('.') {
        if KINDS.contains(&kind) && STATISTICS.contains(&statistic) {
            return Some((What::At(format!("/latency_us/{kind}/{statistic}")), statistic != "count"));
        }
        let (part, names) = NUMBERS.iter().find(|(part, _)| *part == kind)?;
        return names.contains(&statistic).then(|| (What::At(format!("/{part}/{statistic}")), false));
    }
    let (part, _) = NUMBERS.iter().find(|(_, names)| names.contains(&name))?;
    Some((What::At(format!("/{part}/{name}")), false))
}

fn microseconds(text: &str) -> Option<f64> {
    scaled(text, &[("us", 1.0), ("ms", 1e3), ("s", 1e6)])
}

fn number(text: &str) -> Option<f64> {
    scaled(text, &[("", 1.0), ("k", 1e3), ("K", 1e3), ("M", 1e6)])
}

fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::RunResult;
    use crate::result::tests::{good_outcome, plan};

    #[test]
    fn expectations_are_met_or_not() {
        let result = serde_json::to_value(RunResult::new(&plan(), good_outcome())).unwrap();
        let table = [
            ("lost==0", true),
            ("lost != 0", false),
            ("p50<1ms", true),
            ("p50<100us", false),
            ("p99<=0.5s", true),
            ("max>=1ms", true),
            ("handshake.p99<3ms", true),
            ("message.count==1k", true),
            ("comeback.max<10s", false),
            ("opened==100", true),
            ("connections.failed==0", true),
            ("received_per_s>80", true),
            ("received_per_s > 0.1k", false),
            ("memory_per_connection<150", true),
        ];
        for (text, met) in table {
            let checked = text.parse::<Expectation>().unwrap().check(&result);
            assert_eq!((checked.met, checked.expectation.as_str()), (met, text), "{checked:?}");
        }
    }

    #[test]
    fn logins_do_not_stand_in_for_messages_that_never_came() {
        let mut result = serde_json::to_value(RunResult::new(&plan(), good_outcome())).unwrap();
        result["latency_us"]["message"] = Value::Null;
        assert!(result["latency_us"]["handshake"]["p99"].is_number());
        let expectation = "p99<1s".parse::<Expectation>().unwrap();
        for (scenario, met) in [("fanout", false), ("echo", false), ("connect", true), ("idle", true)] {
            result["scenario"] = scenario.into();
            assert_eq!(expectation.check(&result).met, met, "{scenario}");
        }
    }

    #[test]
    fn what_went_wrong_is_unexpected_unless_it_has_a_bound() {
        for (expectations, left) in [
            (&["p99<1s"][..], &["2 connections were lost", "1 messages were lost"][..]),
            (&["lost<10"], &["2 connections were lost"]),
            (&["lost<10", "connections.dropped<=2"], &[]),
        ] {
            let mut outcome = good_outcome();
            (outcome.counters.dropped, outcome.counters.distinct) = (2, 999);
            let mut result = RunResult::new(&plan(), outcome);
            let expectations: Vec<Expectation> =
                expectations.iter().map(|text| text.parse().unwrap()).collect();
            result.check(&expectations).unwrap();
            assert!(result.expectations.iter().all(|checked| checked.met));
            let faults: Vec<String> = result.unexpected_faults().map(ToString::to_string).collect();
            assert_eq!(faults, left);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "p99",
            "p98<1ms",
            "lost<1ms",
            "p99<5",
            "p99<ms",
            "dance==1",
            "login.p98<1s",
            "<5ms",
            "lost=0",
        ] {
            assert!(text.parse::<Expectation>().is_err(), "{text}");
        }
    }

    /// Each name leads to a number of a result, or to a kind of latency that did not occur.
    #[test]
    fn every_name_is_one_of_a_result() {
        let result = serde_json::to_value(RunResult::new(&plan(), good_outcome())).unwrap();
        for (part, names) in NUMBERS {
            for name in names {
                assert!(
                    result.pointer(&format!("/{part}/{name}")).is_some_and(Value::is_number),
                    "{part}.{name}"
                );
            }
        }
        for kind in KINDS {
            assert!(result.pointer(&format!("/latency_us/{kind}")).is_some(), "{kind}");
        }
        for statistic in STATISTICS {
            assert!(result.pointer(&format!("/latency_us/message/{statistic}")).is_some(), "{statistic}");
        }
    }
}
