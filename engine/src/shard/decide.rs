//! decide: commands, and what siblings and other nodes say, become deliveries, mail and parcels.

use roadstead_io::Io;

use super::links::Brought;
use super::mail::{Mail, Mailer};
use super::{Report, Shard};
use crate::counters::Metric;
use crate::flow::Now;
use crate::limits::MESSAGES_PER_TURN;
use crate::router::Outlet;

impl<I: Io> Shard<I> {
    pub(super) fn decide(&mut self, now: Now) {
        self.take_asks(now.ms);
        let Self { router, connections, siblings, peers, deliveries, revoking, index, shards, .. } = self;
        let (here, shards) = (*index, *shards);
        let mut mailer = Mailer { siblings, peers: peers.as_mut(), here, dropped: 0, dropped_on_link: 0 };
        let mut out = Outlet { now_ms: now.ms, post: &mut mailer, deliveries };

        for command in self.heard.commands.drain(..) {
            if let Some(connection) = connections.find(command.by()) {
                router.decide(command, &mut connection.seat, &mut out);
            }
        }
        for brought in self.brought.drain(..) {
            match brought {
                Brought::Change(change) => {
                    out.post.spread(&change, shards);
                    revoking.handle_link(&change);
                    router.handle_link(&change, &mut out);
                    if let (None, Some(reporter)) = (change.carrier, &self.reporter) {
                        let (node, incarnation) = (change.node, change.incarnation);
                        (reporter.0)(Report::LinkLost { node, incarnation });
                    }
                }
                Brought::Parcel(parcel) => match parcel.relayed.hub(shards) {
                    hub if hub == here => {
                        if let Some(parcel) = revoking.hear(parcel, now.ms) {
                            router.hear_node(parcel, &mut out);
                        }
                    }
                    hub => out.post.bring(hub, parcel),
                },
            }
        }
        if std::mem::take(&mut self.has_mail) {
            for taken in 0.. {
                if taken == MESSAGES_PER_TURN {
                    self.has_mail = true;
                    break;
                }
                match out.post.siblings.receive() {
                    Some(Mail::Message(message)) => router.hear(message, &mut out),
                    Some(Mail::Inward(parcel)) => {
                        if let Some(parcel) = revoking.hear(parcel, now.ms) {
                            router.hear_node(parcel, &mut out);
                        }
                    }
                    Some(Mail::Outward(parcel)) => out.post.carry(parcel, shards),
                    Some(Mail::Link(change)) => {
                        if let Some(peers) = &mut out.post.peers {
                            peers.handle_change(&change, now.ms);
                        }
                        revoking.handle_link(&change);
                        router.handle_link(&change, &mut out);
                    }
                    Some(Mail::Reset(link)) => crate::router::Post::reset(out.post, link),
                    None => break,
                }
            }
        }
        router.tick(&mut out);
        revoking.speak(router.view_number(), now.ms, out.post);
        while let Some((key, place, code)) = router.poll_overdue(now.ms).or_else(|| router.poll_refused()) {
            if let Some(connection) = connections.find(key) {
                router.give_up(key, &mut connection.seat, place, code, &mut out);
            }
        }
        for (ticket, user) in self.questions.fresh.drain(..) {
            router.locate(ticket, &user, &mut out);
        }
        for (ticket, found) in router.take_located() {
            self.questions.answer(ticket, found);
        }

        self.counters.add(Metric::PublishGaps, mailer.dropped);
        self.counters.add(Metric::PublishGapsLink, mailer.dropped_on_link);
        self.siblings.flush();
    }
}
