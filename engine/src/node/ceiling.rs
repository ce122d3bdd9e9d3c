//! The memory ceiling of a node: the one that is set, or one derived from the machine.
//!
//! Invariant: a node that can serve some connections goes on, and says how many.

use super::Failure;
use crate::admission::connection_bytes;
use crate::limits::{MEMORY_PERCENT, NODE_BYTES, SHARD_BYTES};
use crate::settings::Settings;
use crate::tuning::Machine;

/// What a ceiling means for a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CeilingOutlook {
    /// The ceiling, bytes; 0: none.
    pub bytes: u64,
    /// Idle connections that fit below it beside [`fixed_bytes`].
    pub connections: u64,
}

/// What a node of so many shards takes before its first connection, bytes.
#[must_use]
pub fn fixed_bytes(shards: u16) -> u64 {
    NODE_BYTES + u64::from(shards) * SHARD_BYTES
}

/// The ceiling on this machine, and what fits below it beside what the node takes without connections.
#[must_use]
pub fn ceiling_outlook(settings: &Settings, machine: &Machine) -> CeilingOutlook {
    let bytes = settings.limits.memory_bytes.unwrap_or_else(|| default_bytes(machine));
    let free_bytes = bytes.saturating_sub(fixed_bytes(settings.shards));
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
            "the memory ceiling of {mib} MiB leaves no room for clients: {} shards take {} MiB; raise limits.memory_bytes, set it to 0 for \
             none, or have fewer shards",
            settings.shards,
            fixed_bytes(settings.shards) >> 20
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_take_their_part_of_the_ceiling() {
        let mut settings = Settings { insecure: true, ..Settings::default() };
        settings.limits.memory_bytes = Some(64 << 20);
        let mut fits = |shards| {
            settings.shards = shards;
            ceiling_outlook(&settings, &Machine::this()).connections
        };
        assert_eq!(fits(1), ((64 << 20) - fixed_bytes(1)) / connection_bytes(false));
        assert!(fits(8) < fits(1));
        assert_eq!(fits(64), 0, "they take more than all of it");
    }
}
