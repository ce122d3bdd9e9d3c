//! The control thread: the fleet's datagrams and timers, and who is told of a new View.
//!
//! Invariants: owns the UDP socket and the state machine; shards get rosters by mailbox and never wait for it, and a shard whose
//! mailbox is full gets the latest one later; everything that others see of the fleet is a copy; a thread that stalls or panics
//! ends the process, since a node that does not follow its fleet must not serve.
//!
//! ```text
//! datagrams, time ──> Fleet ──> roster ──> Order::View, each shard
//! lost links, drain ────^  └──> picture ─> supervisor, admin      └──> events ──> log
//! ```

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use roadstead_control::{
    Fleet, FleetEvent, FleetSettings, FleetTally, MemberState, MemberStatus, Roster, Standing,
};

use super::failure::CONTROL_THREAD;
use super::happenings::Happening;
use super::shards::Voice;
use super::supervisor::milliseconds;
use crate::admin::Picture;
use crate::counters::{Counters, Metric};
use crate::shard::{Order, Report};

/// A datagram of any length that UDP can bring.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// What other threads say is heard after this long at the latest.
const LISTEN_MAX: Duration = Duration::from_millis(50);
/// Between two pictures while nothing happens. They cost a copy of every member.
const PICTURE_EVERY: Duration = Duration::from_millis(250);
/// Failures to send are logged once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// Between two counts of the node's connections.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// After a failed receive, so that one that fails again and again does not burn a core.
const RECEIVE_PAUSE: Duration = Duration::from_millis(10);
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
    /// When the thread last went round, ms since the start.
    beat_ms: Arc<AtomicU64>,
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
    let control =
        Control { requests, picture: Arc::new(Mutex::new(picture)), beat_ms: Arc::new(AtomicU64::new(0)) };
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

    /// How long the thread has not gone round at `now_ms` since the start.
    pub(super) fn silent_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.beat_ms.load(Ordering::Relaxed))
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
        control.beat_ms.store(milliseconds(started), Ordering::Relaxed);
        let seeds = fleet.seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let thread = Thread {
            fleet: Fleet::new(fleet, random_seed, started.elapsed()),
            socket,
            requests,
            control,
            seeds,
            views: vec![0; usize::from(voice.shards())],
            voice,
            roster: None,
            counters,
            told,
            started,
            pictured: Duration::ZERO,
            complained: None,
        };
        thread::Builder::new().name(CONTROL_THREAD.into()).spawn(move || thread.run())?;
        Ok(())
    }
}

struct Thread {
    fleet: Fleet,
    socket: UdpSocket,
    requests: Receiver<Request>,
    control: Control,
    /// Where others are looked for, as text.
    seeds: String,
    voice: Voice,
    roster: Option<Arc<Roster>>,
    /// The number of the View that each shard was given.
    views: Vec<u64>,
    counters: Vec<Arc<Counters>>,
    told: Sender<Happening>,
    started: Instant,
    pictured: Duration,
    complained: Option<Duration>,
}

impl Thread {
    fn run(mut self) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut counted = Duration::ZERO;
        loop {
            let now = self.started.elapsed();
            self.control.beat_ms.store(now.as_millis() as u64, Ordering::Relaxed);
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
        let mut has_news = now >= self.pictured + PICTURE_EVERY;
        while let Some(roster) = self.fleet.poll_roster(now) {
            tracing::info!("View {}: {}", roster.view.number(), names(&roster));
            self.roster = Some(roster);
            has_news = true;
        }
        self.tell_shards();
        while let Some((to, datagram)) = self.fleet.poll_datagram() {
            if let Err(error) = self.socket.send_to(&datagram, to) {
                self.complain(now, to, &error);
            }
        }
        while let Some(event) = self.fleet.poll_event() {
            log(&event, &self.seeds);
            has_news = true;
        }
        if has_news || self.fleet.standing() != self.control.standing() {
            self.pictured = now;
            self.show();
        }
    }

    /// Gives the roster to every shard that does not have it yet.
    fn tell_shards(&mut self) {
        let Some(roster) = &self.roster else { return };
        let number = roster.view.number();
        for (shard, known) in self.views.iter_mut().enumerate().filter(|(_, known)| **known != number) {
            if self.voice.order_one(shard, Order::View(Arc::clone(roster))) {
                *known = number;
            }
        }
    }

    /// Lets others see the fleet as it is now.
    fn show(&self) {
        let standing = self.fleet.standing();
        let picture = Picture {
            standing,
            members: self.fleet.members(),
            roster: self.roster.clone(),
            tally: self.fleet.tally(),
        };
        let before = {
            let mut shown = self.control.picture.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *shown, picture)
        };
        if before.standing != standing {
            // Full: the supervisor looks by itself within a second.
            let _ = self.told.try_send(Happening::Standing);
        }
    }

    /// An unreachable network shows as silence of the node, which is dealt with; its cause is worth a line now and then.
    fn complain(&mut self, now: Duration, to: SocketAddr, error: &io::Error) {
        if self.complained.is_none_or(|last| now >= last + COMPLAIN_EVERY) {
            self.complained = Some(now);
            tracing::warn!("cannot send to {to}: {error}");
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
            // The network is down, or what an earlier datagram met (ICMP) is told here: others are silent, which is dealt with.
            Err(error) => {
                tracing::debug!("cannot receive: {error}");
                thread::sleep(patience.min(RECEIVE_PAUSE));
            }
        }
    }
}

fn names(roster: &Roster) -> String {
    let names = roster.members.iter().map(|member| match member.draining {
        true => format!("{} (draining)", member.name),
        false => member.name.to_string(),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn log(event: &FleetEvent, seeds: &str) {
    match event {
        FleetEvent::NoSeedAnswers { .. } => tracing::warn!("{event}: {seeds}"),
        FleetEvent::Refused { .. }
        | FleetEvent::RefusedBy { .. }
        | FleetEvent::RefusedUnproven { .. }
        | FleetEvent::Rejoining { .. }
        | FleetEvent::FleetFull
        | FleetEvent::MemberDown { left: false, .. } => tracing::warn!("{event}"),
        FleetEvent::Joined { .. }
        | FleetEvent::StartedFleet
        | FleetEvent::MemberUp(_)
        | FleetEvent::MemberDown { .. } => tracing::info!("{event}"),
    }
}
