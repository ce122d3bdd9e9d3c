//! The opening handshake (RFC 6455 section 4) for both roles: heads in, heads out.
//!
//! Invariants: what is read borrows from the head; nothing that is not there is assumed; a head is bounded in bytes
//! and lines before anything is made of it.
//!
//! A head that trickles in is searched once and parsed once: [`head_is_complete`] goes on where it stopped, and only
//! when it finds the end is the head worth parsing. Until then [`check_beginning`], which goes on where it stopped too,
//! finds what cannot become a request. Parsing earlier is allowed and finds malformed heads earlier.

mod client;
mod extension;
mod headers;
mod key;
mod server;

pub use client::{ClientRequest, Refusal, Response, push_request, read_response};
pub use extension::{Extension, Extensions};
pub use headers::Tokens;
pub use server::{Reject, Request, check_beginning, push_accept, push_reject, read_request};

/// Where the head in `bytes` ends (the index behind its empty line), if it does. The first `from` bytes were
/// searched by earlier calls.
pub fn head_is_complete(bytes: &[u8], from: usize) -> Option<usize> {
    const END: [u8; 4] = *b"\r\n\r\n";
    // The end may begin in what was searched. Looking at the last byte of a possible end first, four bytes are
    // passed at a time unless it is a line break.
    let mut last = from.saturating_sub(END.len() - 1) + END.len() - 1;
    while let Some(byte) = bytes.get(last) {
        match byte {
            b'\n' if bytes[..=last].ends_with(&END) => return Some(last + 1),
            b'\n' => last += 2,
            b'\r' => last += 1,
            _ => last += 4,
        }
    }
    None
}
