//! `roadstead log` on real folders.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use roadstead_engine::log::{After, Append, Folder as LogFolder, Kept, Log, Options, Retention, Store};
use serde_json::Value;

use crate::surroundings::{Folder, roadstead};
use crate::victim::unix_ms;

const EPOCH: u32 = 4_000_000_000;

/// A data directory with two channels of 30 publications each, in several segments.
fn filled(of: &str) -> (Folder, String) {
    let place = Folder::new(of);
    let data_dir = place.path("data");
    fs::create_dir_all(&data_dir).expect("a folder");
    let folder = LogFolder::make(&Path::new(&data_dir).join("log")).expect("free");
    let options = Options { segment_bytes: 4_096, ..Options::default() };
    let mut store = Store::open(folder, options, 1, unix_ms()).expect("fresh");
    for channel in ["news", "#ann"] {
        for offset in 1..=30 {
            let data: Arc<[u8]> = format!("{{\"number\":{offset},\"of\":\"{channel}\"}}").into_bytes().into();
            let append = Append {
                channel: channel.into(),
                epoch: EPOCH,
                after: if offset == 1 { After::Start(0) } else { After::Offset(offset - 1) },
                publications: vec![Kept { offset, unix_ms: unix_ms(), data }],
                retention: Retention::ALL,
            };
            assert_eq!(store.append(&[append], unix_ms()), [Ok(offset)]);
        }
    }
    store.close();
    (place, data_dir)
}

/// Exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = roadstead(&[&["log"], arguments].concat()).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn json(arguments: &[&str]) -> (i32, Value) {
    let (code, out, err) = run(&[arguments, &["--output", "json"]].concat());
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
}

/// The first segment.
fn segment(data_dir: &str) -> String {
    let names = fs::read_dir(format!("{data_dir}/log")).expect("a folder");
    let names = names.map(|entry| entry.expect("an entry").path().to_str().expect("UTF-8").to_owned());
    names.filter(|name| name.ends_with(".log")).min().expect("a segment")
}

#[test]
fn a_log_is_inspected_verified_and_exported() {
    let (place, data_dir) = filled("log-look");
    let config = place.file("roadstead.toml", &format!("data_dir = {data_dir:?}\n"));
    let (code, said) = json(&["inspect", "--config", &config, "--channels", "#"]);
    assert_eq!(code, 0);
    assert_eq!((&said["channels_known"], &said["publications"]), (&2.into(), &60.into()), "{said}");
    assert_eq!(said["channels"].as_array().map(Vec::len), Some(1));
    assert_eq!((&said["channels"][0]["epoch"], &said["channels"][0]["top"]), (&EPOCH.into(), &30.into()));
    assert_eq!(said["ended_in_order"], true);
    let (code, said) = json(&["verify", "--data-dir", &data_dir]);
    assert_eq!((code, said["damaged"].as_array().map(Vec::len)), (0, Some(0)), "{said}");
    let (code, out, _) = run(&["export", "--data-dir", &data_dir, "--channel", "news"]);
    assert_eq!((code, out.lines().count()), (0, 30));
    let line: Value = serde_json::from_str(out.lines().nth(6).expect("a line")).expect("JSON");
    assert_eq!((&line["channel"], &line["offset"]), (&"news".into(), &7.into()));
    assert_eq!(line["data_base64"], "eyJudW1iZXIiOjcsIm9mIjoibmV3cyJ9");
}

#[test]
fn damage_is_told_and_the_rest_is_there() {
    let (_place, data_dir) = filled("log-damage");
    let name = segment(&data_dir);
    let mut bytes = fs::read(&name).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&name, &bytes).expect("written");
    let (code, said) = json(&["verify", "--data-dir", &data_dir]);
    let damaged = said["damaged"].as_array().expect("a list");
    assert_eq!((code, damaged.len(), &said["publications"]), (1, 1, &59.into()), "{said}");
    let (at, length) =
        (damaged[0]["at"].as_u64().expect("where"), damaged[0]["bytes"].as_u64().expect("how much"));
    assert!((at..at + length).contains(&(middle as u64)), "{said}");
    let (code, out, _) = run(&["export", "--data-dir", &data_dir]);
    assert_eq!((code, out.lines().count()), (3, 59));
}

#[test]
fn a_snapshot_is_restored_under_new_epochs() {
    let (place, data_dir) = filled("log-snapshot");
    let (snapshot, other) = (place.path("snapshot"), place.path("other"));
    let (code, said) = json(&["snapshot", "--data-dir", &data_dir, &snapshot]);
    assert_eq!((code, &said["publications"]), (0, &60.into()), "{said}");
    let (code, _, err) = run(&["restore", "--data-dir", &data_dir, &snapshot]);
    assert!(code == 1 && err.contains("move it away first"), "{err}");
    let (code, said) = json(&["restore", "--data-dir", &other, &snapshot]);
    assert_eq!((code, &said["channels"]), (0, &2.into()), "{said}");
    let channels =
        |folder: &str| json(&["inspect", "--data-dir", folder, "--channels", ""]).1["channels"].clone();
    let (before, copied, after) = (channels(&data_dir), channels(&snapshot), channels(&other));
    assert_eq!(before, copied);
    for (before, after) in before.as_array().expect("a list").iter().zip(after.as_array().expect("a list")) {
        assert_eq!((&before["channel"], &before["top"]), (&after["channel"], &after["top"]));
        assert_ne!(before["epoch"], after["epoch"]);
    }
    let exported = |folder: &str| {
        let lines = run(&["export", "--data-dir", folder]).1;
        let parsed = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        parsed.map(|line| (line["offset"].clone(), line["data_base64"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(exported(&data_dir), exported(&other));
}

#[test]
fn what_cannot_be_opened_is_told() {
    let (place, data_dir) = filled("log-refused");
    let held = LogFolder::take(Path::new(&data_dir)).expect("free");
    let (code, _, err) = run(&["verify", "--data-dir", &data_dir]);
    assert!(code == 1 && err.contains("another process has it"), "{err}");
    drop(held);
    let (code, _, err) = run(&["verify", "--data-dir", &place.path("nowhere")]);
    assert!(code == 1 && err.contains("there is no log"), "{err}");
    let (code, _, err) = run(&["verify"]);
    assert!(code == 78 && err.contains("data_dir"), "{err}");
    let name = segment(&data_dir);
    let mut bytes = fs::read(&name).expect("read");
    bytes[8] = 2;
    let sum = crc32fast::hash(&bytes[..20]);
    bytes[20..24].copy_from_slice(&sum.to_le_bytes());
    fs::write(&name, &bytes).expect("written");
    let (code, _, err) = run(&["verify", "--data-dir", &data_dir]);
    assert!(code == 78 && err.contains("has format 2"), "{err}");
}
