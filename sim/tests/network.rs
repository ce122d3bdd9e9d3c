//! What the simulated network does to connections and datagrams when paths close, processes die and power fails.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use roadstead_io::{Arena, Event, Io, Payload, Socket};
use roadstead_sim::{Client, Conditions, SimIo, Status, Way, Wire, World};

const SECOND: Duration = Duration::from_secs(1);

fn host(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

fn at(number: u8, port: u16) -> SocketAddr {
    SocketAddr::new(host(number), port)
}

/// A world, a listening back end on host 1, and a client on host 2 that is connected to it.
struct Pair {
    world: World,
    io: SimIo,
    arena: Arena,
    client: Client,
    socket: Socket,
}

impl Pair {
    fn new() -> Self {
        let world = World::new(1, Conditions::calm());
        let mut io = world.back_end(host(1), 8);
        io.listen_at(at(1, 80));
        let client = world.connect(at(2, 0), at(1, 80));
        let mut pair = Self { world, io, arena: Arena::new(4_096), client, socket: Socket(0) };
        let events = pair.after(SECOND);
        let [Event::Accepted { socket, .. }] = events[..] else { panic!("{events:?}") };
        pair.socket = socket;
        pair
    }

    /// What the back end sees after some time.
    fn after(&mut self, time: Duration) -> Vec<Event> {
        self.world.advance(time);
        let mut events = Vec::new();
        self.io.wait(&mut self.arena, &mut events, None).expect("it cannot fail");
        events
    }

    fn received(&mut self, events: &[Event]) -> Vec<u8> {
        let [Event::Received { start, len, .. }] = *events else { panic!("{events:?}") };
        self.arena.received(start, len).to_vec()
    }
}

impl Pair {
    fn say(&mut self, text: &[u8]) {
        self.io.send(self.socket, Payload::from(text.to_vec()));
    }

    fn write(&self, text: &[u8]) {
        assert_eq!(self.world.write(self.client, text), text.len());
    }
}

#[test]
fn bytes_wait_while_the_path_is_closed() {
    let mut pair = Pair::new();
    pair.write(b"on its way");
    pair.world.partition(&[host(1)], &[host(2)]);
    pair.write(b", and after");
    pair.say(b"back");
    assert_eq!(pair.after(10 * SECOND), []);
    assert_eq!(pair.world.read(pair.client, 99), b"");
    pair.world.heal();
    let events = pair.after(3 * SECOND);
    assert_eq!(pair.received(&events), b"on its way, and after");
    assert_eq!(pair.world.read(pair.client, 99), b"back");
}

#[test]
fn one_closed_way_stops_a_connection() {
    let mut pair = Pair::new();
    pair.world.deafen(&[host(1)], &[host(2)]);
    pair.write(b"heard by nobody");
    assert_eq!(pair.after(SECOND), []);
}

#[test]
fn a_reset_is_lost_and_found_by_the_next_byte() {
    let mut pair = Pair::new();
    pair.world.partition(&[host(1)], &[host(2)]);
    pair.world.reset(pair.client);
    assert_eq!(pair.after(SECOND), []);
    pair.world.heal();
    assert_eq!(pair.after(10 * SECOND), [], "half open");
    pair.say(b"hello?");
    let socket = pair.socket;
    assert_eq!(pair.after(SECOND), [Event::Failed { socket, errno: libc::ECONNRESET }]);
}

#[test]
fn who_is_not_heard_gives_up() {
    let mut pair = Pair::new();
    pair.world.partition(&[host(1)], &[host(2)]);
    assert_eq!(pair.after(100 * SECOND), [], "nothing to confirm");
    pair.say(b"hello?");
    assert_eq!(pair.after(30 * SECOND), []);
    let socket = pair.socket;
    assert_eq!(pair.after(11 * SECOND), [Event::Failed { socket, errno: libc::ETIMEDOUT }]);
    assert_eq!(pair.world.status(pair.client), Status::Open);
}

#[test]
fn a_request_knocks_again_and_gives_up() {
    let mut pair = Pair::new();
    pair.world.partition(&[host(1)], &[host(3)]);
    let early = pair.io.connect(None, at(3, 80)).expect("a slot");
    let late = pair.world.connect(at(3, 0), at(1, 80));
    assert_eq!(pair.after(20 * SECOND), []);
    assert_eq!(pair.world.status(late), Status::Connecting);
    let [Event::Failed { socket, errno: libc::ETIMEDOUT }] = pair.after(60 * SECOND)[..] else {
        panic!("it gives up")
    };
    assert_eq!((socket, pair.world.status(late)), (early, Status::TimedOut));

    let again = pair.world.connect(at(3, 0), at(1, 80));
    pair.after(2 * SECOND);
    pair.world.heal();
    let events = pair.after(5 * SECOND);
    assert!(matches!(events[..], [Event::Accepted { peer, .. }] if peer.ip() == host(3)), "{events:?}");
    assert_eq!(pair.world.status(again), Status::Open);
}

#[test]
fn a_killed_process_ends_its_connections() {
    let pair = Pair::new();
    pair.world.kill(host(1));
    pair.world.advance(SECOND);
    assert!(pair.world.is_at_end(pair.client), "closed: everything was read");
    let refused = pair.world.connect(at(2, 0), at(1, 80));
    pair.world.advance(SECOND);
    assert_eq!(pair.world.status(refused), Status::Refused);

    let pair = Pair::new();
    pair.write(b"unread");
    pair.world.advance(SECOND);
    pair.world.kill(host(1));
    pair.world.advance(SECOND);
    assert_eq!(pair.world.status(pair.client), Status::Reset);
}

#[test]
fn a_host_without_power_is_silent_and_has_forgotten() {
    let mut pair = Pair::new();
    pair.say(b"last words");
    pair.world.power_off(host(1));
    pair.write(b"hello?");
    pair.world.advance(5 * SECOND);
    assert_eq!((pair.world.status(pair.client), pair.world.read(pair.client, 99)), (Status::Open, vec![]));
    pair.world.power_on(host(1));
    pair.world.advance(5 * SECOND);
    assert_eq!(pair.world.status(pair.client), Status::Reset);
    pair.world.close(pair.client);
    assert_eq!(pair.world.held(), (0, 0));
}

#[test]
fn a_request_on_its_way_outlasts_a_restart() {
    let mut pair = Pair::new();
    let late = pair.world.connect(at(3, 0), at(1, 80));
    pair.world.power_off(host(1));
    pair.world.power_on(host(1));
    pair.io = pair.world.back_end(host(1), 8);
    pair.io.listen_at(at(1, 80));
    let events = pair.after(SECOND);
    let [Event::Accepted { socket, .. }] = events[..] else { panic!("{events:?}") };
    pair.io.send(socket, Payload::from(b"welcome".to_vec()));
    pair.world.advance(SECOND);
    assert_eq!(pair.world.read(late, 99), b"welcome");
}

#[test]
fn datagrams_are_lost_doubled_and_overtake() {
    let conditions = Conditions {
        delay_us: 0..=10_000,
        datagrams_lost: 200,
        datagrams_doubled: 200,
        ..Conditions::calm()
    };
    let world = World::new(5, conditions);
    let (here, there) = (at(1, 7), at(2, 7));
    world.bind(there);
    let mut heard = Vec::new();
    for number in 0..100_u8 {
        world.send_datagram(here, there, &[number]);
        world.send_datagram(here, at(2, 8), b"nobody");
        world.advance(Duration::from_millis(1));
        heard.extend(std::iter::from_fn(|| world.receive_datagram(there)));
    }
    assert!(heard.iter().all(|(from, bytes)| *from == here && bytes.len() == 1));
    let mut numbers: Vec<u8> = heard.iter().map(|(_, bytes)| bytes[0]).collect();
    assert!(!numbers.is_sorted());
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.len() < count && (60..100).contains(&numbers.len()), "{} of {count}", numbers.len());
}

#[test]
fn datagrams_obey_paths() {
    let world = World::new(5, Conditions::calm());
    for number in [1, 2] {
        world.bind(at(number, 7));
    }
    let pass = |from, to| {
        world.send_datagram(at(from, 7), at(to, 7), b"x");
        world.advance(SECOND);
        world.receive_datagram(at(to, 7)).is_some()
    };
    assert!(pass(1, 2) && pass(2, 1));
    world.deafen(&[host(1)], &[host(2)]);
    assert!(!pass(1, 2) && pass(2, 1));
    world.heal();
    world.partition(&[host(1)], &[host(2)]);
    assert!(!pass(1, 2) && !pass(2, 1));
    world.heal();
    world.send_datagram(at(1, 7), at(2, 7), b"on its way");
    world.power_off(host(2));
    world.power_on(host(2));
    assert!(!pass(1, 2), "the socket is gone");
    world.bind(at(2, 7));
    assert!(pass(1, 2));
}

/// Turns every `a` of one direction into two, and counts what it sees.
#[derive(Debug, Default)]
struct Stutter {
    forward: usize,
    closed: usize,
}

impl Wire for Stutter {
    fn taps(&self, from: SocketAddr, _to: SocketAddr) -> bool {
        from.ip() == host(2)
    }

    fn carry(&mut self, _now: Duration, way: Way, bytes: &[u8]) -> Vec<u8> {
        if !way.is_forward {
            return bytes.to_vec();
        }
        self.forward += bytes.len();
        bytes.iter().flat_map(|&byte| std::iter::repeat_n(byte, if byte == b'a' { 2 } else { 1 })).collect()
    }

    fn close(&mut self, _now: Duration, _connection: u32) {
        self.closed += 1;
    }
}

#[test]
fn the_wire_sees_and_changes_what_it_taps() {
    let mut pair = Pair::new();
    let stutter = Rc::new(RefCell::new(Stutter::default()));
    let wire: Rc<RefCell<dyn Wire>> = stutter.clone();
    pair.world.tap(wire);
    pair.client = pair.world.connect(at(2, 0), at(1, 80));
    let events = pair.after(SECOND);
    let [Event::Accepted { socket, .. }] = events[..] else { panic!("{events:?}") };
    pair.socket = socket;
    pair.write(b"banana");
    pair.say(b"papaya");
    let events = pair.after(SECOND);
    assert_eq!(pair.received(&events), b"baanaanaa");
    assert_eq!(pair.world.read(pair.client, 99), b"papaya");
    pair.world.close(pair.client);
    pair.world.advance(SECOND);
    assert_eq!((stutter.borrow().forward, stutter.borrow().closed), (6, 1));
}
