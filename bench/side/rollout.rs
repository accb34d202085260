//! Sampling: every prompt once, to the limit, at temperature 1 over the whole vocabulary. `rows N` takes the first N prompts alone.

use crate::work::Where;
use crate::{turns, work};
use anyhow::{Context, Result, ensure};
use pipe::base::rng::Seed;
use pipe::learn::learner::{Learner, Policy};
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::{Options, Request, Sample};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(Deserialize)]
pub struct Work {
    config: Value,
    rows: usize,
    prompt: usize,
    new: usize,
    #[serde(flatten)]
    on: Where,
}

pub fn serve(work: Work) -> Result<()> {
    let weights = work::weights(&work.config)?;
    let prompts = work::ids(work.rows, work.prompt, weights.config.vocab_size);
    let about = json!({"parameters": weights.layout.len()});
    let mut learner = work.on.asked(weights)?;
    turns::ready(about);
    let mut turn = 0;
    while let Some(unit) = turns::asked() {
        if unit == "memory" {
            work.on.unit(&unit)?;
            continue;
        }
        let rows = match unit.strip_prefix("rows ") {
            Some(rows) => rows.parse().context("rows are a number")?,
            None => work.rows,
        };
        ensure!(rows <= work.rows, "there are {} prompts", work.rows);
        turn += 1;
        let seed = Seed::new(turn);
        turns::timed(|| rollouts(learner.as_mut(), &prompts[..rows], 1, work.new, seed))?;
    }
    Ok(())
}

/// `samples` completions of every prompt, each of `new` tokens.
pub fn rollouts(
    learner: &mut dyn Learner,
    prompts: &[Vec<u32>],
    samples: usize,
    new: usize,
    seed: Seed,
) -> Result<Vec<Vec<Sample>>> {
    let requests: Vec<Request> = prompts
        .iter()
        .enumerate()
        .map(|(i, prompt)| Request {
            prompt: prompt.clone(),
            samples,
            seed: seed.at(i as u64),
        })
        .collect();
    let options = Options {
        choice: Choice::plain(1.0),
        max_new_tokens: new,
        stop_ids: BTreeSet::new(),
        batch_rows: 256,
    };
    learner.sample(Policy::Live, &requests, &options, &mut |_| {}, &|| false)
}
