//! An untrained decoder for the built-in world: its shape, random weights, and the world's word-level tokenizer.

use crate::shared::bounds;
use crate::shared::estimate;
use anyhow::{Context, Result};
use base::params;
use base::params::ParamSet;
use base::params::Problem;
use base::rng::Seed;
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Output, Role, Type};
use learn::checkpoint;
use learn::config::Config;
use learn::weights::Weights;
use std::sync::Arc;
use world::vocab;

params! {
    pub struct Params {
        /// Width of the residual stream.
        hidden_size: usize = 96, in bounds::WIDTH;
        /// Decoder layers.
        layers: usize = 3, in bounds::LAYERS;
        /// Attention heads; they divide `hidden_size`.
        heads: usize = 4, in bounds::WIDTH;
        /// Width of the feed-forward layer.
        intermediate_size: usize = 256, in bounds::WIDTH;
        /// Standard deviation of the initial weights.
        initial_std: f64 = 0.05, in bounds::DEVIATION;
        /// Standard deviation of a vector that all embeddings have in common at first. By it attention tells places apart before it
        /// has learned any word.
        common_std: f64 = 0.05, in bounds::DEVIATION;
        /// Base of the rotary frequencies. A text of this world has a hundred words at most: with the 10,000 that is usual for long ones
        /// hardly a frequency tells one place from the next, and what an alias stands for is learned late, or never.
        rope_theta: f64 = 100.0, in bounds::ROPE_BASE;
        /// Seed of the initial weights.
        seed: u64 = 0, in bounds::SEED;
    }
}

pub const KIND: Kind = Kind {
    name: "world-model",
    revision: 3,
    role: Role::Generates,
    synthetic: true,
    summary: "an untrained decoder with the tokenizer of the built-in world",
    about: "Architecture Llama with tied embeddings, in a folder that transformers loads. (Not Qwen2: for that one transformers 5 puts \
            a tokenizer of its own in the place of the folder's.) Weights are normal, drawn by \
            parameter name from the seed; the embeddings lie around a common vector, and the weights of the keys are those of the \
            queries.",
    example: r#"
[node.untrained]
kind = "world-model"
hidden_size = 96
layers = 3
"#,
    outputs: &[Output::always("model", Type::Model, "the untrained model")],
    params: Params::specs,
    check: Some(check),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

/// Four gigabytes.
const MOST_WEIGHTS: usize = 1_000_000_000;

fn check(values: &Values) -> Vec<Problem> {
    let Ok(p) = Params::read(values) else {
        return vec![];
    };
    let mut found = vec![];
    let block = 4 * p.hidden_size.saturating_mul(p.hidden_size);
    let block = block.saturating_add(p.hidden_size.saturating_mul(3 * p.intermediate_size));
    let weights = block.saturating_mul(p.layers);
    if weights > MOST_WEIGHTS {
        found.push(Problem {
            path: "hidden_size".into(),
            message: format!("{} layers of this width have {weights} weights", p.layers),
            help: Some(format!("they are made in memory: at most {MOST_WEIGHTS}")),
        });
    }
    if p.heads > 0 && !p.hidden_size.is_multiple_of(2 * p.heads) {
        found.push(Problem {
            path: "heads".into(),
            message: format!(
                "{} heads do not divide {} into even parts",
                p.heads, p.hidden_size
            ),
            help: Some("`hidden_size` is a multiple of twice `heads`".into()),
        });
    }
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let folder = ctx.output("model");
    let config = config(&p)?;
    let seed = Seed::new(p.seed).child("weights");
    let mut weights = Weights::random(config, seed);
    add_common(&mut weights, p.common_std, seed.child("common"));
    keys_as_queries(&mut weights);
    checkpoint::save(&weights, &folder)?;
    for (name, text) in [
        ("tokenizer.json", vocab::tokenizer_json()),
        ("tokenizer_config.json", vocab::tokenizer_config_json()),
        ("generation_config.json", vocab::generation_config_json()),
    ] {
        std::fs::write(folder.join(name), text)
            .with_context(|| format!("failed to write {name}"))?;
    }
    Ok(())
}

/// Adds one random vector to every embedding.
fn add_common(weights: &mut Weights, std: f64, seed: Seed) {
    let width = weights.config.hidden_size;
    let mut rng = seed.rng();
    let common: Vec<f32> = (0..width).map(|_| (std * rng.normal()) as f32).collect();
    let embed = weights.layout.embed.clone();
    for row in weights.data[embed].chunks_mut(width) {
        row.iter_mut().zip(&common).for_each(|(x, c)| *x += c);
    }
}

/// A place begins by attending to places with its own word (after Trockman and Kolter 2023, "Mimetic initialization of self-attention
/// layers"): what stands beside an alias is found by the alias. From keys of their own some seeds never find it.
fn keys_as_queries(weights: &mut Weights) {
    let layout = Arc::clone(&weights.layout);
    let size = weights.config.hidden_size.pow(2);
    for layer in &layout.layers {
        let queries = layer.qkv.start;
        weights
            .data
            .copy_within(queries..queries + size, queries + size);
    }
}

fn config(p: &Params) -> Result<Config> {
    Config::from_json(&serde_json::json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": p.hidden_size,
        "num_hidden_layers": p.layers,
        "num_attention_heads": p.heads,
        "num_key_value_heads": p.heads,
        "intermediate_size": p.intermediate_size,
        "vocab_size": vocab::tokens().len(),
        "hidden_act": "silu",
        "initializer_range": p.initial_std,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-6,
        "rope_theta": p.rope_theta,
        "rope_scaling": null,
        "tie_word_embeddings": true,
        "attention_bias": false,
        "mlp_bias": false,
        "bos_token_id": vocab::id(vocab::END_OF_TEXT),
        "eos_token_id": vocab::id(vocab::END),
    }))
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let size = estimate::size_of(&config(&preview.params()?)?);
    let mut work = Work::default();
    work.outputs
        .insert("model", estimate::same_model(Some(size)));
    Ok(work)
}
