//! Whatever a server can say is what independent readers (prost, serde_json) and our own client side understand.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use roadstead_protocol::*;
use serde_json::{Value, json};

use crate::json_form::{json_push, json_reply};
use crate::our_form::{write_push, write_reply};
use crate::schema;

/// Raw JSON, which Protobuf carries as well as any bytes; may be empty, which means absent.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(String::new()),
        Just("null".to_owned()),
        any::<u64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| json!({ "text": text, "list": [1, null] }).to_string()),
        "[a-z]{100,140}".prop_map(|text| json!(text).to_string()),
    ]
    .prop_map(String::into_bytes)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z]{1,3}:[#a-z0-9]{1,130}", any::<String>()]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(127), Just(128), Just(u64::MAX), any::<u64>()]
}

prop_compose! {
    fn client_info()(
        user in text(), client in text(), conn_info in payload(), chan_info in payload(),
    ) -> schema::ClientInfo {
        schema::ClientInfo { user, client, conn_info, chan_info }
    }
}

prop_compose! {
    fn publication()(
        data in payload(),
        info in option::of(client_info()),
        offset in number(),
        tags in btree_map(text(), text(), 0..3),
        delta in any::<bool>(),
        epoch in text(),
    ) -> schema::Publication {
        schema::Publication { data, info, offset, tags, delta, epoch }
    }
}

prop_compose! {
    fn subscribe_result()(
        (expires, recoverable, recovered, positioned, was_recovering, delta) in
            any::<(bool, bool, bool, bool, bool, bool)>(),
        ttl in any::<u32>(),
        epoch in text(),
        publications in vec(publication(), 0..3),
        offset in number(),
        data in payload(),
    ) -> schema::SubscribeResult {
        schema::SubscribeResult {
            expires, ttl, recoverable, epoch, publications, recovered, offset, positioned, data, was_recovering,
            delta,
        }
    }
}

prop_compose! {
    fn connect_result()(
        (client, version, session, node) in (text(), text(), text(), text()),
        (expires, pong, ttl, ping, time) in any::<(bool, bool, u32, u32, i64)>(),
        data in payload(),
        subs in btree_map(text(), subscribe_result(), 0..3),
    ) -> schema::ConnectResult {
        schema::ConnectResult { client, version, expires, ttl, data, subs, ping, pong, session, node, time }
    }
}

fn reply_results() -> impl Strategy<Value = schema::Reply> {
    type Reply = schema::Reply;
    prop_oneof![
        Just(Reply { publish: Some(schema::Nothing {}), ..Reply::default() }),
        Just(Reply { unsubscribe: Some(schema::Nothing {}), ..Reply::default() }),
        prop::sample::select(ErrorCode::ALL.to_vec()).prop_map(|error| {
            let error = schema::Error {
                code: error.code(),
                message: error.message().to_owned(),
                temporary: error.temporary(),
            };
            Reply { error: Some(error), ..Reply::default() }
        }),
        connect_result().prop_map(|result| Reply { connect: Some(result), ..Reply::default() }),
        subscribe_result().prop_map(|result| Reply { subscribe: Some(result), ..Reply::default() }),
        btree_map(text(), client_info(), 0..3).prop_map(|presence| Reply {
            presence: Some(schema::PresenceResult { presence }),
            ..Reply::default()
        }),
        any::<(u32, u32)>().prop_map(|(num_clients, num_users)| Reply {
            presence_stats: Some(schema::PresenceStatsResult { num_clients, num_users }),
            ..Reply::default()
        }),
        (vec(publication(), 0..3), text(), number()).prop_map(|(publications, epoch, offset)| Reply {
            history: Some(schema::HistoryResult { publications, epoch, offset }),
            ..Reply::default()
        }),
        payload().prop_map(|data| Reply { rpc: Some(schema::Payload { data }), ..Reply::default() }),
        (text(), text(), any::<(bool, u32)>()).prop_map(|(client, version, (expires, ttl))| Reply {
            refresh: Some(schema::RefreshResult { client, version, expires, ttl }),
            ..Reply::default()
        }),
        any::<(bool, u32)>().prop_map(|(expires, ttl)| Reply {
            sub_refresh: Some(schema::SubRefreshResult { expires, ttl }),
            ..Reply::default()
        }),
    ]
}

fn pushes() -> impl Strategy<Value = schema::Push> {
    type Push = schema::Push;
    prop_oneof![
        (text(), publication()).prop_map(|(channel, publication)| Push {
            channel,
            r#pub: Some(publication),
            ..Push::default()
        }),
        (text(), client_info()).prop_map(|(channel, info)| Push {
            channel,
            join: Some(schema::Presence { info: Some(info) }),
            ..Push::default()
        }),
        (text(), client_info()).prop_map(|(channel, info)| Push {
            channel,
            leave: Some(schema::Presence { info: Some(info) }),
            ..Push::default()
        }),
        (text(), any::<u32>(), text()).prop_map(|(channel, code, reason)| Push {
            channel,
            unsubscribe: Some(schema::Unsubscribe { code, reason }),
            ..Push::default()
        }),
        (text(), any::<(bool, bool)>(), text(), number(), payload()).prop_map(
            |(channel, (recoverable, positioned), epoch, offset, data)| Push {
                channel,
                subscribe: Some(schema::Subscribe { recoverable, epoch, offset, positioned, data }),
                ..Push::default()
            }
        ),
        payload().prop_map(|data| Push { message: Some(schema::Payload { data }), ..Push::default() }),
        (any::<u32>(), text()).prop_map(|(code, reason)| Push {
            disconnect: Some(schema::Disconnect { code, reason }),
            ..Push::default()
        }),
        any::<(bool, u32)>().prop_map(|(expires, ttl)| Push {
            refresh: Some(schema::SubRefreshResult { expires, ttl }),
            ..Push::default()
        }),
    ]
}

fn result_of(reply: &schema::Reply) -> Option<Method> {
    [
        (reply.connect.is_some(), Method::Connect),
        (reply.subscribe.is_some(), Method::Subscribe),
        (reply.unsubscribe.is_some(), Method::Unsubscribe),
        (reply.publish.is_some(), Method::Publish),
        (reply.presence.is_some(), Method::Presence),
        (reply.presence_stats.is_some(), Method::PresenceStats),
        (reply.history.is_some(), Method::History),
        (reply.rpc.is_some(), Method::Rpc),
        (reply.refresh.is_some(), Method::Refresh),
        (reply.sub_refresh.is_some(), Method::SubRefresh),
    ]
    .into_iter()
    .find_map(|(present, method)| present.then_some(method))
}

fn check_client_side(
    encoding: Encoding,
    message: &[u8],
    expected: &ServerMessage<'_>,
) -> Result<(), TestCaseError> {
    let read: Vec<_> = replies(encoding, message).collect();
    prop_assert_eq!(read, [Ok(expected.clone())]);
    Ok(())
}

proptest! {
    #[test]
    fn replies_are_understood(id in 1..=u32::MAX, reply in reply_results()) {
        let reply = schema::Reply { id, ..reply };
        let error = reply.error.as_ref().map(|error| (error.code, error.message.as_str().into()));
        let expected = ServerMessage::Reply { id, error, result: result_of(&reply) };

        let message = write_reply(Encoding::Protobuf, &reply);
        prop_assert_eq!(&schema::Reply::decode_length_delimited(&message[..]).unwrap(), &reply);
        check_client_side(Encoding::Protobuf, &message, &expected)?;

        let message = write_reply(Encoding::Json, &reply);
        prop_assert!(!message.contains(&b'\n'));
        prop_assert_eq!(serde_json::from_slice::<Value>(&message).unwrap(), json_reply(&reply));
        check_client_side(Encoding::Json, &message, &expected)?;
    }

    #[test]
    fn pushes_are_understood(push in pushes()) {
        let expected = match &push.r#pub {
            None => match &push.unsubscribe {
                None => ServerMessage::Other,
                Some(unsubscribe) => ServerMessage::Unsubscribed {
                    channel: push.channel.as_str().into(),
                    code: unsubscribe.code,
                },
            },
            Some(publication) => ServerMessage::Publication {
                channel: push.channel.as_str().into(),
                data: publication.data.as_slice().into(),
                offset: publication.offset,
            },
        };

        let message = write_push(Encoding::Protobuf, &push);
        let reply = schema::Reply::decode_length_delimited(&message[..]).unwrap();
        prop_assert_eq!(reply, schema::Reply { push: Some(push.clone()), ..schema::Reply::default() });
        check_client_side(Encoding::Protobuf, &message, &expected)?;

        let message = write_push(Encoding::Json, &push);
        prop_assert!(!message.contains(&b'\n'));
        prop_assert_eq!(serde_json::from_slice::<Value>(&message).unwrap(), json_push(&push));
        check_client_side(Encoding::Json, &message, &expected)?;
    }

    #[test]
    fn batches_are_read_in_order(first in reply_results(), second in pushes(), json in any::<bool>()) {
        let encoding = if json { Encoding::Json } else { Encoding::Protobuf };
        let first = schema::Reply { id: 5, ..first };
        let mut message = write_reply(encoding, &first);
        message.extend_from_slice(encoding.separator());
        message.extend_from_slice(&write_push(encoding, &second));
        message.extend_from_slice(encoding.separator());
        push_ping(&mut message, encoding);
        let read: Vec<_> = replies(encoding, &message).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read.len(), 3);
        let is_reply = matches!(&read[0], ServerMessage::Reply { id: 5, .. });
        prop_assert!(is_reply);
        prop_assert_eq!(&read[2], &ServerMessage::Ping);
    }

    #[test]
    fn any_bytes_are_read_or_refused(message in vec(any::<u8>(), 0..200)) {
        for encoding in Encoding::ALL {
            let read: Vec<_> = replies(encoding, &message).collect();
            prop_assert!(!read.is_empty());
            prop_assert!(read[..read.len() - 1].iter().all(Result::is_ok));
        }
    }
}
