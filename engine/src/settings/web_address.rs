//! An address of the web that a node asks by itself.
//!
//! Invariants: it is HTTP or HTTPS and names a host; it holds no user and no password, and what is said of it in the log leaves out
//! its query, where some services want a key.

use std::fmt;

use ureq::http::Uri;

use crate::limits::WEB_ADDRESS_BYTES_MAX;

/// Such as `https://id.example.com/keys`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebAddress {
    text: String,
    /// Length of what may be shown to anybody: all before the query.
    shown: usize,
    is_https: bool,
    is_local: bool,
}

impl WebAddress {
    /// `None`: it is no such address.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok().filter(|_| text.len() <= WEB_ADDRESS_BYTES_MAX)?;
        let authority = uri.authority()?;
        let (host, port) = (authority.host(), authority.port_u16());
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        // What is no number is no port, and the standard one would be taken in its place.
        let has_port = authority.as_str().len() > host.len();
        let is_whole = !host.is_empty() && has_port == port.is_some() && port != Some(0);
        if !is_whole || authority.as_str().contains('@') || text.contains('#') {
            return None;
        }
        let bare = host.trim_matches(['[', ']']);
        let is_loopback = |ip: std::net::IpAddr| ip.to_canonical().is_loopback();
        let is_local = bare.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(is_loopback);
        let shown = text.find('?').unwrap_or(text.len());
        Some(Self { text: text.into(), shown, is_https, is_local })
    }

    /// All of it, for whoever asks it or has configured it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether what it answers is protected by TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text[..self.shown])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_and_told_apart() {
        for (text, shown, is_https, is_local) in [
            ("https://id.example.com/keys", "https://id.example.com/keys", true, false),
            ("https://id.example.com", "https://id.example.com", true, false),
            ("http://127.0.0.1:8080/k?key=abc", "http://127.0.0.1:8080/k", false, true),
            ("http://[::1]:80/", "http://[::1]:80/", false, true),
            ("http://LocalHost/keys?a?b", "http://LocalHost/keys", false, true),
            ("https://[2001:db8::1]/keys", "https://[2001:db8::1]/keys", true, false),
            ("HTTPS://id.example.com/a", "HTTPS://id.example.com/a", true, false),
        ] {
            let address = WebAddress::new(text).expect(text);
            assert_eq!((address.to_string().as_str(), address.as_str()), (shown, text));
            assert_eq!((address.is_https(), address.is_local()), (is_https, is_local), "{text}");
        }
    }

    #[test]
    fn others_are_not() {
        let long = format!("https://a/{}", "x".repeat(WEB_ADDRESS_BYTES_MAX));
        for text in [
            "",
            "id.example.com/keys",
            "/keys",
            "ftp://id.example.com/keys",
            "file:///etc/keys",
            "https://",
            "https:///keys",
            "https://:443/keys",
            "https://ann:secret@id.example.com/keys",
            "https://ann@id.example.com/keys",
            "https://id.example.com:port/keys",
            "https://id.example.com:99999/keys",
            "https://id.example.com:/keys",
            "https://id.example.com:0/keys",
            "https://id.example.com/keys#first",
            "https://id example.com/keys",
            &long,
        ] {
            assert_eq!(WebAddress::new(text), None, "{text}");
        }
    }
}
