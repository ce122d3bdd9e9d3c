//! The floor on epoll: level-triggered, one receive for an event, one send for what it gave.
//!
//! The way of a message through here is `epoll_wait`, `recv`, `send`; no table is touched on it. What a
//! full socket does not take is kept for that connection, which is not read until it is written.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::{PUBLISHER, SUBSCRIBER, SWITCHING, Service, ends_head};
use crate::kernel::{self, Epoll, Events, Interest, Received};

/// Serves until an error of the machine; a connection's end is none.
pub fn serve(listener: OwnedFd, service: Service, buffer_bytes: usize) -> io::Result<()> {
    let mut sockets = Sockets::new(listener)?;
    let mut buffer = vec![0; buffer_bytes];
    match service {
        Service::Echo => sockets.run(|sockets, fd| match kernel::receive(fd, &mut buffer)? {
            Received::Bytes(count) => sockets.send(fd, &buffer[..count]),
            Received::Later => Ok(()),
            Received::Closed => sockets.close(fd),
        }),
        Service::Handshake => sockets.run(|sockets, fd| match kernel::receive(fd, &mut buffer)? {
            Received::Bytes(count) if ends_head(&buffer[..count]) => sockets.send(fd, SWITCHING),
            Received::Bytes(_) | Received::Later => Ok(()),
            Received::Closed => sockets.close(fd),
        }),
        Service::FanOut { message_bytes } => {
            let mut fan_out =
                FanOut { message_bytes, buffer, held: 0, publisher: -1, subscribers: Vec::new() };
            sockets.run(|sockets, fd| fan_out.read(sockets, fd))
        }
        Service::Exchange { .. } => Err(io::Error::other("the exchange is built on io_uring only")),
    }
}

/// Every open socket, and what full ones still have to send.
pub(super) struct Sockets {
    epoll: Epoll,
    listener: OwnedFd,
    open: Vec<Option<OwnedFd>>,
    unsent: Vec<(RawFd, Vec<u8>)>,
}

impl Sockets {
    pub(super) fn new(listener: OwnedFd) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(listener.as_raw_fd(), Interest::Read, listener.as_raw_fd() as u64)?;
        Ok(Self { epoll, listener, open: Vec::new(), unsent: Vec::new() })
    }

    pub(super) fn run(&mut self, mut read: impl FnMut(&mut Self, RawFd) -> io::Result<()>) -> io::Result<()> {
        let mut events = Events::new();
        let mut ready = Vec::new();
        loop {
            ready.clear();
            ready.extend_from_slice(self.epoll.wait(&mut events, None)?);
            for event in &ready {
                let fd = event.token() as RawFd;
                if fd == self.listener.as_raw_fd() {
                    self.accept()?;
                } else if event.is_writable() {
                    self.flush(fd)?;
                } else {
                    read(self, fd)?;
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Some(socket) = kernel::accept(self.listener.as_raw_fd())? {
            let fd = socket.as_raw_fd();
            self.epoll.add(fd, Interest::Read, fd as u64)?;
            if self.open.len() <= fd as usize {
                self.open.resize_with(fd as usize + 1, || None);
            }
            self.open[fd as usize] = Some(socket);
        }
        Ok(())
    }

    pub(super) fn close(&mut self, fd: RawFd) -> io::Result<()> {
        self.open[fd as usize] = None;
        self.unsent.retain(|(full, _)| *full != fd);
        Ok(())
    }

    pub(super) fn send(&mut self, fd: RawFd, bytes: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty()
            && let Some((_, unsent)) = self.unsent.iter_mut().find(|(full, _)| *full == fd)
        {
            unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = kernel::send(fd, bytes)?;
        if sent < bytes.len() {
            self.unsent.push((fd, bytes[sent..].to_vec()));
            self.epoll.modify(fd, Interest::Write, fd as u64)?;
        }
        Ok(())
    }

    fn flush(&mut self, fd: RawFd) -> io::Result<()> {
        let Some(at) = self.unsent.iter().position(|(full, _)| *full == fd) else { return Ok(()) };
        let unsent = &mut self.unsent[at].1;
        let sent = kernel::send(fd, unsent)?;
        unsent.drain(..sent);
        if unsent.is_empty() || sent == 0 {
            self.unsent.swap_remove(at);
            self.epoll.modify(fd, Interest::Read, fd as u64)?;
        }
        Ok(())
    }
}

struct FanOut {
    message_bytes: usize,
    buffer: Vec<u8>,
    /// Bytes of an incomplete message at the front of the buffer.
    held: usize,
    publisher: RawFd,
    subscribers: Vec<RawFd>,
}

impl FanOut {
    fn read(&mut self, sockets: &mut Sockets, fd: RawFd) -> io::Result<()> {
        if fd == self.publisher { self.publish(sockets) } else { self.take_role(sockets, fd) }
    }

    fn publish(&mut self, sockets: &mut Sockets) -> io::Result<()> {
        match kernel::receive(self.publisher, &mut self.buffer[self.held..])? {
            Received::Bytes(count) => {
                let filled = self.held + count;
                let whole = filled - filled % self.message_bytes;
                for fd in &self.subscribers {
                    sockets.send(*fd, &self.buffer[..whole])?;
                }
                self.buffer.copy_within(whole..filled, 0);
                self.held = filled - whole;
                Ok(())
            }
            Received::Later => Ok(()),
            Received::Closed => {
                let gone = std::mem::replace(&mut self.publisher, -1);
                self.held = 0;
                sockets.close(gone)
            }
        }
    }

    fn take_role(&mut self, sockets: &mut Sockets, fd: RawFd) -> io::Result<()> {
        let mut role = [0];
        match kernel::receive(fd, &mut role)? {
            Received::Bytes(_) => {
                match role[0] {
                    SUBSCRIBER => self.subscribers.push(fd),
                    PUBLISHER => self.publisher = fd,
                    _ => return Ok(()),
                }
                sockets.send(fd, &role)
            }
            Received::Later => Ok(()),
            Received::Closed => {
                self.subscribers.retain(|subscriber| *subscriber != fd);
                sockets.close(fd)
            }
        }
    }
}
