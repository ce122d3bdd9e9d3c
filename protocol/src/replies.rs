//! Reads what a server sends, for load generators and tests: as much as a client needs to count and to check.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::json::{self, Lines, Object, Text, Tolerant};
use crate::protobuf::{self, Frames, Value};
use crate::{Encoding, Malformed, Method};

/// One message of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerMessage<'a> {
    /// Answer with an empty command.
    Ping,
    /// The answer to command `id`. Exactly one of `error` and `result` is there, if the server keeps its word.
    Reply {
        /// The command's id.
        id: u32,
        /// Code and message.
        error: Option<(u32, Cow<'a, str>)>,
        /// Which result object is present.
        result: Option<Method>,
    },
    /// A publication of a channel.
    Publication {
        /// The channel.
        channel: Cow<'a, str>,
        /// The payload: raw JSON in JSON.
        data: Cow<'a, [u8]>,
        /// The place in the stream; 0 when there is none.
        offset: u64,
    },
    /// A subscription is gone.
    Unsubscribed {
        /// The channel.
        channel: Cow<'a, str>,
        /// Why: an [`UnsubscribeCode`](crate::UnsubscribeCode).
        code: u32,
    },
    /// Any other push.
    Other,
}

/// How a subscription began, as its client is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct Subscribed<'a> {
    /// It knows its position.
    pub positioned: bool,
    /// The stream's epoch.
    #[serde(borrow, deserialize_with = "json::text")]
    pub epoch: Cow<'a, str>,
    /// Where the client was, if everything was recovered; the stream's top otherwise.
    pub offset: u64,
    /// Recovery was attempted.
    pub was_recovering: bool,
    /// Nothing is missing.
    pub recovered: bool,
    /// What was missed.
    #[serde(borrow)]
    pub publications: Vec<Recovered<'a>>,
}

/// A publication that came with a recovery.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct Recovered<'a> {
    /// The payload: raw JSON in JSON.
    #[serde(borrow, deserialize_with = "json::bytes")]
    pub data: Cow<'a, [u8]>,
    /// The place in the stream.
    pub offset: u64,
}

/// The answer to subscribe command `id` in `message`, the payload of one WebSocket message of a server, if it is a success.
pub fn subscribed(encoding: Encoding, message: &[u8], id: u32) -> Option<Subscribed<'_>> {
    match encoding {
        Encoding::Json => Lines::of(message).flatten().find_map(|line| {
            let reply: SubscribeReply<'_> = serde_json::from_str(line).ok()?;
            reply.subscribe.filter(|_| reply.id == id)
        }),
        Encoding::Protobuf => Frames::of(message).flatten().find_map(|frame| {
            let (mut found, mut result) = (0, None);
            protobuf::fields(frame, |tag, value| {
                match tag {
                    1 => found = value.u32()?,
                    6 => result = Some(subscribed_object(value)?),
                    _ => {}
                }
                Ok(())
            })
            .ok()?;
            result.filter(|_| found == id)
        }),
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct SubscribeReply<'a> {
    id: u32,
    #[serde(borrow)]
    subscribe: Option<Subscribed<'a>>,
}

fn subscribed_object(value: Value<'_>) -> Result<Subscribed<'_>, Malformed> {
    let mut subscribed = Subscribed::default();
    protobuf::fields(value.bytes()?, |tag, value| {
        match tag {
            6 => subscribed.epoch = value.text()?,
            7 => {
                let PublicationObject { data, offset } = publication_object(value)?;
                subscribed.publications.push(Recovered { data, offset });
            }
            8 => subscribed.recovered = value.flag()?,
            9 => subscribed.offset = value.u64()?,
            10 => subscribed.positioned = value.flag()?,
            12 => subscribed.was_recovering = value.flag()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(subscribed)
}

/// The messages of one WebSocket message; see [`replies()`].
#[derive(Debug, Clone)]
pub struct Replies<'a> {
    messages: Messages<'a>,
}

#[derive(Debug, Clone)]
enum Messages<'a> {
    Json(Lines<'a>),
    Protobuf(Frames<'a>),
    Ended,
}

/// Reads `message`, the payload of one WebSocket message of a server.
///
/// Yields at least one item, and none after a [`Malformed`]. Every item borrows from `message`.
pub fn replies(encoding: Encoding, message: &[u8]) -> Replies<'_> {
    let messages = match encoding {
        Encoding::Json => Messages::Json(Lines::of(message)),
        Encoding::Protobuf => Messages::Protobuf(Frames::of(message)),
    };
    Replies { messages }
}

impl<'a> Iterator for Replies<'a> {
    type Item = Result<ServerMessage<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let reply = match &mut self.messages {
            Messages::Json(lines) => lines.next()?.and_then(reply_of_line),
            Messages::Protobuf(frames) => frames.next()?.and_then(reply_of_frame),
            Messages::Ended => return None,
        };
        if reply.is_err() {
            self.messages = Messages::Ended;
        }
        Some(reply)
    }
}

/// A reply's fields before it is known what it is.
#[derive(Default)]
struct Envelope<'a> {
    id: u32,
    error: Option<ErrorObject<'a>>,
    result: Option<Method>,
    push: Option<PushObject<'a>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct ErrorObject<'a> {
    code: u32,
    #[serde(borrow, deserialize_with = "json::text")]
    message: Cow<'a, str>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct PushObject<'a> {
    #[serde(borrow, deserialize_with = "json::text")]
    channel: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "json::object", rename = "pub")]
    publication: Option<PublicationObject<'a>>,
    #[serde(deserialize_with = "json::object")]
    unsubscribe: Option<UnsubscribeObject>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct UnsubscribeObject {
    code: u32,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct PublicationObject<'a> {
    #[serde(borrow, deserialize_with = "json::bytes")]
    data: Cow<'a, [u8]>,
    offset: u64,
}

impl<'a> From<Envelope<'a>> for ServerMessage<'a> {
    fn from(envelope: Envelope<'a>) -> Self {
        let Envelope { id, error, result, push } = envelope;
        match push {
            Some(PushObject { channel, publication: Some(PublicationObject { data, offset }), .. }) => {
                Self::Publication { channel, data, offset }
            }
            Some(PushObject { channel, unsubscribe: Some(UnsubscribeObject { code }), .. }) => {
                Self::Unsubscribed { channel, code }
            }
            Some(_) => Self::Other,
            None if id == 0 && error.is_none() && result.is_none() => Self::Ping,
            None => Self::Reply { id, error: error.map(|error| (error.code, error.message)), result },
        }
    }
}

fn reply_of_line(line: &str) -> Result<ServerMessage<'_>, Malformed> {
    if line == "{}" {
        return Ok(ServerMessage::Ping);
    }
    let mut reader = serde_json::Deserializer::from_str(line);
    let envelope = reader.deserialize_map(EnvelopeVisitor).map_err(|_| Malformed::Json)?;
    reader.end().map_err(|_| Malformed::Json)?;
    Ok(envelope.into())
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reply")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        fn value<'de, T: Deserialize<'de>, A: MapAccess<'de>>(map: &mut A) -> Result<Option<T>, A::Error> {
            map.next_value::<Object<T>>().map(|object| object.0)
        }

        let mut envelope = Envelope::default();
        while let Some(Text(name)) = map.next_key()? {
            match &*name {
                "id" => Tolerant(envelope.id) = map.next_value()?,
                "error" => envelope.error = value(&mut map)?,
                "push" => envelope.push = value(&mut map)?,
                name => {
                    let result = value::<IgnoredAny, _>(&mut map)?;
                    let method = Method::of_name(name).filter(|_| result.is_some());
                    envelope.result = method.or(envelope.result);
                }
            }
        }
        Ok(envelope)
    }
}

fn reply_of_frame(frame: &[u8]) -> Result<ServerMessage<'_>, Malformed> {
    let mut envelope = Envelope::default();
    protobuf::fields(frame, |tag, value| {
        match tag {
            1 => envelope.id = value.u32()?,
            2 => envelope.error = Some(error_object(value)?),
            4 => envelope.push = Some(push_object(value)?),
            tag => envelope.result = Method::of_reply_tag(tag).or(envelope.result),
        }
        Ok(())
    })?;
    Ok(envelope.into())
}

fn error_object(value: Value<'_>) -> Result<ErrorObject<'_>, Malformed> {
    let mut error = ErrorObject::default();
    protobuf::fields(value.bytes()?, |tag, value| {
        match tag {
            1 => error.code = value.u32()?,
            2 => error.message = value.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(error)
}

fn push_object(value: Value<'_>) -> Result<PushObject<'_>, Malformed> {
    let mut push = PushObject::default();
    protobuf::fields(value.bytes()?, |tag, value| {
        match tag {
            2 => push.channel = value.text()?,
            4 => push.publication = Some(publication_object(value)?),
            7 => push.unsubscribe = Some(unsubscribe_object(value)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(push)
}

fn unsubscribe_object(value: Value<'_>) -> Result<UnsubscribeObject, Malformed> {
    let mut unsubscribe = UnsubscribeObject::default();
    protobuf::fields(value.bytes()?, |tag, value| {
        if tag == 2 {
            unsubscribe.code = value.u32()?;
        }
        Ok(())
    })?;
    Ok(unsubscribe)
}

fn publication_object(value: Value<'_>) -> Result<PublicationObject<'_>, Malformed> {
    let mut publication = PublicationObject::default();
    protobuf::fields(value.bytes()?, |tag, value| {
        match tag {
            4 => publication.data = value.payload()?,
            6 => publication.offset = value.u64()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(publication)
}
