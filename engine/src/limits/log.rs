//! Of the durable log.

/// Segment of the log from which on another one is begun, bytes. Cleaning holds one in memory; a terabyte is some ten thousand open
/// files.
pub const LOG_SEGMENT_BYTES: u32 = 32 << 20;

/// One record of the log, bytes, with its channel's name; a publication that needs a larger one is refused.
pub const LOG_RECORD_BYTES_MAX: usize = 8 << 20;

/// Records of one append, bytes, written in one group; more are refused.
pub const LOG_GROUP_WRITE_BYTES_MAX: usize = 2 * LOG_RECORD_BYTES_MAX;

/// Name of a channel in the log, bytes: its length has 16 bits.
pub const LOG_CHANNEL_BYTES_MAX: usize = u16::MAX as usize;

/// Appends that are written and synced together. While a group is on its way to the disk, the next one gathers.
pub const LOG_GROUP_APPENDS_MAX: usize = 4 * 1024;

/// Bytes of a group after which it takes no further append: what a disk writes in some milliseconds.
pub const LOG_GROUP_BYTES: usize = 4 << 20;

/// Jobs of a node that wait for its log, shared evenly by its shards: a few groups. A further one is refused for now (111).
pub const LOG_QUEUE_JOBS_MAX: usize = 64 * 1024;

/// Bytes of the same.
pub const LOG_QUEUE_BYTES_MAX: usize = 64 << 20;

/// What a job that waits, or a publication in one, is reckoned to need beside its bytes.
pub const LOG_JOB_OVERHEAD_BYTES: usize = 128;

/// Bytes of publications in one answer of the log; one of any size is in it.
pub const LOG_READ_BYTES_MAX: usize = 1 << 20;

/// Publications that a copy of a log reads at once.
pub const LOG_READ_COUNT_MAX: usize = 4 * 1024;

/// Publications that the log keeps: each has an entry of 32 bytes in memory, and up to as much again where rings have grown. Beyond, appends are refused for now.
pub const LOG_ENTRIES_MAX: u64 = 16 << 20;

/// Bytes that the log leaves free on its disk: cleaning needs room to make room, and others write there too. Below, appends are refused for
/// now.
pub const LOG_FREE_BYTES_MIN: u64 = 256 << 20;

/// Channels that are looked at for what is too old in one step, one step every [`LOG_TEND_MS`]: a million are through in two minutes.
pub const LOG_SWEPT_CHANNELS: usize = 1024;

/// Between two steps of what the log has to do now and then.
pub const LOG_TEND_MS: u64 = 100;

/// Bytes of a segment that are cleaned between two groups.
pub const LOG_CLEANED_BYTES: usize = 1 << 20;

/// How long publications are kept whose channel's record, which says how long, is damaged: a week, in which an operator can look.
pub const LOG_ORPHAN_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

const _: () = assert!(LOG_GROUP_WRITE_BYTES_MAX + LOG_GROUP_BYTES < LOG_SEGMENT_BYTES as usize);
const _: () = assert!((LOG_SEGMENT_BYTES as u64) * 4 <= LOG_FREE_BYTES_MIN);
