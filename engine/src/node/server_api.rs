//! The way between the server API and the shards.
//!
//! Invariant: no shard waits: what it tells has room, since only so much can be asked at once, and a signal that finds no room is one
//! among others.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};

use super::Failure;
use super::shards::Shards;
use crate::admin::{ApiKeys, ApiParts};
use crate::flow::Told;
use crate::limits::API_ASKS_MAX;
use crate::settings::Settings;
use crate::shard::Teller;

/// What is made before the shards.
#[derive(Debug)]
pub(super) struct ServerApi {
    teller: Teller,
    told: Receiver<Told>,
    woken: UnixStream,
    keys: ApiKeys,
}

pub(super) fn prepare(settings: &Settings) -> Result<ServerApi, Failure> {
    let failed = |error| Failure::start("cannot start the server API", &error);
    let (signals, woken) = UnixStream::pair().map_err(failed)?;
    signals.set_nonblocking(true).map_err(failed)?;
    let (tell, told) = bounded(usize::from(settings.shards) * API_ASKS_MAX);
    let wake = Arc::new(move || {
        // Full: whoever hears has signals enough.
        let _ = (&signals).write(&[1]);
    });
    Ok(ServerApi { teller: Teller { told: tell, wake }, told, woken, keys: ApiKeys::new(settings) })
}

impl ServerApi {
    /// For each shard.
    pub(super) fn teller(&self) -> &Teller {
        &self.teller
    }

    /// What requests show.
    pub(super) fn keys(&self) -> ApiKeys {
        self.keys.clone()
    }

    /// For the admin room, with the shards.
    pub(super) fn parts(self, shards: &Shards) -> ApiParts {
        let voice = shards.voice();
        ApiParts {
            asks: shards.asks(),
            wake: Arc::new(move |shard| voice.wake(shard)),
            told: self.told,
            woken: self.woken,
            keys: self.keys,
        }
    }
}
