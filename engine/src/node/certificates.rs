//! The node's certificates while it runs: read at the start, on a reload, and when their files change.
//!
//! Invariants: files that are of no use change nothing and are told of, once; whether clients, or links between nodes, speak TLS at
//! all is settled at the start.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roadstead_control::ClusterKeys;
use roadstead_io::kernel_tls;

use super::Failure;
use crate::health::{CertificateHealth, Health};
use crate::settings::{KernelTls, Settings};
use crate::tls::{Identity, LinkIdentity, SetupError, Tickets, Watch};

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two words about a certificate that is near its end.
const REMIND_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Certificates and where they come from.
#[derive(Debug)]
pub(super) struct Certificates {
    tickets: Tickets,
    watch: Watch,
    /// `None`: clients do not speak TLS.
    identity: Option<Identity>,
    /// `None`: links are clear text, or there are none.
    links: Option<LinkIdentity>,
    looked: Instant,
    reminded: Option<Instant>,
}

impl Certificates {
    /// Reads them for the first time. With `keys`, tickets are those of the fleet.
    pub(super) fn load(settings: &Settings, keys: Option<Arc<ClusterKeys>>) -> Result<Self, Failure> {
        let tickets = match keys {
            Some(keys) => Tickets::of_fleet(keys),
            None => Tickets::of_node()
                .map_err(|error| Failure::Start(format!("cannot make keys for session tickets: {error}")))?,
        };
        let read = read(settings, &tickets).map_err(|error| Failure::Demand(error.to_string()))?;
        let Fresh { watch, identity, links } = read;
        if identity.is_some() && settings.tls.kernel == KernelTls::Auto {
            match kernel_tls() {
                Ok(()) => tracing::info!("the kernel has TLS; this version does not use it"),
                Err(error) => tracing::info!("the kernel has no TLS ({error}): records are made here"),
            }
        }
        Ok(Self { tickets, watch, identity, links, looked: Instant::now(), reminded: None })
    }

    /// What clients are shown.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// What other nodes are shown.
    pub(super) fn links(&self) -> Option<&LinkIdentity> {
        self.links.as_ref()
    }

    /// Reads what `settings` name; nothing changes until [`Certificates::take`].
    pub(super) fn read(&self, settings: &Settings) -> Result<Fresh, SetupError> {
        read(settings, &self.tickets)
    }

    /// Uses what was read. Whether something else is shown from now on.
    pub(super) fn take(&mut self, fresh: Fresh, health: &Health) -> bool {
        let was = (self.identity.is_some(), self.links.is_some());
        if was != (fresh.identity.is_some(), fresh.links.is_some()) {
            tracing::warn!("only a restart turns TLS on or off, on the listen addresses or on links");
            return false;
        }
        if was == (false, false) {
            return false;
        }
        Fresh { watch: self.watch, identity: self.identity, links: self.links } = fresh;
        self.reminded = None;
        health.count_certificates(true);
        self.show(health);
        true
    }

    /// Looks whether the files have changed, and reads them if so. Whether something else is shown from now on.
    pub(super) fn look(&mut self, settings: &Settings, health: &Health) -> bool {
        self.remind();
        if self.looked.elapsed() < LOOK_EVERY {
            return false;
        }
        self.looked = Instant::now();
        if !self.watch.has_changed() {
            return false;
        }
        match self.read(settings) {
            Ok(fresh) => {
                tracing::info!("certificates read again, since their files have changed");
                self.take(fresh, health)
            }
            Err(error) => {
                tracing::error!("{error}; the certificates in use stay");
                health.count_certificates(false);
                false
            }
        }
    }

    /// Lets everybody see the certificates in use.
    pub(super) fn show(&self, health: &Health) {
        health.set_certificates(self.in_use().cloned().collect());
    }

    fn in_use(&self) -> impl Iterator<Item = &CertificateHealth> {
        let links = self.links.iter().map(LinkIdentity::health);
        self.identity.iter().flat_map(Identity::health).chain(links)
    }

    /// Says which certificates are near their end, once a day.
    fn remind(&mut self) {
        if self.reminded.is_some_and(|reminded| reminded.elapsed() < REMIND_EVERY) {
            return;
        }
        self.reminded = Some(Instant::now());
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        for certificate in self.in_use().filter(|found| found.is_near_its_end(unix_s)) {
            let (name, left_s) = (&certificate.name, certificate.left_s(unix_s));
            match left_s {
                ..=0 => tracing::error!("the certificate of {name} has expired: renew it"),
                _ => tracing::warn!("the certificate of {name} ends in {} hours: renew it", left_s / 3_600),
            }
        }
    }
}

/// What was read from the files.
#[derive(Debug)]
pub(super) struct Fresh {
    watch: Watch,
    identity: Option<Identity>,
    links: Option<LinkIdentity>,
}

fn read(settings: &Settings, tickets: &Tickets) -> Result<Fresh, SetupError> {
    let has_links = settings.cluster.listen.is_some();
    let mut files = Identity::files(&settings.tls);
    files.extend(has_links.then(|| LinkIdentity::files(&settings.cluster)).into_iter().flatten());
    let watch = Watch::new(files);
    let identity = Identity::load(&settings.tls, tickets)?;
    let links = if has_links { LinkIdentity::load(&settings.cluster)? } else { None };
    Ok(Fresh { watch, identity, links })
}
