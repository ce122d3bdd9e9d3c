//! Compares what settings are with what they should be, and finds the words that an operator needs.
//!
//! Invariants: nothing is guessed: what cannot be read or compared is unknown; the scripts come to the same verdicts
//! (`compare` in `kernel-tuning/parts/table.bash`), which a test holds them to.

use super::formula::Quantities;
use super::machine::Machine;
use super::table::{Place, Rule, Setting, Table};

/// How bad something is; worse ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Nothing is wrong, but it may matter.
    Note,
    /// It cannot be told here.
    Unknown,
    /// The connections can be held, but worse.
    Costs,
    /// The connections cannot be held.
    Stops,
}

impl Verdict {
    /// The word for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Unknown => "unknown",
            Self::Costs => "costs",
            Self::Stops => "stops",
        }
    }
}

/// What was found about one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is about.
    pub name: String,
    /// How bad it is.
    pub verdict: Verdict,
    /// What it is; empty where this kernel does not have it.
    pub is: String,
    /// What it should be, in words.
    pub should: String,
    /// What it does.
    pub why: String,
    /// What happens if it is not as it should be.
    pub cost: String,
    /// The command that puts it right; empty where nothing needs to be.
    pub cure: String,
    /// Where its effect shows.
    pub see: String,
    /// Who says so.
    pub source: String,
}

/// Judges each setting of a node, in the order of the table.
///
/// # Errors
/// A formula of the table cannot be worked out: a defect of the table.
pub fn judge(table: &Table, machine: &Machine, quantities: &Quantities) -> Result<Vec<Finding>, String> {
    let settings = table.settings.iter().filter(|setting| !setting.of_load && machine.matters(setting));
    settings.map(|setting| finding(setting, machine, quantities)).collect()
}

fn finding(setting: &Setting, machine: &Machine, quantities: &Quantities) -> Result<Finding, String> {
    let is = match setting.place {
        // The caller knows how far the limit can be raised.
        Place::OpenFiles => Some(quantities.open_files.to_string()),
        _ => machine.is_now(setting),
    };
    let should = should_be(setting, quantities)?;
    let compared = compare(setting, is.as_deref().unwrap_or_default(), &should);
    let verdict = match compared.fits {
        Some(true) => Verdict::Ok,
        None if is.is_none() && setting.absent_is_fine => Verdict::Ok,
        None => Verdict::Unknown,
        Some(false) if setting.stops => Verdict::Stops,
        Some(false) => Verdict::Costs,
    };
    let cure =
        if verdict < Verdict::Costs { String::new() } else { cure(setting, &compared.wanted, quantities) };
    Ok(Finding {
        name: setting.name.clone(),
        verdict,
        is: is.unwrap_or_default(),
        should: compared.shown,
        why: setting.why.clone(),
        cost: setting.cost.clone(),
        cure,
        see: setting.see.clone(),
        source: setting.source.clone(),
    })
}

fn cure(setting: &Setting, wanted: &str, quantities: &Quantities) -> String {
    if !setting.applied {
        let cure = setting.cure.replace("{value}", wanted);
        return cure.replace("CONNECTIONS", &quantities.connections.to_string());
    }
    let quoted = if wanted.contains(' ') { format!("\"{wanted}\"") } else { wanted.into() };
    format!("sysctl -w {}={quoted}", setting.name)
}

/// What a setting should be, one word for each number.
fn should_be(setting: &Setting, quantities: &Quantities) -> Result<Vec<String>, String> {
    if setting.rules.contains(&Rule::OneOf) {
        return Ok(setting.value.split_ascii_whitespace().map(Into::into).collect());
    }
    let bound = |bounds: &[String], i: usize| {
        bounds.get(i).or(bounds.first()).map(|formula| quantities.evaluate(formula)).transpose()
    };
    let number = |(i, formula): (usize, &str)| {
        let mut value = quantities.evaluate(formula)?;
        if let Some(floor) = bound(&setting.floors, i)? {
            value = value.max(floor);
        }
        if let Some(ceiling) = bound(&setting.ceilings, i)? {
            value = value.min(ceiling);
        }
        if setting.power_of_two {
            value = u32::try_from(value).map_or(value, |value| value.next_power_of_two().into());
        }
        Ok(value.to_string())
    };
    setting.value.split(',').enumerate().map(number).collect()
}

struct Compared {
    /// Whether it is as it should be; `None` if that cannot be told.
    fits: Option<bool>,
    /// What should be, in words.
    shown: String,
    /// What to write: a number that suffices stays.
    wanted: String,
}

fn compare(setting: &Setting, is: &str, should: &[String]) -> Compared {
    if setting.rules.contains(&Rule::OneOf) {
        let fits = (!is.is_empty()).then(|| should.iter().any(|word| word == is));
        return Compared { fits, shown: should.join(" or "), wanted: should[0].clone() };
    }
    let numbers: Vec<&str> = is.split_ascii_whitespace().collect();
    let mut compared =
        Compared { fits: Some(numbers.len() <= should.len()), shown: String::new(), wanted: String::new() };
    if numbers.len() > should.len() {
        compared.fits = None;
    }
    let mut words = Vec::new();
    let mut wanted = Vec::new();
    for (i, want) in should.iter().enumerate() {
        // A table that a network namespace shares is told as a negative number.
        let one = numbers.get(i).and_then(|word| word.parse::<i64>().ok()).map(i64::unsigned_abs);
        let target: u64 = want.parse().unwrap_or(0);
        let (sign, good) = match setting.rules.get(i).unwrap_or(&setting.rules[0]) {
            Rule::AtLeast => (">= ", one.map(|one| one >= target)),
            Rule::AtMost => ("<= ", one.map(|one| one <= target)),
            Rule::Exactly | Rule::OneOf => ("", one.map(|one| one == target)),
        };
        compared.fits = match (compared.fits, good) {
            (Some(fits), Some(good)) => Some(fits && good),
            _ => None,
        };
        words.push(format!("{sign}{want}"));
        wanted.push(match (good, one) {
            (Some(true), Some(one)) => one.to_string(),
            _ => want.clone(),
        });
    }
    compared.shown = words.join(" ");
    compared.wanted = wanted.join(" ");
    compared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str) -> Setting {
        Table::embedded().settings.into_iter().find(|setting| setting.name == name).expect("of the table")
    }

    fn quantities(connections: i64) -> Quantities {
        Quantities {
            connections,
            memory_kib: 24 << 20,
            page_kib: 4,
            open_files: 20_000,
            reserved: 1_000,
            tls: false,
        }
    }

    #[test]
    fn settings_are_compared() {
        for (name, connections, is, fits, shown, wanted) in [
            ("net.core.somaxconn", 200_000, "4096", Some(false), ">= 65535", "65535"),
            ("net.core.somaxconn", 100, "4096", Some(true), ">= 4096", "4096"),
            ("net.core.somaxconn", 100, "", None, ">= 4096", "4096"),
            ("net.core.somaxconn", 100, "many", None, ">= 4096", "4096"),
            ("net.core.somaxconn", 100, "1 2", None, ">= 4096", "4096"),
            (
                "net.ipv4.tcp_mem",
                1_000_000,
                "287898 383867 2000000",
                Some(false),
                ">= 500000 >= 750000 >= 1000000",
                "500000 750000 2000000",
            ),
            (
                "net.ipv4.tcp_mem",
                9_000_000,
                "1 2 3",
                Some(false),
                ">= 786432 >= 1179648 >= 1572864",
                "786432 1179648 1572864",
            ),
            ("net.ipv4.ip_local_port_range", 1, "32768 60999", Some(false), "<= 1024 >= 65535", "1024 65535"),
            ("net.ipv4.tcp_ehash_entries", 1_000_000, "-262144", Some(false), ">= 1048576", "1048576"),
            ("net.ipv4.tcp_ehash_entries", 200_000, "-262144", Some(true), ">= 262144", "262144"),
            ("kernel.io_uring_disabled", 1, "2", Some(false), "0", "0"),
            ("fs.file-max", 1, "9223372036854775807", Some(true), ">= 65537", "9223372036854775807"),
        ] {
            let setting = setting(name);
            let should = should_be(&setting, &quantities(connections)).expect("a formula");
            let compared = compare(&setting, is, &should);
            let found = (compared.fits, compared.shown.as_str(), compared.wanted.as_str());
            assert_eq!(found, (fits, shown, wanted), "{name} {is}");
        }
    }

    #[test]
    fn a_connection_takes_what_the_ceiling_counts() {
        let setting = setting("memory available");
        for tls in [false, true] {
            let quantities = Quantities { tls, open_files: 1 << 30, ..quantities(1 << 20) };
            let kib: u64 = should_be(&setting, &quantities).expect("a formula")[0].parse().expect("a number");
            assert_eq!(kib, crate::admission::connection_bytes(tls) << 10);
        }
    }

    #[test]
    fn clocks_are_known_by_name() {
        let setting = setting("clock source");
        let should = should_be(&setting, &quantities(1)).expect("words");
        for (is, fits) in [("tsc", Some(true)), ("kvm-clock", Some(true)), ("hpet", Some(false)), ("", None)]
        {
            assert_eq!(compare(&setting, is, &should).fits, fits, "{is}");
        }
    }

    #[test]
    fn cures_are_commands() {
        for (name, wanted, command) in [
            ("net.core.somaxconn", "65535", "sysctl -w net.core.somaxconn=65535"),
            ("net.ipv4.tcp_mem", "1 2 3", "sysctl -w net.ipv4.tcp_mem=\"1 2 3\""),
            ("kernel.io_uring_disabled", "0", "sysctl -w kernel.io_uring_disabled=0"),
        ] {
            assert_eq!(cure(&setting(name), wanted, &quantities(5)), command);
        }
        let of_files = cure(&setting("open files"), "6", &quantities(5));
        assert!(
            of_files.contains("apply --connections 5 --persistent, then restart")
                && of_files.contains("LimitNOFILE=6 ")
        );
        assert!(!of_files.contains("ulimit -n 6"), "nobody but root gets more than the hard limit by it");
    }
}
