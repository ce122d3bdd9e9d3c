//! `config import`: a configuration file made of Centrifugo's.
//!
//! Invariants: the file that is read is not changed, and one that is there is not overwritten; what is written holds secrets
//! and is for its owner's eyes only; the report holds none.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Exit, Output, OutputArgument, answer, complain};
use crate::config::{Import, Verdict, import_centrifugo, read_centrifugo};

pub(super) const AFTER: &str = "\
Reads a configuration file of Centrifugo 5 or 6, JSON or TOML (for YAML: yq -o=json). The new file goes to stdout, or where
--to says; it holds the secrets of the old one. The report goes to stderr, with --to to stdout: each key is

  mapped       it means the same here
  changed      it was taken over, and something of it is different here
  unsupported  there is nothing like it here; the report says what to do instead

--output json prints one object with the file's text (without --to), keys, counts and problems. The guide is
docs/migrating-from-centrifugo.md.

Examples:
  roadstead config import centrifugo.json > roadstead.toml
  roadstead config import config.toml --to roadstead.toml && roadstead config check --config roadstead.toml

Exit codes: 0 no key is unsupported, 1 one is (with --strict also if one is changed), or the file was not written,
2 wrong usage, 78 the input cannot be understood";

/// `config import`.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// Centrifugo's configuration file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to write the new file, which must not be there yet
    #[arg(long, value_name = "PATH")]
    pub to: Option<PathBuf>,
    /// Exit with 1 also if a key is changed
    #[arg(long)]
    pub strict: bool,
    /// Form of the report.
    #[command(flatten)]
    pub output: OutputArgument,
}

/// Reads, makes, writes and reports.
#[must_use]
pub(super) fn import(arguments: &ImportArguments) -> Exit {
    let path = &arguments.file;
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("cannot read {}: {error}", path.display()));
            return Exit::Configuration;
        }
    };
    let import = match read_centrifugo(path, &text) {
        Ok(given) => import_centrifugo(&given),
        Err(reason) => {
            complain(&format!("{}: {reason}", path.display()));
            return Exit::Configuration;
        }
    };
    if let Some(to) = &arguments.to
        && let Err(error) = write(to, &import.text)
    {
        complain(&format!("cannot write {}: {error}", to.display()));
        return Exit::Failure;
    }
    let answered = match (arguments.output.output, &arguments.to) {
        (Output::Json, to) => answer(&as_json(&import, to.is_none()).to_string()),
        (Output::Text, Some(_)) => answer(&report(&import)),
        (Output::Text, None) => {
            let _ = write!(io::stderr(), "{}", report(&import));
            answer(&import.text)
        }
    };
    answered.and(exit(&import, arguments.strict))
}

/// Makes a file that only its owner reads.
fn write(to: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn exit(import: &Import, strict: bool) -> Exit {
    let is_whole = import.count(Verdict::Unsupported) == 0 && import.problems.is_empty();
    let is_same = import.count(Verdict::Changed) == 0;
    if is_whole && (is_same || !strict) { Exit::Ok } else { Exit::Failure }
}

/// A line for each key, those first that want attention.
fn report(import: &Import) -> String {
    let mut lines = Vec::new();
    for verdict in [Verdict::Unsupported, Verdict::Changed, Verdict::Mapped] {
        for finding in import.findings.iter().filter(|finding| finding.verdict == verdict) {
            let ours = finding.ours.as_ref().map(|ours| format!(" -> {ours}")).unwrap_or_default();
            let note = if finding.note.is_empty() { String::new() } else { format!(": {}", finding.note) };
            lines.push(format!("{:<11}  {}{ours}{note}", verdict.word(), finding.key));
        }
    }
    lines.extend(import.problems.iter().map(|problem| format!("not valid    {problem}")));
    let counts = [Verdict::Mapped, Verdict::Changed, Verdict::Unsupported]
        .map(|verdict| format!("{} {}", import.count(verdict), verdict.word()));
    lines.push(counts.join(", "));
    lines.join("\n") + "\n"
}

fn as_json(import: &Import, with_text: bool) -> serde_json::Value {
    let keys = import.findings.iter().map(|finding| {
        json!({
            "key": finding.key,
            "verdict": finding.verdict.word(),
            "setting": finding.ours,
            "note": finding.note,
        })
    });
    json!({
        "text": with_text.then_some(&import.text),
        "keys": keys.collect::<Vec<_>>(),
        "mapped": import.count(Verdict::Mapped),
        "changed": import.count(Verdict::Changed),
        "unsupported": import.count(Verdict::Unsupported),
        "problems": import.problems,
    })
}
