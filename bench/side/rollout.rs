//! Sampling: every prompt once, to the limit, at temperature 1 over the whole vocabulary.

use crate::{turns, work};
use anyhow::Result;
use pipe::base::rng::Seed;
use pipe::learn::cpu::Cpu;
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
}

pub fn serve(work: Work) -> Result<()> {
    let weights = work::weights(&work.config)?;
    let prompts = work::ids(work.rows, work.prompt, weights.config.vocab_size);
    turns::ready(json!({"parameters": weights.layout.len()}));
    let mut learner = Cpu::frozen(weights, None);
    let mut turn = 0;
    while turns::asked().is_some() {
        turn += 1;
        turns::timed(|| rollouts(&mut learner, &prompts, 1, work.new, Seed::new(turn)))?;
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
