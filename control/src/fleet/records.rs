//! The members' records: what is known of each life, and what of it is still to be told.
//!
//! Invariants: of one life the record of the highest revision is kept, as its bytes came, so that what a later version
//! added survives on the way; the number of records is bounded; an incarnation's record is never replaced by another's.

use std::collections::BTreeMap;

use crate::limits::RECORDS_MAX;
use crate::member::Member;
use crate::node::{Incarnation, NodeId};
use crate::wire::Malformed;

/// Names a life in here.
pub(crate) type LifeKey = (NodeId, Incarnation);

/// All records.
#[derive(Default)]
pub(crate) struct Records {
    known: BTreeMap<LifeKey, Record>,
    /// Lives whose record is news, and how often it is still to be told.
    news: BTreeMap<LifeKey, u8>,
}

struct Record {
    member: Member,
    bytes: Vec<u8>,
}

impl Records {
    pub(crate) fn get(&self, key: LifeKey) -> Option<&Member> {
        self.known.get(&key).map(|record| &record.member)
    }

    /// The record of a life as it goes on the wire.
    pub(crate) fn bytes(&self, key: LifeKey) -> Option<&[u8]> {
        self.known.get(&key).map(|record| record.bytes.as_slice())
    }

    /// Takes up a record if it says something new: then returns whose.
    pub(crate) fn learn(&mut self, bytes: &[u8]) -> Result<Option<LifeKey>, Malformed> {
        let member = Member::decode(bytes)?;
        let key = (member.id(), member.incarnation);
        let is_new = match self.known.get(&key) {
            Some(known) => member.supersedes(&known.member) && member.address == known.member.address,
            None => self.known.len() < RECORDS_MAX,
        };
        if !is_new {
            return Ok(None);
        }
        self.known.insert(key, Record { member, bytes: bytes.to_vec() });
        Ok(Some(key))
    }

    /// Takes up the node's own record, for which there is always room.
    pub(crate) fn learn_own(&mut self, own: &Member, bytes: &[u8]) {
        let record = Record { member: own.clone(), bytes: bytes.to_vec() };
        self.known.insert((own.id(), own.incarnation), record);
    }

    /// Has a record told `times` to others.
    pub(crate) fn spread(&mut self, key: LifeKey, times: u8) {
        self.news.insert(key, times);
    }

    /// Whether there is something to tell.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Appends the freshest news that fit into `out` of `bytes_max`, each with its length before it.
    pub(crate) fn push_news(&mut self, out: &mut Vec<u8>, bytes_max: usize) {
        let mut freshest: Vec<(u8, LifeKey)> = self.news.iter().map(|(key, left)| (*left, *key)).collect();
        freshest.sort_unstable_by(|a, b| b.cmp(a));
        for (left, key) in freshest {
            let told = match self.known.get(&key) {
                Some(record) => push_record(out, &record.bytes, bytes_max),
                None => true,
            };
            if told && left <= 1 || !self.known.contains_key(&key) {
                self.news.remove(&key);
            } else if told {
                self.news.insert(key, left - 1);
            }
        }
    }

    /// Drops what `keep` does not name.
    pub(crate) fn retain(&mut self, keep: impl Fn(LifeKey) -> bool) {
        self.known.retain(|key, _| keep(*key));
        self.news.retain(|key, _| self.known.contains_key(key));
    }
}

/// Appends a record with its length before it, if it fits.
pub(crate) fn push_record(out: &mut Vec<u8>, record: &[u8], bytes_max: usize) -> bool {
    let Ok(length) = u16::try_from(record.len()) else { return false };
    if out.len() + 2 + record.len() > bytes_max {
        return false;
    }
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(record);
    true
}
