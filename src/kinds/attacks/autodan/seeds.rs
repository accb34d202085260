//! What a population begins as: texts that are given, or claims of the built-in world's attacker. Knows no model.

use super::params::Params;
use super::words::{self, Synonyms};
use anyhow::{Result, ensure};
use base::rng::Seed;
use base::rows::Prompt;
use world::claims;

pub enum Seeds {
    Given(Vec<String>),
    /// Made for each case.
    OfWorld,
}

/// Sentences of a seed of the world beyond the cuts of a crossover: as many as crossing over takes.
const BEYOND: usize = 2;

impl Seeds {
    /// The prompts' texts. Errors: one that has nothing in it.
    pub fn given(rows: &[Prompt]) -> Result<Seeds> {
        for row in rows {
            ensure!(
                !row.prompt.trim().is_empty(),
                "seed `{}` has no text",
                row.id
            );
        }
        Ok(Seeds::Given(
            rows.iter().map(|row| row.prompt.clone()).collect(),
        ))
    }

    /// The first generation: the seeds in an order of the case's own, and again from the first where they do not suffice, then with some
    /// words replaced by synonyms.
    pub fn population(&self, p: &Params, synonyms: &Synonyms, seed: Seed) -> Vec<String> {
        let mut rng = seed.child("seeds").rng();
        let seeds = match self {
            Seeds::OfWorld => {
                let claims = |_| claims::claims(p.points + BEYOND, &mut rng);
                return (0..p.population).map(claims).collect();
            }
            Seeds::Given(seeds) => seeds,
        };
        let mut order: Vec<&String> = seeds.iter().collect();
        rng.shuffle(&mut order);
        let of = |i: usize| match i < order.len() {
            true => order[i].clone(),
            false => words::mutated(order[i % order.len()], synonyms, &mut rng),
        };
        (0..p.population).map(of).collect()
    }
}
