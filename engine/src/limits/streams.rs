//! Of what is kept of channels, and of reading it.

/// Publications that one history may keep. More want a data base.
pub const HISTORY_SIZE_MAX: u32 = 1 << 20;

/// Longest time that anything of a history is kept: a year.
pub const HISTORY_TTL_MS_MAX: u64 = 365 * 24 * 3_600_000;

/// What a kept publication is reckoned to take beside its bytes: its record, its shares of allocations, its place in the ring.
pub const STORED_OVERHEAD_BYTES: usize = 192;

/// What a stream is reckoned to take beside its publications and its name: its record, and its place among the names.
pub const STREAM_OVERHEAD_BYTES: usize = 160;

/// In so long every stream is looked at once for what has had its time. What is over is never served, however long its memory waits
/// for that.
pub const SWEEP_MS: u64 = 60_000;

/// Between two looks at some of them.
pub const SWEEP_EVERY_MS: u64 = 100;

/// Streams that one turn looks at: four million in [`SWEEP_MS`]; more take longer.
pub const STREAMS_SWEPT_PER_TURN: u32 = 8 * 1024;

/// Streams without publications that are passed over to find one that can give memory back. What is over the ceiling then waits for the
/// next publication.
pub const STREAMS_TRIED: usize = 64;

/// Bytes of one recovery or page of history, beside one publication of any size. Who missed more cannot be recovered; a page is
/// shorter. A connection's outbox holds as much by default.
pub const READ_BYTES_MAX: usize = 1 << 20;

/// Reads of streams that a shard has open at owners, its own hub included, and that it opens in one turn. Others wait for their turn, so that clients which come back
/// all at once cannot fill the memory with what they missed.
pub const READS_OPEN_MAX: usize = 64;

/// Reads that may wait. A further one is refused (111).
pub const READS_WAITING_MAX: usize = 256 * 1024;

/// Views that came while a review was under way and that streams are held against. If there are more, no stream's owner is certain,
/// and all begin anew.
pub const VIEWS_PASSED_MAX: usize = 8;

/// Channels that one turn asks further up whether something was missed.
pub const CHECKS_PER_TURN: u32 = 256;

/// Channels that one turn looks at for it.
pub const CHECK_LOOKS_PER_TURN: u32 = 8 * 1024;

/// Between two looks at some of them.
pub const CHECK_EVERY_MS: u64 = 50;

const _: () = assert!(READS_WAITING_MAX < 1 << 20, "a read has 20 bits for its place");
const _: () = assert!(
    (READ_BYTES_MAX as u64) < roadstead_protocol::RELAY_FRAME_BYTES_MAX as u64 / 2,
    "an answer fits into one frame, with a publication of any size"
);
