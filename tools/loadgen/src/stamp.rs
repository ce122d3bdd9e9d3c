//! What a message carries so that its receiver can check it: of which stream it is, which one of it, when it was meant to leave.
//!
//! Invariant: printable ASCII in fixed places, so that a stamp is valid in a text frame, and inside a JSON string
//! without escapes; it is written and read without allocation.
//!
//! ```text
//! echo payload         SSSSSS filler...                 sequence, as many digits as fit (at most 6)
//! publication          "RRRRNNNNNSSSSSSTTTTTTTTT filler..."  run, stream, sequence, intended time (ns)
//! ```

use crate::schedule::Nanos;

/// Digits, 6 bits each. None needs an escape in JSON.
const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

const RUN_DIGITS: usize = 4;
const STREAM_DIGITS: usize = 5;
const SEQUENCE_DIGITS: usize = 6;
const TIME_DIGITS: usize = 9;

/// The smallest publication: two quotes and a stamp.
pub(crate) const PUBLICATION_BYTES_MIN: usize =
    2 + RUN_DIGITS + STREAM_DIGITS + SEQUENCE_DIGITS + TIME_DIGITS;

/// The filler byte at `index` of a payload: varied, so that shifted or mixed-up bytes are noticed.
fn filler(index: usize) -> u8 {
    DIGITS[(index * 7 + (index >> 6)) & 63]
}

fn write_digits(to: &mut [u8], mut value: u64) {
    for digit in to.iter_mut().rev() {
        *digit = DIGITS[(value & 63) as usize];
        value >>= 6;
    }
}

fn read_digits(from: &[u8]) -> Option<u64> {
    from.iter().try_fold(0, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        Some((value << 6) | u64::from(digit))
    })
}

/// The payload of echo messages, of one size.
#[derive(Clone, Debug)]
pub(crate) struct EchoPayload {
    bytes: Vec<u8>,
    digits: usize,
}

impl EchoPayload {
    /// Payloads of `size` bytes.
    #[must_use]
    pub(crate) fn new(size: usize) -> Self {
        Self { bytes: (0..size).map(filler).collect(), digits: size.min(SEQUENCE_DIGITS) }
    }

    /// The payload with number `sequence`.
    pub(crate) fn with(&mut self, sequence: u32) -> &[u8] {
        write_digits(&mut self.bytes[..self.digits], u64::from(sequence));
        &self.bytes
    }

    /// The sequence number of a message that came back; `None`: it is not what was sent.
    ///
    /// Small payloads hold only the low digits: the number nearest to `expected` is meant. An empty payload is always
    /// the expected one. Length, digits and the last 64 bytes are compared.
    #[must_use]
    pub(crate) fn sequence(&self, payload: &[u8], expected: u32) -> Option<u32> {
        let len = self.bytes.len();
        let tail = self.digits.max(len.saturating_sub(64));
        if payload.len() != len || payload[tail..] != self.bytes[tail..] {
            return None;
        }
        let low = read_digits(&payload[..self.digits])?;
        let period = 1_i64 << (6 * self.digits).min(62);
        let expected = i64::from(expected);
        let mut near = expected - expected.rem_euclid(period) + low as i64;
        if near - expected > period / 2 {
            near -= period;
        } else if expected - near > period / 2 {
            near += period;
        }
        u32::try_from(near).ok()
    }
}

/// What a publication says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which run of the generator: leftovers of others are not counted.
    pub(crate) run: u32,
    /// Which publisher and channel it belongs to; numbered by the fan-out scenario.
    pub(crate) stream: u32,
    /// Its number in the stream.
    pub(crate) sequence: u32,
    /// When it was meant to be sent.
    pub(crate) intended: Nanos,
}

impl Stamp {
    /// Writes the stamp into `publication`, made by [`publication`].
    pub(crate) fn write(&self, publication: &mut [u8]) {
        let mut rest = &mut publication[1..];
        for (digits, value) in [
            (RUN_DIGITS, u64::from(self.run)),
            (STREAM_DIGITS, u64::from(self.stream)),
            (SEQUENCE_DIGITS, u64::from(self.sequence)),
            (TIME_DIGITS, self.intended),
        ] {
            let (place, after) = rest.split_at_mut(digits);
            write_digits(place, value);
            rest = after;
        }
    }

    /// Reads the stamp of a publication of `size` bytes; `None`: it is none of this generator's.
    #[must_use]
    pub(crate) fn read(publication: &[u8], size: usize) -> Option<Self> {
        if publication.len() != size || size < PUBLICATION_BYTES_MIN {
            return None;
        }
        let mut rest = publication.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let mut take = |digits| {
            let (place, after) = rest.split_at(digits);
            rest = after;
            read_digits(place)
        };
        Some(Self {
            run: take(RUN_DIGITS)? as u32,
            stream: take(STREAM_DIGITS)? as u32,
            sequence: u32::try_from(take(SEQUENCE_DIGITS)?).ok()?,
            intended: take(TIME_DIGITS)?,
        })
    }
}

/// Runs are told apart by so many bits.
pub(crate) const RUN_BITS: u32 = 6 * RUN_DIGITS as u32;

/// A publication of `size` bytes (at least [`PUBLICATION_BYTES_MIN`]) without its stamp: a JSON string.
#[must_use]
pub(crate) fn publication(size: usize) -> Vec<u8> {
    debug_assert!(size >= PUBLICATION_BYTES_MIN);
    let mut bytes: Vec<u8> = (0..size).map(filler).collect();
    bytes[0] = b'"';
    bytes[size - 1] = b'"';
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_names_its_sequence() {
        for size in [0, 1, 2, 5, 6, 7, 20, 1_024] {
            let mut sent = EchoPayload::new(size);
            for sequence in [0, 1, 63, 64, 4_095, 4_096, 1 << 24, u32::MAX] {
                let payload = sent.with(sequence).to_vec();
                assert_eq!(payload.len(), size);
                assert!(payload.is_ascii());
                assert_eq!(sent.sequence(&payload, sequence), Some(sequence), "{size} {sequence}");
            }
        }
    }

    #[test]
    fn few_digits_mean_the_nearest_number() {
        let mut sent = EchoPayload::new(1);
        for (sequence, expected) in [(100, 98), (98, 100), (64, 63), (63, 64), (5, 0)] {
            let payload = sent.with(sequence).to_vec();
            assert_eq!(sent.sequence(&payload, expected), Some(sequence));
        }
    }

    #[test]
    fn damaged_echoes_are_refused() {
        let mut sent = EchoPayload::new(20);
        let good = sent.with(5).to_vec();
        for index in 6..20 {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert_eq!(sent.sequence(&bad, 5), None, "byte {index}");
        }
        let mut bad = good.clone();
        bad[0] = b'!';
        assert_eq!(sent.sequence(&bad, 5), None);
        assert_eq!(sent.sequence(&good[..19], 5), None);
        assert_eq!(sent.sequence(b"", 5), None);
    }

    #[test]
    fn stamps_come_back() {
        let stamp =
            Stamp { run: 0xab_cdef, stream: (1 << 30) - 1, sequence: u32::MAX, intended: (1 << 54) - 1 };
        for size in [PUBLICATION_BYTES_MIN, 27, 128, 4_096] {
            let mut bytes = publication(size);
            stamp.write(&mut bytes);
            assert_eq!(bytes.len(), size);
            assert_eq!(Stamp::read(&bytes, size), Some(stamp));
            let text: String = serde_json::from_slice(&bytes).expect("a JSON string");
            assert_eq!(text.len(), size - 2);
        }
    }

    #[test]
    fn foreign_publications_are_told_apart() {
        for foreign in [&b"{}"[..], b"", b"\"\"", b"null", &[b'"'; 128], &[b'0'; 128]] {
            assert_eq!(Stamp::read(foreign, 128), None);
        }
        assert_eq!(Stamp::read(b"", 0), None);
    }
}
