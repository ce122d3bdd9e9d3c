//! The memory ceiling of a node: the one that is set, or one derived from the machine.
//!
//! Invariant: a node that can serve some connections goes on, and says how many.

use super::Failure;
use crate::admission::connection_bytes;
use crate::limits::MEMORY_PERCENT;
use crate::settings::Settings;
use crate::tuning::Machine;

/// What a ceiling means for a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CeilingOutlook {
    /// The ceiling, bytes; 0: none.
    pub bytes: u64,
    /// Idle connections that fit below it beside `resident_bytes`.
    pub connections: u64,
}

/// The ceiling on this machine, and what fits below it beside what the process takes already.
#[must_use]
pub fn ceiling_outlook(settings: &Settings, machine: &Machine) -> CeilingOutlook {
    let bytes = settings.limits.memory_bytes.unwrap_or_else(|| default_bytes(machine));
    let free_bytes = bytes.saturating_sub(machine.resident_bytes().unwrap_or(0));
    let connections = if bytes == 0 { u64::MAX } else { free_bytes / connection_bytes(settings.tls.is_on()) };
    CeilingOutlook { bytes, connections }
}

/// [`MEMORY_PERCENT`] of the machine's memory, or of the tightest control group's; none where neither can be told.
fn default_bytes(machine: &Machine) -> u64 {
    machine.memory_max_bytes().map_or(0, |bytes| bytes / 100 * MEMORY_PERCENT)
}

/// The ceiling, bytes; says what it means where it means something.
pub(super) fn ceiling(settings: &Settings) -> Result<u64, Failure> {
    let CeilingOutlook { bytes, connections } = ceiling_outlook(settings, &Machine::this());
    let mib = bytes >> 20;
    if connections < u64::from(settings.shards) {
        return Err(Failure::Demand(format!(
            "the memory ceiling of {mib} MiB leaves no room for clients; raise limits.memory_bytes, or set it to 0 for none"
        )));
    }
    if connections < u64::from(settings.limits.connections) {
        tracing::warn!(
            "the memory ceiling of {mib} MiB holds some {connections} idle connections, fewer than the {} that are \
             configured; raise limits.memory_bytes, or lower limits.connections",
            settings.limits.connections
        );
    }
    Ok(bytes)
}
