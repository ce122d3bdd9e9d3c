//! The fields of a result, and what each of them says.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::expect::Checked;
use crate::latency::Summary;
use crate::outcome::{Phase, Second};
use crate::scrape::MetricSeries;

/// Something that was not as it should be. In JSON: its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The number of the result that shows it, by its name there.
    pub(crate) number: Option<&'static str>,
    /// A sentence.
    pub(crate) text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

/// The JSON result. Field names are stable.
#[derive(Debug, Serialize)]
pub(crate) struct RunResult {
    /// Version of the generator.
    pub(crate) loadgen: &'static str,
    /// Its name on the command line.
    pub(crate) scenario: &'static str,
    /// Whether nothing failed or was lost.
    pub(crate) ok: bool,
    /// What was not as it should be, as sentences; empty when `ok`.
    pub(crate) faults: Vec<Fault>,
    /// Ended early by a signal.
    pub(crate) interrupted: bool,
    /// When it began, milliseconds since 1970.
    pub(crate) started_unix_ms: u64,
    /// What was asked for.
    pub(crate) settings: Settings,
    /// Connections.
    pub(crate) connections: Connections,
    /// Messages.
    pub(crate) messages: Messages,
    /// Connections that were ended on purpose or by the server, and came back; slow ones.
    pub(crate) unrest: UnrestResult,
    /// Both by URL.
    pub(crate) urls: Vec<UrlResult>,
    /// Latencies in microseconds; `null` for kinds that did not occur.
    pub(crate) latency_us: LatencyTable,
    /// Failures by kind, most frequent first.
    pub(crate) errors: Vec<ErrorCount>,
    /// Texts of the first failures.
    pub(crate) examples: Vec<String>,
    /// The generator's own effort.
    pub(crate) generator: Generator,
    /// What was expected, and what came of it.
    pub(crate) expectations: Vec<Checked>,
    /// When each phase began.
    pub(crate) phases: Vec<Phase>,
    /// Second by second.
    pub(crate) series: Vec<Second>,
    /// The server's metrics over the same time, where they were asked for.
    pub(crate) metrics: Vec<MetricSeries>,
}

/// What was asked for.
#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    /// Where.
    pub(crate) urls: Vec<String>,
    /// Connections (fan-out: subscribers).
    pub(crate) connections: u32,
    /// Connections that publish; 0 where nothing is published.
    pub(crate) publishers: u32,
    /// Channels that each subscriber reads.
    pub(crate) subscriptions: u32,
    /// Channels; 0 without subscriptions.
    pub(crate) channels: u32,
    /// Messages per second; `null` in closed loop and where nothing is sent.
    pub(crate) rate: Option<f64>,
    /// Messages outstanding; `null` in open loop and where nothing is sent.
    pub(crate) depth: Option<u32>,
    /// Payload, bytes.
    pub(crate) size: usize,
    /// Measured time asked for, seconds.
    pub(crate) duration_s: f64,
    /// Time before it, seconds.
    pub(crate) warmup_s: f64,
    /// Time for which connections were held before that, seconds.
    pub(crate) hold_s: f64,
    /// Time for which they were held at the end, seconds.
    pub(crate) hold_after_s: f64,
    /// Connections per second; `null`: as fast as they open.
    pub(crate) connect_rate: Option<f64>,
    /// `json` or `protobuf`; `null` without the client protocol.
    pub(crate) encoding: Option<&'static str>,
    /// Seed of masking and handshake keys.
    pub(crate) seed: u64,
}

/// Connections, publishers included.
#[derive(Debug, Serialize)]
pub(crate) struct Connections {
    /// Asked for.
    pub(crate) planned: u64,
    /// Begun.
    pub(crate) attempted: u64,
    /// Became usable.
    pub(crate) opened: u64,
    /// Never became usable, or were lost before the end.
    pub(crate) failed: u64,
    /// The latter part of `failed`.
    pub(crate) dropped: u64,
    /// Ended with a close frame from both sides, or cut off at the end with `--cut`.
    pub(crate) closed: u64,
    /// Not properly closed by the server at the end.
    pub(crate) unclean: u64,
    /// TLS handshakes, those of comebacks included.
    pub(crate) tls_handshakes: u64,
    /// Those of them that resumed a session.
    pub(crate) tls_resumed: u64,
    /// Time from the first attempt to the last one's end, seconds.
    pub(crate) opening_s: f64,
    /// Usable connections per second of that time.
    pub(crate) opened_per_s: f64,
}

/// Messages; the measured ones are those whose intended time lies after the warm-up and within the duration.
#[derive(Debug, Serialize)]
pub(crate) struct Messages {
    /// Sent.
    pub(crate) sent: u64,
    /// Received, with duplicates and damaged ones.
    pub(crate) received: u64,
    /// Deliveries that should have happened.
    pub(crate) expected: u64,
    /// Deliveries that did not happen.
    pub(crate) lost: u64,
    /// Deliveries that need not happen: under way to connections that were ended on purpose, or of refused publications.
    pub(crate) excused: u64,
    /// Received, but not checked: by slow or leaving connections, or from before a subscription.
    pub(crate) unchecked: u64,
    /// Deliveries that happened again.
    pub(crate) duplicated: u64,
    /// Deliveries after later ones of the same stream.
    pub(crate) reordered: u64,
    /// Deliveries whose content is not what was sent.
    pub(crate) corrupt: u64,
    /// Deliveries of other senders or earlier runs.
    pub(crate) foreign: u64,
    /// Due, but not sendable.
    pub(crate) unsent: u64,
    /// Publish commands answered; fan-out only.
    pub(crate) answered: u64,
    /// Publish commands refused; fan-out only.
    pub(crate) refused: u64,
    /// Pings answered.
    pub(crate) pings: u64,
    /// Measured time, seconds.
    pub(crate) measured_s: f64,
    /// Measured messages sent, per second.
    pub(crate) sent_per_s: f64,
    /// Measured messages received, per second.
    pub(crate) received_per_s: f64,
    /// Bytes to the kernel, frame headers included.
    pub(crate) bytes_sent: u64,
    /// Bytes from the kernel.
    pub(crate) bytes_received: u64,
}

/// What became of connections that did not stay, and of those that did not keep up.
#[derive(Debug, Serialize)]
pub(crate) struct UnrestResult {
    /// Cut off on purpose.
    pub(crate) cut: u64,
    /// Left with a close frame, to come back.
    pub(crate) churned: u64,
    /// Ended by the server, to come back (with --reconnect).
    pub(crate) torn: u64,
    /// Came back. Each of the above does so once.
    pub(crate) back: u64,
    /// Attempts to come back that failed and were repeated.
    pub(crate) retries: u64,
    /// Gave up.
    pub(crate) given_up: u64,
    /// Had not come back at the end.
    pub(crate) away: u64,
    /// Why connections were ended by the server, and why attempts failed.
    pub(crate) setbacks: Vec<ErrorCount>,
    /// Connections that were made slow.
    pub(crate) slow: u64,
    /// Those of them that the server ended.
    pub(crate) slow_ended: u64,
}

/// The connections to one URL, and the messages on them.
#[derive(Debug, Serialize)]
pub(crate) struct UrlResult {
    /// Which.
    pub(crate) url: String,
    /// Connections asked for.
    pub(crate) planned: u64,
    /// Became usable.
    pub(crate) opened: u64,
    /// Never became usable, or were lost before the end.
    pub(crate) failed: u64,
    /// The latter part of `failed`.
    pub(crate) dropped: u64,
    /// Messages sent to it.
    pub(crate) sent: u64,
    /// Deliveries that should have come from it.
    pub(crate) expected: u64,
    /// Different messages that came from it.
    pub(crate) received: u64,
    /// Deliveries that did not come.
    pub(crate) lost: u64,
    /// Deliveries that came again.
    pub(crate) duplicated: u64,
    /// Deliveries after later ones of the same stream.
    pub(crate) reordered: u64,
}

/// Percentiles by kind.
#[derive(Debug, Serialize)]
pub(crate) struct LatencyTable {
    /// From a connection's due time to the 101 response.
    pub(crate) handshake: Option<Summary>,
    /// From the same time to the replies to `connect` and `subscribe`.
    pub(crate) login: Option<Summary>,
    /// From a message's intended time to its arrival.
    pub(crate) message: Option<Summary>,
    /// The part of `message` whose publisher is on the URL of the subscriber; fan-out over several URLs only.
    pub(crate) message_same_url: Option<Summary>,
    /// The rest of it: what crossed from one URL to another.
    pub(crate) message_other_url: Option<Summary>,
    /// Like `message`, for messages from user to user.
    pub(crate) direct: Option<Summary>,
    /// From the end of a connection to the time when it was usable again.
    pub(crate) comeback: Option<Summary>,
    /// From a publication's intended time to its reply.
    pub(crate) publish: Option<Summary>,
    /// From a message's intended time to its sending: the generator's own delay.
    pub(crate) lag: Option<Summary>,
}

impl LatencyTable {
    /// All kinds with the names that reports give them.
    pub(crate) fn rows(&self) -> [(&'static str, &Option<Summary>); 9] {
        [
            ("handshake", &self.handshake),
            ("login", &self.login),
            ("message", &self.message),
            ("- same URL", &self.message_same_url),
            ("- other URL", &self.message_other_url),
            ("direct", &self.direct),
            ("comeback", &self.comeback),
            ("publish", &self.publish),
            ("lag", &self.lag),
        ]
    }
}

/// One kind of failure.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorCount {
    /// Stable name.
    pub(crate) kind: String,
    /// How often.
    pub(crate) count: u64,
    /// For people.
    pub(crate) text: String,
}

/// The generator's own effort in the main part of the run.
#[derive(Debug, Serialize)]
pub(crate) struct Generator {
    /// Back end in use.
    pub(crate) io: String,
    /// Threads.
    pub(crate) threads: u32,
    /// Source addresses; 0: the kernel's pick.
    pub(crate) sources: usize,
    /// Resident memory when all connections were open, bytes.
    pub(crate) memory_bytes: u64,
    /// What of it came with the connections, threads and their buffers included, bytes for each open one.
    pub(crate) memory_per_connection: f64,
    /// Processor cores that all threads used together.
    pub(crate) cpu_cores: f64,
    /// Share of a core that the busiest thread used. The busiest is the one that asked for the most.
    pub(crate) busiest_thread: f64,
    /// Share of the time in which that thread could have run, but others had the processor.
    pub(crate) busiest_thread_waiting: f64,
    /// Whether a thread was saturated, running or waiting.
    pub(crate) saturated: bool,
    /// How it is known that the generator was itself the bottleneck; empty: nothing says so.
    pub(crate) bottleneck: Vec<String>,
}
