//! What every layer may use: plain values, named randomness, row schemas, text. Knows nothing of nodes or models.

pub mod bounded;
pub mod calls;
pub mod claim;
pub mod device;
pub mod diag;
pub mod hash;
pub mod idle;
pub mod memory;
pub mod params;
pub mod picture;
pub mod response;
pub mod rng;
pub mod rows;
pub mod setup;
pub mod stats;
pub mod tensorboard;
pub mod text;
pub mod threads;
pub mod tokens;
pub mod value;
