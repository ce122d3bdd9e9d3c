//! Who is in the fleet, who owns which channel, and where a user's connections are: rules as plain state machines.
//!
//! Invariants: knows no socket, no clock, no thread and no randomness of its own: time and events are arguments,
//! results are return values. Time is a [`std::time::Duration`] since any fixed moment, and never runs backward.

pub mod limits;

mod announcers;
mod chance;
mod digest;
mod fleet;
mod hash;
mod keys;
mod member;
mod node;
mod ownership;
mod registry;
mod roster;
mod seal;
mod stability;
mod users;
mod view;
mod wire;

pub use announcers::{Announcer, Refusal, SessionKey};
pub use digest::{Digest, entry_hash};
pub use fleet::{Fleet, FleetEvent, FleetSettings, FleetTally, Grounds, MemberState, MemberStatus, Standing};
pub use hash::{HASH_VERSION, channel_hash, hub_shard};
pub use keys::{BadKeys, ClusterKeys, TICKET_NAME_BYTES, TicketKey};
pub use member::{Member, Region, Version, Weight};
pub use node::{BadName, ClusterName, Incarnation, NodeId, NodeName};
pub use ownership::{Rank, owner, rank};
pub use registry::{Announcement, Located, OwnConnection, OwnUser, Registry};
pub use roster::Roster;
pub use seal::{GOSSIP_VERSION, Sealer};
pub use stability::{Full, Stability};
pub use users::Home;
pub use view::{BadView, Duty, View, ViewNode};
pub use wire::Malformed;
