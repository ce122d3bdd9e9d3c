//! Deflates and inflates publications of several sizes, each for itself: what permessage-deflate saves, and what it costs.
//!
//! ```text
//! deflate_cost [effort, 1 to 9] [messages]
//! ```
#![allow(clippy::print_stdout)]

use std::fmt::Write as _;
use std::time::Instant;

use wsproto::MessageKind;
use wsproto::deflate::{Deflater, Inflater};

fn main() {
    let mut arguments = std::env::args().skip(1).map_while(|text| text.parse::<usize>().ok());
    let (effort, count) = (arguments.next().unwrap_or(4) as u8, arguments.next().unwrap_or(2_000).max(1));
    println!("{:>8} {:>9} {:>6} {:>11} {:>11}", "bytes", "deflated", "ratio", "deflate us", "inflate us");
    for bytes in [64, 128, 256, 512, 1 << 10, 4 << 10, 16 << 10, 64 << 10] {
        let messages: Vec<String> = (0..count).map(|number| publication(number, bytes)).collect();
        let (mut deflater, mut inflater) = (Deflater::new(effort), Inflater::default());
        let begun = Instant::now();
        let deflated: Vec<Option<Vec<u8>>> =
            messages.iter().map(|message| deflater.deflate(message.as_bytes()).map(<[u8]>::to_vec)).collect();
        let deflating = begun.elapsed();
        let mut out = Vec::new();
        let begun = Instant::now();
        let mut inflated = 0;
        for payload in deflated.iter().flatten() {
            let read = inflater.inflate(payload, MessageKind::Text, 1 << 20, None, &mut out);
            inflated += usize::from(read.is_ok());
        }
        let inflating = begun.elapsed();
        let plain: usize = messages.iter().map(String::len).sum();
        let sent: usize = messages
            .iter()
            .zip(&deflated)
            .map(|(message, made)| made.as_ref().map_or(message.len(), Vec::len))
            .sum();
        println!(
            "{:>8} {:>9} {:>6.2} {:>11.1} {:>11.1}",
            plain / count,
            sent / count,
            sent as f64 / plain as f64,
            deflating.as_secs_f64() * 1e6 / count as f64,
            inflating.as_secs_f64() * 1e6 / inflated.max(1) as f64,
        );
    }
}

/// A publication in JSON of about `bytes` bytes: names that repeat, values that do not.
fn publication(number: usize, bytes: usize) -> String {
    let mut state = number as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 40
    };
    let mut text = String::from(r#"{"push":{"channel":"prices:metals","pub":{"data":["#);
    while text.len() + 10 < bytes {
        let (price, volume) = (next() % 100_000, next() % 5_000);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            r#"{{"symbol":"XAU","price":{}.{:02},"volume":{volume}}},"#,
            price / 100,
            price % 100
        );
    }
    text.truncate(bytes.saturating_sub(4).max(51));
    text + "]}}}"
}
