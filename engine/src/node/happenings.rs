//! What the supervising thread must react to.
//!
//! Invariant: signals only become values here; nothing is done in a signal handler.

use std::io;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::{Granted, Wish};

/// Things that wait for the supervisor: a few signals, and one end for each shard.
const WAITING_MAX: usize = 256;

/// Something happened.
#[derive(Debug)]
pub(super) enum Happening {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// An operator wants something; the answer is how the drain stands then, or that it is too late.
    Wish(Wish, Granted),
    /// The node has come closer to its fleet.
    Standing,
    /// A shard's thread has ended; an error if it had not finished.
    ShardEnded { shard: usize, error: Option<io::Error> },
}

pub(super) fn channel() -> (Sender<Happening>, Receiver<Happening>) {
    bounded(WAITING_MAX)
}

/// Tells of signals from now on. SIGPIPE is ignored by the standard library already.
pub(super) fn hear_signals(told: Sender<Happening>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let heard = runtime.block_on(async {
        let mut heard = Vec::new();
        for (kind, happening) in [
            (SignalKind::terminate(), (|| Happening::Stop) as fn() -> Happening),
            (SignalKind::interrupt(), || Happening::Stop),
            (SignalKind::hangup(), || Happening::Reload),
        ] {
            let mut signals = signal(kind)?;
            let told = told.clone();
            heard.push(tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    // Full: as much as the supervisor could want is waiting already.
                    let _ = told.try_send(happening());
                }
            }));
        }
        Ok::<_, io::Error>(heard)
    })?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            for task in heard {
                let _ = task.await;
            }
        });
    })?;
    Ok(())
}
