//! The final exam of a fleet that is whole again: what is said reaches everybody, and what nodes know is true.
//!
//! Invariant: nothing is excused here.

use std::collections::BTreeMap;
use std::time::Duration;

use roadstead_control::NodeId;

use super::{PATIENCE, Run};
use crate::guest::{Character, Known, channel_name};
use crate::host::Host;
use crate::node::Node;
use crate::oracle::{MessageId, Wrong};

/// How long interest without subscribers may last: the vacancy of leaf and hub, one after the other, and their walks.
const VACANT_MAX: Duration = Duration::from_secs(25);
/// How long a revocation may take to all nodes of a fleet that is whole: it may find no room on its way, and the next
/// comparison comes in 10 s.
const REVOKED_MAX: Duration = Duration::from_secs(15);
/// How long the registry may be behind.
const BEHIND_MAX: Duration = Duration::from_secs(10);

impl Run {
    pub(super) fn examine(&mut self) -> Result<(), Wrong> {
        let nodes: Vec<usize> = (0..self.hosts.len()).filter(|&number| self.hosts[number].is_on()).collect();
        let mut examiners = Vec::new();
        for &number in &nodes {
            let user = self.random.chance(500).then(|| "user-0".to_owned());
            let wishes = (0..self.channels).filter(|_| self.random.chance(400)).map(channel_name).collect();
            self.invite_to(number, Character::Good, user, wishes, Known::new());
            examiners.push(self.guests_welcomed);
        }
        let until = self.now() + 2 * PATIENCE;
        let are_in = |run: &Self| {
            examiners.iter().all(|&number| {
                run.guests.iter().any(|it| it.guest.number() == number && it.guest.is_settled())
            })
        };
        self.wait_until(until, "an examiner does not get in", are_in)?;
        self.pass(VACANT_MAX)?;
        self.examine_revocations()?;
        let lost_before: u64 = self.hosts.iter().map(Host::lost).sum();
        for channel in 0..self.channels {
            for &examiner in &examiners {
                self.examine_channel(channel, examiner)?;
            }
        }
        let lost: u64 = self.hosts.iter().map(Host::lost).sum();
        if lost > lost_before {
            return Err(Wrong(format!("{} publications are dropped in a calm fleet", lost - lost_before)));
        }
        self.examine_registry()
    }

    /// All nodes know the same, whatever was revoked in troubled times, and something new soon.
    fn examine_revocations(&mut self) -> Result<(), Wrong> {
        if !self.do_revocations_agree() {
            return Err(Wrong("nodes differ in what is revoked, long after the last trouble".into()));
        }
        while !self.revoke_somewhere() {}
        let until = self.now() + REVOKED_MAX;
        self.wait_until(until, "a revocation is not everywhere", Self::do_revocations_agree)
    }

    fn do_revocations_agree(&self) -> bool {
        let known: Vec<_> = self.hosts.iter().filter_map(Host::node).map(Node::revocations).collect();
        known.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// One publication from an examiner's node reaches all who subscribe, and no node without any.
    fn examine_channel(&mut self, channel: usize, examiner: u32) -> Result<(), Wrong> {
        let speaker = self.guests.iter_mut().find(|visitor| visitor.guest.number() == examiner);
        let Some(speaker) = speaker else { return Err(Wrong(format!("examiner {examiner} is gone"))) };
        let at = speaker.guest.at();
        let Some(id) = speaker.guest.speak_up(&mut self.oracle, channel) else {
            return Err(Wrong(format!("examiner {examiner} is not inside")));
        };
        let until = self.now() + PATIENCE;
        let is_everywhere =
            |run: &Self| run.oracle.is_accepted(id) == Some(true) && run.oracle.deaf_to(id).is_empty();
        while !is_everywhere(self) {
            if self.now() > until {
                return Err(self.unheard(channel, at, id));
            }
            self.step(false)?;
        }
        let wanted = self.oracle.nodes_of(&channel_name(channel));
        let crossed = self.links.borrow().delivered_to(id);
        let unwanted = crossed.iter().find(|ip| !wanted.iter().any(|&number| Host::ip_of(number) == **ip));
        match unwanted {
            Some(ip) => {
                let channel = channel_name(channel);
                Err(Wrong(format!("{id:?} of {channel} goes to {ip}, where nobody subscribes for long")))
            }
            None => Ok(()),
        }
    }

    fn unheard(&self, channel: usize, at: usize, id: MessageId) -> Wrong {
        let channel = channel_name(channel);
        let (accepted, deaf) = (self.oracle.is_accepted(id), self.oracle.deaf_to(id));
        let owner = self.hosts[at].owners(&channel, self.now(), self.now());
        Wrong(format!(
            "{id:?} in {channel} from node-{at}, owner {owner:?}: accepted {accepted:?}, not heard by {deaf:?} \
             (client, node)"
        ))
    }

    /// Every node finds every user where he is.
    pub(super) fn examine_registry(&mut self) -> Result<(), Wrong> {
        let mut truth: BTreeMap<String, BTreeMap<NodeId, usize>> = BTreeMap::new();
        for number in 0..self.users {
            truth.insert(format!("user-{number}"), BTreeMap::new());
        }
        for visitor in &self.guests {
            if !visitor.guest.is_inside() {
                let number = visitor.guest.number();
                // Who is on the way in or out would make the truth itself a guess.
                if visitor.guest.character() == Character::Good {
                    return Err(Wrong(format!("client {number} is neither in nor out of a calm fleet")));
                }
                continue;
            }
            if let Some(user) = &visitor.user {
                let nodes = truth.entry(user.clone()).or_default();
                *nodes.entry(self.hosts[visitor.guest.at()].id()).or_default() += 1;
            }
        }
        for number in (0..self.hosts.len()).filter(|&number| self.hosts[number].is_on()).collect::<Vec<_>>() {
            for (user, nodes) in &truth {
                self.examine_user(number, user, nodes)?;
            }
        }
        Ok(())
    }

    fn examine_user(
        &mut self,
        number: usize,
        user: &str,
        truth: &BTreeMap<NodeId, usize>,
    ) -> Result<(), Wrong> {
        let until = self.now() + BEHIND_MAX;
        loop {
            let Some(answered) = self.hosts[number].locate(user) else { return Ok(()) };
            let asked_at = self.now();
            let found = loop {
                if let Ok(answer) = answered.try_recv() {
                    break answer;
                }
                if self.now() > asked_at + PATIENCE {
                    return Err(Wrong(format!("node-{number} does not answer where {user} is")));
                }
                self.step(false)?;
            };
            let mut nodes: BTreeMap<NodeId, usize> = BTreeMap::new();
            for entry in found.iter().flatten() {
                *nodes.entry(entry.node).or_default() += 1;
            }
            if found.is_ok() && nodes == *truth {
                return Ok(());
            }
            if self.now() > until {
                return Err(Wrong(format!(
                    "node-{number} says of {user}: {found:?}; the truth is {truth:?}"
                )));
            }
            self.pass(Duration::from_millis(500))?;
        }
    }
}
