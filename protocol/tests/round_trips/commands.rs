//! Whatever a client can say is read as it was meant, in both encodings, and nothing it can send does harm.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use roadstead_protocol::*;

use crate::schema;

/// Opaque bytes as this encoding carries them; may be empty, which means absent.
fn payload(encoding: Encoding) -> BoxedStrategy<Cow<'static, [u8]>> {
    match encoding {
        Encoding::Protobuf => vec(any::<u8>(), 0..200).prop_map(Cow::Owned).boxed(),
        Encoding::Json => prop_oneof![
            Just(String::new()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<String>()
                .prop_map(|text| serde_json::json!({ "text": text, "list": [1, null] }).to_string()),
        ]
        .prop_map(|text| Cow::Owned(text.into_bytes()))
        .boxed(),
    }
}

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof![Just(String::new()), "[a-z]{1,3}:[#a-z0-9]{1,130}", any::<String>()].prop_map(Cow::Owned)
}

prop_compose! {
    fn subscribe(encoding: Encoding)(
        (channel, token, epoch, delta) in (text(), text(), text(), text()),
        (recover, positioned, recoverable, join_leave) in any::<(bool, bool, bool, bool)>(),
        (offset, flag, kind) in any::<(u64, i64, i32)>(),
        data in payload(encoding),
        filter in payload(encoding),
    ) -> SubscribeRequest<'static> {
        let filter = (!filter.is_empty()).then_some(filter);
        SubscribeRequest {
            channel, token, recover, epoch, offset, data, positioned, recoverable, join_leave, delta, filter, flag,
            kind,
        }
    }
}

prop_compose! {
    fn connect(encoding: Encoding)(
        (token, name, version) in (text(), text(), text()),
        data in payload(encoding),
        subs in vec((text(), subscribe(encoding)), 0..4),
        headers in vec((text(), text()), 0..4),
    ) -> ConnectRequest<'static> {
        ConnectRequest { token, data, subs, name, version, headers }
    }
}

prop_compose! {
    fn history()(
        channel in text(),
        (limit, reverse) in any::<(i32, bool)>(),
        since in option::of((any::<u64>(), text())),
    ) -> HistoryRequest<'static> {
        let since = since.map(|(offset, epoch)| StreamPosition { offset, epoch });
        HistoryRequest { channel, limit, since, reverse }
    }
}

fn request(encoding: Encoding) -> impl Strategy<Value = Request<'static>> {
    prop_oneof![
        Just(Request::Empty),
        Just(Request::Ping),
        connect(encoding).prop_map(Request::Connect),
        subscribe(encoding).prop_map(Request::Subscribe),
        text().prop_map(Request::Unsubscribe),
        text().prop_map(Request::Presence),
        text().prop_map(Request::PresenceStats),
        text().prop_map(Request::Refresh),
        history().prop_map(Request::History),
        payload(encoding).prop_map(Request::Send),
        (text(), payload(encoding), any::<i32>())
            .prop_map(|(channel, data, kind)| Request::Publish(PublishRequest { channel, data, kind })),
        (payload(encoding), text()).prop_map(|(data, method)| Request::Rpc(RpcRequest { data, method })),
        (text(), text(), any::<i32>()).prop_map(|(channel, token, kind)| {
            Request::SubRefresh(SubRefreshRequest { channel, token, kind })
        }),
    ]
}

fn command(encoding: Encoding) -> impl Strategy<Value = Command<'static>> {
    let id = prop_oneof![Just(0), Just(1), any::<u32>()];
    (id, request(encoding)).prop_map(|(id, request)| Command { id, request })
}

fn any_encoding() -> impl Strategy<Value = Encoding> {
    prop_oneof![Just(Encoding::Json), Just(Encoding::Protobuf)]
}

fn batch() -> impl Strategy<Value = (Encoding, Vec<Command<'static>>)> {
    any_encoding().prop_flat_map(|encoding| (Just(encoding), vec(command(encoding), 1..5)))
}

fn write(encoding: Encoding, batch: &[Command<'_>]) -> Vec<u8> {
    let mut message = Vec::new();
    for command in batch {
        if !message.is_empty() {
            message.extend_from_slice(encoding.separator());
        }
        push_command(&mut message, encoding, command);
    }
    message
}

/// The same command, read by prost.
fn by_prost(command: &Command<'_>) -> schema::Command {
    fn subscribe(subscribe: &SubscribeRequest<'_>) -> schema::SubscribeRequest {
        schema::SubscribeRequest {
            channel: subscribe.channel.to_string(),
            token: subscribe.token.to_string(),
            recover: subscribe.recover,
            epoch: subscribe.epoch.to_string(),
            offset: subscribe.offset,
            data: subscribe.data.to_vec(),
            positioned: subscribe.positioned,
            recoverable: subscribe.recoverable,
            join_leave: subscribe.join_leave,
            delta: subscribe.delta.to_string(),
            tf: subscribe.filter.as_deref().map(<[u8]>::to_vec),
            flag: subscribe.flag,
            r#type: subscribe.kind,
        }
    }
    let mut expected = schema::Command { id: command.id, ..schema::Command::default() };
    let channel_of =
        |channel: &Cow<'_, str>| Some(schema::ChannelRequest { channel: channel.clone().into_owned() });
    match &command.request {
        Request::Empty => {}
        Request::Connect(connect) => {
            expected.connect = Some(schema::ConnectRequest {
                token: connect.token.to_string(),
                data: connect.data.to_vec(),
                subs: connect.subs.iter().map(|(name, sub)| (name.to_string(), subscribe(sub))).collect(),
                name: connect.name.to_string(),
                version: connect.version.to_string(),
                headers: connect.headers.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
            });
        }
        Request::Subscribe(request) => expected.subscribe = Some(subscribe(request)),
        Request::Unsubscribe(channel) => expected.unsubscribe = channel_of(channel),
        Request::Publish(publish) => {
            expected.publish = Some(schema::PublishRequest {
                channel: publish.channel.to_string(),
                data: publish.data.to_vec(),
                r#type: publish.kind,
            });
        }
        Request::Presence(channel) => expected.presence = channel_of(channel),
        Request::PresenceStats(channel) => expected.presence_stats = channel_of(channel),
        Request::History(history) => {
            let since = history.since.as_ref();
            expected.history = Some(schema::HistoryRequest {
                channel: history.channel.to_string(),
                limit: history.limit,
                since: since.map(|since| schema::StreamPosition {
                    offset: since.offset,
                    epoch: since.epoch.to_string(),
                }),
                reverse: history.reverse,
            });
        }
        Request::Ping => expected.ping = Some(schema::Nothing {}),
        Request::Send(data) => expected.send = Some(schema::Payload { data: data.to_vec() }),
        Request::Rpc(rpc) => {
            expected.rpc =
                Some(schema::RpcRequest { data: rpc.data.to_vec(), method: rpc.method.to_string() });
        }
        Request::Refresh(token) => {
            expected.refresh = Some(schema::TokenRequest { token: token.to_string() });
        }
        Request::SubRefresh(refresh) => {
            expected.sub_refresh = Some(schema::SubRefreshRequest {
                channel: refresh.channel.to_string(),
                token: refresh.token.to_string(),
                r#type: refresh.kind,
            });
        }
    }
    expected
}

proptest! {
    #[test]
    fn what_is_written_is_read((encoding, batch) in batch()) {
        let message = write(encoding, &batch);
        let read: Result<Vec<_>, _> = commands(encoding, &message).collect();
        prop_assert_eq!(read, Ok(batch));
    }

    #[test]
    fn prost_reads_what_is_written(command in command(Encoding::Protobuf)) {
        let message = write(Encoding::Protobuf, std::slice::from_ref(&command));
        let read = schema::Command::decode_length_delimited(&message[..]).unwrap();
        prop_assert_eq!(read, by_prost(&command));
    }

    #[test]
    fn what_prost_writes_is_read(mut command in command(Encoding::Protobuf)) {
        // prost keeps maps sorted and their keys unique.
        if let Request::Connect(connect) = &mut command.request {
            connect.subs.sort_by(|a, b| a.0.cmp(&b.0));
            connect.subs.dedup_by(|a, b| a.0 == b.0);
            connect.headers.sort();
            connect.headers.dedup_by(|a, b| a.0 == b.0);
        }
        let message = by_prost(&command).encode_length_delimited_to_vec();
        prop_assert_eq!(commands(Encoding::Protobuf, &message).collect::<Vec<_>>(), [Ok(command)]);
    }

    #[test]
    fn any_bytes_are_read_or_refused(encoding in any_encoding(), message in vec(any::<u8>(), 0..200)) {
        check_reading(encoding, &message)?;
    }

    #[test]
    fn any_damage_is_read_or_refused(
        (encoding, batch) in batch(),
        cuts in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        len in any::<prop::sample::Index>(),
    ) {
        let mut message = write(encoding, &batch);
        for (at, byte) in cuts {
            *at.get_mut(&mut message) = byte;
        }
        check_reading(encoding, &message)?;
        message.truncate(len.index(message.len()));
        check_reading(encoding, &message)?;
    }

    #[test]
    fn any_words_negotiate(query in any::<Option<String>>(), offered in vec(any::<String>(), 0..4)) {
        let negotiated = negotiate(query.as_deref(), offered.iter().map(String::as_str));
        if let Some(subprotocol) = negotiated.subprotocol {
            prop_assert!(offered.iter().any(|token| token.trim() == subprotocol));
        }
    }
}

/// Reading ends at the first refusal, and what was read can be written and read again.
fn check_reading(encoding: Encoding, message: &[u8]) -> Result<(), TestCaseError> {
    let read: Vec<_> = commands(encoding, message).collect();
    prop_assert!(!read.is_empty());
    prop_assert!(read.len() <= message.len().max(1));
    for (at, command) in read.iter().enumerate() {
        match command {
            Err(_) => prop_assert_eq!(at + 1, read.len()),
            Ok(command) => {
                let mut command = command.clone();
                if let Request::Subscribe(subscribe) = &mut command.request {
                    // An empty filter is not written.
                    subscribe.filter.take_if(|filter| filter.is_empty());
                }
                if let Request::Connect(connect) = &mut command.request {
                    for (_, subscribe) in &mut connect.subs {
                        subscribe.filter.take_if(|filter| filter.is_empty());
                    }
                }
                let again = write(encoding, std::slice::from_ref(&command));
                prop_assert_eq!(commands(encoding, &again).collect::<Vec<_>>(), [Ok(command)]);
            }
        }
    }
    Ok(())
}
