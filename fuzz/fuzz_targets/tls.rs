//! What a stranger sends to an address that speaks TLS, at once and in pieces: nobody is let in, and little is kept.
//!
//! An input is one byte for whether the handshake must wait, one of piece lengths, and what the peer sends.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use roadstead_engine::limits::TLS_PENDING_BYTES_MAX;
use roadstead_engine::settings::Settings;
use roadstead_engine::tls::{Identity, Stream, Tickets};

thread_local! {
    static IDENTITY: Identity = identity();
}

fuzz_target!(|bytes: &[u8]| {
    let [waits, pieces, sent @ ..] = bytes else { return };
    let lens = [usize::from(pieces & 15) + 1, usize::from(pieces >> 4) * 64 + 1];
    let at_once = IDENTITY.with(|identity| hear(identity, waits & 1 == 1, sent, &[sent.len().max(1)]));
    let in_pieces = IDENTITY.with(|identity| hear(identity, waits & 1 == 1, sent, &lens));
    assert_eq!(at_once, in_pieces, "whether it ends depends on how it was cut");
});

/// Whether the stream was ended by what was sent.
fn hear(identity: &Identity, waits: bool, sent: &[u8], lens: &[usize]) -> bool {
    let mut stream = Stream::new(identity).expect("a stream");
    let (mut plain, mut outgoing) = (Vec::new(), 0);
    let (mut rest, mut lens) = (sent, lens.iter().cycle());
    let mut is_first = true;
    while !rest.is_empty() && !stream.is_closed() {
        let (piece, after) = rest.split_at(lens.next().map_or(1, |len| *len).min(rest.len()));
        rest = after;
        let mut piece = piece.to_vec();
        let outcome = if std::mem::take(&mut is_first) && waits {
            stream.keep(&piece).and_then(|()| stream.begin(&mut plain))
        } else {
            stream.open(&mut piece, &mut plain)
        };
        assert_eq!(outcome.is_err(), stream.is_closed() && outcome.is_err());
        assert!(plain.is_empty(), "a stranger was believed");
        assert!(stream.held_bytes() <= 4 * TLS_PENDING_BYTES_MAX + outgoing);
        if stream.has_outgoing() {
            outgoing += stream.seal(&[]).map_or(0, |records| records.len());
            assert!(outgoing <= 8 * 1024 + sent.len(), "more is said than was heard");
        }
    }
    assert!(stream.take_established().is_none());
    stream.is_closed()
}

fn identity() -> Identity {
    let place =
        |name| Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/src/tls")).join(name));
    let mut settings = Settings::default();
    settings.tls.certificate = place("test_certificate.pem");
    settings.tls.key = place("test_key.pem");
    let tickets = Tickets::of_node().expect("randomness");
    Identity::load(&settings.tls, &tickets).expect("the certificate of the tests").expect("there is one")
}
