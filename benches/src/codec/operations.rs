//! The operations, each a loop over itself, and the floor of each.

use std::hint::black_box;

use roadstead_protocol::{
    ClientInfo, Command, ConnectRequest, Encoding, PublishRequest, Push, Request, SubscribeRequest, commands,
    push_command, push_push,
};
use serde::de::IgnoredAny;
use sha1::{Digest, Sha1};
use wsproto::{Decoder, Limits, Opcode, Role, handshake, mask, push_frame, utf8};

/// Does something so many times.
pub type Loop = Box<dyn FnMut(u64)>;

/// One thing the codec does, and the least that does anything of the kind.
pub struct Operation {
    /// What it does.
    pub name: String,
    /// Bytes it goes through.
    pub bytes: usize,
    /// What the floor does.
    pub floor: &'static str,
    /// The operation, repeated.
    pub work: Loop,
    /// The floor, repeated.
    pub least: Loop,
}

/// Payloads of the echo bench.
const SIZES: [usize; 3] = [20, 1024, 16 * 1024];

/// The data of a publication of the fan-out bench.
const DATA_BYTES: usize = 128;

const LIMITS: Limits = Limits { frame_bytes: 1 << 20, message_bytes: 1 << 20, fragments: 16 };

/// A key without zero bytes.
const KEY: [u8; 4] = [0x5a, 0x93, 0xc7, 0x2d];

/// A key that changes nothing, so that a text can be unmasked in place again and again; no code looks for it.
const NEUTRAL_KEY: [u8; 4] = [0; 4];

const COPY: &str = "memcpy";
const CHECK: &str = "simdutf8";
const WALK: &str = "serde_json, nothing kept";
const HASH: &str = "SHA-1 of the key";

/// All operations, in the order of the table.
pub fn all() -> Vec<Operation> {
    let mut all = Vec::new();
    all.extend(SIZES.map(|bytes| read_frame("read a binary frame", Opcode::Binary, KEY, vec![b'x'; bytes])));
    all.extend(
        SIZES.map(|bytes| read_frame("read a text frame, ASCII", Opcode::Text, NEUTRAL_KEY, ascii(bytes))),
    );
    all.extend(
        SIZES.map(|bytes| {
            read_frame("read a text frame, Cyrillic", Opcode::Text, NEUTRAL_KEY, cyrillic(bytes))
        }),
    );
    all.extend(SIZES.map(unmask));
    all.extend(SIZES.map(|bytes| check_utf8("check UTF-8, ASCII", ascii(bytes))));
    all.extend(SIZES.map(|bytes| check_utf8("check UTF-8, Cyrillic", cyrillic(bytes))));
    all.push(check_pieces());
    all.extend(SIZES.map(write_frame));
    for encoding in Encoding::ALL {
        let data = data(encoding);
        all.extend(
            requests(&data).map(|(name, request)| read_command(name, encoding, &Command { id: 7, request })),
        );
    }
    all.extend(Encoding::ALL.map(write_publication));
    all.push(upgrade());
    all
}

fn ascii(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| b'a' + (at % 26) as u8).collect()
}

fn cyrillic(bytes: usize) -> Vec<u8> {
    "причал".bytes().cycle().take(bytes).collect()
}

fn repeat(mut once: impl FnMut() + 'static) -> Loop {
    Box::new(move |times| {
        for _ in 0..times {
            once();
        }
    })
}

fn copying(bytes: Vec<u8>) -> Loop {
    let mut to = vec![0; bytes.len()];
    repeat(move || {
        to.copy_from_slice(black_box(&bytes));
        black_box(&mut to);
    })
}

fn checking(text: Vec<u8>) -> Loop {
    repeat(move || {
        black_box(simdutf8::basic::from_utf8(black_box(&text)).is_ok());
    })
}

/// From the bytes of a socket to a message: header, unmasking in place, and UTF-8 of texts.
fn read_frame(name: &str, opcode: Opcode, key: [u8; 4], payload: Vec<u8>) -> Operation {
    let mut frame = Vec::new();
    push_frame(&mut frame, opcode, &payload, Some(key));
    let least = copying(frame.clone());
    let (mut decoder, mut assembly) = (Decoder::new(Role::Server), Vec::new());
    Operation {
        name: name.to_owned(),
        bytes: frame.len(),
        floor: COPY,
        work: repeat(move || {
            let mut input = black_box(&mut frame[..]);
            let event = decoder.decode(&mut input, &mut assembly, &LIMITS);
            assert!(matches!(black_box(event), Ok(Some(_))), "a whole message");
        }),
        least,
    }
}

fn unmask(bytes: usize) -> Operation {
    let mut payload = ascii(bytes);
    let least = copying(payload.clone());
    let work = repeat(move || mask::apply(black_box(&mut payload), black_box(KEY), 0));
    Operation { name: "unmask".to_owned(), bytes, floor: COPY, work, least }
}

fn check_utf8(name: &str, text: Vec<u8>) -> Operation {
    let (bytes, least) = (text.len(), checking(text.clone()));
    let work = repeat(move || assert!(utf8::is_valid(black_box(&text))));
    Operation { name: name.to_owned(), bytes, floor: CHECK, work, least }
}

/// A text of two pieces that meet within a character, as fragments may.
fn check_pieces() -> Operation {
    let text = cyrillic(1024);
    let (bytes, least) = (text.len(), checking(text.clone()));
    let work = repeat(move || {
        let (one, two) = black_box(&text).split_at(511);
        let mut state = utf8::Utf8::new();
        assert!(state.feed(one).is_ok() && state.feed(two).is_ok() && state.is_complete());
    });
    Operation { name: "check UTF-8, Cyrillic in two pieces".to_owned(), bytes, floor: CHECK, work, least }
}

fn write_frame(bytes: usize) -> Operation {
    let payload = ascii(bytes);
    let least = copying(payload.clone());
    let mut out = Vec::new();
    let work = repeat(move || {
        out.clear();
        push_frame(&mut out, Opcode::Binary, black_box(&payload), None);
        black_box(&mut out);
    });
    Operation { name: "write a frame".to_owned(), bytes, floor: COPY, work, least }
}

/// JSON clients send a string, with its quotes.
fn data(encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Json => [b"\"", &ascii(DATA_BYTES - 2)[..], b"\""].concat(),
        Encoding::Protobuf => ascii(DATA_BYTES),
    }
}

/// A token of the usual length: a header, a subject and an HS256 signature.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1c2VyLTEyMzQ1NiIsImV4cCI6MTc5MDAwMDAwMH0.\
    dGhpcyBpcyBubyBzaWduYXR1cmUgYnV0IGFzIGxvbmcgYXM";

fn requests(data: &[u8]) -> [(&'static str, Request<'_>); 3] {
    let channel = "room:one".into();
    [
        ("connect", Request::Connect(ConnectRequest { token: TOKEN.into(), ..ConnectRequest::default() })),
        ("subscribe", Request::Subscribe(SubscribeRequest { channel, ..SubscribeRequest::default() })),
        (
            "publish",
            Request::Publish(PublishRequest {
                channel: "room:one".into(),
                data: data.into(),
                ..PublishRequest::default()
            }),
        ),
    ]
}

fn read_command(name: &str, encoding: Encoding, command: &Command<'_>) -> Operation {
    let mut message = Vec::new();
    push_command(&mut message, encoding, command);
    let (floor, least) = match encoding {
        Encoding::Json => {
            let message = message.clone();
            let walk = move || {
                assert!(serde_json::from_slice::<IgnoredAny>(black_box(&message)).is_ok());
            };
            (WALK, repeat(walk))
        }
        Encoding::Protobuf => (COPY, copying(message.clone())),
    };
    Operation {
        name: format!("read a {name} command, {}", title(encoding)),
        bytes: message.len(),
        floor,
        work: repeat(move || {
            for command in commands(encoding, black_box(&message)) {
                assert!(black_box(command).is_ok(), "a whole command");
            }
        }),
        least,
    }
}

fn write_publication(encoding: Encoding) -> Operation {
    let data = data(encoding);
    let mut written = Vec::new();
    let write = move |out: &mut Vec<u8>| {
        let info =
            ClientInfo { client: "0123456789abcdef-0001-0000-0001-000000000001", ..ClientInfo::default() };
        let publication = roadstead_protocol::Publication {
            data: black_box(&data),
            info: Some(info),
            ..roadstead_protocol::Publication::default()
        };
        push_push(out, encoding, "room:one", &Push::Publication(&publication));
    };
    write(&mut written);
    let (bytes, least) = (written.len(), copying(written));
    let mut out = Vec::new();
    let work = repeat(move || {
        out.clear();
        write(&mut out);
        black_box(&mut out);
    });
    Operation { name: format!("write a publication, {}", title(encoding)), bytes, floor: COPY, work, least }
}

const fn title(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => "JSON",
        Encoding::Protobuf => "Protobuf",
    }
}

/// A request of the handshake bench, and its answer.
fn upgrade() -> Operation {
    const REQUEST: &[u8] = b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUser-Agent: roadstead-drive\r\n\r\n";
    const HASHED: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let mut out = Vec::new();
    Operation {
        name: "read an upgrade and answer it".to_owned(),
        bytes: REQUEST.len(),
        floor: HASH,
        work: repeat(move || {
            out.clear();
            match handshake::read_request(black_box(REQUEST)) {
                Ok(Some((request, _))) => handshake::push_accept(&mut out, request.key, None, None),
                _ => unreachable!("the request is whole"),
            }
            black_box(&mut out);
        }),
        least: repeat(|| {
            black_box(Sha1::digest(black_box(HASHED)));
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_and_floor_does_its_work_and_has_a_name_of_its_own() {
        let mut names = Vec::new();
        for mut operation in all() {
            (operation.work)(3);
            (operation.least)(3);
            assert!(operation.bytes > 0);
            names.push((operation.name, operation.bytes));
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
