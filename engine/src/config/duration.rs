//! Lengths of time as operators write them: `300s`, `1h30m`, `500ms`.
//!
//! Invariant: what is shown reads back as the same number of milliseconds.

/// Units, longest first, and their milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads whole numbers, each with its unit, as milliseconds; a plain `0` needs none.
pub(super) fn parse(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (_, ms) = UNITS.iter().find(|(unit, _)| *unit == &behind[..end])?;
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(*ms)?)?;
        rest = &behind[end..];
    }
    (!text.is_empty()).then_some(sum)
}

/// In seconds, or in milliseconds where there are fractions of one.
pub(super) fn show(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_units() {
        for (text, ms) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("300s", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("720h", Some(2_592_000_000)),
            ("1s500ms", Some(1_500)),
            ("", None),
            ("300", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1d", None),
            ("1s ", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(parse(text), ms, "{text:?}");
            if let Some(ms) = ms {
                assert_eq!(parse(&show(ms)), Some(ms), "{text:?}");
            }
        }
    }
}
