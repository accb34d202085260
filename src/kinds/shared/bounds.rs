//! Which numbers the parameters of the kinds take, and why no others: far beyond what anybody means, and short of what would take a
//! machine down or a model apart without a word. A number that is typed wrong is told by `pipe check`, not by the memory that runs out.

use base::params::Bounds;

pub const SEED: Bounds = Bounds::within(0.0, i64::MAX as f64, "a seed is a whole number from 0");
pub const SHARE: Bounds = Bounds::within(0.0, 1.0, "it is a share");
/// Dropped: none at all would keep nothing.
pub(crate) const LIKENESS: Bounds =
    Bounds::within(0.01, 1.0, "below, everything is like everything");
pub(crate) const RECALL: Bounds =
    Bounds::within(0.01, 0.999_999, "a probability short of certainty");
pub(crate) const PERMUTATIONS: Bounds =
    Bounds::within(1.0, 1e4, "every prompt has so many numbers");
pub(crate) const NGRAM: Bounds = Bounds::within(1.0, 64.0, "longer ones are whole texts");
pub(crate) const DEPTH: Bounds = Bounds::within(
    0.0,
    3.0,
    "the world has four relations, and its evals go one lookup further",
);

/// Rows that a kind makes.
pub const ROWS: Bounds = Bounds::within(1.0, 1e6, "all of them are made in memory");
/// Rows that a kind takes of those there are.
pub(crate) const TAKEN: Bounds = Bounds::within(1.0, 1e9, "no set has as many rows");
pub const COUNT: Bounds = Bounds::within(0.0, 1e9, "nothing here has as many");
pub const SAMPLES: Bounds = Bounds::within(1.0, 1e5, "samples of a prompt");

pub(crate) const TOKENS: Bounds =
    Bounds::within(1.0, 16_777_216.0, "no model has as many positions");
pub(crate) const TEMPERATURE: Bounds =
    Bounds::within(0.0, 100.0, "above, every token is as likely as any other");
pub(crate) const WARM: Bounds =
    Bounds::above(0.0, 100.0, "at 0 all samples of a prompt are the same");
pub(crate) const NUCLEUS: Bounds = Bounds::above(0.0, 1.0, "it is a share of the probability");
pub(crate) const TOP_K: Bounds = Bounds::within(0.0, 1e7, "no vocabulary has as many tokens");

pub(crate) const EPOCHS: Bounds = Bounds::above(0.0, 1e4, "passes over the data");
pub const STEPS: Bounds = Bounds::within(1.0, 1e8, "no run takes as many steps");
pub const BATCH: Bounds = Bounds::within(1.0, 65_536.0, "a step is in memory as a whole");
pub const GROUP: Bounds = Bounds::within(
    2.0,
    65_536.0,
    "a group of 1 has no advantage to compare, and a step is in memory as a whole",
);
pub(crate) const UPDATES: Bounds = Bounds::within(1.0, 1e4, "steps on the same rollouts");
/// Weights of loss terms.
pub(crate) const COEFFICIENT: Bounds = Bounds::within(0.0, 100.0, "a term beside one of weight 1");
pub(crate) const CLIP_HIGH: Bounds = Bounds::within(0.0, 100.0, "a ratio is clipped to 1 and this");
pub(crate) const DUAL_CLIP: Bounds = Bounds::within(
    1.0,
    1e6,
    "below 1 it would cut losses that no ratio made large",
);
pub(crate) const CLAMP: Bounds = Bounds::above(0.0, 1e6, "what is cut to 0 teaches nothing");
pub const EPSILON: Bounds = Bounds::above(0.0, 1e3, "it keeps a divisor from 0");
pub(crate) const ALPHA: Bounds = Bounds::above(0.0, 1e6, "at 0 nothing is trained");
pub(crate) const SPREAD: Bounds = Bounds::above(0.0, 10.0, "at 0 there is no slope to begin with");
/// Of normal draws.
pub(crate) const DEVIATION: Bounds = Bounds::within(0.0, 10.0, "weights that a model begins with");
pub(crate) const ROPE_BASE: Bounds =
    Bounds::within(1.0, 1e9, "the slowest frequency is its inverse");
/// Counted from 1, which the kind says itself.
pub(crate) const BLOCKS: Bounds = Bounds::within(0.0, 1e5, "no model has as many blocks");
pub const RANK: Bounds = Bounds::within(1.0, 65_536.0, "no layer is as wide");
pub const WIDTH: Bounds = Bounds::within(1.0, 65_536.0, "its weights are made in memory");
pub(crate) const LAYERS: Bounds = Bounds::within(1.0, 1_024.0, "their weights are made in memory");

pub const EVERY: Bounds = Bounds::within(1.0, 1e9, "from one to the next");
pub(crate) const AT_ONCE: Bounds =
    Bounds::within(1.0, 1e6, "all of them are in memory at the same time");
pub(crate) const THREADS: Bounds = Bounds::within(1.0, 4_096.0, "no machine has as many");
/// Of guards: 0 is never.
pub(crate) const GUARD: Bounds = Bounds::within(0.0, 1e12, "0 is never");
pub(crate) const ANY: Bounds = Bounds::within(-1e12, 1e12, "a score of a model");

pub(crate) const CONCURRENCY: Bounds = Bounds::within(1.0, 1e4, "each holds a connection");
pub(crate) const PER_REQUEST: Bounds = Bounds::within(1.0, 1e4, "all of them are in one request");
pub(crate) const PER_MINUTE: Bounds = Bounds::above(0.0, 1e12, "at 0 nothing is ever sent");
pub const SECONDS: Bounds = Bounds::above(0.0, 1e8, "more than three years");
pub(crate) const RETRIES: Bounds =
    Bounds::within(0.0, 1e3, "pauses between them are up to a minute");
pub(crate) const DOLLARS: Bounds = Bounds::within(0.0, 1e9, "an amount in dollars");
pub(crate) const TOKEN_BUDGET: Bounds = Bounds::within(0.0, 1e15, "an amount of tokens");
