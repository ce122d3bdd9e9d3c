//! The ring of one lane of one connection.
//!
//! Invariant: it never grows; full is an answer.

use roadstead_io::Payload;

use super::Full;

/// A message that waits.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) payload: Payload,
    pub(super) tag: u32,
}

/// The messages of one lane; without room until it is lent.
#[derive(Debug, Default)]
pub(super) struct Ring {
    pub(super) entries: Box<[Option<Entry>]>,
    pub(super) head: u32,
    pub(super) len: u32,
}

impl Ring {
    pub(super) fn push(&mut self, entry: Entry) -> Result<(), Full> {
        let capacity = self.entries.len() as u32;
        if self.len > 0 {
            let last = (self.head + self.len - 1) % capacity;
            if let Some(previous) = &mut self.entries[last as usize]
                && previous.tag == entry.tag
            {
                match previous.payload.join(entry.payload) {
                    Ok(()) => return Ok(()),
                    Err(payload) => return self.append(Entry { payload, tag: entry.tag }),
                }
            }
        }
        self.append(entry)
    }

    pub(super) fn append(&mut self, entry: Entry) -> Result<(), Full> {
        let capacity = self.entries.len() as u32;
        if self.len == capacity {
            return Err(Full);
        }
        self.entries[((self.head + self.len) % capacity) as usize] = Some(entry);
        self.len += 1;
        Ok(())
    }

    pub(super) fn front(&self) -> Option<&Entry> {
        self.entries.get(self.head as usize).and_then(Option::as_ref)
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.get_mut(self.head as usize)?.take()?;
        self.head = (self.head + 1) % self.entries.len() as u32;
        self.len -= 1;
        Some(entry)
    }
}
