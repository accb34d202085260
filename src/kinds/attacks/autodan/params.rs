//! What a search for prefixes is told.

use crate::attacks::ending::{Check, Ending};
use crate::shared::aim::Aim;
use crate::shared::bounds;
use base::params;
use base::params::Bounds;
use base::setup::Acts;
use std::path::PathBuf;

const REPLACED: Acts = Acts::only(
    "where there are synonyms: `synonyms` is given, or the port `seeds` is not connected",
    |s| s.given("synonyms") || !s.connected("seeds"),
);

const POPULATION: Bounds = Bounds::within(2.0, 65_536.0, "each goes through the model");
const POINTS: Bounds = Bounds::within(1.0, 1e4, "a text has so many sentences and two more");

params! {
    pub struct Params {
        /// Prefixes of a generation.
        population: usize = 64, in POPULATION;
        /// Generations after the first, which the seeds are.
        steps: usize = 100, in bounds::STEPS;
        /// Share of a generation that goes on as it is: its best, rounded down.
        elites: f64 = 0.1, in bounds::SHARE;
        /// Probability that two parents exchange sentences; and of a word that it is replaced, in generations that improve words.
        crossover: f64 = 0.5, in bounds::SHARE;
        /// Places at which two parents are cut. Those that have not at least two sentences more stay as they are.
        points: usize = 5, in POINTS;
        /// Probability that a child is mutated: up to ten of its words replaced by synonyms.
        mutation: f64 = 0.01, in bounds::SHARE, if REPLACED;
        /// Every so many generations, from the first on, parents are drawn and exchange sentences. In those between, all but the best have words
        /// improved: replaced by synonyms that occurred in better texts. 5 is AutoDAN's hierarchical variant; 1 never improves words.
        sentences_every: usize = 1, in bounds::EVERY, if REPLACED;
        /// A JSON file of synonyms, `{"word": ["other", …]}`. Without it and without `seeds` words of the built-in world stand for others of
        /// their sort.
        synonyms: Option<PathBuf> = None;
        /// Between a prefix and the prompt.
        between: String = " ".into();
        /// Cases of a prompt, each a search with draws of its own.
        cases: usize = 1, in bounds::SAMPLES;
        /// Seed of the draws.
        seed: u64 = 0, in bounds::SEED;
    }
    with { aim: Aim, ending: Ending { check = Check::Refusal, check_every = 5usize, patience = 10usize } }
}

params! {
    pub struct Exec {
        /// Tokens of prefixes that a thread takes through the model at the same time: fewer take less memory and more time.
        at_once: usize = 384, in bounds::AT_ONCE;
        /// Generations between two saves of a search; one that ends is always saved.
        save_every: usize = 10, in bounds::EVERY;
    }
}
