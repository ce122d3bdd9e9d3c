//! `million` as it is called: numbers that make no sense are refused at once, and with the code for that.

use std::process::{Command, Output};

fn million(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_million")).args(line.split(' ')).output().expect("it runs")
}

#[test]
fn nonsense_is_refused_before_anything_is_measured() {
    for line in [
        "-n 0",
        "-n 99999999",
        "--rate 0",
        "--publish 0",
        "--subscribers 0",
        "--small 0",
        "--hold 3",
        "--curve --no-floor",
        "--curve --hold 60",
    ] {
        let output = million(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        let flag =
            line.split(' ').find(|word| word.starts_with('-') && *word != "-n").unwrap_or("--connections");
        assert!(said.starts_with("error: ") && said.contains(flag), "{line}: {said}");
    }
}

#[test]
fn a_table_needs_a_kept_run() {
    let runs = std::env::temp_dir().join(format!("roadstead-no-runs-{}", std::process::id()));
    let output = million(&format!("--table --runs {}", runs.display()));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no run of `million --curve` is kept under"), "{said}");
}
