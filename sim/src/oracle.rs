//! What was said and what was heard, and whether the one follows from the other.
//!
//! Invariants: knows no shard and no socket; judges only by what publishers and subscribers saw, and by how
//! many losses the nodes admit to, or what else excuses a gap.
//!
//! A *run* is one subscription of one client to one channel: from the answer to its subscribe until it asks
//! to leave or is gone. Within a run, publications of the channel come in the channel's order, each once, and
//! without a gap unless the node has counted a loss.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A publication: who published it, and his how manieth it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct MessageId {
    /// The client.
    pub by: u32,
    /// Counts that client's publications, over all channels.
    pub number: u32,
}

/// A subscription of a client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RunId(usize);

/// Why a run of the simulation is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong(pub String);

/// Everything that happened.
#[derive(Debug, Default)]
pub struct Oracle {
    published: BTreeMap<MessageId, Published>,
    runs: Vec<Run>,
    /// What is where in streams: by channel, epoch and offset.
    places: BTreeMap<(String, String, u64), MessageId>,
    /// Recoveries that succeeded, and others.
    recoveries: (usize, usize),
    /// Counts what happens, to tell what was first.
    clock: u64,
    /// The world's time.
    now: Duration,
}

#[derive(Debug)]
struct Published {
    channel: String,
    data: Vec<u8>,
    /// When it was written.
    at: u64,
    written_at: Duration,
    /// The publisher's node.
    node: usize,
    /// Whether there was an answer.
    answered: bool,
    /// The answer, if it told: accepted or refused.
    accepted: Option<bool>,
    /// When it was first known to be ordered: accepted, or heard by somebody.
    ordered_at: Option<Duration>,
}

/// Something that a subscriber had to hear and did not.
#[derive(Clone, Copy, Debug)]
pub struct Gap<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The subscriber's node.
    pub node: usize,
    /// The publisher's node.
    pub publisher: usize,
    /// When it was written.
    pub written_at: Duration,
    /// By when it was ordered.
    pub ordered_at: Duration,
}

#[derive(Debug)]
struct Run {
    client: u32,
    node: usize,
    channel: String,
    /// When the subscribe was answered.
    since: u64,
    heard: Vec<MessageId>,
    /// Whether it ended before the publications did.
    cut: bool,
}

impl Oracle {
    /// What the time is, for everything that happens until the next call.
    pub fn tell_time(&mut self, now: Duration) {
        self.now = now;
    }

    /// A client of a node writes a publication.
    pub fn publish(&mut self, id: MessageId, node: usize, channel: &str, data: &[u8]) {
        let published = Published {
            channel: channel.into(),
            data: data.into(),
            at: self.tick(),
            written_at: self.now,
            node,
            answered: false,
            accepted: None,
            ordered_at: None,
        };
        self.published.insert(id, published);
    }

    /// The publisher has his answer.
    ///
    /// # Errors
    /// [`Wrong`]: an answer to nothing, or a second one.
    pub fn answer(&mut self, id: MessageId, accepted: bool) -> Result<(), Wrong> {
        let now = self.now;
        let published = self.answered(id)?;
        published.accepted = Some(accepted);
        if accepted {
            published.ordered_at.get_or_insert(now);
        }
        Ok(())
    }

    /// The publisher is told that the outcome is not known.
    ///
    /// # Errors
    /// As of [`Oracle::answer`].
    pub fn answer_nothing(&mut self, id: MessageId) -> Result<(), Wrong> {
        self.answered(id).map(|_| ())
    }

    fn answered(&mut self, id: MessageId) -> Result<&mut Published, Wrong> {
        let published = self.published.get_mut(&id).ok_or_else(|| wrong(format!("{id:?} is unknown")))?;
        match std::mem::replace(&mut published.answered, true) {
            false => Ok(published),
            true => Err(wrong(format!("{id:?} was answered twice"))),
        }
    }

    /// Whether the publication was accepted, if its publisher has an answer that says so.
    #[must_use]
    pub fn is_accepted(&self, id: MessageId) -> Option<bool> {
        self.published.get(&id).and_then(|published| published.accepted)
    }

    /// The clients and nodes of the runs of a channel that go on and have not heard the publication.
    #[must_use]
    pub fn deaf_to(&self, id: MessageId) -> Vec<(u32, usize)> {
        let Some(published) = self.published.get(&id) else { return Vec::new() };
        let going = self.runs.iter().filter(|run| !run.cut && run.channel == published.channel);
        going.filter(|run| !run.heard.contains(&id)).map(|run| (run.client, run.node)).collect()
    }

    /// The nodes with runs of the channel that go on.
    #[must_use]
    pub fn nodes_of(&self, channel: &str) -> BTreeSet<usize> {
        self.runs.iter().filter(|run| !run.cut && run.channel == channel).map(|run| run.node).collect()
    }

    /// A subscribe of a node's client was answered: a run begins.
    pub fn subscribe(&mut self, client: u32, node: usize, channel: &str) -> RunId {
        let since = self.tick();
        let channel = channel.into();
        self.runs.push(Run { client, node, channel, since, heard: Vec::new(), cut: false });
        RunId(self.runs.len() - 1)
    }

    /// The client asks to leave, or is gone: what it does not hear from now on is no gap.
    pub fn leave(&mut self, run: RunId) {
        self.runs[run.0].cut = true;
    }

    /// A publication arrives in a run.
    ///
    /// # Errors
    /// [`Wrong`]: it was never published, or not like this, or is not above the publisher's last one.
    pub fn hear(&mut self, run: RunId, id: MessageId, data: &[u8]) -> Result<(), Wrong> {
        let Run { client, channel, heard, .. } = &mut self.runs[run.0];
        let say = |what: &str| Err(wrong(format!("client {client} in {channel}: {id:?} {what}")));
        let Some(published) = self.published.get_mut(&id) else { return say("was never published") };
        if published.channel != *channel {
            return say("was published elsewhere");
        }
        if published.data != data {
            return say("was published with another payload");
        }
        if published.accepted == Some(false) {
            return say("was refused");
        }
        if heard.iter().rev().find(|other| other.by == id.by).is_some_and(|last| last.number >= id.number) {
            return say("comes again, or behind a later one");
        }
        published.ordered_at.get_or_insert(self.now);
        heard.push(id);
        Ok(())
    }

    /// Somebody is told that a publication is at this place of a stream: everybody is told the same.
    ///
    /// # Errors
    /// [`Wrong`]: somebody was told otherwise.
    pub fn place(&mut self, channel: &str, epoch: &str, offset: u64, id: MessageId) -> Result<(), Wrong> {
        let there = *self.places.entry((channel.into(), epoch.into(), offset)).or_insert(id);
        if there == id {
            return Ok(());
        }
        Err(wrong(format!("{channel} in epoch {epoch} has at {offset} both {there:?} and {id:?}")))
    }

    /// A client subscribed to a stream: with a position that could be recovered or not, or (`None`) without one.
    pub fn count_recovery(&mut self, recovered: Option<bool>) {
        self.recoveries.0 += usize::from(recovered == Some(true));
        self.recoveries.1 += usize::from(recovered == Some(false));
    }

    /// Recoveries that succeeded, and others.
    #[must_use]
    pub fn recoveries(&self) -> (usize, usize) {
        self.recoveries
    }

    /// Publications heard, all runs together.
    #[must_use]
    pub fn heard(&self) -> usize {
        self.runs.iter().map(|run| run.heard.len()).sum()
    }

    /// Publications written, and how many of them were accepted.
    #[must_use]
    pub fn published(&self) -> (usize, usize) {
        let accepted = self.published.values().filter(|published| published.accepted == Some(true)).count();
        (self.published.len(), accepted)
    }

    /// Judges the whole, after everything has come to rest. `lost` is what the nodes say they dropped between
    /// publisher and subscriber. A loss is of one channel and one shard; all runs there miss it, so each
    /// channel's worst run must be paid for by losses of its own, but for gaps that are `excused`.
    ///
    /// # Errors
    /// [`Wrong`]: two runs disagree on the order, or more is missing than was lost.
    pub fn judge(&self, lost: u64, excused: impl Fn(Gap<'_>) -> bool) -> Result<(), Wrong> {
        let mut rest = lost as usize;
        let channels: BTreeSet<&str> = self.runs.iter().map(|run| &*run.channel).collect();
        for channel in channels {
            let runs: Vec<&Run> = self.runs.iter().filter(|run| run.channel == channel).collect();
            let order = Order::of(&runs);
            order.judge(channel)?;
            let mut worst = 0;
            for run in runs {
                let mut missing = self.missing(run, &order)?;
                missing.retain(|id| !excused(self.gap(run, *id)));
                if missing.len() > rest {
                    let (count, some) = (missing.len(), &missing[..missing.len().min(5)]);
                    let Run { client, .. } = run;
                    let first = self.gap(run, missing[0]);
                    return Err(wrong(format!(
                        "client {client} in {channel} misses {count}, of {lost} lost {rest} are left: {some:?}, {first:?}"
                    )));
                }
                worst = worst.max(missing.len());
            }
            rest -= worst;
        }
        Ok(())
    }

    fn gap<'a>(&self, run: &'a Run, id: MessageId) -> Gap<'a> {
        let Published { node: publisher, written_at, ordered_at, .. } = self.published[&id];
        let ordered_at = ordered_at.unwrap_or(written_at);
        Gap { channel: &run.channel, node: run.node, publisher, written_at, ordered_at }
    }

    /// What a run had to hear and did not.
    fn missing(&self, run: &Run, order: &Order) -> Result<Vec<MessageId>, Wrong> {
        let Run { client, channel, .. } = run;
        let heard: BTreeSet<MessageId> = run.heard.iter().copied().collect();
        let accepted = |id: &MessageId| self.published[id].accepted;
        if let Some(id) = heard.iter().find(|id| accepted(id) == Some(false)) {
            return Err(wrong(format!("client {client} in {channel}: {id:?} was refused, and delivered")));
        }
        // To one that left, only what lies before something that it heard is due.
        let certain = match run.heard.last() {
            Some(&last) if run.cut => order.before(last),
            _ => BTreeSet::new(),
        };
        let is_due = |id: &MessageId| match run.cut {
            true => certain.contains(id),
            false => accepted(id) == Some(true) || order.next.contains_key(id),
        };
        let later = self.published.iter().filter(|(_, it)| it.channel == *channel && it.at > run.since);
        Ok(later.map(|(&id, _)| id).filter(|id| is_due(id) && !heard.contains(id)).collect())
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

/// What follows what in a channel, by anybody's hearing.
struct Order {
    next: BTreeMap<MessageId, BTreeSet<MessageId>>,
    previous: BTreeMap<MessageId, BTreeSet<MessageId>>,
}

impl Order {
    fn of(runs: &[&Run]) -> Self {
        let mut order = Self { next: BTreeMap::new(), previous: BTreeMap::new() };
        for run in runs {
            for &id in &run.heard {
                order.next.entry(id).or_default();
                order.previous.entry(id).or_default();
            }
            for pair in run.heard.windows(2) {
                order.next.entry(pair[0]).or_default().insert(pair[1]);
                order.previous.entry(pair[1]).or_default().insert(pair[0]);
            }
        }
        order
    }

    /// Whether one order agrees with every run: whether nothing comes both before and after another.
    fn judge(&self, channel: &str) -> Result<(), Wrong> {
        let mut waiting: BTreeMap<MessageId, usize> =
            self.previous.iter().map(|(&id, previous)| (id, previous.len())).collect();
        let mut free: Vec<MessageId> =
            waiting.iter().filter(|(_, count)| **count == 0).map(|(&id, _)| id).collect();
        while let Some(id) = free.pop() {
            waiting.remove(&id);
            for next in &self.next[&id] {
                if let Some(count) = waiting.get_mut(next) {
                    *count -= 1;
                    if *count == 0 {
                        free.push(*next);
                    }
                }
            }
        }
        match waiting.first_key_value() {
            None => Ok(()),
            Some((id, _)) => Err(wrong(format!("subscribers of {channel} disagree on the order of {id:?}"))),
        }
    }

    /// Everything that certainly comes before `last`.
    fn before(&self, last: MessageId) -> BTreeSet<MessageId> {
        let mut found = BTreeSet::new();
        let mut open = vec![last];
        while let Some(id) = open.pop() {
            open.extend(self.previous[&id].iter().filter(|id| found.insert(**id)));
        }
        found
    }
}

fn wrong(what: String) -> Wrong {
    Wrong(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One step of a history: clients 1 and 2 publish and subscribe in the channel "c".
    enum Step {
        Publish(u32, u32),
        Accept(u32, u32),
        Refuse(u32, u32),
        Subscribe(u32),
        Hear(u32, u32, u32),
        Leave(u32),
    }
    use Step::{Accept, Hear, Leave, Publish, Refuse, Subscribe};

    fn id(by: u32, number: u32) -> MessageId {
        MessageId { by, number }
    }

    /// The verdict on a history with `lost` counted losses: the beginning of what is wrong, or "".
    fn verdict(steps: &[Step], lost: u64) -> Result<(), Wrong> {
        let mut oracle = Oracle::default();
        let mut runs = BTreeMap::new();
        for step in steps {
            match *step {
                Publish(by, number) => oracle.publish(id(by, number), 0, "c", &[by as u8, number as u8]),
                Accept(by, number) => oracle.answer(id(by, number), true)?,
                Refuse(by, number) => oracle.answer(id(by, number), false)?,
                Subscribe(client) => drop(runs.insert(client, oracle.subscribe(client, 0, "c"))),
                Hear(client, by, number) => {
                    oracle.hear(runs[&client], id(by, number), &[by as u8, number as u8])?;
                }
                Leave(client) => oracle.leave(runs[&client]),
            }
        }
        oracle.judge(lost, |_| false)
    }

    fn check(steps: &[Step], lost: u64, expected: &str) {
        let said = verdict(steps, lost).map_or_else(|Wrong(what)| what, |()| String::new());
        assert!(
            said.contains(expected) && said.is_empty() == expected.is_empty(),
            "{said:?}, not {expected:?}"
        );
    }

    #[test]
    fn right_histories_pass() {
        check(&[], 0, "");
        check(&[Subscribe(2), Publish(1, 1), Hear(2, 1, 1), Accept(1, 1)], 0, "");
        // Published before the subscribe was answered: it may be heard or not.
        check(&[Publish(1, 1), Subscribe(2), Accept(1, 1)], 0, "");
        check(&[Publish(1, 1), Subscribe(2), Hear(2, 1, 1)], 0, "");
        // Left before it arrived.
        check(&[Subscribe(2), Publish(1, 1), Accept(1, 1), Leave(2)], 0, "");
        // Never answered, never heard: the publisher vanished first.
        check(&[Subscribe(2), Publish(1, 1)], 0, "");
        check(&[Subscribe(2), Publish(1, 1), Refuse(1, 1)], 0, "");
        // Two runs that saw different ends of the same order.
        let two = [
            Subscribe(1),
            Subscribe(2),
            Publish(1, 1),
            Publish(2, 1),
            Hear(1, 1, 1),
            Leave(1),
            Hear(2, 2, 1),
        ];
        check(&two, 1, "");
    }

    #[test]
    fn broken_rules_are_found() {
        check(&[Subscribe(2), Hear(2, 1, 1)], 0, "never published");
        let once = || vec![Subscribe(2), Publish(1, 1), Publish(1, 2), Hear(2, 1, 1)];
        let with = |more: Vec<Step>| once().into_iter().chain(more).collect::<Vec<_>>();
        check(&with(vec![Hear(2, 1, 1)]), 0, "comes again");
        check(&with(vec![Hear(2, 1, 2), Hear(2, 1, 1)]), 0, "comes again, or behind");
        check(&with(vec![Accept(1, 2)]), 0, "misses 1, of 0 lost");
        check(&with(vec![Accept(1, 2)]), 1, "");
        check(&with(vec![Accept(1, 1), Accept(1, 1)]), 0, "answered twice");
        check(&with(vec![Refuse(1, 1)]), 0, "refused, and delivered");
        check(&[Accept(1, 1)], 0, "is unknown");
        check(&[Subscribe(2), Publish(1, 1), Refuse(1, 1), Hear(2, 1, 1)], 0, "was refused");
    }

    #[test]
    fn disagreement_on_the_order_is_found() {
        let mut steps = vec![Subscribe(1), Subscribe(2), Publish(1, 1), Publish(2, 1)];
        steps.extend([Hear(1, 1, 1), Hear(1, 2, 1), Hear(2, 2, 1), Hear(2, 1, 1)]);
        check(&steps, 0, "disagree");
    }

    #[test]
    fn a_gap_before_leaving_is_found() {
        // Client 2 hears the first and the third and leaves; client 1 proves that the second lay between.
        let steps = || {
            let mut steps = vec![Subscribe(1), Subscribe(2), Publish(3, 1), Publish(3, 2), Publish(3, 3)];
            steps.extend([1, 2, 3].map(|number| Hear(1, 3, number)));
            steps.extend([Hear(2, 3, 1), Hear(2, 3, 3), Leave(2)]);
            steps
        };
        check(&steps(), 0, "client 2 in c misses 1");
        check(&steps(), 1, "");
    }

    #[test]
    fn another_channel_or_payload_is_found() {
        let mut oracle = Oracle::default();
        oracle.publish(id(1, 1), 0, "c", b"x");
        let (here, elsewhere) = (oracle.subscribe(2, 0, "c"), oracle.subscribe(2, 0, "d"));
        assert!(oracle.hear(elsewhere, id(1, 1), b"x").is_err());
        assert!(oracle.hear(here, id(1, 1), b"y").is_err());
        assert_eq!(oracle.hear(here, id(1, 1), b"x"), Ok(()));
        assert_eq!((oracle.heard(), oracle.published()), (1, (1, 0)));
    }
}
