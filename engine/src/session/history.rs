//! Streams as clients see them: what their subscriptions are to be, the history command, and how positions and publications are
//! written to them.
//!
//! Invariant: a payload that a connection's encoding cannot carry is not sent to it; the connection is closed with 3506.

use std::borrow::Cow;
use std::sync::Arc;

use roadstead_protocol::{
    ClientInfo, DisconnectCode, Encoding, ErrorCode, HistoryRequest, HistoryResult, NotJson, Publication,
    Reply, StreamPosition, SubscribeRequest, SubscribeResult, json_data,
};

use super::client::{Clients, Talk, named};
use super::permissions::Reader;
use crate::flow::{Claim, Command, Found, Reading, Standing, Stored, Wish};
use crate::settings::{Channel, RecoveryMode};

/// What a client's subscription to a channel of these rules is to be; `None`: it does not know its position.
pub(super) fn wish(rules: &Channel, request: &SubscribeRequest<'_>, limit: u32) -> Option<Wish> {
    let since = request.recover.then(|| Claim::new(&request.epoch, request.offset));
    let wish = wish_of(rules, request.recoverable, request.positioned, since, limit);
    wish.map(|wish| Wish { refuses_unrecovered: request.refuses_unrecovered(), ..wish })
}

/// The same of a subscription that the server begins; `since`: what the client remembers of it.
pub(super) fn wish_of_server(rules: &Channel, since: Option<Claim>, limit: u32) -> Option<Wish> {
    wish_of(rules, false, false, since, limit)
}

fn wish_of(
    rules: &Channel,
    asks_recovery: bool,
    asks_positioning: bool,
    since: Option<Claim>,
    limit: u32,
) -> Option<Wish> {
    let recoverable = rules.force_recovery || (rules.allow_recovery && asks_recovery);
    let positioned = recoverable || rules.force_positioning || (rules.allow_positioning && asks_positioning);
    if !rules.history.is_on() || !positioned {
        return None;
    }
    let mode = rules.force_recovery_mode;
    let unasked = rules.auto_cache_recover && mode == RecoveryMode::Cache;
    let since = since.or(unasked.then_some(Claim { epoch: None, offset: 0 })).filter(|_| recoverable);
    Some(Wish { recoverable, since, mode, limit, refuses_unrecovered: false })
}

impl Clients {
    pub(super) fn history(
        &mut self,
        talk: &mut Talk<'_>,
        id: u32,
        request: &HistoryRequest<'_>,
    ) -> Result<(), DisconnectCode> {
        let channel = named(&request.channel)?;
        let reader = match self.permissions.may_read(channel, self.user(talk.wire)) {
            Ok(reader) => reader,
            Err(code) => return talk.refuse(id, code),
        };
        let since = request.since.as_ref().map(|StreamPosition { offset, epoch }| Claim::new(epoch, *offset));
        if request.reverse && since.is_some_and(|since| since.offset == 0) {
            return talk.refuse(id, ErrorCode::BadRequest);
        }
        let limit_max = self.settings.client.history_max_publication_limit;
        let limit = u32::try_from(request.limit).map_or(limit_max, |limit| limit.min(limit_max));
        let reading = Reading::Page { since, limit, reverse: request.reverse };
        talk.heard.commands.push(Command::Read {
            by: talk.key,
            id,
            channel: Arc::from(channel),
            reading,
            must_subscribe: reader == Reader::Subscriber,
        });
        Ok(())
    }
}

/// The payloads of publications as this encoding has them.
///
/// # Errors
/// [`NotJson`]: one of them cannot be carried.
pub(super) fn datas(encoding: Encoding, stored: &[Stored]) -> Result<Vec<Cow<'_, [u8]>>, NotJson> {
    let mut datas = Vec::with_capacity(stored.len());
    for Stored { publication, .. } in stored {
        datas.push(match encoding {
            Encoding::Json => json_data(&publication.data)?,
            Encoding::Protobuf => Cow::Borrowed(&publication.data[..]),
        });
    }
    Ok(datas)
}

/// The publications with these payloads.
pub(super) fn publications<'a>(stored: &'a [Stored], datas: &'a [Cow<'a, [u8]>]) -> Vec<Publication<'a>> {
    let publication = |(stored, data): (&'a Stored, &'a Cow<'a, [u8]>)| {
        let publication = &stored.publication;
        let info = ClientInfo {
            user: &publication.user,
            client: &publication.client,
            conn_info: publication.conn_info.as_deref().unwrap_or_default(),
            chan_info: &[],
        };
        Publication { data, info: Some(info), offset: stored.offset, ..Publication::default() }
    };
    stored.iter().zip(datas).map(publication).collect()
}

/// How a subscription began, beside what else there is to say of it.
pub(super) fn result<'a>(
    standing: &Standing,
    epoch: &'a str,
    publications: &'a [Publication<'a>],
    plain: SubscribeResult<'a>,
) -> SubscribeResult<'a> {
    SubscribeResult {
        recoverable: standing.wish.recoverable,
        positioned: true,
        epoch,
        offset: standing.offset(),
        publications,
        recovered: standing.found.recovered,
        was_recovering: standing.wish.since.is_some(),
        ..plain
    }
}

impl Talk<'_> {
    /// Answers a subscribe to a stream.
    ///
    /// # Errors
    /// [`NotJson`]: a publication that it is given cannot be carried in this encoding; nothing was said.
    pub(super) fn say_standing(
        &mut self,
        id: u32,
        standing: &Standing,
        plain: SubscribeResult<'_>,
    ) -> Result<(), NotJson> {
        let (stored, epoch) = (&standing.found.publications, standing.found.position.epoch_text());
        let datas = datas(self.wire.encoding, stored)?;
        let publications = publications(stored, &datas);
        self.reply(id, &Reply::Subscribe(&result(standing, &epoch, &publications, plain)));
        Ok(())
    }

    /// Answers a history command.
    ///
    /// # Errors
    /// [`NotJson`]: a publication of the page cannot be carried in this encoding; nothing was said.
    pub(super) fn say_page(&mut self, id: u32, found: &Found) -> Result<(), NotJson> {
        let (stored, epoch) = (&found.publications, found.position.epoch_text());
        let datas = datas(self.wire.encoding, stored)?;
        let publications = publications(stored, &datas);
        let offset = found.position.sequence;
        self.reply(
            id,
            &Reply::History(&HistoryResult { publications: &publications, epoch: &epoch, offset }),
        );
        Ok(())
    }
}
