//! What every layer may use: plain values, named randomness, diagnostics, text. Knows nothing of recipes, nodes or models.

pub mod rng;
pub mod value;
