//! What one message costs: nanoseconds of each case, or, under callgrind, instructions.
//!
//! `command_cost [CASE [ROUNDS]]` runs every case, or the one named `CASE`. For instructions, run one case under
//! `valgrind --tool=callgrind` with two numbers of rounds; the difference of the totals, divided by the difference
//! of the rounds, is the cost of one message.

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use roadstead_protocol::*;

const ROUNDS: u32 = 100_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().unwrap_or_default();
    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let measure = |verb: &str, encoding: Encoding, name: &str, bytes: usize, run: &mut dyn FnMut()| {
        let full_name = format!("{verb}.{}.{name}", encoding.name());
        if case.is_empty() || case == full_name {
            measure(&full_name, bytes, rounds, run);
        }
    };
    let payload = r#"{"text":"a message of about this size","at":1700000000}"#;
    let publish = PublishRequest {
        channel: "chat:lobby".into(),
        data: Cow::Borrowed(payload.as_bytes()),
        ..PublishRequest::default()
    };
    let publish = Command { id: 1234, request: Request::Publish(publish) };
    let subscribe = SubscribeRequest { channel: "chat:lobby".into(), flag: 1, ..SubscribeRequest::default() };
    let subscribe = Command { id: 3, request: Request::Subscribe(subscribe) };
    let pong = Command { id: 0, request: Request::Empty };

    let info =
        ClientInfo { user: "77", client: "5f0c2f3e-0d3b-4f7c-9c3e-1a2b3c4d5e6f", ..ClientInfo::default() };
    let plain = Publication { data: payload.as_bytes(), ..Publication::default() };
    let full = Publication { info: Some(info), offset: 123_456, ..plain };

    let mut out = Vec::with_capacity(1024);
    for encoding in Encoding::ALL {
        for (name, command) in [("publish", &publish), ("subscribe", &subscribe), ("pong", &pong)] {
            let mut message = Vec::new();
            push_command(&mut message, encoding, command);
            measure("read", encoding, name, message.len(), &mut || {
                read_command(encoding, black_box(&message));
            });
        }
        for (name, publication) in [("publication", &plain), ("publication_full", &full)] {
            out.clear();
            push_push(&mut out, encoding, "chat:lobby", &Push::Publication(publication));
            measure("write", encoding, name, out.len(), &mut || {
                out.clear();
                write_publication(&mut out, encoding, black_box(publication));
            });
            let message = out.clone();
            measure("client_read", encoding, name, message.len(), &mut || {
                read_server_message(encoding, black_box(&message));
            });
        }
        out.clear();
        push_reply(&mut out, encoding, 1234, &Reply::Publish);
        measure("write", encoding, "publish_reply", out.len(), &mut || {
            out.clear();
            write_publish_reply(&mut out, encoding, black_box(1234));
        });
        measure("write", encoding, "ping", 2, &mut || {
            out.clear();
            write_ping(&mut out, encoding);
        });
    }
}

#[allow(clippy::print_stdout)]
fn measure(name: &str, bytes: usize, rounds: u32, run: &mut dyn FnMut()) {
    let start = Instant::now();
    for _ in 0..rounds {
        run();
    }
    let ns = start.elapsed().as_nanos() / u128::from(rounds.max(1));
    println!("{name} bytes={bytes} ns={ns}");
}

#[inline(never)]
fn read_command(encoding: Encoding, message: &[u8]) {
    for command in commands(encoding, message) {
        black_box(&command);
    }
}

#[inline(never)]
fn read_server_message(encoding: Encoding, message: &[u8]) {
    for reply in replies(encoding, message) {
        black_box(&reply);
    }
}

#[inline(never)]
fn write_publication(out: &mut Vec<u8>, encoding: Encoding, publication: &Publication<'_>) {
    push_push(out, encoding, "chat:lobby", &Push::Publication(publication));
}

#[inline(never)]
fn write_publish_reply(out: &mut Vec<u8>, encoding: Encoding, id: u32) {
    push_reply(out, encoding, id, &Reply::Publish);
}

#[inline(never)]
fn write_ping(out: &mut Vec<u8>, encoding: Encoding) {
    push_ping(out, encoding);
}
