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

use super::{Server, client, wire};
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
    /// The same of the Protobuf client protocol.
    ProtobufReply(u64),
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
    Ok(sockets(Opening::all(count, &mut |_| kernel::connect(from, to), script)?))
}

/// As [`open`], for scripts that open a session of Roadstead, and only sessions on one of its shards if one is given: others
/// are closed again, and more are opened.
pub(super) fn open_on(
    server: &Server,
    from: Ipv4Addr,
    count: usize,
    shard: Option<u16>,
    script: &dyn Fn(usize) -> Vec<Step>,
) -> io::Result<Vec<OwnedFd>> {
    let mut kept = Vec::with_capacity(count);
    for _ in 0..limits::PLACING_ROUNDS {
        let wanted = count - kept.len();
        let opened = Opening::all(wanted, &mut |_| kernel::connect(from, server.address()), script)?;
        kept.extend(sockets(
            opened.into_iter().filter(|one| shard.is_none() || one.shard == shard).collect(),
        ));
        if kept.len() == count {
            return Ok(kept);
        }
    }
    Err(io::Error::other("too few connections came to the shard that was wanted"))
}

/// Leads connections that are open through a script of their own. All of them, or an error.
pub(super) fn lead(open: Vec<OwnedFd>, script: &dyn Fn(usize) -> Vec<Step>) -> io::Result<Vec<OwnedFd>> {
    let count = open.len();
    let mut open = open.into_iter();
    let mut next = |_| open.next().ok_or_else(|| io::Error::other("no connection is left"));
    Ok(sockets(Opening::all(count, &mut next, script)?))
}

fn sockets(dialogues: Vec<Dialogue>) -> Vec<OwnedFd> {
    dialogues.into_iter().map(|dialogue| dialogue.socket).collect()
}

struct Dialogue {
    socket: OwnedFd,
    /// The steps to come, the next one last.
    steps: Vec<Step>,
    /// Bytes of the next step that were said.
    said: usize,
    heard: Vec<u8>,
    interest: Option<Interest>,
    /// The shard that a session of Roadstead is on.
    shard: Option<u16>,
}

struct Opening {
    epoll: Epoll,
    dialogues: Vec<Dialogue>,
    open: usize,
}

impl Opening {
    fn all(
        count: usize,
        socket: &mut dyn FnMut(usize) -> io::Result<OwnedFd>,
        script: &dyn Fn(usize) -> Vec<Step>,
    ) -> io::Result<Vec<Dialogue>> {
        let mut opening = Self { epoll: Epoll::new()?, dialogues: Vec::with_capacity(count), open: 0 };
        opening.lead(count, socket, script).map_err(|error| {
            io::Error::other(format!("opening connections: {error} ({} were open)", opening.open))
        })?;
        Ok(opening.dialogues)
    }

    fn lead(
        &mut self,
        count: usize,
        socket: &mut dyn FnMut(usize) -> io::Result<OwnedFd>,
        script: &dyn Fn(usize) -> Vec<Step>,
    ) -> io::Result<()> {
        let mut events = Events::new();
        let mut buffer = vec![0; limits::DRIVE_RECEIVE_BYTES];
        let mut progress = (0, Instant::now());
        while self.open < count {
            while self.dialogues.len() < count && self.dialogues.len() - self.open < limits::OPENING {
                let index = self.dialogues.len();
                let socket = socket(index)?;
                let steps = script(index).into_iter().rev().collect();
                self.begin(Dialogue {
                    socket,
                    steps,
                    said: 0,
                    heard: Vec::new(),
                    interest: None,
                    shard: None,
                })?;
            }
            for event in self.epoll.wait(&mut events, Some(Duration::from_millis(500)))? {
                self.advance(event.token() as usize, &mut buffer)?;
            }
            if self.open > progress.0 {
                progress = (self.open, Instant::now());
            } else if progress.1.elapsed() > Duration::from_secs(limits::STALL_S) {
                return Err(io::Error::other("no progress"));
            }
        }
        Ok(())
    }

    /// On loopback a connection is mostly established when connect returns, so the first step is said
    /// at once.
    fn begin(&mut self, dialogue: Dialogue) -> io::Result<()> {
        let index = self.dialogues.len();
        self.dialogues.push(dialogue);
        self.say(index)
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
                dialogue.shard = dialogue.shard.or_else(|| shard_of(&dialogue.heard[..end]));
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
            Hear::ProtobufReply(id) => protobuf_reply_end(heard, *id),
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

fn protobuf_reply_end(heard: &[u8], id: u64) -> io::Result<Option<usize>> {
    let mut rest = heard;
    while let Some((frame, behind)) = wire::split_frame(rest) {
        if frame.opcode == 8 {
            return Err(io::Error::other("the server closed the session"));
        }
        for (answered, is_error) in client::protobuf_replies(frame.payload) {
            if is_error {
                return Err(io::Error::other(format!("the server refused command {answered}")));
            }
            if answered == id {
                return Ok(Some(heard.len() - behind.len()));
            }
        }
        rest = behind;
    }
    Ok(None)
}

/// The shard in the session id of a JSON connect reply of Roadstead: `node-SHARD-generation-generation-slot`, of which the
/// node may hold hyphens.
fn shard_of(heard: &[u8]) -> Option<u16> {
    const BEFORE: &str = "\"connect\":{\"client\":\"";
    let text = std::str::from_utf8(wire::split_frame(heard)?.0.payload).ok()?;
    let id = text.split_once(BEFORE)?.1.split('"').next()?;
    u16::from_str_radix(id.rsplit('-').nth(3)?, 16).ok()
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
    fn the_shard_is_read_from_the_session_id() {
        let reply = |id: &str| {
            server_frame(
                Opcode::Text,
                format!(r#"{{"id":1,"connect":{{"client":"{id}","ping":25}}}}"#).as_bytes(),
            )
        };
        assert_eq!(shard_of(&reply("0123456789abcdef-001f-0000-0001-000000000007")), Some(31));
        assert_eq!(shard_of(&reply("somebody")), None);
        assert_eq!(shard_of(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), None);
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
