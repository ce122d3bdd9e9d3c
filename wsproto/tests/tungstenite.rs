//! Random conversations with an implementation that is not ours, by seed: both roles, the handshake, fragments with
//! control frames in between, bytes cut anywhere, and the closing.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use tungstenite::handshake::HandshakeError;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};
use wsproto::handshake::{ClientRequest, push_accept, push_request, read_request, read_response};
use wsproto::{Answer, Closing, Decoder, Event, Limits, MessageKind, Opcode, Role, frame_header, mask};

const SEEDS: u64 = 300;
const LIMITS: Limits = Limits { frame_bytes: 1 << 24, message_bytes: 1 << 24, fragments: 1 << 16 };
const KEY: [u8; 16] = *b"the sample nonce";

/// SplitMix64.
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    /// What is said: text or bytes, mostly short, around the lengths where headers change.
    fn said(&mut self) -> Said {
        let around = [0, 5, 125, 126, 1_000, 65_535, 65_536, 100_000][self.below(8)];
        let len = if self.one_in(2) { self.below(around + 1) } else { around };
        if self.one_in(2) {
            return Said::Binary((0..len).map(|_| self.next() as u8).collect());
        }
        let characters = ['a', 'ß', '語', '🌊'];
        Said::Text((0..len / 2).map(|_| characters[self.below(4)]).collect())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
}

/// One end of a connection in memory. What is read comes in pieces of any size.
struct End {
    incoming: Rc<RefCell<VecDeque<u8>>>,
    outgoing: Rc<RefCell<VecDeque<u8>>>,
    chance: Chance,
}

impl Read for End {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut incoming = self.incoming.borrow_mut();
        if incoming.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let most = to.len().min(incoming.len());
        let len = if self.chance.one_in(2) { most } else { 1 + self.chance.below(most) };
        for place in &mut to[..len] {
            *place = incoming.pop_front().unwrap();
        }
        Ok(len)
    }
}

impl Write for End {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.outgoing.borrow_mut().extend(from);
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Our end: the codec, with what it needs around it.
struct Ours {
    role: Role,
    decoder: Decoder,
    closing: Closing,
    assembly: Vec<u8>,
    heard: Vec<Said>,
    pongs: Vec<Vec<u8>>,
    closed: Option<Option<(u16, String)>>,
    out: Vec<u8>,
    chance: Chance,
}

impl Ours {
    fn new(role: Role, chance: Chance) -> Self {
        Self {
            role,
            decoder: Decoder::new(role),
            closing: Closing::Open,
            assembly: Vec::new(),
            heard: Vec::new(),
            pongs: Vec::new(),
            closed: None,
            out: Vec::new(),
            chance,
        }
    }

    fn mask(&mut self) -> Option<[u8; 4]> {
        (self.role == Role::Client).then(|| (self.chance.next() as u32).to_ne_bytes())
    }

    /// In one frame or several, with pings in between; those are returned.
    fn say(&mut self, said: &Said) -> Vec<Vec<u8>> {
        let (mut opcode, payload) = match said {
            Said::Text(text) => (Opcode::Text, text.as_bytes()),
            Said::Binary(bytes) => (Opcode::Binary, &bytes[..]),
            Said::Ping(payload) => (Opcode::Ping, &payload[..]),
        };
        let mut pings = Vec::new();
        let mut rest = payload;
        while opcode != Opcode::Ping && self.chance.one_in(2) {
            let (part, behind) = rest.split_at(self.chance.below(rest.len() + 1));
            self.frame(opcode, false, part);
            (opcode, rest) = (Opcode::Continuation, behind);
            if self.chance.one_in(3) {
                let payload = vec![b'p'; self.chance.below(126)];
                self.frame(Opcode::Ping, true, &payload);
                pings.push(payload);
            }
        }
        if opcode == Opcode::Ping {
            pings.push(payload.to_vec());
        }
        self.frame(opcode, true, rest);
        pings
    }

    fn frame(&mut self, opcode: Opcode, fin: bool, payload: &[u8]) {
        let key = self.mask();
        self.out.extend_from_slice(&frame_header(opcode, fin, false, payload.len(), key));
        let start = self.out.len();
        self.out.extend_from_slice(payload);
        if let Some(key) = key {
            mask::apply(&mut self.out[start..], key, 0);
        }
    }

    fn close(&mut self, code: Option<u16>, reason: &str) {
        if self.closing.send() {
            let key = self.mask();
            wsproto::push_close(&mut self.out, code, reason, key);
        }
    }

    /// Takes bytes in pieces of any size.
    fn hear(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = if self.chance.one_in(2) { rest.len() } else { 1 + self.chance.below(rest.len()) };
            let (mut piece, behind) = rest.split_at_mut(len);
            rest = behind;
            let mut assembly = std::mem::take(&mut self.assembly);
            while let Some(event) = self.decoder.decode(&mut piece, &mut assembly, &LIMITS).unwrap() {
                let (mut ping, mut answer) = (None, None);
                match event {
                    Event::Message { kind: MessageKind::Text, payload, .. } => {
                        self.heard.push(Said::Text(String::from_utf8(payload.to_vec()).unwrap()));
                    }
                    Event::Message { payload, .. } => self.heard.push(Said::Binary(payload.to_vec())),
                    Event::Ping(payload) => ping = Some(payload.to_vec()),
                    Event::Pong(payload) => self.pongs.push(payload.to_vec()),
                    Event::Close(frame) => {
                        self.closed = Some(frame.map(|frame| (frame.code, frame.reason.to_owned())));
                        if let Answer::Reply(code) = self.closing.received(frame) {
                            answer = Some(code);
                        }
                    }
                }
                if let Some(payload) = ping {
                    self.frame(Opcode::Pong, true, &payload);
                    self.heard.push(Said::Ping(payload));
                }
                if let Some(code) = answer {
                    self.close(code, "");
                }
            }
            self.assembly = assembly;
        }
    }
}

/// The other end after its handshake with ours, and the two directions.
struct World {
    theirs: WebSocket<End>,
    ours: Ours,
    to_them: Rc<RefCell<VecDeque<u8>>>,
    from_them: Rc<RefCell<VecDeque<u8>>>,
    heard: Vec<Said>,
    closed: Option<Option<(u16, String)>>,
}

impl World {
    fn new(role: Role, seed: u64) -> Self {
        let chance = Chance(seed);
        let (to_them, from_them) = <(Rc<RefCell<VecDeque<u8>>>, Rc<RefCell<VecDeque<u8>>>)>::default();
        let (incoming, outgoing) = (Rc::clone(&to_them), Rc::clone(&from_them));
        let end = End { incoming, outgoing, chance: Chance(seed ^ 1) };
        let config = Some(WebSocketConfig::default().max_message_size(None).max_frame_size(None));
        let theirs = match role {
            Role::Server => {
                let Err(HandshakeError::Interrupted(mut middle)) =
                    tungstenite::client::client_with_config("ws://example.org/chat?x=1", end, config)
                else {
                    panic!("nobody has answered yet")
                };
                let asked: Vec<u8> = from_them.borrow_mut().drain(..).collect();
                let (request, len) = read_request(&asked).unwrap().unwrap();
                assert_eq!((request.path, request.query, len), ("/chat", Some("x=1"), asked.len()));
                let mut answer = Vec::new();
                push_accept(&mut answer, request.key, None, None);
                to_them.borrow_mut().extend(answer);
                loop {
                    match middle.handshake() {
                        Ok((theirs, _)) => break theirs,
                        Err(HandshakeError::Interrupted(later)) => middle = later,
                        Err(HandshakeError::Failure(error)) => panic!("seed {seed}: {error}"),
                    }
                }
            }
            Role::Client => {
                let mut asked = Vec::new();
                let request = ClientRequest {
                    host: "example.org",
                    target: "/chat",
                    origin: None,
                    protocols: &[],
                    key: KEY,
                    deflate: None,
                    headers: &[],
                };
                push_request(&mut asked, &request);
                to_them.borrow_mut().extend(asked);
                let mut accepted = tungstenite::accept_with_config(end, config);
                let theirs = loop {
                    match accepted {
                        Ok(theirs) => break theirs,
                        Err(HandshakeError::Interrupted(middle)) => accepted = middle.handshake(),
                        Err(HandshakeError::Failure(error)) => panic!("seed {seed}: {error}"),
                    }
                };
                let answer: Vec<u8> = from_them.borrow_mut().drain(..).collect();
                let (_, len) = read_response(&answer, &KEY, &[], None).unwrap().unwrap();
                assert_eq!(len, answer.len());
                theirs
            }
        };
        let ours = Ours::new(role, chance);
        Self { theirs, ours, to_them, from_them, heard: Vec::new(), closed: None }
    }

    /// They say something, in one frame or several.
    fn they_say(&mut self, said: &Said, chance: &mut Chance) {
        let message = match said.clone() {
            Said::Ping(payload) => Message::Ping(payload.into()),
            Said::Text(text) if chance.one_in(2) => Message::Text(text.into()),
            Said::Binary(bytes) if chance.one_in(2) => Message::Binary(bytes.into()),
            said => {
                let (kind, bytes) = match said {
                    Said::Text(text) => (Data::Text, text.into_bytes()),
                    Said::Binary(bytes) | Said::Ping(bytes) => (Data::Binary, bytes),
                };
                let (first, second) = bytes.split_at(chance.below(bytes.len() + 1));
                let begun = Frame::message(first.to_vec(), OpCode::Data(kind), false);
                self.theirs.write(Message::Frame(begun)).unwrap();
                Message::Frame(Frame::message(second.to_vec(), OpCode::Data(Data::Continue), true))
            }
        };
        self.theirs.write(message).unwrap();
    }

    /// Carries what was said to the other side, until nothing moves.
    fn carry(&mut self) {
        loop {
            let _ = self.theirs.flush();
            let mut bytes: Vec<u8> = self.from_them.borrow_mut().drain(..).collect();
            self.ours.hear(&mut bytes);
            let has_said = !self.ours.out.is_empty();
            self.to_them.borrow_mut().extend(self.ours.out.drain(..));
            loop {
                match self.theirs.read() {
                    Ok(Message::Text(text)) => self.heard.push(Said::Text(text.as_str().to_owned())),
                    Ok(Message::Binary(bytes)) => self.heard.push(Said::Binary(bytes.to_vec())),
                    Ok(Message::Ping(payload)) => self.heard.push(Said::Ping(payload.to_vec())),
                    Ok(Message::Pong(_) | Message::Frame(_)) => {}
                    Ok(Message::Close(frame)) => {
                        self.closed =
                            Some(frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned())));
                    }
                    Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(Error::ConnectionClosed | Error::AlreadyClosed) => break,
                    Err(error) => panic!("they refuse what we said: {error}"),
                }
            }
            if bytes.is_empty() && !has_said {
                return;
            }
        }
    }
}

#[test]
fn random_conversations() {
    for seed in 0..SEEDS {
        let mut chance = Chance(seed.wrapping_mul(77));
        let role = if chance.one_in(2) { Role::Server } else { Role::Client };
        let mut world = World::new(role, seed);
        let (mut we_said, mut they_said) = (Vec::new(), Vec::new());
        let mut pings = Vec::new();
        for _ in 0..chance.below(12) {
            let said = if chance.one_in(8) { Said::Ping(vec![7; chance.below(126)]) } else { chance.said() };
            if chance.one_in(2) {
                let between = world.ours.say(&said);
                pings.extend(between.clone());
                we_said.extend(between.into_iter().map(Said::Ping));
                if !matches!(said, Said::Ping(_)) {
                    we_said.push(said);
                }
                // They answer only the last of several pings that they read at once.
                world.carry();
            } else {
                world.they_say(&said, &mut chance);
                they_said.push(said);
            }
            if chance.one_in(2) {
                world.carry();
            }
        }
        world.carry();
        assert!(world.heard == we_said, "seed {seed}: they heard something else than we said");
        assert!(world.ours.heard == they_said, "seed {seed}: we heard something else than they said");
        let answered = world.ours.pongs.iter().all(|pong| pings.contains(pong));
        assert!(answered, "seed {seed}: a pong that nobody asked for");

        let reason = ["", "bye", "grüß dich"][chance.below(3)];
        let code = [None, Some(1000), Some(1001), Some(4999)][chance.below(4)];
        let expected = code.map(|code| (code, reason.to_owned()));
        if chance.one_in(2) {
            world.ours.close(code, reason);
            world.carry();
            assert_eq!(world.closed, Some(expected), "seed {seed}: they hear why");
        } else {
            let frame = code.map(|code| CloseFrame { code: CloseCode::from(code), reason: reason.into() });
            let _ = world.theirs.close(frame);
            world.carry();
            assert_eq!(world.ours.closed, Some(expected), "seed {seed}: we hear why");
        }
        assert!(!world.ours.closing.receives(), "seed {seed}: the handshake of the end is complete");
        assert!(!world.theirs.can_write(), "seed {seed}: for them too");
    }
}
