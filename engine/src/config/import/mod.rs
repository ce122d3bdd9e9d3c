//! Reads what Centrifugo is configured with, and makes a configuration of ours of it.
//!
//! Invariants: every key of the input has a finding; what is written is a valid configuration, or the import says what it
//! lacks; a finding shows no value of the input, which may be a secret. That we have a setting is asked of its table, so
//! that a new one needs no change here.

mod form;
mod table;

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde_json::Value as Json;

use super::check::is_loopback;
use super::entry::Value;
use super::setting;
use super::{file, settle};
use crate::limits::NAMESPACE_BYTES_MAX;
use crate::settings::{Settings, is_namespace};
use form::{Form, Made};
use table::{
    ADDRESS, CHANNEL, Fate, INTERNAL_ADDRESS, INTERNAL_PORT, NAMESPACES, NODE, PORT, Row, WITHOUT_NAMESPACE,
};

/// What became of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It means the same here.
    Mapped,
    /// Something of it is different here.
    Changed,
    /// There is nothing like it here.
    Unsupported,
}

impl Verdict {
    /// As reports have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Changed => "changed",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A key of the input, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Where it is in the input, such as `client.token.audience` or `namespaces[chat].presence`.
    pub key: String,
    /// What became of it.
    pub verdict: Verdict,
    /// The setting that has its value.
    pub ours: Option<String>,
    /// In what they differ, why there is nothing to set, or what to do instead; may be empty.
    pub note: String,
}

/// A configuration made of another.
#[derive(Clone, Debug)]
pub struct Import {
    /// The configuration file (TOML). It holds the secrets of the input.
    pub text: String,
    /// Every key of the input.
    pub findings: Vec<Finding>,
    /// What of the whole is not valid though each value is.
    pub problems: Vec<String>,
}

impl Import {
    /// How many keys came out so.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}

/// Reads Centrifugo's file: TOML if its name ends so, else JSON.
///
/// # Errors
/// Why it cannot be understood. No text of the file is in it.
pub fn read_centrifugo(path: &Path, text: &str) -> Result<Json, String> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let value: Json = match ending {
        "yaml" | "yml" => {
            return Err("YAML is not read: make JSON of it, for example with `yq -o=json FILE`".into());
        }
        "toml" => toml::from_str(text).map_err(|error| format!("not valid TOML: {}", error.message()))?,
        _ => serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("not valid JSON, at line {line}, column {column}")
        })?,
    };
    if value.is_object() { Ok(value) } else { Err("it is no object of keys and values".into()) }
}

/// Makes a configuration of what [`read_centrifugo`] read.
#[must_use]
pub fn import_centrifugo(given: &Json) -> Import {
    let mut leaves = Vec::new();
    gather("", given, &mut leaves);
    let mut draft = Draft { leaves: &leaves, findings: Vec::new(), written: Vec::new() };
    draft.listen();
    for (key, value) in &leaves {
        if NAMESPACES.contains(&key.as_str()) {
            draft.namespaces(key, value);
            continue;
        }
        let option = key.strip_prefix(WITHOUT_NAMESPACE);
        let found = match option {
            Some(option) => find(CHANNEL, option).map(|row| (row, "channel.")),
            None => exact(NODE, key)
                .map(|row| (row, ""))
                .or_else(|| exact(CHANNEL, key).map(|row| (row, "channel.")))
                .or_else(|| find(NODE, key).map(|row| (row, "")))
                .or_else(|| find(CHANNEL, key).map(|row| (row, "channel."))),
        };
        draft.judge(key.clone(), value, found);
    }
    draft.finish()
}

/// Every key of `value` that holds no further ones, by its dotted name.
fn gather(prefix: &str, value: &Json, leaves: &mut Vec<(String, Json)>) {
    match value {
        Json::Object(inner) if !inner.is_empty() || prefix.is_empty() => {
            for (name, value) in inner {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                gather(&key, value, leaves);
            }
        }
        _ => leaves.push((prefix.to_owned(), value.clone())),
    }
}

fn exact(rows: &'static [Row], key: &str) -> Option<&'static Row> {
    rows.iter().find(|row| row.names.contains(&key))
}

/// The row of a key: that which names it, else that which names most of its beginning.
fn find(rows: &'static [Row], key: &str) -> Option<&'static Row> {
    let begins = |name: &&&'static str| name.strip_suffix('*').is_some_and(|begin| key.starts_with(begin));
    let longest = |row: &&'static Row| row.names.iter().filter(begins).map(|name| name.len()).max();
    exact(rows, key).or_else(|| rows.iter().filter(|row| longest(row).is_some()).max_by_key(longest))
}

struct Draft<'a> {
    leaves: &'a [(String, Json)],
    findings: Vec<Finding>,
    /// Our settings, and the findings that they came from.
    written: Vec<(String, Value, Option<usize>)>,
}

impl Draft<'_> {
    fn given(&self, names: &[&str]) -> Option<&Json> {
        self.leaves.iter().find(|(key, _)| names.contains(&key.as_str())).map(|(_, value)| value)
    }

    fn find(&mut self, key: String, verdict: Verdict, ours: Option<String>, note: impl Into<String>) {
        self.findings.push(Finding { key, verdict, ours, note: note.into() });
    }

    fn judge(&mut self, key: String, value: &Json, found: Option<(&'static Row, &str)>) {
        use Verdict::{Changed, Mapped, Unsupported};
        let Some((row, section)) = found else {
            let note = "it is not known here: docs/configuration.md lists what is";
            return self.find(key, Unsupported, None, note);
        };
        if !row.switch.is_empty() && self.given(row.switch).is_none_or(form::is_off) {
            return self.find(key, Mapped, None, format!("it counts for nothing without {}", row.switch[0]));
        }
        match &row.fate {
            Fate::Same(ours, form) => self.set(key, value, format!("{section}{ours}"), *form, ""),
            Fate::Differs(ours, form, how) => self.set(key, value, format!("{section}{ours}"), *form, how),
            Fate::Fixed(ours, instead) => {
                let is_same =
                    form::is_off(value) || serde_json::from_str(ours).is_ok_and(|ours: Json| ours == *value);
                if is_same {
                    self.find(key, Mapped, None, "that is what is done here");
                } else {
                    self.find(key, Unsupported, None, *instead);
                }
            }
            Fate::Moot(why) => self.find(key, Mapped, None, *why),
            Fate::Elsewhere(how) if !form::is_off(value) => self.find(key, Changed, None, *how),
            Fate::Elsewhere(how) => self.find(key, Mapped, None, *how),
            Fate::Nothing(_) if form::is_off(value) => self.find(key, Mapped, None, "off, as it is here"),
            Fate::Nothing(instead) => self.find(key, Unsupported, None, *instead),
            Fate::Listen => match self.written.iter().any(|(ours, ..)| ours == "listen") {
                true => self.find(key, Mapped, Some("listen".into()), ""),
                false => self.find(
                    key,
                    Unsupported,
                    None,
                    "name IP addresses in listen: host names are not looked up",
                ),
            },
            Fate::Internal => self.internal(key),
        }
    }

    /// Gives `ours` the value, if there is such a setting and it takes it.
    fn set(&mut self, key: String, value: &Json, ours: String, form: Form, how: &str) {
        use Verdict::{Changed, Mapped, Unsupported};
        let is_empty =
            matches!(form, Form::Text | Form::Texts | Form::OneText | Form::Path) && form::is_off(value);
        let Some((setting, false)) = setting::find(&ours) else {
            return if form::is_off(value) {
                self.find(key, Mapped, None, "off, as it is here")
            } else {
                self.find(
                    key,
                    Unsupported,
                    None,
                    format!("there is no {ours} in this version: do without, or stay until there is"),
                )
            };
        };
        if is_empty {
            return self.find(key, Mapped, None, "not set, as it is here");
        }
        let made = match form.make(value) {
            Ok(made) => made,
            Err(reason) => {
                let note = format!("{reason}; {ours} takes {}", setting.allowed());
                return self.find(key, Unsupported, None, note);
            }
        };
        let Made { value: Some(value), differs } = made else {
            let note = format!("there is always a bound here: {ours} keeps its default");
            return self.find(key, Changed, None, note);
        };
        if let Err(reason) = setting.store(&mut Settings::default(), &value, false) {
            return self.find(key, Unsupported, None, format!("{ours} does not take its value: {reason}"));
        }
        if let Some((_, other, _)) = self.written.iter().find(|(written, ..)| *written == ours)
            && *other != value
        {
            return self.find(
                key,
                Unsupported,
                None,
                format!("{ours} has another value already: choose one"),
            );
        }
        let notes: Vec<&str> =
            [how, differs.as_deref().unwrap_or_default()].into_iter().filter(|n| !n.is_empty()).collect();
        let verdict = if notes.is_empty() { Mapped } else { Changed };
        self.write(ours.clone(), value, Some(self.findings.len()));
        self.find(key, verdict, Some(ours), notes.join("; "));
    }

    fn write(&mut self, ours: String, value: Value, finding: Option<usize>) {
        if !self.written.iter().any(|(written, ..)| *written == ours) {
            self.written.push((ours, value, finding));
        }
    }

    /// Centrifugo listens everywhere unless it is told otherwise; we do so on loopback.
    fn listen(&mut self) {
        let port =
            self.given(&PORT).map_or(Some(8_000), form::whole).and_then(|port| u16::try_from(port).ok());
        let address = self.given(&ADDRESS).map_or(Some(""), Json::as_str);
        let (Some(port), Some(address)) = (port, address) else { return };
        let addresses = match address {
            "" => vec![format!("0.0.0.0:{port}"), format!("[::]:{port}")],
            _ => match address.parse::<IpAddr>() {
                Ok(ip) => vec![SocketAddr::from((ip, port)).to_string()],
                Err(_) => return,
            },
        };
        self.write("listen".into(), Value::List(addresses), None);
    }

    /// The address of operators: with us it is on loopback unless it has a key.
    fn internal(&mut self, key: String) {
        let Some(port) =
            self.given(&INTERNAL_PORT).and_then(form::whole).and_then(|port| u16::try_from(port).ok())
        else {
            return self.find(
                key,
                Verdict::Changed,
                None,
                "operators have an address of their own: admin, 127.0.0.1:9000",
            );
        };
        let address = self.given(&INTERNAL_ADDRESS).and_then(Json::as_str).and_then(|text| text.parse().ok());
        let given = address.map(|ip: IpAddr| SocketAddr::from((ip, port))).filter(is_loopback);
        let admin = given.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)));
        self.write("admin".into(), Value::Text(admin.to_string()), Some(self.findings.len()));
        let (verdict, note) = match given {
            Some(_) => (Verdict::Mapped, ""),
            None => (Verdict::Changed, "on loopback: beyond it, admin needs admin_key as well"),
        };
        self.find(key, verdict, Some("admin".into()), note);
    }

    fn namespaces(&mut self, key: &str, value: &Json) {
        let Some(list) = value.as_array() else {
            return self.find(key.to_owned(), Verdict::Unsupported, None, "it is no list of namespaces");
        };
        for (index, namespace) in list.iter().enumerate() {
            let name = namespace.get("name").and_then(Json::as_str);
            let (Some(name), Json::Object(options)) = (name, namespace) else {
                let note = "a namespace is an object with a name";
                self.find(format!("{key}[{index}]"), Verdict::Unsupported, None, note);
                continue;
            };
            let section = format!("namespace.{name}");
            if !is_namespace(name) {
                let note = format!(
                    "allowed are 1 to {NAMESPACE_BYTES_MAX} letters, digits, - and _: rename its channels, and add it by hand"
                );
                self.find(format!("{key}[{name}]"), Verdict::Unsupported, None, note);
                continue;
            }
            self.write(section.clone(), Value::Section, Some(self.findings.len()));
            self.find(format!("{key}[{name}].name"), Verdict::Mapped, Some(section.clone()), "");
            let mut leaves = Vec::new();
            for (option, value) in options.iter().filter(|(option, _)| *option != "name") {
                gather(option, value, &mut leaves);
            }
            for (option, value) in &leaves {
                let found = find(CHANNEL, option).map(|row| (row, format!("{section}.")));
                let found = found.as_ref().map(|(row, section)| (*row, section.as_str()));
                self.judge(format!("{key}[{name}].{option}"), value, found);
            }
        }
    }

    /// Takes back what does not go with the rest, and prints the others.
    fn finish(mut self) -> Import {
        let path = Path::new("imported");
        loop {
            let text = self.print();
            let mut problems = Vec::new();
            let entries = file::parse(path, &text, &mut problems);
            let problems = match settle(vec![entries], problems) {
                Ok(_) => Vec::new(),
                Err(problems) => problems,
            };
            let blamed = problems.iter().find_map(|problem| {
                let key = problem.key.as_deref()?;
                let place =
                    self.written.iter().position(|(ours, _, finding)| ours == key && finding.is_some())?;
                Some((place, problem.reason.clone()))
            });
            let Some((place, reason)) = blamed else {
                let problems = problems.iter().map(|problem| match &problem.key {
                    Some(key) => format!("{key}: {}", problem.reason),
                    None => problem.reason.clone(),
                });
                return Import { text, problems: problems.collect(), findings: self.findings };
            };
            let (ours, ..) = self.written.remove(place);
            for finding in self.findings.iter_mut().filter(|finding| finding.ours.as_ref() == Some(&ours)) {
                finding.verdict = Verdict::Unsupported;
                finding.note = format!("{ours} does not go with the rest: {reason}");
                finding.ours = None;
            }
        }
    }

    /// The file: what could not be kept as comments, then the settings in sections.
    fn print(&self) -> String {
        let mut text = String::from("# Made of Centrifugo's configuration by `roadstead config import`.\n");
        for finding in self.findings.iter().filter(|finding| finding.verdict == Verdict::Unsupported) {
            let line = format!("{}: {}", finding.key, finding.note).replace(|c: char| c.is_control(), " ");
            let _ = writeln!(text, "# Not imported: {line}");
        }
        let mut sections: Vec<(&str, Vec<String>)> = vec![("", Vec::new())];
        for (ours, value, _) in &self.written {
            let (section, line) = match (value, ours.rsplit_once('.')) {
                (Value::Section, _) => (ours.as_str(), None),
                (_, Some((section, name))) => (section, Some(format!("{name} = {}", toml(value)))),
                (_, None) => ("", Some(format!("{ours} = {}", toml(value)))),
            };
            match sections.iter_mut().find(|(name, _)| *name == section) {
                Some((_, lines)) => lines.extend(line),
                None => sections.push((section, line.into_iter().collect())),
            }
        }
        for (name, lines) in sections {
            text.push('\n');
            if !name.is_empty() {
                let _ = writeln!(text, "[{name}]");
            }
            for line in lines {
                text.push_str(&line);
                text.push('\n');
            }
        }
        text
    }
}

/// A value in TOML, whose texts take the escapes of JSON.
fn toml(value: &Value) -> String {
    let quoted = |text: &String| Json::from(text.as_str()).to_string();
    match value {
        Value::Flag(flag) => flag.to_string(),
        Value::Whole(number) => number.to_string(),
        Value::List(list) => format!("[{}]", list.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        Value::Text(text) | Value::Other(text) | Value::Word(text) => quoted(text),
        Value::Section => String::new(),
    }
}

#[cfg(test)]
mod tests;
