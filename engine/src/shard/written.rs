//! A batch of publications as it goes to sockets: one buffer of frames, made once an encoding and shared by all.

use std::borrow::Cow;

use roadstead_io::Payload;
use roadstead_protocol::{self as protocol, ClientInfo, Encoding, Push, json_data, push_push};
use wsproto::Opcode;

use crate::flow::Ordered;
use crate::session::Compressor;
use crate::session::replies::push_message;

/// Frames of one encoding.
#[derive(Debug)]
pub struct Written {
    /// All frames of the batch, in order.
    pub frames: Payload,
    /// A payload of the batch cannot be carried in this encoding; the frames end before it, and its subscribers
    /// must be closed with 3506.
    pub is_cut: bool,
    /// The longest payload that was deflated, before it was; 0: none.
    pub deflated_bytes_max: usize,
}

/// Writes `publications` of `channel` for all connections of `encoding`: for those that deflate, with a compressor.
#[must_use]
pub fn write(
    encoding: Encoding,
    channel: &str,
    publications: &[Ordered],
    mut compressor: Option<&mut Compressor>,
) -> Written {
    const FRAME_BYTES_TYPICAL: usize = 160;
    let bytes: usize = publications.iter().map(|it| it.publication.data.len() + FRAME_BYTES_TYPICAL).sum();
    let mut out = Vec::with_capacity(bytes + channel.len() * publications.len());
    let (mut is_cut, mut deflated_bytes_max) = (false, 0);
    let mut plain = Vec::new();
    for Ordered { position, publication } in publications {
        let (data, opcode) = match encoding {
            Encoding::Protobuf => (Cow::Borrowed(&publication.data[..]), Opcode::Binary),
            Encoding::Json => match json_data(&publication.data) {
                Ok(data) => (data, Opcode::Text),
                Err(_) => {
                    is_cut = true;
                    break;
                }
            },
        };
        let info = ClientInfo {
            user: &publication.user,
            client: &publication.client,
            conn_info: publication.conn_info.as_deref().unwrap_or_default(),
            chan_info: &[],
        };
        let offset = position.offset();
        // Who had no epoch when it subscribed takes it from the first publication.
        let epoch = if offset == 1 { position.epoch_text() } else { String::new() };
        // Nobody speaks for a publication of the server.
        let info = (!publication.client.is_empty()).then_some(info);
        let pushed = protocol::Publication {
            data: &data,
            info,
            offset,
            epoch: &epoch,
            ..protocol::Publication::default()
        };
        let push = Push::Publication(&pushed);
        let Some(compressor) = compressor.as_deref_mut() else {
            push_message(&mut out, opcode, |out| push_push(out, encoding, channel, &push));
            continue;
        };
        plain.clear();
        push_push(&mut plain, encoding, channel, &push);
        match compressor.deflate(&plain) {
            Some(deflated) => {
                wsproto::push_deflated(&mut out, opcode, deflated, None);
                deflated_bytes_max = deflated_bytes_max.max(plain.len());
            }
            None => wsproto::push_frame(&mut out, opcode, &plain, None),
        }
    }
    Written { frames: Payload::from(out), is_cut, deflated_bytes_max }
}
