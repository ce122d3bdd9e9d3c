//! A configuration file, and variables of the environment: what is accepted fits the table, what is not is named.
//!
//! An input is the file, or, behind a nought, variables one a line.
#![no_main]

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use roadstead_engine::config::{Sources, load, print_json, print_text, problems_json};

fuzz_target!(|bytes: &[u8]| {
    let mut sources = Sources::default();
    if let Some(lines) = bytes.strip_prefix(&[0]) {
        let variables = lines.split(|byte| *byte == b'\n').filter_map(|line| {
            let cut = line.iter().position(|byte| *byte == b'=')?;
            let name = [b"ROADSTEAD_", &line[..cut]].concat();
            Some((OsString::from_vec(name), OsString::from_vec(line[cut + 1..].to_vec())))
        });
        sources.environment = variables.collect();
    } else {
        let path = PathBuf::from(format!("/dev/shm/roadstead-fuzz-{}.toml", std::process::id()));
        fs::write(&path, bytes).expect("written");
        sources.file = Some(path);
    }
    match load(&sources) {
        Ok(configuration) => {
            assert!(!print_text(&configuration).is_empty() && !print_json(&configuration).is_null());
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(!problems_json(&problems).is_null());
        }
    }
});
