//! Echo: every connection keeps `depth` messages outstanding and replaces each one that comes back.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::closed_loop::{ClosedLoop, Returned};
use super::opening::{self, Hear, Step};
use super::rate::Clocks;
use super::wire::{self, Opcode};
use super::{Period, Protocol, Rate, Server};
use crate::kernel::{self, Epoll, Events, Interest, Received};
use crate::limits;

/// The load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Open connections.
    pub connections: usize,
    /// Messages outstanding on each connection.
    pub depth: usize,
    /// Bytes of one message's payload. A floor gets the whole masked frame as its message, so that it
    /// receives what a WebSocket server receives.
    pub message_bytes: usize,
    /// Text messages instead of binary ones.
    pub text: bool,
}

/// Measures messages that came back. The first message of each connection is compared byte by byte.
pub fn drive(server: &Server, load: &Load, period: &Period) -> io::Result<Rate> {
    let clocks = Clocks::of_server(server.pid)?;
    let mut echo = Echo::open(server, load)?;
    for index in 0..load.connections {
        echo.connections[index].owed = load.depth * echo.frame_bytes;
        echo.flush(index)?;
    }
    echo.measure(&clocks, period, (load.connections * load.depth) as u64)
}

struct Connection {
    socket: OwnedFd,
    /// Bytes of a message that has come back in part.
    part: usize,
    /// Bytes still to be sent, and where in a frame they begin.
    owed: usize,
    offset: usize,
    blocked: bool,
}

struct Echo {
    epoll: Epoll,
    connections: Vec<Connection>,
    /// One frame more than `depth`, so that any `depth` frames from within a frame lie in one piece.
    frames: Vec<u8>,
    frame_bytes: usize,
    reply_bytes: usize,
    returned: Returned,
}

impl Echo {
    fn open(server: &Server, load: &Load) -> io::Result<Self> {
        let opcode = if load.text { Opcode::Text } else { Opcode::Binary };
        let payload = wire::letters(load.message_bytes);
        let frame = wire::client_frame(opcode, &payload);
        let reply = match server.protocol {
            Protocol::Raw => frame.clone(),
            Protocol::WebSocket => wire::server_frame(opcode, &payload),
        };
        let script = |_| {
            let first = Step { say: frame.clone(), hear: Hear::Exactly(reply.clone()) };
            match server.protocol {
                Protocol::Raw => vec![first],
                Protocol::WebSocket => vec![server.upgrade(), first],
            }
        };
        let source = opening::source_address(0);
        let sockets = opening::open(server.address(), source, load.connections, &script)?;
        let epoll = Epoll::new()?;
        for (index, socket) in sockets.iter().enumerate() {
            epoll.add(socket.as_raw_fd(), Interest::Read, index as u64)?;
        }
        let connection = |socket| Connection { socket, part: 0, owed: 0, offset: 0, blocked: false };
        Ok(Self {
            epoll,
            connections: sockets.into_iter().map(connection).collect(),
            frames: frame.repeat(load.depth + 1),
            frame_bytes: frame.len(),
            reply_bytes: reply.len(),
            returned: Returned::default(),
        })
    }

    fn count(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let count = match kernel::discard(connection.socket.as_raw_fd(), limits::DRIVE_RECEIVE_BYTES)? {
            Received::Bytes(count) => count,
            Received::Later => return Ok(()),
            Received::Closed => return Err(io::Error::other("the server closed a connection under load")),
        };
        let messages = (connection.part + count) / self.reply_bytes;
        connection.part = (connection.part + count) % self.reply_bytes;
        connection.owed += self.returned.count(messages) * self.frame_bytes;
        Ok(())
    }

    fn flush(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let fd: RawFd = connection.socket.as_raw_fd();
        let sent = kernel::send(fd, &self.frames[connection.offset..connection.offset + connection.owed])?;
        connection.owed -= sent;
        connection.offset = (connection.offset + sent) % self.frame_bytes;
        let blocked = connection.owed > 0;
        if blocked != connection.blocked {
            connection.blocked = blocked;
            let interest = if blocked { Interest::Both } else { Interest::Read };
            self.epoll.modify(fd, interest, index as u64)?;
        }
        Ok(())
    }
}

impl ClosedLoop for Echo {
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let ready: &[kernel::Event] = self.epoll.wait(events, Some(Duration::from_millis(100)))?;
        for event in ready {
            let index = event.token() as usize;
            if event.is_readable() {
                self.count(index)?;
            }
            if self.connections[index].owed > 0 {
                self.flush(index)?;
            }
        }
        Ok(())
    }

    fn returned(&mut self) -> &mut Returned {
        &mut self.returned
    }
}
