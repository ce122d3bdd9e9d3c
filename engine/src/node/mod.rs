//! A node: everything that runs in one process, from its start to its end.
//!
//! Invariants: what a shard needs is made here and given to it; no shard waits for this thread; a shard that panics or
//! stalls ends the process, because one in an unknown state must not serve.
//!
//! ```text
//! run: descriptors ─> doors ─> shards listen ─> control joins ─> admin ─> supervise: ready ... ─> all shards finished
//! ```

mod bans;
mod ceiling;
mod certificates;
mod control;
mod descriptors;
mod doors;
mod drain;
mod failure;
mod happenings;
mod joining;
mod key_sets;
mod revocation_file;
mod revoking;
mod scarcity;
mod server_api;
mod service;
mod shards;
mod supervisor;

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use roadstead_control::limits::NODE_NAME_BYTES_MAX;
use roadstead_control::{NodeName, hub_shard};

use crate::admin::{self, Finder, FleetSubject, Pictures, RevocationDesk, Shares, Subject, Wishes};
use crate::admission::Admission;
use crate::config::{Configuration, Sources};
use crate::flow::{Unlocated, personal_channel};
use crate::guards::Guards;
use crate::health::Health;
use crate::logging::Logging;
use crate::settings::Settings;
use crate::shard::Order;
use crate::token::Verifier;

pub use ceiling::{CeilingOutlook, ceiling_outlook, fixed_bytes};
use certificates::Certificates;
pub use descriptors::{Outlook, outlook};
pub use failure::Failure;
use happenings::Happening;
use joining::Joining;
use key_sets::KeySets;
use revoking::Revoking;
use scarcity::Scarcity;
use shards::Voice;

/// Runs a node until it is told to stop.
///
/// # Errors
/// Why it could not start, or why it ended although nobody asked.
pub fn run(configuration: Configuration, sources: &Sources, logging: &Logging) -> Result<(), Failure> {
    let started = Instant::now();
    let (told, happenings) = happenings::channel();
    happenings::hear_signals(told.clone()).map_err(|error| Failure::start("cannot hear signals", &error))?;
    failure::abort_when_a_shard_panics(logging.clone());
    for warning in &configuration.warnings {
        tracing::warn!("{warning}");
    }

    let selected = roadstead_io::select(configuration.settings.io)
        .map_err(|error| Failure::Demand(error.to_string()))?;
    for note in &selected.notes {
        tracing::warn!("{note}");
    }
    let room = descriptors::make_room(selected.kind, &configuration.settings)?;
    let ceiling_bytes = ceiling::ceiling(&configuration.settings)?;
    let mut doors = doors::open(&configuration.settings)?;
    let fitted = Fitted { connections: room.connections, page_origins: doors.page_origins() };
    let settings = Arc::new(fitted.fit(&configuration.settings));
    let mut key_sets = KeySets::new(told.clone());
    let remotes = key_sets.prepare(&settings);
    let verifier =
        Verifier::load(&settings, remotes.remotes()).map_err(|error| Failure::Demand(error.to_string()))?;
    key_sets.take(remotes).map_err(|error| Failure::start("cannot start to fetch key sets", &error))?;
    if key_sets.are_awaited(&settings) {
        tracing::info!(
            "nobody can be let in before the first keys have come from token.jwks_url: not ready until then"
        );
    }
    let verifier = Arc::new(verifier);
    let fewer_descriptors = room.connections < configuration.settings.limits.connections;
    let admission =
        Arc::new(Admission::new(settings.shards, ceiling_bytes, settings.tls.is_on(), fewer_descriptors));
    let guards = new_guards(&settings)?;
    let scarcity = Scarcity::new(Arc::clone(&admission), settings.shards);

    let name = name(&settings);
    let joining = Joining::prepare(&settings, &name)?;
    let certificates = Certificates::load(&settings, joining.as_ref().map(Joining::keys))?;
    let revoking = revoking::prepare(&settings)?;
    let server_api = server_api::prepare(&settings)?;
    let fleet = joining
        .as_ref()
        .map(|joining| (joining.address, joining.parts(&settings, certificates.links().cloned())));
    let shards = shards::start(
        &settings,
        &verifier,
        certificates.identity(),
        selected.kind,
        &room,
        started,
        &told,
        &name,
        fleet,
        &admission,
        &guards,
        &revoking.handle(),
        server_api.teller(),
    )?;
    let desk = desk(revoking.handle());
    revoking.start(shards.voice())?;
    let control = joining.as_ref().map(Joining::control);
    let cluster = joining.as_ref().map(|joining| joining.address);
    if let Some(joining) = joining {
        joining.start(&shards, started, &told)?;
    }
    let health = Arc::new(Health::new(shards.len(), supervisor::milliseconds(started)));
    certificates.show(&health);
    let subject = Subject {
        name: name.as_str().into(),
        io: selected.kind.to_string(),
        listen: shards.addresses().to_vec(),
        tls: settings.tls.is_on(),
        insecure: settings.insecure,
        echo: settings.echo,
        counters: shards.counters().to_vec(),
        health: Arc::clone(&health),
        admission,
        guards: Arc::clone(&guards),
        started,
        wishes: wishes(&told),
        node: name.clone(),
        region: settings.node.region.clone(),
        finder: finder(shards.voice()),
        revocations: desk,
        key_sets: key_sets.desk(),
        fleet: control.clone().map(|control| FleetSubject {
            cluster: settings.cluster.name.clone(),
            pictures: Pictures(Arc::new(move || control.picture())),
            shares: Shares::default(),
        }),
    };
    let ready_line = ready_line(&subject, doors.admin_address(), doors.api_address(), cluster);
    let api_keys = server_api.keys();
    admin::start(doors.take(), subject, server_api.parts(&shards))
        .map_err(|error| Failure::start("cannot start the admin interface", &error))?;

    let node = supervisor::Node {
        settings: configuration.settings,
        fitted,
        shards,
        scarcity,
        guards,
        api_keys,
        health,
        started,
        ready_line,
        course: supervisor::Course::new(),
        certificates,
        key_sets,
        control,
    };
    node.supervise(&happenings, sources, logging)
}

/// What the machine changed about the settings: kept apart, so that a reload can do it again.
#[derive(Debug)]
struct Fitted {
    /// Connections that there are descriptors for.
    connections: u32,
    /// Origins under which the built-in page is served.
    page_origins: Vec<String>,
}

impl Fitted {
    fn fit(&self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        settings.limits.connections = settings.limits.connections.min(self.connections);
        settings.client.allowed_origins.extend_from_slice(&self.page_origins);
        settings
    }
}

/// The guards of a node, who hash under keys of this process alone.
fn new_guards(settings: &Arc<Settings>) -> Result<Arc<Guards>, Failure> {
    let seeds = shards::seeds(1).map_err(|error| Failure::start("cannot start the guards", &error))?;
    Ok(Arc::new(Guards::new(Arc::clone(settings), (seeds[0][0], seeds[0][1]))))
}

/// The way of operators' questions for users: to the hub of the user's channel, which answers within 3 s.
fn finder(voice: Voice) -> Finder {
    const PATIENCE: Duration = Duration::from_millis(3_500);
    Finder(Arc::new(move |user| {
        let hub = hub_shard(personal_channel(user).as_bytes(), voice.shards());
        let (answer, answered) = bounded(1);
        if !voice.order_one(usize::from(hub), Order::Locate { user: Arc::from(user), answer }) {
            return Err(Unlocated::Busy);
        }
        answered.recv_timeout(PATIENCE).unwrap_or(Err(Unlocated::NoAnswer))
    }))
}

/// The way of operators to what is revoked.
fn desk(revoking: Revoking) -> RevocationDesk {
    let shown = revoking.clone();
    RevocationDesk {
        revoke: Arc::new(move |revocation, answer| revoking.revoke(revocation, answer)),
        standing: Arc::new(move || shown.shown()),
    }
}

/// The way of operators' wishes to the supervisor.
fn wishes(told: &Sender<Happening>) -> Wishes {
    let told = told.clone();
    Wishes(Arc::new(move |wish, granted| told.try_send(Happening::Wish(wish, granted)).is_ok()))
}

fn ready_line(
    subject: &Subject,
    admin: Option<SocketAddr>,
    api: Option<SocketAddr>,
    cluster: Option<SocketAddr>,
) -> String {
    let listen: Vec<String> = subject.listen.iter().map(ToString::to_string).collect();
    let admin = admin.map_or_else(|| "off".to_owned(), |address| address.to_string());
    let (io, shards) = (&subject.io, subject.counters.len());
    let fleet =
        cluster.map_or_else(String::new, |address| format!(" node={} cluster={address}", subject.name));
    let api = api.map_or_else(String::new, |address| format!(" api={address}"));
    format!("roadstead ready listen={} admin={admin}{api} io={io} shards={shards}{fleet}", listen.join(","))
}

/// The one line on stdout. Whoever closed stdout does not want it.
fn announce(line: &str) {
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// The configured name, or one made from the host's.
fn name(settings: &Settings) -> NodeName {
    let host = || fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = settings.node.name.clone().unwrap_or_else(|| host_as_name(&host()));
    NodeName::new(&name).expect("checked by the configuration, or made to fit")
}

/// A host's name in the characters of a node's name. Two hosts that differ in nothing else get the same one, and the later is
/// refused by the fleet.
fn host_as_name(host: &str) -> String {
    let fitting = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-' | '.' | '_') => c,
        _ => '-',
    };
    let name: String = host.trim().chars().map(fitting).take(NODE_NAME_BYTES_MAX).collect();
    if name.is_empty() { "roadstead".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_give_names() {
        let long = "x".repeat(80);
        for (host, name) in [
            ("gate-1.example.org\n", "gate-1.example.org"),
            ("Gate 1", "gate-1"),
            ("tür_2", "t-r_2"),
            ("", "roadstead"),
            (&long, &long[..NODE_NAME_BYTES_MAX]),
        ] {
            assert_eq!(host_as_name(host), name);
            assert!(NodeName::new(&host_as_name(host)).is_ok());
        }
    }
}
