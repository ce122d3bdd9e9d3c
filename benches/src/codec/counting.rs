//! Counts the instructions of every operation and its floor by callgrind: the same number each time, whatever else the
//! machine does.
//!
//! The program `codec count` goes through [`counted`] once for each loop; callgrind collects only in there, and writes a part
//! of its own at each return.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::operations::{Loop, Operation};
use crate::limits;

/// The function callgrind looks for.
const COUNTED: &str = "benches::codec::counting::counted";

/// Goes once through every loop, each operation before its floor, for callgrind.
pub fn go_through(operations: &mut [Operation]) {
    for operation in operations {
        for work in [&mut operation.work, &mut operation.least] {
            // What is done once, as growing a buffer, is not counted.
            work(limits::CODEC_WARM_UP);
            counted(work);
        }
    }
}

#[inline(never)]
fn counted(work: &mut Loop) {
    work(limits::CODEC_COUNTED);
}

/// Instructions of each operation and its floor, in the order of the operations.
///
/// # Errors
/// valgrind is not there, or does not say what was expected.
pub fn count(codec: &Path, scratch: &Path, operations: usize) -> io::Result<Vec<[u64; 2]>> {
    let file = scratch.join("callgrind.out");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--combine-dumps=yes"]);
    command.arg(format!("--toggle-collect={COUNTED}")).arg(format!("--dump-after={COUNTED}"));
    command.arg(format!("--callgrind-out-file={}", file.display()));
    command.arg(codec).arg("count").stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::other("valgrind is missing (Debian: apt-get install valgrind)"),
        _ => error,
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!(
            "valgrind failed: {}",
            said.lines().last().unwrap_or_default()
        )));
    }
    let counts = parse(&std::fs::read_to_string(&file)?);
    let (pairs, rest) = counts.as_chunks::<2>();
    if pairs.len() != operations || !rest.is_empty() {
        let found = counts.len();
        return Err(io::Error::other(format!("callgrind wrote {found} counts for {operations} operations")));
    }
    Ok(pairs.iter().map(|pair| pair.map(|count| count / limits::CODEC_COUNTED)).collect())
}

/// The totals of the parts that a return from the counted function ended.
fn parse(dump: &str) -> Vec<u64> {
    let parts = dump.split("\npart: ").filter(|part| part.contains("--dump-after"));
    parts
        .filter_map(|part| part.lines().find_map(|line| line.strip_prefix("summary: ")?.trim().parse().ok()))
        .collect()
}
