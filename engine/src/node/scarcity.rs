//! What the node runs short of: memory, slots, descriptors, room for those who wait to be accepted. Looked at once a second,
//! said once when it begins and once when it is over.
//!
//! Invariant: nothing here decides about a connection; shards do, by what [`Admission`] was told.

use std::sync::Arc;

use super::ceiling::fixed_bytes;
use super::shards::Shards;
use crate::admission::Admission;
use crate::counters::{Counters, Metric};
use crate::health::Health;
use crate::tuning::Machine;

/// A shortage is over when nobody was refused for so long.
const QUIET_MS: u64 = 5_000;

/// The same of what strangers bring upon themselves, which on a public server comes now and then all day.
const QUIET_OF_GUARDS_MS: u64 = 60_000;

/// A block that the allocator keeps in no page with others.
const LARGE_BYTES: usize = 4 << 20;

/// A count that grows while something is short, and what to say of it.
struct Shortage {
    metric: Option<Metric>,
    what: &'static str,
    cure: &'static str,
    quiet_ms: u64,
}

const fn counted(metric: Metric, what: &'static str, cure: &'static str) -> Shortage {
    Shortage { metric: Some(metric), what, cure, quiet_ms: QUIET_MS }
}

const fn guarded(metric: Metric, what: &'static str, cure: &'static str) -> Shortage {
    Shortage { quiet_ms: QUIET_OF_GUARDS_MS, ..counted(metric, what, cure) }
}

static SHORTAGES: [Shortage; 24] = [
    counted(
        Metric::RefusedConnections,
        "clients are refused with 503: limits.connections is reached",
        "raise it, or add nodes",
    ),
    counted(
        Metric::RefusedDescriptors,
        "clients are refused with 503: the descriptor limit allows no more connections",
        "raise LimitNOFILE of the systemd unit (ulimit -n), or take --io io_uring",
    ),
    counted(
        Metric::RefusedMemory,
        "clients are refused with 503: the memory ceiling is reached",
        "raise limits.memory_bytes, or add nodes",
    ),
    counted(
        Metric::AcceptLackSlots,
        "accepting pauses: even the slots to refuse with are in use; clients wait in the backlog",
        "raise limits.connections, or add nodes",
    ),
    counted(
        Metric::AcceptLackDescriptors,
        "accepting pauses: out of file descriptors; clients wait in the backlog",
        "raise the limit (prlimit --nofile, LimitNOFILE in the systemd unit)",
    ),
    counted(
        Metric::AcceptLackFiles,
        "accepting pauses: the machine is out of files; clients wait in the backlog",
        "sysctl -w fs.file-max=...",
    ),
    counted(
        Metric::AcceptLackMemory,
        "accepting pauses: the kernel has no memory for another socket; clients wait in the backlog",
        "see Slab in /proc/meminfo, memory.max of the control group and net.ipv4.tcp_mem",
    ),
    counted(
        Metric::AcceptLackOther,
        "accepting pauses: the kernel refuses to accept; clients wait in the backlog",
        "see the kernel's log",
    ),
    guarded(
        Metric::GuardRefusedDenied,
        "clients are refused with 403: guard.deny holds them, or guard.allow does not",
        "see these lists if they should be let in",
    ),
    guarded(
        Metric::GuardRefusedBanned,
        "clients of banned sources are refused with 403",
        "roadstead bans lists the bans and takes them back; guard.exempt prevents them",
    ),
    guarded(
        Metric::GuardRefusedConnections,
        "clients are refused with 429: their source has guard.connections_per_source connections",
        "roadstead sources names it; guard.exempt is for the NAT of a carrier, proxy.trusted for proxies",
    ),
    guarded(
        Metric::GuardRefusedRate,
        "clients are refused with 429: their source opens more than guard.connects_per_s",
        "roadstead sources names it; guard.exempt is for the NAT of a carrier, proxy.trusted for proxies",
    ),
    guarded(
        Metric::GuardRefusedProxy,
        "connections to proxy.listen are closed: they come from no trusted proxy",
        "name it in proxy.trusted if it is one",
    ),
    guarded(
        Metric::GuardRefusedHeader,
        "connections of proxies are closed: they do not begin with a PROXY header",
        "let the proxy send it, or connect to listen",
    ),
    guarded(
        Metric::GuardUnremembered,
        "sources are not remembered, and not bounded: there are more than guard.sources",
        "raise it",
    ),
    guarded(
        Metric::GuardFaultRate,
        "connections are closed with 3013: they, or their user, say more than guard.messages_per_s, bytes_per_s, user_messages_per_s or user_bytes_per_s",
        "roadstead sources names those that stand out",
    ),
    guarded(
        Metric::GuardPacedSubscribes,
        "subscribe commands are refused with 111: they come faster than guard.subscribes_per_s",
        "raise it if these are good clients",
    ),
    guarded(
        Metric::GuardPacedPublishes,
        "publications are refused with 111: they come faster than guard.channel_messages_per_s or channel_bytes_per_s",
        "raise it if these are good publishers",
    ),
    guarded(
        Metric::GuardCappedUsers,
        "clients are closed with 3504: their user has guard.connections_per_user connections",
        "raise it if these are good clients",
    ),
    guarded(
        Metric::GuardRefusedOrigin,
        "browsers are refused with 403: the origin of their page is not allowed",
        "name it in client.allowed_origins if it should be",
    ),
    guarded(
        Metric::GuardLateHandshake,
        "clients begin a handshake and do not finish it in client.handshake_timeout_s",
        "roadstead sources names those that stand out",
    ),
    guarded(
        Metric::GuardLateConnect,
        "clients are closed with 3502: they do not connect in client.stale_close_s",
        "see whether they get a token in time",
    ),
    guarded(
        Metric::GuardLateMessage,
        "clients are closed: they begin a message and do not finish it in client.message_timeout_s",
        "roadstead sources names those that stand out",
    ),
    // Of the namespace, not of a shard.
    Shortage {
        metric: None,
        what: "the kernel drops connections of this network namespace: an accept queue is full",
        cure: "raise net.core.somaxconn and net.backlog, or add nodes",
        quiet_ms: QUIET_MS,
    },
];

/// How one count went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Course {
    Quiet { count: u64 },
    Short { began_at: u64, count: u64, last_ms: u64 },
}

/// What a look at a count showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    None,
    Begins,
    /// So many in all.
    Over(u64),
}

impl Course {
    fn observe(&mut self, now: u64, now_ms: u64, quiet_ms: u64) -> Change {
        match *self {
            Self::Quiet { count } if now <= count => Change::None,
            Self::Quiet { count } => {
                *self = Self::Short { began_at: count, count: now, last_ms: now_ms };
                Change::Begins
            }
            Self::Short { began_at, count, .. } if now > count => {
                *self = Self::Short { began_at, count: now, last_ms: now_ms };
                Change::None
            }
            Self::Short { began_at, count, last_ms } if now_ms >= last_ms + quiet_ms => {
                *self = Self::Quiet { count };
                Change::Over(count - began_at)
            }
            Self::Short { .. } => Change::None,
        }
    }
}

/// The look at it.
#[derive(Debug)]
pub(super) struct Scarcity {
    admission: Arc<Admission>,
    machine: Machine,
    courses: [Course; SHORTAGES.len()],
}

impl Scarcity {
    /// Begins with a first look, so that shards may admit. They have not started: they count with what they will take.
    pub(super) fn new(admission: Arc<Admission>, shards: u16) -> Self {
        let machine = Machine::this();
        let resident_bytes = machine.resident_bytes().unwrap_or(0).max(fixed_bytes(shards));
        admission.observe(resident_bytes, &vec![0; usize::from(shards)]);
        let drops = machine.listen_drops();
        admission.set_listen_drops(drops);
        let mut courses = [Course::Quiet { count: 0 }; SHORTAGES.len()];
        courses[SHORTAGES.len() - 1] = Course::Quiet { count: drops.unwrap_or_default().overflows };
        Self { admission, machine, courses }
    }

    /// Looks at everything; `health` learns whether new clients are welcome.
    pub(super) fn look(&mut self, shards: &Shards, health: &Health, now_ms: u64) {
        give_memory_back();
        let counters = shards.counters();
        self.look_at_room(counters, health);
        self.look_at_memory(counters, health);
        let drops = self.machine.listen_drops();
        self.admission.set_listen_drops(drops);
        for (shortage, course) in SHORTAGES.iter().zip(&mut self.courses) {
            let count = match shortage.metric {
                Some(metric) => sum(counters, metric),
                None => drops.unwrap_or_default().overflows,
            };
            match course.observe(count, now_ms, shortage.quiet_ms) {
                Change::None => {}
                Change::Begins => tracing::warn!("{}; {}", shortage.what, shortage.cure),
                Change::Over(count) => tracing::info!("over, after {count} times: {}", shortage.what),
            }
        }
    }

    fn look_at_room(&self, counters: &[Arc<Counters>], health: &Health) {
        let (connections, connections_max) =
            (sum(counters, Metric::Connections), sum(counters, Metric::ConnectionsMax));
        match health.observe_room(connections, connections_max) {
            Some(true) => tracing::warn!(
                "full: {connections} of {connections_max} connections; /ready fails until there is room"
            ),
            Some(false) => {
                tracing::info!("not full any more: {connections} of {connections_max} connections")
            }
            None => {}
        }
    }

    fn look_at_memory(&self, counters: &[Arc<Counters>], health: &Health) {
        let connections: Vec<u64> =
            counters.iter().map(|counters| counters.get(Metric::Connections)).collect();
        // What cannot be read bounds nothing.
        let resident_bytes = self.machine.resident_bytes().unwrap_or(0);
        let changed = self.admission.observe(resident_bytes, &connections);
        health.set_out_of_memory(self.admission.is_over());
        let mib = |bytes: u64| bytes >> 20;
        let used = mib(self.admission.used_bytes());
        let ceiling = mib(self.admission.ceiling_bytes().unwrap_or(0));
        match changed {
            Some(true) => tracing::warn!(
                "memory: {used} of {ceiling} MiB; /ready fails and new clients are refused until there is room"
            ),
            Some(false) => tracing::info!("memory: {used} of {ceiling} MiB, new clients are welcome again"),
            None => {}
        }
    }
}

/// Lets the allocator give back to the machine what has been free for a while. It looks for that only when some thread frees a
/// large block, so a node that became idle would keep for ever what a storm had needed. The block is never touched.
fn give_memory_back() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE_BYTES)));
}

fn sum(counters: &[Arc<Counters>], metric: Metric) -> u64 {
    counters.iter().map(|counters| counters.get(metric)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_said_once_and_its_end_too() {
        let mut course = Course::Quiet { count: 7 };
        for (now_ms, count, change) in [
            (1_000, 7, Change::None),
            (2_000, 9, Change::Begins),
            (3_000, 12, Change::None),
            (4_000, 12, Change::None),
            (7_999, 13, Change::None),
            (12_000, 13, Change::None),
            (12_999, 13, Change::Over(6)),
            (14_000, 13, Change::None),
            (15_000, 14, Change::Begins),
        ] {
            assert_eq!(course.observe(count, now_ms, QUIET_MS), change, "{now_ms}");
        }
    }
}
