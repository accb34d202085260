//! A training step of a large model, for its peak memory: the script reads that from the process.
//!
//! Recompute is on (`Keep::States`). With a rank, an adapter of that rank on every linear layer is trained, the weights are
//! frozen; without one, all weights are trained.

use crate::train::{Same, Work as Rows};
use crate::{driven, turns, work};
use anyhow::{Result, bail};
use pipe::base::rng::Seed;
use pipe::learn::adapter::{Adapter, Linear, Options};
use pipe::learn::decoder::Keep;
use pipe::learn::train::{Settings, State};
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
    let state = match work.rank {
        None => State::new(weights),
        Some(rank) => {
            let options = Options {
                rank,
                alpha: 2.0 * rank as f64,
                rank_stabilised: false,
                targets: Linear::ALL.to_vec(),
                blocks: 0..weights.config.layers,
            };
            let adapter = Adapter::new(&weights.config, &options, Seed::new(3));
            State::with_adapter(weights, adapter)
        }
    };
    turns::ready(json!({
        "parameters": about.0, "weight_bytes": about.1, "trained": state.trained().len(),
    }));
    let settings = Settings {
        keep: Keep::States,
        ..driven::settings()
    };
    driven::steps(state, &settings, &mut feed, &mut |unit| {
        bail!("no unit is called {unit}")
    })
}
