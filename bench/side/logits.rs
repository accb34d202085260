//! Logits of one sequence under a model with an adapter, for `bench/check-peft`: our side of it.

use anyhow::Result;
use pipe::base::rng::Seed;
use pipe::learn::adapter::Net;
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::{checkpoint, peft, tensors};
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;

#[derive(Deserialize)]
pub struct Work {
    base: PathBuf,
    adapter: PathBuf,
    /// A safetensors file with `ids` [T] (as numbers) and `logits` [T, V].
    out: PathBuf,
    tokens: usize,
}

pub fn write(work: Work) -> Result<()> {
    let weights = checkpoint::load(&work.base)?;
    let adapter = peft::load(&work.adapter, &weights.config)?;
    let net = Net {
        weights: &weights,
        adapter: Some(&adapter),
    };
    let (n, v) = (work.tokens, weights.config.vocab_size);
    let mut rng = Seed::new(7).rng();
    let ids: Vec<u32> = (0..n).map(|_| rng.below(v) as u32).collect();
    let batch = Packed {
        ids: &ids,
        starts: &[0, n],
    };
    let logits = decoder::logits(net, batch, &mut Workspace::new());
    let numbers: Vec<f32> = ids.iter().map(|&id| id as f32).collect();
    let all = [
        ("ids", (&[n][..], &numbers[..])),
        ("logits", (&[n, v][..], &logits[..])),
    ];
    tensors::write(&work.out, &all.into(), ("format", "pt"))?;
    println!("{}", json!({"tokens": n, "vocabulary": v}));
    Ok(())
}
