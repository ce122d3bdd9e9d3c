//! Messages of the schema as the JSON values they must be, by the omission rules of the protocol.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::schema;

/// A JSON object without its zero members: `false`, `0`, `""`, `[]` and absent ones. Objects stay.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let zero = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(true) | Value::Object(_) => false,
    };
    members
        .into_iter()
        .filter(|(_, value)| !zero(value))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn map<V>(entries: &BTreeMap<String, V>, value_of: impl Fn(&V) -> Value) -> Value {
    entries.iter().map(|(key, value)| (key.clone(), value_of(value))).collect()
}

/// A map that is left out when it is empty.
fn map_or_none<V>(entries: &BTreeMap<String, V>, value_of: impl Fn(&V) -> Value) -> Value {
    if entries.is_empty() { Value::Null } else { map(entries, value_of) }
}

/// Adds a payload, which is present with whatever value it has unless it is empty.
fn with_payload(mut object: Value, name: &str, data: &[u8]) -> Value {
    if !data.is_empty() {
        object[name] = serde_json::from_slice(data).expect("generated JSON");
    }
    object
}

fn json_info(info: &schema::ClientInfo) -> Value {
    let object = json!({ "user": info.user, "client": info.client });
    with_payload(with_payload(object, "conn_info", &info.conn_info), "chan_info", &info.chan_info)
}

fn json_publication(publication: &schema::Publication) -> Value {
    let members = object([
        ("info", publication.info.as_ref().map_or(Value::Null, json_info)),
        ("offset", publication.offset.into()),
        ("tags", map_or_none(&publication.tags, |tag| tag.as_str().into())),
        ("delta", publication.delta.into()),
        ("epoch", publication.epoch.as_str().into()),
    ]);
    with_payload(members, "data", &publication.data)
}

fn json_publications(publications: &[schema::Publication]) -> Value {
    publications.iter().map(json_publication).collect()
}

fn json_subscribe(result: &schema::SubscribeResult) -> Value {
    let members = object([
        ("expires", result.expires.into()),
        ("ttl", result.ttl.into()),
        ("recoverable", result.recoverable.into()),
        ("epoch", result.epoch.as_str().into()),
        ("publications", json_publications(&result.publications)),
        ("recovered", result.recovered.into()),
        ("offset", result.offset.into()),
        ("positioned", result.positioned.into()),
        ("was_recovering", result.was_recovering.into()),
        ("delta", result.delta.into()),
    ]);
    with_payload(members, "data", &result.data)
}

fn json_expiry(refresh: &schema::SubRefreshResult) -> Value {
    object([("expires", refresh.expires.into()), ("ttl", refresh.ttl.into())])
}

pub(crate) fn json_reply(reply: &schema::Reply) -> Value {
    let (name, result) = if let Some(error) = &reply.error {
        let members = [
            ("code", error.code.into()),
            ("message", error.message.as_str().into()),
            ("temporary", error.temporary.into()),
        ];
        ("error", object(members))
    } else if let Some(result) = &reply.connect {
        let members = object([
            ("client", result.client.as_str().into()),
            ("version", result.version.as_str().into()),
            ("expires", result.expires.into()),
            ("ttl", result.ttl.into()),
            ("subs", map_or_none(&result.subs, json_subscribe)),
            ("ping", result.ping.into()),
            ("pong", result.pong.into()),
            ("session", result.session.as_str().into()),
            ("node", result.node.as_str().into()),
            ("time", result.time.into()),
        ]);
        ("connect", with_payload(members, "data", &result.data))
    } else if let Some(result) = &reply.subscribe {
        ("subscribe", json_subscribe(result))
    } else if let Some(result) = &reply.presence {
        ("presence", json!({ "presence": map(&result.presence, json_info) }))
    } else if let Some(result) = &reply.presence_stats {
        ("presence_stats", json!({ "num_clients": result.num_clients, "num_users": result.num_users }))
    } else if let Some(result) = &reply.history {
        let publications = json_publications(&result.publications);
        ("history", json!({ "publications": publications, "epoch": result.epoch, "offset": result.offset }))
    } else if let Some(result) = &reply.rpc {
        ("rpc", with_payload(json!({}), "data", &result.data))
    } else if let Some(result) = &reply.refresh {
        let members = [
            ("client", result.client.as_str().into()),
            ("version", result.version.as_str().into()),
            ("expires", result.expires.into()),
            ("ttl", result.ttl.into()),
        ];
        ("refresh", object(members))
    } else if let Some(result) = &reply.sub_refresh {
        ("sub_refresh", json_expiry(result))
    } else if reply.unsubscribe.is_some() {
        ("unsubscribe", json!({}))
    } else {
        ("publish", json!({}))
    };
    object([("id", reply.id.into()), (name, result)])
}

pub(crate) fn json_push(push: &schema::Push) -> Value {
    let info =
        |presence: &schema::Presence| json!({ "info": json_info(presence.info.as_ref().expect("an info")) });
    let (name, message) = if let Some(publication) = &push.r#pub {
        ("pub", json_publication(publication))
    } else if let Some(join) = &push.join {
        ("join", info(join))
    } else if let Some(leave) = &push.leave {
        ("leave", info(leave))
    } else if let Some(ending) = &push.unsubscribe {
        ("unsubscribe", object([("code", ending.code.into()), ("reason", ending.reason.as_str().into())]))
    } else if let Some(subscribe) = &push.subscribe {
        let members = object([
            ("recoverable", subscribe.recoverable.into()),
            ("epoch", subscribe.epoch.as_str().into()),
            ("offset", subscribe.offset.into()),
            ("positioned", subscribe.positioned.into()),
        ]);
        ("subscribe", with_payload(members, "data", &subscribe.data))
    } else if let Some(message) = &push.message {
        ("message", with_payload(json!({}), "data", &message.data))
    } else if let Some(ending) = &push.disconnect {
        ("disconnect", object([("code", ending.code.into()), ("reason", ending.reason.as_str().into())]))
    } else {
        ("refresh", json_expiry(push.refresh.as_ref().expect("one push")))
    };
    json!({ "push": object([("channel", push.channel.as_str().into()), (name, message)]) })
}
