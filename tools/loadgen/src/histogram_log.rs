//! Latencies second by second as a histogram log, which the usual HDR tools read (HistogramLogAnalyzer,
//! HistogramLogProcessor, hdr-plot).
//!
//! Invariants: format version 1.3 with compressed V2 histograms; values are nanoseconds; each kind of latency has its tag.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::counters::LatencySet;

/// A log that is being written.
pub(crate) struct HistogramLog {
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
    /// Up to where it is written, seconds since the start.
    written: f64,
}

impl std::fmt::Debug for HistogramLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HistogramLog").field("written", &self.written).finish_non_exhaustive()
    }
}

impl HistogramLog {
    /// A new log at `path`, with its head.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut serializer = V2DeflateSerializer::new();
        let mut head = IntervalLogWriterBuilder::new();
        let now = SystemTime::now();
        head.add_comment("[Histogram log format version 1.3]")
            .add_comment(&format!("[Logged by loadgen {}, nanoseconds]", env!("CARGO_PKG_VERSION")))
            .with_start_time(now)
            .with_base_time(now);
        head.begin_log_with(&mut file, &mut serializer)?;
        writeln!(
            file,
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
        )?;
        Ok(Self { file, serializer, written: 0.0 })
    }

    /// Adds the latencies since the last call, up to `at` seconds since the start.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&mut self, at: f64, latencies: &LatencySet) -> io::Result<()> {
        let (start, length) = (self.written, (at - self.written).max(0.0));
        self.written = at;
        for (name, kind) in latencies.by_name() {
            let Some(histogram) = kind.histogram() else { continue };
            // Without settings of its own a builder writes no head.
            let mut log =
                IntervalLogWriterBuilder::new().begin_log_with(&mut self.file, &mut self.serializer)?;
            let (start, length) = (Duration::from_secs_f64(start), Duration::from_secs_f64(length));
            log.write_histogram(histogram, start, length, Tag::new(name))
                .map_err(|error| io::Error::other(error.to_string()))?;
        }
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    #[test]
    fn a_log_is_read_back() {
        let path = std::env::temp_dir().join(format!("loadgen-log-{}.hlog", std::process::id()));
        let mut log = HistogramLog::create(&path).unwrap();
        for second in 1..=2_u64 {
            let mut latencies = LatencySet::default();
            (0..100 * second).for_each(|_| latencies.message.record(1_000_000));
            latencies.handshake.record(5_000);
            log.write(second as f64, &latencies).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("#[Histogram log format version 1.3]\n"), "{text}");
        // The line of column names is of the format, but this reader knows only what it writes itself.
        let lines: String =
            text.lines().filter(|line| !line.starts_with('"')).map(|line| format!("{line}\n")).collect();
        let mut counts = Vec::new();
        for entry in IntervalLogIterator::new(lines.as_bytes()) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                let bytes = base64(interval.encoded_histogram());
                let histogram: hdrhistogram::Histogram<u64> =
                    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                let tag = interval.tag().unwrap().as_str().to_owned();
                counts.push((tag, interval.start_timestamp().as_secs(), histogram.len()));
            }
        }
        let expected = [("handshake", 0, 1), ("message", 0, 100), ("handshake", 1, 1), ("message", 1, 200)];
        assert_eq!(counts, expected.map(|(tag, at, count)| (tag.to_owned(), at, count)));
    }

    /// RFC 4648, with padding.
    fn base64(text: &str) -> Vec<u8> {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
        for digit in text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte)) {
            bits = (bits << 6) | digit as u32;
            held += 6;
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held) as u8);
            }
        }
        bytes
    }
}
