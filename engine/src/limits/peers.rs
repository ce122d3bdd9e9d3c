//! Of links to other nodes.

/// How long two nodes may take to greet each other, from dialling or accepting to a link that is up. Three messages need far
/// less over any distance; who is slower is closed, and dialled again.
pub const PEER_GREETING_MS: u64 = 5_000;

/// Accepted sockets of a shard that have not proven the cluster's key. A fleet of 1,000 nodes that starts at once comes in
/// waves of back-off; anybody else who dials costs at most these. A further one takes the place of the oldest, if that had
/// its time, else it is closed.
pub const PEER_GREETINGS_MAX: usize = 256;

/// How long an unproven socket keeps its place against newcomers. A greeting takes two ways there and back.
pub const PEER_GREETING_PLACE_MS: u64 = 1_000;

/// How long a refused socket stays open, so that the refusal arrives before the reset that a close can cause.
pub const PEER_REFUSED_MS: u64 = 1_000;

/// Letters of a peer's or of our own words about a refusal that are said or logged.
pub const PEER_WORDS_MAX: usize = 200;

/// Silence of a peer after which it is asked whether it is there.
pub const PEER_PING_MS: u64 = 2_000;

/// Silence of a peer after which its link is dead: two questions went unanswered, and gossip, which is told at
/// once, needs about as long to find a death by itself.
pub const PEER_SILENCE_MS: u64 = 6_000;

/// First and longest pause before a link is dialled again, before jitter. The first outlasts a restart of a listener, the
/// longest is what a healed network may cost.
pub const PEER_RETRY_MS: (u64, u64) = (100, 5_000);

/// Longest pause after a refusal for a View that differs: Views of one fleet agree within a second or two.
pub const PEER_RETRY_VIEW_MS_MAX: u64 = 1_000;

/// For so long Views may differ without a word: a newcomer has none before its window, and others see it first.
pub const PEER_VIEWS_MEET_MS: u64 = 15_000;

/// A session that lived this long shows that the next pause may be the first again.
pub const PEER_SETTLED_MS: u64 = 10_000;

/// Largest queue of a link, bytes: twice it and one frame must be sent as one payload, whose length has 32 bits.
pub const PEER_QUEUE_BYTES_MAX: usize = 1 << 30;

/// Buffers of sent payloads that the links of a shard keep for reuse.
pub const PEER_SPARE_BATCHES: usize = 16;

/// What a publication's frame is reckoned to need beside the bytes it carries: 40 at most in version 1 of the relay.
pub const PEER_FRAME_OVERHEAD_BYTES: usize = 64;

/// Things about peers that wait to be logged; more are only counted.
pub const PEER_EVENTS_MAX: usize = 64;

/// One thing about a peer, or about an address that is none, is logged in this time; more are only counted.
pub const PEER_EVENT_INTERVAL_MS: u64 = 10_000;

const _: () = assert!(PEER_VIEWS_MEET_MS as u128 > roadstead_control::limits::STABILITY_WINDOW.as_millis());
const _: () = assert!(PEER_PING_MS * 3 <= PEER_SILENCE_MS && PEER_REFUSED_MS < PEER_GREETING_MS);
const _: () =
    assert!(2 * PEER_QUEUE_BYTES_MAX + roadstead_protocol::RELAY_FRAME_BYTES_MAX + 1024 <= u32::MAX as usize);
