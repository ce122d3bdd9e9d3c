//! The fleet over HTTP: `GET /nodes` lists its members, `GET /connections?user=U` finds a user, from any node.
//!
//! Invariant: a question to a shard is waited for outside of the runtime's thread, and not for ever.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use roadstead_control::{
    ClusterName, Duty, FleetTally, MemberState, MemberStatus, NodeId, Roster, Standing, View, owner,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Subject, VERSION};
use crate::counters::Metric;
use crate::flow::{LocatedEntry, Unlocated, client_id};
use crate::health::State;

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

/// The fleet that a node belongs to.
#[derive(Debug)]
pub struct FleetSubject {
    /// Its name.
    pub cluster: ClusterName,
    /// Shows it.
    pub pictures: Pictures,
    /// Who owns how much.
    pub shares: Shares,
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

/// Which part of all channels each node owns, out of 1, by rising id.
type Owned = Arc<[(NodeId, f64)]>;

/// What each node owns: measured once for each View, by number, whoever asks.
#[derive(Debug, Default)]
pub struct Shares(Mutex<Option<(u64, Owned)>>);

impl Shares {
    /// Of a View's nodes.
    pub(super) fn of(&self, view: &View) -> Owned {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((number, shares)) if *number == view.number() => Arc::clone(shares),
            _ => {
                let shares: Owned = measure(view).into();
                *known = Some((view.number(), Arc::clone(&shares)));
                shares
            }
        }
    }
}

/// Over fixed names, the same on every node.
fn measure(view: &View) -> Vec<(NodeId, f64)> {
    let mut counts = vec![0_u32; view.nodes().len()];
    for number in 0..SAMPLE {
        let owner = owner(view, &number.to_le_bytes());
        let at = owner.and_then(|id| view.nodes().binary_search_by_key(&id, |node| node.id).ok());
        if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
            *count += 1;
        }
    }
    let share = |count| f64::from(count) / f64::from(SAMPLE);
    view.nodes().iter().zip(counts).map(|(node, count)| (node.id, share(count))).collect()
}

/// What a node owns, out of 1.
pub(super) fn share_of(shares: &[(NodeId, f64)], id: NodeId) -> f64 {
    shares.binary_search_by_key(&id, |(id, _)| *id).map_or(0.0, |at| shares[at].1)
}

/// One word for how far a node is with its fleet.
pub(super) fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Joining => "joining",
        Standing::Settling => "settling",
        Standing::Serving => "serving",
    }
}

/// One word for how a node is seen.
pub(super) fn state_word(state: MemberState) -> &'static str {
    match state {
        MemberState::Alive => "alive",
        MemberState::Suspect => "suspect",
        MemberState::Down => "down",
        MemberState::Left => "left",
    }
}

/// Everybody in the fleet, as this node sees it, by name. Not complete while the node itself is not in the fleet.
pub(super) async fn nodes(Shared(subject): Shared<Arc<Subject>>) -> Json<Value> {
    Json(listed(&subject))
}

fn listed(subject: &Subject) -> Value {
    let Some(fleet) = &subject.fleet else {
        return json!({ "node": subject.name, "fleet": null, "nodes": [alone(subject)], "complete": true });
    };
    let picture = (fleet.pictures.0)();
    let view = picture.roster.as_ref().map(|roster| &roster.view);
    let shares = view.map(|view| fleet.shares.of(view));
    let mut members: Vec<&MemberStatus> = picture.members.iter().collect();
    members.sort_by_key(|status| &status.member.name);
    let nodes =
        members.iter().map(|status| node(status, subject, &picture, shares.as_deref().unwrap_or(&[])));
    json!({
        "node": subject.name,
        "fleet": fleet.cluster.as_str(),
        "standing": standing_word(picture.standing),
        "view": view.map(View::number),
        "nodes": nodes.collect::<Vec<_>>(),
        "complete": picture.standing == Standing::Serving,
    })
}

fn alone(subject: &Subject) -> Value {
    json!({
        "name": subject.name,
        "id": subject.node.id().to_string(),
        "self": true,
        "state": "alive",
        "draining": subject.health.state() == State::Draining,
        "in_view": true,
        "active": true,
        "region": subject.region.as_str(),
        "version": VERSION,
        "shards": subject.counters.len(),
        "connections": connections_here(subject),
        "ownership": 1.0,
    })
}

fn node(status: &MemberStatus, subject: &Subject, picture: &Picture, shares: &[(NodeId, f64)]) -> Value {
    let MemberStatus { member, state } = status;
    let in_view = picture.roster.as_ref().and_then(|roster| roster.view.node(member.id()));
    let in_view = in_view.filter(|node| node.incarnation == member.incarnation);
    let is_self = member.name == subject.node;
    let version = member.version;
    json!({
        "name": member.name.as_str(),
        "id": member.id().to_string(),
        "self": is_self,
        "state": state_word(*state),
        "draining": member.draining,
        "in_view": in_view.is_some(),
        "active": in_view.is_some_and(|node| node.duty == Duty::Active),
        "region": member.region.as_str(),
        "address": member.address.to_string(),
        "version": format!("{}.{}.{}", version.0, version.1, version.2),
        "weight": member.weight.get(),
        "shards": member.shards,
        "connections": if is_self { connections_here(subject) } else { member.connections.into() },
        "incarnation": member.incarnation.0,
        "ownership": if in_view.is_some() { share_of(shares, member.id()) } else { 0.0 },
    })
}

fn connections_here(subject: &Subject) -> u64 {
    subject.counters.iter().map(|counters| counters.get(Metric::Connections)).sum()
}

/// The fleet in a few words, for the status of the node; null if it is in none.
pub(super) fn summary(subject: &Subject) -> Value {
    let Some(fleet) = &subject.fleet else { return Value::Null };
    let picture = (fleet.pictures.0)();
    let view = picture.roster.as_ref().map(|roster| &roster.view);
    let members = picture.members.iter().map(|MemberStatus { member, state }| {
        json!({
            "name": member.name.as_str(),
            "state": state_word(*state),
            "draining": member.draining,
            "connections": member.connections,
        })
    });
    json!({
        "cluster": fleet.cluster.as_str(),
        "standing": standing_word(picture.standing),
        "view": view.map(View::number),
        "nodes": view.map_or(0, |view| view.nodes().len()),
        "ownership": view.map_or(0.0, |view| share_of(&fleet.shares.of(view), subject.node.id())),
        "members": members.collect::<Vec<_>>(),
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// Missing is empty.
    #[serde(default)]
    user: String,
}

/// Where a user is connected. Not complete while a node of the View is suspected: what it holds may be gone.
pub(super) async fn connections(
    Shared(subject): Shared<Arc<Subject>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let refuse = |status: StatusCode, why: &str| (status, Json(json!({ "error": why }))).into_response();
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    if wanted.user.is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "a user must be named: /connections?user=USER");
    }
    let (finder, user) = (subject.finder.clone(), wanted.user.clone());
    let asked = tokio::task::spawn_blocking(move || (finder.0)(&user));
    match asked.await.unwrap_or(Err(Unlocated::Busy)) {
        Ok(entries) => {
            let picture = subject.fleet.as_ref().map(|fleet| (fleet.pictures.0)());
            let found: Vec<Value> =
                entries.iter().map(|entry| connection(entry, &subject, picture.as_ref())).collect();
            let is_complete = picture.is_none_or(|picture| all_answer(&picture));
            Json(json!({ "user": wanted.user, "connections": found, "complete": is_complete }))
                .into_response()
        }
        Err(why) => refuse(StatusCode::SERVICE_UNAVAILABLE, reason(why)),
    }
}

fn all_answer(picture: &Picture) -> bool {
    let in_view = |status: &&MemberStatus| {
        let view = picture.roster.as_ref().map(|roster| &roster.view);
        view.is_some_and(|view| view.contains(status.member.id(), status.member.incarnation))
    };
    picture.members.iter().filter(in_view).all(|status| status.state == MemberState::Alive)
}

fn connection(entry: &LocatedEntry, subject: &Subject, picture: Option<&Picture>) -> Value {
    let members = picture.map_or(&[][..], |picture| &picture.members);
    let known = members.iter().map(|status| &status.member.name).chain([&subject.node]);
    let name = known.into_iter().find(|name| name.id() == entry.node);
    json!({
        "node": name.map_or_else(|| entry.node.to_string(), ToString::to_string),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::{fleet, subject};

    #[test]
    fn a_node_without_a_fleet_lists_itself() {
        let subject = subject(2);
        subject.counters[1].set(Metric::Connections, 4);
        let said = listed(&subject);
        assert_eq!((&said["fleet"], &said["complete"]), (&Value::Null, &true.into()));
        let node = &said["nodes"][0];
        assert_eq!(
            (&node["name"], &node["connections"], &node["ownership"]),
            (&"test".into(), &4.into(), &1.0.into())
        );
        assert_eq!(summary(&subject), Value::Null);
    }

    #[test]
    fn nodes_are_listed_with_what_they_own() {
        let mut subject = subject(1);
        subject.counters[0].set(Metric::Connections, 9);
        subject.fleet = Some(fleet());
        let said = listed(&subject);
        let rows: Vec<_> = said["nodes"].as_array().expect("a list").iter().collect();
        let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().expect("a name")).collect();
        assert_eq!(names, ["gone", "other", "test"]);
        let column = |key: &str| rows.iter().map(|row| row[key].clone()).collect::<Vec<_>>();
        assert_eq!(column("state"), ["down", "suspect", "alive"]);
        assert_eq!(column("in_view"), [false, true, true]);
        assert_eq!(column("self"), [false, false, true]);
        assert_eq!(column("connections"), [70, 70, 9], "the own count is fresh");
        let owned: Vec<f64> = rows.iter().filter_map(|row| row["ownership"].as_f64()).collect();
        assert_eq!(owned[0], 0.0);
        assert!((owned[1] - 0.5).abs() < 0.03 && (owned[1] + owned[2] - 1.0).abs() < 1e-9, "{owned:?}");
        assert_eq!(said["complete"], true);
        let summary = summary(&subject);
        assert_eq!(
            (&summary["cluster"], &summary["nodes"], &summary["view"]),
            (&"roadstead".into(), &2.into(), &3.into())
        );
        assert_eq!(summary["ownership"], rows[2]["ownership"]);
    }

    #[test]
    fn a_suspected_node_makes_an_answer_partial() {
        let mut picture = (fleet().pictures.0)();
        assert!(!all_answer(&picture));
        for status in &mut picture.members {
            if status.state == MemberState::Suspect {
                status.state = MemberState::Alive;
            }
        }
        assert!(all_answer(&picture), "who is down is in the View no more and does not count");
    }

    #[test]
    fn a_connection_names_its_node() {
        let subject = subject(1);
        let picture = (fleet().pictures.0)();
        let other =
            picture.members.iter().find(|status| status.member.name.as_str() == "other").expect("there");
        for (node, name) in
            [(other.member.id(), "other"), (subject.node.id(), "test"), (NodeId(0xab), "000000ab")]
        {
            let entry = LocatedEntry { node, shard: 1, connection: 1 << 56 | 3 << 32 | 5, age_s: 60 };
            let said = connection(&entry, &subject, Some(&picture));
            assert_eq!(
                (&said["node"], &said["shard"], &said["age_s"]),
                (&name.into(), &1.into(), &60.into())
            );
            assert_eq!(said["client"], format!("{node}-0001-0000-0005-000000000003"));
        }
    }
}
