//! Log lines on stderr, as text or JSON, written by a thread of their own.
//!
//! Invariants: a shard that logs never waits for whoever reads stderr; when the queue is full the line is dropped
//! and counted, and the count is written as soon as there is room.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::settings::{Log, LogFormat, LogLevel};

/// Lines that may wait for stderr: seconds of normal logging, and not more than some hundred kilobytes.
const QUEUE_LINES: usize = 1_024;
/// A line of our own is far shorter; a longer one is cut so that the queue's memory is bounded.
const LINE_BYTES_MAX: usize = 8 << 10;

enum Job {
    Line(Vec<u8>),
    /// All lines before it are written when this is answered.
    Flush(Sender<()>),
}

/// The running logging: changes its level, waits for its lines.
#[derive(Clone)]
pub struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
    queue: Sender<Job>,
}

/// Starts logging for the whole process. The first call wins; a later one changes nothing.
///
/// # Errors
/// The thread could not be started.
pub fn start(settings: &Log) -> io::Result<Logging> {
    let (queue, jobs) = bounded(QUEUE_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = QueueWriter { queue: queue.clone(), dropped: Arc::clone(&dropped) };
    thread::Builder::new().name("log".into()).spawn(move || write_lines(&jobs, &dropped, io::stderr()))?;

    let (filter, level) = reload::Layer::new(filter(settings.level));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let lines: Box<dyn Layer<_> + Send + Sync> = match settings.format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    let subscriber = Registry::default().with(filter).with(lines);
    // Only a second start in one process fails here, and then the first one's subscriber does the work.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(Logging { level, queue })
}

impl Logging {
    /// Changes the level from now on.
    pub fn set_level(&self, level: LogLevel) {
        // The subscriber lives as long as the process.
        let _ = self.level.reload(filter(level));
    }

    /// Waits until what was logged before is written, at most `patience`.
    pub fn flush(&self, patience: Duration) {
        let (done, written) = bounded(1);
        if self.queue.send_timeout(Job::Flush(done), patience).is_ok() {
            let _ = written.recv_timeout(patience);
        }
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Ends with the last sender. An error of stderr (closed by its reader) is no reason to stop serving.
fn write_lines(jobs: &Receiver<Job>, dropped: &AtomicU64, mut to: impl Write) {
    for job in jobs {
        match job {
            Job::Line(line) => drop(to.write_all(&line)),
            Job::Flush(done) => drop(done.send(())),
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(to, "{lost} log lines were dropped: stderr is read too slowly");
        }
    }
}

struct QueueWriter {
    queue: Sender<Job>,
    dropped: Arc<AtomicU64>,
}

/// Collects one line and queues it when it is complete (dropped).
struct Line<'a> {
    writer: &'a QueueWriter,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for QueueWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { writer: self, bytes: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LINE_BYTES_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let mut line = std::mem::take(&mut self.bytes);
        if line.is_empty() {
            return;
        }
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        if let Err(TrySendError::Full(_)) = self.writer.queue.try_send(Job::Line(line)) {
            self.writer.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_says_so() {
        let (queue, jobs) = bounded(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = QueueWriter { queue, dropped: Arc::clone(&dropped) };
        for text in ["one\n", "two", "three\n", "four\n"] {
            writer.make_writer().write_all(text.as_bytes()).expect("never fails");
        }
        drop(writer);
        let mut written = Vec::new();
        write_lines(&jobs, &dropped, &mut written);
        let expected = "one\n2 log lines were dropped: stderr is read too slowly\ntwo\n";
        assert_eq!(String::from_utf8(written).expect("text"), expected);
    }

    #[test]
    fn a_line_is_bounded() {
        let (queue, jobs) = bounded(1);
        let writer = QueueWriter { queue, dropped: Arc::new(AtomicU64::new(0)) };
        writer.make_writer().write_all(&[b'x'; 3 * LINE_BYTES_MAX]).expect("never fails");
        match jobs.try_recv().expect("queued") {
            Job::Line(line) => assert_eq!(line.len(), LINE_BYTES_MAX + 1),
            Job::Flush(_) => panic!("no flush was asked for"),
        }
    }
}
