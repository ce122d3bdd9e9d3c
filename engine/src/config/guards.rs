//! The rows of the table that are about strangers: who may come in, how many and how fast, and who may speak for others.

use std::collections::BTreeMap;

use super::entry::Origin;
use super::slot::{Place, Slot};
use super::table::{Row, fixed, live};
use crate::prefix::Prefixes;
use crate::settings::{ForwardedHeader, Guard, Settings};

/// Networks in one list. A list is searched in its logarithm; more than these are a firewall's business.
const PREFIXES_MAX: usize = 65_536;
/// A day; longer means for ever, which a list says better.
const SECONDS_MAX: u32 = 86_400;

/// A second has no more of anything that a shard could do.
const PER_S_MAX: u32 = 10_000_000;

const fn bytes(at: Place<Settings, u32>) -> Slot {
    Slot::Bytes { at, min: 0, max: u32::MAX }
}

const fn count(at: Place<Settings, u32>, max: u32) -> Slot {
    Slot::Count { at, min: 0, max }
}

const fn seconds(at: Place<Settings, u32>) -> Slot {
    Slot::Count { at, min: 1, max: SECONDS_MAX }
}

const fn prefixes(at: Place<Settings, Prefixes>) -> Slot {
    Slot::Prefixes { at, max: PREFIXES_MAX }
}

/// In the order in which they are printed, after the others.
pub(super) static ROWS: &[Row] = &[
    live(
        "guard.public",
        Slot::Flag(|s| &mut s.guard.public),
        "a server that strangers reach: the defaults of the guards are such as suit it; without it they are off",
    ),
    fixed(
        "guard.source_bits_v4",
        Slot::Count { at: |s| &mut s.guard.source_bits_v4, min: 8, max: 32 },
        "leading bits of an IPv4 address that make one source",
    ),
    fixed(
        "guard.source_bits_v6",
        Slot::Count { at: |s| &mut s.guard.source_bits_v6, min: 16, max: 128 },
        "leading bits of an IPv6 address that make one source; a customer has 64 at most, and often 56 or 48",
    ),
    fixed(
        "guard.sources",
        Slot::Count { at: |s| &mut s.guard.sources, min: 1_024, max: 16_777_216 },
        "sources that are remembered at once, some 100 bytes each as they come",
    ),
    live(
        "guard.watch",
        Slot::Flag(|s| &mut s.guard.watch),
        "remembers what sources do, for /sources and metrics, where no guard needs it",
    ),
    live(
        "guard.exempt",
        prefixes(|s| &mut s.guard.exempt),
        "sources without bound and ban: the NAT of a carrier, a load generator",
    ),
    live("guard.allow", prefixes(|s| &mut s.guard.allow), "if not empty, others get 403"),
    live("guard.deny", prefixes(|s| &mut s.guard.deny), "these get 403, also if they are allowed"),
    live(
        "guard.connections_per_source",
        count(|s| &mut s.guard.connections_per_source, 1_000_000),
        "connections of one source to this node; one more gets 429; 0: no bound; 256 where public",
    ),
    live(
        "guard.connects_per_s",
        count(|s| &mut s.guard.connects_per_s, 1_000_000),
        "new connections of one source in a second; more get 429; 0: no bound; 20 where public",
    ),
    live(
        "guard.burst_s",
        Slot::Count { at: |s| &mut s.guard.burst_s, min: 1, max: 3_600 },
        "seconds of a rate that may come at once",
    ),
    live(
        "guard.messages_per_s",
        count(|s| &mut s.guard.messages_per_s, PER_S_MAX),
        "messages and commands of one connection in a second; past the burst it is closed with 3013; 0: no bound; 100 where public",
    ),
    live(
        "guard.bytes_per_s",
        bytes(|s| &mut s.guard.bytes_per_s),
        "the same for the bytes of messages; 256KiB where public",
    ),
    live(
        "guard.subscribes_per_s",
        count(|s| &mut s.guard.subscribes_per_s, PER_S_MAX),
        "subscribe commands of one connection in a second; more are answered with error 111; 0: no bound; 20 where public",
    ),
    live(
        "guard.connections_per_user",
        count(|s| &mut s.guard.connections_per_user, 1_000_000),
        "connections of one user to this node; one more is closed with 3504; 0: no bound; 64 where public",
    ),
    live(
        "guard.user_messages_per_s",
        count(|s| &mut s.guard.user_messages_per_s, PER_S_MAX),
        "messages and commands of one user to this node in a second, of all its connections; past the burst 3013; 0: no bound; 200 where public",
    ),
    live(
        "guard.user_bytes_per_s",
        bytes(|s| &mut s.guard.user_bytes_per_s),
        "the same for the bytes of messages; 512KiB where public",
    ),
    live(
        "guard.channel_messages_per_s",
        count(|s| &mut s.guard.channel_messages_per_s, PER_S_MAX),
        "publications to one channel in a second, in the whole fleet; more are answered with error 111; 0: no bound; 1,000 where public",
    ),
    live(
        "guard.channel_bytes_per_s",
        bytes(|s| &mut s.guard.channel_bytes_per_s),
        "the same for their bytes; 0: no bound",
    ),
    live(
        "guard.ban_points",
        count(|s| &mut s.guard.ban_points, 1_000_000),
        "points at which a source is banned, and gets 403: a failed handshake is 1, a bad token 2, a broken frame or an exceeded rate 5; 0: never; 100 where public",
    ),
    live(
        "guard.ban_half_life_s",
        seconds(|s| &mut s.guard.ban_half_life_s),
        "seconds in which half of the points are forgotten",
    ),
    live("guard.ban_s", seconds(|s| &mut s.guard.ban_s), "seconds of a ban; the next one is twice as long"),
    live("guard.ban_max_s", seconds(|s| &mut s.guard.ban_max_s), "seconds of the longest ban"),
    live(
        "proxy.trusted",
        prefixes(|s| &mut s.proxy.trusted),
        "proxies in front, whose word about their clients is believed",
    ),
    live(
        "proxy.header",
        Slot::Word {
            allowed: "off, x-forwarded-for or forwarded",
            set: set_header,
            get: |s| ForwardedHeader::WORDS[s.proxy.header as usize].1.into(),
        },
        "header in which trusted proxies name the client",
    ),
    fixed(
        "proxy.listen",
        Slot::Addresses { at: |s| &mut s.proxy.listen, min: 0, max: 16 },
        "where trusted proxies connect that speak the PROXY protocol (v1 or v2); nobody else is let in there",
    ),
];

fn set_header(settings: &mut Settings, word: &str) -> bool {
    let known = ForwardedHeader::WORDS.iter().find(|(_, known)| *known == word);
    known.map(|(header, _)| settings.proxy.header = *header).is_some()
}

/// Where strangers come, what is not given is what suits that.
pub(super) fn derive(settings: &mut Settings, origins: &BTreeMap<String, Origin>) {
    if !settings.guard.public {
        return;
    }
    let mut suited = Settings { guard: Guard::public(), ..Settings::default() };
    for row in ROWS.iter().filter(|row| row.key.starts_with("guard.") && !origins.contains_key(row.key)) {
        row.slot.copy(settings, &mut suited);
    }
}
