//! The simulated back end keeps the promises of `roadstead_io::Io`, under calm and rough conditions alike.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use roadstead_io::{Arena, Event, Io, Lack, Payload, Socket};
use roadstead_sim::{Client, Conditions, Random, SimIo, Status, World};

const SEEDS: u64 = 200;

fn server() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 8_000))
}

/// The host of back ends that connect.
fn host(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

fn home(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port))
}

/// A back end with what its owner has seen of it.
struct Owner {
    world: World,
    io: SimIo,
    arena: Arena,
    events: Vec<Event>,
    received: BTreeMap<Socket, Vec<u8>>,
}

impl Owner {
    /// An owner whose back end listens.
    fn new(world: &World, slots_max: u32, arena_bytes: usize) -> Self {
        let mut owner = Self::silent(world, slots_max, arena_bytes);
        owner.io.listen_at(server());
        owner
    }

    fn silent(world: &World, slots_max: u32, arena_bytes: usize) -> Self {
        Self {
            world: world.clone(),
            io: world.back_end(host(0), slots_max),
            arena: Arena::new(arena_bytes),
            events: Vec::new(),
            received: BTreeMap::new(),
        }
    }

    /// One wait, after a millisecond; returns its events, and keeps the bytes.
    fn turn(&mut self) -> Vec<Event> {
        self.world.advance(Duration::from_millis(1));
        self.events.clear();
        self.io.wait(&mut self.arena, &mut self.events, None).expect("it cannot fail");
        for event in &self.events {
            if let &Event::Received { socket, start, len } = event {
                self.received.entry(socket).or_default().extend_from_slice(self.arena.received(start, len));
            }
        }
        self.events.clone()
    }

    fn turns(&mut self, turns: usize) -> Vec<Event> {
        (0..turns).flat_map(|_| self.turn()).collect()
    }

    /// Turns until nothing is on its way any more.
    fn settle(&mut self) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            let events = self.turn();
            let quiet = events.is_empty() && self.world.due().is_none();
            all.extend(events);
            if quiet {
                return all;
            }
        }
    }
}

fn calm(slots_max: u32) -> (World, Owner) {
    let world = World::new(1, Conditions::calm());
    let owner = Owner::new(&world, slots_max, 65_536);
    (world, owner)
}

fn accepted(events: &[Event]) -> Socket {
    let mut sockets = events.iter().filter_map(|event| match event {
        Event::Accepted { socket, .. } => Some(*socket),
        _ => None,
    });
    let socket = sockets.next().expect("a connection was accepted");
    assert!(sockets.next().is_none(), "one connection, accepted once: {events:?}");
    socket
}

fn opened(world: &World, owner: &mut Owner) -> (Client, Socket) {
    let client = world.connect(home(1), server());
    let socket = accepted(&owner.turns(3));
    (client, socket)
}

fn numbered(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

#[test]
fn a_connection_is_accepted_with_its_address() {
    let (world, mut owner) = calm(4);
    let client = world.connect(home(77), server());
    assert_eq!(world.status(client), Status::Connecting);
    assert_eq!(owner.turn(), [Event::Accepted { socket: Socket(0), peer: home(77), listener: 0 }]);
    assert_eq!((world.status(client), owner.io.sockets()), (Status::Open, 1));
}

#[test]
fn nobody_listens() {
    let world = World::new(1, Conditions::calm());
    let client = world.connect(home(1), server());
    world.advance(Duration::from_secs(1));
    assert_eq!(world.status(client), Status::Refused);
}

#[test]
fn bytes_and_the_end_arrive_in_order() {
    let (world, mut owner) = calm(4);
    let (client, socket) = opened(&world, &mut owner);
    assert_eq!(world.write(client, b"hello"), 5);
    world.finish(client);
    let len = 5;
    assert_eq!(owner.turn(), [Event::Received { socket, start: 0, len }, Event::PeerClosed { socket }]);
    assert_eq!(owner.received[&socket], b"hello");
    owner.io.send(socket, Payload::from(b"still here".to_vec()));
    assert_eq!(owner.turn(), [], "the end is told once");
    assert_eq!(world.read(client, 100), b"still here");
    owner.io.close(socket);
    assert_eq!(owner.turn(), [Event::Closed { socket }]);
    world.advance(Duration::from_millis(1));
    assert!(world.is_at_end(client));
    assert_eq!(world.status(client), Status::Open);
    world.close(client);
    assert_eq!(world.held(), (0, 0));
}

#[test]
fn a_send_that_does_not_fit_blocks_and_drains() {
    let (world, mut owner) = calm(4);
    let (client, socket) = opened(&world, &mut owner);
    let bytes = numbered(200_000);
    owner.io.send(socket, Payload::from(bytes.clone()));
    let events = owner.turn();
    let rest = 200_000 - 65_536;
    assert_eq!(events, [Event::Blocked { socket, rest }], "the first write took one buffer");
    assert_eq!(owner.turns(10), [], "the client does not read");
    let mut read = Vec::new();
    let mut drained = 0;
    for _ in 0..50 {
        read.extend(world.read(client, 10_000));
        drained += owner.turn().iter().filter(|event| **event == Event::Drained { socket }).count();
    }
    assert_eq!(drained, 1);
    assert!(read == bytes, "what was sent is what arrives");
}

#[test]
fn a_closed_socket_drops_what_is_blocked() {
    let (world, mut owner) = calm(4);
    let (client, socket) = opened(&world, &mut owner);
    owner.io.send(socket, Payload::from(numbered(200_000)));
    owner.turn();
    owner.io.close(socket);
    assert_eq!(owner.turn(), [Event::Closed { socket }]);
    let mut read = Vec::new();
    for _ in 0..50 {
        read.extend(world.read(client, 10_000));
        world.advance(Duration::from_millis(1));
    }
    assert!(world.is_at_end(client));
    assert!(read.len() < 200_000 && numbered(200_000).starts_with(&read), "{} bytes", read.len());
}

#[test]
fn a_paused_socket_receives_nothing_and_presses_back() {
    let (world, mut owner) = calm(4);
    let (client, socket) = opened(&world, &mut owner);
    owner.io.pause(socket);
    let bytes = numbered(300_000);
    let mut written = 0;
    for _ in 0..20 {
        written += world.write(client, &bytes[written..]);
        assert_eq!(owner.turn(), []);
    }
    assert_eq!(written, 131_072, "one buffer at each end");
    owner.io.resume(socket);
    for _ in 0..20 {
        written += world.write(client, &bytes[written..]);
        owner.turn();
    }
    assert!(owner.received[&socket] == bytes);
}

#[test]
fn a_reset_fails_the_socket_until_it_is_closed() {
    let (world, mut owner) = calm(4);
    let (client, socket) = opened(&world, &mut owner);
    world.reset(client);
    assert_eq!(owner.turn(), [Event::Failed { socket, errno: libc::ECONNRESET }]);
    owner.io.send(socket, Payload::from(vec![1]));
    assert_eq!(owner.turns(3), []);
    assert_eq!(owner.io.sockets(), 1);
    owner.io.close(socket);
    assert_eq!(owner.turn(), [Event::Closed { socket }]);
    assert_eq!((owner.io.sockets(), world.held()), (0, (0, 0)));
}

#[test]
fn a_client_that_closed_answers_with_a_reset() {
    let (world, mut owner) = calm(4);
    let (client, socket) = opened(&world, &mut owner);
    world.close(client);
    assert_eq!(owner.turn(), [Event::PeerClosed { socket }]);
    owner.io.send(socket, Payload::from(b"too late".to_vec()));
    assert_eq!(owner.turns(2), [Event::Failed { socket, errno: libc::ECONNRESET }]);
}

#[test]
fn a_vanished_client_is_silent() {
    let (world, mut owner) = calm(4);
    let (client, socket) = opened(&world, &mut owner);
    world.vanish(client);
    let _lost = world.write(client, b"nobody hears this");
    world.close(client);
    assert_eq!(owner.turns(1_000), []);
    owner.io.close(socket);
    assert_eq!(owner.turn(), [Event::Closed { socket }]);
    assert_eq!(world.held(), (0, 0));
}

#[test]
fn accepting_pauses_while_no_slot_is_free() {
    let (world, mut owner) = calm(2);
    let clients: Vec<Client> = (0..3).map(|port| world.connect(home(port), server())).collect();
    assert_eq!(owner.turns(5).len(), 2);
    world.close(clients[0]);
    let events = owner.turn();
    let [Event::PeerClosed { socket }] = events[..] else { panic!("{events:?}") };
    owner.io.close(socket);
    let peer = home(2);
    assert_eq!(owner.turn(), [Event::Closed { socket }, Event::Accepted { socket, peer, listener: 0 }]);
}

#[test]
fn stopping_refuses_the_next_and_keeps_the_accepted() {
    let (world, mut owner) = calm(4);
    let (client, socket) = opened(&world, &mut owner);
    let waiting = world.connect(home(2), server());
    world.advance(Duration::from_millis(1));
    owner.io.stop_listening(0);
    let late = world.connect(home(3), server());
    let taken = accepted(&owner.turns(3));
    assert_eq!((world.status(waiting), world.status(late)), (Status::Open, Status::Refused));
    for (client, socket) in [(client, socket), (waiting, taken)] {
        assert_eq!(world.write(client, b"x"), 1);
        assert_eq!(owner.turn(), [Event::Received { socket, start: 0, len: 1 }]);
    }
}

#[test]
fn who_finds_no_slot_when_listening_stops_is_lost() {
    let (world, mut owner) = calm(2);
    let clients: Vec<Client> = (0..3).map(|port| world.connect(home(port), server())).collect();
    world.advance(Duration::from_millis(1));
    owner.io.stop_listening(0);
    let events = owner.turns(3);
    assert_eq!(events.len(), 3, "{events:?}");
    assert!(events.contains(&Event::AcceptFailed { lack: Lack::Slots }));
    let mut fates: Vec<Status> = clients.iter().map(|client| world.status(*client)).collect();
    assert_eq!(fates.pop(), Some(Status::Reset));
    assert_eq!(fates, [Status::Open, Status::Open]);
}

#[test]
fn listeners_stop_one_by_one_and_keep_their_numbers() {
    let (world, mut owner) = calm(8);
    let addresses = [server(), SocketAddr::from((Ipv4Addr::LOCALHOST, 8_001)), home(9)];
    assert_eq!([1, 2].map(|at| owner.io.listen_at(addresses[at])), [1, 2]);
    let waiting = world.connect(home(1), addresses[1]);
    world.advance(Duration::from_millis(1));
    owner.io.stop_listening(1);
    owner.io.stop_listening(1);
    owner.io.stop_listening(7);
    let expected = Event::Accepted { socket: Socket(0), peer: home(1), listener: 1 };
    assert_eq!((owner.turn(), world.status(waiting)), (vec![expected], Status::Open));
    assert_eq!((owner.io.listen_at(addresses[1]), owner.io.listeners()), (3, 4));
    for (listener, address) in [(0, addresses[0]), (3, addresses[1]), (2, addresses[2])] {
        let _client = world.connect(home(2), address);
        let events = owner.turns(3);
        let at = events.iter().find_map(|event| match event {
            Event::Accepted { listener, .. } => Some(*listener),
            _ => None,
        });
        assert_eq!(at, Some(listener), "{events:?}");
    }
}

#[test]
fn back_ends_connect_to_each_other() {
    let (world, mut owner) = calm(4);
    let mut peer = Owner::silent(&world, 1, 1_000);
    let there = peer.io.connect(Some(home(5)), server()).expect("a free slot");
    assert!(peer.io.connect(None, server()).is_err(), "out of slots");
    let here = accepted(&owner.turn());
    assert_eq!(peer.turn(), [Event::Connected { socket: there }]);
    peer.io.send(there, Payload::from(b"between nodes".to_vec()));
    peer.io.shutdown(there);
    owner.turn();
    assert_eq!(owner.received[&here], b"between nodes");

    owner.io.stop_listening(0);
    peer.io.close(there);
    peer.turn();
    let refused = peer.io.connect(None, home(9)).expect("a free slot");
    assert_eq!(peer.turns(2), [Event::Failed { socket: refused, errno: libc::ECONNREFUSED }]);
}

#[test]
fn a_wake_ends_one_wait() {
    let (_world, mut owner) = calm(1);
    let wait = |owner: &mut Owner| {
        owner.events.clear();
        owner.io.wait(&mut owner.arena, &mut owner.events, None).expect("it cannot fail");
        owner.events.clone()
    };
    assert_eq!((wait(&mut owner), owner.io.waited().has_events), (vec![], false));
    let wake = owner.io.wake();
    wake();
    wake();
    assert_eq!((wait(&mut owner), owner.io.waited().has_events), (vec![Event::Woken], true));
    assert_eq!(wait(&mut owner), []);
}

#[test]
#[should_panic(expected = "a second send")]
fn two_sends_in_a_turn_break_the_contract() {
    let (world, mut owner) = calm(4);
    let (_client, socket) = opened(&world, &mut owner);
    owner.io.send(socket, Payload::from(vec![1]));
    owner.io.send(socket, Payload::from(vec![2]));
}

#[test]
#[should_panic(expected = "blocked")]
fn a_send_to_a_blocked_socket_breaks_the_contract() {
    let (world, mut owner) = calm(4);
    let (_client, socket) = opened(&world, &mut owner);
    owner.io.send(socket, Payload::from(numbered(200_000)));
    owner.turn();
    owner.io.send(socket, Payload::from(vec![2]));
}

/// What the echo knows of a socket.
#[derive(Default)]
struct Echo {
    blocked: bool,
    sent_bytes: usize,
    peer_closed: bool,
    finished: bool,
}

/// An echo of whole streams under rough conditions; returns everything that was seen, for comparison.
fn echo_under(seed: u64) -> Vec<String> {
    let conditions = Conditions::rough(&mut Random::new(seed));
    let world = World::new(seed, conditions);
    let mut random = world.random();
    let mut owner = Owner::new(&world, 8, [64, 4_096, 65_536][random.below(3)]);
    let streams: Vec<Vec<u8>> = (0..5).map(|_| numbered(random.within(0..=5_000))).collect();
    let clients: Vec<Client> = (0..5).map(|port| world.connect(home(port), server())).collect();
    let (mut written, mut finished) = ([0; 5], [false; 5]);
    let mut read: [Vec<u8>; 5] = Default::default();
    let mut echoes: BTreeMap<Socket, Echo> = BTreeMap::new();
    let mut transcript = Vec::new();
    for _ in 0..200_000 {
        for (at, &client) in clients.iter().enumerate() {
            if world.status(client) != Status::Open {
                continue;
            }
            let rest = &streams[at][written[at]..];
            if !finished[at] {
                written[at] += world.write(client, &rest[..random.within(0..=rest.len())]);
            }
            if !finished[at] && written[at] == streams[at].len() {
                finished[at] = true;
                world.finish(client);
            }
            let bytes_max = random.within(0..=3_000);
            read[at].extend(world.read(client, bytes_max));
        }
        for event in owner.turn() {
            transcript.push(format!("{event:?}"));
            match event {
                Event::Accepted { socket, .. } => drop(echoes.insert(socket, Echo::default())),
                Event::Blocked { socket, .. } => echoes.entry(socket).or_default().blocked = true,
                Event::Drained { socket } => echoes.entry(socket).or_default().blocked = false,
                Event::PeerClosed { socket } => echoes.entry(socket).or_default().peer_closed = true,
                Event::Received { .. } => {}
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        for (&socket, echo) in echoes.iter_mut().filter(|(_, echo)| !echo.blocked && !echo.finished) {
            let bytes = owner.received.get(&socket).map_or(&[][..], Vec::as_slice);
            if echo.sent_bytes < bytes.len() {
                owner.io.send(socket, Payload::from(bytes[echo.sent_bytes..].to_vec()));
                echo.sent_bytes = bytes.len();
            } else if echo.peer_closed {
                owner.io.shutdown(socket);
                echo.finished = true;
            }
        }
        if clients.iter().all(|&client| world.is_at_end(client)) {
            break;
        }
    }
    for (at, &client) in clients.iter().enumerate() {
        assert!(world.is_at_end(client), "seed {seed}: client {at} waits for its end");
        assert!(read[at] == streams[at], "seed {seed}: client {at} read {} bytes", read[at].len());
        world.close(client);
    }
    for &socket in echoes.keys() {
        owner.io.close(socket);
    }
    let closed = owner.settle();
    assert_eq!(closed.len(), 5, "seed {seed}: {closed:?}");
    assert_eq!((world.held(), owner.io.sockets()), ((0, 0), 0), "seed {seed}");
    transcript
}

#[test]
fn streams_survive_any_conditions() {
    for seed in 0..SEEDS {
        echo_under(seed);
    }
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..20 {
        assert_eq!(echo_under(seed), echo_under(seed), "seed {seed}");
    }
    assert_ne!(echo_under(1), echo_under(2));
}

#[test]
fn listeners_that_share_an_address_share_its_connections() {
    let world = World::new(3, Conditions::calm());
    let mut owners = [Owner::new(&world, 1_000, 64), Owner::new(&world, 1_000, 64)];
    for port in 0..400 {
        let _client = world.connect(home(port), server());
    }
    let counts = owners.each_mut().map(|owner| owner.turns(2).len());
    assert_eq!(counts.iter().sum::<usize>(), 400);
    assert!(counts.iter().all(|count| (150..=250).contains(count)), "{counts:?}");
}
