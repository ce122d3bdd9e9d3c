//! Rooms that talk through pipes of bytes: every step by seed, every piece cut at random.

mod bad_input;
mod coming_up;
mod lives;
mod order;
mod queues;
mod refusals;
mod world;

use std::sync::Arc;

use roadstead_control::{Digest, NodeId};
use roadstead_protocol::ErrorCode;

use crate::flow::{
    Action, Claim, Errand, Found, LocatedEntry, Outcome, Position, Publication, Reading, Relayed, Report,
    Revoking, Stored, UserErrand,
};
use crate::revocations::{Revocation, Subject, Terms};

/// One of everything that is relayed, and publications of several shapes.
pub(super) fn samples() -> Vec<Relayed> {
    let publication = |data: &[u8], conn_info: Option<&[u8]>| {
        Arc::new(Publication {
            data: data.to_vec(),
            user: "alice".into(),
            client: "c-17".to_owned(),
            conn_info: conn_info.map(Arc::from),
        })
    };
    let channel: Arc<str> = "news:\u{fc}".into();
    let user: Arc<str> = "bob".into();
    let position = Position { epoch: 3, sequence: 1 << 40 };
    let entry = LocatedEntry { node: NodeId(9), shard: 1, connection: 5 << 32 | 7, age_s: 60 };
    vec![
        Relayed::Announce { channel: channel.clone(), ask: 3, position },
        Relayed::Top { channel: channel.clone(), ask: 3, position },
        Relayed::Withdraw { channel: channel.clone() },
        Relayed::NotOwner { channel: channel.clone(), ask: 0 },
        Relayed::Publish {
            request: 1 << 50,
            channel: channel.clone(),
            publication: publication(b"{}", None),
        },
        Relayed::Publish {
            request: 2,
            channel: "".into(),
            publication: publication(b"", Some(b"{\"a\":1}")),
        },
        Relayed::Published { request: 1 << 50, outcome: Outcome::Accepted },
        Relayed::Published { request: 2, outcome: Outcome::Refused(ErrorCode::TooManyRequests) },
        Relayed::Published { request: 3, outcome: Outcome::NotOwner },
        Relayed::Deliver { channel: channel.clone(), position, publication: publication(&[7; 3_000], None) },
        Relayed::Deliver { channel: channel.clone(), position, publication: publication(b"x", Some(b"[]")) },
        Relayed::Read { request: 1 << 50, channel: channel.clone(), reading: Reading::Top },
        Relayed::Read {
            request: 4,
            channel: channel.clone(),
            reading: Reading::Missed { since: Claim { epoch: Some(7), offset: 1 << 40 }, limit: 300 },
        },
        Relayed::Read {
            request: 5,
            channel: channel.clone(),
            reading: Reading::Latest { since: Claim { epoch: None, offset: 0 } },
        },
        Relayed::Read {
            request: 6,
            channel: channel.clone(),
            reading: Reading::Page { since: None, limit: 9, reverse: true },
        },
        Relayed::Found { request: 6, channel: channel.clone(), found: Err(ErrorCode::NotAvailable) },
        Relayed::Found {
            request: 7,
            channel,
            found: Ok(Found {
                position,
                recovered: true,
                publications: vec![
                    Stored { offset: 8, publication: publication(b"{}", None) },
                    Stored { offset: 9, publication: publication(b"", Some(b"[]")) },
                ],
            }),
        },
        Relayed::Enter { sequence: 1, user: user.clone(), connection: 4, shard: 2, age_s: 9 },
        Relayed::Leave { sequence: 2, user: user.clone(), connection: 4 },
        Relayed::Complete { from_hub: 1, to_hub: 0, sequence: 3 },
        Relayed::Digest { from_hub: 1, to_hub: 2, interests: (3, 4), entries: (5, 6) },
        Relayed::Revoking(Revoking::Digest(Digest { count: 3, sum: 1 << 60 })),
        Relayed::Revoking(Revoking::Entry(Revocation {
            subject: Subject::User(user.clone()),
            terms: Terms { issued_before_s: 7, until_s: 1 << 40 },
        })),
        Relayed::Revoking(Revoking::Entry(Revocation {
            subject: Subject::Token("t-1".into()),
            terms: Terms { issued_before_s: 0, until_s: 9 },
        })),
        Relayed::Revoking(Revoking::After(None)),
        Relayed::Revoking(Revoking::After(Some(Subject::Token("t-1".into())))),
        Relayed::Revoking(Revoking::After(Some(Subject::User(user.clone())))),
        Relayed::Revoking(Revoking::Sent { more: true }),
        Relayed::Errand { request: 6, shard: 3, errand: Arc::new(Errand::Census) },
        Relayed::Errand { request: 7, shard: 0, errand: Arc::new(Errand::Channels { pattern: "n*".into() }) },
        Relayed::Errand {
            request: 8,
            shard: 0,
            errand: Arc::new(Errand::User(UserErrand {
                user: "bob".into(),
                client: "".into(),
                spared: vec!["c-17".into()],
                action: Action::Subscribe { channel: "a".into(), data: vec![0, 255], ends_at_s: 7 },
            })),
        },
        Relayed::ErrandDone { request: 6, report: Ok(Report::Done) },
        Relayed::ErrandDone { request: 7, report: Ok(Report::Channels(vec![("news".into(), 3)])) },
        Relayed::ErrandDone { request: 8, report: Err(ErrorCode::NotAvailable) },
        Relayed::Locate { request: 8, user },
        Relayed::Located { request: 8, outcome: Outcome::Accepted, entries: vec![entry, entry] },
        Relayed::Located { request: 9, outcome: Outcome::NotOwner, entries: vec![] },
    ]
}
