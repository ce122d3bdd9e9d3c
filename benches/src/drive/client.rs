//! The client protocol as far as the driver speaks it, written by hand in both encodings (their field numbers are in
//! the protocol's `client.proto`): connect, subscribe, publish; publications and pings are told apart and counted.

use super::opening::{Hear, Step};
use super::wire::{self, Opcode};
use super::{Encoding, Server};

/// Publications are sent under this number, which no other command of a session has.
const PUBLISH_ID: u64 = 1_000_000;

/// A command of a client.
enum Request<'a> {
    Connect { token: &'a str },
    Subscribe { channel: &'a str },
    Publish { channel: &'a str, data: &'a str },
}

impl Encoding {
    fn opcode(self) -> Opcode {
        match self {
            Encoding::Json => Opcode::Text,
            Encoding::Protobuf => Opcode::Binary,
        }
    }

    /// Appends a command, apart from the one before it.
    fn push(self, message: &mut Vec<u8>, id: u64, request: &Request<'_>) {
        match self {
            Encoding::Json => {
                if !message.is_empty() {
                    message.push(b'\n');
                }
                message.extend_from_slice(json(id, request).as_bytes());
            }
            Encoding::Protobuf => {
                let command = protobuf(id, request);
                push_varint(message, command.len() as u64);
                message.extend_from_slice(&command);
            }
        }
    }

    /// A publication of `data`, which in JSON gets the quotes of a string, as a frame.
    pub(super) fn publication(self, channel: &str, data: &str) -> Vec<u8> {
        let mut message = Vec::new();
        self.push(&mut message, PUBLISH_ID, &Request::Publish { channel, data });
        wire::client_frame(self.opcode(), &message)
    }

    /// The answer to a ping.
    pub(super) fn pong(self) -> Vec<u8> {
        wire::client_frame(self.opcode(), self.ping())
    }

    fn ping(self) -> &'static [u8] {
        match self {
            Encoding::Json => b"{}",
            Encoding::Protobuf => &[0],
        }
    }

    /// Counts the messages in the whole frames at the front of `bytes`.
    pub(super) fn count(self, bytes: &[u8]) -> Counted {
        let mut counted = Counted::default();
        let mut rest = bytes;
        while let Some((frame, behind)) = wire::split_frame(rest) {
            if frame.payload == self.ping() {
                counted.pings += 1;
            } else {
                counted.publications += match self {
                    Encoding::Json => pushes_of_lines(frame.payload),
                    Encoding::Protobuf => pushes_of_messages(frame.payload),
                };
            }
            rest = behind;
        }
        counted.bytes = bytes.len() - rest.len();
        counted
    }
}

/// What whole frames held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) publications: u64,
    pub(super) pings: u64,
    pub(super) bytes: usize,
}

fn pushes_of_lines(payload: &[u8]) -> u64 {
    if payload.starts_with(b"{\"push\":") {
        1 + payload.iter().filter(|byte| **byte == b'\n').count() as u64
    } else {
        0
    }
}

/// Messages stand behind their lengths; a push is a reply that begins with field 4.
fn pushes_of_messages(payload: &[u8]) -> u64 {
    const PUSH: u8 = 4 << 3 | 2;
    let mut pushes = 0;
    let mut rest = payload;
    while let Some((length, behind)) = split_varint(rest) {
        let Some((message, behind)) = behind.split_at_checked(length as usize) else { break };
        pushes += u64::from(message.first() == Some(&PUSH));
        rest = behind;
    }
    pushes
}

fn json(id: u64, request: &Request<'_>) -> String {
    match request {
        Request::Connect { token: "" } => format!(r#"{{"id":{id},"connect":{{}}}}"#),
        Request::Connect { token } => format!(r#"{{"id":{id},"connect":{{"token":"{token}"}}}}"#),
        Request::Subscribe { channel } => format!(r#"{{"id":{id},"subscribe":{{"channel":"{channel}"}}}}"#),
        Request::Publish { channel, data } => {
            format!(r#"{{"id":{id},"publish":{{"channel":"{channel}","data":"{data}"}}}}"#)
        }
    }
}

fn protobuf(id: u64, request: &Request<'_>) -> Vec<u8> {
    let mut fields = Vec::new();
    let tag = match request {
        Request::Connect { token } => {
            push_field(&mut fields, 1, token.as_bytes());
            4
        }
        Request::Subscribe { channel } => {
            push_field(&mut fields, 1, channel.as_bytes());
            5
        }
        Request::Publish { channel, data } => {
            push_field(&mut fields, 1, channel.as_bytes());
            push_field(&mut fields, 2, data.as_bytes());
            7
        }
    };
    let mut command = vec![1 << 3];
    push_varint(&mut command, id);
    command.push(tag << 3 | 2);
    push_varint(&mut command, fields.len() as u64);
    command.extend_from_slice(&fields);
    command
}

fn push_field(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    if !value.is_empty() {
        out.push(tag << 3 | 2);
        push_varint(out, value.len() as u64);
        out.extend_from_slice(value);
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number at the front of `bytes`, and what follows it.
fn split_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

/// What a Protobuf message from the server answers: its id (field 1), and whether it is an error (field 2).
pub(super) fn protobuf_replies(payload: &[u8]) -> Vec<(u64, bool)> {
    let mut replies = Vec::new();
    let mut rest = payload;
    while let Some((length, behind)) = split_varint(rest) {
        let Some((message, behind)) = behind.split_at_checked(length as usize) else { break };
        if let Some((id, result)) = message.strip_prefix(&[1 << 3]).and_then(split_varint) {
            replies.push((id, result.first() == Some(&(2 << 3 | 2))));
        }
        rest = behind;
    }
    replies
}

impl Server {
    /// Upgrade and connect, with a token unless it is empty.
    pub(super) fn connected(&self, token: &str) -> Vec<Step> {
        let mut message = Vec::new();
        self.encoding.push(&mut message, 1, &Request::Connect { token });
        vec![self.upgrade(), self.command(&message, 1)]
    }

    /// Subscriptions of a connected session, all in one message.
    pub(super) fn subscribed<'c>(&self, channels: impl IntoIterator<Item = &'c str>) -> Step {
        let mut message = Vec::new();
        let mut last = 1;
        for channel in channels {
            last += 1;
            self.encoding.push(&mut message, last, &Request::Subscribe { channel });
        }
        self.command(&message, last)
    }

    fn command(&self, message: &[u8], last: u64) -> Step {
        let hear = match self.encoding {
            Encoding::Json => Hear::Reply(last),
            Encoding::Protobuf => Hear::ProtobufReply(last),
        };
        Step { say: wire::client_frame(self.encoding.opcode(), message), hear }
    }
}

#[cfg(test)]
mod tests {
    use roadstead_protocol as protocol;

    use super::*;
    use crate::drive::wire::server_frame;

    #[test]
    fn publications_are_counted_by_message() {
        let push = br#"{"push":{"channel":"bench","pub":{"data":1}}}"#;
        let one = server_frame(Opcode::Text, push);
        let two = server_frame(Opcode::Text, &[&push[..], b"\n", push].concat());
        let ping = server_frame(Opcode::Text, b"{}");
        let table: [(Vec<u8>, u64, u64, usize); 5] = [
            (one.clone(), 1, 0, one.len()),
            (two.clone(), 2, 0, two.len()),
            ([&one[..], &ping, &two].concat(), 3, 1, one.len() + ping.len() + two.len()),
            ([&one[..], &one[..5]].concat(), 1, 0, one.len()),
            (one[..1].to_vec(), 0, 0, 0),
        ];
        for (bytes, publications, pings, whole) in table {
            assert_eq!(Encoding::Json.count(&bytes), Counted { publications, pings, bytes: whole });
        }
    }

    #[test]
    fn protobuf_publications_are_counted_by_message() {
        let publication = protocol::Publication { data: &[b'x'; 200], ..protocol::Publication::default() };
        let mut push = Vec::new();
        protocol::push_push(
            &mut push,
            protocol::Encoding::Protobuf,
            "bench",
            &protocol::Push::Publication(&publication),
        );
        let bytes = [
            server_frame(Opcode::Binary, &push.repeat(2)),
            server_frame(Opcode::Binary, &[0]),
            server_frame(Opcode::Binary, &push),
        ]
        .concat();
        let expected = Counted { publications: 3, pings: 1, bytes: bytes.len() };
        assert_eq!(Encoding::Protobuf.count(&bytes), expected);
    }

    #[test]
    fn commands_are_read_as_they_were_meant() {
        let requests = [
            Request::Connect { token: "a" },
            Request::Subscribe { channel: "bench" },
            Request::Publish { channel: "bench", data: "d" },
        ];
        for (ours, theirs) in
            [(Encoding::Json, protocol::Encoding::Json), (Encoding::Protobuf, protocol::Encoding::Protobuf)]
        {
            let mut message = Vec::new();
            for (id, request) in (300..).zip(&requests) {
                ours.push(&mut message, id, request);
            }
            let read: Vec<_> = protocol::commands(theirs, &message).map(Result::unwrap).collect();
            assert_eq!(read.iter().map(|command| command.id).collect::<Vec<_>>(), [300, 301, 302]);
            let data = if ours == Encoding::Json { "\"d\"" } else { "d" };
            let [
                protocol::Request::Connect(connect),
                protocol::Request::Subscribe(subscribe),
                protocol::Request::Publish(publish),
            ] = [&read[0].request, &read[1].request, &read[2].request]
            else {
                panic!("{read:?}");
            };
            assert_eq!((&*connect.token, &*subscribe.channel, &*publish.channel), ("a", "bench", "bench"));
            assert_eq!(&*publish.data, data.as_bytes());
        }
    }

    #[test]
    fn replies_are_known_by_their_ids() {
        let mut message = Vec::new();
        let encoding = protocol::Encoding::Protobuf;
        let result = protocol::SubscribeResult::default();
        protocol::push_reply(&mut message, encoding, 300, &protocol::Reply::Subscribe(&result));
        protocol::push_reply(
            &mut message,
            encoding,
            2,
            &protocol::Reply::Error(protocol::ErrorCode::PermissionDenied),
        );
        protocol::push_ping(&mut message, encoding);
        assert_eq!(protobuf_replies(&message), [(300, false), (2, true)]);
    }
}
