//! Removes prompts that say what an earlier one says.

use crate::data::likeness::{self, Bands, Shingling, normal};
use crate::data::removed::{COUNTS, PICKED, Picked, like};
use crate::shared::bounds;
use crate::shared::estimate;
use crate::shared::model_io;
use anyhow::{Context, Result};
use base::params::ParamSet;
use base::params::Problem;
use base::rows::{self, Prompt, PromptClass};
use base::setup::Acts;
use base::value::{self, Values};
use base::{choice, params};
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Needs, Port, Role, Type};
use std::collections::BTreeMap;

choice! {
    /// What counts as saying the same.
    pub enum By { Exact = "exact", Near = "near" }
}
choice! {
    /// Among which prompts an earlier one is looked for.
    pub enum Within { All = "all", Class = "class" }
}

const NEAR: Acts = Acts::only("where `by` is `near`", |s| s.says("by", "near"));
const SEEDED: Acts = Acts::draws("where `by` is `near`", |s| s.says("by", "near"));

params! {
    pub struct Params {
        /// `exact`: the same text but for case, white space and a last full stop. `near`: as well a Jaccard's index of the
        /// n-grams of at least `threshold`.
        by: By = By::Near;
        /// Among which prompts: `all`, or those of the same `class`.
        within: Within = Within::All;
        /// `near`: least Jaccard's index.
        threshold: f64 = 0.8, in bounds::LIKENESS, if NEAR;
        /// `near`: least probability that a pair exactly at the threshold is found; of those above it more are. It sets how the
        /// signature is cut.
        recall: f64 = 0.99, in bounds::RECALL, if NEAR;
        /// `near`: random orders in a signature.
        permutations: usize = 128, in bounds::PERMUTATIONS, if NEAR;
        /// `near`: seed of the orders.
        seed: u64 = 0, in bounds::SEED, if SEEDED;
    }
    with { shingling: Shingling }
}

pub const KIND: Kind = Kind {
    name: "dedup",
    revision: 1,
    role: Role::Cleans,
    summary: "removes prompts that are equal or nearly equal to an earlier one",
    about: "The first of several stays. A prompt is compared with the kept ones before it, so that a chain of small changes is \
            not removed as a whole. `near` looks for candidates with MinHash (Broder 1997) in b bands of r rows and compares \
            each exactly, so that what is removed is at least as similar as `threshold`; a pair of Jaccard's index s is found \
            with probability 1 - (1 - s^r)^b (Leskovec, Rajaraman, Ullman, ch. 3). r is the greatest for which that is `recall` \
            at the threshold: 128 permutations, 0.8 and 0.99 give 21 bands of 6, 0.998 at 0.8 and 0.99997 at 0.9. A removed row \
            names the kept one that it is most similar to. All prompts are in memory: \
            100,000 of 340 characters take 450 MB.",
    example: r#"
[node.once]
kind = "dedup"
in = { prompts = "pool" }
threshold = 0.7
"#,
    inputs: &[Port::required(
        "prompts",
        Type::Prompts,
        "prompts that may say the same",
    )],
    outputs: PICKED,
    metrics: COUNTS,
    params: Params::specs,
    check: Some(check),
    needs: |values| match Params::read(values) {
        Ok(p) if p.by == By::Near => Needs::ALL_THREADS,
        _ => Needs::ONE_THREAD,
    },
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

const REASONS: &[&str] = &["exact", "near"];

fn check(values: &Values) -> Vec<Problem> {
    let Ok(p) = Params::read(values) else {
        return vec![];
    };
    let mut found = vec![];
    // Of numbers that are out of bounds there is nothing to find.
    let sound = Params::specs()
        .iter()
        .all(|spec| value::at(values, spec.name).is_none_or(|v| spec.problems(v).is_empty()));
    if sound && p.by == By::Near && Bands::fitting(p.permutations, p.threshold, p.recall).is_none()
    {
        found.push(Problem {
            path: "permutations".into(),
            message: format!(
                "{} permutations cannot find a pair at {} with probability {}",
                p.permutations, p.threshold, p.recall
            ),
            help: Some("raise `permutations`, or lower `recall`".into()),
        });
    }
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    if p.by == By::Near {
        model_io::use_threads(ctx)?;
        let Bands { bands, rows } = cut(&p)?;
        let found = cut(&p)?.found(p.threshold);
        ctx.log(&format!(
            "{bands} bands of {rows}: a pair at {} is found with probability {found:.4}",
            p.threshold
        ));
    }
    dedup(prompts, &p)?.finish(ctx)
}

fn cut(p: &Params) -> Result<Bands> {
    let bands = Bands::fitting(p.permutations, p.threshold, p.recall);
    bands.context("too few permutations for this recall")
}

/// Takes out what an earlier prompt says.
pub fn dedup(prompts: Vec<Prompt>, p: &Params) -> Result<Picked> {
    let texts: Vec<String> = prompts.iter().map(|p| normal(&p.prompt)).collect();
    // What each is like: (place of the earlier one, reason, similarity).
    let mut of: Vec<Option<(usize, &'static str, f64)>> = vec![None; prompts.len()];
    let mut first: BTreeMap<(Option<PromptClass>, &str), usize> = BTreeMap::new();
    let group = |i: usize| (p.within == Within::Class).then_some(prompts[i].class);
    for (i, text) in texts.iter().enumerate() {
        let earlier = *first.entry((group(i), text)).or_insert(i);
        if earlier < i {
            of[i] = Some((earlier, "exact", 1.0));
        }
    }
    if p.by == By::Near {
        let mut groups: BTreeMap<Option<PromptClass>, Vec<usize>> = BTreeMap::new();
        for i in (0..prompts.len()).filter(|i| of[*i].is_none()) {
            groups.entry(group(i)).or_default().push(i);
        }
        for places in groups.values() {
            let texts: Vec<String> = places.iter().map(|i| texts[*i].clone()).collect();
            let near = likeness::near(&texts, &p.shingling, cut(p)?, p.threshold, p.seed);
            for (i, alike) in places.iter().zip(near) {
                of[*i] = alike.map(|a| (places[a.of], "near", a.similarity));
            }
        }
        // What equals a row that is near to another is like that one.
        for i in 0..of.len() {
            if let Some((earlier, "exact", _)) = of[i]
                && let Some(kept) = of[earlier]
            {
                of[i] = Some(kept);
            }
        }
    }
    let details: Vec<_> = of
        .into_iter()
        .map(|like_of| like_of.map(|(i, reason, s)| (reason, like(&prompts[i], s))))
        .collect();
    let mut picked = Picked::new(REASONS);
    for (prompt, details) in prompts.into_iter().zip(details) {
        match details {
            None => picked.keep(prompt),
            Some((reason, details)) => picked.remove(prompt, reason, details),
        }
    }
    Ok(picked)
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    estimate::no_more(preview, "prompts")
}
