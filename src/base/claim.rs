//! What a recipe says it expects of another, as data: written in `[[claim]]`, answered by `report::verdicts`.

use std::collections::BTreeMap;

/// The axis whose variants repeat each other: the same study with other random numbers.
pub const SEED: &str = "seed";

/// What the path of a recipe begins with that is no file, but part of the program: `pipe:tars`.
pub const SHIPPED: &str = "pipe:";

/// Whether the values of an axis are seeds, by its name: `seed`, `rl.seed`, `base_seed`, `base-seed`.
pub fn of_seeds(axis: &str) -> bool {
    let name = axis.rsplit('.').next().unwrap_or(axis);
    name.rsplit(['_', '-']).next() == Some(SEED)
}

/// By axis of `[matrix]`, the value's text: which variant of a recipe.
pub type Axes = BTreeMap<String, String>;

/// An expectation: it holds if all its conditions do.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// In words.
    pub about: String,
    /// The recipe it is compared with: the path of a file, or `pipe:NAME`. None where it is within its own: each of its conditions then
    /// compares two metrics of one node.
    pub against: Option<std::path::PathBuf>,
    /// Only variants of the own recipe with these values.
    pub at: Axes,
    /// Only variants of the other recipe with these values.
    pub against_at: Axes,
    /// At least one.
    pub conditions: Vec<Condition>,
}

/// One metric of one node, or several together, against the same of a node of the other recipe; or against another metric of the same
/// node.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// One; or several, whose mean is meant; or those that `dominates` looks at side by side.
    pub metrics: Vec<String>,
    /// The other metric of the same node; then there is one in `metrics`, and the claim is within its recipe.
    pub than: Option<String>,
    /// The evaluation in the own recipe.
    pub node: String,
    /// The evaluation in the other.
    pub against_node: String,
    pub expect: Expect,
    /// `lower`, `higher` and `differs`: by more than this; `within`: the difference is at most this in size; `dominates`: what either side
    /// may be lower by. In the metric's unit, a share as a fraction.
    pub by: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Lower,
    Higher,
    Within,
    Differs,
    /// On no metric worse, on one at least better.
    Dominates,
}

impl Condition {
    /// All metrics that it names.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        self.metrics.iter().chain(&self.than)
    }
}

impl Expect {
    pub const ALL: [Expect; 5] = [
        Expect::Lower,
        Expect::Higher,
        Expect::Within,
        Expect::Differs,
        Expect::Dominates,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Expect::Lower => "lower",
            Expect::Higher => "higher",
            Expect::Within => "within",
            Expect::Differs => "differs",
            Expect::Dominates => "dominates",
        }
    }
}
