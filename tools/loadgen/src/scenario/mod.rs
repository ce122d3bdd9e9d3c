//! What happens on open connections: one file for each kind of load.
//!
//! Invariant: a scenario sees messages and time; it knows no socket option, no handshake and no thread but its own.

mod echo;
mod fanout;

use roadstead_io::Socket;

use crate::client::Client;
use crate::plan::{Load, Plan};
use crate::schedule::Nanos;
use crate::turn::Turn;

pub(crate) use echo::Echo;
pub(crate) use fanout::{Audience, Fanout};

/// The scenario of one thread.
#[derive(Debug)]
pub(crate) enum Scenario {
    /// Connections are opened and closed, or held: nothing is sent.
    Hold,
    /// Messages that come back.
    Echo(Echo),
    /// Publications to subscribers.
    Fanout(Fanout),
}

impl Scenario {
    /// The part of `plan` that thread `thread` plays.
    #[must_use]
    pub(crate) fn new(plan: &Plan, thread: u32, audience: &std::sync::Arc<Audience>) -> Self {
        match &plan.load {
            Load::Connect | Load::Idle => Scenario::Hold,
            Load::Echo(load) => Scenario::Echo(Echo::new(*load, plan, thread)),
            Load::Fanout(load) => {
                Scenario::Fanout(Fanout::new(load.clone(), plan, thread, std::sync::Arc::clone(audience)))
            }
        }
    }

    /// A connection has become usable.
    pub(crate) fn opened(&mut self, client: &Client, socket: Socket) {
        match self {
            Scenario::Hold => {}
            Scenario::Echo(echo) => echo.opened(client, socket),
            Scenario::Fanout(fanout) => fanout.opened(client, socket),
        }
    }

    /// A usable connection is gone.
    pub(crate) fn lost(&mut self, client: &Client) {
        match self {
            Scenario::Hold => {}
            Scenario::Echo(echo) => echo.lost(client),
            Scenario::Fanout(fanout) => fanout.lost(client),
        }
    }

    /// A blocked connection takes bytes again.
    pub(crate) fn drained(&mut self, client: &mut Client, socket: Socket, turn: &mut Turn) {
        match self {
            Scenario::Hold => {}
            Scenario::Echo(echo) => echo.drained(client, socket, turn),
            Scenario::Fanout(fanout) => fanout.drained(client, socket, turn),
        }
    }

    /// Sends what is due. True: a bound of the turn was reached and more is due.
    pub(crate) fn send_due(&mut self, clients: &mut [Client], turn: &mut Turn) -> bool {
        match self {
            Scenario::Hold => false,
            Scenario::Echo(echo) => echo.send_due(clients, turn),
            Scenario::Fanout(fanout) => fanout.send_due(clients, turn),
        }
    }

    /// When [`Scenario::send_due`] has something to do; `None`: only when something arrives.
    #[must_use]
    pub(crate) fn next_due(&self, turn: &Turn) -> Option<Nanos> {
        match self {
            Scenario::Hold => None,
            Scenario::Echo(echo) => echo.next_due(turn),
            Scenario::Fanout(fanout) => fanout.next_due(turn),
        }
    }

    /// No more messages will be sent or received: books what is still open. What a run that was ended early had yet
    /// to send is no failure.
    pub(crate) fn finish(&mut self, is_interrupted: bool, turn: &mut Turn) {
        match self {
            Scenario::Hold => {}
            Scenario::Echo(echo) => echo.finish(is_interrupted, turn),
            Scenario::Fanout(fanout) => fanout.finish(is_interrupted, turn),
        }
    }
}
