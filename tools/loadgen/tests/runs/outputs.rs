//! What a run leaves behind and how it is judged: expectations, scenario files, pages, histogram logs, the server's metrics.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use roadstead_io::Kind;
use serde_json::Value;

use crate::server::{Behaviour, Server};

/// A path of this test's own.
fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

/// The exit code, unless this machine was too busy for the generator, which then says so by its own.
fn assert_code(code: i32, expected: i32, result: &Value) {
    let is_behind = !result["generator"]["bottleneck"].as_array().expect("reasons").is_empty();
    assert_eq!(code, if is_behind { 4 } else { expected }, "{result}");
}

/// Exit code, JSON result and what was said.
fn loadgen(line: &[&str]) -> (i32, Value, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_loadgen")).args(line).args(["--json", "-"]).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let result = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().expect("an exit code"), result, said)
}

#[test]
fn expectations_decide_the_exit_code() {
    let server = Server::start(Kind::Epoll, Behaviour::Forget(3));
    let url = server.url();
    let line = [
        "echo",
        "-n",
        "2",
        "--rate",
        "100",
        "--duration",
        "300ms",
        "--drain",
        "100ms",
        "--io",
        "epoll",
        "--url",
        &url,
    ];
    let (code, result, _) = loadgen(&[&line[..], &["--expect", "lost<20", "--expect", "p50<10s"]].concat());
    assert_code(code, 0, &result);
    assert_eq!(result["ok"], false, "messages were lost, and that was expected");
    let (code, result, said) =
        loadgen(&[&line[..], &["--expect", "p50<10s", "--expect", "lost==0"]].concat());
    assert_code(code, 3, &result);
    assert_eq!(result["expectations"][1]["met"], false);
    assert!(result["expectations"][1]["actual"].as_f64().expect("a number") > 0.0);
    assert!(said.contains("lost==0") && said.contains("FAILED"), "{said}");
    let (code, _, said) = loadgen(&[&line[..], &["--expect", "speed>9000"]].concat());
    assert!(code == 2 && said.contains("speed"), "{said}");
}

/// No generator sends a thousand million messages a second; what it says of the server is worth nothing.
#[test]
fn a_generator_beyond_its_limit_says_so() {
    let server = Server::start(Kind::Epoll, Behaviour::Echo);
    let url = server.url();
    let line = "echo -n 4 --rate 1000000000 --duration 500ms --drain 100ms --io epoll --threads 1";
    let words: Vec<&str> = line.split(' ').chain(["--url", &url, "--expect", "lost>=0"]).collect();
    let (code, result, said) = loadgen(&words);
    assert_eq!(code, 4, "{said}");
    assert_eq!(result["expectations"][0]["met"], true);
    assert!(!result["generator"]["bottleneck"].as_array().expect("reasons").is_empty());
    assert!(said.contains("itself the bottleneck"), "{said}");
}

#[test]
fn a_scenario_file_is_played_and_flags_go_first() {
    let server = Server::start(Kind::Epoll, Behaviour::Hub(0));
    let file = place("fanout.toml");
    let text = format!(
        "scenario = \"fanout\"\nurl = \"{}\"\nconnections = 99\nrate = 100\nduration = \"300ms\"\nio = \"epoll\"\n\
         expect = [\"lost==0\"]\n",
        server.url()
    );
    std::fs::write(&file, &text).expect("written");
    let path = file.to_str().expect("UTF-8");
    let (code, result, said) = loadgen(&["run", path, "--connections", "5"]);
    assert_code(code, 0, &result);
    assert_eq!(result["settings"]["connections"], 5, "{said}");
    assert_eq!(result["expectations"][0]["met"], true);
    std::fs::write(&file, format!("{text}bogus = 1\n")).expect("written");
    let (code, _, said) = loadgen(&["run", path]);
    assert!(code == 2 && said.contains("unknown key bogus"), "{said}");
    std::fs::remove_file(file).expect("its own file");
}

#[test]
fn a_page_and_a_log_are_written_and_metrics_are_looked_at() {
    let server = Server::start(Kind::Epoll, Behaviour::Hub(0));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let metrics = format!("http://{}/metrics", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for (count, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 64];
            let _ = stream.read(&mut request).expect("a request");
            let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n# HELP x y\nseen_total{{a=\"b\"}} {count}\n");
        }
    });
    let (page, log) = (place("page.html"), place("log.hlog"));
    let url = server.url();
    let line = ["fanout", "-n", "5", "--rate", "100", "--duration", "2500ms", "--io", "epoll", "--url", &url];
    let files = [
        "--html",
        page.to_str().expect("UTF-8"),
        "--hdr",
        log.to_str().expect("UTF-8"),
        "--metrics-url",
        &metrics,
    ];
    let (code, result, said) = loadgen(&[&line[..], &files].concat());
    assert_eq!(code, 0, "{said}");
    assert_eq!(result["metrics"][0]["name"], "seen_total");
    assert!(result["metrics"][0]["points"].as_array().expect("points").len() >= 3);
    let text = std::fs::read_to_string(&page).expect("a page");
    assert!(text.contains("seen_total, per second") && text.matches("<svg").count() == 4, "{text}");
    let text = std::fs::read_to_string(&log).expect("a log");
    // A line for each second in which there were messages; V2 histograms, compressed, begin with these digits.
    let lines = text.lines().filter(|line| line.starts_with("Tag=message,") && line.contains(",HISTFAAA"));
    assert!(lines.count() >= 3, "{text}");
    std::fs::remove_file(page).expect("its own file");
    std::fs::remove_file(log).expect("its own file");
}
