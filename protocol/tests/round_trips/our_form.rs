//! Messages of the schema written by the crate under test.

use roadstead_protocol::*;

use crate::schema;

/// The parts of our borrowed types that need a home of their own.
#[derive(Default)]
struct Lists<'a> {
    tags: Vec<Vec<(&'a str, &'a str)>>,
}

fn borrowed_tags(publication: &schema::Publication) -> Vec<(&str, &str)> {
    publication.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

fn borrowed_info(info: &schema::ClientInfo) -> ClientInfo<'_> {
    ClientInfo {
        user: &info.user,
        client: &info.client,
        conn_info: &info.conn_info,
        chan_info: &info.chan_info,
    }
}

fn borrowed_publication<'a>(
    publication: &'a schema::Publication,
    tags: &'a [(&'a str, &'a str)],
) -> Publication<'a> {
    Publication {
        data: &publication.data,
        info: publication.info.as_ref().map(borrowed_info),
        offset: publication.offset,
        tags,
        delta: publication.delta,
        epoch: &publication.epoch,
    }
}

impl<'a> Lists<'a> {
    fn of(publications: impl Iterator<Item = &'a schema::Publication>) -> Self {
        Self { tags: publications.map(borrowed_tags).collect() }
    }

    fn publications(&'a self, of: &'a [schema::Publication]) -> Vec<Publication<'a>> {
        of.iter().zip(&self.tags).map(|(publication, tags)| borrowed_publication(publication, tags)).collect()
    }
}

fn borrowed_subscribe<'a>(
    result: &'a schema::SubscribeResult,
    publications: &'a [Publication<'a>],
) -> SubscribeResult<'a> {
    SubscribeResult {
        expires: result.expires,
        ttl: result.ttl,
        recoverable: result.recoverable,
        epoch: &result.epoch,
        publications,
        recovered: result.recovered,
        offset: result.offset,
        positioned: result.positioned,
        data: &result.data,
        was_recovering: result.was_recovering,
        delta: result.delta,
    }
}

pub(crate) fn write_reply(encoding: Encoding, expected: &schema::Reply) -> Vec<u8> {
    let mut out = Vec::new();
    let mut push = |reply: &Reply<'_>| push_reply(&mut out, encoding, expected.id, reply);
    if let Some(error) = &expected.error {
        let code = ErrorCode::ALL.into_iter().find(|code| code.code() == error.code).expect("a known code");
        push(&Reply::Error(code));
    } else if let Some(result) = &expected.connect {
        let lists: Vec<_> = result.subs.values().map(|sub| Lists::of(sub.publications.iter())).collect();
        let publications: Vec<_> = result
            .subs
            .values()
            .zip(&lists)
            .map(|(sub, lists)| lists.publications(&sub.publications))
            .collect();
        let subs: Vec<_> = result
            .subs
            .iter()
            .zip(&publications)
            .map(|((channel, sub), publications)| (channel.as_str(), borrowed_subscribe(sub, publications)))
            .collect();
        push(&Reply::Connect(&ConnectResult {
            client: &result.client,
            version: &result.version,
            expires: result.expires,
            ttl: result.ttl,
            data: &result.data,
            subs: &subs,
            ping: result.ping,
            pong: result.pong,
            session: &result.session,
            node: &result.node,
            time: result.time,
        }));
    } else if let Some(result) = &expected.subscribe {
        let lists = Lists::of(result.publications.iter());
        let publications = lists.publications(&result.publications);
        push(&Reply::Subscribe(&borrowed_subscribe(result, &publications)));
    } else if let Some(result) = &expected.presence {
        let presence: Vec<_> =
            result.presence.iter().map(|(client, info)| (client.as_str(), borrowed_info(info))).collect();
        push(&Reply::Presence(&PresenceResult { presence: &presence }));
    } else if let Some(result) = &expected.presence_stats {
        let (num_clients, num_users) = (result.num_clients, result.num_users);
        push(&Reply::PresenceStats(&PresenceStatsResult { num_clients, num_users }));
    } else if let Some(result) = &expected.history {
        let lists = Lists::of(result.publications.iter());
        let publications = lists.publications(&result.publications);
        let (epoch, offset) = (result.epoch.as_str(), result.offset);
        push(&Reply::History(&HistoryResult { publications: &publications, epoch, offset }));
    } else if let Some(result) = &expected.rpc {
        push(&Reply::Rpc(&result.data));
    } else if let Some(result) = &expected.refresh {
        let (client, version) = (result.client.as_str(), result.version.as_str());
        push(&Reply::Refresh(&RefreshResult { client, version, expires: result.expires, ttl: result.ttl }));
    } else if let Some(result) = &expected.sub_refresh {
        push(&Reply::SubRefresh(&SubRefreshResult { expires: result.expires, ttl: result.ttl }));
    } else if expected.unsubscribe.is_some() {
        push(&Reply::Unsubscribe);
    } else {
        push(&Reply::Publish);
    }
    out
}

pub(crate) fn write_push(encoding: Encoding, expected: &schema::Push) -> Vec<u8> {
    let mut out = Vec::new();
    let mut push = |push: &Push<'_>| push_push(&mut out, encoding, &expected.channel, push);
    if let Some(publication) = &expected.r#pub {
        let tags = borrowed_tags(publication);
        push(&Push::Publication(&borrowed_publication(publication, &tags)));
    } else if let Some(join) = &expected.join {
        push(&Push::Join(&borrowed_info(join.info.as_ref().expect("an info"))));
    } else if let Some(leave) = &expected.leave {
        push(&Push::Leave(&borrowed_info(leave.info.as_ref().expect("an info"))));
    } else if let Some(unsubscribe) = &expected.unsubscribe {
        push(&Push::Unsubscribe { code: unsubscribe.code, reason: &unsubscribe.reason });
    } else if let Some(subscribe) = &expected.subscribe {
        push(&Push::Subscribe(&SubscribePush {
            recoverable: subscribe.recoverable,
            epoch: &subscribe.epoch,
            offset: subscribe.offset,
            positioned: subscribe.positioned,
            data: &subscribe.data,
        }));
    } else if let Some(message) = &expected.message {
        push(&Push::Message(&message.data));
    } else if let Some(disconnect) = &expected.disconnect {
        push(&Push::Disconnect { code: disconnect.code, reason: &disconnect.reason });
    } else if let Some(refresh) = &expected.refresh {
        push(&Push::Refresh { expires: refresh.expires, ttl: refresh.ttl });
    }
    out
}
