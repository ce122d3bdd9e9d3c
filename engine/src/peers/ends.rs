//! How links end, and who is told.

use roadstead_control::{Incarnation, NodeId};

use super::Peers;
use super::dialling::Ended;
use super::events::{Concern, Loss, PeersEvent};
use super::link::{Link, Stage};

impl Peers {
    /// The socket in `slot` has ended or failed; the room forgets it, and asks nobody to close it.
    pub fn end(&mut self, slot: u32, now_ms: u64) {
        self.now_ms = now_ms;
        let Some(link) = self.links.end(slot) else { return };
        match &link.stage {
            Stage::Up(_) => self.mourn(link, Loss::Ended),
            Stage::Refused => {}
            _ => self.unreachable(&link),
        }
    }

    /// A link that is up goes down.
    pub(super) fn lose(&mut self, key: usize, why: Loss) {
        let link = self.links.close(key);
        self.mourn(link, why);
    }

    /// Tells of a link that was up and is out of the table.
    pub(super) fn mourn(&mut self, link: Link, why: Loss) {
        let Stage::Up(agreed) = &link.stage else { return };
        self.changes.push_back(self.change(agreed, None));
        self.tally.lost[why as usize] += 1;
        if why.is_told() {
            let event = || PeersEvent::Lost { peer: agreed.peer.clone(), address: link.address, why };
            self.events.push(Concern::Peer(agreed.node), self.now_ms, event);
        }
        if let Some(target) = &link.target
            && why != Loss::Superseded
        {
            let ms = self.now_ms.saturating_sub(link.since_ms);
            self.dialling.ended(target, Ended::Lived { ms }, self.now_ms);
        }
    }

    /// Tells of a dialled link, out of the table, that found nobody or was left without a word.
    pub(super) fn unreachable(&mut self, link: &Link) {
        let Some(target) = &link.target else { return };
        self.tally.unreachable += 1;
        let event = || PeersEvent::Unreachable { peer: target.name.clone(), address: link.address };
        self.events.push(Concern::Peer(target.name.id()), self.now_ms, event);
        self.dialling.ended(target, Ended::Failed, self.now_ms);
    }

    /// Ends the links of the lives that `ends` names, whatever they have come to.
    pub(super) fn end_links(&mut self, why: Loss, ends: impl Fn(NodeId, Incarnation) -> bool) {
        for key in self.links.keys() {
            let link = &self.links[key];
            let life = match (link.session(), &link.target) {
                (Some(session), _) => (session.node, session.incarnation),
                (None, Some(target)) => (target.name.id(), target.incarnation),
                (None, None) => continue,
            };
            if !ends(life.0, life.1) {
                continue;
            }
            if link.session().is_some() {
                self.lose(key, why);
                continue;
            }
            let link = self.links.close(key);
            // A refused link was told of already, and may have been dialled again.
            if let (Some(target), false) = (&link.target, matches!(link.stage, Stage::Refused)) {
                self.dialling.ended(target, Ended::Failed, self.now_ms);
            }
        }
    }
}
