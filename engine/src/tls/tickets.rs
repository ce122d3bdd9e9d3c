//! Session tickets: what lets a client that comes back skip most of a handshake, on any node of the fleet.
//!
//! Invariants: a ticket's key follows from the cluster's key and the time alone, so that nodes need not talk; a ticket is opened in
//! the period in which it was made, the one after it, and, for clocks that differ, the one before; it is opened only where
//! clients are verified by the same authorities; no key of a ticket is stored.
//!
//! ```text
//! name 16 | nonce 12 | state ... | tag 16        AES-256-GCM-SIV (RFC 8452), the name authenticated
//! ```
//!
//! GCM-SIV, because nonces are drawn at random by all nodes under one key: with plain GCM that would be safe for 2^32 tickets
//! of a period only.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, rand};
use roadstead_control::{ClusterKeys, TICKET_NAME_BYTES, TicketKey};
use rustls::RootCertStore;
use rustls::server::ProducesTickets;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use crate::limits::TLS_TICKET_PERIOD_S;

const TAG_BYTES: usize = 16;

/// Bytes that say who verifies clients.
const CONTEXT_BYTES: usize = 32;

/// Where tickets' keys come from, for the life of the process.
#[derive(Clone)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// Keys that every node of the fleet derives for itself.
    #[must_use]
    pub fn of_fleet(keys: Arc<ClusterKeys>) -> Self {
        Self(Arc::new(FleetTickets { keys, clock: Arc::new(DefaultTimeProvider) }))
    }

    /// Random keys that nobody else has; the library changes and forgets them.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn of_node() -> Result<Self, rustls::Error> {
        rustls::crypto::aws_lc_rs::Ticketer::new().map(Self)
    }

    /// Tickets that are good only where clients are verified by these authorities: a ticket carries what was verified, and it is
    /// not verified again.
    pub(super) fn for_authorities(&self, authorities: Option<&RootCertStore>) -> Arc<dyn ProducesTickets> {
        let mut hashed = digest::Context::new(&digest::SHA256);
        for authority in authorities.iter().flat_map(|store| &store.roots) {
            for part in [authority.subject.as_ref(), authority.subject_public_key_info.as_ref()] {
                hashed.update(&(part.len() as u64).to_le_bytes());
                hashed.update(part);
            }
        }
        let mut context = [0; CONTEXT_BYTES];
        context.copy_from_slice(hashed.finish().as_ref());
        Arc::new(BoundTickets { tickets: Arc::clone(&self.0), context })
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

/// Tickets of one way to verify clients.
#[derive(Debug)]
struct BoundTickets {
    tickets: Arc<dyn ProducesTickets>,
    context: [u8; CONTEXT_BYTES],
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, state: &[u8]) -> Option<Vec<u8>> {
        self.tickets.encrypt(&[&self.context, state].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let opened = self.tickets.decrypt(ticket)?;
        opened.strip_prefix(&self.context).map(<[u8]>::to_vec)
    }
}

/// Tickets of a fleet.
struct FleetTickets {
    keys: Arc<ClusterKeys>,
    clock: Arc<dyn TimeProvider>,
}

impl fmt::Debug for FleetTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetTickets")
    }
}

impl FleetTickets {
    fn period(&self) -> Option<u64> {
        self.clock.current_time().map(|time| time.as_secs() / u64::from(TLS_TICKET_PERIOD_S))
    }
}

impl ProducesTickets for FleetTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TLS_TICKET_PERIOD_S
    }

    fn encrypt(&self, state: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.ticket_key(self.period()?);
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = state.to_vec();
        cipher(&key)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(key.name()), &mut sealed)
            .ok()?;
        Some([&key.name()[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<TICKET_NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if sealed.len() < TAG_BYTES {
            return None;
        }
        let period = self.period()?;
        let periods = [Some(period), period.checked_sub(1), period.checked_add(1)];
        let key =
            periods.into_iter().flatten().find_map(|period| self.keys.ticket_key_named(period, name))?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = cipher(&key)?.open_in_place(nonce, Aad::from(name), &mut opened).ok()?.len();
        opened.truncate(len);
        Some(opened)
    }
}

fn cipher(key: &TicketKey) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM_SIV, key.secret()).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

    use super::*;

    const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const TWO: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    const PERIOD_S: u64 = TLS_TICKET_PERIOD_S as u64;

    #[derive(Debug)]
    struct Clock(AtomicU64);

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
        }
    }

    fn node(keys: &str, time_s: u64) -> FleetTickets {
        let keys = Arc::new(ClusterKeys::parse(keys).unwrap());
        FleetTickets { keys, clock: Arc::new(Clock(AtomicU64::new(time_s))) }
    }

    #[test]
    fn a_ticket_is_good_on_any_node_for_a_period_and_not_beyond_two() {
        let now_s = 300 * PERIOD_S;
        let ticket = node(ONE, now_s).encrypt(b"state").unwrap();
        let both = format!("{TWO}\n{ONE}");
        for (keys, time_s, is_opened) in [
            (ONE, now_s, true),
            (ONE, now_s + PERIOD_S, true),
            (ONE, now_s + 2 * PERIOD_S - 1, true),
            (ONE, now_s + 2 * PERIOD_S, false),
            // A clock that is behind.
            (ONE, now_s - 1, true),
            (ONE, now_s - PERIOD_S - 1, false),
            (TWO, now_s, false),
            (&both, now_s, true),
        ] {
            let opened = node(keys, time_s).decrypt(&ticket);
            assert_eq!(opened.as_deref(), is_opened.then_some(&b"state"[..]), "{time_s}");
        }
        assert_ne!(node(ONE, now_s).encrypt(b"state"), Some(ticket), "nonces differ");
    }

    #[test]
    fn a_changed_ticket_is_none() {
        let node = node(ONE, 0);
        let ticket = node.encrypt(b"some state").unwrap();
        assert!(node.decrypt(&ticket).is_some());
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(node.decrypt(&changed), None, "byte {at}");
            assert_eq!(node.decrypt(&ticket[..at]), None, "cut at {at}");
        }
        assert_eq!(node.decrypt(&[ticket, vec![0]].concat()), None);
    }

    #[test]
    fn tickets_do_not_outlive_who_verified() {
        let tickets = Tickets::of_node().unwrap();
        let mut authorities = RootCertStore::empty();
        authorities.add(crate::tls::testing::certificate()).unwrap();
        let (nobody, somebody) = (tickets.for_authorities(None), tickets.for_authorities(Some(&authorities)));
        let ticket = somebody.encrypt(b"a verified client").unwrap();
        assert_eq!(nobody.decrypt(&ticket), None);
        assert_eq!(
            tickets.for_authorities(Some(&authorities)).decrypt(&ticket).as_deref(),
            Some(&b"a verified client"[..])
        );
        assert_eq!(nobody.decrypt(&nobody.encrypt(b"x").unwrap()).as_deref(), Some(&b"x"[..]));
    }
}
