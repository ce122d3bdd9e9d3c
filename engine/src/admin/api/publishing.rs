//! Publishing: to one channel, or the same to many.
//!
//! Invariant: what one request publishes to a channel is ordered as the request has it: each is with the channel's hub before the next
//! one is taken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_protocol::ErrorCode;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::asks::Answer;
use super::idempotency::Seen;
use super::{Api, Outcome, answer};
use crate::flow::{Ask, Publication};
use crate::limits::{API_COMMANDS_MAX, API_IDEMPOTENCY_KEY_BYTES_MAX};

/// What a publication is made of, to one channel or to many.
#[derive(Debug, Deserialize)]
struct Content<'a> {
    #[serde(default, borrow, deserialize_with = "given")]
    data: Option<&'a RawValue>,
    b64data: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    idempotency_key: Option<String>,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    skip_history: bool,
}

#[derive(Deserialize)]
struct To {
    channel: Option<String>,
}

#[derive(Deserialize)]
struct ToMany {
    #[serde(default)]
    channels: Vec<String>,
}

/// `null` is a value; only what is not there is none.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// A publication on its way.
#[derive(Debug)]
pub(super) enum Publishing {
    Ended(Outcome),
    Asked(Answer),
    /// Another request does it, or did.
    Again(watch::Receiver<Option<Outcome>>),
}

impl Publishing {
    pub(super) async fn end(self) -> Outcome {
        match self {
            Self::Ended(outcome) => outcome,
            Self::Asked(answer) => answer.wait().await.map(|_| json!({})),
            Self::Again(mut ending) => match ending.wait_for(Option::is_some).await {
                Ok(ended) => ended.clone().unwrap_or(Err(ErrorCode::Internal)),
                Err(_) => Err(ErrorCode::Internal),
            },
        }
    }
}

impl Content<'_> {
    /// The publication that it is.
    fn publication(&self) -> Result<Arc<Publication>, ErrorCode> {
        let data = match (&self.b64data, self.data) {
            (Some(text), _) => STANDARD.decode(text).map_err(|_| ErrorCode::BadRequest)?,
            (None, Some(data)) => data.get().as_bytes().to_vec(),
            (None, None) => Vec::new(),
        };
        if data.is_empty() {
            return Err(ErrorCode::BadRequest);
        }
        let is_tagged = self.tags.as_ref().is_some_and(|tags| !tags.is_empty());
        if self.version > 0 || self.skip_history || is_tagged {
            return Err(ErrorCode::NotAvailable);
        }
        let (user, client) = (Arc::from(""), String::new());
        Ok(Arc::new(Publication { data, user, client, conn_info: None }))
    }
}

impl Api {
    /// Takes a publication to its hub.
    pub(super) async fn publish(&self, params: &str) -> serde_json::Result<Publishing> {
        let To { channel } = serde_json::from_str(params)?;
        let content: Content<'_> = serde_json::from_str(params)?;
        Ok(match content.publication() {
            Ok(publication) => {
                let key = content.idempotency_key.as_deref().unwrap_or_default();
                self.publish_to(&channel.unwrap_or_default(), &publication, key).await
            }
            Err(code) => Publishing::Ended(Err(code)),
        })
    }

    /// Takes a publication to the hub of each channel.
    pub(super) async fn broadcast(
        &self,
        params: &str,
    ) -> serde_json::Result<Result<Vec<Publishing>, ErrorCode>> {
        let ToMany { channels } = serde_json::from_str(params)?;
        let content: Content<'_> = serde_json::from_str(params)?;
        if channels.is_empty() {
            return Ok(Err(ErrorCode::BadRequest));
        }
        if channels.len() > API_COMMANDS_MAX {
            return Ok(Err(ErrorCode::LimitExceeded));
        }
        let publication = match content.publication() {
            Ok(publication) => publication,
            Err(code) => return Ok(Err(code)),
        };
        let key = content.idempotency_key.as_deref().unwrap_or_default();
        let mut all = Vec::with_capacity(channels.len());
        for channel in channels {
            all.push(self.publish_to(&channel, &publication, key).await);
        }
        Ok(Ok(all))
    }

    async fn publish_to(&self, channel: &str, publication: &Arc<Publication>, key: &str) -> Publishing {
        if channel.is_empty() || key.len() > API_IDEMPOTENCY_KEY_BYTES_MAX {
            return Publishing::Ended(Err(ErrorCode::BadRequest));
        }
        let shard = self.asks.hub(channel);
        let ask = Ask::Publish { channel: channel.into(), publication: Arc::clone(publication) };
        if key.is_empty() {
            return match self.asks.ask(shard, ask).await {
                Ok(answer) => Publishing::Asked(answer),
                Err(code) => Publishing::Ended(Err(code)),
            };
        }
        match self.idempotency.look(channel, key, Instant::now()) {
            Seen::Again(ending) => Publishing::Again(ending),
            Seen::New(telling) => {
                let known = Arc::clone(&self.idempotency);
                match self.asks.ask(shard, ask).await {
                    // Whoever asked may go; others with the same key still learn of it.
                    Ok(answer) => {
                        let (told, ending) = watch::channel(None);
                        tokio::spawn(async move {
                            let outcome = Publishing::Asked(answer).end().await;
                            known.tell(telling, outcome.clone());
                            let _ = told.send(Some(outcome));
                        });
                        Publishing::Again(ending)
                    }
                    Err(code) => {
                        known.tell(telling, Err(code));
                        Publishing::Ended(Err(code))
                    }
                }
            }
        }
    }
}

/// What became of a broadcast: an answer for each channel.
pub(super) async fn end_all(all: Vec<Publishing>) -> Value {
    let mut responses = Vec::with_capacity(all.len());
    for one in all {
        responses.push(answer::value(&one.end().await));
    }
    json!({ "responses": responses })
}
