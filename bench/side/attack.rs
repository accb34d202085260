//! Candidates of GCG steps: every unit scores so many around another suffix, one token replaced in each, positions spread evenly.

use crate::{turns, work};
use anyhow::Result;
use pipe::base::rng::Seed;
use pipe::learn::attack::score::{Loss, Options, Scorer, Wanted};
use pipe::learn::attack::search;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub struct Work {
    config: Value,
    before: usize,
    suffix: usize,
    after: usize,
    target: usize,
    width: usize,
}

pub fn serve(work: Work) -> Result<()> {
    let weights = work::weights(&work.config)?;
    let vocabulary = weights.config.vocab_size;
    let length = work.before + work.suffix + work.after + work.target;
    let ids = work::ids(1, length, vocabulary).remove(0);
    let (before, rest) = ids.split_at(work.before);
    let (suffix, rest) = rest.split_at(work.suffix);
    let (after, target) = rest.split_at(work.after);
    turns::ready(json!({"parameters": weights.layout.len()}));
    let mut scorer = Scorer::new(&weights)?;
    let options = Options {
        tokens: 384,
        stop: &|| false,
    };
    let mut suffix = suffix.to_vec();
    let mut turn = 0;
    while turns::asked().is_some() {
        turn += 1;
        let mut rng = Seed::new(turn).rng();
        let mut token = || 5 + rng.below(vocabulary - 5) as u32;
        suffix[turn as usize % work.suffix] = token();
        let whole = |suffix: &[u32]| [before, suffix, after].concat();
        let places = search::even(work.suffix, work.width).concat();
        let candidates: Vec<Vec<u32>> = places
            .into_iter()
            .map(|place| whole(&search::laid_over(&suffix, place, &[token()])))
            .collect();
        let base = whole(&suffix);
        // As in a step: the suffix has changed, and the loss of every candidate is wanted.
        let losses = turns::timed(|| -> Result<Vec<f64>> {
            scorer.rebase(&base)?;
            let scores = scorer.score(&candidates, Wanted::Target(target), options)?;
            Ok(scores.iter().map(|s| Loss::CrossEntropy.of(s)).collect())
        })?;
        assert!(
            losses.iter().all(|loss| loss.is_finite()),
            "losses are numbers"
        );
    }
    Ok(())
}
