//! Channels of the client protocol, for the server of these tests: enough of it for a load generator.

use std::collections::HashMap;

use roadstead_io::Socket;
use roadstead_protocol::{
    ConnectResult, Encoding, ErrorCode, Publication, Push, Reply, Request, SubscribeResult, commands,
    push_ping, push_push, push_reply,
};
use wsproto::{MessageKind, Opcode, push_frame};

use crate::server::{Behaviour, Peer};

/// Who reads what.
#[derive(Default)]
pub(crate) struct Hub {
    subscriptions: Vec<(Socket, String)>,
    deliveries: u32,
}

impl Hub {
    /// A connection is gone.
    pub(crate) fn leave(&mut self, socket: Socket) {
        self.subscriptions.retain(|(subscriber, _)| *subscriber != socket);
    }

    /// Handles one WebSocket message.
    pub(crate) fn message(
        &mut self,
        socket: Socket,
        kind: MessageKind,
        message: &[u8],
        behaviour: Behaviour,
        peers: &mut HashMap<Socket, Peer>,
    ) {
        let encoding = if kind == MessageKind::Text { Encoding::Json } else { Encoding::Protobuf };
        for command in commands(encoding, message) {
            let command = command.expect("a command");
            let id = command.id;
            let mut answer = Vec::new();
            match command.request {
                Request::Connect(_) => {
                    let result = ConnectResult {
                        client: "c",
                        version: "v",
                        ping: 25,
                        pong: true,
                        ..Default::default()
                    };
                    push_reply(&mut answer, encoding, id, &Reply::Connect(&result));
                    // Answered with an empty command, which the loop below sees as `Empty`.
                    answer.extend_from_slice(encoding.separator());
                    push_ping(&mut answer, encoding);
                }
                Request::Subscribe(request) => {
                    self.subscriptions.push((socket, request.channel.into_owned()));
                    push_reply(&mut answer, encoding, id, &Reply::Subscribe(&SubscribeResult::default()));
                }
                Request::Publish(_) if behaviour == Behaviour::RefusePublish => {
                    push_reply(&mut answer, encoding, id, &Reply::Error(ErrorCode::PermissionDenied));
                }
                Request::Publish(request) => {
                    self.publish(encoding, &request.channel, &request.data, behaviour, peers);
                    push_reply(&mut answer, encoding, id, &Reply::Publish);
                }
                Request::Empty => continue,
                other => panic!("unexpected: {other:?}"),
            }
            send(peers, socket, encoding, &answer);
        }
    }

    fn publish(
        &mut self,
        encoding: Encoding,
        channel: &str,
        data: &[u8],
        behaviour: Behaviour,
        peers: &mut HashMap<Socket, Peer>,
    ) {
        let mut push = Vec::new();
        let publication = Publication { data, ..Publication::default() };
        push_push(&mut push, encoding, channel, &Push::Publication(&publication));
        for (subscriber, _) in self.subscriptions.iter().filter(|(_, read)| read == channel) {
            self.deliveries += 1;
            if matches!(behaviour, Behaviour::Hub(nth) if nth > 0 && self.deliveries.is_multiple_of(nth)) {
                continue;
            }
            send(peers, *subscriber, encoding, &push);
        }
    }
}

fn send(peers: &mut HashMap<Socket, Peer>, to: Socket, encoding: Encoding, message: &[u8]) {
    if let Some(peer) = peers.get_mut(&to) {
        let opcode = if encoding.is_text() { Opcode::Text } else { Opcode::Binary };
        push_frame(&mut peer.output, opcode, message, None);
    }
}
