//! A run of one node: shards, limits, network, clients and what they do, all drawn from a seed; then the verdict.
//!
//! Invariant: a verdict depends on the seed and the code alone.
//!
//! ```text
//! busy:   clients come, talk, misbehave, vanish        nothing beyond a limit, good ones answered in time
//! quiet:  nobody starts anything, everybody reads      the oracle judges who heard what
//! leave:  everybody goes, or the node is told to stop  nothing is left on any shard
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use roadstead_control::NodeId;
use roadstead_engine::counters::Metric;
use roadstead_engine::settings::Settings;

use crate::conditions::Conditions;
use crate::fleet::keeping_channels;
use crate::guest::{Character, Ended, Guest};
use crate::node::{Node, NodeParts};
use crate::oracle::{Oracle, Wrong};
use crate::random::Random;
use crate::world::World;

/// What a run was like, to see that the seeds reach what they are to reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Clients that came.
    pub clients: usize,
    /// Publications written, and accepted.
    pub published: (usize, usize),
    /// Publications heard by subscribers.
    pub heard: usize,
    /// Publications lost between publisher and subscriber, as the node counts them.
    pub lost: u64,
    /// Recoveries that succeeded, and others.
    pub recoveries: (usize, usize),
    /// Publications refused for want of room.
    pub refused: u64,
    /// Sends that a socket did not take whole.
    pub blocked: u64,
    /// Clients closed by the node.
    pub closed: usize,
    /// Simulated time, whole milliseconds.
    pub ms: u128,
}

/// Most simulated time from the last thing that a client starts until everything has come to rest.
const REST_MAX: Duration = Duration::from_secs(300);
/// With nothing heard for this long, nothing more is coming: longer than any delay of a network and any pause
/// of a shard.
const REST: Duration = Duration::from_secs(3);
/// The slowest answer that a good client accepts in a fair network; SDKs give up after 5 s.
const PATIENCE: Duration = Duration::from_secs(5);
/// A slot's and a channel's last traces: pings, close timeouts, the vacancy period.
const TRACES: Duration = Duration::from_secs(90);

/// Runs `seed`.
///
/// # Errors
/// [`Wrong`]: what was wrong, and when.
pub fn run(seed: u64) -> Result<Summary, Wrong> {
    let mut house = House::new(seed);
    match house.busy().and_then(|()| house.quiet()).and_then(|()| house.leave()) {
        Ok(()) => Ok(house.summary()),
        Err(Wrong(what)) => Err(Wrong(format!("{what}\n{}", house.circumstances()))),
    }
}

struct House {
    world: World,
    random: Random,
    node: Node,
    settings: Settings,
    guests: Vec<Guest>,
    oracle: Oracle,
    channels: usize,
    /// Whether good clients can count on being served in time and to the end.
    fair: bool,
    stopping: bool,
}

impl House {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let conditions = if random.chance(250) { Conditions::calm() } else { Conditions::rough(&mut random) };
        let fair = *conditions.delay_us.end() <= 5_000
            && conditions.send_buffer_bytes.min(conditions.receive_buffer_bytes) >= 2_048;
        let world = World::new(random.bits(), conditions);
        let mut settings = settings(&mut random);
        // Chance of its own: seeds keep their course.
        let mut keeping = Random::new(seed ^ 0x6b65_6570);
        if keeping.chance(600) {
            settings.channel = keeping_channels([5, 60, 1_000][keeping.below(3)]);
        }
        let stalls = [0, 0, 300, 700][random.below(4)];
        let node = NodeParts {
            address: node_address(),
            settings: settings.clone(),
            stalls,
            id: NodeId(1),
            fleet: None,
            tampers: false,
        };
        let node = Node::new(&world, node);
        let channels = random.within(1..=6);
        let guests = Vec::new();
        let oracle = Oracle::default();
        Self { world, random, node, settings, guests, oracle, channels, fair, stopping: false }
    }

    /// Clients come and act for a while.
    fn busy(&mut self) -> Result<(), Wrong> {
        let until = self.world.now() + Duration::from_millis(self.random.within(2_000..=15_000) as u64);
        let guests_max = self.random.within(2..=16);
        while self.world.now() < until {
            if self.guests.len() < guests_max && self.random.chance(100) {
                self.welcome();
            }
            let mut acted = false;
            for guest in &mut self.guests {
                acted |= guest.act(&mut self.oracle, self.channels);
            }
            self.step(acted)?;
        }
        Ok(())
    }

    /// Everybody reads until nothing comes any more, and once more after a last word in each channel: the
    /// node finds the loss of a publication by the next one. Then the oracle judges.
    fn quiet(&mut self) -> Result<(), Wrong> {
        self.guests.iter_mut().for_each(Guest::wake_up);
        self.guests.push(Guest::new(&self.world, self.guests.len() as u32, Character::Good, node_address()));
        self.rest()?;
        for channel in 0..self.channels {
            if let Some(last) = self.guests.last_mut() {
                let _id = last.speak_up(&mut self.oracle, channel);
            }
            self.rest()?;
        }
        let civil = self.guests.iter().filter(|guest| guest.character() != Character::Rude);
        if let Some(waiting) = civil.map(Guest::waits).max().filter(|waits| *waits > REST) {
            return Err(Wrong(format!("a question was not answered for {waiting:?}")));
        }
        self.oracle.judge(self.node.sum(Metric::PublishGaps), |_| false)
    }

    fn rest(&mut self) -> Result<(), Wrong> {
        let until = self.world.now() + REST_MAX;
        let mut moved_at = self.world.now();
        while self.world.now() < moved_at + REST {
            if self.world.now() > until {
                return Err(Wrong("it does not come to rest".into()));
            }
            let heard = self.oracle.heard();
            self.step(false)?;
            if self.oracle.heard() > heard {
                moved_at = self.world.now();
            }
        }
        Ok(())
    }

    /// Everybody goes, or the node ends with everybody inside; nothing may remain.
    fn leave(&mut self) -> Result<(), Wrong> {
        self.stopping = self.random.chance(300);
        if self.stopping {
            return self.stop();
        }
        let until = self.world.now() + TRACES;
        for guest in &mut self.guests {
            guest.leave(&mut self.oracle);
        }
        while !self.is_empty() {
            if self.world.now() > until {
                return Err(Wrong(format!("something is left: {:?}, {:?}", self.world.held(), self.node)));
            }
            self.step(false)?;
        }
        self.stopping = true;
        self.stop()
    }

    fn is_empty(&self) -> bool {
        let gone = self.guests.iter().all(|guest| guest.ended().is_some());
        gone && self.node.is_vacant() && self.node.sum(Metric::Channels) == 0 && self.world.held() == (0, 0)
    }

    fn stop(&mut self) -> Result<(), Wrong> {
        self.node.stop();
        let close = Duration::from_millis(u64::from(self.settings.shutdown.close_ms));
        let until = self.world.now() + close + Duration::from_millis(200);
        while !self.node.is_finished() {
            if self.world.now() > until {
                return Err(Wrong("the node does not end in its time".into()));
            }
            self.step(false)?;
        }
        Ok(())
    }

    fn welcome(&mut self) {
        let character = match self.random.below(10) {
            0..=4 => Character::Good,
            5..=6 => Character::Fickle,
            7 => Character::Slow,
            _ => Character::Rude,
        };
        self.guests.push(Guest::new(&self.world, self.guests.len() as u32, character, node_address()));
    }

    /// Everybody who can run does; then time passes until somebody can again.
    fn step(&mut self, acted: bool) -> Result<(), Wrong> {
        let mut moved = acted;
        moved |= self.node.run() > 0;
        for guest in &mut self.guests {
            moved |= guest.run(&mut self.oracle)?;
        }
        self.check()?;
        let now = self.world.now();
        let mut pause = Duration::from_micros(self.random.within(1..=500) as u64);
        if !moved {
            let acts_at = self.guests.iter().filter_map(Guest::acts_at).filter(|at| *at > now);
            let next = acts_at.chain(self.world.due()).chain(self.node.due()).min();
            pause = pause.max(next.unwrap_or(now).saturating_sub(now).min(REST / 4));
        }
        self.world.advance(pause);
        Ok(())
    }

    fn check(&self) -> Result<(), Wrong> {
        if let Some((metric, value, bound)) = self.node.beyond_limits() {
            return Err(Wrong(format!("{metric:?} is {value}, allowed are {bound}")));
        }
        if !self.fair || self.stopping {
            return Ok(());
        }
        for guest in self.guests.iter().filter(|guest| guest.character() == Character::Good) {
            match guest.ended() {
                Some(Ended::Left) | None => {}
                Some(ended) => {
                    return Err(Wrong(format!("a good client was not served to the end: {ended:?}")));
                }
            }
            if guest.waits() > PATIENCE {
                return Err(Wrong(format!("a good client waits for {:?}", guest.waits())));
            }
        }
        Ok(())
    }

    /// What to know before a failure is replayed.
    fn circumstances(&self) -> String {
        let Settings { shards, limits, .. } = &self.settings;
        format!(
            "    at {:?}, {shards} shards with mailboxes of {} and outboxes of {} messages or {} bytes, {} clients, \
             {} channels, {:?}",
            self.world.now(),
            limits.mailbox_messages,
            limits.outbox_messages,
            limits.outbox_bytes,
            self.guests.len(),
            self.channels,
            self.world.conditions(),
        )
    }

    fn summary(&self) -> Summary {
        Summary {
            clients: self.guests.len(),
            published: self.oracle.published(),
            heard: self.oracle.heard(),
            lost: self.node.sum(Metric::PublishGaps),
            recoveries: self.oracle.recoveries(),
            refused: self.node.sum(Metric::PublishRefused),
            blocked: self.node.sum(Metric::BlockedSends),
            closed: self
                .guests
                .iter()
                .filter(|guest| matches!(guest.ended(), Some(Ended::Closed(_))))
                .count(),
            ms: self.world.now().as_millis(),
        }
    }
}

fn node_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 8_000))
}

/// Settings of a development node with limits from tight to roomy. Connections are never short: a good client
/// must get in.
fn settings(random: &mut Random) -> Settings {
    let mut settings =
        Settings { insecure: true, shards: random.within(1..=4) as u16, ..Settings::default() };
    settings.limits.connections = 20 * u32::from(settings.shards);
    settings.limits.mailbox_messages = [2, 16, 16_384][random.below(3)];
    settings.limits.outbox_bytes = [16_384, 1 << 20][random.below(2)];
    settings.limits.outbox_messages = [64, 1_024][random.below(2)];
    settings.limits.inbound_bytes_per_shard = 1 << 20;
    settings.shutdown.close_ms = 2_000;
    settings
}
