//! `roadstead check` as operators run it, and beside the scripts that read the same table.

mod surroundings;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use roadstead_engine::tuning::{Machine, Quantities, Table, Verdict, judge};
use serde_json::Value;
use surroundings::{Folder, roadstead};

fn check(arguments: &[&str]) -> (i32, String) {
    let output = roadstead(&[&["check"], arguments].concat()).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it was not killed"), String::from_utf8(text).expect("UTF-8"))
}

#[test]
fn a_few_connections_can_be_held_everywhere() {
    let free = ["--listen", "127.0.0.1:0", "--set", "admin=off"];
    let (code, text) = check(&[&["--connections", "100", "--output", "json"], &free[..]].concat());
    let said: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(said["connections"], 100);
    let findings = said["findings"].as_array().expect("findings");
    let of = |name: &str| findings.iter().find(|finding| finding["name"] == name).expect("it is looked at");
    assert_eq!(of("memory available")["verdict"], "ok");
    assert_eq!(of("open files")["verdict"], "ok");
    assert_ne!(said["verdict"], "stops", "{text}");
    assert!(code == 0 || code == 3, "{code}");
    for finding in findings {
        let bad = finding["verdict"] == "costs" || finding["verdict"] == "stops";
        assert_eq!(finding["cure"].is_string(), bad, "{finding}");
    }
}

#[test]
fn the_configuration_says_how_many() {
    let folder = Folder::new("check");
    let file = folder.file("roadstead.toml", "listen = [\"127.0.0.1:40000\"]\n[limits]\nconnections = 77");
    let (_, text) = check(&["--config", &file, "--output", "json"]);
    let said: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(said["connections"], 77);
}

#[test]
fn what_cannot_be_held_is_said_with_a_cure() {
    // 20 million connections with TLS take 160 GB: of the machines that run these tests, none has so much.
    let (code, text) = check(&["--connections", "20000000", "--io", "epoll", "--listen", "192.0.2.1:8000"]);
    assert_eq!(code, 1, "{text}");
    for words in [
        "STOP  address 192.0.2.1",
        "ip address add 192.0.2.1",
        "cannot be held on this machine",
        "connections of one client address",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// A node that runs shares its port among its shards; another one gets no part of it, and hears so before it starts.
#[test]
fn an_address_in_use_is_said_with_who_has_it() {
    let mut node =
        roadstead(&["serve", "--insecure", "--io", "epoll", "--listen", "127.0.0.1:0", "--set", "admin=off"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
    let ready =
        BufReader::new(node.stdout.take().expect("piped")).lines().next().expect("a line").expect("text");
    let address =
        ready.split("listen=").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address").to_owned();
    let look = || check(&["--connections", "100", "--listen", &address, "--set", "admin=off"]);
    let (code, text) = look();
    let holder = format!("(pid {})", node.id());
    node.kill().expect("it runs");
    node.wait().expect("it ended");
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(&format!("STOP  address {address} (TCP)")), "{text}");
    assert!(text.contains(&format!("in use by roadstead {holder}")), "{text}");
    let (_, text) = look();
    assert!(!text.contains(&format!("address {address}")), "{text}");
}

#[test]
fn usage_and_configuration_are_judged_first() {
    for (arguments, code, words) in [
        (&["--connections", "0"][..], 78, "flag --connections"),
        (&["--connections", "many"], 78, "limits.connections"),
        (&["--sail"], 2, "unexpected argument"),
        (&["--help"], 0, "nothing stops the connections"),
    ] {
        let (exit, text) = check(arguments);
        assert_eq!(exit, code, "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

/// One table, two readers: the script and this program see the same in the same machine.
#[test]
fn the_script_comes_to_the_same_verdicts() {
    let folder = Folder::new("check");
    for (name, sysctls, clock, open_files, memory_kib) in [
        ("small", SMALL, "hpet", 1_024, 500_000),
        ("large", LARGE, "tsc", 2_000_000, 60_000_000),
        ("bare", &[], "acpi_pm", 20_000, 24_000_000),
    ] {
        let root = machine(Path::new(&folder.path(name)), sysctls, clock, open_files, memory_kib);
        for connections in [1_000, 200_000, 1_000_000, 9_000_000] {
            let machine = Machine::below(&root);
            let quantities = Quantities {
                connections,
                memory_kib: machine.memory_kib(),
                page_kib: machine.page_kib(),
                open_files: machine.open_files().expect("a limit"),
                reserved: 1_000,
                tls: false,
            };
            let findings = judge(&Table::embedded(), &machine, &quantities).expect("a table");
            let script = script(&root, connections);
            let ours: Vec<String> = findings
                .iter()
                .map(|finding| {
                    let word = match finding.verdict {
                        Verdict::Ok | Verdict::Note => "ok",
                        Verdict::Unknown => "?",
                        Verdict::Costs => "COST",
                        Verdict::Stops => "STOP",
                    };
                    let is = if finding.is.is_empty() { "absent" } else { &finding.is };
                    format!("{word} {} {is} {} {}", finding.name, finding.should, finding.cure)
                })
                .collect();
            assert_eq!(script, ours, "{name}, {connections}");
        }
    }
}

const SMALL: &[(&str, &str)] = &[
    ("net/core/somaxconn", "128"),
    ("net/core/netdev_max_backlog", "1000"),
    ("net/ipv4/tcp_max_syn_backlog", "512"),
    ("net/ipv4/tcp_syncookies", "0"),
    ("net/ipv4/tcp_mem", "5000\t6000\t900000"),
    ("net/ipv4/tcp_slow_start_after_idle", "1"),
    ("net/ipv4/tcp_ehash_entries", "-4096"),
    ("net/netfilter/nf_conntrack_max", "4096"),
    ("net/netfilter/nf_conntrack_count", "17"),
    ("fs/file-max", "50000"),
    ("fs/nr_open", "1048576"),
    ("kernel/io_uring_disabled", "2"),
];

const LARGE: &[(&str, &str)] = &[
    ("net/core/somaxconn", "65535"),
    ("net/core/netdev_max_backlog", "16384"),
    ("net/ipv4/tcp_max_syn_backlog", "65535"),
    ("net/ipv4/tcp_syncookies", "1"),
    ("net/ipv4/tcp_mem", "4500000 6750000 9000000"),
    ("net/ipv4/tcp_slow_start_after_idle", "0"),
    ("net/ipv4/tcp_ehash_entries", "16777216"),
    ("net/netfilter/nf_conntrack_max", "4096"),
    ("net/netfilter/nf_conntrack_count", "0"),
    ("fs/file-max", "9223372036854775807"),
    ("fs/nr_open", "1073741816"),
    ("kernel/io_uring_disabled", "0"),
];

fn machine(root: &Path, sysctls: &[(&str, &str)], clock: &str, open_files: u32, memory_kib: u32) -> PathBuf {
    let put = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, format!("{text}\n")).expect("written");
    };
    for (name, value) in sysctls {
        put(&format!("proc/sys/{name}"), value);
    }
    put("sys/devices/system/clocksource/clocksource0/current_clocksource", clock);
    put(
        "proc/self/limits",
        &format!("Max open files            1024                 {open_files}       files"),
    );
    put("proc/meminfo", &format!("MemTotal:  {memory_kib} kB\nMemAvailable:   {} kB", memory_kib / 2));
    // The page size that the script asks the system for.
    let maps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    put("proc/self/smaps", maps.trim_end());
    root.into()
}

/// What the script says, one line for each setting: verdict, name, what is, what should be, cure.
fn script(root: &Path, connections: i64) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-tuning/check");
    let output = Command::new(script)
        .args(["--connections", &connections.to_string(), "--root"])
        .arg(root)
        .output()
        .expect("the script runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().skip(1) {
        if let Some(cure) = line.strip_prefix("        cure:      ") {
            let last = lines.last_mut().expect("a setting before its cure");
            last.push_str(cure);
        } else if !line.starts_with(' ') && !line.starts_with("kernel-tuning/apply") {
            let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
            words.push("");
            lines.push(words.join(" "));
        }
    }
    lines
}
