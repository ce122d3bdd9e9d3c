//! The server API at a shard: what it asks is decided like what clients ask, and it is told of the outcome.
//!
//! Invariants: so many asks in a turn; asks have a mailbox of their own, so that they take no room from siblings; every ask is told of
//! once; the process is woken once a turn.

use crossbeam_channel::{Receiver, Sender, never};
use roadstead_io::Io;
use roadstead_protocol::ErrorCode;

use super::Shard;
use super::mail::Mailer;
use crate::counters::Metric;
use crate::flow::{Answer, Ask, Asked, Command, Errand, Key, Report, Told};
use crate::limits::API_ASKS_PER_TURN;
use crate::router::{Outlet, Seat};
use crate::siblings::Wake;

/// Where the process is told.
#[derive(Clone)]
pub struct Teller {
    /// Has room for everything that may be asked at once.
    pub told: Sender<Told>,
    /// Ends its wait.
    pub wake: Wake,
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Teller")
    }
}

/// Both ends of what is asked.
#[derive(Debug)]
pub(super) struct Asking {
    asks: Receiver<Asked>,
    teller: Option<Teller>,
    has_told: bool,
    /// More asks wait than one turn takes.
    pub(super) has_more: bool,
}

impl Asking {
    /// Nobody asks.
    pub(super) fn nobody() -> Self {
        Self { asks: never(), teller: None, has_told: false, has_more: false }
    }

    pub(super) fn tell(&mut self, ticket: u64, outcome: Result<Report, ErrorCode>) {
        if let Some(teller) = &self.teller {
            // Who asks has a place for each answer.
            let _ = teller.told.try_send(Told { ticket, outcome });
            self.has_told = true;
        }
    }

    /// Wakes whoever was told.
    pub(super) fn flush(&mut self) {
        if std::mem::take(&mut self.has_told)
            && let Some(teller) = &self.teller
        {
            (teller.wake)();
        }
    }

    /// How a publication of the server ended.
    pub(super) fn tell_answer(&mut self, ticket: u64, answer: &Answer) {
        let outcome = match answer {
            Answer::Refused(code) => Err(*code),
            _ => Ok(Report::Done),
        };
        self.tell(ticket, outcome);
    }
}

impl<I: Io> Shard<I> {
    /// Makes the shard hear the server API.
    pub fn set_server(&mut self, asks: Receiver<Asked>, teller: Teller) {
        self.asking = Asking { asks, teller: Some(teller), has_told: false, has_more: false };
    }

    /// decide: takes what the server API asks.
    pub(super) fn take_asks(&mut self, now_ms: u64) {
        self.asking.has_more = true;
        if self.has_kept_mail() {
            // What is asked might add to it.
            return;
        }
        let Self { router, sessions, siblings, peers, deliveries, asking, settings, index, .. } = self;
        let mut mailer =
            Mailer { siblings, peers: peers.as_mut(), here: *index, dropped: 0, dropped_on_link: 0 };
        let mut out = Outlet { now_ms, post: &mut mailer, deliveries };
        for _ in 0..API_ASKS_PER_TURN {
            let Ok(Asked { ticket, ask }) = asking.asks.try_recv() else {
                asking.has_more = false;
                break;
            };
            let (by, id) = Key::of_ticket(ticket);
            match ask {
                Ask::Publish { channel, publication } => {
                    let is_small = publication.data.len() <= settings.limits.message_bytes as usize;
                    let verdict = sessions.may_be_named(&channel);
                    match verdict.and(if is_small { Ok(()) } else { Err(ErrorCode::BadRequest) }) {
                        Err(code) => asking.tell(ticket, Err(code)),
                        Ok(()) => {
                            let publish =
                                Command::Publish { by, id, channel, publication, must_subscribe: false };
                            let mut nowhere = Seat::EMPTY;
                            router.decide(publish, &mut nowhere, &mut out);
                        }
                    }
                }
                Ask::Errand { errand, everywhere } => {
                    let named = match &errand {
                        Errand::User(of) => of.action.channel(),
                        _ => None,
                    };
                    match named.map_or(Ok(()), |channel| sessions.may_be_named(channel)) {
                        Err(code) => asking.tell(ticket, Err(code)),
                        Ok(()) => router.run(ticket, errand, everywhere, &mut out),
                    }
                }
            }
        }
        self.counters.add(Metric::PublishGaps, mailer.dropped);
        self.counters.add(Metric::PublishGapsLink, mailer.dropped_on_link);
    }
}
