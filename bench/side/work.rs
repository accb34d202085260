//! Models and token ids of the benchmarks: random, from seeds.

use anyhow::Result;
use pipe::base::rng::Seed;
use pipe::learn::config::Config;
use pipe::learn::weights::Weights;
use serde_json::Value;

/// A randomly initialised model of this `config.json`.
pub fn weights(config: &Value) -> Result<Weights> {
    Ok(Weights::random(Config::from_json(config)?, Seed::new(1)))
}

/// `rows` rows of `length` ids each. Ids below 5 are left out, as on the other side: it has special tokens there.
pub fn ids(rows: usize, length: usize, vocabulary: usize) -> Vec<Vec<u32>> {
    let mut rng = Seed::new(2).rng();
    let mut row = || -> Vec<u32> {
        let mut id = || 5 + rng.below(vocabulary - 5) as u32;
        (0..length).map(|_| id()).collect()
    };
    (0..rows).map(|_| row()).collect()
}
