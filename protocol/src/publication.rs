//! What subscribers receive: a publication, and who published it.

use crate::fields::{Fields, Message, field, kept};

/// A client as others see it; always filled in by the server, never by the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientInfo<'a> {
    /// The user; empty for an anonymous one.
    pub user: &'a str,
    /// The connection's id.
    pub client: &'a str,
    /// From the connection token. Raw JSON without line feeds for JSON receivers; empty when there is none.
    pub conn_info: &'a [u8],
    /// From the subscription token. Raw JSON without line feeds for JSON receivers; empty when there is none.
    pub chan_info: &'a [u8],
}

/// One message of a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Publication<'a> {
    /// The payload. For JSON receivers raw JSON without line feeds ([`json_data`](crate::json_data)); a string of
    /// the payload's text on subscriptions with deltas ([`push_json_string`](crate::push_json_string)).
    pub data: &'a [u8],
    /// The publisher; `None` when the server's application published.
    pub info: Option<ClientInfo<'a>>,
    /// The place in the channel's stream, from 1; 0 when the channel has none. Clients lose precision above 2^53.
    pub offset: u64,
    /// Tags of the publication, key first.
    pub tags: &'a [(&'a str, &'a str)],
    /// `data` is a patch of the previous publication.
    pub delta: bool,
    /// The stream's epoch; only on the publication with offset 1, empty otherwise.
    pub epoch: &'a str,
}

impl Message for ClientInfo<'_> {
    #[inline]
    fn fields(&self, to: &mut impl Fields) {
        to.text(kept(1, "user"), self.user);
        to.text(kept(2, "client"), self.client);
        to.bytes(field(3, "conn_info"), self.conn_info);
        to.bytes(field(4, "chan_info"), self.chan_info);
    }
}

impl Message for Publication<'_> {
    #[inline]
    fn fields(&self, to: &mut impl Fields) {
        to.bytes(field(4, "data"), self.data);
        if let Some(info) = &self.info {
            to.message(field(5, "info"), info);
        }
        to.uint(field(6, "offset"), self.offset);
        to.text_map(field(7, "tags"), self.tags);
        to.flag(field(8, "delta"), self.delta);
        to.text(field(14, "epoch"), self.epoch);
    }
}
