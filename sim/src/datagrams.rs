//! Datagrams: each on its own, late, out of order, doubled or lost.
//!
//! Invariants: an address that nobody has bound swallows what it gets, and so does one whose buffer is full;
//! nobody is told.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::conditions::Conditions;
use crate::paths::Paths;
use crate::random::Random;

/// Datagrams that a socket keeps for an owner who does not read: what a receive buffer of the usual 208 KiB
/// holds of the largest that gossip sends.
const BUFFERED_MAX: usize = 128;

/// All datagrams and the sockets they go to.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    /// On their way, by their time of arrival and then by number.
    flight: BTreeMap<(Duration, u64), Datagram>,
    sent: u64,
    sockets: BTreeMap<SocketAddr, VecDeque<Received>>,
}

/// A datagram and where it comes from.
pub(crate) type Received = (SocketAddr, Vec<u8>);

#[derive(Debug)]
struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Datagrams {
    /// Opens a socket; what its address held is forgotten.
    pub(crate) fn bind(&mut self, address: SocketAddr) {
        self.sockets.insert(address, VecDeque::new());
    }

    /// Closes all sockets that `is_closed` names.
    pub(crate) fn unbind(&mut self, is_closed: impl Fn(SocketAddr) -> bool) {
        self.sockets.retain(|&address, _| !is_closed(address));
    }

    /// Sends one datagram on its way, if there is a way.
    pub(crate) fn send(
        &mut self,
        now: Duration,
        [from, to]: [SocketAddr; 2],
        bytes: &[u8],
        paths: &Paths,
        random: &mut Random,
        conditions: &Conditions,
    ) {
        let copies = 1 + usize::from(random.chance(conditions.datagrams_doubled));
        for _ in 0..copies {
            if random.chance(conditions.datagrams_lost) || !paths.leads(from.ip(), to.ip()) {
                continue;
            }
            self.sent += 1;
            let due = now + conditions.delay(random);
            self.flight.insert((due, self.sent), Datagram { from, to, bytes: bytes.to_vec() });
        }
    }

    /// Lets arrive what is due by `now`, unless its way was closed meanwhile.
    pub(crate) fn deliver(&mut self, now: Duration, paths: &Paths) {
        while let Some(entry) = self.flight.first_entry()
            && entry.key().0 <= now
        {
            let Datagram { from, to, bytes } = entry.remove();
            let socket = self.sockets.get_mut(&to).filter(|socket| socket.len() < BUFFERED_MAX);
            if let Some(socket) = socket.filter(|_| paths.leads(from.ip(), to.ip())) {
                socket.push_back((from, bytes));
            }
        }
    }

    /// The next datagram that has arrived at `address`.
    pub(crate) fn receive(&mut self, address: SocketAddr) -> Option<Received> {
        self.sockets.get_mut(&address)?.pop_front()
    }

    /// Whether something has arrived at `address`.
    pub(crate) fn has_arrived(&self, address: SocketAddr) -> bool {
        self.sockets.get(&address).is_some_and(|socket| !socket.is_empty())
    }

    /// When the next one arrives.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.flight.first_key_value().map(|((due, _), _)| *due)
    }
}
