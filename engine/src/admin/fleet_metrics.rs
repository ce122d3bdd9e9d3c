//! The fleet as Prometheus sees it from one node.

use roadstead_control::{FleetTally, MemberState};

use super::Subject;
use super::fleet::{share_of, state_word};
use super::metrics::Text;
use crate::counters::Kind;

type Row = (&'static str, &'static str, Option<&'static str>, fn(&FleetTally) -> u64);

const REJECTED: &str = "roadstead_gossip_rejected_total";
const REJECTED_HELP: &str = "Datagrams that were refused, by the grounds.";

/// What is counted: name, help, the value of `reason`, where it stands. Rows of one name follow each other.
const TALLIES: &[Row] = &[
    ("roadstead_gossip_received_total", "Datagrams that came in, good or bad.", None, |t| {
        t.datagrams_received
    }),
    ("roadstead_gossip_sent_total", "Datagrams sent to other nodes.", None, |t| t.datagrams_sent),
    ("roadstead_gossip_dropped_total", "Datagrams that found no room and were not sent.", None, |t| {
        t.datagrams_dropped
    }),
    (REJECTED, REJECTED_HELP, Some("malformed"), |t| t.rejected_malformed),
    (REJECTED, REJECTED_HELP, Some("oversized"), |t| t.rejected_oversized),
    (REJECTED, REJECTED_HELP, Some("version"), |t| t.rejected_version),
    (REJECTED, REJECTED_HELP, Some("hash_version"), |t| t.rejected_hash_version),
    (REJECTED, REJECTED_HELP, Some("cluster"), |t| t.rejected_cluster),
    (REJECTED, REJECTED_HELP, Some("key"), |t| t.rejected_key),
    (REJECTED, REJECTED_HELP, Some("forged"), |t| t.rejected_forged),
    (REJECTED, REJECTED_HELP, Some("replayed"), |t| t.rejected_replayed),
    (REJECTED, REJECTED_HELP, Some("region"), |t| t.rejected_region),
    (REJECTED, REJECTED_HELP, Some("duplicate"), |t| t.rejected_duplicate),
    (REJECTED, REJECTED_HELP, Some("ended"), |t| t.rejected_ended),
    ("roadstead_fleet_refused_by_others_total", "Times that another node refused this one.", None, |t| {
        t.refused_by_others
    }),
    (
        "roadstead_fleet_refused_unproven_total",
        "Refusals of this node that it cannot open, from addresses of seeds and nodes.",
        None,
        |t| t.refused_unproven,
    ),
    ("roadstead_fleet_full_total", "Nodes that were not taken up since the fleet is full.", None, |t| t.full),
    ("roadstead_fleet_lost_links_asked_total", "Nodes asked at once since their link broke.", None, |t| {
        t.hints
    }),
    ("roadstead_fleet_suspicions_total", "Suspicions raised by this node.", None, |t| t.suspicions),
    ("roadstead_fleet_deaths_total", "Lives of other nodes that were found to be over.", None, |t| t.deaths),
    ("roadstead_fleet_rejoins_total", "Times that this node was taken for dead and came back.", None, |t| {
        t.rejoins
    }),
    ("roadstead_fleet_stalls_total", "Times that this node stood still for too long.", None, |t| t.stalls),
    ("roadstead_fleet_events_dropped_total", "Events that came too often for the log.", None, |t| {
        t.events_dropped
    }),
];

/// The one series that names the node.
pub(super) fn name_node(text: &mut Text, subject: &Subject) {
    let name = "roadstead_node_info";
    text.name(name, "Which node this is; the value is always 1.", Kind::Gauge);
    let mut labels = vec![("node", subject.name.as_str()), ("region", subject.region.as_str())];
    labels.extend(subject.fleet.as_ref().map(|fleet| ("cluster", fleet.cluster.as_str())));
    text.sample(name, &labels, 1);
}

/// Members, View and datagrams; nothing for a node without a fleet.
pub(super) fn of_fleet(text: &mut Text, subject: &Subject) {
    let Some(fleet) = &subject.fleet else { return };
    let picture = (fleet.pictures.0)();
    let name = "roadstead_fleet_members";
    text.name(name, "Nodes that are known, by how they are seen.", Kind::Gauge);
    for state in [MemberState::Alive, MemberState::Suspect, MemberState::Down, MemberState::Left] {
        let count = picture.members.iter().filter(|status| status.state == state).count();
        text.sample(name, &[("state", state_word(state))], count);
    }
    let view = picture.roster.as_ref().map(|roster| &roster.view);
    let name = "roadstead_fleet_view";
    text.name(name, "Number of the View that is acted upon; 0: there is none yet.", Kind::Gauge);
    text.sample(name, &[], view.map_or(0, |view| view.number()));
    let name = "roadstead_fleet_view_nodes";
    text.name(name, "Nodes of the View.", Kind::Gauge);
    text.sample(name, &[], view.map_or(0, |view| view.nodes().len()));
    let name = "roadstead_fleet_owner_share";
    text.name(name, "Part of all channels that this node owns, 0 to 1.", Kind::Gauge);
    text.sample(name, &[], view.map_or(0.0, |view| share_of(&fleet.shares.of(view), subject.node.id())));

    let mut last = "";
    for (name, help, reason, count) in TALLIES {
        if *name != last {
            text.name(name, help, Kind::Counter);
            last = name;
        }
        text.sample(name, reason.map(|reason| ("reason", reason)).as_slice(), count(&picture.tally));
    }
}
