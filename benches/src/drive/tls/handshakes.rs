//! TLS handshakes: connections that shake hands, ask for an upgrade, hear the answer and end, one after the other.

use std::io;
use std::time::Instant;

use rustls::HandshakeKind;

use super::{Stream, Trust};
use crate::drive::rate::{Clocks, Cost};
use crate::drive::{Period, Rate, Server};

/// Measures connections; with `resumes`, each must have resumed the session of an earlier one.
pub fn drive(server: &Server, trust: &Trust, resumes: bool, period: &Period) -> io::Result<Rate> {
    // It brings the first ticket, and what only the first connection costs.
    Stream::open(server, trust)?;
    let clocks = Clocks::of_server(server.pid)?;
    let mut opened = 0;
    let before = clocks.mark()?;
    let end = Instant::now() + period.measured;
    while Instant::now() < end {
        let kind = Stream::open(server, trust)?.tls.handshake_kind();
        if (kind == Some(HandshakeKind::Resumed)) != resumes {
            let wanted = if resumes { "resumed" } else { "full" };
            return Err(io::Error::other(format!("a handshake was {kind:?}, and was to be {wanted}")));
        }
        opened += 1;
    }
    let mut cost = Cost::default();
    cost.add(&before, &clocks.mark()?);
    Ok(cost.rate(opened))
}
