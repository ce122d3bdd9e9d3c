//! Back ends leave no descriptor behind, and live with few. A test program of its own: nothing else may open
//! descriptors meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use roadstead_io::{
    Arena, Choice, Epoll, Event, Io, Lack, ListenOptions, Options, Payload, Uring, bind, descriptor_limit,
    select,
};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

/// Accepts, connects, blocks, closes some, and leaves the rest to the drop.
fn live(mut io: Box<dyn Io>) {
    let listener =
        bind("127.0.0.1:0".parse().expect("an address"), &ListenOptions::default()).expect("a listener");
    let address = listener.local_addr();
    io.listen(listener).expect("listening");
    let mut clients: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(address).expect("connected")).collect();
    let (mut arena, mut events) = (Arena::new(64 * 1024), Vec::new());
    let mut accepted = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    let outgoing = io.connect(None, address).expect("started");
    while accepted.len() < 21 {
        assert!(Instant::now() < deadline, "accepted {} only", accepted.len());
        events.clear();
        io.wait(&mut arena, &mut events, Some(Duration::from_millis(50))).expect("works");
        for event in &events {
            if let Event::Accepted { socket, .. } = *event {
                accepted.push(socket);
            }
        }
    }
    for (at, socket) in accepted.iter().enumerate() {
        match at % 4 {
            0 => io.close(*socket),
            1 => io.send(*socket, Payload::from(vec![1; 16 << 20])),
            2 => io.send(*socket, Payload::from(vec![2; 10])),
            _ => {}
        }
    }
    io.close(outgoing);
    for _ in 0..5 {
        events.clear();
        io.wait(&mut arena, &mut events, Some(Duration::from_millis(5))).expect("works");
    }
    io.stop_listening(0);
    drop(io);
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
        let _ = client.write_all(b"gone?");
        // Bytes that were sent, then an end or a reset, but no silence: the sockets are really closed.
        let mut bytes = Vec::new();
        if let Err(error) = client.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
}

/// Thousands of answers at once are more than a completion queue holds; none may be lost.
fn end_thousands_in_one_turn(mut io: Box<dyn Io>) {
    const COUNT: usize = 3_000;
    let listener =
        bind("127.0.0.1:0".parse().expect("an address"), &ListenOptions::default()).expect("a listener");
    let address = listener.local_addr();
    io.listen(listener).expect("listening");
    let (mut arena, mut events) = (Arena::new(64 * 1024), Vec::new());
    let (mut clients, mut accepted) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    while accepted.len() < COUNT {
        assert!(Instant::now() < deadline, "accepted {} only", accepted.len());
        if clients.len() < COUNT && clients.len() < accepted.len() + 100 {
            clients.push(TcpStream::connect(address).expect("connected"));
        }
        events.clear();
        io.wait(&mut arena, &mut events, Some(Duration::ZERO)).expect("works");
        accepted.extend(events.iter().filter_map(|event| match *event {
            Event::Accepted { socket, .. } => Some(socket),
            _ => None,
        }));
    }
    let goodbye = std::rc::Rc::new(b"goodbye".to_vec());
    for socket in &accepted {
        io.send(*socket, Payload::new(std::rc::Rc::clone(&goodbye), 0, 7));
        io.shutdown(*socket);
    }
    for client in &mut clients {
        events.clear();
        io.wait(&mut arena, &mut events, Some(Duration::ZERO)).expect("works");
        let mut bytes = Vec::new();
        // The half-close may take the back end some turns.
        client.set_read_timeout(Some(Duration::from_millis(10))).expect("an option");
        while let Err(error) = client.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
            assert!(Instant::now() < deadline, "no end");
            io.wait(&mut arena, &mut events, Some(Duration::ZERO)).expect("works");
        }
        assert_eq!(bytes, b"goodbye");
    }
    for socket in &accepted {
        io.close(*socket);
    }
    let mut closed = std::collections::HashSet::new();
    while closed.len() < COUNT {
        assert!(Instant::now() < deadline, "closed {} only", closed.len());
        events.clear();
        io.wait(&mut arena, &mut events, Some(Duration::from_millis(20))).expect("works");
        for event in &events {
            if let Event::Closed { socket } = *event {
                assert!(closed.insert(socket), "closed once");
            }
        }
    }
    assert_eq!(io.sockets(), 0);
}

/// Without descriptors accepting pauses instead of spinning, and goes on when there are some again. `free`: connections
/// that are accepted without one.
fn run_out_of_descriptors(mut io: Box<dyn Io>, free: usize) {
    let listener =
        bind("127.0.0.1:0".parse().expect("an address"), &ListenOptions::default()).expect("a listener");
    let address = listener.local_addr();
    io.listen(listener).expect("listening");
    let (mut arena, mut events) = (Arena::new(64 * 1024), Vec::new());
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    hoard.truncate(hoard.len() - free - 1);
    let clients: Vec<TcpStream> = (0..=free)
        .map(|_| TcpStream::connect(address).expect("connected with the last descriptors"))
        .collect();
    let (mut waits, mut failures, mut accepted) = (0, 0, 0);
    let started = Instant::now();
    while failures < 2 || accepted < free {
        assert!(started.elapsed() < Duration::from_secs(20), "{failures} failures, {accepted} accepted");
        io.wait(&mut arena, &mut events, Some(Duration::from_millis(50))).expect("works");
        waits += 1;
        for event in events.drain(..) {
            match event {
                Event::AcceptFailed { lack } => {
                    assert_eq!(lack, Lack::Descriptors);
                    failures += 1;
                }
                Event::Accepted { .. } => accepted += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(waits < 20 + free, "{failures} failures in {waits} waits");
    assert_eq!(accepted, free);
    drop(hoard);
    while accepted < clients.len() {
        assert!(started.elapsed() < Duration::from_secs(40), "accepting goes on by itself");
        io.wait(&mut arena, &mut events, None).expect("works");
        accepted += events.drain(..).filter(|event| matches!(event, Event::Accepted { .. })).count();
    }
}

#[test]
fn descriptors_are_few_and_none_is_left_behind() {
    let before = open_descriptors();
    for _ in 0..3 {
        live(Box::new(Epoll::new(&Options::new(64)).expect("epoll")));
        assert_eq!(open_descriptors(), before, "epoll");
    }
    end_thousands_in_one_turn(Box::new(Epoll::new(&Options::new(3_000)).expect("epoll")));
    let can_run_out = descriptor_limit().expect("a limit") <= 65_536;
    if can_run_out {
        run_out_of_descriptors(Box::new(Epoll::new(&Options::new(64)).expect("epoll")), 0);
    }
    if let Err(unavailable) = select(Choice::Uring) {
        eprintln!("io_uring skipped: {unavailable}");
        return;
    }
    for ring_sockets in [None, Some(8), Some(1)] {
        let options = Options { ring_sockets, ..Options::new(64) };
        live(Box::new(Uring::new(&options).expect("io_uring")));
        assert_eq!(open_descriptors(), before, "io_uring");
    }
    end_thousands_in_one_turn(Box::new(Uring::new(&Options::new(3_000)).expect("io_uring")));
    if can_run_out {
        // The second ring needs some.
        let options = Options { ring_sockets: Some(64), ..Options::new(128) };
        run_out_of_descriptors(Box::new(Uring::new(&options).expect("io_uring")), 64);
    }
}
