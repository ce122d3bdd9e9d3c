//! The simulated world: time, a network, back ends on it, and client ends in the hands of a test.
//!
//! Invariants: time moves only by [`World::advance`]; nothing sleeps; all chance comes from the seed, so a
//! seed and the same calls are the same run.

use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::back_end::SimIo;
use crate::conditions::Conditions;
use crate::network::{EndId, Network, Status, Wire};
use crate::random::Random;

/// A world. Clones are handles of the same one.
#[derive(Clone)]
pub struct World {
    network: Rc<RefCell<Network>>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.now()).field("held", &self.held()).finish_non_exhaustive()
    }
}

/// The client end of a connection: a socket without any program behind it but the test.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Client(EndId);

impl World {
    /// The world of `seed`, at time 0.
    #[must_use]
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        Self { network: Rc::new(RefCell::new(Network::new(seed, conditions))) }
    }

    /// A back end on `host` with at most `slots_max` sockets.
    ///
    /// # Panics
    /// If the process is out of descriptors: a waker has a real one.
    #[must_use]
    pub fn back_end(&self, host: IpAddr, slots_max: u32) -> SimIo {
        SimIo::new(Rc::clone(&self.network), host, slots_max)
    }

    /// Randomness for the test, apart from the network's.
    #[must_use]
    pub fn random(&self) -> Random {
        self.network.borrow_mut().random.split()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.network.borrow().now
    }

    /// The network's conditions.
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        self.network.borrow().conditions.clone()
    }

    /// No datagram is lost or doubled from now on.
    pub fn stop_losing(&self) {
        let conditions = &mut self.network.borrow_mut().conditions;
        (conditions.datagrams_lost, conditions.datagrams_doubled) = (0, 0);
    }

    /// Lets `by` pass.
    pub fn advance(&self, by: Duration) {
        let mut network = self.network.borrow_mut();
        // Things happen in their order, each at its own time.
        let until = network.now + by;
        while let Some(due) = network.due().filter(|&due| due <= until) {
            network.run_until(due);
        }
        network.run_until(until);
    }

    /// When the network moves next by itself, if it does. Back ends that have not been waited on do not count.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.network.borrow().due()
    }

    /// Starts to connect from `from` to `to`.
    #[must_use]
    pub fn connect(&self, from: SocketAddr, to: SocketAddr) -> Client {
        Client(self.network.borrow_mut().connect(from, to))
    }

    /// What the client knows of its connection.
    #[must_use]
    pub fn status(&self, client: Client) -> Status {
        self.network.borrow().status(client.0)
    }

    /// Writes what the client's buffer takes of `bytes`; returns how much that was.
    #[must_use]
    pub fn write(&self, client: Client, bytes: &[u8]) -> usize {
        self.network.borrow_mut().write(client.0, bytes)
    }

    /// Reads up to `bytes_max` of what has arrived.
    #[must_use]
    pub fn read(&self, client: Client, bytes_max: usize) -> Vec<u8> {
        let mut network = self.network.borrow_mut();
        let mut bytes = vec![0; network.readable(client.0).min(bytes_max)];
        let read = network.read(client.0, &mut bytes);
        bytes.truncate(read);
        bytes
    }

    /// Whether the server has finished its side and the client has read everything.
    #[must_use]
    pub fn is_at_end(&self, client: Client) -> bool {
        self.network.borrow().is_at_end(client.0)
    }

    /// The client writes no more, and goes on reading.
    pub fn finish(&self, client: Client) {
        self.network.borrow_mut().finish(client.0);
    }

    /// The client closes its socket.
    pub fn close(&self, client: Client) {
        self.network.borrow_mut().close(client.0);
    }

    /// The client's system resets the connection.
    pub fn reset(&self, client: Client) {
        self.network.borrow_mut().reset(client.0);
    }

    /// The client vanishes: its path is cut, and the server hears nothing, not even an end.
    pub fn vanish(&self, client: Client) {
        self.network.borrow_mut().cut(client.0);
    }

    /// Separates the hosts `one` from the hosts `other`: nothing passes between them, and nobody is told.
    pub fn partition(&self, one: &[IpAddr], other: &[IpAddr]) {
        let mut network = self.network.borrow_mut();
        network.close_paths(one, other);
        network.close_paths(other, one);
    }

    /// Closes the ways from each of `from` to each of `to`, and leaves those back open: datagrams pass one way,
    /// and connections stand still.
    pub fn deafen(&self, from: &[IpAddr], to: &[IpAddr]) {
        self.network.borrow_mut().close_paths(from, to);
    }

    /// Ends all partitions.
    pub fn heal(&self) {
        self.network.borrow_mut().open_paths();
    }

    /// Resets every connection between two hosts; both ends learn of it.
    pub fn reset_between(&self, one: IpAddr, other: IpAddr) {
        self.network.borrow_mut().reset_between(one, other);
    }

    /// Closes all sockets of `host`, as a kernel does for a process that is killed.
    pub fn kill(&self, host: IpAddr) {
        self.network.borrow_mut().kill(host);
    }

    /// Takes the power from `host`: it is silent from now on, and has forgotten everything when it returns.
    pub fn power_off(&self, host: IpAddr) {
        self.network.borrow_mut().power_off(host);
    }

    /// Gives `host` its power again.
    pub fn power_on(&self, host: IpAddr) {
        self.network.borrow_mut().power_on(host);
    }

    /// Opens a datagram socket at `address`.
    pub fn bind(&self, address: SocketAddr) {
        self.network.borrow_mut().datagrams.bind(address);
    }

    /// Sends a datagram from a socket.
    pub fn send_datagram(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.network.borrow_mut().send_datagram(from, to, bytes);
    }

    /// The next datagram that has arrived at `address`, with where it comes from.
    #[must_use]
    pub fn receive_datagram(&self, address: SocketAddr) -> Option<(SocketAddr, Vec<u8>)> {
        self.network.borrow_mut().datagrams.receive(address)
    }

    /// Whether a datagram has arrived at `address`.
    #[must_use]
    pub fn has_datagram(&self, address: SocketAddr) -> bool {
        self.network.borrow().datagrams.has_arrived(address)
    }

    /// Puts somebody on the wire of the connections that begin from now on.
    pub fn tap(&self, wire: Rc<RefCell<dyn Wire>>) {
        self.network.borrow_mut().tap(wire);
    }

    /// Connections that some end still holds, and the bytes in their buffers and on their way.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        self.network.borrow().held()
    }
}
