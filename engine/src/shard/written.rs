//! A batch of publications as it goes to sockets: one buffer of frames, made once an encoding and shared by all.

use std::borrow::Cow;
use std::sync::Arc;

use roadstead_io::Payload;
use roadstead_protocol::{self as protocol, ClientInfo, Encoding, Push, json_data, push_push};
use wsproto::Opcode;

use crate::flow::Publication;
use crate::session::replies::push_message;

/// Frames of one encoding.
#[derive(Debug)]
pub struct Written {
    /// All frames of the batch, in order.
    pub frames: Payload,
    /// A payload of the batch cannot be carried in this encoding; the frames end before it, and its subscribers
    /// must be closed with 3506.
    pub is_cut: bool,
}

/// Writes `publications` of `channel` for all connections of `encoding`.
#[must_use]
pub fn write(encoding: Encoding, channel: &str, publications: &[Arc<Publication>]) -> Written {
    const FRAME_BYTES_TYPICAL: usize = 160;
    let bytes: usize =
        publications.iter().map(|publication| publication.data.len() + FRAME_BYTES_TYPICAL).sum();
    let mut out = Vec::with_capacity(bytes + channel.len() * publications.len());
    let mut is_cut = false;
    for publication in publications {
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
        let pushed =
            protocol::Publication { data: &data, info: Some(info), ..protocol::Publication::default() };
        push_message(&mut out, opcode, |out| push_push(out, encoding, channel, &Push::Publication(&pushed)));
    }
    Written { frames: Payload::from(out), is_cut }
}
