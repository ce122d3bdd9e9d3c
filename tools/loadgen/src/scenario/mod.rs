//! What happens on open connections: one file for each kind of load.
//!
//! Invariant: a scenario sees messages and time; it knows no socket option, no handshake and no thread but its own.

mod audience;
mod echo;
mod flow;
mod publishing;
mod traffic;

use std::sync::Arc;

use roadstead_io::Socket;

use crate::client::Client;
use crate::plan::{Load, Plan};
use crate::schedule::Nanos;
use crate::turn::Turn;

pub(crate) use audience::Audience;
pub(crate) use echo::Echo;
pub(crate) use traffic::Traffic;

/// The scenario of one thread.
#[derive(Debug)]
pub(crate) enum Scenario {
    /// Connections are opened and closed, or held: nothing is sent.
    Hold,
    /// Messages that come back.
    Echo(Echo),
    /// Publications to subscribers.
    Traffic(Traffic),
}

impl Scenario {
    /// The part of `plan` that thread `thread` plays.
    #[must_use]
    pub(crate) fn new(plan: &Arc<Plan>, thread: u32, audience: &Arc<Audience>) -> Self {
        match &plan.load {
            Load::Connect | Load::Idle => Scenario::Hold,
            Load::Echo(load) => Scenario::Echo(Echo::new(*load, plan, thread)),
            Load::Flows(flows) => Scenario::Traffic(Traffic::new(flows, plan, thread, audience)),
        }
    }

    /// A connection has become usable.
    pub(crate) fn opened(&mut self, client: &Client, socket: Socket) {
        match self {
            Scenario::Hold => {}
            Scenario::Echo(echo) => echo.opened(client, socket),
            Scenario::Traffic(traffic) => traffic.opened(client, socket),
        }
    }

    /// A usable connection is gone: by itself, or `on_purpose`.
    pub(crate) fn lost(&mut self, client: &Client, on_purpose: bool, turn: &mut Turn) {
        match self {
            Scenario::Hold => {}
            Scenario::Echo(echo) => echo.lost(client),
            Scenario::Traffic(traffic) => traffic.lost(client, on_purpose, turn),
        }
    }

    /// Whether a connection can be ended on purpose without a loss.
    #[must_use]
    pub(crate) fn is_at_rest(&self, client: &Client) -> bool {
        match self {
            Scenario::Hold => true,
            Scenario::Echo(_) => false,
            Scenario::Traffic(traffic) => traffic.is_at_rest(client),
        }
    }

    /// A blocked connection takes bytes again.
    pub(crate) fn drained(&mut self, client: &mut Client, socket: Socket, turn: &mut Turn) {
        match self {
            Scenario::Hold => {}
            Scenario::Echo(echo) => echo.drained(client, socket, turn),
            Scenario::Traffic(traffic) => traffic.drained(client, turn),
        }
    }

    /// Sends what is due. True: a bound of the turn was reached and more is due.
    pub(crate) fn send_due(&mut self, clients: &mut [Client], turn: &mut Turn) -> bool {
        match self {
            Scenario::Hold => false,
            Scenario::Echo(echo) => echo.send_due(clients, turn),
            Scenario::Traffic(traffic) => traffic.send_due(clients, turn),
        }
    }

    /// When [`Scenario::send_due`] has something to do; `None`: only when something arrives.
    #[must_use]
    pub(crate) fn next_due(&self, turn: &Turn) -> Option<Nanos> {
        match self {
            Scenario::Hold => None,
            Scenario::Echo(echo) => echo.next_due(turn),
            Scenario::Traffic(traffic) => traffic.next_due(turn),
        }
    }

    /// No more messages will be sent or received: books what is still open. What a run that was ended early had yet
    /// to send is no failure.
    pub(crate) fn finish(&mut self, is_interrupted: bool, turn: &mut Turn) {
        match self {
            Scenario::Hold => {}
            Scenario::Echo(echo) => echo.finish(is_interrupted, turn),
            Scenario::Traffic(traffic) => traffic.finish(is_interrupted, turn),
        }
    }
}
