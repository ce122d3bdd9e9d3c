//! Sealed datagrams: what one node says to another, readable and changeable by nobody without the cluster's key.
//!
//! Invariants: no key and nonce are used twice (a key belongs to one sender's life and a random salt, the nonce counts its
//! datagrams); nothing is believed and nothing remembered of a datagram that does not open; no datagram opens twice within
//! what is remembered of its sender.
//!
//! ```text
//! magic 2 | version 1 | flags 1 | hash version 2 | cluster 4 | key id 4 | sender 4 | incarnation 8 | salt 8 | counter 8   clear
//! body ...                                                                                                              sealed
//! tag 16
//! ```
//!
//! The clear part is authenticated with the body, and so is the cluster's name. Integers are little-endian. The seal is
//! AES-256-GCM (NIST SP 800-38D).

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::fleet::Grounds;
use crate::hash::{HASH_VERSION, channel_hash};
use crate::keys::{ClusterKey, ClusterKeys};
use crate::limits::{DATAGRAM_BYTES_MAX, SENDERS_MAX};
use crate::node::{ClusterName, Incarnation, NodeId};
use crate::wire::{Malformed, Reader};

/// The version of gossip: of the seal and of what is sealed. A later version that old nodes understand adds kinds or bytes
/// at ends and keeps the number.
pub const GOSSIP_VERSION: u8 = 1;

const MAGIC: [u8; 2] = *b"rG";
const REFUSAL: u8 = 1;
const HEADER_BYTES: usize = 42;
const TAG_BYTES: usize = 16;

/// Bytes of a body: what a datagram holds besides header and tag.
pub(crate) const BODY_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEADER_BYTES - TAG_BYTES;

/// Counters below the highest one seen that are still told apart. Reordering within a region is far less.
const WINDOW_BITS: u64 = 256;

/// Seals what one life of a node says.
pub struct Sealer {
    key: LessSafeKey,
    cluster: ClusterName,
    /// The header up to the counter, with no flags.
    header: [u8; HEADER_BYTES],
    counter: u64,
}

/// Opens what others say, each datagram once.
pub(crate) struct Opener {
    keys: ClusterKeys,
    cluster: ClusterName,
    senders: BTreeMap<SenderKey, Sender>,
    /// Counts opened datagrams, to know whom was heard least recently.
    clock: u64,
}

/// A datagram that opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) sender: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) body: Vec<u8>,
}

/// A datagram that did not. Nothing changed.
#[derive(Debug)]
pub(crate) struct Unopened {
    pub(crate) grounds: Grounds,
    /// It calls itself a refusal, and is not answered by one.
    pub(crate) is_refusal: bool,
}

/// What a key is derived from: key id, sender, incarnation, salt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SenderKey {
    key_id: [u8; 4],
    sender: NodeId,
    incarnation: Incarnation,
    salt: u64,
}

struct Sender {
    key: LessSafeKey,
    window: Window,
    heard: u64,
}

/// Which counters were seen: the highest, and the ones below it.
#[derive(Default)]
struct Window {
    highest: u64,
    /// Bit `n mod 256` for counter `n`.
    seen: [u64; (WINDOW_BITS / 64) as usize],
}

struct Header {
    flags: u8,
    from: SenderKey,
    counter: u64,
}

impl Sealer {
    /// For a life of a node. `salt` is drawn at random for it, so that two processes that claim the same life by mistake do not
    /// share a key.
    #[must_use]
    pub fn new(
        keys: &ClusterKeys,
        cluster: &ClusterName,
        id: NodeId,
        incarnation: Incarnation,
        salt: u64,
    ) -> Self {
        let from = SenderKey { key_id: keys.first().id, sender: id, incarnation, salt };
        let mut header = [0; HEADER_BYTES];
        header[..2].copy_from_slice(&MAGIC);
        header[2] = GOSSIP_VERSION;
        header[4..6].copy_from_slice(&HASH_VERSION.to_le_bytes());
        header[6..10].copy_from_slice(&cluster_tag(cluster));
        header[10..14].copy_from_slice(&from.key_id);
        header[14..18].copy_from_slice(&id.0.to_le_bytes());
        header[18..26].copy_from_slice(&incarnation.0.to_le_bytes());
        header[26..34].copy_from_slice(&salt.to_le_bytes());
        Self { key: derive(keys.first(), cluster, &from), cluster: cluster.clone(), header, counter: 0 }
    }

    /// The datagram that says `body`.
    #[must_use]
    pub fn seal(&mut self, body: &[u8]) -> Vec<u8> {
        self.seal_with(0, body)
    }

    /// The datagram that refuses another. It says so in clear, so that refusals never answer each other.
    pub(crate) fn seal_refusal(&mut self, body: &[u8]) -> Vec<u8> {
        self.seal_with(REFUSAL, body)
    }

    fn seal_with(&mut self, flags: u8, body: &[u8]) -> Vec<u8> {
        self.counter += 1;
        let mut header = self.header;
        header[3] = flags;
        header[34..].copy_from_slice(&self.counter.to_le_bytes());
        let mut sealed = body.to_vec();
        self.key
            .seal_in_place_append_tag(
                nonce(self.counter),
                Aad::from(aad(&header, &self.cluster)),
                &mut sealed,
            )
            .expect("a datagram is far below what the cipher takes");
        [header.as_slice(), &sealed].concat()
    }
}

impl Opener {
    pub(crate) fn new(keys: ClusterKeys, cluster: ClusterName) -> Self {
        Self { keys, cluster, senders: BTreeMap::new(), clock: 0 }
    }

    /// Opens a datagram, and remembers that it was.
    pub(crate) fn open(&mut self, bytes: &[u8]) -> Result<Opened, Unopened> {
        let refused = |grounds, flags: u8| Unopened { grounds, is_refusal: flags & REFUSAL != 0 };
        let header = read_header(bytes, &self.cluster).map_err(|(grounds, flags)| refused(grounds, flags))?;
        let from = header.from;
        let known = self.senders.get(&from);
        if known.is_some_and(|sender| sender.window.has(header.counter)) {
            return Err(refused(Grounds::Replayed, header.flags));
        }
        let derived;
        let key = match known {
            Some(sender) => &sender.key,
            None => {
                let key = self.keys.by_id(from.key_id).ok_or(refused(Grounds::Key, header.flags))?;
                derived = derive(key, &self.cluster, &from);
                &derived
            }
        };
        let (clear, sealed) = bytes.split_at(HEADER_BYTES);
        let mut body = sealed.to_vec();
        let opened =
            key.open_in_place(nonce(header.counter), Aad::from(aad(clear, &self.cluster)), &mut body);
        let length = opened.map_err(|_| refused(Grounds::Forged, header.flags))?.len();
        body.truncate(length);
        self.remember(from, header.counter);
        Ok(Opened { sender: from.sender, incarnation: from.incarnation, body })
    }

    fn remember(&mut self, from: SenderKey, counter: u64) {
        self.clock += 1;
        if !self.senders.contains_key(&from) {
            if self.senders.len() >= SENDERS_MAX {
                let quietest =
                    self.senders.iter().min_by_key(|(_, sender)| sender.heard).map(|(key, _)| *key);
                quietest.map(|key| self.senders.remove(&key));
            }
            let Some(key) = self.keys.by_id(from.key_id) else { return };
            let key = derive(key, &self.cluster, &from);
            self.senders.insert(from, Sender { key, window: Window::default(), heard: 0 });
        }
        if let Some(sender) = self.senders.get_mut(&from) {
            sender.heard = self.clock;
            sender.window.add(counter);
        }
    }
}

impl Window {
    /// Whether `counter` was seen, or is so old that it may have been.
    fn has(&self, counter: u64) -> bool {
        if counter > self.highest {
            return false;
        }
        self.highest - counter >= WINDOW_BITS || self.bit(counter)
    }

    fn add(&mut self, counter: u64) {
        if counter > self.highest {
            let skipped = (counter - self.highest).min(WINDOW_BITS);
            for gone in counter - skipped + 1..=counter {
                self.seen[word(gone)] &= !(1 << (gone % 64));
            }
            self.highest = counter;
        }
        self.seen[word(counter)] |= 1 << (counter % 64);
    }

    fn bit(&self, counter: u64) -> bool {
        self.seen[word(counter)] & 1 << (counter % 64) != 0
    }
}

fn word(counter: u64) -> usize {
    (counter % WINDOW_BITS / 64) as usize
}

/// Judges the clear part: the grounds on which the datagram is refused, and its flags.
fn read_header(bytes: &[u8], cluster: &ClusterName) -> Result<Header, (Grounds, u8)> {
    let malformed = |_: Malformed| (Grounds::Malformed, 0);
    if bytes.len() > DATAGRAM_BYTES_MAX {
        return Err((Grounds::Oversized, 0));
    }
    let mut reader = Reader::new(bytes);
    if reader.bytes(2).map_err(malformed)? != MAGIC {
        return Err((Grounds::Malformed, 0));
    }
    let version = reader.u8().map_err(malformed)?;
    let flags = reader.u8().map_err(malformed)?;
    if version != GOSSIP_VERSION {
        return Err((Grounds::Version { theirs: version }, flags));
    }
    if bytes.len() < HEADER_BYTES + TAG_BYTES {
        return Err((Grounds::Malformed, flags));
    }
    let hash_version = reader.u16().map_err(malformed)?;
    if hash_version != HASH_VERSION {
        return Err((Grounds::HashVersion { theirs: hash_version }, flags));
    }
    if reader.bytes(4).map_err(malformed)? != cluster_tag(cluster) {
        return Err((Grounds::Cluster, flags));
    }
    let from = SenderKey {
        key_id: reader.u32().map_err(malformed)?.to_le_bytes(),
        sender: NodeId(reader.u32().map_err(malformed)?),
        incarnation: Incarnation(reader.u64().map_err(malformed)?),
        salt: reader.u64().map_err(malformed)?,
    };
    Ok(Header { flags, from, counter: reader.u64().map_err(malformed)? })
}

/// Four bytes that tell clusters apart before the seal proves it.
fn cluster_tag(cluster: &ClusterName) -> [u8; 4] {
    (channel_hash(cluster.as_str().as_bytes()) as u32).to_le_bytes()
}

fn aad(header: &[u8], cluster: &ClusterName) -> Vec<u8> {
    [header, cluster.as_str().as_bytes()].concat()
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn derive(key: &ClusterKey, cluster: &ClusterName, from: &SenderKey) -> LessSafeKey {
    let cluster = cluster.as_str().as_bytes();
    let derived = key.datagram_key(&[
        &[GOSSIP_VERSION],
        &HASH_VERSION.to_le_bytes(),
        &(cluster.len() as u64).to_le_bytes(),
        cluster,
        &from.sender.0.to_le_bytes(),
        &from.incarnation.0.to_le_bytes(),
        &from.salt.to_le_bytes(),
    ]);
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &derived).expect("the cipher takes 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const TWO: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    fn keys(text: &str) -> ClusterKeys {
        ClusterKeys::parse(text).unwrap()
    }

    fn cluster(name: &str) -> ClusterName {
        ClusterName::new(name).unwrap()
    }

    fn sealer(incarnation: u64) -> Sealer {
        Sealer::new(&keys(ONE), &cluster("prod"), NodeId(7), Incarnation(incarnation), 99)
    }

    fn opener(text: &str, name: &str) -> Opener {
        Opener::new(keys(text), cluster(name))
    }

    fn grounds(opener: &mut Opener, bytes: &[u8]) -> Grounds {
        opener.open(bytes).expect_err("it does not open").grounds
    }

    #[test]
    fn a_datagram_opens_once() {
        let mut opener = opener(&format!("{TWO}\n{ONE}"), "prod");
        let sealed = sealer(5).seal(b"hello");
        let opened = opener.open(&sealed).expect("any key opens");
        assert_eq!((opened.sender, opened.incarnation), (NodeId(7), Incarnation(5)));
        assert_eq!(opened.body, b"hello");
        assert_eq!(grounds(&mut opener, &sealed), Grounds::Replayed);
        assert!(!sealed.windows(5).any(|part| part == b"hello"));
    }

    #[test]
    fn every_life_has_a_window_of_its_own() {
        let mut opener = opener(ONE, "prod");
        let (first, second) = (sealer(5).seal(b"a"), sealer(6).seal(b"a"));
        assert_ne!(first[HEADER_BYTES..], second[HEADER_BYTES..], "another life, another key");
        assert!(opener.open(&first).is_ok() && opener.open(&second).is_ok());
        assert_eq!(grounds(&mut opener, &first), Grounds::Replayed);
    }

    #[test]
    fn reordering_within_the_window_is_harmless() {
        let mut opener = opener(ONE, "prod");
        let mut sealer = sealer(1);
        let sealed: Vec<Vec<u8>> = (0..600).map(|_| sealer.seal(b"x")).collect();
        for at in [300, 299, 45, 44, 301, 599, 344, 343, 598] {
            let is_old = at == 44 || at == 343;
            assert_eq!(opener.open(&sealed[at]).is_err(), is_old, "{at}");
        }
        for at in [300, 299, 45, 44, 301, 599, 344, 343, 598] {
            assert_eq!(grounds(&mut opener, &sealed[at]), Grounds::Replayed, "{at}");
        }
    }

    #[test]
    fn strangers_are_told_apart() {
        let sealed = sealer(5).seal(b"hello");
        let with = |at: usize, byte: u8| {
            let mut changed = sealed.clone();
            changed[at] = byte;
            changed
        };
        let cases = [
            (opener(TWO, "prod"), sealed.clone(), Grounds::Key),
            (opener(ONE, "test"), sealed.clone(), Grounds::Cluster),
            (opener(ONE, "prod"), with(0, b'x'), Grounds::Malformed),
            (opener(ONE, "prod"), with(2, 9), Grounds::Version { theirs: 9 }),
            (opener(ONE, "prod"), with(4, 9), Grounds::HashVersion { theirs: 9 }),
            (opener(ONE, "prod"), vec![0; DATAGRAM_BYTES_MAX + 1], Grounds::Oversized),
            (opener(ONE, "prod"), Vec::new(), Grounds::Malformed),
        ];
        for (mut opener, bytes, expected) in cases {
            assert_eq!(grounds(&mut opener, &bytes), expected);
            assert!(opener.senders.is_empty(), "nothing is remembered of what does not open");
        }
    }

    #[test]
    fn no_bit_can_be_changed_and_no_byte_cut() {
        let sealed = sealer(5).seal(b"hello");
        let mut opener = opener(ONE, "prod");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(opener.open(&changed).is_err(), "bit {bit}");
        }
        for cut in 0..sealed.len() {
            assert!(opener.open(&sealed[..cut]).is_err(), "cut at {cut}");
        }
        assert!(opener.senders.is_empty());
        assert!(opener.open(&sealed).is_ok());
    }

    #[test]
    fn senders_are_bounded() {
        let mut opener = opener(ONE, "prod");
        for incarnation in 0..SENDERS_MAX as u64 + 10 {
            opener.open(&sealer(incarnation).seal(b"x")).expect("it opens");
        }
        assert_eq!(opener.senders.len(), SENDERS_MAX);
        assert_eq!(grounds(&mut opener, &sealer(SENDERS_MAX as u64).seal(b"x")), Grounds::Replayed);
    }

    #[test]
    fn refusals_say_so_in_clear() {
        let sealed = sealer(5).seal_refusal(b"no");
        let mut stranger = opener(TWO, "prod");
        assert!(stranger.open(&sealed).expect_err("another key").is_refusal);
        assert_eq!(opener(ONE, "prod").open(&sealed).expect("it opens").body, b"no");
    }
}
