//! Of the server API, and of its errands.

use super::OWNER_WAIT_MS;

/// Keys of the server API: one for each back end, and as many for the days in which they change.
pub const API_KEYS_MAX: usize = 64;

/// Connections of the address that serves the server API alone. Back ends keep a few each; beyond, as on an admin listener.
pub const API_CONNECTIONS_MAX: usize = 256;

/// Body of a request to the server API, bytes. A larger one gets 413.
pub const API_BODY_BYTES_MAX: usize = 4 << 20;

/// Bodies that are read, or being carried out, at once, bytes. Beyond, a request gets 503.
pub const API_BODIES_BYTES_MAX: usize = 64 << 20;

/// How long the body of a request may take to come. Who is later gets 408.
pub const API_BODY_MS: u64 = 10_000;

/// Commands, and channels of broadcasts, of one request. What an answer holds for each is many times their bytes. Beyond: error 106.
pub const API_COMMANDS_MAX: usize = 32_768;

/// Asks of the server API that one shard has in hand. A further one waits its turn, so this is also what a back end has in flight: enough to
/// keep a shard busy over the way to another node, few enough that clients hardly wait behind them.
pub const API_ASKS_MAX: usize = 1_024;

/// Asks that a shard takes in one turn; between them clients are heard.
pub const API_ASKS_PER_TURN: usize = 256;

/// How long an ask may wait for its turn; then error 111.
pub const API_ADMISSION_MS: u64 = 1_000;

/// How long a shard may take to answer: longer than an owner elsewhere may ([`OWNER_WAIT_MS`]). Then error 100.
pub const API_ANSWER_MS: u64 = 3_500;

/// Idempotency keys that a node remembers. With more than these in five minutes, the oldest are forgotten early.
pub const API_IDEMPOTENCY_KEYS_MAX: usize = 65_536;

/// Length of an idempotency key, bytes. A longer one is a bad request.
pub const API_IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// How long an idempotency key is remembered.
pub const API_IDEMPOTENCY_MS: u64 = 300_000;

/// Errands of the server API that one shard has open, for the process or for another node; one more is refused (111).
pub const ERRANDS_MAX: usize = 1_024;

/// Connections of one shard to which errands of the server API are still to be done. Beyond, errands for users are refused (111).
pub const ERRAND_WORK_MAX: usize = 64 * 1024;

/// Connections that errands of the server API are done to in one turn.
pub const ERRANDS_PER_TURN: usize = 256;

/// Channels that are looked at in one turn for a list of channels: tens of microseconds.
pub const ERRAND_CHANNELS_LOOKED_PER_TURN: u32 = 4_096;

/// Channels of one shard in a list, and the bytes of their names. Who has more narrows the pattern (106): on its way from another node a
/// list waits in the queue of a link, beside what must not be lost.
pub const ERRAND_CHANNELS_MAX: usize = 4_096;
/// See [`ERRAND_CHANNELS_MAX`].
pub const ERRAND_CHANNELS_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(ERRANDS_MAX < 1 << 24, "a request has 24 bits for its place");
const _: () = assert!(API_ANSWER_MS > OWNER_WAIT_MS);
const _: () =
    assert!(API_BODY_BYTES_MAX <= API_BODIES_BYTES_MAX && API_BODIES_BYTES_MAX <= u32::MAX as usize);
