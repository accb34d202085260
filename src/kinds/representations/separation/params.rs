//! What a separation is told: which prompts are held against each other, and how.

use crate::shared::bounds;
use analysis::points::Metric as Distance;
use analysis::probe::Probe;
use base::params;
use base::params::{Bounds, ParamSet, Problem};
use base::setup::Acts;
use base::value::Values;

const FOLDS: Bounds = Bounds::within(2.0, 100.0, "a probe is scored on what it has not seen");
const COST: Bounds = Bounds::above(0.0, 1e6, "at 0 an error costs nothing");
const NEIGHBOURS: Bounds = Bounds::within(2.0, 1_000.0, "each point is one of its own");
const MIN_DIST: Bounds = Bounds::within(0.0, 0.99, "of a picture in which near is 1");
const SEEDS: Bounds = Bounds::within(1.0, 1_000.0, "every seed is a picture");
const SHUFFLES: Bounds = Bounds::within(0.0, 1_000.0, "every shuffle fits a probe a fold");
const AGAINST: Acts = Acts::only(
    "where another model's states are on the port `against`",
    |s| s.connected("against"),
);

params! {
    pub struct Params {
        /// What parts the sides: `class`, `category`, `source`, or a further label of the prompts such as `attack`.
        label: String = "class".to_string();
        /// Values of the label on the side that a score ought to put higher. `""` stands for prompts without the label.
        positive: Vec<String> = vec!["harmful".to_string()];
        /// Values of the label on the other side. Prompts of neither side are left out.
        negative: Vec<String> = vec!["ambiguous".to_string()];
        /// The layer that is measured in full and embedded; without it the last that the states have.
        layer: Option<usize> = None, in bounds::BLOCKS;
        /// The layer of `against` that this one is aligned with; without it the one of the same number.
        against_layer: Option<usize> = None, in bounds::BLOCKS, if AGAINST;
        /// Folds of the probe; test cases of one behaviour stay in one fold.
        folds: usize = 5, in FOLDS;
        /// What an error costs the probe against its penalty.
        probe_c: f64 = 1.0, in COST;
        /// Every coordinate gets mean 0 and variance 1 before the probe, by the points that it is fitted on.
        scale: bool = true;
        /// Permutations of the labels whose numbers stand beside, for what chance shows.
        shuffles: usize = 5, in SHUFFLES;
        /// Neighbours of a point in UMAP, itself counted.
        neighbours: usize = 15, in NEIGHBOURS;
        /// How near to each other points may come in a picture.
        min_dist: f64 = 0.1, in MIN_DIST;
        /// What is near in UMAP.
        metric: Distance = Distance::Euclidean;
        /// Pictures, a seed each.
        seeds: usize = 9, in SEEDS;
        /// What a point on the wrong side costs the margin in a picture.
        svm_c: f64 = 1.0, in COST;
        /// Both sides cost the same in all, however many points they have.
        balanced: bool = false;
        /// Seed of pictures and permutations.
        seed: u64 = 0, in bounds::SEED;
    }
}

impl Params {
    pub fn probe(&self) -> Probe {
        Probe {
            c: self.probe_c,
            scaled: self.scale,
        }
    }
}

/// Checks beyond types and bounds.
pub fn check(values: &Values) -> Vec<Problem> {
    let Ok(p) = Params::read(values) else {
        return vec![];
    };
    let problem = |path: &str, message: String, help: &str| Problem {
        path: path.into(),
        message,
        help: Some(help.into()),
    };
    let mut found = vec![];
    for (name, side) in [("positive", &p.positive), ("negative", &p.negative)] {
        if side.is_empty() {
            let message = format!("`{name}` names no value of `{}`", p.label);
            found.push(problem(name, message, "a side has at least one"));
        }
    }
    if let Some(both) = p.positive.iter().find(|value| p.negative.contains(value)) {
        let message = format!("{both:?} is on both sides");
        found.push(problem("negative", message, "a value is on one side"));
    }
    found
}
