//! Reads the commands of a client out of one WebSocket message, in either encoding.
//!
//! Commands are read one by one, so that those after a failed connect are never looked at. Where a command holds
//! several requests the first in tag order counts; a field that comes twice replaces itself.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::command::{
    Command, ConnectRequest, Headers, HistoryRequest, PublishRequest, Request, RpcRequest, StreamPosition,
    SubRefreshRequest, SubscribeRequest,
};
use crate::json::{self, Lines, Object, Text, Tolerant};
use crate::limits::{CONNECT_HEADERS_MAX, CONNECT_SUBS_MAX};
use crate::protobuf::{self, Frames, Value};
use crate::{Encoding, Malformed, Method};

/// The commands of one WebSocket message; see [`commands()`].
#[derive(Debug, Clone)]
pub struct Commands<'a> {
    messages: Messages<'a>,
}

#[derive(Debug, Clone)]
enum Messages<'a> {
    Json(Lines<'a>),
    Protobuf(Frames<'a>),
    /// Something was malformed: what follows cannot be trusted.
    Ended,
}

/// Reads `message`, the payload of one WebSocket message (whose kind, text or binary, does not matter).
///
/// Yields at least one item, and none after a [`Malformed`]. Every command borrows from `message`.
pub fn commands(encoding: Encoding, message: &[u8]) -> Commands<'_> {
    let messages = match encoding {
        Encoding::Json => Messages::Json(Lines::of(message)),
        Encoding::Protobuf => Messages::Protobuf(Frames::of(message)),
    };
    Commands { messages }
}

impl<'a> Commands<'a> {
    /// What is left of the message, to be read as one later; `None`: nothing.
    pub fn rest(&self) -> Option<&'a [u8]> {
        match &self.messages {
            Messages::Json(lines) => lines.rest(),
            Messages::Protobuf(frames) => frames.rest(),
            Messages::Ended => None,
        }
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let command = match &mut self.messages {
            Messages::Json(lines) => lines.next()?.and_then(command_of_line),
            Messages::Protobuf(frames) => frames.next()?.and_then(command_of_frame),
            Messages::Ended => return None,
        };
        if command.is_err() {
            self.messages = Messages::Ended;
        }
        Some(command)
    }
}

fn command_of_line(line: &str) -> Result<Command<'_>, Malformed> {
    if line == "{}" {
        return Ok(Command { id: 0, request: Request::Empty });
    }
    let mut reader = serde_json::Deserializer::from_str(line);
    let command = reader.deserialize_map(CommandVisitor).map_err(|_| Malformed::Json)?;
    reader.end().map_err(|_| Malformed::Json)?;
    Ok(command)
}

struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = Command<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut command = Command { id: 0, request: Request::Empty };
        while let Some(Text(name)) = map.next_key()? {
            if name == "id" {
                let Tolerant(id) = map.next_value()?;
                command.id = id;
                continue;
            }
            match Method::of_name(&name) {
                Some(method) if counts(&command.request, method) => {
                    if let Some(request) = request_of_value(method, &mut map)? {
                        command.request = request;
                    }
                }
                Some(_) | None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(command)
    }
}

/// Whether a request of `method` goes before the one read so far.
fn counts(request: &Request<'_>, method: Method) -> bool {
    request.method().is_none_or(|present| method <= present)
}

/// Reads the request behind a member's name; `None` for `null`.
fn request_of_value<'de, A: MapAccess<'de>>(
    method: Method,
    map: &mut A,
) -> Result<Option<Request<'de>>, A::Error> {
    #[derive(serde::Deserialize)]
    struct Channel<'a> {
        #[serde(borrow, default, deserialize_with = "json::text")]
        channel: Cow<'a, str>,
    }
    #[derive(serde::Deserialize)]
    struct Payload<'a> {
        #[serde(borrow, default, deserialize_with = "json::bytes")]
        data: Cow<'a, [u8]>,
    }
    #[derive(serde::Deserialize)]
    struct Token<'a> {
        #[serde(borrow, default, deserialize_with = "json::text")]
        token: Cow<'a, str>,
    }

    fn value<'de, T: Deserialize<'de>, A: MapAccess<'de>>(map: &mut A) -> Result<Option<T>, A::Error> {
        map.next_value::<Object<T>>().map(|object| object.0)
    }

    Ok(match method {
        Method::Connect => value(map)?.map(Request::Connect),
        Method::Subscribe => value(map)?.map(Request::Subscribe),
        Method::Unsubscribe => value(map)?.map(|Channel { channel }| Request::Unsubscribe(channel)),
        Method::Publish => value(map)?.map(Request::Publish),
        Method::Presence => value(map)?.map(|Channel { channel }| Request::Presence(channel)),
        Method::PresenceStats => value(map)?.map(|Channel { channel }| Request::PresenceStats(channel)),
        Method::History => value(map)?.map(Request::History),
        Method::Ping => value(map)?.map(|IgnoredAny| Request::Ping),
        Method::Send => value(map)?.map(|Payload { data }| Request::Send(data)),
        Method::Rpc => value(map)?.map(Request::Rpc),
        Method::Refresh => value(map)?.map(|Token { token }| Request::Refresh(token)),
        Method::SubRefresh => value(map)?.map(Request::SubRefresh),
    })
}

pub(crate) fn header_map<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Headers<'a>, D::Error> {
    json::entries(deserializer, CONNECT_HEADERS_MAX, |Text(value)| value)
}

pub(crate) fn sub_map<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(Cow<'a, str>, SubscribeRequest<'a>)>, D::Error> {
    json::entries(deserializer, CONNECT_SUBS_MAX, |Object(value): Object<SubscribeRequest<'de>>| {
        value.unwrap_or_default()
    })
}

fn command_of_frame(frame: &[u8]) -> Result<Command<'_>, Malformed> {
    let mut command = Command { id: 0, request: Request::Empty };
    protobuf::fields(frame, |tag, value| {
        if tag == 1 {
            command.id = value.u32()?;
        } else if let Some(method) = Method::of_command_tag(tag)
            && counts(&command.request, method)
        {
            command.request = request_of_field(method, value)?;
        }
        Ok(())
    })?;
    Ok(command)
}

fn request_of_field<'a>(method: Method, value: Value<'a>) -> Result<Request<'a>, Malformed> {
    let message = value.bytes()?;
    Ok(match method {
        Method::Connect => Request::Connect(connect_request(message)?),
        Method::Subscribe => Request::Subscribe(subscribe_request(message)?),
        Method::Unsubscribe => Request::Unsubscribe(first_field(message, Value::text)?),
        Method::Publish => Request::Publish(publish_request(message)?),
        Method::Presence => Request::Presence(first_field(message, Value::text)?),
        Method::PresenceStats => Request::PresenceStats(first_field(message, Value::text)?),
        Method::History => Request::History(history_request(message)?),
        Method::Ping => Request::Ping,
        Method::Send => Request::Send(first_field(message, Value::payload)?),
        Method::Rpc => Request::Rpc(rpc_request(message)?),
        Method::Refresh => Request::Refresh(first_field(message, Value::text)?),
        Method::SubRefresh => Request::SubRefresh(sub_refresh_request(message)?),
    })
}

/// Reads a message of which only the field with tag 1 matters.
fn first_field<'a, T: ?Sized + ToOwned>(
    message: &'a [u8],
    read: fn(Value<'a>) -> Result<Cow<'a, T>, Malformed>,
) -> Result<Cow<'a, T>, Malformed>
where
    &'a T: Default,
{
    let mut first = Cow::Borrowed(Default::default());
    protobuf::fields(message, |tag, value| {
        if tag == 1 {
            first = read(value)?;
        }
        Ok(())
    })?;
    Ok(first)
}

fn connect_request(message: &[u8]) -> Result<ConnectRequest<'_>, Malformed> {
    let mut connect = ConnectRequest::default();
    protobuf::fields(message, |tag, value| {
        match tag {
            1 => connect.token = value.text()?,
            2 => connect.data = value.payload()?,
            3 => {
                let (channel, sub) = protobuf::entry(value.bytes()?)?;
                let sub = subscribe_request(sub)?;
                push_entry(&mut connect.subs, CONNECT_SUBS_MAX, (channel, sub))?;
            }
            4 => connect.name = value.text()?,
            5 => connect.version = value.text()?,
            6 => {
                let (name, text) = protobuf::entry(value.bytes()?)?;
                let text = Value::Bytes(text).text()?;
                push_entry(&mut connect.headers, CONNECT_HEADERS_MAX, (name, text))?;
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(connect)
}

fn push_entry<E>(entries: &mut Vec<E>, entries_max: usize, entry: E) -> Result<(), Malformed> {
    if entries.len() == entries_max {
        return Err(Malformed::TooMany);
    }
    entries.push(entry);
    Ok(())
}

fn subscribe_request(message: &[u8]) -> Result<SubscribeRequest<'_>, Malformed> {
    let mut subscribe = SubscribeRequest::default();
    protobuf::fields(message, |tag, value| {
        match tag {
            1 => subscribe.channel = value.text()?,
            2 => subscribe.token = value.text()?,
            3 => subscribe.recover = value.flag()?,
            6 => subscribe.epoch = value.text()?,
            7 => subscribe.offset = value.u64()?,
            8 => subscribe.data = value.payload()?,
            9 => subscribe.positioned = value.flag()?,
            10 => subscribe.recoverable = value.flag()?,
            11 => subscribe.join_leave = value.flag()?,
            12 => subscribe.delta = value.text()?,
            13 => subscribe.filter = Some(value.payload()?),
            14 => subscribe.flag = value.i64()?,
            15 => subscribe.kind = value.i32()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(subscribe)
}

fn publish_request(message: &[u8]) -> Result<PublishRequest<'_>, Malformed> {
    let mut publish = PublishRequest::default();
    protobuf::fields(message, |tag, value| {
        match tag {
            1 => publish.channel = value.text()?,
            2 => publish.data = value.payload()?,
            3 => publish.kind = value.i32()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(publish)
}

fn stream_position(message: &[u8]) -> Result<StreamPosition<'_>, Malformed> {
    let mut position = StreamPosition::default();
    protobuf::fields(message, |tag, value| {
        match tag {
            1 => position.offset = value.u64()?,
            2 => position.epoch = value.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(position)
}

fn history_request(message: &[u8]) -> Result<HistoryRequest<'_>, Malformed> {
    let mut history = HistoryRequest::default();
    protobuf::fields(message, |tag, value| {
        match tag {
            1 => history.channel = value.text()?,
            7 => history.limit = value.i32()?,
            8 => history.since = Some(stream_position(value.bytes()?)?),
            9 => history.reverse = value.flag()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(history)
}

fn rpc_request(message: &[u8]) -> Result<RpcRequest<'_>, Malformed> {
    let mut rpc = RpcRequest::default();
    protobuf::fields(message, |tag, value| {
        match tag {
            1 => rpc.data = value.payload()?,
            2 => rpc.method = value.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(rpc)
}

fn sub_refresh_request(message: &[u8]) -> Result<SubRefreshRequest<'_>, Malformed> {
    let mut refresh = SubRefreshRequest::default();
    protobuf::fields(message, |tag, value| {
        match tag {
            1 => refresh.channel = value.text()?,
            2 => refresh.token = value.text()?,
            3 => refresh.kind = value.i32()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(refresh)
}
