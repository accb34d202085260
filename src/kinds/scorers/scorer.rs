//! What a scorer is: its name, where its verdicts come from, how an evaluation reads them. Which there are is not known here.

use super::judged::{Judged, Settings};
use super::service::ServiceScorer;
use super::verdict::{Meaning, Reads, Verdict};
use anyhow::Result;

pub struct Scorer {
    /// Its word in reward expressions and in the parameter `scorer` of evaluations.
    pub name: &'static str,
    /// One line for `pipe kinds --scorers` and the README.
    pub summary: &'static str,
    pub how: How,
    /// How an evaluation reads its verdicts. A reward is made of their numbers.
    pub reads: Reads,
}

/// Where a verdict comes from. An error is a scorer that cannot work at all.
pub enum How {
    /// A rule over the text.
    Text(Rule),
    /// The truth of the built-in world, which only the world's own prompts carry.
    World(Rule),
    Service(&'static ServiceScorer),
    /// The reward model on the port `reward_model`.
    Model,
}

pub type Rule = fn(&Judged, &Settings) -> Result<Verdict>;

impl Scorer {
    pub fn service(&self) -> Option<&'static ServiceScorer> {
        match self.how {
            How::Text(_) | How::World(_) | How::Model => None,
            How::Service(service) => Some(service),
        }
    }

    pub fn is_model(&self) -> bool {
        matches!(self.how, How::Model)
    }

    pub fn needs_truth(&self) -> bool {
        matches!(self.how, How::World(_))
    }

    /// Whether it may have no number for a response. A rule always has one, or is an error.
    pub fn may_fail(&self) -> bool {
        self.is_model() || self.service().is_some()
    }

    /// Whether an evaluation may name it.
    pub const fn judges(&self) -> bool {
        !matches!(self.reads, Reads::Nothing)
    }

    /// Whether it says of an answer that it refuses. Beside a number of another one, the string rule's word stands.
    pub fn sees_refusals(&self) -> bool {
        match self.reads {
            Reads::Truth | Reads::Refusal => true,
            Reads::Number(Meaning::Does { sees_refusals }) => sees_refusals,
            Reads::Number(Meaning::Safe | Meaning::Wanted) | Reads::Nothing => false,
        }
    }

    /// Whether an evaluation keeps its numbers and compares them with a threshold.
    pub fn has_number(&self) -> bool {
        matches!(self.reads, Reads::Number(_))
    }
}

impl std::fmt::Debug for Scorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
