//! Taking back over HTTP: `POST /revocations` revokes a token or a user's tokens, `GET /revocations` shows what is revoked.
//!
//! Invariant: nothing is done here; the thread that keeps revocations is asked and answers.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Subject;
use crate::limits::{REVOCATION_NAME_BYTES_MAX, REVOCATION_S_MAX, REVOCATIONS_MAX};
use crate::revocations::{self, Revocation, Revocations, Terms};

/// A disk that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(4);
/// Revocations shown at once, unless asked for otherwise.
const SHOWN: usize = 1_000;

/// How a wish to revoke ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Revoked {
    /// In force.
    Done {
        /// On disk too.
        is_durable: bool,
    },
    /// In force, but the disk did not take it: why.
    Unwritten(String),
    /// There is no room; nothing has changed.
    Full,
}

/// Takes the answer.
pub type RevokedAnswer = oneshot::Sender<Revoked>;

/// The way to the thread that keeps revocations; false if it takes no more.
type Revoke = dyn Fn(Revocation, RevokedAnswer) -> bool + Send + Sync;

/// What is revoked, and whether the disk has all of it (`None`: there is no file).
type Standing = dyn Fn() -> (Arc<Revocations>, Option<bool>) + Send + Sync;

/// Revocations of a node.
#[derive(Clone)]
pub struct RevocationDesk {
    /// Revokes.
    pub revoke: Arc<Revoke>,
    /// Shows.
    pub standing: Arc<Standing>,
}

impl fmt::Debug for RevocationDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RevocationDesk")
    }
}

/// What is to be revoked, and for how long.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    token_id: Option<String>,
    user: Option<String>,
    /// Unix seconds; tokens of the user that were issued before.
    issued_before: Option<u64>,
    /// Unix seconds.
    until: Option<u64>,
    /// Seconds from now, in place of `until`.
    for_s: Option<u64>,
}

impl Wish {
    /// The revocation that is meant at Unix time `now_ms`.
    fn revocation(self, now_ms: u64) -> Result<Revocation, String> {
        let now_s = now_ms / 1_000;
        let until_s = match (self.until, self.for_s) {
            (Some(until_s), None) => until_s,
            (None, Some(for_s)) => now_s.saturating_add(for_s),
            _ => return Err("until (Unix seconds) or for_s (seconds from now) is wanted".into()),
        };
        if until_s <= now_s || until_s - now_s > REVOCATION_S_MAX {
            return Err(format!("it must end in the future, within {REVOCATION_S_MAX} s"));
        }
        let (subject, issued_before_s) = match (self.token_id, self.user) {
            (Some(id), None) if self.issued_before.is_none() => (revocations::Subject::Token(id.into()), 0),
            // What was issued in this very second may be what is to be taken back.
            (None, Some(user)) => (
                revocations::Subject::User(user.into()),
                self.issued_before.unwrap_or(now_ms.div_ceil(1_000)),
            ),
            (Some(_), None) => return Err("issued_before goes with a user".into()),
            _ => return Err("token_id or user is wanted".into()),
        };
        if !subject.is_valid() {
            return Err(format!("a name of 1 to {REVOCATION_NAME_BYTES_MAX} bytes is wanted"));
        }
        Ok(Revocation { subject, terms: Terms { issued_before_s, until_s } })
    }
}

pub(super) async fn revoke(
    Shared(subject): Shared<Arc<Subject>>,
    wish: Result<Query<Wish>, QueryRejection>,
) -> Response {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let revocation = match wish.map(|Query(wish)| wish.revocation(now_ms)) {
        Ok(Ok(revocation)) => revocation,
        Ok(Err(why)) => return failed(StatusCode::BAD_REQUEST, &why),
        Err(rejection) => return failed(rejection.status(), &rejection.body_text()),
    };
    let said = shown(&revocation);
    let (answer, answered) = oneshot::channel();
    if !(subject.revocations.revoke)(revocation, answer) {
        return failed(StatusCode::SERVICE_UNAVAILABLE, "too many revocations wait to be written");
    }
    match timeout(PATIENCE, answered).await {
        Ok(Ok(Revoked::Done { is_durable })) => {
            Json(json!({ "revoked": said, "durable": is_durable })).into_response()
        }
        Ok(Ok(Revoked::Unwritten(why))) => {
            let why =
                format!("it is in force, but lost when this node ends, since it cannot be written: {why}");
            failed(StatusCode::INTERNAL_SERVER_ERROR, &why)
        }
        Ok(Ok(Revoked::Full)) => {
            let why = format!(
                "{REVOCATIONS_MAX} revocations, or their bytes, are all there is room for; some must end first"
            );
            failed(StatusCode::INSUFFICIENT_STORAGE, &why)
        }
        Ok(Err(_)) | Err(_) => failed(
            StatusCode::SERVICE_UNAVAILABLE,
            "no answer in time: it may be in force, or not; ask again",
        ),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    limit: Option<usize>,
}

pub(super) async fn show(
    Shared(subject): Shared<Arc<Subject>>,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Response {
    let limit = match listing {
        Ok(Query(listing)) => listing.limit.unwrap_or(SHOWN).min(REVOCATIONS_MAX),
        Err(rejection) => return failed(rejection.status(), &rejection.body_text()),
    };
    let (set, is_written) = (subject.revocations.standing)();
    let digest = set.digest();
    let list: Vec<Value> = set.iter().take(limit).map(|revocation| shown(&revocation)).collect();
    Json(json!({
        "node": subject.name,
        "count": set.len(),
        "digest": format!("{:x}-{:016x}", digest.count, digest.sum),
        "durable": is_written,
        "revocations": list,
    }))
    .into_response()
}

fn shown(revocation: &Revocation) -> Value {
    let Terms { issued_before_s, until_s } = revocation.terms;
    match &revocation.subject {
        revocations::Subject::Token(id) => json!({ "token_id": **id, "until": until_s }),
        revocations::Subject::User(user) => {
            json!({ "user": **user, "issued_before": issued_before_s, "until": until_s })
        }
    }
}

fn failed(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_understood_or_refused() {
        let long = "x".repeat(REVOCATION_NAME_BYTES_MAX + 1);
        let token = |id: &str| Wish { token_id: Some(id.into()), ..Wish::default() };
        let user = |user: &str| Wish { user: Some(user.into()), ..Wish::default() };
        for (wish, expected) in [
            (Wish { for_s: Some(60), ..token("t") }, Ok(json!({ "token_id": "t", "until": 1_060 }))),
            (Wish { until: Some(2_000), ..token("t") }, Ok(json!({ "token_id": "t", "until": 2_000 }))),
            (
                Wish { for_s: Some(60), ..user("u") },
                Ok(json!({ "user": "u", "issued_before": 1_001, "until": 1_060 })),
            ),
            (
                Wish { for_s: Some(60), issued_before: Some(7), ..user("u") },
                Ok(json!({ "user": "u", "issued_before": 7, "until": 1_060 })),
            ),
            (token("t"), Err("until")),
            (Wish { until: Some(2_000), for_s: Some(60), ..token("t") }, Err("until")),
            (Wish { until: Some(1_000), ..token("t") }, Err("future")),
            (Wish { for_s: Some(0), ..token("t") }, Err("future")),
            (Wish { for_s: Some(u64::MAX), ..token("t") }, Err("future")),
            (Wish { for_s: Some(60), ..Wish::default() }, Err("token_id or user")),
            (Wish { for_s: Some(60), user: Some("u".into()), ..token("t") }, Err("token_id or user")),
            (Wish { for_s: Some(60), issued_before: Some(7), ..token("t") }, Err("issued_before")),
            (Wish { for_s: Some(60), ..token("") }, Err("1 to 255")),
            (Wish { for_s: Some(60), ..user(&long) }, Err("1 to 255")),
        ] {
            let case = format!("{wish:?}");
            match (wish.revocation(1_000_500), expected) {
                (Ok(revocation), Ok(expected)) => assert_eq!(shown(&revocation), expected, "{case}"),
                (Err(why), Err(words)) => assert!(why.contains(words), "{case}: {why}"),
                (found, _) => panic!("{case}: {found:?}"),
            }
        }
    }
}
