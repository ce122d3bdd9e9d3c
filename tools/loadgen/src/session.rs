//! The client protocol on one connection: logging in, and answering pings.

use roadstead_protocol::{
    Command, ConnectRequest, Encoding, ErrorCode, Request, SubscribeRequest, push_command,
};
use wsproto::Opcode;

use crate::plan::Login;

/// Id of the `connect` command.
pub(crate) const CONNECT_ID: u32 = 1;

/// Writes what client `number` says first, in one message as SDKs do; returns how many replies to await. Their ids are
/// those from [`CONNECT_ID`] on.
pub(crate) fn push_login(out: &mut Vec<u8>, login: &Login, number: u32) -> u8 {
    let connect = ConnectRequest {
        token: login.tokens.of_client(number).into(),
        name: "loadgen".into(),
        ..ConnectRequest::default()
    };
    let mut id = CONNECT_ID;
    push_command(out, login.encoding, &Command { id, request: Request::Connect(connect) });
    for channels in &login.channels {
        for channel in channels.all_of_client(number) {
            id += 1;
            out.extend_from_slice(login.encoding.separator());
            let channel = channels.name(channel).into();
            let subscribe = SubscribeRequest { channel, ..SubscribeRequest::default() };
            push_command(out, login.encoding, &Command { id, request: Request::Subscribe(subscribe) });
        }
    }
    // At most a connect, two lots of channels, and those are bounded.
    id as u8
}

/// Whether `code` in answer to a `subscribe` means that the server subscribed the client by itself: with personal channels
/// it does so for a user's own.
#[must_use]
pub(crate) fn is_subscribed(code: u32) -> bool {
    code == ErrorCode::AlreadySubscribed as u32
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
    fn clients_log_in_and_subscribe_in_one_message() {
        for encoding in Encoding::ALL {
            let spread =
                Arc::new(Spread { subscribers: 5, urls: vec![0], publish_urls: vec![0], zipf: None });
            let channels =
                Channels { count: 3, prefix: "c".to_owned(), subscriptions: 2, spread: Some(spread) };
            let own = Channels { count: 5, prefix: "#u".to_owned(), subscriptions: 1, spread: None };
            let tokens = Tokens::Fixed("t".to_owned());
            let login = Login { encoding, tokens, channels: vec![channels, own] };
            let mut message = Vec::new();
            assert_eq!(push_login(&mut message, &login, 4), 4);
            let said: Vec<_> = commands(encoding, &message).map(Result::unwrap).collect();
            assert!(matches!(&said[0].request, Request::Connect(connect) if connect.token == "t"));
            for (said, expected) in said[1..].iter().zip(["c1", "c2", "#u4"]) {
                assert!(matches!(&said.request, Request::Subscribe(request) if request.channel == expected));
            }
            assert_eq!(said.iter().map(|command| command.id).collect::<Vec<_>>(), [1, 2, 3, 4]);

            message.clear();
            assert_eq!(push_login(&mut message, &login, 5), 1, "a publisher only logs in");
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
