//! What can go wrong, by kind: a key for counting, and a text for people.
//!
//! Invariant: every connection that fails and every message that is refused is counted under exactly one kind.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::EXAMPLES_MAX;

// Linux numbers (asm-generic/errno.h), stable by its ABI.
const EADDRINUSE: i32 = 98;
const EADDRNOTAVAIL: i32 = 99;

/// How far a connection was when time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Step {
    /// The TCP connection was not established.
    Connecting,
    /// The upgrade response did not come.
    Upgrading,
    /// The replies to `connect` or `subscribe` did not come.
    Joining,
    /// The peer's close frame did not come.
    Closing,
}

/// Why a connection failed, or an operation on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// Nobody listens there.
    Refused,
    /// The peer reset the connection.
    Reset,
    /// Another error of the operating system while connecting or sending.
    System(i32),
    /// This machine had no descriptor, slot or port left.
    Local(i32),
    /// The upgrade was answered with another status than 101.
    Status(u16),
    /// The TLS handshake failed, or what came later is no TLS.
    Tls,
    /// The upgrade response breaks RFC 6455 section 4.1.
    Response,
    /// The server sent a close frame with this code (1005: without one).
    Closed(u16),
    /// The server ended the TCP connection without a close frame (what RFC 6455 calls 1006).
    Cut,
    /// Nothing came in time.
    Timeout(Step),
    /// The server sent what RFC 6455 forbids; the close code it deserves.
    Violation(u16),
    /// The server's message is not of the client protocol.
    Malformed,
    /// `connect` was answered with this error code.
    ConnectError(u32),
    /// `subscribe` was answered with this error code.
    SubscribeError(u32),
    /// `publish` was answered with this error code.
    PublishError(u32),
    /// `publish` was not answered.
    PublishUnanswered,
    /// The server does not read: the bytes that wait for it passed the limit.
    Backlog,
}

impl Failure {
    /// The kind of an operating system error on a socket.
    #[must_use]
    pub(crate) fn of_errno(errno: i32) -> Self {
        const EPIPE: i32 = 32;
        const ECONNRESET: i32 = 104;
        const ETIMEDOUT: i32 = 110;
        const ECONNREFUSED: i32 = 111;
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        match errno {
            ECONNREFUSED => Failure::Refused,
            ECONNRESET | EPIPE => Failure::Reset,
            ETIMEDOUT => Failure::Timeout(Step::Connecting),
            EADDRINUSE | EADDRNOTAVAIL | ENFILE | EMFILE => Failure::Local(errno),
            _ => Failure::System(errno),
        }
    }

    /// The key under which it is counted in a result: lower case, words joined by `_`.
    #[must_use]
    pub(crate) fn key(&self) -> String {
        match self {
            Failure::Refused => "refused".to_owned(),
            Failure::Reset => "reset".to_owned(),
            Failure::System(errno) => format!("system_{errno}"),
            Failure::Local(errno) => format!("local_{errno}"),
            Failure::Status(status) => format!("status_{status}"),
            Failure::Tls => "tls".to_owned(),
            Failure::Response => "bad_response".to_owned(),
            Failure::Closed(code) => format!("closed_{code}"),
            Failure::Cut => "cut".to_owned(),
            Failure::Timeout(Step::Connecting) => "timeout_connecting".to_owned(),
            Failure::Timeout(Step::Upgrading) => "timeout_upgrading".to_owned(),
            Failure::Timeout(Step::Joining) => "timeout_joining".to_owned(),
            Failure::Timeout(Step::Closing) => "timeout_closing".to_owned(),
            Failure::Violation(code) => format!("violation_{code}"),
            Failure::Malformed => "malformed".to_owned(),
            Failure::ConnectError(code) => format!("connect_error_{code}"),
            Failure::SubscribeError(code) => format!("subscribe_error_{code}"),
            Failure::PublishError(code) => format!("publish_error_{code}"),
            Failure::PublishUnanswered => "publish_unanswered".to_owned(),
            Failure::Backlog => "backlog".to_owned(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused => f.write_str("connection refused"),
            Failure::Reset => f.write_str("connection reset by the server"),
            Failure::System(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
            // A limit of the back end, not of the system.
            Failure::Local(0) => f.write_str("this generator has no room left"),
            Failure::Local(errno) => {
                let lack = match *errno {
                    EADDRINUSE | EADDRNOTAVAIL => "its address has no port left, or is none of this machine",
                    _ => "this machine has no descriptor left",
                };
                write!(f, "{lack}: {}", std::io::Error::from_raw_os_error(*errno))
            }
            Failure::Status(status) => write!(f, "upgrade answered with HTTP status {status}"),
            Failure::Tls => f.write_str("TLS failed"),
            Failure::Response => f.write_str("upgrade response is not valid"),
            Failure::Closed(1005) => f.write_str("closed by the server without a code"),
            Failure::Closed(code) => write!(f, "closed by the server with code {code}"),
            Failure::Cut => f.write_str("connection ended by the server without a close frame"),
            Failure::Timeout(Step::Connecting) => {
                f.write_str("timed out: connection (TCP, and TLS where asked for) not established")
            }
            Failure::Timeout(Step::Upgrading) => f.write_str("timed out: no upgrade response"),
            Failure::Timeout(Step::Joining) => f.write_str("timed out: no reply to connect or subscribe"),
            Failure::Timeout(Step::Closing) => f.write_str("timed out: no close frame in answer to ours"),
            Failure::Violation(code) => write!(f, "the server broke RFC 6455 (close code {code})"),
            Failure::Malformed => f.write_str("the server's message is not of the client protocol"),
            Failure::ConnectError(code) => write!(f, "connect answered with error {code}"),
            Failure::SubscribeError(code) => write!(f, "subscribe answered with error {code}"),
            Failure::PublishError(code) => write!(f, "publish answered with error {code}"),
            Failure::PublishUnanswered => f.write_str("publish was not answered"),
            Failure::Backlog => f.write_str("the server does not read: too many bytes wait for it"),
        }
    }
}

/// How often each kind occurred, and the text of the first few.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "FailureLists", from = "FailureLists")]
pub(crate) struct Failures {
    counts: BTreeMap<Failure, u64>,
    examples: Vec<(Failure, String)>,
}

/// The same as lists, for a journey: kinds are no names.
#[derive(Serialize, Deserialize)]
struct FailureLists {
    counts: Vec<(Failure, u64)>,
    examples: Vec<(Failure, String)>,
}

impl From<Failures> for FailureLists {
    fn from(failures: Failures) -> Self {
        Self { counts: failures.counts.into_iter().collect(), examples: failures.examples }
    }
}

impl From<FailureLists> for Failures {
    fn from(lists: FailureLists) -> Self {
        Self { counts: lists.counts.into_iter().collect(), examples: lists.examples }
    }
}

/// Examples of one kind at most: one kind must not hide the others.
const EXAMPLES_OF_KIND_MAX: usize = 2;

impl Failures {
    /// Counts `failure`; `detail` is asked for only while examples are wanted.
    pub(crate) fn add(&mut self, failure: Failure, detail: impl FnOnce() -> String) {
        *self.counts.entry(failure).or_default() += 1;
        if self.wants_example(failure) {
            self.examples.push((failure, detail()));
        }
    }

    /// Counts `failure` `times` more, without an example.
    pub(crate) fn add_times(&mut self, failure: Failure, times: u64) {
        if times > 0 {
            *self.counts.entry(failure).or_default() += times;
        }
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: Failures) {
        for (failure, count) in other.counts {
            *self.counts.entry(failure).or_default() += count;
        }
        for (failure, text) in other.examples {
            if self.wants_example(failure) {
                self.examples.push((failure, text));
            }
        }
    }

    /// Whether nothing went wrong.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The kinds and how often each occurred, most frequent first.
    #[must_use]
    pub(crate) fn by_count(&self) -> Vec<(Failure, u64)> {
        let mut all: Vec<_> = self.counts.iter().map(|(failure, count)| (*failure, *count)).collect();
        all.sort_by_key(|(failure, count)| (std::cmp::Reverse(*count), *failure));
        all
    }

    /// Texts of the first failures.
    #[must_use]
    pub(crate) fn examples(&self) -> Vec<String> {
        self.examples.iter().map(|(_, text)| text.clone()).collect()
    }

    fn wants_example(&self, failure: Failure) -> bool {
        let of_kind = self.examples.iter().filter(|(kind, _)| *kind == failure).count();
        of_kind < EXAMPLES_OF_KIND_MAX && self.examples.len() < EXAMPLES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operating_system_errors_have_kinds() {
        let table = [
            (111, Failure::Refused, "refused"),
            (104, Failure::Reset, "reset"),
            (32, Failure::Reset, "reset"),
            (110, Failure::Timeout(Step::Connecting), "timeout_connecting"),
            (99, Failure::Local(99), "local_99"),
            (24, Failure::Local(24), "local_24"),
            (113, Failure::System(113), "system_113"),
        ];
        for (errno, failure, key) in table {
            assert_eq!((Failure::of_errno(errno), Failure::of_errno(errno).key().as_str()), (failure, key));
        }
    }

    #[test]
    fn kinds_are_counted_and_the_first_are_shown() {
        let mut failures = Failures::default();
        for number in 0..100 {
            failures.add(Failure::Refused, || format!("refused {number}"));
        }
        failures.add(Failure::Status(503), || "status".to_owned());
        let mut other = Failures::default();
        other.add_times(Failure::Status(503), 200);
        other.add_times(Failure::Cut, 0);
        other.add(Failure::Refused, || "refused elsewhere".to_owned());
        failures.merge(other);
        assert_eq!(failures.by_count(), [(Failure::Status(503), 201), (Failure::Refused, 101)]);
        assert_eq!(failures.examples(), ["refused 0", "refused 1", "status"]);
    }
}
