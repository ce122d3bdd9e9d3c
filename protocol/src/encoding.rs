//! Which encoding a connection speaks, and which subprotocol the handshake answers.
//!
//! Chosen once, at the upgrade, for the whole connection.

use crate::fields::Message;
use crate::{json, protobuf};

const SUBPROTOCOL_JSON: &str = "centrifuge-json";
const SUBPROTOCOL_PROTOBUF: &str = "centrifuge-protobuf";

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// One JSON object a line; carried in text frames.
    Json,
    /// Messages behind their varint length; carried in binary frames.
    Protobuf,
}

impl Encoding {
    /// Both, in the order of their discriminants, for tables indexed by encoding.
    pub const ALL: [Self; 2] = [Self::Json, Self::Protobuf];

    /// Whether messages travel in text frames; otherwise in binary ones.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Json)
    }

    /// What stands between two messages that share one WebSocket message.
    pub const fn separator(self) -> &'static [u8] {
        match self {
            Self::Json => b"\n",
            Self::Protobuf => b"",
        }
    }

    /// The name in logs and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
        }
    }

    /// The subprotocol a client offers to get this encoding.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => SUBPROTOCOL_JSON,
            Self::Protobuf => SUBPROTOCOL_PROTOBUF,
        }
    }

    /// Appends one message.
    #[inline]
    pub(crate) fn push(self, out: &mut Vec<u8>, message: &impl Message) {
        match self {
            Self::Json => json::push_object(out, message),
            Self::Protobuf => protobuf::push_delimited(out, message),
        }
    }

    fn of_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.subprotocol() == name)
    }
}

/// What [`negotiate`] settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated {
    /// The encoding of every message, both ways.
    pub encoding: Encoding,
    /// The value of the `Sec-WebSocket-Protocol` response header; `None`: the header must be left out.
    pub subprotocol: Option<&'static str>,
    /// The client asked for RFC 6455 pings in place of the protocol's own (`cf_ws_frame_ping_pong=true`); then
    /// `ping` and `pong` are left out of the connect result.
    pub frame_ping: bool,
}

/// Chooses the encoding of a connection from the query of its upgrade request (without `?`) and the subprotocols
/// it offered, in their order.
///
/// The query wins over the offer. A client that offered something gets one of its own words back whenever one of
/// them is known here, since several stacks fail the handshake otherwise (RFC 6455 section 4.1); a client that
/// offered nothing must get none. Empty tokens, which some clients send, count as nothing.
pub fn negotiate<'a>(query: Option<&str>, offered: impl IntoIterator<Item = &'a str>) -> Negotiated {
    let query = query.unwrap_or_default();
    let has = |wanted: &str| query.split('&').any(|pair| pair == wanted);
    let asked_protobuf = has("format=protobuf") || has("cf_protocol=protobuf");

    let mut picked = None;
    for encoding in offered.into_iter().filter_map(|token| Encoding::of_subprotocol(token.trim())) {
        let better = picked.is_none() || (asked_protobuf && encoding == Encoding::Protobuf);
        if better {
            picked = Some(encoding);
        }
    }
    Negotiated {
        encoding: if asked_protobuf { Encoding::Protobuf } else { picked.unwrap_or(Encoding::Json) },
        subprotocol: picked.map(Encoding::subprotocol),
        frame_ping: has("cf_ws_frame_ping_pong=true"),
    }
}
