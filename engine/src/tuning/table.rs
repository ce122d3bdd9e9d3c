//! Reads `kernel-tuning/settings.table`, of which this program carries a copy; its head says what the keys mean.
//!
//! Invariant: nothing in it is passed over: an unknown key or word is an error.

use std::collections::BTreeMap;

const EMBEDDED: &str = include_str!("../../../kernel-tuning/settings.table");

/// All settings, in the order of the table.
#[derive(Clone, Debug)]
pub struct Table {
    /// The settings.
    pub settings: Vec<Setting>,
}

/// One setting. Formulas are kept as they were written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// As `sysctl` names it, or in words.
    pub name: String,
    pub(super) place: Place,
    pub(super) of_load: bool,
    pub(super) rules: Vec<Rule>,
    pub(super) value: String,
    pub(super) floors: Vec<String>,
    pub(super) ceilings: Vec<String>,
    pub(super) power_of_two: bool,
    pub(super) absent_is_fine: bool,
    pub(super) unless: Option<String>,
    pub(super) applied: bool,
    pub(super) stops: bool,
    pub(super) why: String,
    pub(super) cost: String,
    pub(super) cure: String,
    pub(super) see: String,
    pub(super) source: String,
}

/// Where a setting can be looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// A file, below the root.
    File(String),
    /// The limit of open files.
    OpenFiles,
    /// Memory that is available.
    Memory,
}

/// How what is compares with what should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    AtLeast,
    AtMost,
    Exactly,
    OneOf,
}

impl Table {
    /// The table that this program was built with.
    #[must_use]
    pub fn embedded() -> Self {
        Self::read(EMBEDDED).expect("a test reads it")
    }

    fn read(text: &str) -> Result<Self, String> {
        let mut sections: Vec<(String, BTreeMap<String, String>)> = Vec::new();
        let mut last = None;
        for (line, number) in text.lines().zip(1..) {
            let bare = line.trim();
            if bare.is_empty() || bare.starts_with('#') {
                last = None;
            } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                sections.push((name.into(), BTreeMap::new()));
                last = None;
            } else {
                let (_, keys) =
                    sections.last_mut().ok_or_else(|| format!("line {number}: belongs to no setting"))?;
                if line.starts_with(' ') {
                    let key = last.as_ref().ok_or_else(|| format!("line {number}: goes on with nothing"))?;
                    let value: &mut String = keys.entry(String::clone(key)).or_default();
                    value.push(' ');
                    value.push_str(bare);
                } else {
                    let (key, value) =
                        line.split_once('=').ok_or_else(|| format!("line {number}: cannot be read"))?;
                    keys.insert(key.trim().into(), value.trim().into());
                    last = Some(key.trim().to_owned());
                }
            }
        }
        let settings = sections
            .into_iter()
            .map(|(name, keys)| setting(&name, keys).map_err(|error| format!("{name}: {error}")));
        Ok(Self { settings: settings.collect::<Result<_, _>>()? })
    }
}

fn setting(name: &str, mut keys: BTreeMap<String, String>) -> Result<Setting, String> {
    let mut take = |key: &str| keys.remove(key).ok_or_else(|| format!("{key} is missing"));
    let place = match take("kind")?.as_str() {
        "sysctl" => Place::File(sysctl_path(name)),
        "file" => Place::File(take("path")?),
        "limit" => Place::OpenFiles,
        "memory" => Place::Memory,
        other => return Err(format!("kind = {other}")),
    };
    one_of(&take("scope")?, "machine", "network")?;
    let setting = Setting {
        name: name.into(),
        place,
        of_load: one_of(&take("role")?, "load", "node")?,
        rules: list(&take("rule")?).iter().map(|word| rule(word)).collect::<Result<_, _>>()?,
        value: take("value")?,
        absent_is_fine: one_of(&take("absent")?, "fine", "unknown")?,
        applied: one_of(&take("apply")?, "yes", "no")?,
        stops: one_of(&take("unmet")?, "stops", "costs")?,
        why: take("why")?,
        cost: take("cost")?,
        see: take("see")?,
        source: take("source")?,
        floors: take("floor").map(|text| list(&text)).unwrap_or_default(),
        ceilings: take("ceiling").map(|text| list(&text)).unwrap_or_default(),
        power_of_two: match take("round").as_deref() {
            Ok("power-of-two") => true,
            Ok(other) => return Err(format!("round = {other}")),
            Err(_) => false,
        },
        unless: take("unless").ok().map(|name| sysctl_path(&name)),
        cure: take("cure").unwrap_or_default(),
    };
    if let Some(key) = keys.keys().next() {
        return Err(format!("{key} is no key"));
    }
    if setting.applied != setting.cure.is_empty() {
        return Err("apply = no wants a cure, apply = yes needs none".into());
    }
    Ok(setting)
}

fn sysctl_path(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

fn rule(word: &str) -> Result<Rule, String> {
    Ok(match word {
        "at-least" => Rule::AtLeast,
        "at-most" => Rule::AtMost,
        "exactly" => Rule::Exactly,
        "one-of" => Rule::OneOf,
        other => return Err(format!("rule = {other}")),
    })
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_owned()).collect()
}

/// Whether `word` is the first of the two that are allowed.
fn one_of(word: &str, yes: &str, no: &str) -> Result<bool, String> {
    if word == yes || word == no { Ok(word == yes) } else { Err(format!("{word}: {yes} or {no} is wanted")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "\
# a comment
[net.core.somaxconn]
kind   = sysctl
scope  = network
role   = node
rule   = at-least
value  = connections
absent = unknown
apply  = yes
unmet  = costs
why    = one
         and the rest
cost   = c
see    = s
source = listen(2)
";

    #[test]
    fn settings_are_read() {
        let table = Table::read(ONE).expect("a table");
        let setting = &table.settings[0];
        assert_eq!(setting.place, Place::File("/proc/sys/net/core/somaxconn".into()));
        assert_eq!((setting.why.as_str(), setting.applied, setting.stops), ("one and the rest", true, false));
        assert!(Table::embedded().settings.len() > 10);
    }

    #[test]
    fn nothing_is_passed_over() {
        for (is, becomes, words) in [
            ("role   = node\n", "", "net.core.somaxconn: role is missing"),
            ("role   = node", "role   = all", "all: load or node"),
            ("rule   = at-least", "rule   = some", "rule = some"),
            ("cost ", "coast ", "cost is missing"),
            ("see ", "extra = 1\nsee ", "extra is no key"),
            ("apply  = yes", "apply  = no", "wants a cure"),
            ("[net.core.somaxconn]", "", "belongs to no setting"),
            ("kind   = sysctl", "kind", "cannot be read"),
        ] {
            let error = Table::read(&ONE.replacen(is, becomes, 1)).expect_err(becomes);
            assert!(error.contains(words), "{error}");
        }
    }
}
