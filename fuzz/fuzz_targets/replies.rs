//! What a server sends in one WebSocket message, in either encoding, as load generators and tests read it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_protocol::{Encoding, Malformed, ServerMessage, replies};

fuzz_target!(|message: &[u8]| {
    for encoding in Encoding::ALL {
        let read: Vec<Result<ServerMessage<'_>, Malformed>> = replies(encoding, message).collect();
        assert!(!read.is_empty());
        let whole = read.iter().take_while(|reply| reply.is_ok()).count();
        assert!(whole + 1 >= read.len(), "a reply behind a malformed one");
        for reply in read.iter().flatten() {
            if let ServerMessage::Publication { channel, data, .. } = reply {
                assert!(channel.len() + data.len() <= message.len());
            }
        }
    }
});
