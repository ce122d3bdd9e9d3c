//! The echo of real shards under any conditions: what comes back is what an encoder would say to each message.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use roadstead_control::NodeId;
use roadstead_engine::counters::Metric;
use roadstead_engine::settings::Settings;
use roadstead_sim::{Client, Conditions, Node, NodeParts, Random, Status, World};
use wsproto::{Opcode, frame_header, mask, push_close, push_frame};

const SEEDS: u64 = 120;
const CLIENTS: u16 = 4;
const REQUEST: &str = "GET /echo HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPT_END: &[u8] = b"\r\n\r\n";

/// A client that says all it has, and reads at its own pace.
struct Talker {
    client: Client,
    says: Vec<u8>,
    written: usize,
    /// What must follow the head of the upgrade's answer.
    expects: Vec<u8>,
    read: Vec<u8>,
    /// How often it reads, per mille.
    reads: usize,
}

impl Talker {
    fn new(world: &World, node: SocketAddr, number: u16, random: &mut Random) -> Self {
        let from = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 9), 1_000 + number));
        let (mut says, mut expects) = (REQUEST.as_bytes().to_vec(), Vec::new());
        for _ in 0..random.within(0..=30) {
            speak(&mut says, &mut expects, random);
        }
        push_close(&mut says, Some(1000), "", Some([9, 8, 7, 6]));
        push_close(&mut expects, Some(1000), "", None);
        let client = world.connect(from, node);
        Self { client, says, written: 0, expects, read: Vec::new(), reads: [20, 500, 1_000][random.below(3)] }
    }

    fn act(&mut self, world: &World, random: &mut Random) {
        if world.status(self.client) != Status::Open {
            return;
        }
        let rest = &self.says[self.written..];
        self.written += world.write(self.client, &rest[..random.within(0..=rest.len())]);
        if random.chance(self.reads) {
            self.read.extend(world.read(self.client, random.within(0..=70_000)));
        }
    }

    /// What was read behind the head of the upgrade's answer.
    fn heard(&self) -> &[u8] {
        let end = self.read.windows(4).position(|window| window == ACCEPT_END);
        end.map_or(&[], |end| &self.read[end + 4..])
    }
}

/// One message, whole or in fragments, or a ping, and what is answered.
fn speak(says: &mut Vec<u8>, expects: &mut Vec<u8>, random: &mut Random) {
    let len_max = [20, 130, 1_100, 5_000][random.below(4)];
    let len = random.within(0..=len_max);
    let opcode = [Opcode::Text, Opcode::Binary][random.below(2)];
    let payload: Vec<u8> = (0..len).map(|_| random.below(128) as u8).collect();
    let key = (random.bits() as u32).to_be_bytes();
    match random.below(10) {
        0 => {
            let payload = &payload[..len.min(125)];
            push_frame(says, Opcode::Ping, payload, Some(key));
            push_frame(expects, Opcode::Pong, payload, None);
        }
        1 | 2 => {
            let cut = random.within(0..=len);
            for (opcode, fin, part) in
                [(opcode, false, &payload[..cut]), (Opcode::Continuation, true, &payload[cut..])]
            {
                says.extend_from_slice(&frame_header(opcode, fin, false, part.len(), Some(key)));
                let start = says.len();
                says.extend_from_slice(part);
                mask::apply(&mut says[start..], key, 0);
            }
            push_frame(expects, opcode, &payload, None);
        }
        _ => {
            push_frame(says, opcode, &payload, Some(key));
            push_frame(expects, opcode, &payload, None);
        }
    }
}

/// Runs one seed; returns how many sends were blocked.
fn run(seed: u64) -> u64 {
    let world = World::new(seed, Conditions::rough(&mut Random::new(seed)));
    let mut random = world.random();
    let address = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 8_000));
    let mut settings = Settings { insecure: true, echo: true, shards: 1, ..Settings::default() };
    settings.limits.connections = u32::from(CLIENTS);
    settings.limits.slow_close_ms = 3_600_000;
    settings.client.handshake_timeout_s = 3_600;
    settings.client.message_timeout_s = 3_600;
    settings.client.close_timeout_s = 3_600;
    let parts = NodeParts { address, settings, stalls: 50, id: NodeId(1), fleet: None, tampers: false };
    let mut node = Node::new(&world, parts);
    let mut talkers: Vec<Talker> =
        (0..CLIENTS).map(|number| Talker::new(&world, address, number, &mut random)).collect();
    for _ in 0..400_000 {
        talkers.iter_mut().for_each(|talker| talker.act(&world, &mut random));
        if node.run() == 0 {
            let step = Duration::from_micros(random.within(1..=2_000) as u64);
            world.advance(step);
        }
        if talkers.iter().all(|talker| world.is_at_end(talker.client)) {
            break;
        }
    }
    for (at, talker) in talkers.iter().enumerate() {
        let (heard, expected) = (talker.heard(), &talker.expects[..]);
        let same = heard.iter().zip(expected).take_while(|(heard, expected)| heard == expected).count();
        assert!(
            heard == expected,
            "seed {seed}, client {at}: {} bytes came, {} expected, {same} agree",
            heard.len(),
            expected.len()
        );
        assert!(world.is_at_end(talker.client), "seed {seed}: client {at} waits for its end");
    }
    node.sum(Metric::BlockedSends)
}

#[test]
fn every_message_comes_back_as_it_was() {
    let blocked: u64 = (0..SEEDS).map(run).sum();
    assert!(blocked > 100, "sends block");
}
