//! Back ends leave no descriptor behind. A test program of its own: nothing else may open descriptors meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use roadstead_io::{Arena, Choice, Epoll, Event, Io, ListenOptions, Options, Payload, Uring, bind, select};

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
    io.stop_listening();
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

#[test]
fn no_descriptor_is_left_behind() {
    let before = open_descriptors();
    for _ in 0..3 {
        live(Box::new(Epoll::new(&Options::new(64)).expect("epoll")));
        assert_eq!(open_descriptors(), before, "epoll");
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
}
