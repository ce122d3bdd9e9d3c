//! The control thread: the fleet's datagrams and timers, and who is told of a new View.
//!
//! Invariants: owns the UDP socket and the state machine; shards get rosters by mailbox and never wait for it; everything that
//! others see of the fleet is a copy.
//!
//! ```text
//! datagrams, time ──> Fleet ──> roster ──> Order::View, each shard
//! lost links, drain ────^  └──> picture ─> supervisor, admin      └──> events ──> log
//! ```

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use roadstead_control::{
    Fleet, FleetEvent, FleetSettings, FleetTally, MemberState, MemberStatus, Roster, Standing,
};

use super::happenings::Happening;
use super::shards::Voice;
use crate::admin::Picture;
use crate::counters::{Counters, Metric};
use crate::shard::{Order, Report};

/// A datagram of any length that UDP can bring.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// What other threads say is heard after this long at the latest.
const LISTEN_MAX: Duration = Duration::from_millis(50);
/// Between two counts of the node's connections.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Requests that wait for the thread; more are dropped, since gossip finds out by itself.
const WAITING_MAX: usize = 1_024;

/// What other threads ask of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Request {
    Report(Report),
    Draining(bool),
    Leave,
}

/// The control thread, seen from outside. Clones are handles of the same one.
#[derive(Clone)]
pub(super) struct Control {
    requests: Sender<Request>,
    picture: Arc<Mutex<Picture>>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("picture", &self.picture()).finish_non_exhaustive()
    }
}

/// What the thread needs besides.
pub(super) struct Parts {
    pub(super) fleet: FleetSettings,
    pub(super) socket: UdpSocket,
    pub(super) random_seed: u64,
    pub(super) started: Instant,
}

/// A control that is not running yet: shards need its ear before it can need theirs.
pub(super) struct Waiting {
    control: Control,
    requests: Receiver<Request>,
}

/// The ear of a control thread that will be started.
pub(super) fn prepare(fleet: &FleetSettings) -> Waiting {
    let (requests, heard) = bounded(WAITING_MAX);
    let picture = Picture {
        standing: Standing::Joining,
        members: vec![MemberStatus { member: fleet.own.clone(), state: MemberState::Alive }],
        roster: None,
        tally: FleetTally::default(),
    };
    let control = Control { requests, picture: Arc::new(Mutex::new(picture)) };
    Waiting { control, requests: heard }
}

impl Control {
    /// The fleet as it was a moment ago.
    pub(super) fn picture(&self) -> Picture {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn standing(&self) -> Standing {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner).standing
    }

    pub(super) fn report(&self, report: Report) {
        self.ask(Request::Report(report));
    }

    pub(super) fn set_draining(&self, draining: bool) {
        self.ask(Request::Draining(draining));
    }

    pub(super) fn leave(&self) {
        self.ask(Request::Leave);
    }

    fn ask(&self, request: Request) {
        // A full queue means a link that breaks a thousand times a moment; gossip sees that too.
        let _ = self.requests.try_send(request);
    }
}

impl Waiting {
    pub(super) fn control(&self) -> Control {
        self.control.clone()
    }

    /// Starts the thread.
    pub(super) fn start(
        self,
        parts: Parts,
        voice: Voice,
        counters: Vec<Arc<Counters>>,
        told: Sender<Happening>,
    ) -> io::Result<()> {
        let Self { control, requests } = self;
        let Parts { fleet, socket, random_seed, started } = parts;
        let fleet = Fleet::new(fleet, random_seed, started.elapsed());
        let thread = Thread { fleet, socket, requests, control, voice, counters, told, started };
        thread::Builder::new().name("control".into()).spawn(move || thread.run())?;
        Ok(())
    }
}

struct Thread {
    fleet: Fleet,
    socket: UdpSocket,
    requests: Receiver<Request>,
    control: Control,
    voice: Voice,
    counters: Vec<Arc<Counters>>,
    told: Sender<Happening>,
    started: Instant,
}

impl Thread {
    fn run(mut self) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut counted = Duration::ZERO;
        loop {
            let now = self.started.elapsed();
            while let Ok(request) = self.requests.try_recv() {
                self.obey(request, now);
            }
            if now >= counted + COUNT_EVERY {
                counted = now;
                let connections: u64 =
                    self.counters.iter().map(|counters| counters.get(Metric::Connections)).sum();
                self.fleet.set_connections(now, u32::try_from(connections).unwrap_or(u32::MAX));
            }
            if self.fleet.poll_timeout().is_some_and(|due| due <= now) {
                self.fleet.handle_timeout(now);
            }
            self.speak(now);
            self.hear(&mut buffer);
        }
    }

    fn obey(&mut self, request: Request, now: Duration) {
        match request {
            Request::Report(Report::LinkLost { node, incarnation }) => {
                self.fleet.handle_link_lost(now, node, incarnation);
            }
            Request::Draining(draining) => self.fleet.set_draining(now, draining),
            Request::Leave => self.fleet.leave(now),
        }
    }

    /// Sends, tells and logs whatever the fleet has to say.
    fn speak(&mut self, now: Duration) {
        while let Some(roster) = self.fleet.poll_roster(now) {
            let view = roster.view.number();
            tracing::info!("View {view}: {}", names(&roster));
            self.control.picture.lock().unwrap_or_else(PoisonError::into_inner).roster =
                Some(Arc::clone(&roster));
            self.voice.order(|| Order::View(Arc::clone(&roster)));
        }
        while let Some((to, datagram)) = self.fleet.poll_datagram() {
            if let Err(error) = self.socket.send_to(&datagram, to) {
                // An unreachable network shows as silence of the node, which is dealt with.
                tracing::debug!("cannot send to {to}: {error}");
            }
        }
        while let Some(event) = self.fleet.poll_event() {
            log(&event);
        }
        let standing = self.fleet.standing();
        let has_moved = {
            let mut picture = self.control.picture.lock().unwrap_or_else(PoisonError::into_inner);
            picture.members = self.fleet.members();
            picture.tally = self.fleet.tally();
            std::mem::replace(&mut picture.standing, standing) != standing
        };
        if has_moved {
            // Full: the supervisor looks by itself within a second.
            let _ = self.told.try_send(Happening::Standing);
        }
    }

    fn hear(&mut self, buffer: &mut [u8]) {
        let now = self.started.elapsed();
        let due = self.fleet.poll_timeout().map_or(LISTEN_MAX, |due| due.saturating_sub(now));
        let patience = due.clamp(Duration::from_millis(1), LISTEN_MAX);
        if self.socket.set_read_timeout(Some(patience)).is_err() {
            thread::sleep(patience);
            return;
        }
        match self.socket.recv_from(buffer) {
            Ok((len, from)) => self.fleet.handle_datagram(self.started.elapsed(), from, &buffer[..len]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            // What an earlier datagram met (ICMP) is told here; the node it was for is silent, which is dealt with.
            Err(error) => tracing::debug!("cannot receive: {error}"),
        }
    }
}

/// Opens the socket of gossip.
pub(super) fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(address)
}

fn names(roster: &Roster) -> String {
    let names = roster.members.iter().map(|member| match member.draining {
        true => format!("{} (draining)", member.name),
        false => member.name.to_string(),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn log(event: &FleetEvent) {
    match event {
        FleetEvent::NoSeedAnswers { .. }
        | FleetEvent::Refused { .. }
        | FleetEvent::RefusedBy { .. }
        | FleetEvent::Rejoining { .. }
        | FleetEvent::FleetFull
        | FleetEvent::MemberDown { left: false, .. } => tracing::warn!("{event}"),
        FleetEvent::Joined { .. }
        | FleetEvent::StartedFleet
        | FleetEvent::MemberUp(_)
        | FleetEvent::MemberDown { .. } => tracing::info!("{event}"),
    }
}
