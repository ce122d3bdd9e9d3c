//! Whether a node has room for another connection: what shards ask, and what the supervisor finds out once a second.
//!
//! Invariants: the supervisor writes, anybody reads; between two looks a shard admits no more than what was free at the
//! last one divided evenly; nobody who was admitted is ever put out.
//!
//! What is counted against the memory ceiling is the process's resident memory and, for each connection, what the kernel
//! keeps for an idle socket (measured, not asked for: no kernel tells it for one process). Bytes under way in sockets'
//! buffers are not in it; `net.ipv4.tcp_mem` bounds them.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::limits::{
    CONNECTION_KERNEL_BYTES, CONNECTION_PROCESS_BYTES, CONNECTION_TLS_BYTES, MEMORY_ROOM_PERCENT,
};

/// Why a client is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// `limits.connections` is reached.
    Connections,
    /// The descriptor limit allows fewer connections than `limits.connections`, and these are reached.
    Descriptors,
    /// The memory ceiling is reached.
    Memory,
}

/// Connections that the kernel dropped before they could be accepted, in the network namespace of this process.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ListenDrops {
    /// Because an accept queue was full.
    pub overflows: u64,
    /// For any reason, overflows included.
    pub drops: u64,
}

/// What lets connections in.
#[derive(Debug)]
pub struct Admission {
    /// Why a shard whose connections are all in use refuses.
    when_full: Refusal,
    /// 0: none.
    ceiling_bytes: u64,
    connection_bytes: u64,
    used_bytes: AtomicU64,
    is_over: AtomicBool,
    /// Connections that each shard may have until the next look.
    allowed: Vec<AtomicU32>,
    listen_drops: Mutex<Option<ListenDrops>>,
}

impl Admission {
    /// Of a node with `shards` shards and a ceiling of `ceiling_bytes` (0: none). With `fewer_descriptors`, what bounds the
    /// connections is the descriptor limit. Nobody is let in under a ceiling before the first [`Admission::observe`].
    #[must_use]
    pub fn new(shards: u16, ceiling_bytes: u64, tls: bool, fewer_descriptors: bool) -> Self {
        let allowed = if ceiling_bytes == 0 { u32::MAX } else { 0 };
        Self {
            when_full: if fewer_descriptors { Refusal::Descriptors } else { Refusal::Connections },
            ceiling_bytes,
            connection_bytes: connection_bytes(tls),
            used_bytes: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            allowed: (0..shards).map(|_| AtomicU32::new(allowed)).collect(),
            listen_drops: Mutex::new(None),
        }
    }

    /// Why a shard with `admitted` of `connections_max` connections must refuse the next one, if it must.
    #[must_use]
    pub fn refusal(&self, shard: u16, admitted: u32, connections_max: u32) -> Option<Refusal> {
        if admitted >= connections_max {
            Some(self.when_full)
        } else if admitted >= self.allowed[usize::from(shard)].load(Ordering::Relaxed) {
            Some(Refusal::Memory)
        } else {
            None
        }
    }

    /// Takes the resident memory and each shard's connections. Some, with whether the ceiling is reached now, if that has
    /// changed.
    pub fn observe(&self, resident_bytes: u64, connections: &[u64]) -> Option<bool> {
        let all: u64 = connections.iter().sum();
        let used_bytes = resident_bytes + all * CONNECTION_KERNEL_BYTES;
        self.used_bytes.store(used_bytes, Ordering::Relaxed);
        if self.ceiling_bytes == 0 {
            return None;
        }
        let was_over = self.is_over();
        let bound_bytes =
            if was_over { self.ceiling_bytes / 100 * MEMORY_ROOM_PERCENT } else { self.ceiling_bytes };
        let free_bytes = bound_bytes.saturating_sub(used_bytes);
        let each = free_bytes / self.connection_bytes / self.allowed.len() as u64;
        let is_over = each == 0;
        self.is_over.store(is_over, Ordering::Relaxed);
        for (allowed, connections) in self.allowed.iter().zip(connections) {
            let count = if is_over { 0 } else { connections + each };
            allowed.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
        (is_over != was_over).then_some(is_over)
    }

    /// Whether the memory ceiling is reached.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Memory that counts, bytes, at the last look.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The ceiling, bytes, if there is one.
    #[must_use]
    pub fn ceiling_bytes(&self) -> Option<u64> {
        (self.ceiling_bytes > 0).then_some(self.ceiling_bytes)
    }

    /// The kernel's counts are these now; `None`: they cannot be read.
    pub fn set_listen_drops(&self, drops: Option<ListenDrops>) {
        *self.listen_drops.lock().unwrap_or_else(PoisonError::into_inner) = drops;
    }

    /// The kernel's counts at the last look.
    #[must_use]
    pub fn listen_drops(&self) -> Option<ListenDrops> {
        *self.listen_drops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection takes while it is idle, bytes: of the process and of the kernel.
#[must_use]
pub fn connection_bytes(tls: bool) -> u64 {
    CONNECTION_KERNEL_BYTES + CONNECTION_PROCESS_BYTES + if tls { CONNECTION_TLS_BYTES } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_bound_that_is_reached_is_named() {
        let free = Admission::new(1, 0, false, false);
        let few = Admission::new(1, 0, false, true);
        for (admission, admitted, refusal) in [
            (&free, 9, None),
            (&free, 10, Some(Refusal::Connections)),
            (&few, 9, None),
            (&few, 10, Some(Refusal::Descriptors)),
        ] {
            assert_eq!(admission.refusal(0, admitted, 10), refusal);
        }
        assert_eq!(free.observe(u64::MAX / 2, &[7]), None, "no ceiling is never reached");
        assert_eq!(free.refusal(0, 9, 10), None);
    }

    #[test]
    fn shards_share_what_is_free_until_the_next_look() {
        let admission = Admission::new(2, 100 * MIB, false, false);
        assert_eq!(admission.refusal(0, 0, 10), Some(Refusal::Memory), "before the first look");
        let free = 10 * connection_bytes(false);
        assert_eq!(admission.observe(100 * MIB - free, &[0, 0]), None);
        for (shard, admitted, refusal) in
            [(0, 4, None), (0, 5, Some(Refusal::Memory)), (1, 4, None), (1, 5, Some(Refusal::Memory))]
        {
            assert_eq!(admission.refusal(shard, admitted, 100), refusal, "{shard} {admitted}");
        }
        let kernel = 8 * CONNECTION_KERNEL_BYTES;
        assert_eq!(admission.observe(100 * MIB - free - kernel, &[6, 2]), None);
        assert_eq!(admission.refusal(0, 10, 100), None, "what is free now comes on top");
        assert_eq!(admission.refusal(1, 7, 100), Some(Refusal::Memory));
    }

    #[test]
    fn a_reached_ceiling_gives_way_only_when_there_is_room_for_some() {
        let admission = Admission::new(1, 100 * MIB, true, false);
        for (resident, changed, over) in [
            (99 * MIB, None, false),
            (101 * MIB, Some(true), true),
            (96 * MIB, None, true),
            (94 * MIB, Some(false), false),
            (99 * MIB, None, false),
            (100 * MIB - connection_bytes(true) + 1, Some(true), true),
        ] {
            assert_eq!(admission.observe(resident, &[0]), changed, "{resident}");
            assert_eq!((admission.is_over(), admission.used_bytes()), (over, resident));
            assert_eq!(admission.refusal(0, 0, 10).is_some(), over);
        }
    }

    #[test]
    fn sockets_count_as_well() {
        let admission = Admission::new(1, 100 * MIB, false, false);
        let connections = 90 * MIB / CONNECTION_KERNEL_BYTES;
        assert_eq!(admission.observe(20 * MIB, &[connections]), Some(true));
        assert_eq!(admission.observe(20 * MIB, &[connections / 2]), Some(false));
    }
}
