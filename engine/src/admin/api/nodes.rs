//! What nodes hold: their numbers, and their channels.

use std::collections::BTreeMap;

use roadstead_protocol::ErrorCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Outcome};
use crate::admin::{Subject, VERSION};
use crate::flow::{Ask, Census, Errand, Report};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Like {
    pattern: Box<str>,
}

impl Api {
    /// The nodes with their numbers.
    pub(super) async fn info(&self) -> Outcome {
        let Report::Census(shards) = self.survey(Errand::Census).await? else {
            return Err(ErrorCode::Internal);
        };
        let mut nodes: BTreeMap<u32, Census> = BTreeMap::new();
        for shard in shards {
            let node =
                nodes.entry(shard.node).or_insert(Census { uptime_s: shard.uptime_s, ..nothing(shard.node) });
            node.clients += shard.clients;
            node.users += shard.users;
            node.channels += shard.channels;
            node.subscriptions += shard.subscriptions;
        }
        let names = names(&self.subject);
        let nodes: Vec<Value> = nodes.values().map(|node| shown(node, &names)).collect();
        Ok(json!({ "nodes": nodes }))
    }

    /// The channels that have subscribers.
    pub(super) async fn channels(&self, params: &str) -> serde_json::Result<Outcome> {
        let Like { pattern } = serde_json::from_str(params)?;
        let found = match self.survey(Errand::Channels { pattern }).await {
            Ok(Report::Channels(found)) => found,
            Ok(_) => return Ok(Err(ErrorCode::Internal)),
            Err(code) => return Ok(Err(code)),
        };
        let mut channels: BTreeMap<Box<str>, u32> = BTreeMap::new();
        for (name, subscribers) in found {
            *channels.entry(name).or_default() += subscribers;
        }
        let channels: serde_json::Map<String, Value> = channels
            .into_iter()
            .map(|(name, subscribers)| (name.into(), json!({ "num_clients": subscribers })))
            .collect();
        Ok(Ok(json!({ "channels": channels })))
    }

    /// Asks every shard of this node, and through the first one every other node.
    async fn survey(&self, errand: Errand) -> Result<Report, ErrorCode> {
        let mut asked = Vec::new();
        for shard in 0..self.asks.shards() {
            let ask = Ask::Errand { errand: errand.clone(), everywhere: shard == 0 };
            asked.push(self.asks.ask(shard, ask).await?);
        }
        let mut report = Report::Done;
        for answer in asked {
            report.add(answer.wait().await?);
        }
        Ok(report)
    }
}

fn nothing(node: u32) -> Census {
    Census { node, clients: 0, users: 0, channels: 0, subscriptions: 0, uptime_s: 0 }
}

/// Names and versions by the ids of nodes.
fn names(subject: &Subject) -> BTreeMap<u32, (String, String)> {
    let own = (subject.node.id().0, (subject.name.clone(), VERSION.to_owned()));
    let picture = subject.fleet.as_ref().map(|fleet| (fleet.pictures.0)());
    let members = picture.map(|picture| picture.members).unwrap_or_default();
    let others = members.into_iter().map(|status| {
        let version = status.member.version;
        let version = format!("{}.{}.{}", version.0, version.1, version.2);
        (status.member.id().0, (status.member.name.to_string(), version))
    });
    others.chain([own]).collect()
}

fn shown(census: &Census, names: &BTreeMap<u32, (String, String)>) -> Value {
    let (name, version) = names.get(&census.node).cloned().unwrap_or_default();
    json!({
        "uid": format!("{:08x}", census.node),
        "name": name,
        "version": version,
        "num_clients": census.clients,
        "num_users": census.users,
        "num_channels": census.channels,
        "num_subs": census.subscriptions,
        "uptime": census.uptime_s,
    })
}
