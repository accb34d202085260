//! What a node is expected to take, and how that is known: measured by an earlier record, by the formulas of its kind, or not at all.
//! Estimates, never identity; nobody is asked.

use super::decision::Decision;
use super::verdict::Verdict;
use crate::kind::estimate::DeviceMemory;
use crate::store::index::RecordSummary;
use base::calls::Calls;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How something is known beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// What will be asked is known: it is at most this.
    #[serde(rename = "forecast")]
    Counted,
    /// By an earlier record of the node itself.
    #[serde(rename = "record")]
    Measured,
    /// By another node of its kind, or by itself when it did far less: that tells memory, not time or money.
    OfTheKind,
    /// By the formulas of its kind, from its parameters alone.
    Formula,
    #[default]
    #[serde(rename = "nothing")]
    Unknown,
}

/// What a node is expected to take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// How time and memory are known.
    pub basis: Basis,
    /// This and the dollars: 0 where nobody can say.
    pub seconds: f64,
    pub dollars: f64,
    /// Highest resident memory.
    pub peak_bytes: u64,
    /// Its calls to services, for a node that has to run and may make any.
    pub calls: Option<Box<CallsEstimate>>,
    /// By its parameters alone, for a node that has to run and of which anything can be told so.
    pub formula: Option<Box<Formula>>,
}

/// Calls to services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallsEstimate {
    pub by: Basis,
    /// Calls to make: at most, or as many as the earlier record made.
    pub make: u64,
    /// Answers that the journal has, or that the earlier record found there.
    pub in_journal: u64,
    /// Of the calls to make, requests and answers together.
    pub tokens: u64,
    pub dollars: f64,
    /// Nodes that have to be made before it can be told.
    pub after: Vec<String>,
    /// Why it cannot be told although they are there.
    pub problem: Option<String>,
}

/// What the formulas of a kind say: upper bounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Formula {
    pub calls: Option<Calls>,
    /// Floating-point operations.
    pub flop: f64,
    /// Bytes at the peak; 0: not known.
    pub memory: f64,
    /// Of the device that the node names.
    pub device_memory: Option<DeviceMemory>,
    /// At a speed that was recorded here.
    pub seconds: Option<f64>,
    /// What there is to do, in the kind's own words.
    pub told: Option<String>,
}

/// How fast a kind was here: by the newest record that counted its work.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    pub flop_per_second: f64,
    started_ms: u64,
}

impl Speed {
    pub(super) fn of(brief: &RecordSummary) -> Speed {
        Speed {
            flop_per_second: brief.cost.flop / brief.cost.seconds.max(1e-3),
            started_ms: brief.cost.started_ms,
        }
    }
}

/// Of this kind, else of any, the newest.
pub(super) fn speed<'a>(speeds: &'a BTreeMap<String, Speed>, kind: &str) -> Option<&'a Speed> {
    let newest = || speeds.values().max_by_key(|s| s.started_ms);
    speeds.get(kind).or_else(newest)
}

/// A formula gives an upper bound, but not this many times what the node takes.
const FAR: f64 = 20.0;

impl Estimate {
    /// By what is on record. A hit takes nothing.
    pub(super) fn recorded(decision: &Decision) -> Estimate {
        if matches!(decision.verdict, Verdict::Hit(_)) {
            return Estimate {
                basis: Basis::Measured,
                ..Estimate::default()
            };
        }
        let Some(earlier) = &decision.earlier else {
            return Estimate::default();
        };
        let memory = Estimate {
            basis: Basis::OfTheKind,
            peak_bytes: earlier.peak_bytes,
            ..Estimate::default()
        };
        match earlier.own {
            true => Estimate {
                basis: Basis::Measured,
                seconds: earlier.seconds,
                dollars: earlier.dollars,
                ..memory
            },
            false => memory,
        }
    }

    /// Whether a record of the node itself says it.
    pub fn is_measured(&self) -> bool {
        self.basis == Basis::Measured
    }

    /// Whether its time is an upper bound: formulas know how much may be to do, and nobody how much there will be.
    pub fn is_at_most(&self) -> bool {
        self.basis == Basis::Formula && self.seconds > 0.0
    }

    /// Whether its time and money can be told.
    pub fn is_known(&self) -> bool {
        !matches!(self.basis, Basis::Unknown | Basis::OfTheKind)
    }

    /// Its calls are told. What is counted cannot cost more.
    pub(super) fn with_calls(&mut self, calls: CallsEstimate) {
        self.calls = Some(Box::new(calls));
        if self.is_known() {
            self.dollars = self.at_most_counted(self.dollars);
        }
    }

    pub(super) fn at_most_counted(&self, dollars: f64) -> f64 {
        let counted = self.calls.as_ref().filter(|c| c.by == Basis::Counted);
        counted.map_or(dollars, |calls| dollars.min(calls.dollars))
    }

    /// What the formulas say counts where no record of the node itself does: a namesake that did far less is not the node, where
    /// its work is not put into relation (`scaled`).
    pub(super) fn with_formula(&mut self, formula: Formula, decision: &Decision, scaled: bool) {
        let did = decision.earlier.as_deref();
        let flop = did.map_or(0.0, |did| did.flop);
        let far = !scaled && flop > 0.0 && formula.flop > FAR * flop;
        let asked_nobody = did.is_none_or(|did| did.calls.is_zero());
        if self.is_measured() && (far || formula.calls.is_some() && asked_nobody) {
            self.basis = Basis::OfTheKind;
            (self.seconds, self.dollars) = (0.0, 0.0);
        }
        if let (Some(seconds), false) = (formula.seconds, self.is_measured()) {
            self.basis = Basis::Formula;
            self.seconds = seconds;
            let asked = formula.calls.unwrap_or_default();
            self.dollars = self.at_most_counted(asked.dollars);
            // Where the formulas say nothing of it, what a record says is better than nothing.
            if formula.memory > 0.0 {
                self.peak_bytes = formula.memory as u64;
            }
        }
        self.formula = (formula != Formula::default()).then(|| Box::new(formula));
    }
}
