//! What models take, by their numbers: floating-point operations, memory, calls. Estimates for plans, and the count of what was
//! done; shared by the kinds that have a model. Knows no node.
//!
//! A token costs 2 operations a parameter on the way through, 4 on the way back (2 for what flows through frozen weights, 2 for
//! the gradient of weights that are trained); attention is left out (Kaplan et al. 2020, arXiv 2001.08361, §2.1).

pub(crate) mod device;
mod public;

use anyhow::Result;
use base::calls::Calls;
use base::value::Value;
use engine::kind::estimate::{ArtifactEstimate, ModelSize, NodePreview, Work};
use engine::store::hub::Address;
use learn::batch::MICRO_TOKENS;
use learn::checkpoint;
use learn::config::Config;
use learn::learner::Learner;
use services::endpoint::Prices;
use std::collections::BTreeMap;
use std::path::Path;

/// Tokens of a prompt, where nothing is known of it.
pub const PROMPT: f64 = 96.0;

/// Bytes of a number, in weights and everything that is computed.
const F32: f64 = 4.0;
/// Tokens that go through a training step at once.
const MICRO: f64 = MICRO_TOKENS as f64;
/// What a process takes besides.
const REST: f64 = 64e6;

/// What the formulas need to know of a model.
pub fn size_of(config: &Config) -> ModelSize {
    let float = |n: usize| n as f64;
    let normed = if config.qk_norm() { 2.0 } else { 1.0 };
    ModelSize {
        parameters: config.parameters() as f64,
        layers: float(config.layers),
        hidden: float(config.hidden_size),
        vocabulary: float(config.vocab_size),
        cache: float(2 * config.kv_width() * config.layers),
        kept: normed * float(config.qkv_width())
            + float(config.q_width() + config.heads + config.hidden_size + 2)
            + float(2 * config.intermediate_size),
        heads: float(config.heads),
        queries: float(config.q_width()),
        intermediate: float(config.intermediate_size),
        normed: config.qk_norm(),
    }
}

/// Of the model folder at a path parameter: by its configuration where it is there, else by its name on the hub, if that is well
/// known.
pub(crate) fn model_at(preview: &NodePreview, param: &str) -> Option<ModelSize> {
    if let Some(Value::Str(path)) = preview.params.get(param)
        && let Ok(config) = checkpoint::load_config(Path::new(path))
    {
        return Some(size_of(&config));
    }
    let Some(Value::Str(written)) = preview.written.get(param) else {
        return None;
    };
    let address = Address::parse(written)?.ok()?;
    public::config(&address.repo).map(|config| size_of(&config))
}

/// Operations of a training pass over so many tokens.
pub fn training(learner: &dyn Learner, tokens: usize) -> f64 {
    let size = size_of(learner.config());
    train_flop(&size, learner.adapted(), tokens as f64)
}

/// Operations of sampling: so many tokens, given and new ones, went through.
pub fn sampling(config: &Config, tokens: usize) -> f64 {
    let size = size_of(config);
    sample_flop(&size, tokens as f64)
}

/// `frozen`: only an adapter is trained.
pub(crate) fn train_flop(model: &ModelSize, frozen: bool, tokens: f64) -> f64 {
    let each = if frozen { 4.0 } else { 6.0 };
    each * model.parameters * tokens
}

pub(crate) fn sample_flop(model: &ModelSize, tokens: f64) -> f64 {
    2.0 * model.parameters * tokens
}

/// What training takes at its peak.
pub struct Training {
    /// Rank of the adapter; 0: all weights are trained.
    pub rank: usize,
    /// Blocks are computed again on the way back.
    pub recompute: bool,
    /// A second copy of the weights, as the reference.
    pub reference: bool,
    /// Sequences of a step.
    pub rows: f64,
    /// Longest sequence; where one is longer than what goes through at once, it goes through alone.
    pub longest: f64,
}

impl Training {
    /// Numbers that are trained.
    fn trained(&self, model: &ModelSize) -> f64 {
        // An adapter on every linear layer has about this many numbers: in and out of each, times the rank.
        let adapter = self.rank as f64 * model.layers * 2.0 * (model.kept + 2.0 * model.hidden);
        match self.rank {
            0 => model.parameters,
            _ => adapter,
        }
    }
}

/// Bytes: weights, gradient and AdamW's two moments of what is trained, and what a pass keeps.
pub(crate) fn train_memory(model: &ModelSize, how: &Training) -> f64 {
    let trained = how.trained(model);
    let frozen = match (how.rank, how.reference) {
        (0, false) => 0.0,
        _ => model.parameters,
    };
    let states = (model.layers + 2.0) * model.hidden;
    let blocks = match how.recompute {
        true => 2.0 * model.kept,
        false => (model.layers + 1.0) * model.kept,
    };
    let tokens = MICRO.max(how.longest);
    F32 * (frozen + 4.0 * trained + tokens * (states + blocks)) + REST
}

/// Bytes: weights, and the cache of the rows that are sampled together, each this long.
pub(crate) fn sample_memory(model: &ModelSize, rows: f64, length: f64) -> f64 {
    F32 * (model.parameters + rows * (length * model.cache + model.vocabulary)) + REST
}

/// Bytes: weights, what one block computes of the tokens that go through at the same time, and a state a layer of every row.
pub(crate) fn forward_memory(model: &ModelSize, tokens: f64, rows: f64) -> f64 {
    let block = tokens * (model.kept + 3.0 * model.hidden);
    let states = rows * (model.layers + 1.0) * model.hidden;
    F32 * (model.parameters + block + states) + REST
}

/// Bytes: some matrices of every two rows in double precision.
pub(crate) fn pairs_memory(rows: f64) -> f64 {
    const MATRICES: f64 = 8.0;
    MATRICES * 8.0 * rows * rows + REST
}

/// So many answers of at most so many tokens.
pub fn calls(n: f64, prompt: f64, completion: f64, prices: &Prices) -> Calls {
    let mut calls = Calls {
        made: n as u64,
        prompt_tokens: (n * prompt) as u64,
        completion_tokens: (n * completion) as u64,
        estimated: n as u64,
        ..Calls::default()
    };
    let million = 1e6;
    calls.dollars = (calls.prompt_tokens as f64 * prices.prompt
        + calls.completion_tokens as f64 * prices.completion)
        / million;
    calls
}

/// Rows of this many tokens.
pub fn rows(rows: Option<f64>, tokens: Option<f64>) -> ArtifactEstimate {
    ArtifactEstimate {
        rows,
        tokens,
        ..ArtifactEstimate::default()
    }
}

/// Work of which only one output is known.
pub fn only(output: &'static str, likely: ArtifactEstimate) -> Work {
    Work {
        outputs: BTreeMap::from([(output, likely)]),
        ..Work::default()
    }
}

/// At most the rows that stand at this port.
pub(crate) fn no_more(preview: &NodePreview, port: &str) -> Result<Work> {
    Ok(only("prompts", preview.expected(port)))
}

/// The model, trained or merged: the same numbers.
pub(crate) fn same_model(model: Option<ModelSize>) -> ArtifactEstimate {
    ArtifactEstimate {
        model,
        ..ArtifactEstimate::default()
    }
}
