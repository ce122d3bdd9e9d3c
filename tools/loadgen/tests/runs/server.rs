//! A small WebSocket server on `roadstead-io` and `wsproto`, on a thread of its own, that behaves or misbehaves.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use roadstead_io::{Arena, Epoll, Event, Io, Kind, ListenOptions, Options, Socket, Uring, Waker, bind};
use wsproto::handshake::{push_accept, push_reject, read_request};
use wsproto::{Decoder, Event as Frame, Limits, MessageKind, Opcode, Role, push_close, push_frame};

use crate::hub::Hub;

/// Sockets of the server: more than any run here opens, and few enough that a lost one is noticed.
const SOCKETS_MAX: u32 = 1_000;

const LIMITS: Limits = Limits { frame_bytes: 1 << 26, message_bytes: 1 << 26, fragments: 16 };

/// What the server does with connections and messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Behaviour {
    /// Sends every message back.
    Echo,
    /// Pings each client after its upgrade, and echoes messages only once the pong has come.
    EchoAfterPong,
    /// Sends every message back in three fragments with a ping between them.
    Fragment,
    /// Leaves out every message of this remainder modulo 10.
    Forget(u32),
    /// Sends every tenth message twice.
    Repeat,
    /// Swaps every tenth message with the next.
    Swap,
    /// Changes the last byte of every tenth message.
    Damage,
    /// Answers the upgrade with this status.
    Refuse(u16),
    /// Reads the upgrade and says nothing.
    Ignore,
    /// Ends the TCP connection after the upgrade.
    Cut,
    /// Closes each connection with this code at its tenth message.
    Close(u16),
    /// Sends a frame with a reserved opcode after the upgrade.
    Violate,
    /// Answers no close frame.
    Deaf,
    /// Speaks the client protocol; leaves out every so many-th delivery (0: none).
    Hub(u32),
    /// Speaks the client protocol and ends a connection at its so many-th message with code 3001.
    HubThatTires(u32),
    /// Speaks the client protocol; only so many connections are ever taken, others are answered with status 503.
    HubOnce(u32),
    /// Speaks the client protocol and refuses every publication.
    RefusePublish,
}

/// A running server; ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts one on a free port.
    pub(crate) fn start(kind: Kind, behaviour: Behaviour) -> Self {
        let waker = Waker::new().expect("a waker");
        let stop = Arc::new(AtomicBool::new(false));
        let listener =
            bind("127.0.0.1:0".parse().expect("an address"), &ListenOptions::default()).expect("a port");
        let address = listener.local_addr();
        let (stop_there, waker_there) = (Arc::clone(&stop), waker.clone());
        let thread = std::thread::spawn(move || {
            let mut options = Options::new(SOCKETS_MAX);
            options.waker = Some(waker_there);
            let mut io: Box<dyn Io> = match kind {
                Kind::Epoll => Box::new(Epoll::new(&options).expect("epoll")),
                Kind::Uring => Box::new(Uring::new(&options).expect("io_uring")),
            };
            io.listen(listener).expect("listening");
            Serving { behaviour, taken: 0, peers: HashMap::new(), hub: Hub::default() }
                .serve(io.as_mut(), &stop_there);
        });
        Self { address, stop, waker, thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How to reach it.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/path?query", self.address)
    }

    /// Several different URLs that all lead here, with commas between them.
    pub(crate) fn urls(&self) -> String {
        ["query", "second", "third"].map(|query| format!("ws://{}/path?{query}", self.address)).join(",")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking(), "the server panicked");
    }
}

/// One connection.
#[derive(Default)]
pub(crate) struct Peer {
    head: Vec<u8>,
    frames: Option<Decoder>,
    assembly: Vec<u8>,
    is_blocked: bool,
    messages: u32,
    swapped: Option<Vec<u8>>,
    has_ponged: bool,
    has_closed: bool,
    /// Bytes to send.
    pub(crate) output: Vec<u8>,
}

struct Serving {
    behaviour: Behaviour,
    /// Connections that were upgraded.
    taken: u32,
    peers: HashMap<Socket, Peer>,
    hub: Hub,
}

impl Serving {
    fn serve(&mut self, io: &mut dyn Io, stop: &AtomicBool) {
        let mut arena = Arena::new(1 << 18);
        let mut events = Vec::new();
        while !stop.load(Ordering::Acquire) {
            events.clear();
            io.wait(&mut arena, &mut events, Some(Duration::from_secs(1))).expect("wait");
            let mut closes = Vec::new();
            for event in &events {
                self.event(*event, &mut arena, &mut closes);
            }
            for (socket, peer) in self.peers.iter_mut().filter(|(_, peer)| !peer.is_blocked) {
                if !peer.output.is_empty() {
                    io.send(*socket, std::mem::take(&mut peer.output).into());
                }
            }
            for socket in closes {
                if self.peers.remove(&socket).is_some() {
                    self.hub.leave(socket);
                    io.close(socket);
                }
            }
        }
    }

    fn event(&mut self, event: Event, arena: &mut Arena, closes: &mut Vec<Socket>) {
        match event {
            Event::Accepted { socket, .. } => drop(self.peers.insert(socket, Peer::default())),
            Event::Received { socket, start, len } => {
                if self.received(socket, arena.received(start, len)) {
                    closes.push(socket);
                }
            }
            Event::PeerClosed { socket } | Event::Failed { socket, .. } => closes.push(socket),
            Event::Blocked { socket, .. } => self.set_blocked(socket, true),
            Event::Drained { socket } => self.set_blocked(socket, false),
            Event::Connected { .. } | Event::Closed { .. } | Event::Woken | Event::AcceptFailed { .. } => {}
        }
    }

    fn set_blocked(&mut self, socket: Socket, is_blocked: bool) {
        if let Some(peer) = self.peers.get_mut(&socket) {
            peer.is_blocked = is_blocked;
        }
    }

    /// True: the connection is to be closed once its output is sent.
    fn received(&mut self, socket: Socket, bytes: &mut [u8]) -> bool {
        let behaviour = match self.behaviour {
            Behaviour::HubOnce(count) if self.taken >= count => Behaviour::Refuse(503),
            behaviour => behaviour,
        };
        let Some(peer) = self.peers.get_mut(&socket) else { return false };
        let mut input = bytes;
        let mut rest;
        if peer.frames.is_none() {
            peer.head.extend_from_slice(input);
            let Some(end) = peer.upgrade(behaviour) else { return false };
            if matches!(behaviour, Behaviour::Refuse(_) | Behaviour::Cut) {
                return true;
            }
            self.taken += 1;
            rest = peer.head.split_off(end);
            input = &mut rest;
        }
        let mut assembly = std::mem::take(&mut peer.assembly);
        let mut is_closing = false;
        loop {
            let Some(peer) = self.peers.get_mut(&socket) else { return false };
            // Whose upgrade was taken while there was room goes on.
            let behaviour = self.behaviour;
            let decoder = peer.frames.as_mut().expect("upgraded");
            match decoder.decode(&mut input, &mut assembly, &LIMITS).expect("frames that follow RFC 6455") {
                None => break,
                Some(Frame::Message { kind, payload, .. }) => match behaviour {
                    Behaviour::Hub(_)
                    | Behaviour::HubThatTires(_)
                    | Behaviour::HubOnce(_)
                    | Behaviour::RefusePublish => {
                        self.hub.message(socket, kind, payload, behaviour, &mut self.peers);
                        if let Some(peer) = self.peers.get_mut(&socket) {
                            peer.tire(behaviour);
                        }
                    }
                    _ => peer.message(kind, payload, behaviour),
                },
                Some(Frame::Ping(payload)) => push_frame(&mut peer.output, Opcode::Pong, payload, None),
                Some(Frame::Pong(payload)) => peer.has_ponged |= payload == b"here?",
                // Ours was sent before: now it is safe to end, nothing unread makes the kernel reset the connection.
                Some(Frame::Close(_)) if peer.has_closed => is_closing = true,
                Some(Frame::Close(frame)) if behaviour != Behaviour::Deaf => {
                    push_close(&mut peer.output, frame.map(|frame| frame.code), "", None);
                    is_closing = true;
                }
                Some(Frame::Close(_)) => {}
            }
        }
        if let Some(peer) = self.peers.get_mut(&socket) {
            peer.assembly = assembly;
        }
        is_closing
    }
}

impl Peer {
    /// Answers the upgrade; the length of its head, once it is complete and was answered.
    fn upgrade(&mut self, behaviour: Behaviour) -> Option<usize> {
        let (request, end) = read_request(&self.head).expect("a correct request")?;
        assert_eq!(request.path, "/path");
        assert!(matches!(request.query, Some("query" | "second" | "third")), "{:?}", request.query);
        let protocol = request.protocols().next();
        match behaviour {
            Behaviour::Ignore => return None,
            Behaviour::Refuse(status) => push_reject(&mut self.output, status, "not now", ""),
            _ => push_accept(&mut self.output, request.key, protocol, None),
        }
        if behaviour == Behaviour::EchoAfterPong {
            push_frame(&mut self.output, Opcode::Ping, b"here?", None);
        }
        if behaviour == Behaviour::Violate {
            self.output.extend_from_slice(&[0x83, 0]);
        }
        self.frames = Some(Decoder::new(Role::Server));
        Some(end)
    }

    fn tire(&mut self, behaviour: Behaviour) {
        self.messages += 1;
        if behaviour == Behaviour::HubThatTires(self.messages) {
            push_close(&mut self.output, Some(3001), "enough", None);
            self.has_closed = true;
        }
    }

    fn message(&mut self, kind: MessageKind, payload: &mut [u8], behaviour: Behaviour) {
        let opcode = if kind == MessageKind::Text { Opcode::Text } else { Opcode::Binary };
        if self.has_closed {
            return;
        }
        let number = self.messages;
        self.messages += 1;
        let is_tenth = number % 10 == 9;
        match behaviour {
            Behaviour::Forget(remainder) if number % 10 == remainder => return,
            Behaviour::Close(code) if is_tenth => {
                push_close(&mut self.output, Some(code), "enough", None);
                self.has_closed = true;
                return;
            }
            Behaviour::EchoAfterPong => assert!(self.has_ponged, "a message before the pong"),
            Behaviour::Repeat if is_tenth => push_frame(&mut self.output, opcode, payload, None),
            Behaviour::Damage if is_tenth => {
                if let Some(last) = payload.last_mut() {
                    *last ^= 1;
                }
            }
            Behaviour::Swap if is_tenth => {
                self.swapped = Some(payload.to_vec());
                return;
            }
            Behaviour::Fragment => {
                self.push_fragments(opcode, payload);
                return;
            }
            _ => {}
        }
        push_frame(&mut self.output, opcode, payload, None);
        if let Some(swapped) = self.swapped.take() {
            push_frame(&mut self.output, opcode, &swapped, None);
        }
    }

    fn push_fragments(&mut self, opcode: Opcode, payload: &[u8]) {
        let (first, rest) = payload.split_at(payload.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 2);
        for (opcode, is_last, part) in [
            (opcode, false, first),
            (Opcode::Continuation, false, second),
            (Opcode::Continuation, true, third),
        ] {
            self.output.extend_from_slice(&wsproto::frame_header(opcode, is_last, false, part.len(), None));
            self.output.extend_from_slice(part);
            if !is_last {
                push_frame(&mut self.output, Opcode::Ping, b"between", None);
            }
        }
    }
}
