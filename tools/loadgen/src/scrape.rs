//! The server's metrics while a run lasts: looked at once a second, on a thread of its own.
//!
//! Invariants: a server that does not answer leaves a gap and holds up nothing; the text and the number of series are bounded.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Clock;
use crate::limits::{METRICS_BYTES_MAX, METRICS_MAX, SCRAPE_MS_MAX};
use crate::schedule::SECOND;

/// Where metrics in the Prometheus text format are: `http://HOST:PORT/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetricsUrl {
    authority: String,
    path: String,
}

impl FromStr for MetricsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or("must begin with http://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !authority.contains(':')
            || authority.contains('@')
            || !rest.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err("needs a host and a port, as in http://127.0.0.1:9000/metrics".to_owned());
        }
        let path = if path.is_empty() { "/metrics" } else { path };
        Ok(Self { authority: authority.to_owned(), path: path.to_owned() })
    }
}

impl MetricsUrl {
    /// Looks once, so that a wrong address is found before the load and not behind it.
    ///
    /// # Errors
    /// Nothing there gives metrics.
    pub(crate) fn try_once(&self) -> Result<(), String> {
        let Self { authority, path } = self;
        fetch(self).map(drop).map_err(|error| format!("no metrics at http://{authority}{path}: {error}"))
    }
}

/// One metric over time; what its labels tell apart is added up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MetricSeries {
    /// Its name.
    pub(crate) name: String,
    /// Whether it only counts up, so that its rate is what is of interest.
    pub(crate) is_counter: bool,
    /// Seconds since the start, and the value then.
    pub(crate) points: Vec<(f64, f64)>,
}

/// The thread that looks.
#[derive(Debug)]
pub(crate) struct Scraper {
    stop: Sender<()>,
    thread: JoinHandle<Vec<MetricSeries>>,
}

impl Scraper {
    /// Begins to look at `url`; times are those of `clock`.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(crate) fn start(url: MetricsUrl, clock: Clock) -> Result<Self, String> {
        let (stop, stopped) = channel();
        let look = move || {
            let mut all: BTreeMap<String, MetricSeries> = BTreeMap::new();
            loop {
                let at = clock.now() as f64 / SECOND as f64;
                // A look that fails is a gap in the series, and the plot shows it.
                for (name, value) in fetch(&url).map(|text| parse(&text)).unwrap_or_default() {
                    let is_counter = name.ends_with("_total");
                    let series = all.entry(name.clone()).or_insert_with(|| MetricSeries {
                        name,
                        is_counter,
                        points: Vec::new(),
                    });
                    series.points.push((at, value));
                }
                match stopped.recv_timeout(Duration::from_secs(1)) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            worth_keeping(all)
        };
        let builder = std::thread::Builder::new().name("loadgen-metrics".to_owned());
        let thread = builder.spawn(look).map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Self { stop, thread })
    }

    /// Ends looking; what was seen.
    pub(crate) fn finish(self) -> Vec<MetricSeries> {
        // A thread that has ended hears nothing, and needs to hear nothing.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}

/// What changed, bounded; processor time and memory always, and first.
fn worth_keeping(all: BTreeMap<String, MetricSeries>) -> Vec<MetricSeries> {
    let is_basic = |name: &str| matches!(name, "process_cpu_seconds_total" | "process_resident_memory_bytes");
    let changes = |series: &MetricSeries| series.points.iter().any(|(_, value)| *value != series.points[0].1);
    let mut kept: Vec<_> =
        all.into_values().filter(|series| is_basic(&series.name) || changes(series)).collect();
    kept.sort_by_key(|series| !is_basic(&series.name));
    kept.truncate(METRICS_MAX);
    kept
}

fn fetch(url: &MetricsUrl) -> std::io::Result<String> {
    let patience = Duration::from_millis(SCRAPE_MS_MAX);
    let address = url.authority.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // Of HTTP/1.0, so that the answer comes whole and ends with the connection.
    let request = format!("GET {} HTTP/1.0\r\nHost: {}\r\n\r\n", url.path, url.authority);
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(METRICS_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        status => Err(std::io::Error::other(format!("HTTP status {}", status.unwrap_or("missing")))),
    }
}

/// Names and values of the Prometheus text format, what labels tell apart added up. Histograms and what is no number are
/// left out.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = match line.find(['{', ' ']) {
            Some(end) => line.split_at(end),
            None => continue,
        };
        let value = rest.rsplit_once('}').map_or(rest, |(_, value)| value);
        let value = value.split_ascii_whitespace().next().and_then(|value| value.parse::<f64>().ok());
        if let Some(value) = value.filter(|value| value.is_finite() && !name.ends_with("_bucket")) {
            *values.entry(name.to_owned()).or_default() += value;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_added_up_by_name() {
        let text =
            "# HELP a b\na{x=\"1\"} 2\na{x=\"} \"} 3.5 1700000\nb 7\nc_bucket{le=\"1\"} 5\nd NaN\nbad\n";
        let values: Vec<_> = parse(text).into_iter().collect();
        assert_eq!(values, [("a".to_owned(), 5.5), ("b".to_owned(), 7.0)]);
    }

    #[test]
    fn urls_of_metrics_are_read() {
        let url: MetricsUrl = "http://127.0.0.1:9000".parse().unwrap();
        assert_eq!((url.authority.as_str(), url.path.as_str()), ("127.0.0.1:9000", "/metrics"));
        for text in ["https://a:1/", "http://a/", "http://a:1/x y", "http://u@a:1/", "a:1"] {
            assert!(text.parse::<MetricsUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_never_changes_is_left_out() {
        let series = |name: &str, values: &[f64]| MetricSeries {
            name: name.to_owned(),
            is_counter: false,
            points: values.iter().map(|value| (0.0, *value)).collect(),
        };
        let all =
            [series("a", &[1.0, 1.0]), series("b", &[1.0, 2.0]), series("process_cpu_seconds_total", &[1.0])];
        let all = all.into_iter().map(|series| (series.name.clone(), series)).collect();
        let names: Vec<_> = worth_keeping(all).into_iter().map(|series| series.name).collect();
        assert_eq!(names, ["process_cpu_seconds_total", "b"]);
    }
}
