//! What the records say to a claim, as data: its verdict and the numbers behind it.

use super::decide::{self, Decision, Verdict, decide};
use crate::beside::Sided;
use crate::compare::numbers::Numbers;
use base::claim::Expect;
use base::stats::crossed::Estimate;
use serde::Serialize;
use std::collections::BTreeSet;

/// What the records say to a claim.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    pub recipe: String,
    pub about: String,
    /// The other recipe; of a claim that compares metrics of one node, its own.
    pub against: String,
    /// It compares metrics of one node of its own recipe.
    #[serde(skip)]
    pub within: bool,
    /// What is compared, the other side first: recipes with their axes without the seed, as short as tells them apart.
    #[serde(skip)]
    pub sides: [String; 2],
    /// Pairs of trainings behind it.
    pub seeds: usize,
    /// Every seed was there, and they share what the claim is about.
    #[serde(skip)]
    pub fixed: bool,
    /// Of all claims that are answered at once, corrected together (Holm). Absent where it is not answered.
    pub verdict: Option<Verdict>,
    /// As if it were the only one.
    pub raw_verdict: Option<Verdict>,
    /// Of the only one, and corrected.
    pub raw_p: Option<f64>,
    pub p: Option<f64>,
    /// Claims that it was corrected together with, itself among them; absent without a p.
    pub family: Option<usize>,
    /// There is a verdict either way, and more seeds than one are behind it.
    pub settled: bool,
    /// What would settle it, where it is not.
    pub enough: Option<Needed>,
    /// Why not.
    pub unanswered: Option<String>,
    /// Seeds that are left out, and why.
    pub notes: Vec<String>,
    /// That so many of the answers behind a verdict cannot be read that it says little.
    pub warnings: Vec<String>,
    /// Those of the warnings that say of an evaluation what its own numbers say as well: how much of it cannot be read.
    #[serde(skip)]
    pub doubts: BTreeSet<String>,
    pub conditions: Vec<Weighed>,
}

/// One condition and its numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Weighed {
    pub metric: String,
    pub label: String,
    /// The other metric of the same node, where one is compared with it; `first` is of that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub than: Option<String>,
    #[serde(skip)]
    pub than_label: Option<String>,
    pub unit: String,
    pub node: String,
    pub against_node: String,
    /// `lower`, `higher`, `within`, `differs`, `dominates`.
    pub expect: &'static str,
    #[serde(skip)]
    pub asked: Expect,
    pub by: f64,
    /// Two-sided, of the bound that the verdict is about.
    pub p_verdict: Option<f64>,
    /// `first` is the other recipe or metric, `second` the own one.
    #[serde(flatten)]
    pub numbers: Numbers,
    pub verdict: Verdict,
    /// Where there are several metrics: each of them.
    pub parts: Vec<Part>,
    /// Of the differences in two metrics, over seeds.
    pub correlation: Option<f64>,
    /// Of the answers behind it, where it is a rate; `first` and `second` as those of the numbers.
    pub beside: Option<Sided>,
    /// On a side, more of the answers cannot be read than a verdict bears.
    pub doubtful: bool,
}

/// One metric of several that a condition is about.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    pub metric: String,
    pub label: String,
    /// Of the answers behind it, where it is a rate.
    pub beside: Option<Sided>,
    #[serde(skip)]
    pub doubtful: bool,
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// What would settle a claim that is open, if its differences are as they seem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Needed {
    /// So many seeds in all.
    Seeds(usize),
    /// So many prompts in each of so many seeds; seeds alone would not do.
    Prompts { prompts: usize, seeds: usize },
    /// Two seeds, before anything can be told.
    Another,
    /// Not seeds: all of them share the artifacts.
    Fixed,
    /// No number that anybody would run.
    Nothing,
}

impl Answer {
    /// There is a verdict, and it says little.
    pub fn doubtful(&self) -> bool {
        self.verdict.is_some() && self.conditions.iter().any(|c| c.doubtful)
    }

    pub(super) fn decision(&self) -> Decision {
        let all: Vec<Decision> = self.conditions.iter().map(Weighed::decision).collect();
        decide::together(&all)
    }
}

impl Weighed {
    /// What the verdict is about: the difference, or each of several.
    pub(super) fn estimates(&self) -> Vec<&Estimate> {
        match self.asked {
            Expect::Dominates => self.parts.iter().map(|p| &p.numbers.estimate).collect(),
            _ => vec![&self.numbers.estimate],
        }
    }

    pub(super) fn decision(&self) -> Decision {
        decide(self.asked, self.by, &self.estimates(), self.correlation)
    }
}
