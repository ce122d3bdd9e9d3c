//! The client protocol on one connection: logging in, and answering pings.

use roadstead_protocol::{Command, ConnectRequest, Encoding, Request, SubscribeRequest, push_command};
use wsproto::Opcode;

use crate::plan::Login;

/// Id of the `connect` command.
pub(crate) const CONNECT_ID: u32 = 1;

/// Id of the `subscribe` command.
pub(crate) const SUBSCRIBE_ID: u32 = 2;

/// Writes what client `number` says first, in one message as SDKs do; returns the replies to await, as a bit for each
/// of [`awaited_bit`].
pub(crate) fn push_login(out: &mut Vec<u8>, login: &Login, number: u32) -> u8 {
    let connect = ConnectRequest {
        token: login.tokens.of_client(number).into(),
        name: "loadgen".into(),
        ..ConnectRequest::default()
    };
    let command = Command { id: CONNECT_ID, request: Request::Connect(connect) };
    push_command(out, login.encoding, &command);
    let Some((channels, channel)) =
        login.channels.as_ref().and_then(|channels| Some((channels, channels.of_client(number)?)))
    else {
        return awaited_bit(CONNECT_ID);
    };
    out.extend_from_slice(login.encoding.separator());
    let subscribe =
        SubscribeRequest { channel: channels.name(channel).into(), ..SubscribeRequest::default() };
    let command = Command { id: SUBSCRIBE_ID, request: Request::Subscribe(subscribe) };
    push_command(out, login.encoding, &command);
    awaited_bit(CONNECT_ID) | awaited_bit(SUBSCRIBE_ID)
}

/// The bit of command `id` among the replies to await; 0 for ids of later commands.
#[must_use]
pub(crate) fn awaited_bit(id: u32) -> u8 {
    match id {
        CONNECT_ID => 1,
        SUBSCRIBE_ID => 2,
        _ => 0,
    }
}

/// The answer to a ping: an empty command.
#[must_use]
pub(crate) fn pong(encoding: Encoding) -> &'static [u8] {
    match encoding {
        Encoding::Json => b"{}",
        Encoding::Protobuf => b"\0",
    }
}

/// The frames that carry an encoding.
#[must_use]
pub(crate) fn opcode(encoding: Encoding) -> Opcode {
    if encoding.is_text() { Opcode::Text } else { Opcode::Binary }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roadstead_protocol::commands;

    use super::*;
    use crate::plan::Channels;
    use crate::spread::Spread;
    use crate::token::Tokens;

    #[test]
    fn subscribers_log_in_and_subscribe_in_one_message() {
        for encoding in Encoding::ALL {
            let spread =
                Arc::new(Spread { subscribers: 5, urls: vec![0], publish_urls: vec![0], zipf: None });
            let channels = Channels { count: 3, prefix: "c".to_owned(), spread };
            let login = Login { encoding, tokens: Tokens::Fixed("t".to_owned()), channels: Some(channels) };
            let mut message = Vec::new();
            assert_eq!(push_login(&mut message, &login, 4), 0b11);
            let said: Vec<_> = commands(encoding, &message).map(Result::unwrap).collect();
            assert!(matches!(&said[0].request, Request::Connect(connect) if connect.token == "t"));
            assert!(matches!(&said[1].request, Request::Subscribe(subscribe) if subscribe.channel == "c1"));
            assert_eq!((said[0].id, said[1].id, said.len()), (1, 2, 2));

            message.clear();
            assert_eq!(push_login(&mut message, &login, 5), 0b01, "a publisher only logs in");
            assert_eq!(commands(encoding, &message).count(), 1);
        }
    }

    #[test]
    fn a_pong_is_an_empty_command() {
        for encoding in Encoding::ALL {
            let command = commands(encoding, pong(encoding)).next().unwrap().unwrap();
            assert!(command.is_pong());
        }
    }
}
