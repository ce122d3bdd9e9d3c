//! Decodes frames of one size, so that an instruction counter gives the cost of a frame.
//!
//! ```text
//! decode_cost [payload bytes] [frames] [text|binary|utf8] [frames per input]
//! valgrind --tool=callgrind --toggle-collect='*decode_input*' target/release/examples/decode_cost 20 100000
//! ```
//!
//! Each input is decoded once: unmasking in place consumes it. Copying it anew is outside of what is counted.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use wsproto::{Decoder, Event, Limits, Opcode, Role, push_frame};

const LIMITS: Limits = Limits { frame_bytes: 1 << 24, message_bytes: 1 << 24, fragments: 64 };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default).max(1)
    };
    let (payload_bytes, frames, burst) = (number(0, 20), number(1, 1_000_000), number(3, 16));
    let kind = arguments.get(2).map_or("text", String::as_str);
    let (opcode, payload) = match kind {
        "binary" => (Opcode::Binary, vec![0xA5; payload_bytes]),
        "utf8" => (Opcode::Text, "é".repeat(payload_bytes / 2).into_bytes()),
        _ => (Opcode::Text, vec![b'a'; payload_bytes]),
    };

    let mut wire = Vec::new();
    for _ in 0..burst {
        push_frame(&mut wire, opcode, &payload, Some([0x12, 0x34, 0x56, 0x78]));
    }
    let mut decoder = Decoder::new(Role::Server);
    let mut assembly = Vec::new();
    let mut input = wire.clone();
    let (mut messages, mut spent) = (0, Duration::ZERO);
    while messages < frames {
        input.copy_from_slice(&wire);
        let begun = Instant::now();
        messages += decode_input(&mut decoder, black_box(&mut input), &mut assembly);
        spent += begun.elapsed();
    }
    let each_ns = spent.as_nanos() as f64 / messages as f64;
    println!("{kind}: {messages} frames of {payload_bytes} bytes, {each_ns:.1} ns each");
}

/// Decodes one input as a shard would; returns the number of messages.
#[inline(never)]
fn decode_input(decoder: &mut Decoder, mut input: &mut [u8], assembly: &mut Vec<u8>) -> usize {
    let mut messages = 0;
    while let Ok(Some(event)) = decoder.decode(&mut input, assembly, &LIMITS) {
        if let Event::Message { payload, .. } = event {
            black_box(payload);
            messages += 1;
        }
    }
    messages
}
