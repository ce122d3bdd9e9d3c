//! The system calls of a log: each acknowledgement follows an fdatasync that follows its write.

use std::fs;
use std::process::{Command, Stdio};

use crate::surroundings::Folder;
use crate::victim;

const APPENDS: u64 = 25;

#[test]
#[allow(clippy::print_stdout, reason = "says why nothing was looked at")]
fn an_acknowledgement_follows_its_sync() {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        println!("not looked at: strace is not installed");
        return;
    }
    let folder = Folder::new("log-trace");
    let trace = folder.path("trace");
    // One append at a time, so that no write of another group stands between.
    let (program, arguments, environment) = victim::command(&folder.path("log"), 0, APPENDS);
    let traced = Command::new("strace")
        .args(["-f", "-e", "trace=pwrite64,fdatasync,write", "-o", &trace])
        .arg(program)
        .args(arguments)
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("strace runs");
    assert!(traced.success());
    let trace = fs::read_to_string(&trace).expect("UTF-8");
    let (mut written, mut synced, mut acknowledged) = (0, 0, 0);
    for line in trace.lines() {
        if line.contains("pwrite64(") {
            written += 1;
        } else if line.contains("fdatasync") && line.trim_end().ends_with("= 0") {
            synced = written;
        } else if line.contains("write(1, \"A ") {
            acknowledged += 1;
            assert_eq!(synced, written, "acknowledgement {acknowledged} came before its sync:\n{trace}");
            // The header of the first segment is written before.
            assert!(written > acknowledged, "acknowledgement {acknowledged} came without a write:\n{trace}");
        }
    }
    assert_eq!(acknowledged, APPENDS);
}
