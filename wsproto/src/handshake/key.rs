//! `Sec-WebSocket-Key` and the `Sec-WebSocket-Accept` that proves it was understood (RFC 6455 sections 1.3, 4.2.2).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest as _, Sha1};

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Base64 of 16 bytes.
pub(super) const KEY_LEN: usize = 24;
/// Base64 of a SHA-1 digest.
const ACCEPT_LEN: usize = 28;

/// Only the length of what a key decodes to is required, so bits that no byte holds may be anything.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Whether a key decodes to 16 bytes.
pub(super) fn is_key(key: &str) -> bool {
    // Room for what the estimate of the decoder asks for.
    let mut bytes = [0; 18];
    key.len() == KEY_LEN && matches!(LENIENT.decode_slice(key, &mut bytes), Ok(16))
}

/// The text of a key.
pub(super) fn encode(key: &[u8; 16]) -> [u8; KEY_LEN] {
    let mut text = [0; KEY_LEN];
    let written = STANDARD.encode_slice(key, &mut text);
    debug_assert_eq!(written, Ok(KEY_LEN));
    text
}

/// The accept value for the text of a key.
pub(super) fn accept(key: &[u8]) -> [u8; ACCEPT_LEN] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut text = [0; ACCEPT_LEN];
    let written = STANDARD.encode_slice(digest, &mut text);
    debug_assert_eq!(written, Ok(ACCEPT_LEN));
    text
}
