//! Errands of the server API: run here, on the other shards that hold a user's connections, and on all other nodes.
//!
//! Invariants: bounded in number; each is answered once, within its time; a node that cannot be reached, or does not answer, makes the
//! outcome unknown, and the others do their part all the same; a walk over channels looks at so many in a turn.
//!
//! ```text
//! ask ──> open ──┬─> here: work, for the shard's connections; surveys ──────────┐
//!                └─> Errand, every node of the View ──> work, surveys ─> ErrandDone ─┴─> told
//! ```

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use roadstead_protocol::ErrorCode;
use slab::Slab;

use super::Router;
use super::links::Route;
use super::message::{Message, Outlet, Post};
use crate::flow::{Census, Errand, Key, Relayed, Report, Told, UserErrand};
use crate::limits::{
    ERRAND_CHANNELS_BYTES_MAX, ERRAND_CHANNELS_LOOKED_PER_TURN, ERRAND_CHANNELS_MAX, ERRAND_WORK_MAX,
    ERRANDS_MAX, OWNER_WAIT_MS,
};

/// An errand that is not answered yet.
#[derive(Debug)]
struct Open {
    ticket: u64,
    number: u64,
    due_ms: u64,
    /// Answers that are awaited, by route.
    awaited: Vec<(Route, u16)>,
    /// This shard's own part is not done.
    awaits_own: bool,
    report: Result<Report, ErrorCode>,
}

/// Who wants to know.
#[derive(Clone, Copy, Debug)]
enum Asker {
    /// The process; the errand's name.
    Here(u64),
    /// Another node.
    Node(Route, u64),
}

/// Something that is looked for among the channels.
#[derive(Debug)]
struct Survey {
    asker: Asker,
    errand: Arc<Errand>,
    /// Channels below were looked at.
    next: u32,
    found: Vec<(Box<str>, u32)>,
    bytes: usize,
}

/// The errands of a shard.
#[derive(Debug)]
pub(super) struct Errands {
    hub: u16,
    open: Slab<Open>,
    number: u64,
    told: Vec<Told>,
    work: VecDeque<(Key, Arc<UserErrand>)>,
    surveys: VecDeque<Survey>,
}

impl Errands {
    pub(super) fn new(hub: u16) -> Self {
        Self {
            hub,
            open: Slab::new(),
            number: 0,
            told: Vec::new(),
            work: VecDeque::new(),
            surveys: VecDeque::new(),
        }
    }

    /// A session of a link is over: what was asked in it has an unknown outcome.
    pub(super) fn lose(&mut self, is_lost: impl Fn(&Route) -> bool) {
        for place in self.places() {
            let open = &mut self.open[place as usize];
            let awaited = open.awaited.len();
            open.awaited.retain(|(route, _)| !is_lost(route));
            if open.awaited.len() < awaited {
                open.report = Err(ErrorCode::Internal);
                self.settle(place);
            }
        }
    }

    pub(super) fn expire(&mut self, now_ms: u64) {
        for place in self.places() {
            let open = &mut self.open[place as usize];
            if open.due_ms <= now_ms {
                open.report = Err(ErrorCode::Internal);
                open.awaited.clear();
                open.awaits_own = false;
                self.settle(place);
            }
        }
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        if !self.work.is_empty() || !self.surveys.is_empty() {
            return Some(0);
        }
        self.open.iter().map(|(_, open)| open.due_ms).min()
    }

    /// Whether no further errand like this one can be taken.
    fn is_full_for(&self, errand: &Errand) -> bool {
        match errand {
            Errand::User(_) => self.work.len() >= ERRAND_WORK_MAX,
            Errand::Census | Errand::Channels { .. } => self.surveys.len() >= ERRANDS_MAX,
            Errand::Unknown => false,
        }
    }

    pub(super) fn add_work(&mut self, by: Key, errand: Arc<UserErrand>) {
        self.work.push_back((by, errand));
    }

    fn places(&self) -> Vec<u32> {
        self.open.iter().map(|(place, _)| place as u32).collect()
    }

    /// Answers an errand for which nothing is awaited any more.
    fn settle(&mut self, place: u32) {
        let open = &self.open[place as usize];
        if open.awaited.is_empty() && !open.awaits_own {
            let Open { ticket, report: outcome, .. } = self.open.remove(place as usize);
            self.told.push(Told { ticket, outcome });
        }
    }

    fn hear_done(&mut self, route: Route, request: u64, report: Result<Report, ErrorCode>) {
        let Some(place) = self.find(request) else { return };
        let open = &mut self.open[place as usize];
        let Some((_, left)) = open.awaited.iter_mut().find(|(known, _)| *known == route) else { return };
        *left -= 1;
        open.awaited.retain(|(_, left)| *left > 0);
        open.add(report);
        self.settle(place);
    }

    /// The place of an errand that is still open.
    fn find(&self, request: u64) -> Option<u32> {
        let place = (request & 0xff_ffff) as u32;
        let open = self.open.get(place as usize)?;
        (self.request(place, open.number) == request).then_some(place)
    }

    /// hub (16 bits) · number (24) · place (24)
    fn request(&self, place: u32, number: u64) -> u64 {
        u64::from(self.hub) << 48 | (number & 0xff_ffff) << 24 | u64::from(place)
    }
}

impl Open {
    /// The first failure is the outcome.
    fn add(&mut self, part: Result<Report, ErrorCode>) {
        match (&mut self.report, part) {
            (Ok(all), Ok(part)) => all.add(part),
            (report @ Ok(_), Err(code)) => *report = Err(code),
            (Err(_), _) => {}
        }
    }
}

impl<S: BuildHasher, W> Router<S, W> {
    /// Runs an errand, here and (`everywhere`) on all other nodes; the answer to `ticket` comes by [`Self::take_told`].
    pub fn run(&mut self, ticket: u64, errand: Errand, everywhere: bool, out: &mut Outlet<'_, impl Post>) {
        if self.errands.open.len() >= ERRANDS_MAX || self.errands.is_full_for(&errand) {
            return self.errands.told.push(Told { ticket, outcome: Err(ErrorCode::TooManyRequests) });
        }
        let errand = Arc::new(errand);
        self.errands.number += 1;
        let (number, due_ms) = (self.errands.number, out.now_ms + OWNER_WAIT_MS);
        let open =
            Open { ticket, number, due_ms, awaited: Vec::new(), awaits_own: true, report: Ok(Report::Done) };
        let place = self.errands.open.insert(open) as u32;
        if everywhere && !self.settings.alone {
            self.send_errand(place, &errand, out);
        }
        let asker = Asker::Here(self.errands.request(place, number));
        match &*errand {
            Errand::User(of) => {
                self.run_for_user(of, out);
                self.answer_errand(asker, Ok(Report::Done), out);
            }
            Errand::Census | Errand::Channels { .. } => self.survey_for(asker, errand),
            Errand::Unknown => self.answer_errand(asker, Err(ErrorCode::NotAvailable), out),
        }
    }

    fn send_errand(&mut self, place: u32, errand: &Arc<Errand>, out: &mut Outlet<'_, impl Post>) {
        let request = self.errands.request(place, self.errands.open[place as usize].number);
        let nodes =
            self.view.as_ref().map(|view| view.nodes().iter().map(|node| node.id).collect::<Vec<_>>());
        if nodes.is_none() {
            self.errands.open[place as usize].report = Err(ErrorCode::Internal);
        }
        let own = self.settings.node;
        for node in nodes.unwrap_or_default().into_iter().filter(|node| *node != own) {
            let (Some(route), Some(peer)) = (self.links.announcing(node), self.links.peer(node)) else {
                self.errands.open[place as usize].report = Err(ErrorCode::Internal);
                continue;
            };
            let shards = if matches!(&**errand, Errand::User(_)) { 1 } else { peer.shards };
            self.errands.open[place as usize].awaited.push((route, shards));
            for shard in 0..shards {
                self.relay(route, Relayed::Errand { request, shard, errand: Arc::clone(errand) }, out);
            }
        }
    }

    /// Gives an errand to the shards that hold the user's connections here.
    fn run_for_user(&mut self, errand: &UserErrand, out: &mut Outlet<'_, impl Post>) {
        let (node, here) = (self.settings.node, self.settings.shard);
        let connections = self.users.own_connections(out.now_ms, &errand.user);
        let errand = Arc::new(errand.clone());
        for (connection, shard) in connections {
            if !errand.means(node, connection) {
                continue;
            }
            let (_, by) = Key::of_number(connection);
            if shard == here {
                self.errands.add_work(by, Arc::clone(&errand));
            } else {
                // Kept if the mailbox is full.
                let _ = out.post.post(shard, Message::Errand { by, errand: Arc::clone(&errand) });
            }
        }
    }

    /// Whether there is anything to do, or to tell.
    #[must_use]
    pub fn has_errands(&self) -> bool {
        let Errands { work, surveys, told, .. } = &self.errands;
        !(work.is_empty() && surveys.is_empty() && told.is_empty())
    }

    /// What is to be done with a connection here.
    pub fn poll_errand(&mut self) -> Option<(Key, Arc<UserErrand>)> {
        self.errands.work.pop_front()
    }

    /// Answers to [`Self::run`].
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.errands.told)
    }

    /// Another node asks for an errand.
    pub(super) fn hear_errand(
        &mut self,
        route: Route,
        request: u64,
        errand: Arc<Errand>,
        out: &mut Outlet<'_, impl Post>,
    ) {
        let asker = Asker::Node(route, request);
        match &*errand {
            of if self.errands.is_full_for(of) => {
                self.answer_errand(asker, Err(ErrorCode::TooManyRequests), out);
            }
            Errand::User(of) => {
                self.run_for_user(of, out);
                self.answer_errand(asker, Ok(Report::Done), out);
            }
            Errand::Census | Errand::Channels { .. } => self.survey_for(asker, errand),
            Errand::Unknown => self.answer_errand(asker, Err(ErrorCode::NotAvailable), out),
        }
    }

    pub(super) fn hear_errand_done(&mut self, route: Route, request: u64, report: Result<Report, ErrorCode>) {
        self.errands.hear_done(route, request, report);
    }

    fn survey_for(&mut self, asker: Asker, errand: Arc<Errand>) {
        self.errands.surveys.push_back(Survey { asker, errand, next: 0, found: Vec::new(), bytes: 0 });
    }

    fn answer_errand(
        &mut self,
        asker: Asker,
        report: Result<Report, ErrorCode>,
        out: &mut Outlet<'_, impl Post>,
    ) {
        match asker {
            Asker::Node(route, request) => self.relay(route, Relayed::ErrandDone { request, report }, out),
            Asker::Here(request) => {
                if let Some(place) = self.errands.find(request) {
                    let open = &mut self.errands.open[place as usize];
                    open.awaits_own = false;
                    open.add(report);
                    self.errands.settle(place);
                }
            }
        }
    }

    /// Goes on with the first survey; `census` is what the shard counts.
    pub fn survey(&mut self, census: impl FnOnce() -> Census, out: &mut Outlet<'_, impl Post>) {
        let Some(mut survey) = self.errands.surveys.pop_front() else { return };
        let Errand::Channels { pattern } = &*survey.errand else {
            return self.answer_errand(survey.asker, Ok(Report::Census(vec![census()])), out);
        };
        let places = self.review.places();
        let end = places.min(survey.next + ERRAND_CHANNELS_LOOKED_PER_TURN);
        for place in survey.next..end {
            let Some(channel) = self.channels.get(place as usize) else { continue };
            if !channel.subscribers.is_empty() && is_like(&channel.name, pattern) {
                survey.bytes += channel.name.len();
                survey.found.push(((&*channel.name).into(), channel.subscribers.len() as u32));
            }
        }
        if survey.found.len() > ERRAND_CHANNELS_MAX || survey.bytes > ERRAND_CHANNELS_BYTES_MAX {
            self.answer_errand(survey.asker, Err(ErrorCode::LimitExceeded), out);
        } else if end == places {
            self.answer_errand(survey.asker, Ok(Report::Channels(survey.found)), out);
        } else {
            survey.next = end;
            self.errands.surveys.push_front(survey);
        }
    }
}

/// Whether a name is like a pattern, in which `*` stands for any letters and `?` for one. Takes time in proportion to the product of
/// their lengths at most.
fn is_like(name: &str, pattern: &str) -> bool {
    if pattern.is_empty() {
        return true;
    }
    let (name, pattern) = (name.as_bytes(), pattern.as_bytes());
    let (mut at, mut of) = (0, 0);
    // Where to go on when the last star is to stand for one more.
    let mut star = None;
    while at < name.len() {
        match pattern.get(of) {
            Some(b'*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(&letter) if letter == b'?' || letter == name[at] => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((place, from)) = star else { return false };
                star = Some((place, from + 1));
                (at, of) = (from + 1, place + 1);
            }
        }
    }
    pattern[of..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use roadstead_control::NodeId;

    use super::*;

    const DUE_MS: u64 = 3_000;

    fn route(node: u32) -> Route {
        Route { node: NodeId(node), index: 0, session: 1, carrier: 0 }
    }

    /// An errand that awaits two shards of node 1 and one of node 2, and the name of it.
    fn errands() -> (Errands, u64) {
        let mut errands = Errands::new(3);
        let awaited = vec![(route(1), 2), (route(2), 1)];
        let report = Ok(Report::Done);
        let open = Open { ticket: 7, number: 1, due_ms: DUE_MS, awaited, awaits_own: false, report };
        let place = errands.open.insert(open) as u32;
        let request = errands.request(place, 1);
        (errands, request)
    }

    fn channels(name: &str) -> Report {
        Report::Channels(vec![(name.into(), 1)])
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut errands, _) = errands();
        let action = crate::flow::Action::Unsubscribe { channel: "c".into() };
        let of = UserErrand { user: "ann".into(), client: "".into(), spared: Vec::new(), action };
        let (errand, of) = (Errand::User(of.clone()), Arc::new(of));
        for slot in 0..ERRAND_WORK_MAX as u32 {
            assert!(!errands.is_full_for(&errand));
            errands.add_work(Key { slot, generation: 1 }, Arc::clone(&of));
        }
        assert!(errands.is_full_for(&errand) && !errands.is_full_for(&Errand::Census));
    }

    #[test]
    fn an_errand_is_answered_when_all_have_and_once() {
        let (mut errands, request) = errands();
        errands.hear_done(route(1), request, Ok(channels("a")));
        errands.hear_done(route(2), request, Ok(channels("b")));
        errands.hear_done(route(2), request, Ok(channels("again")));
        errands.hear_done(route(9), request, Ok(channels("of a stranger")));
        errands.hear_done(route(1), request + (1 << 24), Ok(channels("of another errand")));
        assert!(errands.told.is_empty());
        errands.hear_done(route(1), request, Ok(Report::Done));
        errands.hear_done(route(1), request, Ok(channels("late")));
        let expected = Report::Channels(vec![("a".into(), 1), ("b".into(), 1)]);
        let told: Vec<_> = errands.told.iter().map(|told| (told.ticket, told.outcome.clone())).collect();
        assert_eq!(told, [(7, Ok(expected))]);
        assert_eq!(errands.next_due_ms(), None);
    }

    #[test]
    fn whoever_is_lost_or_silent_makes_the_outcome_unknown() {
        let unknown = Err(ErrorCode::Internal);
        let (mut lost, request) = errands();
        lost.lose(|route| route.node == NodeId(1));
        assert!(lost.told.is_empty(), "the others do their part");
        lost.hear_done(route(2), request, Ok(Report::Done));
        assert_eq!(lost.told[0].outcome, unknown);

        let (mut silent, request) = errands();
        silent.hear_done(route(2), request, Ok(Report::Done));
        assert_eq!(silent.next_due_ms(), Some(DUE_MS));
        silent.expire(DUE_MS - 1);
        assert!(silent.told.is_empty());
        silent.expire(DUE_MS);
        assert_eq!(silent.told[0].outcome, unknown);

        let (mut refused, request) = errands();
        refused.hear_done(route(2), request, Err(ErrorCode::NotAvailable));
        refused.hear_done(route(1), request, Ok(Report::Done));
        refused.hear_done(route(1), request, Err(ErrorCode::TooManyRequests));
        assert_eq!(refused.told[0].outcome, Err(ErrorCode::NotAvailable), "the first failure is said");
    }

    #[test]
    fn names_are_like_patterns() {
        for (pattern, name, fits) in [
            ("", "anything", true),
            ("*", "anything", true),
            ("news:*", "news:a", true),
            ("news:*", "new:a", false),
            ("*:a", "news:a", true),
            ("*:a", "news:ab", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("a**", "a", true),
        ] {
            assert_eq!(is_like(name, pattern), fits, "{pattern} {name}");
        }
        assert!(!is_like(&"a".repeat(255), &format!("{}b", "*a".repeat(120))));
    }
}
