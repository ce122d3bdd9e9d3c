//! All flows of publications on one thread: hands each event to those that it concerns.
//!
//! Invariant: a client that leaves on purpose owes nothing; what was under way to it is counted as excused, not as lost.

use std::sync::Arc;

use roadstead_io::Socket;

use super::audience::Audience;
use super::flow::Flow;
use crate::client::Client;
use crate::plan::{self, Plan};
use crate::schedule::Nanos;
use crate::stamp::Stamp;
use crate::turn::Turn;

/// The flows of one thread.
#[derive(Debug)]
pub(crate) struct Traffic {
    flows: Vec<Flow>,
    plan: Arc<Plan>,
    audience: Arc<Audience>,
    /// Deliveries not yet added to the audience's.
    delivered: u64,
}

impl Traffic {
    /// The part of thread `thread` in `flows`.
    #[must_use]
    pub(crate) fn new(flows: &[plan::Flow], plan: &Arc<Plan>, thread: u32, audience: &Arc<Audience>) -> Self {
        let channels = plan.login.iter().flat_map(|login| &login.channels);
        Self {
            flows: flows
                .iter()
                .zip(channels)
                .map(|(flow, channels)| Flow::new(flow, channels, plan, thread))
                .collect(),
            plan: Arc::clone(plan),
            audience: Arc::clone(audience),
            delivered: 0,
        }
    }

    /// A client is usable.
    pub(crate) fn opened(&mut self, client: &Client, socket: Socket) {
        let is_slow = self.plan.is_slow(client.number);
        self.flows.iter_mut().for_each(|flow| flow.opened(client, socket, is_slow, &self.audience));
    }

    /// A usable client is gone: by itself, or `on_purpose`.
    pub(crate) fn lost(&mut self, client: &Client, on_purpose: bool, turn: &mut Turn) {
        let is_slow = self.plan.is_slow(client.number);
        for flow in &mut self.flows {
            let under_way = flow.lost(client, is_slow, &self.audience);
            if on_purpose {
                turn.ledger.counters.excused += under_way;
                turn.ledger.urls[self.plan.spread.target_of(client.number)].excused += under_way;
                self.audience.settle(under_way);
            }
        }
    }

    /// Whether a client can leave without a loss.
    #[must_use]
    pub(crate) fn is_at_rest(&self, client: &Client) -> bool {
        self.flows.iter().all(|flow| flow.is_at_rest(client))
    }

    /// A publisher's socket takes bytes again.
    pub(crate) fn drained(&mut self, client: &mut Client, turn: &mut Turn) {
        self.flows.iter_mut().for_each(|flow| flow.drained(client, &self.audience, turn));
    }

    /// A publication arrived at a client of this thread.
    pub(crate) fn publication(&mut self, client: &Client, data: &[u8], turn: &mut Turn) {
        turn.ledger.counters.received += 1;
        if self.plan.is_slow(client.number) || client.is_leaving() {
            turn.ledger.counters.unchecked += 1;
            return;
        }
        let run = self.plan.run;
        let known = self.flows.iter_mut().find_map(|flow| {
            let stamp = Stamp::read(data, flow.load.size).filter(|stamp| stamp.run == run)?;
            flow.owns(stamp.stream).then_some((flow, stamp))
        });
        let Some((flow, stamp)) = known else {
            turn.ledger.counters.foreign += 1;
            return;
        };
        self.delivered += u64::from(flow.publication(client, &stamp, self.audience.urls(), turn));
    }

    /// A publish command was answered, with an error code or without.
    pub(crate) fn reply(&mut self, client: &Client, id: u32, error: Option<u32>, turn: &mut Turn) {
        self.flows.iter_mut().for_each(|flow| flow.reply(client, id, error, &self.audience, turn));
    }

    /// Sends what is due. True: more is due at once.
    pub(crate) fn send_due(&mut self, clients: &mut [Client], turn: &mut Turn) -> bool {
        if self.delivered > 0 {
            self.audience.settle(std::mem::take(&mut self.delivered));
        }
        let mut is_more = false;
        for flow in &mut self.flows {
            is_more |= flow.send_due(clients, &self.audience, turn);
        }
        is_more
    }

    /// When the next publication is due, as far as time decides.
    #[must_use]
    pub(crate) fn next_due(&self, turn: &Turn) -> Option<Nanos> {
        self.flows.iter().filter_map(|flow| flow.next_due(turn)).min()
    }

    /// Books what is still open.
    pub(crate) fn finish(&mut self, is_interrupted: bool, turn: &mut Turn) {
        self.flows.iter_mut().for_each(|flow| flow.finish(is_interrupted, turn));
    }
}
