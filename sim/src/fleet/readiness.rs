//! What a node is worth that says that it is ready: its clients are answered, whatever has befallen the fleet before.
//!
//! Invariants: judged from the moment when all faults are over; a node that is not ready need not answer, and one that is may
//! fail for no longer than it takes to find out that the fleet had given it up, and to have links again.

use std::time::Duration;

use super::{PATIENCE, Run};
use crate::guest::{Character, Known, channel_name};
use crate::oracle::{MessageId, Wrong};

/// How long a node may say that it is ready and not answer: a death that is found, a rejoin, links with their longest pauses.
const OUTAGE_MAX: Duration = Duration::from_secs(8);
/// For how long nodes are watched.
const WATCHED: Duration = Duration::from_secs(15);
/// Between two looks at all of them.
const LOOK: Duration = Duration::from_millis(250);

/// A node under watch, by the client that was sent to it.
struct Watch {
    node: usize,
    client: Option<u32>,
    /// By channel: what was published last and is not settled, and when all was well last.
    channels: Vec<(Option<MessageId>, Duration)>,
}

impl Run {
    pub(super) fn watch_readiness(&mut self) -> Result<(), Wrong> {
        let until = self.now() + WATCHED;
        let channels = vec![(None, self.now()); self.channels];
        let mut watches: Vec<Watch> = (0..self.hosts.len())
            .map(|node| Watch { node, client: None, channels: channels.clone() })
            .collect();
        while self.now() < until {
            for watch in &mut watches {
                self.look_at(watch)?;
            }
            self.pass(LOOK)?;
        }
        Ok(())
    }

    fn look_at(&mut self, watch: &mut Watch) -> Result<(), Wrong> {
        let now = self.now();
        if !self.hosts[watch.node].is_ready() {
            watch.channels.fill((None, now));
            return Ok(());
        }
        let is_it = |number: u32| Some(number) == watch.client;
        let Some(at) = self.guests.iter().position(|visitor| is_it(visitor.guest.number())) else {
            self.invite_to(watch.node, Character::Good, None, Vec::new(), Known::new());
            watch.client = Some(self.guests_welcomed);
            return self.judge_outage(watch);
        };
        let is_settled = self.guests[at].guest.is_settled();
        for (channel, (asked, well_at)) in watch.channels.iter_mut().enumerate() {
            let guest = &mut self.guests[at].guest;
            guest.join(channel);
            let accepted = asked.and_then(|id| self.oracle.is_accepted(id));
            let hears = |id| !self.oracle.deaf_to(id).contains(&(guest.number(), watch.node));
            if accepted == Some(true) && guest.has(channel) && asked.is_some_and(hears) {
                (*asked, *well_at) = (None, now);
            }
            if asked.is_none() || is_settled {
                *asked = self.guests[at].guest.speak_up(&mut self.oracle, channel);
            }
        }
        self.judge_outage(watch)
    }

    fn judge_outage(&self, watch: &Watch) -> Result<(), Wrong> {
        let outages = watch.channels.iter().map(|(_, well_at)| self.now() - *well_at).enumerate();
        match outages.max_by_key(|(_, outage)| *outage).filter(|(_, outage)| *outage > OUTAGE_MAX) {
            Some((channel, outage)) => Err(Wrong(format!(
                "node-{} says that it is ready and has not served {} for {outage:?}, owner {:?}",
                watch.node,
                channel_name(channel),
                self.hosts[watch.node].owners(&channel_name(channel), self.now(), self.now())
            ))),
            None => Ok(()),
        }
    }
}

const _: () = assert!(PATIENCE.as_millis() < OUTAGE_MAX.as_millis());
