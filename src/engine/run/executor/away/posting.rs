//! A job that was submitted, or will be: which attempts are in it, how far its submission is, what its scheduler says of it.

use super::pack::Load;
use crate::run::scheduler::{Cause, JobId, Order};
use std::collections::BTreeSet;
use std::time::Instant;

/// How far a submission is.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// To be submitted.
    New,
    /// It may have been: it is looked for from then on; so often it was not found.
    Doubtful {
        at: Instant,
        missed: usize,
    },
    Submitted(JobId),
}

pub struct Posting {
    /// All that it attends to, in this order, over or not.
    pub attempts: Vec<String>,
    /// Of these, those that only other engines wait for.
    pub others: BTreeSet<String>,
    pub load: Load,
    pub stage: Stage,
    /// When it was made, and when the last attempt joined it.
    pub since: Instant,
    pub grown: Instant,
    /// As it was asked for first; from then on nothing joins it.
    pub order: Option<Order>,
    pub closed: bool,
    /// How often its submission was doubtful.
    pub doubts: usize,
    /// The machine that it runs on, as far as its scheduler knows.
    pub host: Option<String>,
    /// Since when its scheduler says that it is over, and how, or that it does not know it.
    pub over: Option<(Instant, Cause, String)>,
    pub unknown: Option<Instant>,
    /// Why nothing more is expected of it, whatever its scheduler says.
    pub given_up: Option<String>,
    /// Somebody has begun with one of its attempts; when one of them last gave a sign of life.
    pub reached: bool,
    pub alive: Instant,
    /// Since when the attempt whose turn it is is at work.
    pub at_work: Option<Instant>,
    /// When the scheduler was told to end it, and when it is told again.
    pub cancelled: Option<Instant>,
    pub again: Option<Instant>,
}

impl Posting {
    pub fn new(attempts: Vec<String>, load: Load, stage: Stage) -> Posting {
        let now = Instant::now();
        Posting {
            attempts,
            others: BTreeSet::new(),
            load,
            closed: stage != Stage::New,
            stage,
            since: now,
            grown: now,
            order: None,
            doubts: 0,
            host: None,
            over: None,
            unknown: None,
            given_up: None,
            reached: false,
            alive: now,
            at_work: None,
            cancelled: None,
            again: None,
        }
    }

    pub fn is_open(&self) -> bool {
        self.stage == Stage::New && !self.closed
    }

    /// Whether it attends to more than the attempt that it is called after.
    pub fn is_shared(&self, first: &str) -> bool {
        self.attempts != [first]
    }

    pub fn job(&self) -> Option<&JobId> {
        match &self.stage {
            Stage::Submitted(job) => Some(job),
            _ => None,
        }
    }

    /// One of its attempts lives, or has ended well.
    pub fn lives(&mut self) {
        (self.reached, self.alive) = (true, Instant::now());
    }
}
