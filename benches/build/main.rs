//! Tells the benches which commit and compiler they are of, so that a run is kept under those of the programs that ran and not of
//! the folder it was started in.
//!
//! Invariant: what is not optimised is looked at once: its figures mean nothing, and everybody's tests would wait for it.

mod revision;

use std::io::{self, Write};
use std::path::Path;

/// What the programs that are measured are made of, from the root of the repository.
const SOURCES: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "benches/src",
    "benches/build",
    "control/src",
    "engine",
    "protocol/src",
    "tools/loadgen/src",
    "wsproto/src",
];

fn main() -> io::Result<()> {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let root = Path::new(&folder).parent().unwrap_or(Path::new("."));
    let is_optimised = std::env::var("PROFILE").is_ok_and(|profile| profile != "debug");
    let mut orders = vec!["rerun-if-changed=build".to_owned()];
    let mut revision = revision::UNKNOWN.to_owned();
    if is_optimised {
        let head = revision::head_files(root);
        let sources = SOURCES.iter().map(|source| root.join(source)).filter(|_| !head.is_empty());
        // A file that is not there would be taken for one that changes all the time.
        let watched = head.iter().cloned().chain(sources).filter(|path| path.exists());
        orders.extend(watched.map(|path| format!("rerun-if-changed={}", path.display())));
        revision = revision::of(root);
    }
    orders.push(format!("rustc-env=BENCHES_REVISION={revision}"));
    orders.push(format!("rustc-env=BENCHES_RUSTC={}", revision::compiler()));
    orders.iter().try_for_each(|order| writeln!(io::stdout(), "cargo::{order}"))
}
