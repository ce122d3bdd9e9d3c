//! Every number that bounds the load generator, with its reason.

/// Connections from one source address to one target, at most: beyond it another source address is taken. The range
/// of ephemeral ports may ask for fewer, see `ports.rs`.
pub(crate) const CONNECTIONS_PER_SOURCE: u32 = 20_000;

/// Ephemeral ports of a kernel that does not tell: the default range, 32768 to 60999.
pub(crate) const EPHEMERAL_PORTS: u32 = 28_232;

/// Source addresses that can be asked for: a /16 of 127.0.0.0/8, far more than a million connections need.
pub(crate) const SOURCES_MAX: u32 = 65_536;

/// Descriptors that a thread needs beside its connections: standard streams, wakers of all threads, epoll, files read at
/// the end.
pub(crate) const DESCRIPTORS_RESERVED: u64 = 16 + THREADS_MAX as u64;

/// Connections of one run: client numbers are `u32` and every table is sized by them.
pub(crate) const CONNECTIONS_MAX: u32 = 16_000_000;

/// Threads of one run: more than any machine here has cores; a larger number is a slip of the finger.
pub(crate) const THREADS_MAX: u32 = 256;

/// Streams (pairs of publisher and channel) of one run, eight bytes each. Their number is written in five base-64 digits
/// of a stamp.
pub(crate) const STREAMS_MAX: u64 = 1 << 24;

/// Exponent of Zipf's law: above it the first channel has practically everything.
pub(crate) const ZIPF_EXPONENT_MAX: f64 = 10.0;

/// Streams that are checked over all subscribers of one run, 16 bytes each: a gibibyte.
pub(crate) const CHECKERS_MAX: u64 = 1 << 26;

/// Channels that one connection subscribes to: what servers commonly allow.
pub(crate) const SUBSCRIPTIONS_MAX: u32 = 128;

/// Attempts of one connection to come back, after which it is given up: with the default back-off that takes minutes.
pub(crate) const ATTEMPTS_MAX: u8 = 30;

/// Connections looked at in one turn for being cut off: a storm over a million must not stop the answers to others.
pub(crate) const TURN_CUTS_MAX: usize = 8_192;

/// Connections tried at random to find one that can leave now; without one, nobody leaves this time.
pub(crate) const LEAVERS_TRIED: u32 = 32;

/// Messages per second of one run. Above it, times between messages fall below a nanosecond.
pub(crate) const RATE_MAX: f64 = 1e9;

/// Length of a run, seconds: a stamp's time has nine base-64 digits of nanoseconds (208 days).
pub(crate) const DURATION_S_MAX: f64 = 30.0 * 86_400.0;

/// Payload of one message, bytes: what one frame of a typical server's limit allows, and far above it.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// Payload of one publication, bytes: must leave room for the command around it within [`PAYLOAD_BYTES_MAX`].
pub(crate) const PUBLICATION_BYTES_MAX: usize = 16 << 20;

/// Messages outstanding on one connection in closed loop.
pub(crate) const DEPTH_MAX: u32 = 65_536;

/// Messages outstanding on one connection in open loop; each costs eight bytes. A server this far behind has stopped:
/// further messages of that connection are counted as unsent.
pub(crate) const OUTSTANDING_MAX: usize = 1 << 20;

/// Bytes of control frames and pongs that wait for one blocked connection; messages wait as numbers, not as bytes. A
/// server that lets this much pile up does not read.
pub(crate) const BACKLOG_BYTES_MAX: usize = 64 << 10;

/// Receive buffer of a thread, bytes: stays within the second-level cache.
pub(crate) const ARENA_BYTES: usize = 512 << 10;

/// Receive buffers of all threads together, bytes: epoll needs fifty threads for a million connections, and their buffers
/// must not count among what a connection costs.
pub(crate) const ARENAS_BYTES: usize = 2 << 20;

/// Receive buffer of a thread, bytes, however many there are: room for some hundred small messages.
pub(crate) const ARENA_BYTES_MIN: usize = 64 << 10;

/// Receive buffer of a thread for messages of more than [`LARGE_MESSAGE_BYTES`]: several fit into one turn.
pub(crate) const ARENA_BYTES_LARGE: usize = 2 << 20;

/// Payloads above this size get the larger receive buffer.
pub(crate) const LARGE_MESSAGE_BYTES: usize = 64 << 10;

/// Bytes queued for sending in one turn before it ends early: bounds the send buffer of a thread, so that a burst
/// of due messages becomes several turns, between which input is read.
pub(crate) const TURN_BYTES_MAX: usize = 1 << 20;

/// Due messages handled in one turn: the same bound for small messages.
pub(crate) const TURN_MESSAGES_MAX: u32 = 16_384;

/// Connections started in one turn: accept queues overflow in bursts, and a burst delays the answers to others.
pub(crate) const TURN_CONNECTS_MAX: u32 = 128;

/// Connections closed in one turn: a million closes in one go would fill every queue on the way.
pub(crate) const TURN_CLOSES_MAX: u32 = 1_024;

/// Longest sleep of a thread, milliseconds: how late it can notice that a second has passed.
pub(crate) const SLEEP_MS_MAX: u64 = 50;

/// Time between two snapshots of a thread's counters, milliseconds.
pub(crate) const SNAPSHOT_MS: u64 = 50;

/// Time between two snapshots of a thread's histograms (some 200 KiB each), milliseconds.
pub(crate) const HISTOGRAM_MS: u64 = 500;

/// Snapshots in flight between all threads and the conductor. When it is full a thread keeps adding to its own.
pub(crate) const SNAPSHOTS_MAX: usize = 1_024;

/// Failures that are kept with their text, over all threads. The rest is only counted.
pub(crate) const EXAMPLES_MAX: usize = 8;

/// Time for the closing handshakes at the end, once no further ones complete, milliseconds.
pub(crate) const CLOSE_MS_MAX: u64 = 5_000;

/// Time after the peer's close frame in which it has to end the TCP connection, milliseconds. RFC 6455 section
/// 7.1.1 lets the server go first; one that does not is no failure.
pub(crate) const LINGER_MS: u64 = 2_000;

/// Pause between the end of opening and the first message, milliseconds: every thread has heard of it by then.
pub(crate) const START_DELAY_MS: u64 = 50;

/// In closed-loop fan-out, time without any delivery after which what is outstanding counts as lost and the window
/// opens again, milliseconds.
pub(crate) const STALL_MS: u64 = 1_000;

/// Wait between looks at the other threads' deliveries in closed-loop fan-out, microseconds.
pub(crate) const WINDOW_POLL_US: u64 = 100;

/// Latencies are recorded from 64 ns (finer differences mean nothing) ...
pub(crate) const LATENCY_NS_MIN: u64 = 64;

/// ... to 10 minutes, where longer ones are cut off.
pub(crate) const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// Significant decimal digits of a latency.
pub(crate) const LATENCY_DIGITS: u8 = 3;

/// Characters of the key that agents and controllers share, at least: 128 bits if they are hexadecimal digits.
pub(crate) const AGENT_KEY_BYTES_MIN: usize = 32;

/// A message between controller and agent, bytes: a result with all its histograms has some hundred thousand.
pub(crate) const AGENT_MESSAGE_BYTES_MAX: usize = 8 << 20;

/// Time in which a controller proves its key to an agent, milliseconds: two round trips. Also the time that one with the key waits
/// for the agent to be done with the controller before it, which may have to close its connections.
pub(crate) const AGENT_PATIENCE_MS: u64 = 10_000;

/// Proofs that an agent hears at once. One more ends the oldest, so that who has the key, and needs two round trips, comes through
/// unless so many strangers connect in that time.
pub(crate) const AGENT_PROOFS_MAX: usize = 64;

/// Silence after which an agent gives a controller up, milliseconds: controllers send a sign of life each second.
pub(crate) const AGENT_SILENCE_MS: u64 = 30_000;

/// Tickets of TLS sessions that a thread keeps, some kilobyte each: one for each of a hundred thousand clients that are cut off
/// together and come back before there are new ones.
pub(crate) const TICKETS_MAX: usize = 128 * 1024;

/// The buffer for what TLS has deciphered is kept up to this size, bytes.
pub(crate) const TLS_PLAIN_BYTES: usize = 1 << 20;

/// The generator's own delay, microseconds, below which it is no bottleneck: timers and schedulers cost as much.
pub(crate) const LAG_US_MIN: f64 = 1_000.0;

/// The share of a latency from which on the generator's own delay spoils it, both at the 90th percentile: a hiccup of the
/// machine reaches the 99th.
pub(crate) const LAG_SHARE_MAX: f64 = 0.5;

/// Server metrics of one run that are kept, of those that changed.
pub(crate) const METRICS_MAX: usize = 40;

/// What a server's metrics take, bytes.
pub(crate) const METRICS_BYTES_MAX: u64 = 16 << 20;

/// Time for one look at them, milliseconds.
pub(crate) const SCRAPE_MS_MAX: u64 = 2_000;

/// Share of a core from which on a thread of the generator counts as saturated.
pub(crate) const BUSY_SHARE: f64 = 0.9;

/// How long one case of the Autobahn suite may take: longer than the suite itself gives any.
pub(crate) const CONFORM_SECONDS_MAX: u64 = 600;

const _: () = assert!(PUBLICATION_BYTES_MAX < PAYLOAD_BYTES_MAX);
const _: () = assert!(LARGE_MESSAGE_BYTES < ARENA_BYTES);
const _: () = assert!(ARENA_BYTES_MIN < ARENA_BYTES && LARGE_MESSAGE_BYTES <= ARENA_BYTES_MIN);
const _: () = assert!(SNAPSHOT_MS <= HISTOGRAM_MS);
const _: () = assert!(AGENT_PATIENCE_MS < AGENT_SILENCE_MS);
const _: () = assert!(LATENCY_NS_MIN < LATENCY_NS_MAX);
