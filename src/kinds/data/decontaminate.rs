//! Removes training prompts that are in an eval.

use crate::data::likeness::{Inventory, Shingling, normal};
use crate::data::removed::{COUNTS, Details, PICKED, Picked, like};
use crate::shared::bounds;
use crate::shared::estimate;
use crate::shared::model_io;
use anyhow::Result;
use base::params::ParamSet;
use base::rows::{self, Prompt};
use base::setup::Acts;
use base::text::count;
use base::{choice, params};
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Needs, Port, Role, Type};
use rayon::prelude::*;
use std::collections::BTreeMap;

choice! {
    /// What counts as being in an eval.
    pub enum By { Exact = "exact", Near = "near", Contained = "contained" }
}

const NEAR: Acts = Acts::only("where `by` is `near` or `contained`", |s| {
    !s.says("by", "exact")
});
const CONTAINED: Acts = Acts::only("where `by` is `contained`", |s| s.says("by", "contained"));

params! {
    pub struct Params {
        /// `exact`: the same text but for case, white space and a last full stop. `near`: as well a Jaccard's index of the
        /// n-grams of at least `threshold`. `contained`: as well a share of at least `containment` of the eval prompt's n-grams.
        by: By = By::Contained;
        /// `near`, `contained`: least Jaccard's index.
        threshold: f64 = 0.8, in bounds::LIKENESS, if NEAR;
        /// `contained`: least share of the eval prompt's n-grams that the training prompt has.
        containment: f64 = 0.9, in bounds::LIKENESS, if CONTAINED;
    }
    with { shingling: Shingling }
}

pub const KIND: Kind = Kind {
    name: "decontaminate",
    revision: 1,
    role: Role::Cleans,
    summary: "removes training prompts that equal, resemble or contain a prompt of an eval",
    about: "`against` is the evals' prompts, joined with `pool` where there are several. Nothing is sampled: every pair at or \
            above the thresholds is found. A removed row names the eval prompt (`like`, `like_source`) and `similarity`: \
            Jaccard's index with `near`, the share of the eval prompt's n-grams with `contained`. An eval prompt of fewer \
            characters or words than an n-gram has is found where it is the whole training prompt only. All prompts are in \
            memory: 100,000 of 340 characters against 5,000 take 240 MB.",
    example: r#"
[node.clean]
kind = "decontaminate"
in = { prompts = "pool", against = "evals" }
threshold = 0.7
"#,
    inputs: &[
        Port::required("prompts", Type::Prompts, "what is to be trained on"),
        Port::required("against", Type::Prompts, "prompts of evals").only_compared(),
    ],
    outputs: PICKED,
    metrics: COUNTS,
    params: Params::specs,
    needs: |_| Needs::ALL_THREADS,
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

const REASONS: &[&str] = &["exact", "near", "contained"];

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    let against: Vec<Prompt> = rows::read_rows(ctx.input("against"))?;
    model_io::use_threads(ctx)?;
    let held = count(against.len() as u64, "prompt", "prompts");
    ctx.log(&format!("against {held} of evals"));
    decontaminate(prompts, &against, &p).finish(ctx)
}

/// Takes out what an eval holds.
pub fn decontaminate(prompts: Vec<Prompt>, against: &[Prompt], p: &Params) -> Picked {
    let evals: Vec<String> = against.iter().map(|e| normal(&e.prompt)).collect();
    let mut equal: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, text) in evals.iter().enumerate() {
        equal.entry(text).or_insert(i);
    }
    let least = match p.by {
        By::Exact => None,
        By::Near => Some(p.threshold),
        By::Contained => Some(p.threshold.min(p.containment)),
    };
    let holdings = least.map(|least| Inventory::new(&evals, &p.shingling, least));
    let judged: Vec<Option<(&'static str, Details)>> = prompts
        .par_iter()
        .map(|prompt| {
            let text = normal(&prompt.prompt);
            if let Some(eval) = equal.get(text.as_str()) {
                return Some(("exact", like(&against[*eval], 1.0)));
            }
            held(&text, holdings.as_ref()?, p)
                .map(|(reason, eval, similarity)| (reason, like(&against[eval], similarity)))
        })
        .collect();
    let mut picked = Picked::new(REASONS);
    for (prompt, judged) in prompts.into_iter().zip(judged) {
        match judged {
            None => picked.keep(prompt),
            Some((reason, details)) => picked.remove(prompt, reason, details),
        }
    }
    picked
}

/// The eval prompt that a text is nearest to, or holds most of; of several the first.
fn held(text: &str, holdings: &Inventory, p: &Params) -> Option<(&'static str, usize, f64)> {
    let mut best: Option<(&'static str, usize, f64)> = None;
    for found in holdings.of(text) {
        let (reason, similarity) = match p.by {
            _ if found.jaccard >= p.threshold => ("near", found.jaccard),
            By::Contained if found.containment >= p.containment => ("contained", found.containment),
            _ => continue,
        };
        let better = |b: (&str, usize, f64)| match (reason, b.0) {
            ("near", "contained") => true,
            ("contained", "near") => false,
            _ => similarity > b.2,
        };
        if best.is_none_or(better) {
            best = Some((reason, found.held, similarity));
        }
    }
    best
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    estimate::no_more(preview, "prompts")
}
