//! Guards: which strangers are let in, and who has done so much wrong that its address is not for a while.
//!
//! ```text
//! accepted ──> PROXY header, where the listener asks for one ──> judged ──> TLS ──> request ──> judged, if a proxy
//!    │                └── who is no trusted proxy is closed      └── 403, 429     that is trusted names its client
//!    └── a trusted proxy is not judged itself
//! ```
//!
//! Invariants: what is bounded here is bounded for the whole node; no lock is taken for a message, only when a connection begins,
//! ends or does something wrong; an address that only a client says of itself is never believed; nobody who is
//! connected is put out by a ban.

mod forwarded;
mod proxy;
mod table;
mod users;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

pub use forwarded::client_of;
pub use proxy::{Introduced, Malformed, read_header};

use crate::limits::{BANS_SHOWN_MAX, GUARD_NEWS_MAX};
use crate::prefix::Prefix;
use crate::settings::{Guard, Settings};
use table::{Place, Table};
pub use users::UserShare;
use users::Users;

/// Why a connection is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Its address is on the list of those who are refused, or not on that of those who are not.
    Denied,
    /// Its source is banned.
    Banned {
        /// Until then, milliseconds.
        left_ms: u64,
    },
    /// Its source has as many connections as it may.
    Connections,
    /// Connections of its source come too fast.
    Rate {
        /// Until the next one may come, milliseconds.
        left_ms: u64,
    },
}

/// What a source does that is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// A connection began.
    Connect,
    /// A connection was refused here.
    Refused,
    /// TLS or the upgrade failed by the client's fault.
    Handshake,
    /// A connection token was not valid.
    Token,
    /// RFC 6455 or the client protocol was broken.
    Frame,
    /// A rate was exceeded so far that the connection was closed.
    Rate,
}

impl Signal {
    /// Every one, in its place.
    pub const ALL: [Self; 6] =
        [Self::Connect, Self::Refused, Self::Handshake, Self::Token, Self::Frame, Self::Rate];

    /// Its word in metrics and answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "connects",
            Self::Refused => "refused",
            Self::Handshake => "handshake_failures",
            Self::Token => "token_failures",
            Self::Frame => "invalid_frames",
            Self::Rate => "rates_exceeded",
        }
    }

    /// What it counts towards a ban. A browser that looks for a path that is not there is far from what no library does, which a
    /// broken frame is; who only comes and goes is paced, not banned.
    #[must_use]
    pub fn points(self) -> f32 {
        match self {
            Self::Connect | Self::Refused => 0.0,
            Self::Handshake => 1.0,
            Self::Token => 2.0,
            Self::Frame | Self::Rate => 5.0,
        }
    }
}

/// How often each thing was done.
pub type Signals = [f32; Signal::ALL.len()];

/// A source, as it is shown.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Watched {
    /// Which.
    pub source: Prefix,
    /// Its connections to this node.
    pub connections: u32,
    /// Points towards a ban.
    pub points: f32,
    /// What it did lately: half of each count is forgotten in each half-life.
    pub signals: Signals,
    /// How long it is banned still, milliseconds.
    pub banned_ms: u64,
}

/// The sources that stand out.
#[derive(Clone, PartialEq, Debug)]
pub struct Sources {
    /// How many are remembered.
    pub remembered: usize,
    /// How many of these are banned.
    pub banned: usize,
    /// For each measure those with most of it, and how much: what they have now, or did lately.
    pub by: Vec<(&'static str, Vec<(Watched, f32)>)>,
}

/// A ban.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ban {
    /// Whose.
    pub source: Prefix,
    /// How long still, milliseconds.
    pub left_ms: u64,
    /// The how manieth in a row.
    pub times: u8,
    /// What led to it; later what was done since.
    pub signals: Signals,
}

/// Bans of late, for the log.
#[derive(Debug, Default)]
pub struct News {
    /// The first ones.
    pub bans: Vec<Ban>,
    /// How many there were besides.
    pub more: u64,
}

/// What a shard counts here.
#[derive(Debug, Default, Clone, Copy)]
pub struct GuardTally {
    /// Connections refused, in the order of [`Refused`].
    pub refused: [u64; 4],
    /// What connections did wrong, by [`Signal`].
    pub signals: [u64; Signal::ALL.len()],
    /// Connections of sources that there was no room to remember.
    pub unremembered: u64,
    /// Bans.
    pub bans: u64,
}

/// What all shards of a node know together.
#[derive(Debug)]
pub struct Guards {
    table: Table,
    users: Users,
    news: Mutex<News>,
    /// For whoever looks; shards bring their own.
    settings: Mutex<Arc<Settings>>,
}

impl Guards {
    /// Nobody is known yet. `keys` are secret.
    #[must_use]
    pub fn new(settings: Arc<Settings>, keys: (u64, u64)) -> Self {
        let table = Table::new(settings.guard.sources, keys);
        Self { table, users: Users::new(keys), news: Mutex::default(), settings: Mutex::new(settings) }
    }

    /// These settings are in force from now on.
    pub fn reload(&self, settings: Arc<Settings>) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The bans that hold, those that end last first, at most [`BANS_SHOWN_MAX`], and how many there are.
    #[must_use]
    pub fn bans(&self, now_ms: u64) -> (Vec<Ban>, usize) {
        let mut bans = Vec::new();
        self.table.visit(&self.settings().guard, now_ms, |_, ban| bans.extend(ban));
        let count = bans.len();
        bans.sort_unstable_by_key(|ban| std::cmp::Reverse((ban.left_ms, ban.source)));
        bans.truncate(BANS_SHOWN_MAX);
        (bans, count)
    }

    /// Takes back the ban of a source, which a single address of it may stand for. Some: which source that was.
    pub fn lift(&self, source: Prefix, now_ms: u64) -> Option<Prefix> {
        let is_single = source.is_single();
        let source = if is_single { source_of(source.first(), &self.settings().guard) } else { source };
        self.table.lift(source, now_ms).then_some(source)
    }

    /// The `count` sources that stand out most, by each measure.
    #[must_use]
    pub fn sources(&self, now_ms: u64, count: usize) -> Sources {
        let measures =
            ["connections", "points"].into_iter().chain(Signal::ALL.iter().map(|signal| signal.word()));
        let mut sources = Sources {
            remembered: 0,
            banned: 0,
            by: measures.map(|measure| (measure, Vec::with_capacity(count + 1))).collect(),
        };
        self.table.visit(&self.settings().guard, now_ms, |watched, ban| {
            sources.remembered += 1;
            sources.banned += usize::from(ban.is_some());
            let values = [watched.connections as f32, watched.points].into_iter().chain(watched.signals);
            for ((_, top), value) in sources.by.iter_mut().zip(values) {
                let place = top.partition_point(|(_, other)| *other >= value);
                // Less than once in a while is nothing.
                if value >= 0.5 && place < count {
                    top.insert(place, (*watched, value));
                    top.truncate(count);
                }
            }
        });
        sources
    }

    /// A session of a user begins; what the user's connections share. `None`: it has `connections_max` (0: no bound) already.
    #[must_use]
    pub fn enter_user(&self, user: &str, connections_max: u32) -> Option<Arc<UserShare>> {
        self.users.enter(user, connections_max)
    }

    /// A session that entered has ended.
    pub fn leave_user(&self, share: &UserShare) {
        self.users.leave(share);
    }

    /// What there is to log since the last call.
    #[must_use]
    pub fn take_news(&self) -> News {
        std::mem::take(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, ban: Ban) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if news.bans.len() < GUARD_NEWS_MAX { news.bans.push(ban) } else { news.more += 1 }
    }
}

/// A connection whose source is not remembered.
const UNKNOWN: Place = u32::MAX;
/// A connection of a proxy that may name its client.
const PROXY: Place = u32::MAX - 1;

/// One shard's way to the guards: which source each of its connections is of.
#[derive(Debug)]
pub struct Gate {
    guards: Arc<Guards>,
    /// By slot; as long as guards are off, it is empty.
    places: Vec<Place>,
    /// By slot: those who are only here to be told so.
    refused: HashMap<u32, Refused>,
    tally: GuardTally,
}

impl Gate {
    /// A shard's.
    #[must_use]
    pub fn new(guards: Arc<Guards>) -> Self {
        Self { guards, places: Vec::new(), refused: HashMap::new(), tally: GuardTally::default() }
    }

    /// A connection in `slot` comes from `address`, by its socket or by what a trusted proxy says: may it?
    ///
    /// # Errors
    /// [`Refused`]; it is remembered for [`Gate::refusal`] until [`Gate::leave`].
    pub fn enter(
        &mut self,
        slot: u32,
        address: IpAddr,
        settings: &Settings,
        now_ms: u64,
    ) -> Result<(), Refused> {
        if settings.proxy.trusted.holds(address) {
            self.set(slot, PROXY);
            return Ok(());
        }
        self.set(slot, UNKNOWN);
        match self.judge(address, &settings.guard, now_ms) {
            Ok(Some(place)) => self.set(slot, place),
            Ok(None) => {}
            Err(refused) => {
                self.tally.refused[refused.place()] += 1;
                self.refused.insert(slot, refused);
                return Err(refused);
            }
        }
        Ok(())
    }

    fn judge(&mut self, address: IpAddr, rules: &Guard, now_ms: u64) -> Result<Option<Place>, Refused> {
        let is_allowed = rules.allow.is_empty() || rules.allow.holds(address);
        if !is_allowed || rules.deny.holds(address) {
            return Err(Refused::Denied);
        }
        if !rules.watches() {
            return Ok(None);
        }
        let source = source_of(address, rules);
        let place = self.guards.table.enter(source, rules.exempt.holds(address), rules, now_ms)?;
        self.tally.unremembered += u64::from(place.is_none());
        Ok(place)
    }

    /// What all shards know together.
    #[must_use]
    pub fn guards(&self) -> &Arc<Guards> {
        &self.guards
    }

    /// Whether the connection is a trusted proxy's that has not named its client.
    #[must_use]
    pub fn is_proxy(&self, slot: u32) -> bool {
        self.place(slot) == PROXY
    }

    /// Why the connection is refused, if it is.
    #[must_use]
    pub fn refusal(&self, slot: u32) -> Option<Refused> {
        self.refused.get(&slot).copied()
    }

    /// The connection did something wrong.
    pub fn blame(&mut self, slot: u32, signal: Signal, rules: &Guard, now_ms: u64) {
        self.tally.signals[signal as usize] += 1;
        let place = self.place(slot);
        if matches!(place, UNKNOWN | PROXY) {
            return;
        }
        if let Some(ban) = self.guards.table.blame(place, signal, rules, now_ms) {
            self.tally.bans += 1;
            self.guards.tell(ban);
        }
    }

    /// The connection in `slot` is over.
    pub fn leave(&mut self, slot: u32) {
        let place = self.place(slot);
        if place != UNKNOWN {
            self.set(slot, UNKNOWN);
        }
        if !matches!(place, UNKNOWN | PROXY) {
            self.guards.table.leave(place);
        }
        if !self.refused.is_empty() {
            self.refused.remove(&slot);
        }
    }

    /// What was counted since the last call.
    pub fn take_tally(&mut self) -> GuardTally {
        std::mem::take(&mut self.tally)
    }

    fn place(&self, slot: u32) -> Place {
        self.places.get(slot as usize).copied().unwrap_or(UNKNOWN)
    }

    fn set(&mut self, slot: u32, place: Place) {
        let slot = slot as usize;
        if slot >= self.places.len() {
            if place == UNKNOWN {
                return;
            }
            self.places.resize(slot + 1, UNKNOWN);
        }
        self.places[slot] = place;
    }
}

/// The source that an address belongs to.
fn source_of(address: IpAddr, rules: &Guard) -> Prefix {
    let bits = |bits: u32| u8::try_from(bits).unwrap_or(u8::MAX);
    Prefix::of(address, bits(rules.source_bits_v4), bits(rules.source_bits_v6))
}

impl Refused {
    fn place(self) -> usize {
        match self {
            Self::Denied => 0,
            Self::Banned { .. } => 1,
            Self::Connections => 2,
            Self::Rate { .. } => 3,
        }
    }
}
