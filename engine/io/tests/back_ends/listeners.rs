//! What the owner of an `Io` may rely on about listeners: their numbers, a full table, and the end of listening.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use roadstead_io::{Event, Lack, Payload, Socket};

use super::{Make, Rig, client, pattern, read_exactly};

/// Connections whose handshakes are complete, accepted or not.
fn clients(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| client(address)).collect()
}

fn assert_refused(address: SocketAddr) {
    let refused = TcpStream::connect(address).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// Accepts each client at the listener given and carries bytes both ways.
fn serve(rig: &mut Rig, clients: &mut [TcpStream], number: u16) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for _ in 0..clients.len() {
        let (socket, peer, listener) = rig.accepted();
        assert_eq!(listener, number);
        let of_peer = |client: &TcpStream| client.local_addr().expect("bound") == peer;
        let at = clients.iter().position(of_peer).expect("one of the clients");
        sockets.push((at, socket));
    }
    sockets.sort_unstable();
    assert!(sockets.iter().map(|(at, _)| *at).eq(0..clients.len()), "each client once");
    for (client, (at, socket)) in clients.iter_mut().zip(&sockets) {
        let message = pattern(100, *at as u32);
        client.write_all(&message).expect("written");
        assert_eq!(rig.bytes(*socket, 100), message);
        rig.io.send(*socket, Payload::from(message));
    }
    rig.turn(Duration::ZERO);
    for (client, (at, _)) in clients.iter_mut().zip(&sockets) {
        assert_eq!(read_exactly(client, 100), pattern(100, *at as u32));
    }
    sockets.into_iter().map(|(_, socket)| socket).collect()
}

pub(crate) fn after_stop_listening_nobody_gets_in(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let address = rig.listen("127.0.0.1:0");
    let (mut client, socket) = rig.pair(address);
    rig.io.stop_listening(0);
    assert_refused(address);
    assert_eq!(rig.idle_turns(2), []);
    client.write_all(b"still here").expect("written");
    assert_eq!(rig.bytes(socket, 10), b"still here");
    assert_eq!(rig.io.sockets(), 1);
    // A second time changes nothing, nor does a number that no listener has.
    rig.io.stop_listening(0);
    rig.io.stop_listening(7);
    // And it can listen again.
    let address = rig.listen("127.0.0.1:0");
    assert_eq!(rig.io.listeners(), 2);
    let _other = TcpStream::connect(address).expect("connected");
    assert_eq!(rig.accepted().2, 1, "numbers go on");
}

pub(crate) fn who_waits_when_listening_stops_is_served(make: Make) {
    let Some(mut rig) = Rig::new(make, 256) else { return };
    let address = rig.listen("127.0.0.1:0");
    let mut waiting = clients(address, 100);
    rig.io.stop_listening(0);
    assert_refused(address);
    let sockets = serve(&mut rig, &mut waiting, 0);
    assert_eq!(rig.io.sockets(), 100);
    // They are sockets like any other: a send that does not fit goes on by itself.
    let message = pattern(24 << 20, 5);
    rig.io.send(sockets[0], Payload::from(message.clone()));
    rig.until("Blocked", |event| matches!(event, Event::Blocked { .. }).then_some(()));
    let mut reading = waiting.swap_remove(0);
    let reader = std::thread::spawn(move || read_exactly(&mut reading, 24 << 20));
    rig.until("Drained", |event| matches!(event, Event::Drained { .. }).then_some(()));
    assert!(reader.join().expect("no panic") == message, "bytes differ");
    for socket in sockets {
        rig.closed(socket);
    }
    assert_eq!(rig.io.sockets(), 0);
}

pub(crate) fn accepts_in_flight_are_told_when_listening_stops(make: Make) {
    for turns in [1, 2] {
        let Some(mut rig) = Rig::new(make, 256) else { return };
        let address = rig.listen("127.0.0.1:0");
        // The back end is ready to accept, and has perhaps begun to.
        rig.turn(Duration::ZERO);
        let mut waiting = clients(address, 50);
        for _ in 1..turns {
            rig.turn(Duration::ZERO);
        }
        waiting.extend(clients(address, 50));
        rig.io.stop_listening(0);
        assert_refused(address);
        serve(&mut rig, &mut waiting, 0);
        assert_eq!(rig.io.sockets(), 100);
    }
}

pub(crate) fn a_table_with_just_enough_slots_takes_all_who_wait(make: Make) {
    const COUNT: usize = 40;
    let Some(mut rig) = Rig::new(make, COUNT as u32) else { return };
    let address = rig.listen("127.0.0.1:0");
    rig.turn(Duration::ZERO);
    let mut waiting = clients(address, COUNT);
    rig.io.stop_listening(0);
    assert_refused(address);
    serve(&mut rig, &mut waiting, 0);
    assert_eq!(rig.io.sockets(), COUNT);
}

pub(crate) fn who_finds_no_slot_when_listening_stops_is_lost(make: Make) {
    let Some(mut rig) = Rig::new(make, 3) else { return };
    let address = rig.listen("127.0.0.1:0");
    let mut waiting = clients(address, 5);
    rig.io.stop_listening(0);
    assert_refused(address);
    let events = rig.idle_turns(2);
    let lost: Vec<&Event> = events.iter().filter(|it| matches!(it, Event::AcceptFailed { .. })).collect();
    assert_eq!(lost, [&Event::AcceptFailed { lack: Lack::Slots }], "said once");
    assert_eq!((events.len(), rig.io.sockets()), (4, 3));
    let lost = waiting.split_off(3);
    rig.unseen.extend(events);
    serve(&mut rig, &mut waiting, 0);
    for mut client in lost {
        match client.read(&mut [0; 1]) {
            Ok(len) => assert_eq!(len, 0, "an end"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

pub(crate) fn a_full_listener_is_closed_at_once(make: Make) {
    for count in [2, 3] {
        let Some(mut rig) = Rig::new(make, 2) else { return };
        let address = rig.listen("127.0.0.1:0");
        let _clients = clients(address, count);
        let sockets = [rig.accepted().0, rig.accepted().0];
        rig.idle_turns(2);
        rig.io.stop_listening(0);
        assert_refused(address);
        // A slot that becomes free is nobody's any more.
        rig.closed(sockets[0]);
        rig.idle_turns(2);
        assert_eq!(rig.io.sockets(), 1);
    }
}

pub(crate) fn other_listeners_go_on(make: Make) {
    let Some(mut rig) = Rig::new(make, 256) else { return };
    let addresses = [rig.listen("127.0.0.1:0"), rig.listen("127.0.0.1:0"), rig.listen("127.0.0.1:0")];
    let first = rig.pair(addresses[1]);
    let (mut stopped, mut staying) = (clients(addresses[1], 40), clients(addresses[2], 40));
    rig.io.stop_listening(1);
    assert_refused(addresses[1]);
    // Each at the number of its own, in whatever order.
    let is_accepted = |event: Event| matches!(event, Event::Accepted { .. }).then_some(event);
    let events: Vec<Event> = (0..80).map(|_| rig.until("a connection", is_accepted)).collect();
    let at_stopped = |event: &Event| matches!(event, Event::Accepted { listener: 1, .. });
    let (of_stopped, of_staying) = events.into_iter().partition::<Vec<_>, _>(at_stopped);
    rig.unseen.extend(of_stopped);
    serve(&mut rig, &mut stopped, 1);
    rig.unseen.extend(of_staying);
    serve(&mut rig, &mut staying, 2);
    for number in [0, 2] {
        serve(&mut rig, &mut clients(addresses[number], 3), number as u16);
    }
    for listener in 0..rig.io.listeners() {
        rig.io.stop_listening(listener);
    }
    addresses.into_iter().for_each(assert_refused);
    drop(first);
}

pub(crate) fn what_comes_while_listening_stops_is_not_slept_over(make: Make) {
    let Some(mut rig) = Rig::new(make, 64) else { return };
    let address = rig.listen("127.0.0.1:0");
    let (mut client, socket) = rig.pair(address);
    rig.turn(Duration::ZERO);
    client.write_all(b"now").expect("written");
    rig.io.stop_listening(0);
    rig.sleep_until(|event| matches!(event, Event::Received { socket: heard, .. } if *heard == socket));
    // Neither is a connection that was taken.
    let address = rig.listen("127.0.0.1:0");
    rig.turn(Duration::ZERO);
    let _waiting = TcpStream::connect(address).expect("connected");
    rig.io.stop_listening(1);
    rig.sleep_until(|event| matches!(event, Event::Accepted { listener: 1, .. }));
}

pub(crate) fn a_full_table_takes_the_next_when_a_slot_is_free(make: Make) {
    let Some(mut rig) = Rig::new(make, 3) else { return };
    let address = rig.listen("127.0.0.1:0");
    let mut clients: Vec<TcpStream> = (0..5).map(|_| client(address)).collect();
    let mut accepted: Vec<(Socket, SocketAddr, u16)> = (0..3).map(|_| rig.accepted()).collect();
    let extra = rig.idle_turns(5);
    assert_eq!(extra, [Event::AcceptFailed { lack: Lack::Slots }], "the table is full, which is said once");
    assert_eq!(rig.io.sockets(), 3);
    for _ in 0..2 {
        let (socket, peer, _) = accepted.remove(0);
        rig.closed(socket);
        clients.retain(|client| client.local_addr().expect("bound") != peer);
        accepted.push(rig.accepted());
    }
    for client in &mut clients {
        client.write_all(b"in").expect("written");
        let from = client.local_addr().expect("bound");
        let (socket, ..) = accepted.iter().find(|(_, peer, _)| *peer == from).expect("accepted");
        assert_eq!(rig.bytes(*socket, 2), b"in");
    }
}

pub(crate) fn several_listeners_have_numbers(make: Make) {
    let Some(mut rig) = Rig::new(make, 16) else { return };
    let addresses = [rig.listen("127.0.0.1:0"), rig.listen("[::1]:0"), rig.listen("127.0.0.9:0")];
    for (number, address) in addresses.iter().enumerate().rev() {
        let client = client(*address);
        let (_, peer, listener) = rig.accepted();
        assert_eq!(usize::from(listener), number);
        assert_eq!(peer, client.local_addr().expect("bound"));
    }
}
