//! Who may use the server API over TCP.
//!
//! Invariants: with keys, a request must show one; without, nobody may, but for development mode, in which whoever names a loopback
//! host and is no web page of another origin may.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::admin::access;
use crate::settings::{Secret, Settings};

/// The keys in force. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    keys: Arc<Mutex<Arc<[Secret]>>>,
    insecure: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    Key,
    Stranger,
}

impl Refusal {
    pub(super) fn answer(self) -> Response {
        match self {
            Self::Key => StatusCode::UNAUTHORIZED.into_response(),
            Self::Stranger => StatusCode::FORBIDDEN.into_response(),
        }
    }
}

impl ApiKeys {
    /// Those of `settings`.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { keys: Arc::new(Mutex::new(settings.api.keys.clone().into())), insecure: settings.insecure }
    }

    /// Others count from now on.
    pub fn reload(&self, settings: &Settings) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = settings.api.keys.clone().into();
    }

    pub(super) fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let keys = Arc::clone(&self.keys.lock().unwrap_or_else(PoisonError::into_inner));
        if keys.is_empty() && self.insecure {
            let is_near = access::names_loopback(headers) && access::is_of_own_page(headers);
            return if is_near { Ok(()) } else { Err(Refusal::Stranger) };
        }
        let shown = access::shown_key(headers).or_else(|| in_query(uri)).ok_or(Refusal::Key)?;
        // Each is compared, so that the time does not tell which one is nearly right.
        let fits = keys.iter().fold(false, |fits, key| fits | access::same_bytes(shown, key.expose()));
        if fits { Ok(()) } else { Err(Refusal::Key) }
    }
}

/// `?api_key=KEY`, as it stands: what needs escapes goes into a header.
fn in_query(uri: &Uri) -> Option<&[u8]> {
    let pairs = uri.query()?.split('&');
    pairs.filter_map(|pair| pair.strip_prefix("api_key=")).map(str::as_bytes).next()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        list.iter().map(pair).collect()
    }

    #[test]
    fn one_of_the_keys_is_wanted() {
        let mut settings = Settings::default();
        let bare = ApiKeys::new(&settings);
        settings.api.keys = vec![Secret::new("one"), Secret::new("two")];
        let keyed = ApiKeys::new(&settings);
        settings.insecure = true;
        let both = ApiKeys::new(&settings);
        for (uri, list, good) in [
            ("/api/info", &[][..], false),
            ("/api/info", &[("x-api-key", "one")], true),
            ("/api/info", &[("x-api-key", "two")], true),
            ("/api/info", &[("x-api-key", "tw")], false),
            ("/api/info", &[("x-api-key", "")], false),
            ("/api/info", &[("authorization", "apikey two")], true),
            ("/api/info", &[("authorization", "Bearer two")], false),
            ("/api/info?api_key=two", &[], true),
            ("/api/info?x=1&api_key=three", &[], false),
            ("/api/info?api_key=two", &[("x-api-key", "bad")], false),
        ] {
            let uri = Uri::from_static(uri);
            let expected = if good { Ok(()) } else { Err(Refusal::Key) };
            assert_eq!(keyed.judge(&uri, &headers(list)), expected, "{uri} {list:?}");
            assert_eq!(both.judge(&uri, &headers(list)), expected, "keys count in development mode too");
            assert_eq!(bare.judge(&uri, &headers(list)), Err(Refusal::Key), "no key is known");
        }
    }

    #[test]
    fn development_mode_is_for_this_machine() {
        let open = ApiKeys::new(&Settings { insecure: true, ..Settings::default() });
        let uri = Uri::from_static("/api/info");
        for (list, good) in [
            (&[("host", "127.0.0.1:9000")][..], true),
            (&[("host", "evil.example")], false),
            (&[("host", "localhost"), ("origin", "http://evil.example")], false),
        ] {
            let expected = if good { Ok(()) } else { Err(Refusal::Stranger) };
            assert_eq!(open.judge(&uri, &headers(list)), expected, "{list:?}");
        }
    }

    #[test]
    fn a_reload_changes_the_keys() {
        let mut settings = Settings::default();
        settings.api.keys = vec![Secret::new("old")];
        let keys = ApiKeys::new(&settings);
        settings.api.keys = vec![Secret::new("new")];
        keys.clone().reload(&settings);
        let uri = Uri::from_static("/api");
        assert_eq!(keys.judge(&uri, &headers(&[("x-api-key", "old")])), Err(Refusal::Key));
        assert_eq!(keys.judge(&uri, &headers(&[("x-api-key", "new")])), Ok(()));
    }
}
