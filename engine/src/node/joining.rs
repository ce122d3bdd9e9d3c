//! A node on its way into its fleet: its address, its keys and its record, before there is a thread or a shard.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Sender;
use roadstead_control::{ClusterKeys, FleetSettings, Incarnation, Member, NodeName, Version, Weight};
use roadstead_io::{ListenOptions, bind};

use super::Failure;
use super::control::{self, Control};
use super::happenings::Happening;
use super::shards::{self, Shards};
use crate::admin::VERSION;
use crate::config::read_keys;
use crate::settings::Settings;
use crate::shard::{FleetParts, Reporter};
use crate::tls::LinkIdentity;

/// Ports that the kernel chose for datagrams may be taken for streams; so many are tried.
const PORTS_TRIED: u32 = 32;

/// What a node needs to join.
pub(super) struct Joining {
    /// Of gossip and links.
    pub(super) address: SocketAddr,
    socket: UdpSocket,
    fleet: FleetSettings,
    waiting: control::Waiting,
}

impl Joining {
    /// Opens the gossip's socket and reads the keys; `None`: the node is no part of a fleet.
    pub(super) fn prepare(settings: &Settings, name: &NodeName) -> Result<Option<Self>, Failure> {
        let cluster = &settings.cluster;
        let (Some(listen), Some(key_file)) = (cluster.listen, &cluster.key_file) else { return Ok(None) };
        let socket = open(listen).map_err(|error| refuse(listen, &error))?;
        let address = socket.local_addr().map_err(|error| refuse(listen, &error))?;
        let unix_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let own = Member {
            name: name.clone(),
            incarnation: Incarnation(unix_ms),
            revision: 0,
            address: cluster.advertise.unwrap_or(address),
            region: settings.node.region.clone(),
            weight: Weight::new(settings.node.weight).unwrap_or_default(),
            version: own_version(),
            shards: settings.shards,
            draining: false,
            settled: false,
            connections: 0,
        };
        let fleet = FleetSettings {
            cluster: cluster.name.clone(),
            own,
            seeds: cluster.join.clone(),
            keys: read_keys(key_file).map_err(Failure::Demand)?,
            alone: cluster.alone,
        };
        let links = match cluster.tls_certificate {
            Some(_) => "TLS, with certificates on both sides",
            None => {
                "clear text after a mutual challenge with the fleet's key: keep that address in a trusted network"
            }
        };
        let (id, cluster, address) = (name.id(), &fleet.cluster, fleet.own.address);
        tracing::info!(
            "node {name} ({id}) of fleet {cluster} joins at {address}; links to other nodes are {links}"
        );
        let waiting = control::prepare(&fleet);
        Ok(Some(Self { address, socket, fleet, waiting }))
    }

    /// The control that will be.
    pub(super) fn control(&self) -> Control {
        self.waiting.control()
    }

    /// The fleet's keys.
    pub(super) fn keys(&self) -> Arc<ClusterKeys> {
        Arc::new(self.fleet.keys.clone())
    }

    /// What shards must know.
    pub(super) fn parts(&self, settings: &Settings, tls: Option<LinkIdentity>) -> FleetParts {
        let control = self.control();
        FleetParts {
            cluster: self.fleet.cluster.as_str().into(),
            own: self.fleet.own.name.clone(),
            incarnation: self.fleet.own.incarnation,
            keys: self.keys(),
            links_per_peer: u8::try_from(settings.cluster.links_per_peer).unwrap_or(u8::MAX),
            link_queue_bytes: settings.cluster.link_queue_bytes as usize,
            listener: settings.clients().len() as u16,
            reporter: Reporter(Arc::new(move |report| control.report(report))),
            tls,
        }
    }

    /// Begins to join, with shards that can be told of the fleet.
    pub(super) fn start(
        self,
        shards: &Shards,
        started: Instant,
        told: &Sender<Happening>,
    ) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::start("cannot start the control thread", &error);
        let seed = shards::seeds(1).map_err(failed)?[0];
        let parts = control::Parts {
            fleet: self.fleet,
            socket: self.socket,
            random_seed: seed[0] ^ seed[1],
            started,
        };
        self.waiting.start(parts, shards.voice(), shards.counters().to_vec(), told.clone()).map_err(failed)
    }
}

/// A socket whose port is free for links too, where the kernel chooses it. (A port that is given is checked with those of the
/// clients.)
fn open(listen: SocketAddr) -> io::Result<UdpSocket> {
    let mut tries = 0;
    loop {
        let socket = UdpSocket::bind(listen)?;
        if listen.port() != 0 {
            return Ok(socket);
        }
        let alone = ListenOptions { reuse_port: false, ..ListenOptions::default() };
        match bind(socket.local_addr()?, &alone) {
            Ok(_) => return Ok(socket),
            Err(_) if tries < PORTS_TRIED => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

fn refuse(listen: SocketAddr, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "port in use by another process; stop it or choose another with --cluster-listen".into()
        }
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has this address".into(),
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE".into(),
        _ => error.to_string(),
    };
    Failure::Start(format!("cannot listen on the cluster address {listen} (UDP): {why}"))
}

fn own_version() -> Version {
    let mut numbers = VERSION.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    Version(next(), next(), next())
}
