//! Offers of extensions in a request, and answers to offers.
//!
//! An input is one byte for what the operator and the client want, and the header's value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsproto::deflate::{Offer, accept};
use wsproto::handshake::{read_request, read_response};

const KEY: [u8; 16] = *b"the sample nonce";

fuzz_target!(|bytes: &[u8]| {
    let [wishes, value @ ..] = bytes else { return };
    let bits = |wish: u8| (wish != 0).then_some(7 + wish);
    let request = [
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: ",
        value,
        b"\r\n\r\n",
    ]
    .concat();
    if let Ok(Some((request, _))) = read_request(&request) {
        let may_lean = bits(wishes & 7);
        if let Some(agreement) = accept(request.extensions(), may_lean) {
            assert!(agreement.server_no_context_takeover);
            assert!((8..=15).contains(&agreement.server_window_bits()));
            assert!((8..=15).contains(&agreement.client_window_bits()));
            assert!(
                agreement.client_no_context_takeover
                    || may_lean.is_some_and(|most| agreement.client_window_bits() <= most)
            );
        }
    }

    // A client that offers this takes an answer only if it keeps to it.
    let offer = Offer {
        server_no_context_takeover: wishes & 16 != 0,
        client_no_context_takeover: wishes & 32 != 0,
        server_max_window_bits: bits(wishes & 7),
        client_max_window_bits: (wishes & 64 != 0).then_some(bits(wishes >> 3 & 7)),
    };
    let answer = [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: ",
        value,
        b"\r\n\r\n",
    ]
    .concat();
    if let Ok(Some((response, _))) = read_response(&answer, &KEY, &[], Some(&offer))
        && let Some(agreed) = response.deflate
    {
        assert!(agreed.server_no_context_takeover || !offer.server_no_context_takeover);
        assert!(offer.server_max_window_bits.is_none_or(|most| agreed.server_window_bits() <= most));
        assert!(
            (8..=15).contains(&agreed.server_window_bits())
                && (8..=15).contains(&agreed.client_window_bits())
        );
    }
});
