//! The configuration file: TOML to entries with their lines.
//!
//! Invariant: no text of the file is printed but keys and values that the table does not call secret; a syntax
//! error names its place and not the line itself.

use std::fs;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::entry::{Entry, Origin, Problem, Value};
use super::setting::{self, Setting};

/// Reads the entries of `path` in the order of its lines.
pub(super) fn read(path: &Path, problems: &mut Vec<Problem>) -> Vec<Entry> {
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text, problems),
        Err(error) => {
            problems.push(Problem {
                key: None,
                value: None,
                origin: None,
                reason: format!("cannot read the configuration file {}: {error}", path.display()),
            });
            Vec::new()
        }
    }
}

pub(super) fn parse(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<Entry> {
    match DeTable::parse(text) {
        Ok(root) => {
            let mut reading = Reading { path, text, entries: Vec::new() };
            reading.table("", root.get_ref());
            let mut entries = reading.entries;
            entries.sort_by_key(|entry| line_of(&entry.origin));
            entries
        }
        Err(error) => {
            let line = line_at(text, error.span().unwrap_or_default());
            problems.push(Problem {
                key: None,
                value: None,
                origin: Some(Origin::File { path: path.into(), line }),
                reason: format!("not valid TOML: {}", error.message()),
            });
            Vec::new()
        }
    }
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    entries: Vec<Entry>,
}

impl Reading<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = match prefix {
                "" => name.get_ref().to_string(),
                _ => format!("{prefix}.{}", name.get_ref()),
            };
            match value.get_ref() {
                DeValue::Table(inner) if !inner.is_empty() => self.table(&key, inner),
                DeValue::Table(_) if setting::keys(&key).any(|k| k.starts_with(&format!("{key}."))) => {}
                _ => self.entry(key, name.span(), value),
            }
        }
    }

    fn entry(&mut self, key: String, span: Range<usize>, value: &Spanned<DeValue<'_>>) {
        let origin = Origin::File { path: self.path.into(), line: line_at(self.text, span) };
        let value = match value.get_ref() {
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Whole(number),
                Err(_) => Value::Other(number.to_string()),
            },
            DeValue::Array(array) => texts(array).unwrap_or_else(|| Value::Other("a mixed array".into())),
            DeValue::Float(number) => Value::Other(number.as_str().into()),
            DeValue::Datetime(time) => Value::Other(time.to_string()),
            DeValue::Table(_) if matches!(setting::find(&key), Some((Setting::Namespace(_), _))) => {
                Value::Section
            }
            DeValue::Table(_) => Value::Other("a table".into()),
        };
        self.entries.push(Entry { key, value, origin });
    }
}

fn texts(array: &toml::de::DeArray<'_>) -> Option<Value> {
    let texts = array.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
    texts.collect::<Option<Vec<_>>>().map(Value::List)
}

fn line_at(text: &str, span: Range<usize>) -> usize {
    1 + text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count()
}

fn line_of(origin: &Origin) -> usize {
    match origin {
        Origin::File { line, .. } => *line,
        _ => 0,
    }
}
