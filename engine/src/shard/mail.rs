//! What the shards of a node post to each other, and the post itself.
//!
//! Invariants: a router's message goes to a shard of this node; a parcel goes to the shard that carries its link, and one
//! from a link to its hub; what is dropped is counted by who posts it.

use roadstead_protocol::ErrorCode;

use crate::flow::{LinkChange, Outcome, Parcel, Relayed};
use crate::peers::{Peers, Said};
use crate::router::links::Route;
use crate::router::{Message, Post};
use crate::siblings::{Envelope, Posted, Siblings, WhenFull};

/// What lies in a mailbox.
#[derive(Debug)]
pub enum Mail {
    /// From one router to another.
    Message(Message),
    /// For the link that the receiver carries.
    Outward(Parcel),
    /// From a link that the sender carries; the receiver is its hub.
    Inward(Parcel),
    /// A link came up or went down.
    Link(LinkChange),
    /// The receiver shall end this session of a link that it carries.
    Reset(Route),
}

impl Envelope for Mail {
    fn when_full(&self) -> WhenFull {
        match self {
            Self::Message(message) => match message {
                Message::Publish { .. } | Message::Read { .. } => WhenFull::Refuse,
                Message::Deliver { .. } => WhenFull::Drop,
                Message::Interest { .. }
                | Message::Interested { .. }
                | Message::Doubted { .. }
                | Message::Disinterest { .. }
                | Message::Published { .. }
                | Message::Found { .. }
                | Message::Enter { .. }
                | Message::Leave { .. }
                | Message::Errand { .. } => WhenFull::Keep,
            },
            Self::Outward(parcel) | Self::Inward(parcel) => match parcel.relayed {
                Relayed::Publish { .. } => WhenFull::Refuse,
                Relayed::Deliver { .. } => WhenFull::Drop,
                _ => WhenFull::Keep,
            },
            Self::Link(_) | Self::Reset(_) => WhenFull::Keep,
        }
    }
}

/// The way out of a shard's decisions: mailboxes, and the links that the shard carries itself.
#[derive(Debug)]
pub(super) struct Mailer<'s> {
    pub(super) siblings: &'s mut Siblings<Mail>,
    /// `None`: the node has no fleet, and so no parcel.
    pub(super) peers: Option<&'s mut Peers>,
    pub(super) here: u16,
    /// Publications that found a mailbox full.
    pub(super) dropped: u64,
    /// Publications that found a link's queue full.
    pub(super) dropped_on_link: u64,
}

impl Mailer<'_> {
    /// Posts to a sibling; gives back what is refused.
    pub(super) fn send(&mut self, shard: u16, mail: Mail) -> Result<(), Mail> {
        match self.siblings.post(shard, mail) {
            Posted::Taken => Ok(()),
            Posted::Dropped => {
                self.dropped += 1;
                Ok(())
            }
            Posted::Refused(mail) => Err(mail),
        }
    }

    /// Takes what a link of this shard has brought to its hub on another one. A publication that finds no room there is
    /// refused on that link.
    pub(super) fn bring(&mut self, hub: u16, parcel: Parcel) {
        if let Err(Mail::Inward(refused)) = self.send(hub, Mail::Inward(parcel))
            && let Some(answer) = refusal(refused)
        {
            // Answers are never refused.
            let _ = self.say(answer);
        }
    }

    /// Says on a link of this shard what another shard has posted. A publication that finds no room there is refused.
    pub(super) fn carry(&mut self, parcel: Parcel, shards: u16) {
        if let Err(refused) = self.say(parcel)
            && let Some(answer) = refusal(refused)
        {
            let hub = answer.relayed.hub(shards);
            // Kept if the mailbox is full.
            let _ = self.send(hub, Mail::Inward(answer));
        }
    }

    /// Tells the other shards of a link of this one.
    pub(super) fn spread(&mut self, change: &LinkChange, shards: u16) {
        let here = self.here;
        for shard in (0..shards).filter(|&shard| shard != here) {
            // Kept if the mailbox is full.
            let _ = self.send(shard, Mail::Link(*change));
        }
    }

    /// Says it on a link of this shard; gives back what is refused.
    fn say(&mut self, parcel: Parcel) -> Result<(), Parcel> {
        let Some(peers) = &mut self.peers else { return Ok(()) };
        match peers.say(parcel) {
            Said::Taken | Said::Void => Ok(()),
            Said::Dropped => {
                self.dropped_on_link += 1;
                Ok(())
            }
            Said::Refused(parcel) => Err(parcel),
        }
    }
}

impl Post for Mailer<'_> {
    fn post(&mut self, shard: u16, message: Message) -> Result<(), Message> {
        match self.send(shard, Mail::Message(message)) {
            Err(Mail::Message(message)) => Err(message),
            _ => Ok(()),
        }
    }

    fn has_room(&self, shard: u16) -> bool {
        self.siblings.has_room(shard)
    }

    fn relay(&mut self, parcel: Parcel) -> Result<(), Parcel> {
        let carrier = parcel.carrier;
        if carrier == self.here {
            return self.say(parcel);
        }
        match self.send(carrier, Mail::Outward(parcel)) {
            Err(Mail::Outward(parcel)) => Err(parcel),
            _ => Ok(()),
        }
    }

    fn reset(&mut self, link: Route) {
        if link.carrier != self.here {
            // Kept if the mailbox is full.
            let _ = self.siblings.post(link.carrier, Mail::Reset(link));
        } else if let Some(peers) = &mut self.peers {
            peers.reset(link.node, link.index, link.session);
        }
    }
}

/// The answer to a publication that was refused for want of room.
fn refusal(refused: Parcel) -> Option<Parcel> {
    let Relayed::Publish { request, .. } = refused.relayed else { return None };
    let outcome = Outcome::Refused(ErrorCode::TooManyRequests);
    Some(Parcel { relayed: Relayed::Published { request, outcome }, ..refused })
}
