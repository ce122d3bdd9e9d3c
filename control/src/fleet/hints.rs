//! Asking one node at once: because its link broke, or because this node suspects it and wants it to know.
//!
//! Invariants: at most one question is open for a node; a question ends by an answer, by the node's objection or death,
//! or by running out of time.
//!
//! ```text
//!   link lost ──> asking ── no answer ──> doubted: suspected, told so again and again ── no objection ──> dead
//!                    └── answer: forgotten              └── objection: forgotten
//! ```

use core::time::Duration;
use std::collections::BTreeMap;

use foca::State;

use crate::fleet::life::Life;
use crate::limits::HINT_REPLY;
use crate::node::NodeId;

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(250);

/// All open questions.
#[derive(Default)]
pub(crate) struct Hints {
    open: BTreeMap<NodeId, Question>,
}

struct Question {
    life: Life,
    token: u64,
    stage: Stage,
    ask_at: Duration,
}

enum Stage {
    /// Its link broke; it may answer until then.
    Asking { until: Duration },
    /// It is suspected, having objected so often before. Its death is confirmed here then, or by the protocol.
    Doubted { objections: u16, confirm_at: Option<Duration> },
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Ask, and tell of the suspicion.
    Ask { life: Life, token: u64, suspicion: Option<u16> },
    /// It did not answer.
    Suspect(Life),
    /// It did not object.
    Confirm(Life, u16),
}

impl Hints {
    /// Begins to ask a node whose link broke. False if it is asked already.
    pub(crate) fn ask(&mut self, now: Duration, life: Life, token: u64) -> bool {
        if self.open.get(&life.id).is_some_and(|question| question.life == life) {
            return false;
        }
        let stage = Stage::Asking { until: now + HINT_REPLY };
        self.open.insert(life.id, Question { life, token, stage, ask_at: now });
        true
    }

    /// Begins to tell a node that it is suspected. One that was being asked has its death confirmed here, after
    /// `patience`.
    pub(crate) fn doubt(
        &mut self,
        now: Duration,
        life: Life,
        objections: u16,
        token: u64,
        patience: Duration,
    ) {
        let asked = self.open.get(&life.id).filter(|question| question.life == life);
        let confirm_at =
            asked.filter(|question| question.stage.is_asking()).map(|_| now + patience).or_else(|| {
                match asked?.stage {
                    Stage::Doubted { confirm_at, .. } => confirm_at,
                    Stage::Asking { .. } => None,
                }
            });
        let stage = Stage::Doubted { objections, confirm_at };
        self.open.insert(life.id, Question { life, token, stage, ask_at: now });
    }

    /// An answer came. One who is suspected must object, which is another matter, but is not confirmed dead here.
    pub(crate) fn answered(&mut self, token: u64) {
        self.open.retain(|_, question| question.token != token || !question.stage.is_asking());
        for question in self.open.values_mut().filter(|question| question.token == token) {
            if let Stage::Doubted { confirm_at, .. } = &mut question.stage {
                *confirm_at = None;
            }
        }
    }

    /// The time for which this node was away does not count.
    pub(crate) fn shift(&mut self, late: Duration) {
        for question in self.open.values_mut() {
            match &mut question.stage {
                Stage::Asking { until } => *until += late,
                Stage::Doubted { confirm_at, .. } => *confirm_at = confirm_at.map(|at| at + late),
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.open.values().map(Question::due).min()
    }

    /// What is due. `state` tells how a life is seen and how often it has objected.
    pub(crate) fn steps(
        &mut self,
        now: Duration,
        state: impl Fn(&Life) -> Option<(State, u16)>,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        self.open.retain(|_, question| {
            if question.due() > now {
                return true;
            }
            let seen = state(&question.life);
            let is_open = match question.stage {
                Stage::Asking { .. } => seen.is_some_and(|(state, _)| state != State::Down),
                Stage::Doubted { objections, .. } => seen == Some((State::Suspect, objections)),
            };
            if is_open {
                steps.push(question.step(now));
            }
            is_open
        });
        steps
    }
}

impl Question {
    fn due(&self) -> Duration {
        match self.stage {
            Stage::Asking { until } => self.ask_at.min(until),
            Stage::Doubted { confirm_at, .. } => confirm_at.map_or(self.ask_at, |at| at.min(self.ask_at)),
        }
    }

    fn step(&mut self, now: Duration) -> Step {
        let life = self.life;
        let suspicion = match self.stage {
            Stage::Asking { until } if until <= now => {
                // Once more in a while, should the suspicion not be taken up.
                self.stage = Stage::Asking { until: now + HINT_REPLY };
                return Step::Suspect(life);
            }
            Stage::Asking { .. } => None,
            Stage::Doubted { objections, confirm_at: Some(at) } if at <= now => {
                self.stage = Stage::Doubted { objections, confirm_at: None };
                return Step::Confirm(life, objections);
            }
            Stage::Doubted { objections, .. } => Some(objections),
        };
        self.ask_at = now + PAUSE;
        Step::Ask { life, token: self.token, suspicion }
    }
}

impl Stage {
    fn is_asking(&self) -> bool {
        matches!(self, Self::Asking { .. })
    }
}
