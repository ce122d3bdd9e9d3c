//! The codec's part of a run: a program of its own that is timed on the server's core and counted by callgrind.

use std::fmt::Write;
use std::io;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::plan::Effort;
use super::serving::{Binaries, CORE};
use crate::codec::{Cost, counting};
use crate::kernel;

/// What the codec costs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Codec {
    /// Each operation.
    pub costs: Vec<Cost>,
    /// Why instructions were not counted.
    pub uncounted: Option<String>,
}

/// Times and counts every operation. Without valgrind there are no counts, and the table says so.
///
/// # Errors
/// The program fails.
pub fn measure(binaries: &Binaries, effort: &Effort, say: &mut dyn FnMut(&str)) -> io::Result<Codec> {
    say("codec");
    let mut command = Command::new(&binaries.codec);
    command.args(["time", "--core", &CORE.to_string(), "--pairs", &effort.codec_pairs.to_string()]);
    kernel::confine(&mut command, CORE);
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut costs: Vec<Cost> = lines.map(serde_json::from_slice).collect::<Result<_, _>>()?;
    let uncounted = match counting::count(&binaries.codec, &binaries.scratch, costs.len()) {
        Ok(counts) => {
            for (cost, [own, floor]) in costs.iter_mut().zip(counts) {
                (cost.instructions, cost.floor_instructions) = (Some(own), Some(floor));
            }
            None
        }
        Err(error) => {
            say(&format!("    instructions are not counted: {error}"));
            Some(error.to_string())
        }
    };
    Ok(Codec { costs, uncounted })
}

impl Codec {
    /// The costs as a Markdown table.
    pub fn table(&self) -> String {
        let mut text =
            "\n| codec | bytes | ns | GB/s | instructions | floor | ns | instructions | of the floor |\n\
                        |---|---:|---:|---:|---:|---|---:|---:|---:|\n"
                .to_owned();
        for cost in &self.costs {
            let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
            let Cost { operation, bytes, floor, ns, floor_ns, of_the_floor, .. } = cost;
            let _ = writeln!(
                text,
                "| {operation} | {bytes} | {ns:.1} | {:.1} | {} | {floor} | {floor_ns:.1} | {} | {of_the_floor:.2} |",
                *bytes as f64 / ns,
                count(cost.instructions),
                count(cost.floor_instructions),
            );
        }
        if let Some(reason) = &self.uncounted {
            let _ = writeln!(text, "\nInstructions were not counted: {reason}.");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_counts_says_why() {
        let cost = Cost {
            operation: "read".to_owned(),
            bytes: 100,
            floor: "memcpy".to_owned(),
            ns: 50.0,
            floor_ns: 25.0,
            of_the_floor: 0.5,
            instructions: None,
            floor_instructions: Some(7),
        };
        let table = Codec { costs: vec![cost], uncounted: Some("no valgrind".to_owned()) }.table();
        assert!(table.contains("| read | 100 | 50.0 | 2.0 | - | memcpy | 25.0 | 7 | 0.50 |\n"), "{table}");
        assert!(table.ends_with("\nInstructions were not counted: no valgrind.\n"), "{table}");
    }
}
