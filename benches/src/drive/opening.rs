//! Opens many connections and leads each through a short script of saying and hearing.
//!
//! ```text
//!   connect --room--> saying step 1 --heard--> saying step 2 ... --heard--> open
//! ```
//! A refusal, a close or an unexpected answer anywhere ends the whole opening with an error.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::wire;
use crate::kernel::{self, Epoll, Events, Interest, Received};
use crate::limits;

/// One exchange.
pub(super) struct Step {
    pub(super) say: Vec<u8>,
    pub(super) hear: Hear,
}

/// What answers a step.
pub(super) enum Hear {
    /// An HTTP head with status 101.
    Switching,
    /// These bytes.
    Exactly(Vec<u8>),
    /// The reply of the JSON client protocol with this id, and no error.
    Reply(u64),
}

/// Source addresses spread over 127.0.0.0/8, so that successive runs do not meet each other's ports.
pub(super) fn source_address(round: usize) -> Ipv4Addr {
    let pid = std::process::id();
    Ipv4Addr::new(127, 1 + (pid % 250) as u8, (round / 250 % 250) as u8, 1 + (round % 250) as u8)
}

/// Opens `count` connections from one address, each with its own script. All of them, or an error.
pub(super) fn open(
    to: SocketAddrV4,
    from: Ipv4Addr,
    count: usize,
    script: &dyn Fn(usize) -> Vec<Step>,
) -> io::Result<Vec<OwnedFd>> {
    let mut opening = Opening { epoll: Epoll::new()?, dialogues: Vec::with_capacity(count), open: 0 };
    let mut events = Events::new();
    let mut buffer = vec![0; limits::DRIVE_RECEIVE_BYTES];
    let mut progress = (0, Instant::now());
    while opening.open < count {
        while opening.dialogues.len() < count && opening.dialogues.len() - opening.open < limits::OPENING {
            let socket = kernel::connect(from, to).map_err(|e| opening.explain(to, &e.to_string()))?;
            let steps = script(opening.dialogues.len()).into_iter().rev().collect();
            opening.begin(Dialogue { socket, steps, said: 0, heard: Vec::new(), interest: None }, to)?;
        }
        for event in opening.epoll.wait(&mut events, Some(Duration::from_millis(500)))? {
            let index = event.token() as usize;
            opening.advance(index, &mut buffer).map_err(|e| opening.explain(to, &e.to_string()))?;
        }
        if opening.open > progress.0 {
            progress = (opening.open, Instant::now());
        } else if progress.1.elapsed() > Duration::from_secs(limits::STALL_S) {
            return Err(opening.explain(to, "no progress"));
        }
    }
    Ok(opening.dialogues.into_iter().map(|dialogue| dialogue.socket).collect())
}

struct Dialogue {
    socket: OwnedFd,
    /// The steps to come, the next one last.
    steps: Vec<Step>,
    /// Bytes of the next step that were said.
    said: usize,
    heard: Vec<u8>,
    interest: Option<Interest>,
}

struct Opening {
    epoll: Epoll,
    dialogues: Vec<Dialogue>,
    open: usize,
}

impl Opening {
    fn explain(&self, to: SocketAddrV4, why: &str) -> io::Error {
        io::Error::other(format!("opening connections to {to}: {why} ({} were open)", self.open))
    }

    /// On loopback a connection is mostly established when connect returns, so the first step is said
    /// at once.
    fn begin(&mut self, dialogue: Dialogue, to: SocketAddrV4) -> io::Result<()> {
        let index = self.dialogues.len();
        self.dialogues.push(dialogue);
        self.say(index).map_err(|e| self.explain(to, &e.to_string()))
    }

    fn advance(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<()> {
        let dialogue = &mut self.dialogues[index];
        let fd = dialogue.socket.as_raw_fd();
        if dialogue.interest == Some(Interest::Write) {
            kernel::socket_error(fd)?;
            return self.say(index);
        }
        match kernel::receive(fd, buffer)? {
            Received::Bytes(count) => dialogue.heard.extend_from_slice(&buffer[..count]),
            Received::Later => return Ok(()),
            Received::Closed => return Err(closed_early(&dialogue.heard)),
        }
        let Some(step) = dialogue.steps.last() else { return Ok(()) };
        match step.hear.end(&dialogue.heard)? {
            None => Ok(()),
            Some(end) => {
                dialogue.heard.drain(..end);
                dialogue.steps.pop();
                dialogue.said = 0;
                self.say(index)
            }
        }
    }

    fn say(&mut self, index: usize) -> io::Result<()> {
        let dialogue = &mut self.dialogues[index];
        let fd = dialogue.socket.as_raw_fd();
        let interest = match dialogue.steps.last() {
            None if dialogue.interest.is_none() => Interest::Write,
            None => {
                self.open += 1;
                dialogue.heard = Vec::new();
                return self.epoll.remove(fd);
            }
            Some(step) => {
                dialogue.said += kernel::send(fd, &step.say[dialogue.said..])?;
                if dialogue.said < step.say.len() { Interest::Write } else { Interest::Read }
            }
        };
        match dialogue.interest.replace(interest) {
            None => self.epoll.add(fd, interest, index as u64),
            Some(before) if before != interest => self.epoll.modify(fd, interest, index as u64),
            Some(_) => Ok(()),
        }
    }
}

fn closed_early(heard: &[u8]) -> io::Error {
    let tail = String::from_utf8_lossy(&heard[..heard.len().min(200)]);
    io::Error::other(format!("the server closed after saying {tail:?}"))
}

impl Hear {
    /// Where the answer ends in `heard`; `None` while it is incomplete.
    fn end(&self, heard: &[u8]) -> io::Result<Option<usize>> {
        match self {
            Hear::Switching => head_end(heard),
            Hear::Exactly(expected) => {
                let count = heard.len().min(expected.len());
                if heard[..count] != expected[..count] {
                    return Err(io::Error::other("the server answered other bytes than expected"));
                }
                Ok((count == expected.len()).then_some(count))
            }
            Hear::Reply(id) => reply_end(heard, *id),
        }
    }
}

fn head_end(heard: &[u8]) -> io::Result<Option<usize>> {
    let Some(at) = heard.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    if heard.starts_with(b"HTTP/1.1 101 ") {
        return Ok(Some(at + 4));
    }
    let line = heard.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Err(io::Error::other(format!("the upgrade was answered {:?}", String::from_utf8_lossy(line))))
}

fn reply_end(heard: &[u8], id: u64) -> io::Result<Option<usize>> {
    let mut rest = heard;
    while let Some((frame, behind)) = wire::split_frame(rest) {
        if frame.opcode == 8 {
            let reason = String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default());
            return Err(io::Error::other(format!("the server closed the session: {reason}")));
        }
        for line in frame.payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let reply: serde_json::Value = serde_json::from_slice(line)?;
            if !reply["error"].is_null() {
                return Err(io::Error::other(format!("the server replied {reply}")));
            }
            if reply["id"].as_u64() == Some(id) {
                return Ok(Some(heard.len() - behind.len()));
            }
        }
        rest = behind;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::wire::{Opcode, server_frame};

    #[test]
    fn answers_end_where_they_should() {
        let connected = server_frame(Opcode::Text, br#"{"id":1,"connect":{}}"#);
        let both = server_frame(Opcode::Text, b"{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{}}");
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
        let table: [(Hear, &[u8], Option<usize>); 7] = [
            (Hear::Switching, head, Some(head.len())),
            (Hear::Switching, &head[..head.len() - 1], None),
            (Hear::Exactly(b"abc".to_vec()), b"ab", None),
            (Hear::Exactly(b"abc".to_vec()), b"abcd", Some(3)),
            (Hear::Reply(1), &connected, Some(connected.len())),
            (Hear::Reply(2), &connected, None),
            (Hear::Reply(2), &both, Some(both.len())),
        ];
        for (hear, heard, expected) in table {
            assert_eq!(hear.end(heard).unwrap(), expected);
        }
    }

    #[test]
    fn wrong_answers_are_errors() {
        let refused =
            server_frame(Opcode::Text, br#"{"id":1,"error":{"code":103,"message":"permission denied"}}"#);
        let table: [(Hear, &[u8]); 3] = [
            (Hear::Switching, b"HTTP/1.1 404 Not Found\r\n\r\n"),
            (Hear::Exactly(b"abc".to_vec()), b"ax"),
            (Hear::Reply(1), &refused),
        ];
        for (hear, heard) in table {
            assert!(hear.end(heard).is_err());
        }
    }
}
