//! `loadgen conform`: the client that the Autobahn suite's fuzzing server wants, which sends back whatever it is sent.
//!
//! Invariants: one connection at a time, with the record, the frames and the back ends that every load has; the server's
//! verdict is its own affair, only a server that cannot be talked to is an error here.

use std::mem::take;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roadstead_io::{Arena, Epoll, Event as IoEvent, Io, Kind, Options, Payload, Socket, Uring};
use wsproto::deflate::{Agreement, Deflater, Inflater, Offer, Window, fits_window};
use wsproto::handshake::{ClientRequest, push_request, read_response};
use wsproto::{Answer, Closing, Decoder, Event, Limits, MessageKind, Opcode, Role, Violation};

use crate::limits::{ARENA_BYTES_LARGE, CONFORM_SECONDS_MAX, LINGER_MS, PAYLOAD_BYTES_MAX};
use crate::random::{Random, handshake_key};
use crate::target::{Target, Url};

const LIMITS: Limits = Limits {
    frame_bytes: 2 * PAYLOAD_BYTES_MAX as u32,
    message_bytes: 2 * PAYLOAD_BYTES_MAX as u32,
    fragments: u32::MAX,
};

/// The server may lean on earlier messages, we do not, and it may bound how far we reach back.
const OFFER: Offer = Offer {
    server_no_context_takeover: false,
    client_no_context_takeover: true,
    server_max_window_bits: None,
    client_max_window_bits: Some(None),
};

const DEFLATE_LEVEL: u8 = 4;

/// Runs all cases that the server at `url` has, and asks it to report.
///
/// # Errors
/// The server cannot be reached, or does not talk like one of the suite.
pub(crate) fn run(url: &Url, kind: Kind) -> Result<(), String> {
    let peer = Target::resolve(url, None)?.peer;
    let mut visitor = Visitor::new(url.authority.clone(), peer, kind)?;
    let told = visitor.visit("/getCaseCount")?;
    let count = String::from_utf8_lossy(&told);
    let count: u32 = count.parse().map_err(|_| format!("{count:?} is no number of cases"))?;
    for case in 1..=count {
        visitor.visit(&format!("/runCase?case={case}&agent=loadgen"))?;
    }
    visitor.visit("/updateReports?agent=loadgen").map(drop)
}

/// Makes one connection after the other.
struct Visitor {
    io: Box<dyn Io>,
    arena: Arena,
    host: String,
    peer: SocketAddr,
    random: Random,
    visits: u32,
}

impl Visitor {
    fn new(host: String, peer: SocketAddr, kind: Kind) -> Result<Self, String> {
        let options = Options::new(1);
        let io = match kind {
            Kind::Uring => Uring::new(&options).map(|io| Box::new(io) as Box<dyn Io>),
            Kind::Epoll => Epoll::new(&options).map(|io| Box::new(io) as Box<dyn Io>),
        };
        let io = io.map_err(|error| format!("{kind}: {error}"))?;
        let (arena, random) = (Arena::new(ARENA_BYTES_LARGE), Random::new(1));
        Ok(Self { io, arena, host, peer, random, visits: 0 })
    }

    /// Opens a connection to `target`, sends back what comes until it has ended, and returns the last message.
    fn visit(&mut self, target: &str) -> Result<Vec<u8>, String> {
        self.visits += 1;
        let socket = self.io.connect(None, self.peer).map_err(|error| error.to_string())?;
        let mut guest = Guest::new(handshake_key(1, self.visits), target != "/getCaseCount");
        let until = Instant::now() + Duration::from_secs(CONFORM_SECONDS_MAX);
        let mut events = Vec::new();
        loop {
            let wait = Duration::from_millis(LINGER_MS.min(100));
            events.clear();
            self.io.wait(&mut self.arena, &mut events, Some(wait)).map_err(|error| error.to_string())?;
            for event in events.drain(..) {
                match event {
                    IoEvent::Connected { .. } => guest.ask(&self.host, target),
                    IoEvent::Received { start, len, .. } => {
                        guest.hear(self.arena.received(start, len), &mut self.random)?;
                    }
                    IoEvent::PeerClosed { .. } | IoEvent::Failed { .. } => guest.part = Part::Over,
                    IoEvent::Blocked { .. } => {
                        guest.is_blocked = true;
                        self.io.pause(socket);
                    }
                    IoEvent::Drained { .. } => {
                        guest.is_blocked = false;
                        self.io.resume(socket);
                    }
                    IoEvent::Closed { .. } => return guest.end(),
                    IoEvent::Accepted { .. } | IoEvent::AcceptFailed { .. } | IoEvent::Woken => {}
                }
            }
            self.speak(socket, &mut guest);
            if Instant::now() > until {
                return Err(format!("{target} did not end"));
            }
        }
    }

    fn speak(&mut self, socket: Socket, guest: &mut Guest) {
        let has_lingered = guest.lingers_until.is_some_and(|until| Instant::now() > until);
        if guest.part == Part::Gone {
            return;
        }
        if guest.part == Part::Over || has_lingered {
            guest.part = Part::Gone;
            self.io.close(socket);
        } else if !guest.is_blocked && !guest.out.is_empty() {
            self.io.send(socket, Payload::from(take(&mut guest.out)));
        }
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Upgrading,
    Open,
    /// The server says no more.
    Over,
    /// The socket is being closed.
    Gone,
}

/// One connection.
struct Guest {
    key: [u8; 16],
    echoes: bool,
    part: Part,
    head: Vec<u8>,
    decoder: Decoder,
    assembly: Vec<u8>,
    closing: Closing,
    deflation: Option<Deflation>,
    is_blocked: bool,
    out: Vec<u8>,
    last: Vec<u8>,
    lingers_until: Option<Instant>,
}

impl Guest {
    fn new(key: [u8; 16], echoes: bool) -> Self {
        Self {
            key,
            echoes,
            part: Part::Upgrading,
            head: Vec::new(),
            decoder: Decoder::new(Role::Client),
            assembly: Vec::new(),
            closing: Closing::Open,
            deflation: None,
            is_blocked: false,
            out: Vec::new(),
            last: Vec::new(),
            lingers_until: None,
        }
    }

    fn ask(&mut self, host: &str, target: &str) {
        let (origin, protocols, headers) = (None, &[], &[]);
        let deflate = Some(OFFER);
        let asked = ClientRequest { host, target, origin, protocols, key: self.key, deflate, headers };
        push_request(&mut self.out, &asked);
    }

    fn hear(&mut self, bytes: &mut [u8], random: &mut Random) -> Result<(), String> {
        if self.part == Part::Open {
            self.frames(bytes, random);
        } else if self.part == Part::Upgrading {
            self.head.extend_from_slice(bytes);
            let read = read_response(&self.head, &self.key, &[], Some(&OFFER));
            if let Some((response, len)) = read.map_err(|refusal| refusal.to_string())? {
                if let Some(agreement) = response.deflate {
                    self.decoder.allow_rsv1();
                    self.deflation = Some(Deflation::new(agreement));
                }
                self.part = Part::Open;
                let mut rest = self.head.split_off(len);
                self.frames(&mut rest, random);
            }
        }
        Ok(())
    }

    fn frames(&mut self, mut input: &mut [u8], random: &mut Random) {
        let mut assembly = take(&mut self.assembly);
        let violation = loop {
            match self.decoder.decode(&mut input, &mut assembly, &LIMITS) {
                Ok(None) => break None,
                Err(violation) => break Some(violation),
                Ok(Some(event)) if self.closing.receives() || matches!(event, Event::Close(_)) => {
                    if let Err(violation) = self.event(event, random) {
                        break Some(violation);
                    }
                }
                Ok(Some(_)) => {}
            }
        };
        self.assembly = assembly;
        if let Some(violation) = violation {
            if self.closing.fail() {
                let (code, reason) = (violation.close_code(), violation.reason());
                wsproto::push_close(&mut self.out, Some(code), reason, Some(random.mask()));
            }
            self.linger();
        }
    }

    fn event(&mut self, event: Event<'_>, random: &mut Random) -> Result<(), Violation> {
        match event {
            Event::Ping(payload) => {
                wsproto::push_frame(&mut self.out, Opcode::Pong, payload, Some(random.mask()));
            }
            Event::Pong(_) => {}
            Event::Close(frame) => {
                let code = frame.as_ref().map(|frame| frame.code);
                if let Answer::Reply(_) = self.closing.received(frame)
                    && self.closing.send()
                {
                    wsproto::push_close(&mut self.out, code, "", Some(random.mask()));
                }
                self.linger();
            }
            Event::Message { kind, compressed, payload } => {
                let mut plain = take(&mut self.last);
                match &mut self.deflation {
                    Some(deflation) if compressed => deflation.inflate(payload, kind, &mut plain)?,
                    _ => {
                        plain.clear();
                        plain.extend_from_slice(payload);
                    }
                }
                let opcode = if kind == MessageKind::Text { Opcode::Text } else { Opcode::Binary };
                let deflated =
                    self.deflation.as_mut().filter(|_| compressed).and_then(|own| own.deflate(&plain));
                match deflated {
                    _ if !self.echoes => {}
                    Some(deflated) => {
                        wsproto::push_deflated(&mut self.out, opcode, deflated, Some(random.mask()));
                    }
                    None => wsproto::push_frame(&mut self.out, opcode, &plain, Some(random.mask())),
                }
                self.last = plain;
            }
        }
        Ok(())
    }

    /// Leaves it to the server to end the TCP connection (RFC 6455 section 7.1.1), for a while.
    fn linger(&mut self) {
        self.lingers_until.get_or_insert_with(|| Instant::now() + Duration::from_millis(LINGER_MS));
    }

    fn end(self) -> Result<Vec<u8>, String> {
        if self.part == Part::Gone && self.head.is_empty() {
            return Err("the server does not answer".to_owned());
        }
        Ok(self.last)
    }
}

/// What a connection that deflates has.
struct Deflation {
    agreement: Agreement,
    deflater: Deflater,
    inflater: Inflater,
    window: Option<Window>,
}

impl Deflation {
    fn new(agreement: Agreement) -> Self {
        let leans = !agreement.server_no_context_takeover;
        Self {
            agreement,
            deflater: Deflater::new(DEFLATE_LEVEL),
            inflater: Inflater::default(),
            window: leans.then(|| Window::new(agreement.server_window_bits())),
        }
    }

    fn inflate(&mut self, payload: &[u8], kind: MessageKind, out: &mut Vec<u8>) -> Result<(), Violation> {
        self.inflater.inflate(payload, kind, LIMITS.message_bytes as usize, self.window.as_mut(), out)
    }

    fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        let fits = fits_window(payload.len(), self.agreement.client_window_bits());
        if fits { self.deflater.deflate(payload) } else { None }
    }
}
