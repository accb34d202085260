//! A training step of a large model, for its peak memory: the script reads that from the process.
//!
//! Recompute is on (`Keep::States`). With a rank, an adapter of that rank on every linear layer is trained, the weights are
//! frozen; without one, all weights are trained.

use crate::train::{Same, Work as Rows};
use crate::{driven, turns, work};
use anyhow::{Result, bail};
use pipe::base::rng::Seed;
use pipe::learn::adapter::{Adapter, Linear, Options};
use pipe::learn::cpu::Cpu;
use pipe::learn::decoder::Keep;
use pipe::learn::train::State;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
pub struct Work {
    #[serde(flatten)]
    rows: Rows,
    rank: Option<usize>,
}

pub fn serve(work: Work) -> Result<()> {
    let weights = work::weights(&work.rows.config)?;
    let mut feed = Same::new(&work.rows, &weights);
    let about = (
        weights.layout.len(),
        std::mem::size_of_val(weights.data.as_slice()),
    );
    let adapter = work.rank.map(|rank| {
        let options = Options {
            rank,
            alpha: 2.0 * rank as f64,
            rank_stabilised: false,
            targets: Linear::ALL.to_vec(),
            blocks: 0..weights.config.layers,
        };
        Adapter::new(&weights.config, &options, Seed::new(3))
    });
    let trained = adapter
        .as_ref()
        .map_or(about.0, |adapter| adapter.data.len());
    let state = State::new(Cpu::new(weights, adapter, false, Keep::States));
    turns::ready(json!({
        "parameters": about.0, "weight_bytes": about.1, "trained": trained,
    }));
    driven::steps(state, &driven::settings(), &mut feed, &mut |unit| {
        bail!("no unit is called {unit}")
    })
}
