//! Where connections go and come from: `ws://` and `wss://` URLs, and source addresses.
//!
//! Invariant: resolves names once, before any thread starts; nothing here opens a socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use rustls::pki_types::ServerName;

use crate::limits::SOURCES_MAX;
use crate::ports::Ports;

/// A `ws://` or `wss://` URL taken apart (RFC 6455 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// `wss://`.
    pub(crate) is_tls: bool,
    /// Host without brackets.
    pub(crate) host: String,
    /// Port; 80 (443 with TLS) when the URL has none.
    pub(crate) port: u16,
    /// The value of the `Host` header: brackets and port as the URL had them.
    pub(crate) authority: String,
    /// The request target: path and query, at least `/`.
    pub(crate) target: String,
}

/// Why a URL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UrlError {
    /// Anything but `ws://` and `wss://`.
    Scheme,
    /// No host, or one with characters that no host has.
    Host,
    /// Not a number from 1 to 65535.
    Port,
    /// `user:password@`: never sent by WebSocket clients.
    UserInfo,
    /// `#...`: forbidden by RFC 6455 section 3.
    Fragment,
    /// A control character, a space or a non-ASCII character in path or query.
    Path,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UrlError::Scheme => "must begin with ws:// or wss://",
            UrlError::Host => "needs a host, as in ws://127.0.0.1:8000/echo",
            UrlError::Port => "the port must be a number from 1 to 65535",
            UrlError::UserInfo => "must not contain user:password@",
            UrlError::Fragment => "must not contain a fragment (#)",
            UrlError::Path => "path and query must be printable ASCII without spaces",
        })
    }
}

impl std::error::Error for UrlError {}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let is_tls = scheme.eq_ignore_ascii_case("wss");
        if !is_tls && !scheme.eq_ignore_ascii_case("ws") {
            return Err(UrlError::Scheme);
        }
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (host, port) = split_authority(authority, if is_tls { 443 } else { 80 })?;
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Path);
        }
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_tls, host: host.to_owned(), port, authority: authority.to_owned(), target })
    }
}

/// Host (without brackets) and port of an authority, which may leave out `usual`.
fn split_authority(authority: &str, usual: u16) -> Result<(&str, u16), UrlError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(UrlError::Host)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(UrlError::Port),
        }
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(is_host_byte) {
        return Err(UrlError::Host);
    }
    let port = match port {
        None => usual,
        Some(text) => {
            text.parse().ok().filter(|port| *port != 0 && !text.starts_with('+')).ok_or(UrlError::Port)?
        }
    };
    Ok((host, port))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.is_tls { "wss" } else { "ws" }, self.authority, self.target)
    }
}

/// A URL and the address it stands for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The URL.
    pub(crate) url: Url,
    /// The first address that its host resolves to.
    pub(crate) peer: SocketAddr,
    /// The name that its certificate must have; `None`: no TLS.
    pub(crate) tls_name: Option<ServerName<'static>>,
}

impl Target {
    /// Looks the host up. With TLS, its certificate must have the name `tls_name`, without one that of the host.
    ///
    /// # Errors
    /// The resolver's text, that it knows no address, or that the name can be none of a certificate.
    pub(crate) fn resolve(url: &Url, tls_name: Option<&str>) -> Result<Self, String> {
        let mut peers = (url.host.as_str(), url.port)
            .to_socket_addrs()
            .map_err(|error| format!("cannot resolve {}: {error}", url.host))?;
        let peer = peers.next().ok_or_else(|| format!("{} has no address", url.host))?;
        let name = tls_name.unwrap_or(&url.host);
        let tls_name = url
            .is_tls
            .then(|| ServerName::try_from(name.to_owned()))
            .transpose()
            .map_err(|_| format!("{name:?} is no name that a certificate has"))?;
        Ok(Self { url: url.clone(), peer, tls_name })
    }
}

/// What `--source` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SourceChoice {
    /// So many addresses of 127.0.0.0/8.
    Count(u32),
    /// These addresses, in turn.
    List(Vec<IpAddr>),
}

impl FromStr for SourceChoice {
    type Err = String;

    /// `8`, `127.0.0.2`, `127.0.0.2-127.0.0.9`, or several of the latter two with commas.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.parse::<u32>() {
            if count == 0 || count > SOURCES_MAX {
                return Err(format!("a count of addresses is from 1 to {SOURCES_MAX}"));
            }
            return Ok(SourceChoice::Count(count));
        }
        let mut addresses = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                None => addresses.push(part.parse().map_err(|_| not_an_address(part, text, "IP"))?),
                Some((first, last)) => extend_with_range(&mut addresses, text, first, last)?,
            }
            if addresses.len() > SOURCES_MAX as usize {
                return Err(format!("more than {SOURCES_MAX} addresses"));
            }
        }
        Ok(SourceChoice::List(addresses))
    }
}

/// Names `part` unless it is the whole of `text`, which the user is told anyway.
fn not_an_address(part: &str, text: &str, kind: &str) -> String {
    let subject = if part == text { "neither a count nor".to_owned() } else { format!("{part:?} is not") };
    format!("{subject} an {kind} address")
}

fn extend_with_range(addresses: &mut Vec<IpAddr>, text: &str, first: &str, last: &str) -> Result<(), String> {
    let parse = |part: &str| part.parse::<Ipv4Addr>().map_err(|_| not_an_address(part, text, "IPv4"));
    let (first, last) = (u32::from(parse(first)?), u32::from(parse(last)?));
    if last < first {
        return Err("the range ends before it begins".to_owned());
    }
    if last - first >= SOURCES_MAX {
        return Err(format!("more than {SOURCES_MAX} addresses"));
    }
    addresses.extend((first..=last).map(|bits| IpAddr::V4(Ipv4Addr::from(bits))));
    Ok(())
}

/// The source addresses that connections take in turn. Empty: the kernel picks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources(Vec<IpAddr>);

impl Sources {
    /// What to use for `connections` to `peers`.
    ///
    /// Without a choice: the kernel's pick where one address suffices, otherwise as many addresses of 127.0.0.0/8 as let
    /// connections open quickly, which only loopback targets allow.
    ///
    /// # Errors
    /// A choice that the targets do not allow, or one that is needed and absent.
    pub(crate) fn new(
        choice: Option<&SourceChoice>,
        peers: &[SocketAddr],
        connections: u32,
        ports: Ports,
    ) -> Result<Self, String> {
        let all_loopback =
            peers.iter().all(|peer| matches!(peer.ip(), IpAddr::V4(address) if address.is_loopback()));
        let per_peer = connections.div_ceil(peers.len().max(1) as u32);
        let needed = per_peer.div_ceil(ports.comfortable());
        match choice {
            Some(SourceChoice::List(addresses)) => {
                let mixed = addresses.iter().any(|a| peers.iter().any(|peer| peer.is_ipv4() != a.is_ipv4()));
                if mixed {
                    return Err("--source and the targets are of different address families".to_owned());
                }
                Ok(Self(addresses.clone()))
            }
            Some(SourceChoice::Count(count)) if all_loopback => Ok(Self(loopback_addresses(*count))),
            Some(SourceChoice::Count(_)) => {
                Err("--source with a count works for targets in 127.0.0.0/8 only: name the addresses"
                    .to_owned())
            }
            None if needed <= 1 => Ok(Self::default()),
            None if all_loopback => Ok(Self(loopback_addresses(needed))),
            None if per_peer <= ports.possible() => Ok(Self::default()),
            None => Err(format!(
                "{per_peer} connections to one target are more than the {} ephemeral ports of one source address: name \
                 more addresses with --source, or more targets, or widen net.ipv4.ip_local_port_range",
                ports.possible()
            )),
        }
    }

    /// The source of client number `number`; the kernel picks the port.
    #[must_use]
    pub(crate) fn of(&self, number: u32) -> Option<SocketAddr> {
        let count = self.0.len() as u32;
        (count > 0).then(|| SocketAddr::new(self.0[(number % count) as usize], 0))
    }

    /// How many addresses are used; 0: the kernel picks.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// The first `count` addresses from 127.0.0.2 on whose last part is neither 0, 1 nor above 251.
fn loopback_addresses(count: u32) -> Vec<IpAddr> {
    (0..count)
        .map(|index| {
            IpAddr::V4(Ipv4Addr::new(
                127,
                (index / 62_500) as u8,
                (index / 250 % 250) as u8,
                2 + (index % 250) as u8,
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let table = [
            ("ws://127.0.0.1:8000/echo", Ok(("127.0.0.1", 8000, "127.0.0.1:8000", "/echo"))),
            ("WS://example.com", Ok(("example.com", 80, "example.com", "/"))),
            ("ws://example.com?a=b", Ok(("example.com", 80, "example.com", "/?a=b"))),
            ("ws://[::1]:9/a/b?c=d&e", Ok(("::1", 9, "[::1]:9", "/a/b?c=d&e"))),
            ("ws://[::1]", Ok(("::1", 80, "[::1]", "/"))),
            ("ws://a/b@c", Ok(("a", 80, "a", "/b@c"))),
            ("wss://a/", Ok(("a", 443, "a", "/"))),
            ("WSS://a:8/b", Ok(("a", 8, "a:8", "/b"))),
            ("http://a/", Err(UrlError::Scheme)),
            ("127.0.0.1:8000", Err(UrlError::Scheme)),
            ("ws://", Err(UrlError::Host)),
            ("ws:///x", Err(UrlError::Host)),
            ("ws://:80/", Err(UrlError::Host)),
            ("ws://a b/", Err(UrlError::Host)),
            ("ws://[::1/", Err(UrlError::Host)),
            ("ws://[1.2.3.4]/", Err(UrlError::Host)),
            ("ws://a:0/", Err(UrlError::Port)),
            ("ws://a:65536/", Err(UrlError::Port)),
            ("ws://a:+8/", Err(UrlError::Port)),
            ("ws://a:/", Err(UrlError::Port)),
            ("ws://a:8:9/", Err(UrlError::Port)),
            ("ws://[::1]8/", Err(UrlError::Port)),
            ("ws://u:p@a/", Err(UrlError::UserInfo)),
            ("ws://a/#f", Err(UrlError::Fragment)),
            ("ws://a/x y", Err(UrlError::Path)),
            ("ws://a/x\r\nEvil: 1", Err(UrlError::Path)),
            ("ws://a/ü", Err(UrlError::Path)),
        ];
        for (text, expected) in table {
            let parsed = text.parse::<Url>();
            match (&parsed, expected) {
                (Ok(url), Ok((host, port, authority, target))) => {
                    assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
                    assert_eq!((url.authority.as_str(), url.target.as_str()), (authority, target), "{text}");
                }
                (Err(error), Err(wanted)) => assert_eq!(*error, wanted, "{text}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_printed_url_parses_to_itself() {
        for text in ["ws://127.0.0.1:8000/echo", "ws://[::1]/?a=b", "ws://h:1", "wss://h/"] {
            let url: Url = text.parse().unwrap();
            assert_eq!(url.to_string().parse::<Url>(), Ok(url));
        }
    }

    #[test]
    fn source_choices_are_read() {
        let v4 = |text: &str| IpAddr::V4(text.parse().unwrap());
        let table = [
            ("8", Some(SourceChoice::Count(8))),
            ("0", None),
            ("65537", None),
            ("127.0.0.2", Some(SourceChoice::List(vec![v4("127.0.0.2")]))),
            (
                "127.0.0.254-127.0.1.1",
                Some(SourceChoice::List(vec![
                    v4("127.0.0.254"),
                    v4("127.0.0.255"),
                    v4("127.0.1.0"),
                    v4("127.0.1.1"),
                ])),
            ),
            ("10.0.0.1,10.0.0.3", Some(SourceChoice::List(vec![v4("10.0.0.1"), v4("10.0.0.3")]))),
            ("127.0.0.9-127.0.0.2", None),
            ("10.0.0.0-11.0.0.0", None),
            ("x", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<SourceChoice>().ok(), expected, "{text}");
        }
    }

    #[test]
    fn sources_follow_the_number_of_connections() {
        let loopback: Vec<SocketAddr> = vec!["127.0.0.1:1".parse().unwrap()];
        let remote: Vec<SocketAddr> = vec!["10.0.0.1:1".parse().unwrap()];
        let two = vec![loopback[0], "127.0.0.1:2".parse().unwrap()];
        let sources = |choice: Option<&str>, peers: &[SocketAddr], connections| {
            let choice = choice.map(|text| text.parse::<SourceChoice>().unwrap());
            Sources::new(choice.as_ref(), peers, connections, Ports::parse("1024 65535").unwrap())
        };
        type Row<'r> = (Option<&'r str>, &'r [SocketAddr], u32, Option<usize>);
        let table: [Row<'_>; 11] = [
            (None, &loopback, 20_000, Some(0)),
            (None, &loopback, 20_001, Some(2)),
            (None, &two, 80_000, Some(2)),
            (None, &loopback, 1_000_000, Some(50)),
            (None, &remote, 60_000, Some(0)),
            (None, &remote, 70_000, None),
            (Some("10.0.0.2,10.0.0.3"), &remote, 70_000, Some(2)),
            (Some("2"), &loopback, 10, Some(2)),
            (Some("2"), &remote, 10, None),
            (Some("::1"), &loopback, 10, None),
            (Some("127.0.0.5"), &loopback, 90_000, Some(1)),
        ];
        for (choice, peers, connections, expected) in table {
            let count = sources(choice, peers, connections).ok().map(|sources| sources.count());
            assert_eq!(count, expected, "{choice:?} {peers:?} {connections}");
        }
        let chosen = sources(Some("127.0.0.5,127.0.0.6"), &loopback, 10).unwrap();
        assert_eq!(chosen.of(3), Some("127.0.0.6:0".parse().unwrap()));
        assert_eq!(Sources::default().of(3), None);
    }

    #[test]
    fn loopback_addresses_are_distinct() {
        let addresses = loopback_addresses(SOURCES_MAX);
        let distinct: std::collections::HashSet<_> = addresses.iter().collect();
        assert_eq!(distinct.len(), SOURCES_MAX as usize);
        assert_eq!(addresses[0], IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
    }
}
