//! The fleet over HTTP: `GET /nodes` lists its members, `GET /connections?user=U` finds a user, from any node.
//!
//! Invariant: a question to a shard is waited for outside of the runtime's thread, and not for ever.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use roadstead_control::{FleetTally, MemberStatus, NodeId, Roster, Standing, View, owner};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Subject;
use crate::flow::{LocatedEntry, Unlocated, client_id};

/// Names over which ownership is measured: shares are right to about a hundredth.
const SAMPLE: u32 = 8_192;

/// What is seen of a node's fleet.
#[derive(Clone, Debug)]
pub struct Picture {
    /// How far this node is.
    pub standing: Standing,
    /// Everybody who is known.
    pub members: Vec<MemberStatus>,
    /// What is acted upon.
    pub roster: Option<Arc<Roster>>,
    /// What was counted.
    pub tally: FleetTally,
}

/// Takes pictures of the fleet; quick, from any thread.
#[derive(Clone)]
pub struct Pictures(pub Arc<dyn Fn() -> Picture + Send + Sync>);

/// What became of a question for a user.
pub type Found = Result<Vec<LocatedEntry>, Unlocated>;

/// Asks where a user is and waits for the answer, up to a few seconds.
#[derive(Clone)]
pub struct Finder(pub Arc<dyn Fn(&str) -> Found + Send + Sync>);

impl fmt::Debug for Pictures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pictures")
    }
}

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Finder")
    }
}

/// Everybody in the fleet, as this node sees it.
pub(super) async fn nodes(Shared(subject): Shared<Arc<Subject>>) -> Response {
    let Some(pictures) = &subject.pictures else {
        let body = json!({ "fleet": false, "nodes": [alone(&subject)], "complete": true });
        return Json(body).into_response();
    };
    let picture = (pictures.0)();
    let view = picture.roster.as_ref().map(|roster| &roster.view);
    let shares = view.map(shares).unwrap_or_default();
    let nodes: Vec<Value> = picture.members.iter().map(|member| node(member, &picture, &shares)).collect();
    Json(json!({
        "fleet": true,
        "standing": format!("{:?}", picture.standing).to_lowercase(),
        "view": view.map(View::number),
        "nodes": nodes,
        "complete": true,
    }))
    .into_response()
}

fn alone(subject: &Subject) -> Value {
    json!({
        "name": subject.node.as_str(),
        "id": subject.node.id().to_string(),
        "state": "alive",
        "region": subject.region.as_str(),
        "shards": subject.counters.len(),
        "ownership": 1.0,
        "self": true,
    })
}

fn node(status: &MemberStatus, picture: &Picture, shares: &[(NodeId, f64)]) -> Value {
    let MemberStatus { member, state } = status;
    let in_view = picture.roster.as_ref().and_then(|roster| roster.view.node(member.id()));
    let share = shares.iter().find(|(id, _)| *id == member.id()).map_or(0.0, |(_, share)| *share);
    let version = member.version;
    json!({
        "name": member.name.as_str(),
        "id": member.id().to_string(),
        "state": format!("{state:?}").to_lowercase(),
        "draining": member.draining,
        "in_view": in_view.is_some_and(|node| node.incarnation == member.incarnation),
        "active": in_view.is_some_and(|node| node.active),
        "region": member.region.as_str(),
        "address": member.address.to_string(),
        "version": format!("{}.{}.{}", version.0, version.1, version.2),
        "weight": member.weight.get(),
        "shards": member.shards,
        "connections": member.connections,
        "incarnation": member.incarnation.0,
        "ownership": share,
    })
}

/// Which part of all channels each node owns, measured over fixed names.
fn shares(view: &View) -> Vec<(NodeId, f64)> {
    let mut counts: Vec<(NodeId, u32)> = view.nodes().iter().map(|node| (node.id, 0)).collect();
    for number in 0..SAMPLE {
        let owner = owner(view, &number.to_le_bytes());
        if let Some(count) = counts.iter_mut().find(|(id, _)| Some(*id) == owner) {
            count.1 += 1;
        }
    }
    counts.into_iter().map(|(id, count)| (id, f64::from(count) / f64::from(SAMPLE))).collect()
}

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    user: String,
}

/// Where a user is connected.
pub(super) async fn connections(
    Shared(subject): Shared<Arc<Subject>>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let refuse = |status: StatusCode, why: &str| (status, Json(json!({ "error": why }))).into_response();
    if wanted.user.is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "user must not be empty");
    }
    let (finder, user) = (subject.finder.clone(), wanted.user.clone());
    let asked = tokio::task::spawn_blocking(move || (finder.0)(&user));
    match asked.await.unwrap_or(Err(Unlocated::Busy)) {
        Ok(entries) => {
            let picture = subject.pictures.as_ref().map(|pictures| (pictures.0)());
            let found: Vec<Value> =
                entries.iter().map(|entry| connection(entry, &subject, picture.as_ref())).collect();
            Json(json!({ "user": wanted.user, "connections": found, "complete": true })).into_response()
        }
        Err(why) => refuse(StatusCode::SERVICE_UNAVAILABLE, reason(why)),
    }
}

fn connection(entry: &LocatedEntry, subject: &Subject, picture: Option<&Picture>) -> Value {
    let members = picture.map_or(&[][..], |picture| &picture.members);
    let name = members
        .iter()
        .find(|status| status.member.id() == entry.node)
        .map(|status| status.member.name.as_str().to_owned())
        .or_else(|| (subject.node.id() == entry.node).then(|| subject.node.as_str().to_owned()))
        .unwrap_or_else(|| entry.node.to_string());
    json!({
        "node": name,
        "shard": entry.shard,
        "client": client_id(entry.node, entry.connection),
        "age_s": entry.age_s,
    })
}

fn reason(why: Unlocated) -> &'static str {
    match why {
        Unlocated::NoOwner => {
            "no node owns the user at present: the fleet is changing, ask again in a moment"
        }
        Unlocated::Unreachable => "the node that owns the user cannot be reached at present",
        Unlocated::NoAnswer => "the node that owns the user did not answer within 3 s",
        Unlocated::Busy => "too many such questions are open",
    }
}
