//! What the training kinds share of low-rank adapters (LoRA): the parameters, the state that training begins with, and
//! the output that is there only with an adapter.

use crate::shared::bounds;
use base::params;
use base::params::ParamSet;
use base::params::Problem;
use base::rng::Seed;
use base::setup::Acts;
use engine::kind::{Output, Type};
use learn::adapter::{Adapter, Linear, Options};
use learn::train::State;
use learn::weights::Weights;

const ADAPTED: Acts = Acts::only("where `lora_rank` is above 0", |s| {
    s.exceeds("lora_rank", 0.0)
});

params! {
    pub struct Lora {
        /// Rank of low-rank adapters (LoRA) on a frozen model; 0 trains all parameters. With adapters a learning rate about
        /// ten times that of full training is usual.
        lora_rank: usize = 0, in bounds::RANK_OR_NONE;
        /// The adapters' scale is lora_alpha / lora_rank.
        lora_alpha: f64 = 32.0, in bounds::ALPHA, if ADAPTED;
        /// Linear layers that get an adapter.
        lora_targets: Vec<String> = Linear::ALL.iter().map(|l| l.word().to_string()).collect(), if ADAPTED;
        /// Divides lora_alpha by the root of the rank instead (rsLoRA).
        lora_rank_stabilised: bool = false, if ADAPTED;
    }
}

/// The trained adapter by itself.
pub const ADAPTER: Output = Output::only_with(
    "adapter",
    Type::Adapter,
    "with `lora_rank` above 0: the PEFT folder of the adapter, which `model` has folded in",
    "set `lora_rank` above 0 to train an adapter",
    |values| Lora::read(values).is_ok_and(|lora| lora.lora_rank > 0),
);

impl Lora {
    pub fn problems(&self, found: &mut Vec<Problem>) {
        for word in &self.lora_targets {
            if !Linear::ALL.iter().any(|l| l.word() == word) {
                let words: Vec<String> = Linear::ALL
                    .iter()
                    .map(|l| format!("`{}`", l.word()))
                    .collect();
                found.push(Problem {
                    path: "lora_targets".into(),
                    message: format!("`{word}` is no linear layer of a block"),
                    help: Some(format!("linear layers: {}", words.join(", "))),
                });
            }
        }
        if self.lora_targets.is_empty() {
            found.push(Problem {
                path: "lora_targets".into(),
                message: "no layer gets an adapter".into(),
                help: Some("leave it out to adapt all linear layers".into()),
            });
        }
    }

    /// All weights, or a new adapter on them.
    pub fn state(&self, weights: Weights, seed: Seed) -> State {
        if self.lora_rank == 0 {
            return State::new(weights);
        }
        let blocks = 0..weights.config.layers;
        let adapter = Adapter::new(&weights.config, &self.options(blocks), seed.child("lora"));
        State::with_adapter(weights, adapter)
    }

    /// Adapters on the chosen layers of these blocks.
    pub fn options(&self, blocks: std::ops::Range<usize>) -> Options {
        Options {
            rank: self.lora_rank,
            alpha: self.lora_alpha,
            rank_stabilised: self.lora_rank_stabilised,
            targets: Linear::ALL
                .into_iter()
                .filter(|l| self.lora_targets.iter().any(|word| word == l.word()))
                .collect(),
            blocks,
        }
    }
}
