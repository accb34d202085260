//! What the training kinds share of low-rank adapters (LoRA): the block `lora`, the state that training begins with, and
//! the output that is there only with an adapter.

use crate::shared::bounds;
use base::params;
use base::params::Problem;
use base::rng::Seed;
use engine::kind::{Output, Type};
use learn::adapter::{Adapter, Linear, Options};
use learn::config::Config;

params! {
    /// Trains low-rank adapters (LoRA) on a frozen model instead of all parameters. A learning rate about ten times that of
    /// full training is usual.
    pub struct Lora {
        /// Rank of the adapters.
        rank: usize, in bounds::RANK;
        /// The adapters' scale is alpha / rank.
        alpha: f64 = 32.0, in bounds::ALPHA;
        /// Linear layers that get an adapter.
        targets: Vec<String> = Linear::ALL.iter().map(|l| l.word().to_string()).collect();
        /// Divides alpha by the root of the rank instead (rsLoRA).
        rank_stabilised: bool = false;
    }
}

/// The trained adapter by itself.
pub(crate) const ADAPTER: Output = Output::only_with(
    "adapter",
    Type::Adapter,
    "with `lora`: the PEFT folder of the adapter, which `model` has folded in",
    "write `lora = { rank = 8 }` to train an adapter",
    |values| values.contains_key("lora"),
);

/// Of the block `lora`.
pub fn problems(lora: Option<&Lora>, found: &mut Vec<Problem>) {
    let Some(lora) = lora else {
        return;
    };
    for word in &lora.targets {
        if !Linear::ALL.iter().any(|l| l.word() == word) {
            let words: Vec<String> = Linear::ALL
                .iter()
                .map(|l| format!("`{}`", l.word()))
                .collect();
            found.push(Problem {
                path: "lora.targets".into(),
                message: format!("`{word}` is no linear layer of a block"),
                help: Some(format!("linear layers: {}", words.join(", "))),
            });
        }
    }
    if lora.targets.is_empty() {
        found.push(Problem {
            path: "lora.targets".into(),
            message: "no layer gets an adapter".into(),
            help: Some("leave it out to adapt all linear layers".into()),
        });
    }
}

/// A new adapter on a model; None: all weights are trained.
pub fn adapter(lora: Option<&Lora>, config: &Config, seed: Seed) -> Option<Adapter> {
    let options = lora?.options(0..config.layers);
    Some(Adapter::new(config, &options, seed.child("lora")))
}

impl Lora {
    /// Adapters on the chosen layers of these blocks.
    fn options(&self, blocks: std::ops::Range<usize>) -> Options {
        let chosen = |l: &Linear| self.targets.iter().any(|word| word == l.word());
        Options {
            rank: self.rank,
            alpha: self.alpha,
            rank_stabilised: self.rank_stabilised,
            targets: Linear::ALL.into_iter().filter(chosen).collect(),
            blocks,
        }
    }
}
