//! The io_uring back end: not part of this build yet, which the probe says.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::{Arena, Event, Io, Listener, Options, Payload, Socket, Waker};

/// Sockets of one thread, by io_uring.
pub enum Uring {}

impl Uring {
    /// A back end for the calling thread.
    ///
    /// # Errors
    /// The kernel forbids io_uring or lacks what it needs.
    pub fn new(_options: &Options) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn probe() -> Result<Vec<String>, String> {
        Err("this build has no io_uring".into())
    }
}

impl Io for Uring {
    fn listen(&mut self, _: Listener) -> io::Result<()> {
        match *self {}
    }
    fn stop_listening(&mut self) {
        match *self {}
    }
    fn connect(&mut self, _: Option<SocketAddr>, _: SocketAddr) -> io::Result<Socket> {
        match *self {}
    }
    fn send(&mut self, _: Socket, _: Payload) {
        match *self {}
    }
    fn pause(&mut self, _: Socket) {
        match *self {}
    }
    fn resume(&mut self, _: Socket) {
        match *self {}
    }
    fn shutdown(&mut self, _: Socket) {
        match *self {}
    }
    fn close(&mut self, _: Socket) {
        match *self {}
    }
    fn wait(&mut self, _: &mut Arena, _: &mut Vec<Event>, _: Option<Duration>) -> io::Result<()> {
        match *self {}
    }
    fn waker(&self) -> Waker {
        match *self {}
    }
    fn sockets(&self) -> usize {
        match *self {}
    }
}
