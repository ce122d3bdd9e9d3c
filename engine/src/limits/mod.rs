//! Every fixed number of the engine: why this number, and what happens when it is reached.
//!
//! What an operator may change is in the settings; what stands here is part of the design.

mod api;
mod log;
mod peers;
mod streams;

pub use api::*;
pub use log::*;
pub use peers::*;
pub use streams::*;

/// Shards of one node. A channel's interested shards are one 64-bit set; more shards are refused at start.
pub const SHARDS_MAX: u16 = 64;

/// Links to another node where no setting says otherwise: enough to spread the work over shards, few enough that a
/// thousand nodes need some thousand sockets each.
pub const LINKS_PER_PEER_DEFAULT: u16 = 4;

/// Connections that may wait to be accepted where no setting says otherwise: as many as the kernel can count. It takes fewer
/// where `net.core.somaxconn` is less.
pub const BACKLOG_DEFAULT: u32 = 65_535;

/// Seeds that a node can be told. They are asked in turn; a fleet is found through any one of them.
pub const SEEDS_MAX: usize = 64;

/// Socket slots of a shard beyond its share of `limits.connections`, so that a client over the limit still gets
/// its 503 instead of silence. When these are used up too, accepting pauses and clients wait in the backlog.
pub const REFUSAL_SLOTS: u32 = 64;

/// How long a connection may take one of those slots for its request, and how long for hearing the 503. Who waits behind
/// silent ones gets its own that much later, so it is short; an answer from far away comes within it.
pub const REFUSAL_MS: u64 = 1_000;

/// Of those slots, how many may be taken by strangers that the guards refuse. Beyond, they are closed without a word: a flood of them
/// must not keep others from their 503.
pub const REFUSALS_POLITE_MAX: u32 = REFUSAL_SLOTS / 2;

/// Header of the PROXY protocol, bytes. Addresses take 52 and what proxies add to them some hundred; a longer one is refused.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 * 1024;

/// Sources in one part of the guards' table at most: sixteen million in all.
pub const SOURCES_EACH_MAX: usize = 256 * 1024;

/// Sources among which the one is given up that has least to remember. Few enough to look at for each newcomer; the more, the surer
/// is who did wrong remembered.
pub const SOURCES_COMPARED: usize = 16;

/// Bans in one answer. Who looks at more wants a metric.
pub const BANS_SHOWN_MAX: usize = 1_000;

/// Sources of one answer for each measure: those that stand out most.
pub const SOURCES_SHOWN_MAX: usize = 20;

/// Sources of the metrics for each measure. Each is a series, and others take its place as time passes.
pub const SOURCES_MEASURED_MAX: usize = 5;

/// Bans that are logged one by one in a second; more are only counted.
pub const GUARD_NEWS_MAX: usize = 8;

/// Socket slots of a shard for links to other nodes: a thousand nodes whose links are spread over the shards, and those
/// that greet. When they are used up, further nodes are dialled or accepted later.
pub const LINK_SLOTS: u32 = 1_536;

/// Receive arena of a shard, bytes: what one turn reads at most. Small enough that what is made of it, or sent from
/// it, is still in the second-level cache, beside the kernel's own buffers.
pub const ARENA_BYTES: usize = 256 * 1024;

/// Bytes that messages are inflated to in one turn. Twice what a turn reads at most; the messages behind them are heard in
/// later turns, since an octet of a deflated message can be a thousand of commands.
pub const INFLATED_BYTES_PER_TURN: usize = 256 * 1024;

/// Deliveries of publications made in one turn. A larger fan-out goes on in the next turn, so that other sockets
/// are served in between; io_uring batches reach their best rate from about 256.
pub const DELIVERIES_PER_TURN: usize = 512;

/// Messages taken from the mailbox in one turn; the rest waits for the next one.
pub const MESSAGES_PER_TURN: usize = 1024;

/// Publications of one channel that are fanned out as one write. More wait for the next walk.
pub const PUBLICATIONS_PER_WALK: usize = 256;

/// Payload bytes that may wait for a channel's running walk, beside one publication of any size. Beyond: as above.
pub const CHANNEL_QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// Payload bytes after which a walk takes no further publication, so that its written form stays small.
pub const BYTES_PER_WALK: usize = 256 * 1024;

/// Bytes copied into one coalesced send. Larger backlogs need several turns.
pub const SEND_BYTES: usize = 64 * 1024;

/// Publications that may wait for a channel's running walk. A further one is refused at its source (111) or, past
/// the hub, counted as a gap.
pub const CHANNEL_QUEUE: usize = 4096;

/// Rings that an outbox pool keeps for reuse; the rest of a storm goes back to the allocator. A turn that speaks twice
/// to many sockets takes a ring for each of them, for the length of the turn only.
pub const SPARE_RINGS: usize = 64;

/// Blocks of each size that the inbound pool keeps for reuse.
pub const SPARE_BLOCKS: usize = 64;

/// Largest block that is kept for reuse, bytes; messages beyond it are rare.
pub const SPARE_BLOCK_BYTES_MAX: usize = 64 * 1024;

/// Namespaces of one configuration. Each is a set of rules, not of channels; more than these want a back end that decides.
pub const NAMESPACES_MAX: usize = 1_024;

/// Length of a namespace's name, bytes: it is a part of channels' names, and leaves them room.
pub const NAMESPACE_BYTES_MAX: usize = 64;

/// Length of a `channel_regex`, bytes.
pub const CHANNEL_PATTERN_BYTES_MAX: usize = 1_024;

/// Memory that one compiled `channel_regex` may take, and as much again in each shard for what it has matched, bytes. What needs
/// more is refused as a setting: it counts too far.
pub const CHANNEL_PATTERN_MEMORY_BYTES: usize = 256 * 1024;

/// Largest `limits.handshake_bytes`: what the reader of upgrade requests takes.
pub const HANDSHAKE_BYTES_MAX: u32 = 8 * 1024;

const _: () = assert!(HANDSHAKE_BYTES_MAX as usize == wsproto::limits::HEAD_BYTES_MAX);

/// Smallest inbound block, bytes. Blocks double up to the message limit.
pub const BLOCK_BYTES_MIN: usize = 4 * 1024;

/// Channels without subscribers that keep their interest. Beyond, the longest vacant one is given up at once, so that
/// names that come and go leave nothing behind.
pub const CHANNELS_VACANT_MAX: usize = 16 * 1024;

/// Timers that fire in one turn. Where thousands are due together, those who speak meanwhile are heard in
/// between.
pub const TIMERS_PER_TURN: usize = 128;

/// Messages kept for one full mailbox. Beyond, subscriptions that would need another one are refused (111).
pub const BACKLOG_MESSAGES_MAX: usize = 16 * 1024;

/// A channel without subscribers keeps its interest this long, so that a client that comes straight back costs no
/// message between shards.
pub const VACANCY_MS: u64 = 5_000;

/// How long an owner on another node may take to answer. SDKs give a request up after 5 s, and an answer of ours must come
/// first; a subscriber that is held for so long is answered with a temporary error.
pub const OWNER_WAIT_MS: u64 = 3_000;

/// Pause before a publication or an interest that was refused by a node that is not the owner is tried again: Views
/// differ for about as long as a change of membership travels.
pub const OWNER_PAUSE_MS: u64 = 250;

/// How often a publication is sent to an owner. Beyond, the Views differ for longer than its answer can wait.
pub const OWNER_TRIES_MAX: u8 = 8;

/// Publications of one hub that wait for owners on other nodes. Beyond, further ones are refused at their source (111).
pub const PUBLISHES_MAX: usize = 16 * 1024;

/// Payload bytes of the same.
pub const PUBLISHES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Channels, or users, that one turn looks at while all of them are reviewed after a change of the View or a link. Small,
/// since others wait meanwhile; a million are through in two thousand turns.
pub const REVIEWED_PER_TURN: usize = 512;

/// Between two digests to a node. A silent difference is found within two of them.
pub const DIGEST_EVERY_MS: u64 = 10_000;

/// Questions for the whereabouts of users that one hub has open at other nodes. Operators ask them, one by one.
pub const LOCATES_MAX: usize = 1_024;

/// Plain bytes of one TLS record (RFC 8446 section 5.1).
pub const TLS_FRAGMENT_BYTES: usize = 16 * 1024;

/// Room tried first for what encryption adds to a record: header, content type and tag, in every suite that is offered.
pub const TLS_OVERHEAD_BYTES: usize = 64;

/// Room tried first for a handshake record; a certificate chain asks for more.
pub const TLS_ROOM_BYTES: usize = 2 * 1024;

/// Incomplete input that a stream may keep: one whole record (RFC 8446 section 5.2), or a handshake message as long as
/// one. More ends the connection; so does the budget for incomplete input of the shard.
pub const TLS_PENDING_BYTES_MAX: usize = TLS_FRAGMENT_BYTES + 2 * 1024;

/// Certificates of one node besides the first. Each client's host is looked up by name; more hosts than these want a proxy that
/// reads certificates as they are asked for.
pub const TLS_CERTIFICATES_MAX: usize = 1_024;

/// TLS handshakes that begin in one turn. Each takes the time of hundreds of messages (a millisecond with an RSA key), and
/// whoever is served already is heard between two turns.
pub const HANDSHAKES_PER_TURN: usize = 4;

/// Connections of a shard that wait for their handshake to begin, with their first record each. A further one is closed, and its
/// client comes back when it likes.
pub const HANDSHAKES_WAITING_MAX: usize = 8 * 1024;

/// Seconds for which one key makes session tickets; it opens them for as long again. Short, since whoever learns the key can read
/// what TLS 1.2 clients said in that time; long enough that clients which come back within hours resume.
pub const TLS_TICKET_PERIOD_S: u32 = 6 * 60 * 60;

/// A certificate is near its end when so little of its time is left, unless a sixth of all of it is less: renewals are due long
/// before, at a third.
pub const TLS_EXPIRY_NEAR_S: i64 = 14 * 24 * 60 * 60;

/// Connections of one admin listener. Probes, Prometheus and a few browsers need fewer; a further one takes the place of
/// the one that has been idle longest.
pub const ADMIN_CONNECTIONS_MAX: usize = 32;

/// How long an admin connection may take for the whole head of a request, and be idle before it. Who asks asks at once, and a
/// probe or a page comes with a new connection otherwise; who is late is closed.
pub const ADMIN_HEAD_MS: u64 = 5_000;

/// Percent of the connections that a node may have from which on it is full, and below which it is not full any more. Its shards
/// fill up almost evenly, and from here on the first of them refuse; between the two nothing changes, so that balancers are not
/// told something else with every client that leaves.
pub const FULL_PERCENT: u64 = 99;

/// See [`FULL_PERCENT`].
pub const ROOM_PERCENT: u64 = 95;

/// What the kernel keeps for an idle connection, bytes: its socket 3,865, an armed poll 256 (measured; the table in
/// `kernel-tuning` has the same numbers).
pub const CONNECTION_KERNEL_BYTES: u64 = 4_121;

/// What this process keeps for an idle connection with a user and a channel of its own, bytes.
pub const CONNECTION_PROCESS_BYTES: u64 = 612;

/// What TLS adds to that, bytes.
pub const CONNECTION_TLS_BYTES: u64 = 3_850;

/// What a node keeps before its first connection, bytes, beside what each shard does (measured: `benches/runs/2026-11-24-fourth`).
pub const NODE_BYTES: u64 = 10 << 20;

/// What a shard keeps before its first connection, bytes: 1.6 MiB with either back end, and what its first connections touch.
pub const SHARD_BYTES: u64 = 7 << 18;

/// Percent of the machine's memory, or of the control group's, that are the memory ceiling where no setting says otherwise. The
/// rest is for what is under way in sockets' buffers, the kernel, and others on the machine.
pub const MEMORY_PERCENT: u64 = 80;

/// Percent of a memory ceiling that was reached, below which clients are let in again.
pub const MEMORY_ROOM_PERCENT: u64 = 95;

/// Smallest memory ceiling: below it the process itself would not fit.
pub const MEMORY_BYTES_MIN: u64 = 16 << 20;

/// Idle time after which the kernel probes a silent peer. Clients of the client protocol are pinged long before; this
/// finds dead peers of `/echo` at a cost that a million connections do not feel.
pub const KEEPALIVE_S: u64 = 600;

/// Longest token, bytes. One that names a hundred channels has a few thousand; each byte is hashed before anything is known of
/// whoever sent it. A longer one is not read.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Tokens of a node that wait for a verifier, shared evenly by its shards. Two verifiers take a quarter of a second for as many
/// signatures with elliptic keys; a further one is refused for now (111), and its client comes back.
pub const VERIFICATIONS_WAITING_MAX: usize = 8 * 1024;

/// Verdicts that a shard hears in one turn; each may open a session with all its subscriptions.
pub const VERDICTS_PER_TURN: usize = 256;

/// Bytes that clients of a shard have said behind a token that is not judged yet. Whoever says more is closed with 3013.
pub const SAID_WAITING_BYTES_MAX: usize = 16 << 20;

/// What a message that waits so is reckoned to need beside its bytes.
pub const SAID_WAITING_OVERHEAD_BYTES: usize = 64;

/// Public keys in files for one kind of token. A token that names none may have to be tried with each.
pub const PUBLIC_KEYS_MAX: usize = 4;

/// Keys of one key set. Identity providers have two or three, and as many again while they change them.
pub const JWKS_KEYS_MAX: usize = 64;

/// A key set, or a file of keys, bytes: [`JWKS_KEYS_MAX`] keys with their certificates fit.
pub const KEY_FILE_BYTES_MAX: u64 = 256 << 10;

/// Name of a key, bytes; a key with a longer one cannot be asked for.
pub const KID_BYTES_MAX: usize = 256;

/// Address that a key set is fetched from, bytes: more than any server takes in a request line.
pub const WEB_ADDRESS_BYTES_MAX: usize = 2_048;

/// Time for fetching a key set, from looking up the host to the last byte, ms. A client waits at most so long for a key that its token
/// names, and SDKs give a connect 5 s.
pub const JWKS_FETCH_MS: u64 = 4_000;

const _: () = assert!(JWKS_FETCH_MS < 5_000);

/// Redirects that a fetch follows. One leads from a bare host to another; a chain is a loop.
pub const JWKS_REDIRECTS_MAX: u32 = 3;

/// Head of the answer to a fetch, bytes.
pub const JWKS_HEAD_BYTES_MAX: usize = 16 << 10;

/// Between two fetches of a key set that tokens with unknown keys cause, seconds: strangers make such tokens as they like. Meanwhile one
/// is told to come back, or refused if the last fetch did not bring its key.
pub const JWKS_ASK_S: u64 = 10;

/// Names of keys that are remembered as not brought by the last fetch. Whoever names a further one is told to come back.
pub const KIDS_ABSENT_MAX: usize = 64;

/// First and longest pause after a fetch that failed, seconds; each is twice the one before, less a random part.
pub const JWKS_RETRY_S: (u64, u64) = (1, 60);

/// Bits of an RSA key: what the library verifies with.
pub const RSA_BITS_MIN: usize = 2_048;

/// See [`RSA_BITS_MIN`].
pub const RSA_BITS_MAX: usize = 8_192;

/// Subscriptions that end with their tokens in one turn; the others end in the next ones. A token for an event is over for
/// everybody in the same second.
pub const TERMS_ENDED_PER_TURN: u64 = 256;

/// Revocations of a fleet. They are for the few tokens that must not live to their end; who needs more wants tokens that live
/// shorter. One more is refused to the operator.
pub const REVOCATIONS_MAX: usize = 32 * 1024;

/// Bytes of the token ids and users among them.
pub const REVOCATIONS_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Length of a token id or of a user that is revoked: a longer user has no channel and so no connection.
pub const REVOCATION_NAME_BYTES_MAX: usize = 255;

/// How long a revocation can be in force: longer than any token should live.
pub const REVOCATION_S_MAX: u64 = 10 * 365 * 24 * 60 * 60;

/// Between two comparisons with other nodes. What was lost on the way is found within it.
pub const REVOCATIONS_TELL_MS: u64 = 10_000;

/// For so long a difference must last before it is evened out: news are on their way meanwhile, and of many nodes that know the
/// same one is asked.
pub const REVOCATIONS_SETTLE_MS: u64 = 1_000;

/// How long a part may take to come. Then another node may be asked.
pub const REVOCATIONS_PART_WAIT_MS: u64 = 5_000;

/// Revocations in one part of an answer: far less than a link's queue holds.
pub const REVOCATIONS_PART: usize = 256;

/// Connections that are looked at in one turn after something was revoked.
pub const REVOKED_LOOKS_PER_TURN: u32 = 4_096;

/// Batches of revocations that wait to be written. Those of operators are refused beyond, those of other nodes come again.
pub const REVOCATIONS_WAITING_MAX: usize = 256;

/// Longest sleep of an idle shard. The watchdog wants to see every shard turn.
pub const IDLE_WAIT_MS: u64 = 1_000;

/// Length of a timer tick. Timers are late by at most one tick. Short, so that what falls due is spread: a million clients
/// are pinged 160 in a tick, and who speaks meanwhile does not wait behind thousands.
pub const TICK_MS: u64 = 4;

/// Neighbouring connections that are pinged together: enough for memory to be walked in order, few enough that who speaks
/// meanwhile waits for their sends only, a tenth of a millisecond.
pub const PING_NEIGHBOURS: u32 = 16;

/// Slots of the timer wheel: its horizon is this many ticks, which is longer than the usual ping interval; later deadlines
/// are looked at once a round.
pub const WHEEL_SLOTS: usize = 8192;

/// A turn's buffer that grew beyond this is not kept for reuse, bytes.
pub const KEPT_BUFFER_BYTES: usize = 1024 * 1024;

const _: () = assert!(SHARDS_MAX as u32 <= u64::BITS);
const _: () =
    assert!(SHARDS_MAX <= roadstead_control::limits::NODE_SHARDS_MAX, "peers refuse hubs beyond it");
const _: () = assert!(PUBLISHES_MAX < 1 << 24, "a request has 24 bits for its place");
const _: () = assert!(OWNER_TRIES_MAX as u64 * OWNER_PAUSE_MS < OWNER_WAIT_MS);
const _: () = assert!(WHEEL_SLOTS.is_power_of_two() && WHEEL_SLOTS.is_multiple_of(64));
const _: () = assert!(ROOM_PERCENT < FULL_PERCENT && FULL_PERCENT <= 100);
const _: () = assert!(SEND_BYTES <= ARENA_BYTES);
const _: () = assert!(IDLE_WAIT_MS < 10_000, "a sleeping shard must not look stalled");
