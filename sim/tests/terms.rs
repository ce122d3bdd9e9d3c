//! Subscriptions with tokens that end, on real shards under any conditions: each lasts as long as its last token says and no longer,
//! can begin again as soon as its client is told, and leaves nothing behind.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use roadstead_control::NodeId;
use roadstead_engine::counters::Metric;
use roadstead_engine::settings::{Secret, Settings};
use roadstead_engine::token::{Grant, Signer, mint};
use roadstead_sim::{Client, Conditions, Node, NodeParts, Random, Status, UNIX_MS, World};
use wsproto::{Decoder, Event, Limits, Opcode, Role, push_close, push_frame};

const SEEDS: u64 = 10;
const CLIENTS: u16 = 6;
const CHANNELS: usize = 4;
const GRACE_S: u64 = 3;
/// What delays and stalls, and an idle shard's sleep, may add.
const LATE_S: u64 = 5;
const REQUEST: &str = "GET /connection/websocket HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const LIMITS: Limits = Limits { frame_bytes: 1 << 16, message_bytes: 1 << 16, fragments: 16 };
const SECRET: &str = "thirty-two bytes of simulation..";

/// What a client knows of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    None,
    /// Asked for something with a token that ends then; 0: never.
    Asked {
        ends_at_s: u64,
    },
    /// It has the token that ends then, and may have asked to refresh it with one that ends later.
    Held {
        ends_at_s: u64,
        asked_s: Option<u64>,
    },
    Leaving,
}

struct Subscriber {
    client: Client,
    outgoing: Vec<u8>,
    /// What is not taken apart yet: the head of the upgrade's answer, then frames.
    incoming: Vec<u8>,
    decoder: Decoder,
    assembly: Vec<u8>,
    is_upgraded: bool,
    channels: [Stage; CHANNELS],
    /// The channel of each request.
    asked: BTreeMap<u32, usize>,
    asks: u32,
    ended: u32,
}

impl Subscriber {
    fn new(world: &World, node: SocketAddr, number: u16) -> Self {
        let from = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 9), 1_000 + number));
        let mut subscriber = Self {
            client: world.connect(from, node),
            outgoing: REQUEST.as_bytes().to_vec(),
            incoming: Vec::new(),
            decoder: Decoder::new(Role::Client),
            assembly: Vec::new(),
            is_upgraded: false,
            channels: [Stage::None; CHANNELS],
            asked: BTreeMap::new(),
            asks: 0,
            ended: 0,
        };
        subscriber.ask(CHANNELS, r#""connect":{}"#);
        subscriber
    }

    fn ask(&mut self, channel: usize, request: &str) {
        self.asks += 1;
        self.asked.insert(self.asks, channel);
        let command = format!("{{\"id\":{},{request}}}", self.asks);
        push_frame(&mut self.outgoing, Opcode::Text, command.as_bytes(), Some([1, 2, 3, 4]));
    }

    /// Does something with one of the channels.
    fn act(&mut self, random: &mut Random, now_s: u64) {
        let at = random.below(CHANNELS);
        let channel = format!("$channel-{at}");
        let ends_at_s = if random.chance(100) { 0 } else { now_s + random.within(1..=15) as u64 };
        let grant = Grant { channel: Some(&channel), ends_at_s: Some(ends_at_s), ..Grant::default() };
        let token = mint(&Signer::with_secret(&Secret::new(SECRET)), &grant).expect("signed");
        match self.channels[at] {
            Stage::None => {
                self.channels[at] = Stage::Asked { ends_at_s };
                self.ask(at, &format!(r#""subscribe":{{"channel":"{channel}","token":"{token}"}}"#));
            }
            Stage::Held { ends_at_s: held_s, asked_s: None } if random.chance(500) => {
                self.channels[at] = Stage::Held { ends_at_s: held_s, asked_s: Some(ends_at_s) };
                self.ask(at, &format!(r#""sub_refresh":{{"channel":"{channel}","token":"{token}"}}"#));
            }
            Stage::Held { asked_s: None, .. } if random.chance(200) => {
                self.channels[at] = Stage::Leaving;
                self.ask(at, &format!(r#""unsubscribe":{{"channel":"{channel}"}}"#));
            }
            _ => {}
        }
    }

    fn exchange(&mut self, world: &World, now_s: u64) {
        let written = world.write(self.client, &self.outgoing);
        self.outgoing.drain(..written);
        self.incoming.extend(world.read(self.client, 1 << 16));
        if !self.is_upgraded {
            let Some(end) = self.incoming.windows(4).position(|window| window == b"\r\n\r\n") else { return };
            self.incoming.drain(..end + 4);
            self.is_upgraded = true;
        }
        let mut incoming = std::mem::take(&mut self.incoming);
        let mut rest = &mut incoming[..];
        let (mut decoder, mut assembly) = (
            std::mem::replace(&mut self.decoder, Decoder::new(Role::Client)),
            std::mem::take(&mut self.assembly),
        );
        while let Some(event) = decoder.decode(&mut rest, &mut assembly, &LIMITS).expect("frames") {
            if let Event::Message { payload, .. } = event {
                let text = std::str::from_utf8(payload).expect("UTF-8").to_owned();
                text.lines().for_each(|line| self.hear(line, now_s));
            }
        }
        if !decoder.is_partial() {
            assembly.clear();
        }
        (self.decoder, self.assembly) = (decoder, assembly);
    }

    fn hear(&mut self, message: &str, now_s: u64) {
        if let Some(push) = message.strip_prefix(r#"{"push":{"channel":"$channel-"#) {
            let at: usize = push[..1].parse().expect("a digit");
            assert!(push.contains(r#""unsubscribe":{"code":2501,"#), "{message}");
            let ends_at_s = match self.channels[at] {
                Stage::Asked { ends_at_s } | Stage::Held { ends_at_s, .. } => ends_at_s,
                // It was over before the node heard that it is to be left.
                Stage::Leaving => return,
                Stage::None => panic!("nothing is subscribed: {message}"),
            };
            let over_s = ends_at_s + GRACE_S;
            assert!(ends_at_s > 0 && now_s >= over_s, "too early at {now_s}: {ends_at_s}");
            assert!(now_s <= over_s + LATE_S, "too late at {now_s}: {ends_at_s}");
            self.channels[at] = Stage::None;
            self.ended += 1;
            return;
        }
        let id = message.strip_prefix(r#"{"id":"#).and_then(|rest| rest.split_once(',')).expect("a reply").0;
        let at = self.asked.remove(&id.parse().expect("a number")).expect("an answer to a question");
        if at == CHANNELS {
            return;
        }
        let is_refused = message.contains(r#""error""#);
        self.channels[at] = match self.channels[at] {
            Stage::Asked { ends_at_s } if !is_refused && message.contains(r#""subscribe""#) => {
                assert_eq!(message.contains(r#""expires":true"#), ends_at_s > 0, "{message}");
                Stage::Held { ends_at_s, asked_s: None }
            }
            Stage::Held { asked_s: Some(ends_at_s), .. } if !is_refused => {
                Stage::Held { ends_at_s, asked_s: None }
            }
            Stage::Leaving if !is_refused => Stage::None,
            // A refresh that came too late.
            stage @ (Stage::None | Stage::Asked { .. }) if message.contains(r#""code":103"#) => stage,
            // A token that took too long on its way.
            Stage::Asked { .. } if message.contains(r#""code":110"#) => Stage::None,
            Stage::Held { ends_at_s, .. } if message.contains(r#""code":110"#) => {
                Stage::Held { ends_at_s, asked_s: None }
            }
            stage => panic!("{stage:?}: {message}"),
        };
    }
}

/// Runs one seed; returns how many subscriptions ended.
fn run(seed: u64) -> u32 {
    let world = World::new(seed, Conditions::rough(&mut Random::new(seed)));
    let mut random = world.random();
    let address = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 8_000));
    let mut settings = Settings { shards: random.within(1..=3) as u16, ..Settings::default() };
    settings.limits.connections = u32::from(CLIENTS) * 3;
    settings.client.allow_anonymous = true;
    settings.client.ping_s = 0;
    settings.client.token_grace_s = GRACE_S as u32;
    settings.token.hmac_secret = Some(Secret::new(SECRET));
    let parts = NodeParts { address, settings, stalls: 50, id: NodeId(1), fleet: None, tampers: false };
    let mut node = Node::new(&world, parts);
    let mut clients: Vec<_> = (0..CLIENTS).map(|number| Subscriber::new(&world, address, number)).collect();
    let now_s = || (UNIX_MS + world.now().as_millis() as u64) / 1_000;
    let end_s = now_s() + 60;
    while now_s() < end_s {
        for client in &mut clients {
            if world.status(client.client) != Status::Open {
                assert!(!client.is_upgraded, "seed {seed}: the node has closed a client");
                continue;
            }
            if client.is_upgraded && client.outgoing.is_empty() && random.chance(30) {
                client.act(&mut random, now_s());
            }
            client.exchange(&world, now_s());
        }
        if node.run() == 0 {
            world.advance(Duration::from_micros(random.within(1..=40_000) as u64));
        }
    }
    // Who has lasting ones is left with these; all others have ended, or would be too late.
    for client in &mut clients {
        for (at, stage) in client.channels.iter().enumerate() {
            if let Stage::Held { ends_at_s, asked_s: None } = stage {
                let is_due = *ends_at_s > 0 && ends_at_s + GRACE_S + LATE_S < end_s;
                assert!(!is_due, "seed {seed}: channel {at} should have ended at {ends_at_s}, it is {end_s}");
            }
        }
        push_close(&mut client.outgoing, Some(1_000), "", Some([1, 2, 3, 4]));
    }
    let mut ended = 0;
    for _ in 0..100_000 {
        for client in &mut clients {
            let written = world.write(client.client, &client.outgoing);
            client.outgoing.drain(..written);
            drop(world.read(client.client, 1 << 16));
        }
        if node.run() == 0 {
            world.advance(Duration::from_millis(1));
        }
        if clients.iter().all(|client| world.is_at_end(client.client)) && node.is_vacant() {
            break;
        }
    }
    assert!(node.is_vacant(), "seed {seed}: something is left");
    for client in &clients {
        ended += client.ended;
    }
    assert!(node.sum(Metric::SubscriptionsExpired) >= u64::from(ended));
    ended
}

#[test]
fn subscriptions_last_as_long_as_their_tokens() {
    let ended: u32 = (0..SEEDS).map(run).sum();
    assert!(ended > 50, "subscriptions end: {ended}");
}
