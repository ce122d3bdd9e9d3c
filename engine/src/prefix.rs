//! Prefixes of internet addresses (CIDR), and sets of them.
//!
//! Invariants: an IPv4 address in the form of IPv6 is the IPv4 address; both families are one order of 128-bit numbers, in
//! which IPv4 lies where its mapped form does; a set is sorted and disjoint, so that a look is a binary search.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Bits of an IPv6 address before an IPv4 address in its mapped form.
const MAPPED_BITS: u8 = 96;

/// An address and how many of its leading bits count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix {
    octets: [u8; 16],
    bits: u8,
}

/// A text that is no prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoPrefix;

impl Prefix {
    /// The prefix of `address` with so many bits, of which there are at most 32 and 128.
    #[must_use]
    pub fn of(address: IpAddr, v4_bits: u8, v6_bits: u8) -> Self {
        let (number, bits) = match address.to_canonical() {
            IpAddr::V4(v4) => (u128::from(v4.to_ipv6_mapped()), MAPPED_BITS + v4_bits.min(32)),
            IpAddr::V6(v6) => (u128::from(v6), v6_bits.min(128)),
        };
        Self { octets: (number & mask(bits)).to_be_bytes(), bits }
    }

    /// Its first address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        IpAddr::V6(self.octets.into()).to_canonical()
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_single(self) -> bool {
        self.bits == 128
    }

    /// First and last address, as numbers.
    fn range(self) -> (u128, u128) {
        let first = u128::from_be_bytes(self.octets);
        (first, first | !mask(self.bits))
    }

    fn is_v4(self) -> bool {
        self.bits >= MAPPED_BITS && Ipv6Addr::from(self.octets).to_ipv4_mapped().is_some()
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl fmt::Display for Prefix {
    /// A single address stands without its length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, bits) = match Ipv6Addr::from(self.octets).to_ipv4_mapped().filter(|_| self.is_v4()) {
            Some(v4) => (IpAddr::V4(v4), self.bits - MAPPED_BITS),
            None => (IpAddr::V6(self.octets.into()), self.bits),
        };
        if self.is_single() { write!(f, "{address}") } else { write!(f, "{address}/{bits}") }
    }
}

impl FromStr for Prefix {
    type Err = NoPrefix;

    /// An address, or an address and `/` and a length, behind which no bit is set.
    fn from_str(text: &str) -> Result<Self, NoPrefix> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(left, right)| (left, Some(right)));
        let address: IpAddr = address.parse().map_err(|_| NoPrefix)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => bits_max,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().ok().filter(|bits| *bits <= bits_max).ok_or(NoPrefix)?
            }
            Some(_) => return Err(NoPrefix),
        };
        // A mapped address is one of IPv4, and its length is counted as IPv6 writes it.
        let prefix = match address {
            IpAddr::V6(v6) => Self { octets: (u128::from(v6) & mask(bits)).to_be_bytes(), bits },
            IpAddr::V4(_) => Self::of(address, bits, 0),
        };
        let whole = Self::of(address, 32, 128);
        if prefix.octets == whole.octets { Ok(prefix) } else { Err(NoPrefix) }
    }
}

/// A set of prefixes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Prefixes {
    given: Vec<Prefix>,
    /// First and last addresses of the runs, sorted, with gaps between.
    runs: Vec<(u128, u128)>,
}

impl Prefixes {
    /// The prefixes as they were given.
    #[must_use]
    pub fn given(&self) -> &[Prefix] {
        &self.given
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether one of the prefixes holds the address.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let (number, _) = Prefix::of(address, 32, 128).range();
        let after = self.runs.partition_point(|&(first, _)| first <= number);
        after > 0 && number <= self.runs[after - 1].1
    }
}

impl FromIterator<Prefix> for Prefixes {
    fn from_iter<T: IntoIterator<Item = Prefix>>(prefixes: T) -> Self {
        let given: Vec<Prefix> = prefixes.into_iter().collect();
        let mut sorted: Vec<(u128, u128)> = given.iter().map(|prefix| prefix.range()).collect();
        sorted.sort_unstable();
        let mut runs: Vec<(u128, u128)> = Vec::new();
        for (first, last) in sorted {
            match runs.last_mut() {
                Some(run) if first <= run.1.saturating_add(1) => run.1 = run.1.max(last),
                _ => runs.push((first, last)),
            }
        }
        Self { given, runs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn prefixes_read_what_they_print() {
        for (text, printed) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("192.0.2.7", Some("192.0.2.7")),
            ("192.0.2.7/32", Some("192.0.2.7")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("2001:DB8::1", Some("2001:db8::1")),
            ("::/0", Some("::/0")),
            ("::ffff:192.0.2.7", Some("192.0.2.7")),
            ("::ffff:192.0.2.0/120", Some("192.0.2.0/24")),
            ("10.0.0.1/8", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/", None),
            ("2001:db8::1/64", None),
            ("::/129", None),
            ("10.0.0", None),
            ("localhost", None),
            ("", None),
        ] {
            let read = text.parse::<Prefix>().ok().map(|prefix| prefix.to_string());
            assert_eq!(read.as_deref(), printed, "{text}");
            if let Some(printed) = printed {
                assert_eq!(printed.parse::<Prefix>(), text.parse::<Prefix>(), "{text}");
            }
        }
    }

    #[test]
    fn a_source_is_an_address_or_a_network() {
        for (text, source) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            assert_eq!(Prefix::of(address(text), 32, 64).to_string(), source);
        }
        assert_eq!(Prefix::of(address("192.0.2.7"), 24, 48).to_string(), "192.0.2.0/24");
        assert_ne!(Prefix::of(address("::1"), 32, 64), Prefix::of(address("0.0.0.0"), 0, 64));
    }

    #[test]
    fn sets_hold_what_their_prefixes_hold() {
        let texts = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/25", "192.0.2.128/25", "2001:db8::/32", "::1"];
        let set: Prefixes = texts.iter().map(|text| text.parse::<Prefix>().expect("a prefix")).collect();
        assert_eq!((set.given().len(), set.runs.len()), (6, 4), "neighbours and parts are one run");
        for (text, holds) in [
            ("10.255.255.255", true),
            ("9.255.255.255", false),
            ("11.0.0.0", false),
            ("192.0.2.127", true),
            ("192.0.2.128", true),
            ("192.0.3.0", false),
            ("::ffff:10.0.0.1", true),
            ("2001:db8:ffff::", true),
            ("2001:db9::", false),
            ("::1", true),
            ("::2", false),
            ("::", false),
        ] {
            assert_eq!(set.holds(address(text)), holds, "{text}");
        }
        assert!(!Prefixes::default().holds(address("10.0.0.1")) && Prefixes::default().is_empty());
        let all: Prefixes =
            ["::/0", "0.0.0.0/0"].iter().map(|text| text.parse::<Prefix>().unwrap()).collect();
        assert!(all.holds(address("1.2.3.4")) && all.holds(address("ffff::")));
    }
}
