//! What is relayed, as the frames of `protocol::relay` write it, and back.
//!
//! Invariants: what is read owns everything, so nothing refers to a buffer of the turn; a number that means nothing
//! here becomes the nearest thing that does, never a failure.

use std::sync::Arc;

use roadstead_control::{Digest, NodeId};
use roadstead_protocol::ErrorCode;
use roadstead_protocol::relay::{self, Oversized, Relay, RelayedPublication, RevokedSubject, push_relay};

use crate::flow::{Errand, Found, LocatedEntry, Outcome, Position, Publication, Relayed, Revoking, Stored};
use crate::limits::PEER_FRAME_OVERHEAD_BYTES;
use crate::revocations::{Revocation, Subject, Terms};

/// Appends `relayed` as one frame, said under the View of this number.
///
/// # Errors
/// [`Oversized`]; `out` is as it was.
pub(super) fn push(out: &mut Vec<u8>, view: u64, relayed: &Relayed) -> Result<(), Oversized> {
    let entries: Vec<relay::LocatedEntry>;
    let stored: Vec<relay::Stored<'_>>;
    let json: Vec<u8>;
    let relay = match relayed {
        Relayed::Announce { channel, ask, position } => {
            Relay::Announce { channel, ask: *ask, position: to_position(*position) }
        }
        Relayed::Top { channel, ask, position } => {
            Relay::Top { channel, ask: *ask, position: to_position(*position) }
        }
        Relayed::Withdraw { channel } => Relay::Withdraw { channel },
        Relayed::NotOwner { channel, ask } => Relay::NotOwner { channel, ask: *ask },
        Relayed::Publish { request, channel, publication } => {
            Relay::Publish { request: *request, channel, publication: to_publication(publication) }
        }
        Relayed::Published { request, outcome } => {
            Relay::Published { request: *request, outcome: to_outcome(*outcome) }
        }
        Relayed::Deliver { channel, position, publication } => Relay::Deliver {
            channel,
            position: to_position(*position),
            publication: to_publication(publication),
        },
        Relayed::Read { request, channel, reading } => {
            Relay::Read { request: *request, channel, reading: *reading }
        }
        Relayed::Found { request, channel, found } => {
            let publications = found.as_ref().map_or(&[][..], |found| &found.publications);
            stored = publications.iter().map(|it| (it.offset, to_publication(&it.publication))).collect();
            let found = match found {
                Err(code) => Err(code.code()),
                Ok(Found { position, recovered, .. }) => Ok(relay::Found {
                    position: to_position(*position),
                    recovered: *recovered,
                    publications: relay::StoredPublications::of(&stored),
                }),
            };
            Relay::Found { request: *request, channel, found }
        }
        Relayed::Enter { sequence, user, connection, shard, age_s } => {
            Relay::Enter { sequence: *sequence, user, connection: *connection, shard: *shard, age_s: *age_s }
        }
        Relayed::Leave { sequence, user, connection } => {
            Relay::Leave { sequence: *sequence, user, connection: *connection }
        }
        Relayed::Complete { from_hub, to_hub, sequence } => {
            Relay::Complete { from_hub: *from_hub, to_hub: *to_hub, sequence: *sequence }
        }
        Relayed::Digest { from_hub, to_hub, interests, entries } => {
            Relay::Digest { from_hub: *from_hub, to_hub: *to_hub, interests: *interests, entries: *entries }
        }
        Relayed::Revoking(Revoking::Digest(digest)) => {
            Relay::Revocations { digest: (digest.count, digest.sum) }
        }
        Relayed::Revoking(Revoking::Entry(Revocation { subject, terms })) => Relay::Revocation {
            subject: to_subject(subject),
            issued_before_s: terms.issued_before_s,
            until_s: terms.until_s,
        },
        Relayed::Revoking(Revoking::After(subject)) => {
            Relay::RevocationsAfter { subject: subject.as_ref().map(to_subject) }
        }
        Relayed::Revoking(Revoking::Sent { more }) => Relay::RevocationsSent { more: *more },
        Relayed::Errand { request, shard, errand } => {
            json = to_json(&**errand);
            Relay::Errand { request: *request, shard: *shard, errand: &json }
        }
        Relayed::ErrandDone { request, report } => {
            json = to_json(&report.as_ref().map_err(|code| code.code()));
            Relay::ErrandDone { request: *request, report: &json }
        }
        Relayed::Locate { request, user } => Relay::Locate { request: *request, user },
        Relayed::Located { request, outcome, entries: located } => {
            entries = located.iter().map(to_entry).collect();
            Relay::Located {
                request: *request,
                outcome: to_outcome(*outcome),
                entries: relay::LocatedEntries::of(&entries),
            }
        }
    };
    push_relay(out, view, &relay)
}

/// At most the bytes of the frame that carries `publication` to or from the owner of `channel`.
pub(super) fn publication_bytes_max(channel: &str, publication: &Publication) -> usize {
    let conn_info_bytes = publication.conn_info.as_ref().map_or(0, |conn_info| conn_info.len());
    PEER_FRAME_OVERHEAD_BYTES
        + channel.len()
        + publication.data.len()
        + publication.user.len()
        + publication.client.len()
        + conn_info_bytes
}

/// At most the bytes of the frame that carries what was found of `channel`.
pub(super) fn found_bytes_max(channel: &str, found: &Found) -> usize {
    let publications = found.publications.iter();
    PEER_FRAME_OVERHEAD_BYTES
        + channel.len()
        + publications.map(|stored| publication_bytes_max("", &stored.publication)).sum::<usize>()
}

/// What was read; `None`: it concerns the link alone.
pub(super) fn owned(relay: &Relay<'_>) -> Option<Relayed> {
    Some(match *relay {
        Relay::Ping | Relay::Pong => return None,
        Relay::Announce { channel, ask, position } => {
            Relayed::Announce { channel: channel.into(), ask, position: of_position(position) }
        }
        Relay::Top { channel, ask, position } => {
            Relayed::Top { channel: channel.into(), ask, position: of_position(position) }
        }
        Relay::Withdraw { channel } => Relayed::Withdraw { channel: channel.into() },
        Relay::NotOwner { channel, ask } => Relayed::NotOwner { channel: channel.into(), ask },
        Relay::Publish { request, channel, publication } => {
            Relayed::Publish { request, channel: channel.into(), publication: of_publication(&publication) }
        }
        Relay::Published { request, outcome } => Relayed::Published { request, outcome: of_outcome(outcome) },
        Relay::Deliver { channel, position, publication } => Relayed::Deliver {
            channel: channel.into(),
            position: of_position(position),
            publication: of_publication(&publication),
        },
        Relay::Read { request, channel, reading } => {
            Relayed::Read { request, channel: channel.into(), reading }
        }
        Relay::Found { request, channel, found } => {
            Relayed::Found { request, channel: channel.into(), found: found.map(of_found).map_err(of_code) }
        }
        Relay::Enter { sequence, user, connection, shard, age_s } => {
            Relayed::Enter { sequence, user: user.into(), connection, shard, age_s }
        }
        Relay::Leave { sequence, user, connection } => {
            Relayed::Leave { sequence, user: user.into(), connection }
        }
        Relay::Complete { from_hub, to_hub, sequence } => Relayed::Complete { from_hub, to_hub, sequence },
        Relay::Digest { from_hub, to_hub, interests, entries } => {
            Relayed::Digest { from_hub, to_hub, interests, entries }
        }
        Relay::Revocations { digest: (count, sum) } => {
            Relayed::Revoking(Revoking::Digest(Digest { count, sum }))
        }
        Relay::Revocation { subject, issued_before_s, until_s } => {
            let terms = Terms { issued_before_s, until_s };
            Relayed::Revoking(Revoking::Entry(Revocation { subject: of_subject(subject), terms }))
        }
        Relay::RevocationsAfter { subject } => Relayed::Revoking(Revoking::After(subject.map(of_subject))),
        Relay::RevocationsSent { more } => Relayed::Revoking(Revoking::Sent { more }),
        Relay::Errand { request, shard, errand } => {
            let errand = serde_json::from_slice(errand).unwrap_or(Errand::Unknown);
            Relayed::Errand { request, shard, errand: Arc::new(errand) }
        }
        Relay::ErrandDone { request, report } => {
            let report = serde_json::from_slice(report).unwrap_or(Err(ErrorCode::Internal.code()));
            Relayed::ErrandDone { request, report: report.map_err(of_code) }
        }
        Relay::Locate { request, user } => Relayed::Locate { request, user: user.into() },
        Relay::Located { request, outcome, entries } => Relayed::Located {
            request,
            outcome: of_outcome(outcome),
            entries: entries.iter().map(of_entry).collect(),
        },
    })
}

fn to_subject(subject: &Subject) -> RevokedSubject<'_> {
    match subject {
        Subject::Token(id) => RevokedSubject::Token(id),
        Subject::User(user) => RevokedSubject::User(user),
    }
}

fn of_subject(subject: RevokedSubject<'_>) -> Subject {
    match subject {
        RevokedSubject::Token(id) => Subject::Token(id.into()),
        RevokedSubject::User(user) => Subject::User(user.into()),
    }
}

fn to_position(position: Position) -> relay::Position {
    relay::Position { epoch: position.epoch, sequence: position.sequence }
}

fn of_position(position: relay::Position) -> Position {
    Position { epoch: position.epoch, sequence: position.sequence }
}

fn to_publication(publication: &Publication) -> RelayedPublication<'_> {
    RelayedPublication {
        data: &publication.data,
        user: &publication.user,
        client: &publication.client,
        conn_info: publication.conn_info.as_deref(),
    }
}

fn of_publication(publication: &RelayedPublication<'_>) -> Arc<Publication> {
    Arc::new(Publication {
        data: publication.data.to_vec(),
        user: publication.user.into(),
        client: publication.client.to_owned(),
        conn_info: publication.conn_info.map(Arc::from),
    })
}

fn to_outcome(outcome: Outcome) -> relay::Outcome {
    match outcome {
        Outcome::Accepted => relay::Outcome::Accepted,
        Outcome::Refused(error) => relay::Outcome::Refused(error.code()),
        Outcome::NotOwner => relay::Outcome::NotOwner,
    }
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the values of errands have names for keys")
}

/// A later version may refuse with a code that this one does not know: to the client that is an internal, temporary error.
fn of_code(code: u32) -> ErrorCode {
    let known = ErrorCode::ALL.into_iter().find(|error| error.code() == code);
    known.unwrap_or(ErrorCode::Internal)
}

fn of_found(found: relay::Found<'_>) -> Found {
    let stored = |(offset, publication)| Stored { offset, publication: of_publication(&publication) };
    Found {
        position: of_position(found.position),
        recovered: found.recovered,
        publications: found.publications.iter().map(stored).collect(),
    }
}

fn of_outcome(outcome: relay::Outcome) -> Outcome {
    match outcome {
        relay::Outcome::Accepted => Outcome::Accepted,
        relay::Outcome::Refused(code) => Outcome::Refused(of_code(code)),
        relay::Outcome::NotOwner => Outcome::NotOwner,
    }
}

fn to_entry(entry: &LocatedEntry) -> relay::LocatedEntry {
    relay::LocatedEntry {
        node: entry.node.0,
        shard: entry.shard,
        connection: entry.connection,
        age_s: entry.age_s,
    }
}

fn of_entry(entry: relay::LocatedEntry) -> LocatedEntry {
    LocatedEntry {
        node: NodeId(entry.node),
        shard: entry.shard,
        connection: entry.connection,
        age_s: entry.age_s,
    }
}

#[cfg(test)]
mod tests {
    use roadstead_protocol::RELAY_FRAME_BYTES_MAX;
    use roadstead_protocol::relay::{Body, read_frame};

    use super::*;
    use crate::peers::tests::samples;

    #[test]
    fn everything_relayed_comes_back_as_it_was() {
        for relayed in samples() {
            let mut bytes = Vec::new();
            push(&mut bytes, 7, &relayed).unwrap();
            let (frame, taken) = read_frame(&bytes, RELAY_FRAME_BYTES_MAX).unwrap().unwrap();
            assert_eq!((taken, frame.view), (bytes.len(), 7));
            let Body::Relay(relay) = frame.body else { panic!("{frame:?}") };
            assert_eq!(owned(&relay), Some(relayed));
        }
    }

    #[test]
    fn a_publication_never_takes_more_than_was_reckoned() {
        let mut seen = 0;
        for relayed in samples() {
            let (Relayed::Publish { channel, publication, .. }
            | Relayed::Deliver { channel, publication, .. }) = &relayed
            else {
                continue;
            };
            let mut bytes = Vec::new();
            push(&mut bytes, 7, &relayed).unwrap();
            let reckoned = publication_bytes_max(channel, publication);
            assert!(bytes.len() <= reckoned && reckoned - bytes.len() < PEER_FRAME_OVERHEAD_BYTES);
            seen += 1;
        }
        assert!(seen >= 4);
    }

    #[test]
    fn an_unknown_error_code_is_an_internal_error() {
        assert_eq!(of_outcome(relay::Outcome::Refused(111)), Outcome::Refused(ErrorCode::TooManyRequests));
        assert_eq!(of_outcome(relay::Outcome::Refused(9_999)), Outcome::Refused(ErrorCode::Internal));
        assert_eq!(owned(&Relay::Ping), None);
    }
}
