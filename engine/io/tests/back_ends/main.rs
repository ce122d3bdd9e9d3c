//! One suite for every back end: what the owner of an `Io` may rely on, seen from both ends of real sockets.

mod listeners;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use roadstead_io::{
    Arena, Choice, Epoll, Event, Io, ListenOptions, Options, Payload, Socket, Uring, bind, select,
};

use listeners::*;

/// Longer than anything here takes on the slowest machine; only a defect waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
const ARENA_BYTES: usize = 256 * 1024;

/// Makes a back end with options changed by the test.
type Make = fn(Options) -> Option<Box<dyn Io>>;

fn epoll(options: Options) -> Option<Box<dyn Io>> {
    Some(Box::new(Epoll::new(&options).expect("epoll")))
}

/// The test's thread gets a descriptor table of its own.
fn epoll_own_table(options: Options) -> Option<Box<dyn Io>> {
    let options = Options { own_descriptor_table: true, ..options };
    Some(Box::new(Epoll::new(&options).expect("epoll")))
}

fn uring(options: Options) -> Option<Box<dyn Io>> {
    if let Err(unavailable) = select(Choice::Uring) {
        eprintln!("skipped: {unavailable}");
        return None;
    }
    Some(Box::new(Uring::new(&options).expect("io_uring")))
}

/// So few sockets per ring that every test needs several.
fn uring_group(options: Options) -> Option<Box<dyn Io>> {
    uring(Options { ring_sockets: Some(2), ..options })
}

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod on_epoll { $(#[test] fn $test() { super::$test(super::epoll); })* }
        mod on_epoll_with_an_own_table { $(#[test] fn $test() { super::$test(super::epoll_own_table); })* }
        mod on_uring { $(#[test] fn $test() { super::$test(super::uring); })* }
        mod on_a_group_of_rings { $(#[test] fn $test() { super::$test(super::uring_group); })* }
    };
}

suite!(
    accepts_name_the_peer,
    small_messages_come_back,
    a_large_message_comes_back_whole,
    a_blocked_send_goes_on_by_itself,
    a_half_close_follows_a_blocked_send,
    many_sockets_at_once,
    a_paused_socket_is_silent_until_resumed,
    a_socket_may_be_paused_and_closed_while_it_waits_its_turn,
    the_end_comes_after_the_bytes,
    a_half_closed_peer_still_hears,
    a_reset_fails_once,
    a_send_after_the_peer_is_gone_fails_once,
    slots_are_used_again,
    a_closed_blocked_send_gives_its_slot_back,
    a_waker_ends_a_wait,
    whatever_comes_ends_a_sleep,
    the_longest_time_is_a_time,
    a_refused_connection_fails,
    connections_come_from_the_source_given,
    a_connection_is_closed_while_it_is_tried,
    after_stop_listening_nobody_gets_in,
    who_waits_when_listening_stops_is_served,
    accepts_in_flight_are_told_when_listening_stops,
    a_table_with_just_enough_slots_takes_all_who_wait,
    who_finds_no_slot_when_listening_stops_is_lost,
    a_full_listener_is_closed_at_once,
    other_listeners_go_on,
    what_comes_while_listening_stops_is_not_slept_over,
    a_full_table_takes_the_next_when_a_slot_is_free,
    connect_knows_a_full_table,
    several_listeners_have_numbers,
    a_flood_starves_nobody,
    a_wait_without_work_ends_in_time,
    a_small_arena_is_enough,
    payloads_are_let_go,
    an_answer_may_lie_in_the_arena,
    a_slow_reader_keeps_no_arena,
);

/// A back end with its arena, and the bytes that arrived at each socket.
struct Rig {
    io: Box<dyn Io>,
    arena: Arena,
    events: Vec<Event>,
    /// Events not yet looked at, oldest first.
    unseen: std::collections::VecDeque<Event>,
    received: std::collections::HashMap<Socket, Vec<u8>>,
}

impl Rig {
    fn new(make: Make, sockets_max: u32) -> Option<Self> {
        Some(Self {
            io: make(Options::new(sockets_max))?,
            arena: Arena::new(ARENA_BYTES),
            events: Vec::new(),
            unseen: Default::default(),
            received: Default::default(),
        })
    }

    fn listen(&mut self, at: &str) -> SocketAddr {
        let listener = bind(at.parse().expect("an address"), &ListenOptions::default()).expect("a listener");
        let address = listener.local_addr();
        self.io.listen(listener).expect("listening");
        address
    }

    fn turn(&mut self, timeout: Duration) {
        self.events.clear();
        self.io.wait(&mut self.arena, &mut self.events, Some(timeout)).expect("the back end works");
        for event in &self.events {
            if let Event::Received { socket, start, len } = *event {
                assert!(len > 0);
                self.received.entry(socket).or_default().extend_from_slice(self.arena.received(start, len));
            }
            self.unseen.push_back(*event);
        }
    }

    /// Turns until an event is wanted; those before it are forgotten.
    fn until<T>(&mut self, what: &str, want: impl Fn(Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(event) = self.unseen.pop_front() {
                if let Some(wanted) = want(event) {
                    return wanted;
                }
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            self.turn(Duration::from_millis(50));
        }
    }

    fn accepted(&mut self) -> (Socket, SocketAddr, u16) {
        self.until("a connection", |event| match event {
            Event::Accepted { socket, peer, listener } => Some((socket, peer, listener)),
            _ => None,
        })
    }

    fn pair(&mut self, address: SocketAddr) -> (TcpStream, Socket) {
        let client = client(address);
        let (socket, peer, _) = self.accepted();
        assert_eq!(peer, client.local_addr().expect("bound"));
        (client, socket)
    }

    fn closed(&mut self, socket: Socket) {
        self.io.close(socket);
        self.until("Closed", |event| (event == Event::Closed { socket }).then_some(()));
        self.received.remove(&socket);
    }

    fn bytes(&mut self, socket: Socket, len: usize) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while self.received.get(&socket).map_or(0, Vec::len) < len {
            assert!(Instant::now() < deadline, "waited in vain for {len} bytes");
            self.turn(Duration::from_millis(50));
        }
        self.received.remove(&socket).unwrap_or_default()
    }

    /// Sleeps without looking up until an event is wanted.
    fn sleep_until(&mut self, want: impl Fn(&Event) -> bool) -> Event {
        let started = Instant::now();
        loop {
            while let Some(event) = self.unseen.pop_front() {
                if want(&event) {
                    return event;
                }
            }
            self.turn(2 * PATIENCE);
            assert!(started.elapsed() < PATIENCE, "slept through something");
        }
    }

    /// Turns without an end in sight, collecting what comes.
    fn idle_turns(&mut self, turns: usize) -> Vec<Event> {
        for _ in 0..turns {
            self.turn(Duration::from_millis(5));
        }
        self.unseen.drain(..).collect()
    }
}

fn client(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).expect("connected");
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    client.set_write_timeout(Some(PATIENCE)).expect("an option");
    client.set_nodelay(true).expect("an option");
    client
}

fn read_exactly(client: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    client.read_exact(&mut bytes).expect("all bytes");
    bytes
}

fn pattern(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as u8).collect()
}

/// Closes with a reset instead of an end.
fn reset(client: TcpStream) {
    // Unread bytes at a close make the kernel send a reset; so does closing with bytes in flight to us.
    drop(client);
}

fn accepts_name_the_peer(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    let (_client, socket) = rig.pair(address);
    assert!(socket.0 < 16);
    assert_eq!(rig.io.sockets(), 1);
}

fn small_messages_come_back(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    let (mut client, socket) = rig.pair(address);
    for round in 0..50_u32 {
        let message = pattern(1 + round as usize * 7, round);
        client.write_all(&message).expect("written");
        let received = rig.bytes(socket, message.len());
        assert_eq!(received, message);
        rig.io.send(socket, Payload::from(received));
        rig.turn(Duration::ZERO);
        assert_eq!(read_exactly(&mut client, message.len()), message);
    }
    rig.io.send(socket, Payload::from(Vec::new()));
    rig.turn(Duration::ZERO);
    rig.closed(socket);
    assert_eq!(client.read(&mut [0; 8]).expect("the end"), 0);
}

fn a_large_message_comes_back_whole(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    let (mut client, socket) = rig.pair(address);
    let message = pattern(1 << 20, 3);
    let sent = message.clone();
    let peer = std::thread::spawn(move || {
        client.write_all(&sent).expect("written");
        read_exactly(&mut client, sent.len())
    });
    let received = rig.bytes(socket, message.len());
    assert!(received == message, "bytes differ on the way in");
    rig.io.send(socket, Payload::from(received));
    while !peer.is_finished() {
        rig.turn(Duration::from_millis(5));
    }
    assert!(peer.join().expect("no panic") == message, "bytes differ on the way out");
}

fn a_blocked_send_goes_on_by_itself(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    let (mut client, socket) = rig.pair(address);
    for round in 0..3 {
        let buffer = Rc::new(pattern(24 << 20, round));
        let (start, len) = (1_000, buffer.len() - 2_000);
        rig.io.send(socket, Payload::new(Rc::clone(&buffer), start, len));
        let rest = rig.until("Blocked", |event| match event {
            Event::Blocked { socket: blocked, rest } if blocked == socket => Some(rest),
            Event::Drained { .. } => panic!("drained before it was blocked"),
            _ => None,
        });
        assert!(rest > 0 && (rest as usize) < len);
        assert_eq!(Rc::strong_count(&buffer), 1, "the shared buffer is free as soon as it is blocked");
        assert!(!rig.idle_turns(5).contains(&Event::Drained { socket }), "nobody has read yet");
        let reader = std::thread::spawn(move || {
            let bytes = read_exactly(&mut client, len);
            (client, bytes)
        });
        rig.until("Drained", |event| (event == Event::Drained { socket }).then_some(()));
        let (returned, bytes) = reader.join().expect("no panic");
        assert!(bytes == buffer[start..start + len], "bytes differ");
        client = returned;
        rig.io.send(socket, Payload::from(b"after".to_vec()));
        rig.turn(Duration::ZERO);
        assert_eq!(read_exactly(&mut client, 5), b"after");
    }
}

fn a_half_close_follows_a_blocked_send(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    for len in [10, 24 << 20] {
        let (mut client, socket) = rig.pair(address);
        let message = pattern(len, 9);
        rig.io.send(socket, Payload::from(message.clone()));
        rig.io.shutdown(socket);
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).expect("bytes and an end");
            client.write_all(b"still heard").expect("written");
            (client, bytes)
        });
        assert_eq!(rig.bytes(socket, 11), b"still heard");
        let (client, bytes) = reader.join().expect("no panic");
        assert!(bytes == message, "bytes differ");
        drop(client);
        rig.until("PeerClosed", |event| (event == Event::PeerClosed { socket }).then_some(()));
        rig.closed(socket);
    }
}

fn many_sockets_at_once(make: Make) {
    const COUNT: usize = 500;
    let Some(mut rig) = Rig::new(make, COUNT as u32) else { return };
    let address = rig.listen("127.0.0.1:0");
    let mut pairs = Vec::new();
    for _ in 0..COUNT {
        pairs.push(rig.pair(address));
    }
    assert_eq!(rig.io.sockets(), COUNT);
    let mut slots: Vec<u32> = pairs.iter().map(|(_, socket)| socket.0).collect();
    slots.sort_unstable();
    assert_eq!(slots, (0..COUNT as u32).collect::<Vec<_>>(), "slots are dense");
    for round in 0..3_u32 {
        for (at, (client, _)) in pairs.iter_mut().enumerate() {
            client.write_all(&pattern(100, at as u32 + round)).expect("written");
        }
        for (at, (_, socket)) in pairs.iter().enumerate() {
            let received = rig.bytes(*socket, 100);
            assert_eq!(received, pattern(100, at as u32 + round));
        }
        let shared = Rc::new(pattern(300, round));
        for (_, socket) in &pairs {
            rig.io.send(*socket, Payload::new(Rc::clone(&shared), 100, 200));
        }
        rig.turn(Duration::ZERO);
        for (client, _) in &mut pairs {
            assert_eq!(read_exactly(client, 200), shared[100..]);
        }
        assert_eq!(Rc::strong_count(&shared), 1);
    }
    for (_, socket) in &pairs {
        rig.io.close(*socket);
    }
    for _ in 0..COUNT {
        rig.until("Closed", |event| matches!(event, Event::Closed { .. }).then_some(()));
    }
    assert_eq!(rig.io.sockets(), 0);
    for (client, _) in &mut pairs {
        assert_eq!(client.read(&mut [0; 1]).expect("the end"), 0);
    }
}

fn a_paused_socket_is_silent_until_resumed(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    let (mut client, socket) = rig.pair(address);
    rig.io.pause(socket);
    client.write_all(b"later").expect("written");
    assert_eq!(rig.idle_turns(10), [], "paused");
    rig.io.resume(socket);
    assert_eq!(rig.bytes(socket, 5), b"later");
    // Without new bytes a resume brings nothing, and a further pause holds.
    rig.io.pause(socket);
    rig.io.resume(socket);
    rig.unseen.clear();
    assert_eq!(rig.idle_turns(3), []);
    rig.io.pause(socket);
    client.write_all(b"and the end").expect("written");
    client.shutdown(Shutdown::Write).expect("half-closed");
    assert_eq!(rig.idle_turns(5), []);
    rig.io.resume(socket);
    rig.until("PeerClosed", |event| (event == Event::PeerClosed { socket }).then_some(()));
    assert_eq!(rig.bytes(socket, 0), b"and the end");
}

fn a_socket_may_be_paused_and_closed_while_it_waits_its_turn(make: Make) {
    let Some(mut rig) = Rig::new(make, 3) else { return };
    // Room for one receive: of several readable sockets, all but one have to wait.
    rig.arena = Arena::new(1_024);
    let address = rig.listen("127.0.0.1:0");
    let mut pairs: Vec<_> = (0..3).map(|_| rig.pair(address)).collect();
    for (client, _) in &mut pairs {
        client.write_all(&pattern(4_096, 1)).expect("written");
    }
    let first = rig.until("Received", |event| match event {
        Event::Received { socket, .. } => Some(socket),
        _ => None,
    });
    let others: Vec<Socket> = pairs.iter().map(|(_, socket)| *socket).filter(|it| *it != first).collect();
    rig.io.pause(first);
    rig.io.pause(others[0]);
    rig.closed(others[1]);
    rig.unseen.clear();
    assert!(rig.idle_turns(5).is_empty(), "one paused, one closed");
    // The slot that was waiting is used again by somebody who is silent.
    let (mut fresh, socket) = rig.pair(address);
    assert_eq!(socket, others[1]);
    assert!(rig.idle_turns(5).is_empty(), "nothing of the former socket reaches its slot");
    fresh.write_all(b"mine").expect("written");
    assert_eq!(rig.bytes(socket, 4), b"mine");
    rig.io.resume(others[0]);
    assert_eq!(rig.bytes(others[0], 4_096), pattern(4_096, 1));
}

fn the_end_comes_after_the_bytes(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    for len in [1, 2_048, 8_192, 65_536, 300_000] {
        let (mut client, socket) = rig.pair(address);
        let message = pattern(len, 5);
        client.write_all(&message).expect("written");
        client.shutdown(Shutdown::Write).expect("half-closed");
        rig.until("PeerClosed", |event| (event == Event::PeerClosed { socket }).then_some(()));
        assert!(rig.received.remove(&socket).expect("bytes") == message, "all {len} bytes before the end");
        assert!(rig.idle_turns(3).is_empty(), "the end comes once");
        rig.closed(socket);
    }
}

fn a_half_closed_peer_still_hears(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    let (mut client, socket) = rig.pair(address);
    client.shutdown(Shutdown::Write).expect("half-closed");
    rig.until("PeerClosed", |event| (event == Event::PeerClosed { socket }).then_some(()));
    rig.io.send(socket, Payload::from(b"goodbye".to_vec()));
    rig.turn(Duration::ZERO);
    rig.closed(socket);
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).expect("bytes and an end");
    assert_eq!(bytes, b"goodbye");
}

fn a_reset_fails_once(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    let (client, socket) = rig.pair(address);
    rig.io.send(socket, Payload::from(b"unread".to_vec()));
    rig.turn(Duration::ZERO);
    let mut peeked = [0; 6];
    while client.peek(&mut peeked).expect("bytes") < 6 {}
    reset(client);
    let errno = rig.until("Failed", |event| match event {
        Event::Failed { socket: failed, errno } if failed == socket => Some(errno),
        Event::PeerClosed { .. } => panic!("a reset is no end"),
        _ => None,
    });
    assert_eq!(errno, libc::ECONNRESET);
    rig.io.send(socket, Payload::from(b"in vain".to_vec()));
    assert!(rig.idle_turns(3).is_empty(), "it fails once");
    rig.closed(socket);
    assert_eq!(rig.io.sockets(), 0);
}

fn a_send_after_the_peer_is_gone_fails_once(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    let (client, socket) = rig.pair(address);
    drop(client);
    rig.until("PeerClosed", |event| (event == Event::PeerClosed { socket }).then_some(()));
    // The first is answered by a reset, the next finds the socket broken.
    rig.io.send(socket, Payload::from(b"one".to_vec()));
    rig.until("Failed", |event| matches!(event, Event::Failed { .. }).then_some(()));
    rig.io.send(socket, Payload::from(b"two".to_vec()));
    assert!(rig.idle_turns(3).is_empty(), "it fails once");
    rig.closed(socket);
}

fn slots_are_used_again(make: Make) {
    let Some(mut rig) = Rig::new(make, 4) else { return };
    let address = rig.listen("127.0.0.1:0");
    for round in 0..50_u32 {
        let (mut client, socket) = rig.pair(address);
        client.write_all(&pattern(64, round)).expect("written");
        assert_eq!(rig.bytes(socket, 64), pattern(64, round));
        if round % 2 == 0 {
            drop(client);
        }
        rig.closed(socket);
        assert_eq!(rig.io.sockets(), 0);
    }
}

fn a_closed_blocked_send_gives_its_slot_back(make: Make) {
    let Some(mut rig) = Rig::new(make, 2) else { return };
    let address = rig.listen("127.0.0.1:0");
    for _ in 0..5 {
        let (client, socket) = rig.pair(address);
        rig.io.send(socket, Payload::from(vec![7; 24 << 20]));
        rig.until("Blocked", |event| matches!(event, Event::Blocked { .. }).then_some(()));
        rig.closed(socket);
        assert_eq!(rig.idle_turns(2), []);
        drop(client);
    }
    // Closed in the turn of the send, before the back end knows that it blocks.
    let (_client, socket) = rig.pair(address);
    rig.io.send(socket, Payload::from(vec![7; 24 << 20]));
    rig.closed(socket);
    assert_eq!(rig.io.sockets(), 0);
}

fn a_waker_ends_a_wait(make: Make) {
    let Some(mut rig) = Rig::new(make, 4) else { return };
    let waker = rig.io.waker();
    for round in 0..20 {
        let waker = waker.clone();
        let other = std::thread::spawn(move || {
            if round % 2 == 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
            waker.wake();
            waker.wake();
        });
        let started = Instant::now();
        loop {
            rig.turn(PATIENCE);
            if rig.unseen.drain(..).any(|event| event == Event::Woken) {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "slept through a wake");
        }
        other.join().expect("no panic");
        // The second wake may or may not have been a new one.
        rig.turn(Duration::ZERO);
        rig.unseen.clear();
    }
    waker.wake();
    rig.turn(PATIENCE);
    assert_eq!(rig.unseen.drain(..).collect::<Vec<_>>(), [Event::Woken], "woken before it slept");
    assert_eq!(rig.idle_turns(2), []);
}

/// Other tests wait a little at a time; here a lost wake-up would be slept through.
fn whatever_comes_ends_a_sleep(make: Make) {
    let Some(mut rig) = Rig::new(make, 8) else { return };
    let address = rig.listen("127.0.0.1:0");
    // In a group of small rings these are of several rings.
    for _ in 0..6 {
        let dialling = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(3));
            client(address)
        });
        let Event::Accepted { socket, .. } = rig.sleep_until(|it| matches!(it, Event::Accepted { .. }))
        else {
            return;
        };
        let peer = dialling.join().expect("no panic");
        let writing = soon(peer, |peer| peer.write_all(b"bytes").expect("written"));
        rig.sleep_until(|it| matches!(it, Event::Received { .. }));
        rig.io.send(socket, Payload::from(vec![1; 24 << 20]));
        rig.sleep_until(|it| matches!(it, Event::Blocked { .. }));
        let reading = soon(writing.join().expect("no panic"), |peer| drop(read_exactly(peer, 24 << 20)));
        rig.sleep_until(|it| matches!(it, Event::Drained { .. }));
        let ending = soon(reading.join().expect("no panic"), |peer| {
            peer.shutdown(Shutdown::Write).expect("half-closed");
        });
        rig.sleep_until(|it| matches!(it, Event::PeerClosed { .. }));
        ending.join().expect("no panic");
    }
}

/// Does something at the far end when this one sleeps, most likely.
fn soon(mut peer: TcpStream, act: fn(&mut TcpStream)) -> std::thread::JoinHandle<TcpStream> {
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(3));
        act(&mut peer);
        peer
    })
}

fn the_longest_time_is_a_time(make: Make) {
    let Some(mut rig) = Rig::new(make, 4) else { return };
    let waker = rig.io.waker();
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(3));
        waker.wake();
    });
    rig.turn(Duration::MAX);
    assert!(rig.unseen.contains(&Event::Woken));
    other.join().expect("no panic");
}

fn a_refused_connection_fails(make: Make) {
    let Some(mut rig) = Rig::new(make, 4) else { return };
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let socket = rig.io.connect(None, nobody).expect("started");
    let errno = rig.until("Failed", |event| match event {
        Event::Failed { socket: failed, errno } if failed == socket => Some(errno),
        Event::Connected { .. } => panic!("nobody listens there"),
        _ => None,
    });
    assert_eq!(errno, libc::ECONNREFUSED);
    rig.closed(socket);
    assert_eq!(rig.io.sockets(), 0);
}

fn connections_come_from_the_source_given(make: Make) {
    let Some(mut rig) = Rig::new(make, 8) else { return };
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("bound");
    for source in [None, Some("127.0.0.77:0"), Some("127.3.2.1:0")] {
        let source: Option<SocketAddr> = source.map(|it| it.parse().expect("an address"));
        let socket = rig.io.connect(source, address).expect("started");
        rig.until("Connected", |event| (event == Event::Connected { socket }).then_some(()));
        let (mut peer, from) = server.accept().expect("a connection");
        let expected = source.map_or("127.0.0.1".parse::<IpAddr>().expect("an address"), |it| it.ip());
        assert_eq!(from.ip(), expected);
        rig.io.send(socket, Payload::from(b"question".to_vec()));
        rig.turn(Duration::ZERO);
        assert_eq!(read_exactly(&mut peer, 8), b"question");
        peer.write_all(b"answer").expect("written");
        assert_eq!(rig.bytes(socket, 6), b"answer");
    }
    assert_eq!(rig.io.sockets(), 3);
}

fn a_connection_is_closed_while_it_is_tried(make: Make) {
    let Some(mut rig) = Rig::new(make, 2) else { return };
    // A listener whose backlog is full lets further attempts hang.
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("bound");
    let socket = rig.io.connect(None, address).expect("started");
    rig.closed(socket);
    // Reserved for documentation: whatever becomes of the attempt, it is closed before.
    let socket = rig.io.connect(None, "203.0.113.1:9".parse().expect("an address")).expect("started");
    rig.turn(Duration::ZERO);
    rig.closed(socket);
    assert_eq!(rig.io.sockets(), 0);
}

fn connect_knows_a_full_table(make: Make) {
    let Some(mut rig) = Rig::new(make, 2) else { return };
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("bound");
    let first = rig.io.connect(None, address).expect("started");
    rig.io.connect(None, address).expect("started");
    let full = rig.io.connect(None, address).expect_err("full");
    assert_eq!(full.raw_os_error(), Some(libc::ENFILE));
    rig.closed(first);
    assert_eq!(rig.io.connect(None, address).expect("a slot is free"), first);
}

fn a_flood_starves_nobody(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    rig.arena = Arena::new(64 * 1024);
    let address = rig.listen("127.0.0.1:0");
    let (flooding, flooded) = rig.pair(address);
    let (mut modest, socket) = rig.pair(address);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (stop, mut flooding) = (std::sync::Arc::clone(&stop), flooding);
        move || {
            let block = vec![1; 1 << 20];
            while !stop.load(std::sync::atomic::Ordering::Relaxed) && flooding.write_all(&block).is_ok() {}
        }
    });
    rig.bytes(flooded, 4 << 20);
    for round in 0..20_u32 {
        modest.write_all(&pattern(16, round)).expect("written");
        let mut turns = 0;
        while rig.received.get(&socket).map_or(0, Vec::len) < 16 {
            rig.turn(Duration::from_millis(50));
            rig.received.remove(&flooded);
            turns += 1;
            assert!(turns < 100, "starved by the flood");
        }
        rig.received.remove(&socket);
        rig.unseen.clear();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    rig.closed(flooded);
    writer.join().expect("no panic");
}

fn a_wait_without_work_ends_in_time(make: Make) {
    let Some(mut rig) = Rig::new(make, 4) else { return };
    rig.listen("127.0.0.1:0");
    for timeout_ms in [0, 1, 30] {
        let timeout = Duration::from_millis(timeout_ms);
        // A wait may end early without an event, but waits must add up to the time.
        let started = Instant::now();
        while started.elapsed() < timeout {
            rig.turn(timeout.saturating_sub(started.elapsed()));
        }
        rig.turn(Duration::ZERO);
        assert_eq!(rig.unseen.len(), 0);
    }
}

fn a_small_arena_is_enough(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    rig.arena = Arena::new(100);
    let address = rig.listen("127.0.0.1:0");
    let mut pairs: Vec<_> = (0..4).map(|_| rig.pair(address)).collect();
    for (at, (client, _)) in pairs.iter_mut().enumerate() {
        client.write_all(&pattern(1_000, at as u32)).expect("written");
    }
    for (at, (_, socket)) in pairs.iter().enumerate() {
        assert_eq!(rig.bytes(*socket, 1_000), pattern(1_000, at as u32));
    }
}

fn payloads_are_let_go(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    let (_client, socket) = rig.pair(address);
    let buffer = Rc::new(vec![1; 100]);
    rig.io.send(socket, Payload::new(Rc::clone(&buffer), 0, 100));
    rig.turn(Duration::ZERO);
    assert_eq!(Rc::strong_count(&buffer), 1, "sent");
    rig.io.send(socket, Payload::new(Rc::clone(&buffer), 0, 100));
    rig.io.close(socket);
    rig.turn(Duration::ZERO);
    assert_eq!(Rc::strong_count(&buffer), 1, "sent and closed");
    let (_client, socket) = rig.pair(address);
    rig.io.send(socket, Payload::new(Rc::clone(&buffer), 0, 100));
    drop(rig);
    assert_eq!(Rc::strong_count(&buffer), 1, "the back end is gone");
}

/// Sends back what is received, from where it lies; what comes to a blocked socket is kept until it has drained.
fn echo_from_the_arena(rig: &mut Rig, kept: &mut BTreeMap<Socket, Vec<u8>>) {
    rig.turn(Duration::from_millis(5));
    rig.received.clear();
    for event in rig.unseen.drain(..) {
        match event {
            Event::Received { socket, start, len } => match kept.get_mut(&socket) {
                Some(kept) => kept.extend_from_slice(rig.arena.received(start, len)),
                None => rig.io.send(socket, rig.arena.payload(start, len)),
            },
            Event::Blocked { socket, .. } => {
                rig.io.pause(socket);
                kept.insert(socket, Vec::new());
            }
            Event::Drained { socket } => {
                rig.io.resume(socket);
                let bytes = kept.remove(&socket).unwrap_or_default();
                rig.io.send(socket, Payload::from(bytes));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn an_answer_may_lie_in_the_arena(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    let mut clients: Vec<TcpStream> = (0..5).map(|_| rig.pair(address).0).collect();
    let arena_at = rig.arena.received(0, 1).as_ptr();
    for round in 1..40_u32 {
        let message = |at: usize| pattern(round as usize * (17 + 300 * at), round + at as u32);
        for (at, client) in clients.iter_mut().enumerate() {
            client.write_all(&message(at)).expect("written");
        }
        for (at, client) in clients.iter_mut().enumerate() {
            client.set_nonblocking(true).expect("an option");
            let (mut bytes, deadline) = (Vec::new(), Instant::now() + PATIENCE);
            while bytes.len() < message(at).len() {
                assert!(Instant::now() < deadline, "waited in vain for an answer");
                echo_from_the_arena(&mut rig, &mut BTreeMap::new());
                // The end of the stream would be an error here too.
                let _ = client.read_to_end(&mut bytes).expect_err("more may come");
            }
            client.set_nonblocking(false).expect("an option");
            assert!(bytes == message(at), "round {round}, client {at}: bytes differ");
        }
    }
    assert_eq!(rig.arena.received(0, 1).as_ptr(), arena_at, "it is one arena all the time");
}

fn a_slow_reader_keeps_no_arena(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    let (mut slow, stuck) = rig.pair(address);
    let (mut lively, _) = rig.pair(address);
    let arena_at = rig.arena.received(0, 1).as_ptr();
    let message = pattern(24 << 20, 5);
    let mut writing = slow.try_clone().expect("a descriptor");
    writing.set_write_timeout(None).expect("an option");
    let sent = message.clone();
    let writer = std::thread::spawn(move || writing.write_all(&sent).expect("written"));
    let mut kept = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while !kept.contains_key(&stuck) {
        assert!(Instant::now() < deadline, "waited in vain for Blocked");
        echo_from_the_arena(&mut rig, &mut kept);
    }
    // What waits for the slow one is not written over by what others send.
    lively.set_nonblocking(true).expect("an option");
    for round in 0..20 {
        let (said, mut bytes) = (pattern(50_000, round), Vec::new());
        let mut unsaid = &said[..];
        while bytes.len() < said.len() {
            assert!(Instant::now() < deadline, "waited in vain for an answer");
            unsaid = &unsaid[lively.write(unsaid).unwrap_or(0)..];
            echo_from_the_arena(&mut rig, &mut kept);
            let _ = lively.read_to_end(&mut bytes).expect_err("more may come");
        }
        assert!(bytes == said, "round {round}: bytes differ");
    }
    assert!(kept.contains_key(&stuck), "nobody has read yet");
    let len = message.len();
    let reader = std::thread::spawn(move || {
        let bytes = read_exactly(&mut slow, len);
        (slow, bytes)
    });
    while !reader.is_finished() {
        echo_from_the_arena(&mut rig, &mut kept);
    }
    let (_slow, bytes) = reader.join().expect("no panic");
    assert!(bytes == message, "bytes differ");
    writer.join().expect("no panic");
    assert_eq!(rig.arena.received(0, 1).as_ptr(), arena_at, "it is one arena all the time");
}
