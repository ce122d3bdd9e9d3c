//! How values are written on a command line: times, sizes, rates and shares with their units, names.

use std::str::FromStr;

use crate::limits::{DURATION_S_MAX, RATE_MAX};

/// A span of time, seconds.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Seconds(pub(crate) f64);

/// A number with one of `units` behind it: the number times the unit's factor.
fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = f64::from_str(number).ok()?;
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    Some(number * factor)
}

/// Seconds, or a number with `ms`, `s`, `m` or `h`.
pub(super) fn duration(text: &str) -> Result<Seconds, String> {
    let units = [("", 1.0), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];
    match with_unit(text, &units) {
        Some(seconds) if seconds <= DURATION_S_MAX => Ok(Seconds(seconds)),
        Some(_) => Err(format!("at most {DURATION_S_MAX} seconds")),
        None => Err("seconds, or a number with ms, s, m or h".to_owned()),
    }
}

/// Whole bytes, or a number with `k`, `KiB`, `M` or `MiB`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let units = [
        ("", 1.0),
        ("b", 1.0),
        ("k", 1e3),
        ("kb", 1e3),
        ("kib", 1024.0),
        ("m", 1e6),
        ("mb", 1e6),
        ("mib", 1048576.0),
    ];
    match with_unit(text, &units) {
        Some(bytes) if bytes.fract() == 0.0 && bytes < 1e15 => Ok(bytes as usize),
        _ => Err("whole bytes, or a number with k, KiB, M or MiB".to_owned()),
    }
}

/// A number per second, or one with `k` or `M`.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match with_unit(text, &[("", 1.0), ("k", 1e3), ("m", 1e6)]) {
        Some(rate) if rate <= RATE_MAX => Ok(rate),
        Some(_) => Err(format!("at most {RATE_MAX} a second")),
        None => Err("a number per second, or one with k or M".to_owned()),
    }
}

/// A share from 0 to 1, or percent.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    share
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "from 0 to 1, or percent: 10%".to_owned())
}

/// Names go into JSON strings unescaped, and channel names of servers are ASCII.
pub(super) fn name_prefix(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if text.bytes().all(allowed) && text.len() <= 128 {
        Ok(text.to_owned())
    } else {
        Err("at most 128 printable ASCII characters without quotes, backslashes and spaces".to_owned())
    }
}

/// What may stand in a header.
pub(super) fn header_value(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("printable ASCII characters without spaces".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_sizes_and_rates_have_units() {
        let seconds =
            [("10", 10.0), ("1.5", 1.5), ("250ms", 0.25), ("2m", 120.0), ("1h", 3_600.0), ("7 s", 7.0)];
        for (text, expected) in seconds {
            assert_eq!(duration(text), Ok(Seconds(expected)), "{text}");
        }
        for text in ["", "-1", "x", "1d", "1e9", "99999h", "nan", "inf"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for (text, expected) in [("20", 20), ("16KiB", 16_384), ("1k", 1_000), ("2MiB", 2 << 20), ("0", 0)] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in ["1.5", "-4", "KiB", "1gib"] {
            assert!(size(text).is_err(), "{text}");
        }
        for (text, expected) in [("0", 0.0), ("50k", 50_000.0), ("1.5M", 1_500_000.0), ("0.5", 0.5)] {
            assert_eq!(rate(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("0.25", Some(0.25)),
            ("10%", Some(0.1)),
            ("1", Some(1.0)),
            ("1.1", None),
            ("-1", None),
            ("x", None),
        ] {
            assert_eq!(share(text).ok(), expected, "{text}");
        }
        assert!(rate("1e12").is_err() && rate("9999999999").is_err());
    }
}
