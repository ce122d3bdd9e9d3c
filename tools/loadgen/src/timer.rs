//! Makes the kernel wake this thread when it asked to be woken, not up to 50 us later.

use std::fs;

/// Sets the timer slack of the calling thread to a nanosecond (prctl(2), PR_SET_TIMERSLACK, by way of `/proc`). Where
/// that is refused, sleeps end a little late, and the lag of the result shows it.
pub(crate) fn wake_in_time() {
    // The link reads `<process>/task/<thread>`; the slack of any thread is found under its own number.
    let Ok(link) = fs::read_link("/proc/thread-self") else { return };
    if let Some(thread) = link.file_name().and_then(|name| name.to_str()) {
        // Not essential, as said above.
        drop(fs::write(format!("/proc/{thread}/timerslack_ns"), "1"));
    }
}
