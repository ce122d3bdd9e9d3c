//! Tickets of earlier TLS sessions, for later connections to resume.
//!
//! Invariants: bounded, the oldest go first; a ticket is used once (RFC 8446 appendix C.4). Whose ticket it was makes no
//! difference to a server: it says nothing of a user.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

use crate::limits::TICKETS_MAX;

/// The tickets of one thread. TLS asks for a store that threads could share, hence the lock, for which nobody waits.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    servers: Mutex<HashMap<ServerName<'static>, OfServer>>,
    /// Whether the session that is begun now may have one.
    are_offered: AtomicBool,
}

#[derive(Debug, Default)]
struct OfServer {
    group: Option<NamedGroup>,
    session: Option<Tls12ClientSessionValue>,
    tickets: VecDeque<Tls13ClientSessionValue>,
}

impl Tickets {
    /// Says whether sessions that are begun from now on may resume others.
    pub(super) fn offer(&self, are_offered: bool) {
        self.are_offered.store(are_offered, Ordering::Relaxed);
    }

    fn are_offered(&self) -> bool {
        self.are_offered.load(Ordering::Relaxed)
    }

    fn servers(&self) -> MutexGuard<'_, HashMap<ServerName<'static>, OfServer>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.servers().entry(name).or_default().group = Some(group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.servers().get(name).and_then(|server| server.group)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.servers().entry(name).or_default().session = Some(session);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.servers().get(name).filter(|_| self.are_offered()).and_then(|server| server.session.clone())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        if let Some(server) = self.servers().get_mut(name) {
            server.session = None;
        }
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut servers = self.servers();
        let tickets = &mut servers.entry(name).or_default().tickets;
        if tickets.len() >= TICKETS_MAX {
            tickets.pop_front();
        }
        tickets.push_back(ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.servers()
            .get_mut(name)
            .filter(|_| self.are_offered())
            .and_then(|server| server.tickets.pop_back())
    }
}
