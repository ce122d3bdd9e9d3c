//! The opening handshake (RFC 6455 section 4): what is refused and how, what is read, and that both sides agree.

mod heads;
mod requests;
mod responses;
