//! The numbers of a run, and how they travel from threads to the conductor.
//!
//! Invariant: a number has one writer, its thread; totals exist only where all snapshots meet.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::cpu::CpuTime;
use crate::failure::Failures;
use crate::latency::Latencies;
use crate::schedule::Nanos;
use crate::stage::Stage;

/// Counts of one thread, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Connections that were begun.
    pub(crate) attempted: u64,
    /// Connections that are being opened now.
    pub(crate) opening: u64,
    /// Connections that became usable (upgraded, and logged in where that was asked for).
    pub(crate) opened: u64,
    /// Connections that are usable now.
    pub(crate) open: u64,
    /// Connections that never became usable.
    pub(crate) failed: u64,
    /// Connections that were lost after they had become usable and before the end.
    pub(crate) dropped: u64,
    /// Connections that ended with a close frame from both sides, or were cut off at the end because that was asked for.
    pub(crate) closed: u64,
    /// Connections that the server did not close properly at the end.
    pub(crate) unclean: u64,
    /// Messages sent.
    pub(crate) sent: u64,
    /// Messages received, duplicates and damaged ones included.
    pub(crate) received: u64,
    /// Deliveries that ought to happen: of each message one (echo) or one for each subscriber (fan-out).
    pub(crate) expected: u64,
    /// Different messages that arrived.
    pub(crate) distinct: u64,
    /// Messages that arrived again.
    pub(crate) duplicated: u64,
    /// Messages that arrived after later ones of their stream.
    pub(crate) reordered: u64,
    /// Messages whose content is not what was sent.
    pub(crate) corrupt: u64,
    /// Messages of somebody else, or of an earlier run.
    pub(crate) foreign: u64,
    /// Messages that were due but could not be sent: their connection was gone or did not read, or this generator was
    /// too slow.
    pub(crate) unsent: u64,
    /// Messages sent whose intended time lies in the measured part.
    pub(crate) measured_sent: u64,
    /// Messages received whose intended time lies in the measured part.
    pub(crate) measured_received: u64,
    /// Publish commands that were answered.
    pub(crate) answered: u64,
    /// Publish commands that were refused.
    pub(crate) refused: u64,
    /// Pings answered, of RFC 6455 and of the client protocol.
    pub(crate) pings: u64,
    /// Bytes given to the kernel.
    pub(crate) bytes_sent: u64,
    /// Bytes received from the kernel.
    pub(crate) bytes_received: u64,
    /// Deliveries that need not happen: under way to connections that were cut off on purpose, or of refused publications.
    pub(crate) excused: u64,
    /// Messages that are not checked: of slow clients, of clients that are leaving, from before a client's subscription.
    pub(crate) unchecked: u64,
    /// Messages that were not due because their publisher was away on purpose.
    pub(crate) skipped: u64,
    /// Connections cut off on purpose.
    pub(crate) cut: u64,
    /// Connections that left with a close frame, to come back.
    pub(crate) churned: u64,
    /// Connections that the server ended and that are to come back.
    pub(crate) torn: u64,
    /// Connections that have come back.
    pub(crate) back: u64,
    /// Attempts to come back that failed and are repeated.
    pub(crate) retries: u64,
    /// Connections that gave up coming back.
    pub(crate) given_up: u64,
    /// Connections that are to come back and have not.
    pub(crate) away: u64,
    /// TLS handshakes completed.
    pub(crate) tls_handshakes: u64,
    /// Those of them that resumed a session.
    pub(crate) tls_resumed: u64,
    /// Slow connections that the server ended.
    pub(crate) slow_ended: u64,
    /// Threads that have opened (or failed to open) all their connections.
    pub(crate) threads_settled: u64,
    /// Threads that have sent all that was due.
    pub(crate) threads_complete: u64,
    /// Threads that have nothing more to do.
    pub(crate) threads_done: u64,
}

impl Counters {
    /// Adds all of `other`.
    pub(crate) fn add(&mut self, other: &Counters) {
        let Counters {
            attempted,
            opening,
            opened,
            open,
            failed,
            dropped,
            closed,
            unclean,
            sent,
            received,
            expected,
            distinct,
            duplicated,
            reordered,
            corrupt,
            foreign,
            unsent,
            measured_sent,
            measured_received,
            answered,
            refused,
            pings,
            bytes_sent,
            bytes_received,
            excused,
            unchecked,
            skipped,
            cut,
            churned,
            torn,
            back,
            retries,
            given_up,
            away,
            tls_handshakes,
            tls_resumed,
            slow_ended,
            threads_settled,
            threads_complete,
            threads_done,
        } = other;
        self.attempted += attempted;
        self.opening += opening;
        self.opened += opened;
        self.open += open;
        self.failed += failed;
        self.dropped += dropped;
        self.closed += closed;
        self.unclean += unclean;
        self.sent += sent;
        self.received += received;
        self.expected += expected;
        self.distinct += distinct;
        self.duplicated += duplicated;
        self.reordered += reordered;
        self.corrupt += corrupt;
        self.foreign += foreign;
        self.unsent += unsent;
        self.measured_sent += measured_sent;
        self.measured_received += measured_received;
        self.answered += answered;
        self.refused += refused;
        self.pings += pings;
        self.bytes_sent += bytes_sent;
        self.bytes_received += bytes_received;
        self.excused += excused;
        self.unchecked += unchecked;
        self.skipped += skipped;
        self.cut += cut;
        self.churned += churned;
        self.torn += torn;
        self.back += back;
        self.retries += retries;
        self.given_up += given_up;
        self.away += away;
        self.tls_handshakes += tls_handshakes;
        self.tls_resumed += tls_resumed;
        self.slow_ended += slow_ended;
        self.threads_settled += threads_settled;
        self.threads_complete += threads_complete;
        self.threads_done += threads_done;
    }

    /// Whether no connection is usable, nor will be again.
    #[must_use]
    pub(crate) fn is_deserted(&self) -> bool {
        self.open + self.away == 0
    }

    /// Deliveries that did not happen. Two errors that cancel out cannot hide here: duplicates are not distinct.
    #[must_use]
    pub(crate) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.excused + self.distinct)
    }
}

/// Counts of one URL: of the connections to it, and of the messages on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UrlCounters {
    /// Connections that became usable.
    pub(crate) opened: u64,
    /// Connections that never became usable.
    pub(crate) failed: u64,
    /// Connections that were lost before the end.
    pub(crate) dropped: u64,
    /// Messages sent to it.
    pub(crate) sent: u64,
    /// Deliveries that ought to come from it.
    pub(crate) expected: u64,
    /// Those of them that need not.
    pub(crate) excused: u64,
    /// Different messages that came from it.
    pub(crate) distinct: u64,
    /// Messages that came from it again.
    pub(crate) duplicated: u64,
    /// Messages that came from it after later ones of their stream.
    pub(crate) reordered: u64,
}

impl UrlCounters {
    /// Adds all of `other`.
    pub(crate) fn add(&mut self, other: &UrlCounters) {
        let UrlCounters { opened, failed, dropped, sent, expected, excused, distinct, duplicated, reordered } =
            other;
        self.opened += opened;
        self.failed += failed;
        self.dropped += dropped;
        self.sent += sent;
        self.expected += expected;
        self.excused += excused;
        self.distinct += distinct;
        self.duplicated += duplicated;
        self.reordered += reordered;
    }

    /// Deliveries that did not come from it.
    #[must_use]
    pub(crate) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.excused + self.distinct)
    }
}

/// Latencies of all kinds.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatencySet {
    /// From the time a connection was due to be opened to the 101 response.
    pub(crate) handshake: Latencies,
    /// From the same time to the replies to `connect` and `subscribe`.
    pub(crate) login: Latencies,
    /// From a message's intended time to its return (echo) or delivery (fan-out).
    pub(crate) message: Latencies,
    /// The part of `message` whose publisher is connected to the URL of the subscriber. Only with several URLs.
    pub(crate) same_url: Latencies,
    /// The rest of it: what crossed from one URL to another.
    pub(crate) other_url: Latencies,
    /// Like `message`, for messages from user to user.
    pub(crate) direct: Latencies,
    /// From the end of a connection to the time when it was usable again.
    pub(crate) comeback: Latencies,
    /// From a publication's intended time to the reply to its publisher.
    pub(crate) publish: Latencies,
    /// How late the generator was with messages of a schedule: from their intended time to the turn that saw them due.
    /// Its own share of the latencies above.
    pub(crate) lag: Latencies,
}

impl LatencySet {
    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: &LatencySet) {
        self.handshake.merge(&other.handshake);
        self.login.merge(&other.login);
        self.message.merge(&other.message);
        self.same_url.merge(&other.same_url);
        self.other_url.merge(&other.other_url);
        self.direct.merge(&other.direct);
        self.comeback.merge(&other.comeback);
        self.publish.merge(&other.publish);
        self.lag.merge(&other.lag);
    }

    /// All kinds with their names.
    pub(crate) fn by_name(&self) -> [(&'static str, &Latencies); 9] {
        [
            ("handshake", &self.handshake),
            ("login", &self.login),
            ("message", &self.message),
            ("message_same_url", &self.same_url),
            ("message_other_url", &self.other_url),
            ("direct", &self.direct),
            ("comeback", &self.comeback),
            ("publish", &self.publish),
            ("lag", &self.lag),
        ]
    }

    /// Adds a histogram to the kind of that name.
    ///
    /// # Errors
    /// There is no such kind, or the histogram holds what none of ours does.
    pub(crate) fn add_by_name(&mut self, name: &str, histogram: &Histogram<u64>) -> Result<(), String> {
        let kind = match name {
            "handshake" => &mut self.handshake,
            "login" => &mut self.login,
            "message" => &mut self.message,
            "message_same_url" => &mut self.same_url,
            "message_other_url" => &mut self.other_url,
            "direct" => &mut self.direct,
            "comeback" => &mut self.comeback,
            "publish" => &mut self.publish,
            "lag" => &mut self.lag,
            other => return Err(format!("no latency is named {other:?}")),
        };
        kind.add(histogram)
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_name().iter().all(|(_, kind)| kind.is_empty())
    }
}

/// What a thread tells the conductor from time to time.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Which thread.
    pub(crate) thread: u32,
    /// The part of the run it is in.
    pub(crate) stage: Stage,
    /// Its counters since the start.
    pub(crate) counters: Counters,
    /// The same by URL.
    pub(crate) urls: Vec<UrlCounters>,
    /// When all its connections were open or failed; 0 before.
    pub(crate) settled_at: Nanos,
    /// Latencies since its last snapshot that had some.
    pub(crate) latencies: Option<Box<LatencySet>>,
    /// Failures since its last snapshot.
    pub(crate) failures: Failures,
    /// Failures that are made good by trying again.
    pub(crate) setbacks: Failures,
    /// Processor time of the thread since the start.
    pub(crate) cpu: CpuTime,
    /// The error that ended the thread, if one did.
    pub(crate) fatal: Option<String>,
}
