//! A step of full fine-tuning, for its peak memory: the script reads that from the process.

use crate::train::{Same, Work};
use crate::{driven, turns, work};
use anyhow::{Result, bail};
use serde_json::json;

pub fn serve(work: Work) -> Result<()> {
    let weights = work::weights(&work.config)?;
    let mut feed = Same::new(&work, &weights);
    turns::ready(json!({
        "parameters": weights.layout.len(),
        "weight_bytes": std::mem::size_of_val(weights.data.as_slice()),
    }));
    driven::steps(weights, &mut feed, &mut |unit| {
        bail!("no unit is called {unit}")
    })
}
