//! What is taken out of an artifact, and why: the row of an output `removed`, and for kinds that pick prompts the three outputs
//! that all of them have (`prompts`, `removed`, `metrics`).

use anyhow::{Result, ensure};
use base::rows::{self, Metric, Prompt};
use engine::kind::context::NodeCtx;
use engine::kind::{MetricInfo, Output, Type};
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// What is to be said of a removed row besides the reason.
pub(crate) type Details = BTreeMap<&'static str, Json>;

/// A row of `removed`: a row of the artifact, with `reason` and details as fields beside its own.
#[derive(Serialize)]
pub struct Removed<Row: Serialize> {
    #[serde(flatten)]
    pub row: Row,
    pub reason: &'static str,
    #[serde(flatten)]
    pub details: Details,
}

/// The outputs of a kind that picks prompts.
pub(crate) const PICKED: &[Output] = &[
    Output::always("prompts", Type::Prompts, "the prompts that are kept"),
    Output::always(
        "removed",
        Type::Prompts,
        "the others, each with the `reason` and what it hangs on",
    ),
    Output::always(
        "metrics",
        Type::Metrics,
        "how many are kept, by source, and removed, by reason and source",
    ),
];

/// What these kinds measure: `kept/SOURCE`, `removed/REASON`, `removed/REASON/SOURCE`.
pub(crate) const COUNTS: &[MetricInfo] = &[
    MetricInfo::plain("kept", "prompts", "prompts kept"),
    MetricInfo::plain("kept/*", "prompts", "kept, *"),
    MetricInfo::plain("removed/*", "prompts", "removed, *"),
];

/// What is kept of some prompts, and what is not.
pub struct Picked {
    /// Every reason that the kind knows.
    reasons: &'static [&'static str],
    kept: Vec<Prompt>,
    removed: Vec<Removed<Prompt>>,
}

impl Picked {
    pub fn new(reasons: &'static [&'static str]) -> Picked {
        Picked {
            reasons,
            kept: vec![],
            removed: vec![],
        }
    }

    pub fn keep(&mut self, prompt: Prompt) {
        self.kept.push(prompt);
    }

    pub fn remove(&mut self, prompt: Prompt, reason: &'static str, details: Details) {
        debug_assert!(self.reasons.contains(&reason));
        self.removed.push(Removed {
            row: prompt,
            reason,
            details,
        });
    }

    pub fn kept(&self) -> &[Prompt] {
        &self.kept
    }

    pub fn removed(&self) -> &[Removed<Prompt>] {
        &self.removed
    }

    fn all(&self) -> usize {
        self.kept.len() + self.removed.len()
    }

    /// `kept 1600 of 2000 prompts, 300 near, 100 exact`, in the order of the kind's reasons.
    pub fn summary(&self) -> String {
        let noun = if self.all() == 1 { "prompt" } else { "prompts" };
        let mut summary = format!("kept {} of {} {noun}", self.kept.len(), self.all());
        for reason in self.reasons {
            match self.removed.iter().filter(|r| r.reason == *reason).count() {
                0 => {}
                n => summary += &format!(", {n} {reason}"),
            }
        }
        summary
    }

    /// `kept`, `kept/SOURCE`, `removed/REASON`, and of these `removed/REASON/SOURCE` where there are any: numbers of prompts, with
    /// those that were looked at as n.
    pub fn metrics(&self) -> Vec<Metric> {
        let rows = || self.kept.iter().chain(self.removed.iter().map(|r| &r.row));
        let sources: BTreeSet<&str> = rows().map(|p| p.source.as_str()).collect();
        let of = |source: &str| rows().filter(|p| p.source == source).count();
        let all: BTreeMap<&str, usize> = sources.iter().map(|s| (*s, of(s))).collect();
        let count = |name: String, value: usize, n: usize| Metric {
            name,
            value: value as f64,
            n,
            interval: None,
            unit: "prompts".into(),
        };
        let mut metrics = vec![count("kept".into(), self.kept.len(), self.all())];
        for (source, n) in &all {
            let kept = self.kept.iter().filter(|p| p.source == *source).count();
            metrics.push(count(format!("kept/{source}"), kept, *n));
        }
        for reason in self.reasons {
            let removed = || self.removed.iter().filter(|r| r.reason == *reason);
            let name = format!("removed/{reason}");
            metrics.push(count(name.clone(), removed().count(), self.all()));
            for (source, n) in &all {
                match removed().filter(|r| r.row.source == *source).count() {
                    0 => {}
                    some => metrics.push(count(format!("{name}/{source}"), some, *n)),
                }
            }
        }
        metrics
    }

    /// Writes the three outputs. Errors: nothing is kept.
    pub fn finish(self, ctx: &NodeCtx) -> Result<()> {
        ctx.log(&self.summary());
        ensure!(!self.kept.is_empty(), "nothing is left: {}", self.summary());
        rows::write_rows(&ctx.output("prompts"), &self.kept)?;
        rows::write_rows(&ctx.output("removed"), &self.removed)?;
        rows::write_metrics(&ctx.output("metrics"), self.metrics())
    }
}

/// The details of a prompt that is like another.
pub fn like(other: &Prompt, similarity: f64) -> Details {
    Details::from([
        ("like", other.id.as_str().into()),
        ("like_source", other.source.as_str().into()),
        ("similarity", similarity.into()),
    ])
}
