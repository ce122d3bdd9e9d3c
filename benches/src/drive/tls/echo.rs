//! Echo over TLS: every connection keeps `depth` messages outstanding and replaces each one that comes back.

use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::{Stream, Trust};
use crate::drive::closed_loop::{ClosedLoop, Returned};
use crate::drive::rate::Clocks;
use crate::drive::wire::{self, Opcode};
use crate::drive::{Period, Protocol, Rate, Server};
use crate::kernel::{Epoll, Events, Interest};
use crate::limits;

/// The load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Open connections.
    pub connections: usize,
    /// Messages outstanding on each connection.
    pub depth: usize,
    /// Bytes of one message's payload; a floor gets the whole masked frame.
    pub message_bytes: usize,
}

/// Measures messages that came back. The first of each connection is compared byte by byte, and none may be missing at the
/// end. What is sent at once goes into as few records as hold it.
pub fn drive(server: &Server, trust: &Trust, load: &Load, period: &Period) -> io::Result<Rate> {
    let clocks = Clocks::of_server(server.pid)?;
    let mut echo = Echo::open(server, trust, load)?;
    for index in 0..load.connections {
        echo.say(index, load.depth)?;
    }
    echo.measure(&clocks, period, (load.connections * load.depth) as u64)
}

struct Connection {
    stream: Stream,
    /// Bytes of a message that has come back in part.
    part: usize,
    is_blocked: bool,
}

struct Echo {
    epoll: Epoll,
    connections: Vec<Connection>,
    /// As many frames as are ever sent at once.
    frames: Vec<u8>,
    frame_bytes: usize,
    reply_bytes: usize,
    plain: Vec<u8>,
    returned: Returned,
}

impl Echo {
    fn open(server: &Server, trust: &Trust, load: &Load) -> io::Result<Self> {
        let payload = wire::letters(load.message_bytes);
        let frame = wire::client_frame(Opcode::Binary, &payload);
        let reply = match server.protocol {
            Protocol::Raw => frame.clone(),
            Protocol::WebSocket => wire::server_frame(Opcode::Binary, &payload),
        };
        let epoll = Epoll::new()?;
        let mut connections = Vec::with_capacity(load.connections);
        for index in 0..load.connections {
            let mut stream = Stream::open(server, trust)?;
            stream.tls.writer().write_all(&frame)?;
            let heard = stream.hear_until(|heard| heard.len() >= reply.len())?;
            if heard != reply {
                return Err(io::Error::other("the server answered other bytes than expected"));
            }
            stream.socket.set_nonblocking(true)?;
            epoll.add(stream.socket.as_raw_fd(), Interest::Read, index as u64)?;
            connections.push(Connection { stream, part: 0, is_blocked: false });
        }
        Ok(Self {
            epoll,
            connections,
            frames: frame.repeat(load.depth),
            frame_bytes: frame.len(),
            reply_bytes: reply.len(),
            plain: vec![0; limits::DRIVE_RECEIVE_BYTES],
            returned: Returned::default(),
        })
    }

    fn count(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let bytes = connection.part + connection.stream.hear(&mut self.plain)?;
        let messages = bytes / self.reply_bytes;
        connection.part = bytes % self.reply_bytes;
        match self.returned.count(messages) {
            0 => Ok(()),
            replaced => self.say(index, replaced),
        }
    }

    fn say(&mut self, index: usize, messages: usize) -> io::Result<()> {
        let frames = &self.frames[..messages * self.frame_bytes];
        self.connections[index].stream.tls.writer().write_all(frames)?;
        self.flush(index)
    }

    fn flush(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let is_blocked = connection.stream.flush()?;
        if is_blocked != connection.is_blocked {
            connection.is_blocked = is_blocked;
            let interest = if is_blocked { Interest::Both } else { Interest::Read };
            self.epoll.modify(connection.stream.socket.as_raw_fd(), interest, index as u64)?;
        }
        Ok(())
    }
}

impl ClosedLoop for Echo {
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        for event in self.epoll.wait(events, Some(Duration::from_millis(100)))? {
            let index = event.token() as usize;
            if event.is_readable() {
                self.count(index)?;
            } else {
                self.flush(index)?;
            }
        }
        Ok(())
    }

    fn returned(&mut self) -> &mut Returned {
        &mut self.returned
    }
}
