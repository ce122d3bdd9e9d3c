//! The commit of a source tree, as far as it is one of git's.
//!
//! Invariant: a tree that was unpacked inside of somebody else's repository has no commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where there is no git, or no repository.
pub(crate) const UNKNOWN: &str = "unknown";

/// Twelve digits of the commit at `root`, with `-dirty` behind if a file that git knows was changed.
pub(crate) fn of(root: &Path) -> String {
    let describe = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    let own = is_repository(root).then(|| git(root, &describe)).flatten();
    own.unwrap_or_else(|| UNKNOWN.to_owned())
}

/// The files that change when another commit is checked out or made; none without a repository.
pub(crate) fn head_files(root: &Path) -> Vec<PathBuf> {
    if !is_repository(root) {
        return Vec::new();
    }
    let place = |name: &str| Some(root.join(git(root, &["rev-parse", "--git-path", name])?));
    ["HEAD", "logs/HEAD"].into_iter().filter_map(place).collect()
}

/// The version of the compiler that builds.
pub(crate) fn compiler() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    said(Command::new(rustc).arg("--version")).unwrap_or_else(|| UNKNOWN.to_owned())
}

fn is_repository(root: &Path) -> bool {
    let top = git(root, &["rev-parse", "--show-toplevel"]).and_then(|top| fs::canonicalize(top).ok());
    top.is_some() && top == fs::canonicalize(root).ok()
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    said(Command::new("git").arg("-C").arg(root).args(arguments))
}

/// The line that a command says, if it succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
