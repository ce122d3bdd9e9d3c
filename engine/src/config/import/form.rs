//! How values of Centrifugo's become values of ours.

use serde_json::Value as Json;

use crate::config::Value;

/// What a setting of ours takes, and how it is made of what the other file holds.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Flag,
    Whole,
    /// A whole number, of which 0 means that there is no bound and nothing is to be written.
    WholeOrNone,
    Text,
    Texts,
    /// A list of one text.
    OneText,
    /// A path; the PEM text itself is none.
    Path,
    /// Seconds of a length of time such as `1m30s`, rounded up.
    Seconds,
    /// The same in milliseconds.
    Milliseconds,
    /// Such a length of time itself.
    Duration,
    LogLevel,
}

/// What came out.
#[derive(Debug, PartialEq)]
pub(super) struct Made {
    /// `None`: nothing is to be written.
    pub(super) value: Option<Value>,
    /// In what it differs from what was given.
    pub(super) differs: Option<String>,
}

impl Form {
    /// The value of ours; the error says what is wrong with theirs.
    pub(super) fn make(self, given: &Json) -> Result<Made, String> {
        let exact = |value| Ok(Made { value: Some(value), differs: None });
        match self {
            Self::Flag => exact(Value::Flag(flag(given).ok_or("it is neither true nor false")?)),
            Self::Whole => exact(Value::Whole(whole(given).ok_or("it is no whole number")?)),
            Self::WholeOrNone => match whole(given).ok_or("it is no whole number")? {
                0 => Ok(Made { value: None, differs: None }),
                number => exact(Value::Whole(number)),
            },
            Self::Text => exact(Value::Text(given.as_str().ok_or("it is no text")?.into())),
            Self::Texts => exact(Value::List(texts(given).ok_or("it is no list of texts")?)),
            Self::OneText => exact(Value::List(vec![given.as_str().ok_or("it is no text")?.into()])),
            Self::Path => {
                let text = given.as_str().ok_or("it is no path")?;
                let is_path = !text.contains("-----BEGIN") && !text.contains('\n');
                exact(Value::Text(is_path.then(|| text.into()).ok_or("write it to a file and name that")?))
            }
            Self::Seconds => rounded(given, 1_000, "s"),
            Self::Milliseconds => rounded(given, 1, "ms"),
            Self::Duration => {
                let us = microseconds(given)
                    .filter(|us| *us >= 0)
                    .ok_or("it is no length of time such as 300s")?;
                let text = if us % 1_000_000 == 0 {
                    format!("{}s", us / 1_000_000)
                } else {
                    format!("{}ms", us.div_euclid(1_000))
                };
                exact(Value::Text(text))
            }
            Self::LogLevel => {
                let word = given.as_str().ok_or("it is no word")?.to_ascii_lowercase();
                let differs = matches!(word.as_str(), "fatal" | "none")
                    .then(|| format!("{word} is no level here: errors are logged"));
                let level = if differs.is_some() { "error".into() } else { word };
                Ok(Made { value: Some(Value::Text(level)), differs })
            }
        }
    }
}

/// Whether it says that something is off or not there: then nothing is lost where we do not have it.
pub(super) fn is_off(given: &Json) -> bool {
    match given {
        Json::Null => true,
        Json::Bool(flag) => !flag,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => matches!(text.as_str(), "" | "0s" | "false"),
        Json::Array(list) => list.is_empty(),
        Json::Object(object) => object.is_empty(),
    }
}

fn flag(given: &Json) -> Option<bool> {
    match given {
        Json::Bool(flag) => Some(*flag),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A number, or the text of one.
pub(super) fn whole(given: &Json) -> Option<i64> {
    match given {
        Json::Number(number) => number.as_i64(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A list, or words with spaces between them.
fn texts(given: &Json) -> Option<Vec<String>> {
    match given {
        Json::String(text) => Some(text.split_whitespace().map(str::to_owned).collect()),
        Json::Array(list) => list.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// A length of time in units of `unit_ms`, rounded up. Below zero is off, which is 0 with us.
fn rounded(given: &Json, unit_ms: i64, name: &str) -> Result<Made, String> {
    let us = microseconds(given).ok_or("it is no length of time such as 25s")?.max(0);
    let unit_us = unit_ms * 1_000;
    let count = us.div_euclid(unit_us) + i64::from(us % unit_us > 0);
    let differs = (count * unit_us != us).then(|| format!("rounded up to {count} {name}"));
    Ok(Made { value: Some(Value::Whole(count)), differs })
}

/// Units of Go's `time.ParseDuration`, in microseconds; the longer name first where one begins the other.
const UNITS: [(&str, f64); 7] =
    [("ns", 1e-3), ("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7), ("h", 3.6e9)];

/// Longest length of time that is understood: a hundred years.
const MICROSECONDS_MAX: f64 = 100.0 * 365.25 * 24.0 * 3.6e9;

/// `1h30m`, `1.5s`, `-1s`, `0`; a bare number is nanoseconds, as Go has it, but for 0 and -1.
fn microseconds(given: &Json) -> Option<i64> {
    if let Json::Number(number) = given {
        return Some(match number.as_i64()? {
            -1 => -1,
            ns => ns / 1_000,
        });
    }
    let text = given.as_str()?;
    let (sign, mut rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    if matches!(rest, "0" | "1") {
        return Some(if rest == "0" { 0 } else { sign as i64 }).filter(|us| *us <= 0);
    }
    let mut us = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        us += number * UNITS.iter().find(|(name, _)| *name == &rest[..unit])?.1;
        rest = &rest[unit..];
    }
    (text.ends_with(char::is_alphabetic) && us <= MICROSECONDS_MAX).then(|| (sign * us).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lengths_of_time_are_those_of_go() {
        for (given, us) in [
            (json!("25s"), Some(25_000_000)),
            (json!("1h30m"), Some(5_400_000_000)),
            (json!("1.5s"), Some(1_500_000)),
            (json!("500ms"), Some(500_000)),
            (json!("10µs"), Some(10)),
            (json!("-1s"), Some(-1_000_000)),
            (json!("0"), Some(0)),
            (json!(0), Some(0)),
            (json!(-1), Some(-1)),
            (json!("-1"), Some(-1)),
            (json!(25_000_000_000_i64), Some(25_000_000)),
            (json!("1"), None),
            (json!("1d"), None),
            (json!("s"), None),
            (json!("-"), None),
            (json!(""), None),
            (json!("9999999999h"), None),
            (json!(true), None),
            (json!("1é"), None),
        ] {
            assert_eq!(microseconds(&given), us, "{given}");
        }
    }

    #[test]
    fn values_become_ours() {
        let made =
            |value, differs: Option<&str>| Ok(Made { value: Some(value), differs: differs.map(Into::into) });
        for (form, given, result) in [
            (Form::Seconds, json!("1m"), made(Value::Whole(60), None)),
            (Form::Seconds, json!("1500ms"), made(Value::Whole(2), Some("rounded up to 2 s"))),
            (Form::Seconds, json!(-1), made(Value::Whole(0), None)),
            (Form::Milliseconds, json!("1s"), made(Value::Whole(1_000), None)),
            (Form::Duration, json!("720h"), made(Value::Text("2592000s".into()), None)),
            (Form::Duration, json!("1500ms"), made(Value::Text("1500ms".into()), None)),
            (Form::Flag, json!("true"), made(Value::Flag(true), None)),
            (Form::Texts, json!("a b"), made(Value::List(vec!["a".into(), "b".into()]), None)),
            (Form::LogLevel, json!("INFO"), made(Value::Text("info".into()), None)),
            (
                Form::LogLevel,
                json!("none"),
                made(Value::Text("error".into()), Some("none is no level here: errors are logged")),
            ),
            (Form::WholeOrNone, json!(0), Ok(Made { value: None, differs: None })),
            (Form::Path, json!("-----BEGIN X"), Err("write it to a file and name that".into())),
            (Form::Whole, json!(1.5), Err("it is no whole number".into())),
        ] {
            assert_eq!(form.make(&given), result, "{given}");
        }
    }
}
