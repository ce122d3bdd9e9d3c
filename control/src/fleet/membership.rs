//! The membership protocol: SWIM by `foca`, with its timers and this node's patience.
//!
//! Invariants: reads no clock; a suspicion that this node raises is confirmed once, after a time that grows with the fleet
//! and with this node's own trouble; time for which this node was away counts against nobody.

use core::num::{NonZeroU8, NonZeroUsize};
use core::time::Duration;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use foca::{Config, Foca, Member, NoCustomBroadcast, Notification, Runtime, State, Timer};

use crate::chance::Chance;
use crate::fleet::health::Health;
use crate::fleet::life::{GossipCodec, Life, Update};
use crate::limits::{DEAD_REMEMBERED, MEMBERSHIP_BYTES_MAX, PROBE_PERIOD, PROBE_REPLY, STALL, SUSPICION};

/// Nodes that are asked to try a silent one, and that gossip goes to each time.
const FAN_OUT: NonZeroUsize = NonZeroUsize::new(3).expect("not zero");

/// Fleets up to this size have the base suspicion.
const SMALL_FLEET: f64 = 20.0;

/// What the protocol found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// A life is there.
    Up(Life),
    /// A life is over.
    Down(Life),
    /// A later life took the place of an earlier one, dead or alive.
    Replaced(Life, Life),
    /// This node suspects a life, which had objected so many times before.
    Suspected(Life, u16),
    /// This node itself is taken for dead.
    Condemned,
}

/// The protocol's state.
pub(crate) struct Membership {
    foca: Foca<Life, GossipCodec, Chance, NoCustomBroadcast>,
    world: World,
    chance: Chance,
    errors: u64,
}

/// What the protocol wants from the world, until it is fetched.
struct World {
    now: Duration,
    alarms: BinaryHeap<Reverse<Alarm>>,
    alarms_set: u64,
    messages: Vec<(Life, Vec<u8>)>,
    notices: Vec<Notice>,
    health: Health,
    suspicion: Duration,
    /// Whether the probe that is being judged has failed.
    probe_failed: bool,
}

/// A timer of the protocol. Those that are due together keep their order.
struct Alarm {
    due: Duration,
    number: u64,
    timer: Timer<Life>,
}

impl Membership {
    pub(crate) fn new(own: Life, mut chance: Chance, now: Duration) -> Self {
        let world = World {
            now,
            alarms: BinaryHeap::new(),
            alarms_set: 0,
            messages: Vec::new(),
            notices: Vec::new(),
            health: Health::default(),
            suspicion: SUSPICION,
            probe_failed: false,
        };
        let foca = Foca::new(own, config(0), chance.branch(), GossipCodec::default());
        Self { foca, world, chance, errors: 0 }
    }

    /// Notices that `now` is much later than a timer was due, and moves all timers by that: returns by how much.
    pub(crate) fn notice_stall(&mut self, now: Duration) -> Option<Duration> {
        let due = self.world.alarms.peek().map(|Reverse(alarm)| alarm.due)?;
        let late = now.checked_sub(due).filter(|late| *late > STALL)?;
        self.world.alarms = self
            .world
            .alarms
            .drain()
            .map(|Reverse(alarm)| Reverse(Alarm { due: alarm.due + late, ..alarm }))
            .collect();
        self.world.health.stall();
        Some(late)
    }

    pub(crate) fn handle_message(&mut self, now: Duration, message: &[u8]) {
        self.world.now = now;
        let result = self.foca.handle_data(message, &mut self.world);
        self.count(result);
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        self.world.now = now;
        while self.world.alarms.peek().is_some_and(|Reverse(alarm)| alarm.due <= now) {
            let Some(Reverse(alarm)) = self.world.alarms.pop() else { break };
            if self.is_refuted(&alarm.timer) {
                continue;
            }
            let judges_probe = matches!(alarm.timer, Timer::ProbeRandomMember(_));
            self.world.probe_failed = false;
            let result = self.foca.handle_timer(alarm.timer, &mut self.world);
            self.count(result);
            if judges_probe && !self.world.probe_failed {
                self.world.health.mend();
            }
        }
    }

    /// Whether a node is no longer suspected as it was. The protocol would not take it for dead then, but tell it that it is.
    fn is_refuted(&self, timer: &Timer<Life>) -> bool {
        match timer {
            Timer::ChangeSuspectToDown { member_id, incarnation, .. } => {
                self.state(member_id) != Some((State::Suspect, *incarnation))
            }
            _ => false,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.world.alarms.peek().map(|Reverse(alarm)| alarm.due)
    }

    /// Takes what is to be sent.
    pub(crate) fn take_messages(&mut self) -> Vec<(Life, Vec<u8>)> {
        std::mem::take(&mut self.world.messages)
    }

    /// Takes what was found out, and fits the protocol to the fleet's size.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        let notices = std::mem::take(&mut self.world.notices);
        if !notices.is_empty() {
            let size = self.foca.num_members() + 1;
            self.world.suspicion = suspicion(size);
            let result = self.foca.set_config(config(size));
            self.count(result);
        }
        notices
    }

    /// Messages that could not be used, since the last call.
    pub(crate) fn take_errors(&mut self) -> u64 {
        std::mem::take(&mut self.errors)
    }

    /// Asks a node for everybody it knows, and shows it who asks.
    pub(crate) fn announce(&mut self, now: Duration, to: Life) {
        self.world.now = now;
        let result = self.foca.announce(to, &mut self.world);
        self.count(result);
    }

    /// Whether there is something to spread.
    pub(crate) fn has_gossip(&self) -> bool {
        self.foca.updates_backlog() > 0
    }

    /// Spreads it to a few nodes.
    pub(crate) fn gossip(&mut self, now: Duration) {
        self.world.now = now;
        let result = self.foca.gossip(&mut self.world);
        self.count(result);
    }

    /// What is known of a life: how it is and how often it has objected.
    pub(crate) fn state(&self, life: &Life) -> Option<(State, u16)> {
        let known = self.foca.iter_membership_state().find(|member| member.id() == life)?;
        Some((known.state(), known.incarnation()))
    }

    /// How all lives are that are known.
    pub(crate) fn states(&self) -> impl Iterator<Item = &Update> {
        self.foca.iter_membership_state()
    }

    /// Takes up what was learned otherwise, and spreads it if `aloud`.
    pub(crate) fn apply(&mut self, now: Duration, update: Update, aloud: bool) {
        self.world.now = now;
        let result = self.foca.apply_many(core::iter::once(update), aloud, &mut self.world);
        self.count(result);
    }

    /// Suspects a living node, for what was seen outside of the protocol. Confirming it is the caller's.
    pub(crate) fn suspect(&mut self, now: Duration, life: Life) {
        let Some((state @ (State::Alive | State::Suspect), objections)) = self.state(&life) else { return };
        if state == State::Alive {
            self.apply(now, Member::new(life, objections, State::Suspect), true);
        }
        self.world.notices.push(Notice::Suspected(life, objections));
    }

    /// How long a suspected node may take to object, now.
    pub(crate) fn patience(&self, base: Duration) -> Duration {
        base.mul_f64(self.world.suspicion.as_secs_f64() / SUSPICION.as_secs_f64())
            * self.world.health.factor()
    }

    /// Takes a dead life out of memory, so that it may come back as it was or make room.
    pub(crate) fn forget_dead(&mut self, life: Life) {
        let result = self.foca.handle_timer(Timer::RemoveDown(life), &mut self.world);
        self.count(result);
    }

    /// Goes on as another life of this node, which knows the living and nothing else: what it held against others while it
    /// was away must not be spread.
    pub(crate) fn change_life(&mut self, now: Duration, own: Life) {
        let living: Vec<Update> = self.foca.iter_members().cloned().collect();
        let codec = GossipCodec::default();
        self.foca = Foca::new(own, config(living.len() + 1), self.chance.branch(), codec);
        self.world.now = now;
        self.world.alarms.clear();
        let told = self.world.notices.len();
        let result = self.foca.apply_many(living.into_iter(), false, &mut self.world);
        self.count(result);
        self.world.notices.truncate(told);
        self.gossip(now);
    }

    /// Tells a few nodes that this one goes. Nothing else may follow but fetching messages.
    pub(crate) fn leave(&mut self, now: Duration) {
        self.world.now = now;
        let result = self.foca.leave_cluster(&mut self.world);
        self.count(result);
        self.world.alarms.clear();
    }

    fn count(&mut self, result: Result<(), foca::Error>) {
        self.errors += u64::from(result.is_err());
    }
}

impl Runtime<Life> for &mut World {
    fn notify(&mut self, notification: Notification<'_, Life>) {
        self.notices.push(match notification {
            Notification::MemberUp(life) => Notice::Up(*life),
            Notification::MemberDown(life) => Notice::Down(*life),
            Notification::Rename(old, new) => Notice::Replaced(*old, *new),
            Notification::Defunct => Notice::Condemned,
            Notification::Active | Notification::Idle | Notification::Rejoin(_) => return,
        });
    }

    fn send_to(&mut self, to: Life, data: &[u8]) {
        self.messages.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, timer: Timer<Life>, after: Duration) {
        let after = match &timer {
            Timer::ChangeSuspectToDown { member_id, incarnation, .. } => {
                self.probe_failed = true;
                if self.alarms.iter().any(|Reverse(alarm)| alarm.timer == timer) {
                    return;
                }
                let patience = self.suspicion * self.health.factor();
                self.health.worsen();
                self.notices.push(Notice::Suspected(*member_id, *incarnation));
                patience
            }
            Timer::ProbeRandomMember(_) | Timer::SendIndirectProbe { .. } => after * self.health.factor(),
            _ => after,
        };
        self.alarms_set += 1;
        self.alarms.push(Reverse(Alarm { due: self.now + after, number: self.alarms_set, timer }));
    }
}

/// How long a suspected node may take to object, in a fleet of `size`: news travel in logarithmic time.
fn suspicion(size: usize) -> Duration {
    SUSPICION.mul_f64(((size as f64).ln() / SMALL_FLEET.ln()).max(1.0))
}

fn config(size: usize) -> Config {
    let rounds = usize::BITS - size.leading_zeros();
    let mut config = Config::simple();
    config.probe_period = PROBE_PERIOD;
    config.probe_rtt = PROBE_REPLY;
    config.num_indirect_probes = FAN_OUT;
    config.max_transmissions = transmissions(rounds);
    config.suspect_to_down_after = SUSPICION;
    config.remove_down_after = Some(DEAD_REMEMBERED);
    config.max_packet_size = NonZeroUsize::new(MEMBERSHIP_BYTES_MAX).expect("a limit above zero");
    config.notify_down_members = true;
    config
}

/// How often a piece of news is told by each node that hears it: a few times more than it takes to reach everybody.
fn transmissions(rounds: u32) -> NonZeroU8 {
    NonZeroU8::new(u8::try_from(3 * rounds + 2).unwrap_or(u8::MAX)).unwrap_or(NonZeroU8::MIN)
}

/// [`transmissions`] for a fleet of `size`.
pub(crate) fn transmissions_for(size: usize) -> u8 {
    transmissions(usize::BITS - size.leading_zeros()).get()
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.number) == (other.due, other.number)
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}
