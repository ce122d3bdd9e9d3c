//! Whom a request was forwarded for: `X-Forwarded-For`, and `Forwarded` (RFC 7239).
//!
//! Invariants: knows no socket; each proxy appends the address it saw, so the list is read from its end, and only as far as each hop
//! was seen by one that is trusted; what stands before the first hop that is not trusted is its own invention and never looked at.

use std::net::IpAddr;

use crate::prefix::Prefixes;
use crate::settings::ForwardedHeader;

/// The client that trusted proxies name: the last hop of the list that is not one of `trusted`, or the first of all if every
/// one is. `values` are those of all lines of the header, the last line first; `None` is one that is no text. `None`: there is no hop, or the last one to look at is
/// no address, so nobody is named.
#[must_use]
pub fn client_of<'v>(
    header: ForwardedHeader,
    values: impl Iterator<Item = Option<&'v str>>,
    trusted: &Prefixes,
) -> Option<IpAddr> {
    let mut client = None;
    for value in values {
        for hop in hops(value?).rev() {
            let address = address(header, hop.trim_matches([' ', '\t']))?;
            client = Some(address);
            if !trusted.holds(address) {
                return client;
            }
        }
    }
    client
}

/// The address of one hop.
fn address(header: ForwardedHeader, hop: &str) -> Option<IpAddr> {
    match header {
        ForwardedHeader::Off => None,
        ForwardedHeader::XForwardedFor => node(hop),
        ForwardedHeader::Forwarded => {
            let mut found = None;
            for pair in hop.split(';') {
                let (name, value) = pair.split_once('=')?;
                if name.trim_matches([' ', '\t']).eq_ignore_ascii_case("for") {
                    // Said twice, nobody knows which.
                    if found.is_some() {
                        return None;
                    }
                    found = Some(node(unquoted(value.trim_matches([' ', '\t']))?)?);
                }
            }
            found
        }
    }
}

/// The elements of a list. A comma within quotes is none: no address holds one, and a hop whose quotes are cut is no address.
fn hops(value: &str) -> impl DoubleEndedIterator<Item = &str> {
    value.split(',')
}

fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').filter(|text| !text.contains(['"', '\\'])),
        None => Some(value),
    }
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::7`, `[2001:db8::7]` or `[2001:db8::7]:4711`.
fn node(text: &str) -> Option<IpAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return is_whole.then(|| address.parse().ok().map(IpAddr::V6)).flatten();
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (address, port) = text.split_once(':')?;
    is_port(port).then(|| address.parse().ok().map(IpAddr::V4)).flatten()
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(header: ForwardedHeader, values: &[&str]) -> Option<String> {
        let trusted: Prefixes =
            ["10.0.0.0/8", "2001:db8:aaaa::/48"].iter().map(|text| text.parse().expect("a prefix")).collect();
        client_of(header, values.iter().rev().map(|value| Some(*value)), &trusted)
            .map(|address| address.to_string())
    }

    #[test]
    fn the_last_hop_that_is_not_trusted_is_the_client() {
        for (values, client) in [
            (&["192.0.2.1"][..], Some("192.0.2.1")),
            (&["203.0.113.9, 192.0.2.1"], Some("192.0.2.1")),
            (&["203.0.113.9, 192.0.2.1, 10.1.2.3"], Some("192.0.2.1")),
            (&["203.0.113.9", "192.0.2.1,10.0.0.1\t, 10.1.2.3"], Some("192.0.2.1")),
            (&["192.0.2.1", "10.0.0.1"], Some("192.0.2.1")),
            (&["10.0.0.9, 10.0.0.1"], Some("10.0.0.9")),
            (&["nonsense, 192.0.2.1"], Some("192.0.2.1")),
            (&["192.0.2.1:4711"], Some("192.0.2.1")),
            (&["[2001:db8::7]:4711, 2001:db8:aaaa::1"], Some("2001:db8::7")),
            (&["[2001:db8::7]"], Some("2001:db8::7")),
            (&["192.0.2.1, unknown"], None),
            (&["192.0.2.1, nonsense, 10.0.0.1"], None),
            (&["192.0.2.1,"], None),
            (&[""], None),
            (&[], None),
            (&["192.0.2.1:x"], None),
            (&["[192.0.2.1]"], None),
            (&["[2001:db8::7"], None),
            (&["[2001:db8::7]4711"], None),
            (&["192.0.2.1 192.0.2.2"], None),
        ] {
            assert_eq!(named(ForwardedHeader::XForwardedFor, values).as_deref(), client, "{values:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_says() {
        for (values, client) in [
            (&["for=192.0.2.1"][..], Some("192.0.2.1")),
            (&["For=\"[2001:db8::7]:4711\""], Some("2001:db8::7")),
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"], Some("192.0.2.60")),
            (&["for=203.0.113.9, proto=https;for=192.0.2.1 , for=10.0.0.1"], Some("192.0.2.1")),
            (&["for=203.0.113.9", "for=\"192.0.2.1:80\""], Some("192.0.2.1")),
            (&["for=_hidden"], None),
            (&["for=unknown"], None),
            (&["proto=https"], None),
            (&["for=192.0.2.1;for=192.0.2.2"], None),
            (&["for=\"192.0.2.1"], None),
            (&["for=\"192.0.2.\\1\""], None),
            (&["for=\"192.0.2.1, for=192.0.2.2\""], None),
            (&["192.0.2.1"], None),
            (&["for"], None),
        ] {
            assert_eq!(named(ForwardedHeader::Forwarded, values).as_deref(), client, "{values:?}");
        }
    }
}
