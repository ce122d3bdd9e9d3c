//! What the service manager is told (sd_notify(3)); without one nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// Time for the process to end after its last client, before systemd loses patience.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// A service manager that does not listen is no reason to stop serving.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot notify the service manager: {error}");
    }
}

/// Every shard listens.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being read again; [`ready`] must follow. systemd matches the two by the time.
pub(super) fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    tell(&states);
}

/// Not ready yet, or on the way out: what it is about, and that it may take so long.
pub(super) fn take_time(status: &str, patience: Duration) {
    tell(&[NotifyState::ExtendTimeoutUsec(microseconds(patience)), NotifyState::Status(status)]);
}

/// The end comes within `patience` and a little. systemd takes this as final.
pub(super) fn stopping(patience: Duration) {
    let extend = NotifyState::ExtendTimeoutUsec(microseconds(patience + EXIT_GRACE));
    tell(&[NotifyState::Stopping, extend, NotifyState::Status("stopping")]);
}

fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// A line for `systemctl status`.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Every shard has turned.
pub(super) fn feed_watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// How often the watchdog wants to be fed at the latest.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}
