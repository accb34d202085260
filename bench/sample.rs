//! Speed of the sampler: new tokens per second on three shapes of model, all rows running to the limit.
//!
//! `cargo bench --bench sample [SHAPE]`, threads as in RAYON_NUM_THREADS. The last line is JSON.

use pipe::base::rng::Seed;
use pipe::learn::config::{Config, Family, Head, RopeScaling};
use pipe::learn::sample::choose::Choice;
use pipe::learn::sample::{Options, Request, sample};
use pipe::learn::weights::Weights;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Instant;

struct Shape {
    name: &'static str,
    vocabulary: usize,
    d: usize,
    layers: usize,
    heads: usize,
    ff: usize,
    prompts: usize,
    samples: usize,
    prompt_tokens: usize,
    new_tokens: usize,
}

/// The built-in world's rollouts, and the two models that transformers' `generate` was timed on (64 prompts of 32
/// tokens, 64 new ones, nothing shared).
const SHAPES: [Shape; 5] = [
    Shape {
        name: "d96",
        vocabulary: 400,
        d: 96,
        layers: 3,
        heads: 4,
        ff: 256,
        prompts: 32,
        samples: 8,
        prompt_tokens: 25,
        new_tokens: 40,
    },
    Shape {
        name: "d128",
        vocabulary: 512,
        d: 128,
        layers: 4,
        heads: 4,
        ff: 384,
        prompts: 64,
        samples: 1,
        prompt_tokens: 32,
        new_tokens: 64,
    },
    Shape {
        name: "d256",
        vocabulary: 2048,
        d: 256,
        layers: 6,
        heads: 8,
        ff: 768,
        prompts: 64,
        samples: 1,
        prompt_tokens: 32,
        new_tokens: 64,
    },
    Shape {
        name: "d128 one row",
        vocabulary: 512,
        d: 128,
        layers: 4,
        heads: 4,
        ff: 384,
        prompts: 1,
        samples: 1,
        prompt_tokens: 32,
        new_tokens: 64,
    },
    Shape {
        name: "d256 one row",
        vocabulary: 2048,
        d: 256,
        layers: 6,
        heads: 8,
        ff: 768,
        prompts: 1,
        samples: 1,
        prompt_tokens: 32,
        new_tokens: 64,
    },
];

fn main() {
    let mut results = serde_json::Map::new();
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    for shape in SHAPES {
        if only.as_ref().is_some_and(|only| only != shape.name) {
            continue;
        }
        let weights = Weights::random(config(&shape), Seed::new(1));
        let mut rng = Seed::new(2).rng();
        let requests: Vec<Request> = (0..shape.prompts)
            .map(|i| Request {
                prompt: (0..shape.prompt_tokens)
                    .map(|_| rng.below(shape.vocabulary) as u32)
                    .collect(),
                samples: shape.samples,
                seed: Seed::new(i as u64),
            })
            .collect();
        let options = Options {
            choice: Choice::plain(1.0),
            max_new_tokens: shape.new_tokens,
            stop_ids: BTreeSet::new(),
            batch_rows: 256,
        };
        let tokens = (shape.prompts * shape.samples * shape.new_tokens) as f64;
        let mut best = f64::INFINITY;
        for _ in 0..7 {
            let start = Instant::now();
            let samples = sample(&weights, &requests, &options, &mut |_, _| {}, &|| false)
                .expect("the bench asks for what the model can do");
            best = best.min(start.elapsed().as_secs_f64());
            assert_eq!(samples.len(), shape.prompts, "every prompt was answered");
        }
        println!(
            "{:<14} {:>9} parameters  {:>9.0} tok/s  {:>7.1} ms",
            shape.name,
            weights.layout.len(),
            tokens / best,
            best * 1e3
        );
        results.insert(shape.name.into(), json!(tokens / best));
    }
    println!("{}", Value::Object(results));
}

fn config(shape: &Shape) -> Config {
    Config {
        family: Family::Qwen2,
        head: Head::Untied,
        vocab_size: shape.vocabulary,
        hidden_size: shape.d,
        intermediate_size: shape.ff,
        layers: shape.layers,
        heads: shape.heads,
        kv_heads: shape.heads,
        head_dim: shape.d / shape.heads,
        rms_norm_eps: 1e-6,
        rope_theta: 10000.0,
        rope_scaling: RopeScaling::None,
        max_position_embeddings: 2048,
        initializer_range: 0.02,
        bos_token_id: Value::Null,
        eos_token_id: Value::Null,
        pad_token_id: Value::Null,
    }
}
