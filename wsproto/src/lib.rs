//! RFC 6455 and permessage-deflate (RFC 7692) for both roles, sans-IO: bytes in, events out, and bytes to send pushed into a buffer of the caller.
//!
//! Invariants: knows no socket, no clock, no source of randomness (keys and masks are arguments), no runtime;
//! keeps nothing on the heap but what deflating takes, which connections share; holds no limit per connection (they are passed by reference to each call); no
//! input makes it panic; work is linear in the bytes received however they are split.
//!
//! ```text
//!   bytes ── handshake::head_is_complete ──> handshake::read_request / read_response ──> upgraded
//!                                                   │ Reject ──> handshake::push_reject
//!                                                   └ Request ─> handshake::push_accept
//!
//!   bytes ── Decoder::decode ──> Event::Message | Ping | Pong | Close      Assembly keeps what is incomplete
//!                          └───> Violation ──> push_close(close_code) and drop the connection
//!
//!   Event::Message, compressed ──> deflate::Inflater ──> the message, or Violation
//!
//!   push_frame, push_deflated, push_close, frame_header ──> bytes
//!   Closing: one byte per connection that says what to do about Close frames
//! ```

pub mod handshake;

mod head;

mod assembly;
mod decoder;
mod event;
mod violation;

mod close;
mod closing;
mod frame;

pub mod deflate;
pub mod limits;
pub mod mask;
pub mod utf8;

pub use assembly::{Assembly, Full};
pub use close::{CloseFrame, code, is_peer_code};
pub use closing::{Answer, Closing};
pub use decoder::{Decoder, Echoed};
pub use event::{Event, MessageKind};
pub use frame::{Header, Opcode, Role, frame_header, push_close, push_deflated, push_frame};
pub use limits::Limits;
pub use violation::Violation;
