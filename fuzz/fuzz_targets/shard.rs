//! Whole shards over the simulated world: several clients, honest bytes and others, slowness, ends of all kinds, and time.
//!
//! An input is one byte of circumstances and then deeds. A deed is one byte, of which three bits say whose it is and five
//! what; some take further bytes. Whatever happens, shards do not panic, gauges stay within their bounds, what clients are
//! sent are heads and frames of RFC 6455, and at the end nothing is left of any client.
#![no_main]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use roadstead_control::NodeId;
use roadstead_engine::settings::Settings;
use roadstead_sim::{Client, Conditions, Node, NodeParts, Status, World};
use wsproto::deflate::Deflater;
use wsproto::{Decoder, Limits, Opcode, Role, push_deflated, push_frame};

const CLIENTS: usize = 8;
const DEEDS_MAX: usize = 400;
const KEY: [u8; 4] = [1, 2, 3, 4];
const COMMANDS: [&str; 8] = [
    r#"{"id":1,"connect":{}}"#,
    r#"{"id":2,"subscribe":{"channel":"a"}}"#,
    r#"{"id":3,"publish":{"channel":"a","data":{"n":1}}}"#,
    r#"{"id":4,"unsubscribe":{"channel":"a"}}"#,
    "{}",
    r#"{"id":5,"subscribe":{"channel":"b"}}"#,
    r#"{"id":6,"publish":{"channel":"b","data":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}"#,
    r#"{"id":7,"rpc":{}}"#,
];

fuzz_target!(|bytes: &[u8]| {
    let [circumstances, deeds @ ..] = bytes else { return };
    let mut harbour = Harbour::new(*circumstances);
    let mut rest = deeds;
    for _ in 0..DEEDS_MAX {
        let Some((&deed, after)) = rest.split_first() else { break };
        rest = after;
        harbour.act(usize::from(deed >> 5), deed & 31, &mut rest);
        harbour.run(4);
    }
    harbour.end();
});

/// A node, its clients, and what these have heard.
struct Harbour {
    world: World,
    node: Node,
    guests: [Option<Guest>; CLIENTS],
    deflater: Deflater,
}

struct Guest {
    client: Client,
    reads: bool,
    has_finished: bool,
    head: Vec<u8>,
    decoder: Option<Decoder>,
    assembly: Vec<u8>,
}

impl Harbour {
    fn new(circumstances: u8) -> Self {
        let world = World::new(u64::from(circumstances), Conditions::calm());
        let conditions = match circumstances & 1 {
            0 => Conditions::calm(),
            _ => Conditions::rough(&mut world.random()),
        };
        let world = World::new(u64::from(circumstances), conditions);
        let mut settings = Settings {
            insecure: true,
            echo: true,
            shards: 1 + u16::from(circumstances >> 1 & 1),
            ..Settings::default()
        };
        settings.limits.connections = CLIENTS as u32 * u32::from(settings.shards);
        settings.limits.mailbox_messages = 64;
        settings.limits.inbound_bytes_per_shard = 1 << 16;
        settings.limits.echo_message_bytes = 1 << 14;
        settings.limits.message_bytes = 1 << 13;
        settings.limits.outbox_bytes = 1 << 14;
        settings.limits.outbox_messages = 16;
        settings.compression.enabled = circumstances & 4 != 0;
        settings.compression.takeover = circumstances & 8 != 0;
        settings.guard.sources = 1_024;
        let parts =
            NodeParts { address: address(), settings, stalls: 0, id: NodeId(7), fleet: None, tampers: false };
        let node = Node::new(&world, parts);
        Self { world, node, guests: [const { None }; CLIENTS], deflater: Deflater::new(6) }
    }

    fn act(&mut self, who: usize, what: u8, rest: &mut &[u8]) {
        match what {
            0..4 => self.open(who, what),
            4 | 5 => {
                let count = usize::from(byte(rest));
                let sent = take(rest, count);
                self.send(who, sent);
            }
            6 => {
                let opcode = [
                    Opcode::Text,
                    Opcode::Binary,
                    Opcode::Ping,
                    Opcode::Pong,
                    Opcode::Close,
                    Opcode::Continuation,
                ];
                let (opcode, count) =
                    (opcode[usize::from(byte(rest)) % opcode.len()], usize::from(byte(rest)));
                let mut frame = Vec::new();
                let payload = take(rest, if opcode.is_control() { count.min(125) } else { count });
                push_frame(&mut frame, opcode, payload, Some(KEY));
                self.send(who, &frame);
            }
            7 => {
                // Some commands in one message, many times.
                let (chosen, times) = (byte(rest), usize::from(byte(rest) % 32) + 1);
                let of = |place: usize| COMMANDS[usize::from(chosen >> (4 * place)) % COMMANDS.len()];
                let mut frame = Vec::new();
                push_frame(&mut frame, Opcode::Text, [of(0), of(1)].join("\n").as_bytes(), Some(KEY));
                self.send(who, &frame.repeat(times));
            }
            8..16 => {
                let mut frame = Vec::new();
                push_frame(&mut frame, Opcode::Text, COMMANDS[usize::from(what - 8)].as_bytes(), Some(KEY));
                self.send(who, &frame);
            }
            16 => {
                // Deflated well, many times.
                let (count, times) = (usize::from(byte(rest)) * 64, usize::from(byte(rest) % 64) + 1);
                let text = COMMANDS[7].as_bytes().iter().chain(b"\n").copied().cycle().take(count * 18);
                let mut frames = Vec::new();
                if let Some(deflated) = self.deflater.deflate(&text.collect::<Vec<u8>>()) {
                    push_deflated(&mut frames, Opcode::Text, deflated, Some(KEY));
                }
                self.send(who, &frames.repeat(times));
            }
            17 => {
                // An octet at a time.
                let count = usize::from(byte(rest) % 16);
                for octet in take(rest, count).iter() {
                    self.send(who, &[*octet]);
                    self.run(2);
                }
            }
            18 => self.with(who, |_, guest| guest.reads = !guest.reads),
            19 => self.with(who, |world, guest| {
                guest.has_finished = true;
                world.finish(guest.client);
            }),
            20 | 21 => self.leave(who, what),
            22 => self.pass(Duration::from_millis(1 << (byte(rest) % 18))),
            _ => self.run(8),
        }
    }

    fn open(&mut self, who: usize, how: u8) {
        if self.guests[who].is_some() {
            return;
        }
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 1, who as u8), 0));
        let client = self.world.connect(from, address());
        self.guests[who] = Some(Guest {
            client,
            reads: true,
            has_finished: false,
            head: Vec::new(),
            decoder: None,
            assembly: Vec::new(),
        });
        self.run(4);
        let path = match how {
            0 => "/connection/websocket",
            1 => "/echo",
            2 => "/connection/websocket?format=protobuf",
            _ => "/connection/websocket?cf_ws_frame_ping_pong=true",
        };
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        // Half of a client's connections are opened without a word; raw bytes are theirs.
        if who < CLIENTS / 2 {
            self.send(who, head.as_bytes());
        }
    }

    fn with(&mut self, who: usize, act: impl FnOnce(&World, &mut Guest)) {
        if let Some(guest) = &mut self.guests[who] {
            act(&self.world, guest);
        }
    }

    fn send(&mut self, who: usize, bytes: &[u8]) {
        self.with(who, |world, guest| {
            if !guest.has_finished && world.status(guest.client) == Status::Open {
                let _ = world.write(guest.client, bytes);
            }
        });
    }

    fn leave(&mut self, who: usize, how: u8) {
        if let Some(guest) = self.guests[who].take() {
            if how == 20 { self.world.close(guest.client) } else { self.world.reset(guest.client) }
        }
    }

    /// Lets shards turn and little time pass.
    fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let ran = self.node.run();
            self.hear();
            if let Some((metric, value, bound)) = self.node.beyond_limits() {
                panic!("{metric:?} is {value}, allowed are {bound}");
            }
            if ran == 0 && self.world.due().is_none_or(|due| due > self.world.now()) {
                self.world.advance(Duration::from_micros(200));
            } else {
                self.world.advance(Duration::from_micros(60));
            }
        }
    }

    /// Lets time pass, with everything that is due in it.
    fn pass(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            let now = self.world.now();
            let due = self.world.due().into_iter().chain(self.node.due()).min().unwrap_or(end);
            let step = due.saturating_sub(now).clamp(Duration::from_micros(60), Duration::from_secs(5));
            self.world.advance(step.min(end - now));
            self.node.run();
            self.hear();
        }
    }

    fn hear(&mut self) {
        for guest in self.guests.iter_mut().flatten().filter(|guest| guest.reads) {
            guest.hear(&self.world);
        }
    }

    /// All clients leave, and nothing is left of them.
    fn end(mut self) {
        for who in 0..CLIENTS {
            self.leave(who, 20 + who as u8 % 2);
        }
        for _ in 0..100 {
            self.pass(Duration::from_secs(2));
            if self.node.is_vacant() {
                return;
            }
        }
        panic!("something of a client is left");
    }
}

impl Guest {
    /// What a server says is a head and then frames, whatever it was told.
    fn hear(&mut self, world: &World) {
        let mut heard = world.read(self.client, usize::MAX);
        if heard.is_empty() {
            return;
        }
        if self.decoder.is_none() {
            self.head.append(&mut heard);
            let Some(end) = wsproto::handshake::head_is_complete(&self.head, 0) else {
                assert!(self.head.len() < 4_096, "a head without end");
                return;
            };
            assert!(self.head.starts_with(b"HTTP/1.1 "));
            if !self.head.starts_with(b"HTTP/1.1 101 ") {
                self.head.truncate(end);
                return;
            }
            let mut decoder = Decoder::new(Role::Client);
            decoder.allow_rsv1();
            self.decoder = Some(decoder);
            heard = self.head.split_off(end);
        }
        let Some(decoder) = &mut self.decoder else { return };
        let limits = Limits { frame_bytes: 1 << 20, message_bytes: 1 << 20, fragments: 64 };
        let mut input = heard.as_mut_slice();
        loop {
            match decoder.decode(&mut input, &mut self.assembly, &limits) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(violation) => panic!("the server said what it may not: {violation:?}"),
            }
        }
        if !decoder.is_partial() {
            self.assembly.clear();
        }
    }
}

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 8_000))
}

fn byte(rest: &mut &[u8]) -> u8 {
    take(rest, 1).first().copied().unwrap_or_default()
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(count.min(rest.len()));
    *rest = after;
    taken
}
