//! Every fixed number of the benches, with the reason for it.

/// Slots of a floor's direct-descriptor table. The kernel refuses a table larger than RLIMIT_NOFILE,
/// which is 20,000 on the reference machine; no bench opens more than 18,000 connections. A connection
/// beyond the table is refused by the kernel.
pub const FLOOR_SLOTS: u32 = 19_000;

/// Bytes of one receive buffer of a floor: 64 KiB holds 16 messages of 1 KiB in one receive, and larger
/// buffers gained nothing.
pub const FLOOR_BUFFER_BYTES: usize = 64 * 1024;

/// Receive buffers an io_uring floor provides. One turn completes a few dozen receives; twice that keeps
/// the ring from running dry while sends still hold buffers, and more memory only cools the caches.
pub const FLOOR_BUFFERS: u16 = 128;

/// Submission entries of a floor's ring: two for each connection of an echo turn.
pub const FLOOR_SUBMISSIONS: u32 = 1024;

/// Completion entries of a floor's ring. A full completion queue ends multishot requests, so it holds
/// what a fan-out to 5,000 subscribers can fail with at once.
pub const FLOOR_COMPLETIONS: u32 = 16_384;

/// Accepts in flight of the exchange floor: as many handshakes as the load generator has in progress are taken in a few
/// rounds.
pub const EXCHANGE_ACCEPTS: u32 = 64;

/// Rest of the exchange floor between two rounds: at a million connections 200 pings and 200 pongs fall into it, and going
/// round 53 rings for them costs a hundredth of a core.
pub const EXCHANGE_REST_MS: u64 = 5;

/// Entries in the table of connections for each connection of a run: one for each of its two ends, and as many free.
pub const TABLE_ENTRIES_EACH: u64 = 4;

/// Most entries that the kernel takes (`tcp_child_ehash_entries`, ip-sysctl).
pub const TABLE_ENTRIES_MAX: u64 = 1 << 24;

/// A server is given room for this part more than its connections, and at least [`ROOM_MIN`] more: the kernel spreads them
/// over shards by a hash, not evenly.
pub const ROOM_PARTS: u32 = 10;

/// See [`ROOM_PARTS`].
pub const ROOM_MIN: u32 = 1_000;

/// Connections of one shard or thread on epoll where each has a descriptor table of its own: below the 20,000 of the
/// reference machine by what the hash spreads unevenly.
pub const TABLE_CONNECTIONS: u32 = 16_000;

/// Seconds for one connection to open while a million do.
pub const OPENING_TIMEOUT_S: u32 = 60;

/// Seconds after the last connection opened in which the processor time of the hold is not counted.
pub const HOLD_SETTLE_S: f64 = 4.0;

/// Seconds of silence at least: those whose processor time is not counted, and two that are.
pub const HOLD_S_MIN: u32 = 6;

/// Seconds of silence or of publications at most, a day: longer ones are a slip of the finger.
pub const HOLD_S_MAX: u32 = 86_400;

/// Most connections that can be asked for: below the 16 million that the load generator takes, and the 20 million of a server.
pub const CONNECTIONS_MAX: u32 = 14_000_000;

/// Publications per second at most: beyond any load generator.
pub const RATE_MAX: u32 = 1_000_000;

/// Seconds of silence at each step of the curve: a round of pings after what is not counted.
pub const CURVE_HOLD_S: u32 = 30;

/// Seconds between two lines about a phase that goes on.
pub const SAY_S: f64 = 10.0;

/// Seconds for a server without connections to end.
pub const STOP_S: u64 = 20;

/// Sends of one submission of the io_uring fan-out floor: past 256 the rate no longer rose.
pub const FAN_OUT_BATCH: usize = 256;

/// Bytes of one message of the fan-out floor when Roadstead is not there to tell: a JSON push of 128 bytes
/// of data with its sender, and its frame header.
pub const FAN_OUT_MESSAGE_BYTES: usize = 250;

/// Events taken from epoll in one wait, by the floors and by the driver.
pub const EVENTS: usize = 512;

/// Pending connections of a floor's listener; the kernel caps it at net.core.somaxconn.
pub const BACKLOG: i32 = 4096;

/// Bytes the driver reads or discards in one receive. Above the largest amount one connection can have
/// outstanding (16 messages of 16 KiB), so that one receive empties the socket.
pub const DRIVE_RECEIVE_BYTES: usize = 512 * 1024;

/// Connections the driver has in set-up at the same moment: enough to keep a server busy, below any
/// listen backlog.
pub const OPENING: usize = 128;

/// Channels of idle sessions with several subscriptions each: as in a service whose users share rooms, most of the memory is
/// then that of the subscription and not of the channel.
pub const IDLE_CHANNELS: usize = 1_000;

/// Subscribers of the fan-out by many shards: 15 on each of 64.
pub const SHARDS_SUBSCRIBERS: usize = 1_000;

/// Rounds of opening in which enough sessions on one shard are sought: of two shards each gets half, so that after twenty
/// rounds a millionth would be missing.
pub const PLACING_ROUNDS: usize = 40;

/// Connections whose memory over TLS is measured: each takes some 20 KiB at the driver's end, and two thirds of a millisecond to
/// open.
pub const TLS_IDLE_CONNECTIONS: usize = 6_000;

/// Part of the time of other benches that one over TLS gets: with it a whole run stays below half an hour.
pub const TLS_TIME_SHARE: f64 = 2.0 / 3.0;

/// Seconds without any progress after which the driver gives up and says so.
pub const STALL_S: u64 = 10;

/// Share of one core above which a process counts as saturated.
pub const SATURATED_SHARE: f64 = 0.97;

/// Cores kept busy by others above which a measurement is disturbed. Below it lie the kernel's own threads
/// and the coarseness of its clock (10 ms on each core).
pub const DISTURBED_SHARE: f64 = 0.1;

/// Tries of a measurement that is disturbed; the last one is kept and marked.
pub const TRIES: usize = 4;

/// Seconds between two tries: others rarely work in bursts shorter than that.
pub const PAUSE_S: u64 = 5;

/// Seconds without a word after which a node that starts is given up: nodes that start together serve within
/// about 12 s, and more than twice that is no longer slowness.
pub const JOIN_S: u64 = 30;

/// Bytes of the longest answer taken from an admin address; the metrics of a node are a tenth of it.
pub const ANSWER_BYTES: u64 = 1024 * 1024;

/// Microseconds of one batch of a codec operation: a thousand times what reading the clock takes.
pub const CODEC_BATCH_US: u64 = 2_000;

/// Pairs of batches of a codec operation and its floor: enough for a median that other work does not move.
pub const CODEC_PAIRS: usize = 25;

/// Repetitions of an operation under callgrind: what comes once for all of them is then below one instruction each.
pub const CODEC_COUNTED: u64 = 1_000;

/// Repetitions before the counting begins.
pub const CODEC_WARM_UP: u64 = 10;

/// Subscriptions of each client that comes back.
pub const COMEBACK_SUBSCRIPTIONS: u32 = 20;

/// Seconds before everybody is cut off: what the server takes in them is what it takes without a storm.
pub const COMEBACK_QUIET_S: u32 = 5;

/// Good clients of a hostile round, each with an address and a user of its own.
pub const HOSTILE_GOOD: usize = 1_000;

/// Messages that they send to each other in a second: one each.
pub const HOSTILE_RATE: usize = 1_000;

/// Seconds of attack before latencies are measured: everybody has come, and the first are being banned.
pub const HOSTILE_WARM_UP_S: u32 = 3;

/// Seconds until an attacker comes back that the server has closed: 2,000 of them make 4,000 attempts a second at most, which
/// leaves the generators' core to spare.
pub const HOSTILE_AWAY_MS: u64 = 500;

/// Commands of one frame of those that flood with them: ten frames a second pass the 20 a second that guards allow at once.
pub const HOSTILE_SUBSCRIBES: usize = 50;

/// Bytes of a bomb as it is sent: within what one message may have, while 158 times as many are not.
pub const HOSTILE_BOMB_BYTES: usize = 16 * 1024;

/// Bytes of noise that an attacker sends at once.
pub const HOSTILE_NOISE_BYTES: usize = 4 * 1024;

/// Attackers that are neighbours in the table begin so many places apart: it has no divisor in common with their number.
pub const HOSTILE_STRIDE: usize = 777;

/// The p99 of good clients under attack, at most so many times the quiet one.
pub const HOSTILE_P99_RATIO: f64 = 2.0;

/// Bytes of memory that an attacker may cost beside twice what it says, as in `tests/hostile/corpus.toml`.
pub const HOSTILE_BYTES_EACH: u64 = 64 * 1024;

const _: () = assert!(COMEBACK_QUIET_S > 1);
const _: () = assert!(HOLD_S_MIN as f64 >= HOLD_SETTLE_S + 2.0 && CURVE_HOLD_S >= HOLD_S_MIN);
const _: () = assert!(JOIN_S > 2 * 12);
const _: () = assert!(FLOOR_SLOTS > 18_000 && FLOOR_SLOTS < 20_000);
const _: () = assert!(FLOOR_BUFFERS.is_power_of_two());
const _: () = assert!(FLOOR_COMPLETIONS > 5_000 && FLOOR_COMPLETIONS.is_power_of_two());
const _: () = assert!(FAN_OUT_BATCH <= FLOOR_SUBMISSIONS as usize);
const _: () = assert!(DRIVE_RECEIVE_BYTES > 16 * (16 * 1024 + 14));
