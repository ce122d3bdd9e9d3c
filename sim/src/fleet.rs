//! A run of a fleet: nodes, shards, network, clients, faults and what they do, all drawn from a seed; then the verdict.
//!
//! Invariant: a verdict depends on the seed, the mutant and the code alone.
//!
//! ```text
//! start:   all nodes begin cold                       they serve, and agree on who they are, in time
//! busy:    clients come, talk, move; faults (faults)  nothing beyond a limit, nothing crosses twice
//! settle:  faults end                                 who is ready answers (readiness); everybody agrees again, in time
//! quiet:   everybody reads                            the oracle judges who heard what
//! exam:    see `exam`                                 everything reaches everybody; what nodes know is true
//! leave:   clients go, nodes leave                    nothing is left on any shard
//! ```

mod exam;
mod faults;
mod readiness;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use roadstead_control::{ClusterKeys, Duty, FleetEvent, Incarnation, NodeId};
use roadstead_engine::counters::Metric;
use roadstead_engine::revocations::{Revocation, Subject, Terms};
use roadstead_engine::settings::{Channel, History, Secret, Settings};
use roadstead_engine::token::{Grant, Signer, mint};

use crate::conditions::Conditions;
use crate::guest::{Character, Ended, Guest, Invitation, Known, SILENCE_MAX};
use crate::host::{CLUSTER_PORT, Host, HostParts};
use crate::links::Links;
use crate::network::Wire;
use crate::node::Node;
use crate::oracle::{Gap, Oracle, Wrong};
use crate::random::Random;
use crate::saboteur::{Mutant, Saboteur};
use crate::world::World;
use faults::Faults;

/// What a run was like, to see that the seeds reach what they are to reach.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Nodes, and shards of all of them.
    pub nodes: (usize, usize),
    /// Clients that came, returns counted.
    pub clients: u32,
    /// Publications written, and accepted.
    pub published: (usize, usize),
    /// Publications heard by subscribers.
    pub heard: usize,
    /// Publications lost, as nodes count them.
    pub lost: u64,
    /// Recoveries that succeeded, and others.
    pub recoveries: (usize, usize),
    /// Faults that were brought about.
    pub faults: usize,
    /// Gaps that faults excused.
    pub excused: usize,
    /// Revocations that operators wanted.
    pub revoked: u64,
    /// Relay frames by kind.
    pub frames: Vec<(&'static str, u64)>,
    /// What a saboteur did.
    pub strikes: u64,
    /// Simulated time, whole milliseconds.
    pub ms: u128,
}

/// From the start of all nodes until each serves: what an operator is promised.
const SERVING_MAX: Duration = Duration::from_secs(15);
/// After that, or after the last fault, until all agree on everybody: a death that is being found, a refused
/// rejoin, a window of stability, links' pauses; each at its longest.
const AGREED_MAX: Duration = Duration::from_secs(60);
/// Most time from the last thing that a client starts until everything has come to rest.
const REST_MAX: Duration = Duration::from_secs(60);
/// With nothing heard for this long, nothing more is coming.
const REST: Duration = Duration::from_secs(3);
/// The slowest answer that SDKs accept.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a link or a new owner may need until every interest is with the owner.
const SETTLING: Duration = Duration::from_secs(4);
/// How long a publication that was ordered may be on its way: on a path that is closed and opened, until its link is given
/// up for silence.
const TRANSIT: Duration = Duration::from_secs(10);
/// The last traces of clients on a node: vacancy of channels on leaf, hub and owner, of users, pings, close timeouts.
const TRACES: Duration = Duration::from_secs(120);
/// Lines of what happened that are shown with a failure.
const JOURNAL: usize = 60;

/// Runs `seed`.
///
/// # Errors
/// [`Wrong`]: what was wrong, and when.
pub fn run(seed: u64) -> Result<Summary, Wrong> {
    run_with(seed, None)
}

/// Runs `seed` with a deliberately broken rule, and without any other fault.
///
/// # Errors
/// [`Wrong`]: what was wrong, and when.
pub fn run_with(seed: u64, mutant: Option<Mutant>) -> Result<Summary, Wrong> {
    let mut run = Run::new(seed, mutant);
    match run.course() {
        Ok(()) => Ok(run.summary()),
        Err(Wrong(what)) => Err(Wrong(format!("{what}\n{}", run.circumstances()))),
    }
}

/// A client, and who it is.
#[derive(Debug)]
struct Visitor {
    guest: Guest,
    user: Option<String>,
}

/// A client that was thrown out, as it comes back.
#[derive(Debug)]
struct Return {
    at: Duration,
    character: Character,
    user: Option<String>,
    wishes: Vec<String>,
    known: Known,
}

struct Run {
    world: World,
    random: Random,
    hosts: Vec<Host>,
    links: Rc<RefCell<Links>>,
    guests: Vec<Visitor>,
    /// Who comes back, and when.
    returns: Vec<Return>,
    guests_welcomed: u32,
    oracle: Oracle,
    channels: usize,
    users: usize,
    /// Chance of what operators revoke, apart from the rest: seeds keep their course.
    revoking: Random,
    revoked: u64,
    faults: Faults,
    faults_done: usize,
    excused: usize,
    stage: Stage,
    journal: VecDeque<String>,
    /// What was wrong where nobody could be told at once.
    wrong: Option<Wrong>,
}

/// What may befall clients at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The fleet is whole and undisturbed: nothing.
    Calm,
    /// Anything.
    Troubled,
}

impl Run {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut random = Random::new(seed);
        let conditions = conditions(&mut random, mutant.is_none());
        let world = World::new(random.bits(), conditions);
        let nodes = [1, 2, 2, 3, 3, 3, 4, 5][random.below(8)].max(if mutant.is_some() { 2 } else { 1 });
        let keys = Arc::new(ClusterKeys::parse(&"A".repeat(43)).expect("32 bytes of zero"));
        let all: Vec<SocketAddr> =
            (0..nodes).map(|number| SocketAddr::new(Host::ip_of(number), CLUSTER_PORT)).collect();
        let links_per_peer = random.within(1..=3) as u8;
        let link_queue_bytes = [64 << 10, 1 << 20][random.below(2)];
        let stalls = [0, 0, 100, 500][random.below(4)];
        // What is said once must be withheld when it is said.
        let is_said_once = matches!(mutant, Some(Mutant::WithholdsView | Mutant::WithholdsLinkChange));
        let sabotage_from = Duration::from_secs(if is_said_once { 0 } else { 20 });
        let saboteur =
            |random: &mut Random| mutant.map(|mutant| Saboteur::new(mutant, random.split(), sabotage_from));
        // Chance of its own: seeds keep their course.
        let mut keeping = Random::new(seed ^ 0x6b65_6570);
        let history = keeping.chance(600).then(|| [5, 60, 1_000][keeping.below(3)]);
        let has_all_seeds = random.chance(700);
        let hosts = (0..nodes).map(|number| {
            let seeds = if has_all_seeds { all.clone() } else { all[..nodes.div_ceil(2)].to_vec() };
            let mut settings = settings(&mut random);
            if let Some(size) = history {
                settings.channel = keeping_channels(size);
            }
            let keys = Arc::clone(&keys);
            let parts = HostParts { number, settings, seeds, keys, links_per_peer, link_queue_bytes, stalls };
            Host::new(&world, parts, saboteur(&mut random))
        });
        let hosts = hosts.collect();
        let links = Rc::new(RefCell::new(Links::new(CLUSTER_PORT, saboteur(&mut random))));
        let wire: Rc<RefCell<dyn Wire>> = links.clone();
        world.tap(wire);
        let faults = if mutant.is_some() { Faults::none() } else { Faults::drawn(&mut random, nodes) };
        Self {
            channels: random.within(1..=6),
            users: random.within(1..=4),
            revoking: Random::new(!seed),
            revoked: 0,
            world,
            random,
            hosts,
            links,
            guests: Vec::new(),
            returns: Vec::new(),
            guests_welcomed: 0,
            oracle: Oracle::default(),
            faults,
            faults_done: 0,
            excused: 0,
            stage: Stage::Troubled,
            journal: VecDeque::new(),
            wrong: None,
        }
    }

    fn course(&mut self) -> Result<(), Wrong> {
        self.start()?;
        self.busy()?;
        self.settle()?;
        self.quiet()?;
        self.examine()?;
        self.leave()
    }

    fn now(&self) -> Duration {
        self.world.now()
    }

    fn start(&mut self) -> Result<(), Wrong> {
        for number in 0..self.hosts.len() {
            self.hosts[number].start();
            let pause = Duration::from_millis(self.random.within(0..=400) as u64);
            self.pass(pause)?;
        }
        let until = self.now() + SERVING_MAX;
        self.wait_until(until, "not every node serves", |run| run.hosts.iter().all(Host::is_ready))?;
        self.agree()
    }

    /// Waits until everybody agrees on who is there, and all links are up.
    fn agree(&mut self) -> Result<(), Wrong> {
        let until = self.now() + AGREED_MAX;
        self.wait_until(until, "the nodes do not agree on who they are", Self::has_agreed)?;
        let until = self.now() + AGREED_MAX;
        self.wait_until(until, "not every link is up", Self::is_linked)?;
        self.pass(SETTLING)
    }

    fn has_agreed(&self) -> bool {
        let on: Vec<&Host> = self.hosts.iter().filter(|host| host.is_on()).collect();
        let mut ids: Vec<NodeId> = on.iter().map(|host| host.id()).collect();
        ids.sort_unstable();
        let view_of = |host: &&Host| -> Option<Vec<(NodeId, Incarnation, Duty)>> {
            let view = &host.roster()?.view;
            Some(view.nodes().iter().map(|node| (node.id, node.incarnation, node.duty)).collect())
        };
        let views: Vec<_> = on.iter().map(view_of).collect();
        let is_whole = |view: &Option<Vec<(NodeId, Incarnation, Duty)>>| {
            view.as_ref().is_some_and(|view| {
                let is_settled = view.iter().all(|(.., duty)| *duty == Duty::Active);
                is_settled && view.iter().map(|(id, ..)| *id).eq(ids.iter().copied())
            })
        };
        views.iter().all(is_whole) && views.windows(2).all(|pair| pair[0] == pair[1])
    }

    fn is_linked(&self) -> bool {
        let on: Vec<&Host> = self.hosts.iter().filter(|host| host.is_on()).collect();
        let links = self.links.borrow();
        let pairs = on.iter().flat_map(|one| on.iter().map(move |other| (one.ip(), other.ip())));
        pairs.filter(|(one, other)| one < other).all(|(one, other)| links.are_up(one, other, self.now()))
    }

    /// Clients come and act, and faults happen.
    fn busy(&mut self) -> Result<(), Wrong> {
        let until = self.now() + Duration::from_millis(self.random.within(8_000..=40_000) as u64);
        let guests_max = self.random.within(2..=14);
        let is_calm = self.faults.are_none() && self.world.conditions().datagrams_lost == 0;
        self.stage = if is_calm { Stage::Calm } else { Stage::Troubled };
        while self.now() < until {
            if self.guests.len() < guests_max && self.random.chance(60) {
                self.welcome();
            }
            self.bring_faults();
            if self.revoking.chance(5) {
                let _is_there = self.revoke_somewhere();
            }
            self.act();
            self.step(true)?;
        }
        Ok(())
    }

    /// An operator takes a token back that nobody has, at any node; false: that one is off.
    fn revoke_somewhere(&mut self) -> bool {
        self.revoked += 1;
        let at = self.revoking.below(self.hosts.len());
        let subject = Subject::Token(format!("token-{}", self.revoked).into());
        let terms = Terms { issued_before_s: 0, until_s: u64::MAX };
        self.hosts[at].revoke(&Revocation { subject, terms })
    }

    fn act(&mut self) {
        let (oracle, channels) = (&mut self.oracle, self.channels);
        for visitor in &mut self.guests {
            visitor.guest.act(oracle, channels);
        }
    }

    /// All faults end; then the fleet has its time.
    fn settle(&mut self) -> Result<(), Wrong> {
        self.end_faults();
        self.world.stop_losing();
        let is_troubled = self.stage == Stage::Troubled;
        if is_troubled {
            self.watch_readiness()?;
        }
        self.agree()?;
        if is_troubled {
            // Clients find out, the slowest by silence, and come back. Those that do not read would find out later.
            self.guests.iter_mut().for_each(|visitor| visitor.guest.wake_up());
            self.pass(SILENCE_MAX)?;
            let until = self.now() + AGREED_MAX;
            self.wait_until(until, "a client that left a broken node is not back", |run| {
                run.returns.is_empty() && run.guests.iter().all(|visitor| visitor.is_at_rest())
            })?;
        }
        self.stage = Stage::Calm;
        Ok(())
    }

    /// Everybody reads until nothing comes any more, and once more after a last word in each channel. Then the oracle
    /// judges.
    fn quiet(&mut self) -> Result<(), Wrong> {
        self.guests.iter_mut().for_each(|visitor| visitor.guest.wake_up());
        self.rest()?;
        for channel in 0..self.channels {
            let speaker = self.guests.iter_mut().find(|visitor| visitor.guest.is_settled());
            if let Some(speaker) = speaker {
                let _id = speaker.guest.speak_up(&mut self.oracle, channel);
            }
            self.rest()?;
        }
        self.judge()
    }

    fn judge(&mut self) -> Result<(), Wrong> {
        let lost = self.hosts.iter().map(Host::lost).sum();
        let excused = std::cell::Cell::new(0);
        let verdict = self.oracle.judge(lost, |gap| {
            let is_excused = self.is_excused(gap);
            excused.set(excused.get() + usize::from(is_excused));
            is_excused
        });
        self.excused = excused.get();
        verdict
    }

    /// Whether something happened that explains the gap: the nodes of publisher, subscriber and owner did not agree
    /// all the time that one and the same life of a node owned the channel, or a link between owner and
    /// subscriber was not up all the time. The time is that of the publication, with what it takes to settle before it
    /// and to arrive after it.
    fn is_excused(&self, gap: Gap<'_>) -> bool {
        let from = gap.written_at.saturating_sub(SETTLING);
        let until = gap.ordered_at + TRANSIT;
        let owners = |host: &Host| host.owners(gap.channel, from, until);
        let subscriber = &self.hosts[gap.node];
        let [Some(owner)] = owners(subscriber)[..] else { return true };
        if owners(&self.hosts[gap.publisher]) != [Some(owner)] {
            return true;
        }
        let Some(host) = self.hosts.iter().find(|host| host.id() == owner.0) else { return true };
        if owners(host) != [Some(owner)] {
            return true;
        }
        host.id() != subscriber.id() && !self.links.borrow().were_up(host.ip(), subscriber.ip(), from, until)
    }

    fn rest(&mut self) -> Result<(), Wrong> {
        let until = self.now() + REST_MAX;
        let mut moved_at = self.now();
        while self.now() < moved_at + REST {
            if self.now() > until {
                return Err(Wrong("it does not come to rest".into()));
            }
            let heard = self.oracle.heard();
            self.step(false)?;
            if self.oracle.heard() > heard {
                moved_at = self.now();
            }
        }
        Ok(())
    }

    /// Everybody goes; nothing may remain. Then the nodes leave, one after the other.
    fn leave(&mut self) -> Result<(), Wrong> {
        for visitor in &mut self.guests {
            visitor.guest.leave(&mut self.oracle);
        }
        let until = self.now() + TRACES;
        self.wait_until(until, "something is left of clients", Self::is_vacant)?;
        self.examine_registry()?;
        self.stage = Stage::Troubled;
        for number in 0..self.hosts.len() {
            self.hosts[number].leave();
            let until = self.now() + Duration::from_secs(10);
            self.wait_until(until, "a node does not end", |run| !run.hosts[number].is_on())?;
        }
        Ok(())
    }

    fn is_vacant(&self) -> bool {
        let nodes = || self.hosts.iter().filter_map(Host::node);
        self.guests.is_empty()
            && self.returns.is_empty()
            && nodes().all(|node| {
                [
                    Metric::Channels,
                    Metric::Sessions,
                    Metric::Users,
                    Metric::Subscriptions,
                    Metric::Connections,
                ]
                .iter()
                .all(|&metric| node.sum(metric) == 0)
            })
    }

    // Clients.

    fn welcome(&mut self) {
        let character = match self.random.below(12) {
            0..=6 => Character::Good,
            7..=9 => Character::Fickle,
            10 => Character::Slow,
            _ => Character::Rude,
        };
        let user = self.random.chance(700).then(|| format!("user-{}", self.random.below(self.users)));
        self.invite(character, user, Vec::new(), Known::new());
    }

    /// Somebody connects to a node that is ready, or to any where none is.
    fn invite(&mut self, character: Character, user: Option<String>, wishes: Vec<String>, known: Known) {
        let ready: Vec<usize> =
            (0..self.hosts.len()).filter(|&number| self.hosts[number].is_ready()).collect();
        let at = match ready.len() {
            0 => self.random.below(self.hosts.len()),
            count => ready[self.random.below(count)],
        };
        self.invite_to(at, character, user, wishes, known);
    }

    fn invite_to(
        &mut self,
        at: usize,
        character: Character,
        user: Option<String>,
        wishes: Vec<String>,
        known: Known,
    ) {
        self.guests_welcomed += 1;
        let token = user.as_deref().map(token).unwrap_or_default();
        let invitation = Invitation {
            number: self.guests_welcomed,
            character,
            node: self.hosts[at].clients(),
            at,
            token,
            wishes,
            known,
            patience: Some(PATIENCE),
        };
        let guest = Guest::invited(&self.world, invitation);
        self.guests.push(Visitor { guest, user });
    }

    /// Sees who has gone, and lets return who was thrown out.
    fn see_off(&mut self) -> Result<(), Wrong> {
        for visitor in std::mem::take(&mut self.guests) {
            let Some(ended) = visitor.guest.ended() else {
                self.guests.push(visitor);
                continue;
            };
            let guest = &visitor.guest;
            let character = guest.character();
            if self.stage == Stage::Calm && character == Character::Good && ended != Ended::Left {
                return Err(Wrong(format!(
                    "client {} on node-{} was not served to the end, in a calm fleet: {ended:?}, it asked {}",
                    guest.number(),
                    guest.at(),
                    guest.questions()
                )));
            }
            let comes_back = matches!(character, Character::Good | Character::Slow)
                && matches!(
                    ended,
                    Ended::Broken | Ended::GaveUp | Ended::Refused(_) | Ended::Closed(1_000..=3_499)
                );
            if comes_back {
                let at = self.now() + Duration::from_millis(self.random.within(50..=2_000) as u64);
                let (user, wishes, known) = (visitor.user.clone(), guest.channels(), guest.known());
                self.returns.push(Return { at, character, user, wishes, known });
            }
        }
        let now = self.now();
        let due = self.returns.extract_if(.., |back| back.at <= now).collect::<Vec<_>>();
        for Return { character, user, wishes, known, .. } in due {
            self.invite(character, user, wishes, known);
        }
        Ok(())
    }

    // Time.

    /// Everybody who can run does; then time passes until somebody can again.
    fn step(&mut self, acts: bool) -> Result<(), Wrong> {
        let now = self.now();
        self.oracle.tell_time(now);
        let mut moved = false;
        let mut order: Vec<usize> = (0..self.hosts.len()).collect();
        self.random.shuffle(&mut order);
        for number in order {
            let journal = &mut self.journal;
            let (stage, wrong) = (self.stage, &mut self.wrong);
            moved |= self.hosts[number].run(|event| {
                note(journal, now, &format!("node-{number}: {event:?}"));
                if stage == Stage::Calm
                    && matches!(event, FleetEvent::MemberDown { .. } | FleetEvent::Rejoining { .. })
                {
                    wrong.get_or_insert(Wrong(format!("node-{number} says in a calm fleet: {event:?}")));
                }
            });
        }
        for visitor in &mut self.guests {
            moved |= visitor.guest.run(&mut self.oracle)?;
        }
        self.see_off()?;
        self.check()?;
        let mut pause = Duration::from_micros(self.random.within(1..=500) as u64);
        if !moved {
            let acts_at = self.guests.iter().filter_map(|visitor| visitor.guest.acts_at());
            let acts_at = acts_at.filter(|at| acts && *at > now);
            let returns = self.returns.iter().map(|back| back.at);
            let hosts = self.hosts.iter().filter_map(Host::due);
            let next = acts_at.chain(returns).chain(hosts).chain(self.world.due()).min();
            pause = pause.max(next.unwrap_or(now).saturating_sub(now).min(Duration::from_millis(50)));
        }
        self.world.advance(pause);
        Ok(())
    }

    /// Lets time pass, while nobody starts anything.
    fn pass(&mut self, time: Duration) -> Result<(), Wrong> {
        let until = self.now() + time;
        while self.now() < until {
            self.step(false)?;
        }
        Ok(())
    }

    fn wait_until(
        &mut self,
        until: Duration,
        or: &str,
        mut is_met: impl FnMut(&Self) -> bool,
    ) -> Result<(), Wrong> {
        while !is_met(self) {
            if self.now() > until {
                return Err(Wrong(or.into()));
            }
            self.step(false)?;
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), Wrong> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        self.links.borrow_mut().check()?;
        for (number, node) in self.hosts.iter().enumerate().filter_map(|(at, host)| Some((at, host.node()?)))
        {
            if let Some((metric, value, bound)) = node.beyond_limits() {
                return Err(Wrong(format!("{metric:?} of node-{number} is {value}, allowed are {bound}")));
            }
        }
        Ok(())
    }

    fn tell(&mut self, what: &str) {
        note(&mut self.journal, self.world.now(), what);
    }

    /// What to know before a failure is replayed.
    fn circumstances(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(describe).collect();
        let journal: Vec<&str> = self.journal.iter().map(String::as_str).collect();
        format!(
            "    at {:?}, {} clients, {} channels, {:?}\n    {}\n    {}",
            self.now(),
            self.guests.len(),
            self.channels,
            self.world.conditions(),
            hosts.join("\n    "),
            journal.join("\n    ")
        )
    }

    fn summary(&self) -> Summary {
        let links = self.links.borrow();
        Summary {
            nodes: (self.hosts.len(), self.hosts.iter().map(|host| usize::from(host.shards())).sum()),
            clients: self.guests_welcomed,
            published: self.oracle.published(),
            heard: self.oracle.heard(),
            lost: self.hosts.iter().map(Host::lost).sum(),
            recoveries: self.oracle.recoveries(),
            faults: self.faults_done,
            excused: self.excused,
            revoked: self.revoked,
            frames: links.frames().iter().map(|(&name, &count)| (name, count)).collect(),
            strikes: links.strikes() + self.hosts.iter().map(Host::strikes).sum::<u64>(),
            ms: self.now().as_millis(),
        }
    }
}

impl Visitor {
    /// Whether it waits for nothing, or will never be what others are.
    fn is_at_rest(&self) -> bool {
        matches!(self.guest.character(), Character::Rude | Character::Slow) || self.guest.is_settled()
    }
}

fn note(journal: &mut VecDeque<String>, now: Duration, what: &str) {
    if journal.len() == JOURNAL {
        journal.pop_front();
    }
    journal.push_back(format!("{:>11.6} {what}", now.as_secs_f64()));
}

fn describe(host: &Host) -> String {
    let view = host.roster().map(|roster| {
        let nodes = roster.view.nodes().iter();
        let nodes: Vec<String> =
            nodes.map(|node| format!("{}/{} {:?}", node.id, node.incarnation.0, node.duty)).collect();
        format!("View {}: {}", roster.view.number(), nodes.join(", "))
    });
    let lost = host.lost();
    let channels = host.node().map_or(0, |node: &Node| node.sum(Metric::Channels));
    format!(
        "{} {}, {} shards, lost {lost}, channels {channels}, {}",
        host.ip(),
        host.id(),
        host.shards(),
        view.unwrap_or_else(|| if host.is_on() { "no View yet".into() } else { "off".into() })
    )
}

/// A network that is never so bad that healthy nodes cannot be told from dead ones.
fn conditions(random: &mut Random, may_lose: bool) -> Conditions {
    if random.chance(200) {
        return Conditions::calm();
    }
    let delay_us = [200, 2_000, 20_000][random.below(3)];
    // Slow networks do not cut finely: a link must carry what a test says.
    let segment_bytes = if delay_us <= 200 { [7, 200, 65_536] } else { [1_500, 9_000, 65_536] };
    Conditions {
        delay_us: 20..=delay_us,
        segment_bytes: 1..=segment_bytes[random.below(3)],
        receive_bytes: 1..=[200, 1_500, 65_536][random.below(3)],
        send_buffer_bytes: [16_384, 262_144][random.below(2)],
        receive_buffer_bytes: [16_384, 262_144][random.below(2)],
        late_sends: [0, 300, 1_000][random.below(3)],
        hasty_resets: [0, 500][random.below(2)],
        datagrams_lost: if may_lose { [0, 10, 50][random.below(3)] } else { 0 },
        datagrams_doubled: [0, 20][random.below(2)],
    }
}

/// Settings of a development node that knows users. Its mailboxes and outboxes are mostly roomy: what full ones do is the
/// matter of runs of one node.
fn settings(random: &mut Random) -> Settings {
    let mut settings =
        Settings { insecure: true, shards: random.within(1..=3) as u16, ..Settings::default() };
    settings.limits.connections = 40 * u32::from(settings.shards);
    settings.limits.mailbox_messages = [64, 16_384, 16_384][random.below(3)];
    settings.limits.outbox_messages = 1_024;
    settings.limits.inbound_bytes_per_shard = 1 << 20;
    settings.client.ping_s = 4;
    settings.client.pong_timeout_s = 3;
    settings.shutdown.close_ms = 2_000;
    settings.token.hmac_secret = Some(secret());
    settings
}

/// Rules of channels whose subscriptions all recover from so many publications.
pub(crate) fn keeping_channels(size: u32) -> Channel {
    let history = History { size, ttl_ms: 600_000, ..History::NONE };
    Channel { history, force_recovery: true, ..Channel::default() }
}

fn secret() -> Secret {
    Secret::new("thirty-two bytes of simulation..")
}

/// What a user shows at the door.
fn token(user: &str) -> String {
    let grant = Grant { user, ..Grant::default() };
    mint(&Signer::with_secret(&secret()), &grant).expect("an hmac key of any length is taken")
}
