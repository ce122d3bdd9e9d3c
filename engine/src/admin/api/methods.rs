//! The methods of the server API, and how each is carried out.

use roadstead_protocol::ErrorCode;
use serde_json::json;

use super::asks::Answer;
use super::publishing::{Publishing, end_all};
use super::table::METHODS;
use super::{Api, Outcome};

/// A method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    Publish,
    Broadcast,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Refresh,
    Presence,
    PresenceStats,
    History,
    HistoryRemove,
    Channels,
    Info,
    Rpc,
}

/// The method of this name.
pub(super) fn find(name: &str) -> Option<Method> {
    METHODS.iter().find(|known| known.name == name).map(|known| known.method)
}

/// A method on its way.
#[derive(Debug)]
pub(super) enum Pending {
    Ended(Outcome),
    Publish(Publishing),
    Broadcast(Vec<Publishing>),
    Asked(Answer),
}

impl Pending {
    pub(super) async fn end(self) -> Outcome {
        match self {
            Self::Ended(outcome) => outcome,
            Self::Publish(publishing) => publishing.end().await,
            Self::Broadcast(all) => Ok(end_all(all).await),
            Self::Asked(answer) => answer.wait().await.map(|_| json!({})),
        }
    }
}

impl Api {
    /// Does what is asked.
    pub(super) async fn execute(&self, method: Method, params: &str) -> serde_json::Result<Outcome> {
        Ok(self.begin(method, params).await?.end().await)
    }

    /// Begins what is asked. Of publications, those of a channel keep the order in which they begin.
    pub(super) async fn begin(&self, method: Method, params: &str) -> serde_json::Result<Pending> {
        let asked = match method {
            Method::Publish => return Ok(Pending::Publish(self.publish(params).await?)),
            Method::Broadcast => {
                let all = self.broadcast(params).await?;
                return Ok(all.map_or_else(|code| Pending::Ended(Err(code)), Pending::Broadcast));
            }
            Method::Info => return Ok(Pending::Ended(self.info().await)),
            Method::Channels => return Ok(Pending::Ended(self.channels(params).await?)),
            Method::Subscribe => self.subscribe(params).await?,
            Method::Unsubscribe => self.unsubscribe(params).await?,
            Method::Disconnect => self.disconnect(params).await?,
            Method::Refresh => self.refresh(params).await?,
            Method::Presence
            | Method::PresenceStats
            | Method::History
            | Method::HistoryRemove
            | Method::Rpc => Err(ErrorCode::NotAvailable),
        };
        Ok(asked.map_or_else(|code| Pending::Ended(Err(code)), Pending::Asked))
    }
}
