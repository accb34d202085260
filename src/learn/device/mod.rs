//! The learning core on candle's tensors: the same functions as the CPU's kernels, for a device that candle knows.
//!
//! Composed of candle's plain operations (products, exp, sums, gathers) and derived by hand as `decoder_backward` is: no
//! autograd, none of the fused operations that have no gradient. All numbers are f32. The code is the same on every
//! device, so that the tests hold it against the kernels on candle's CPU; it is meant for CUDA, where the feature
//! `cuda` is built in.
//!
//! ```ignore
//! let learner = device::open("cuda:0", weights, adapter, reference, Keep::States)?;
//! train(&mut State { learner, skipped: 0 }, feed, with, watch)?;
//! ```
//!
//! `learner::Device` is the whole of a `learner::Learner`; `decoder::{forward, score}`, `backward::{backward, backward_from}`
//! and `sample::sample` are what it is made of.
//!
//! What is cut into parts (queries, rows of logits) is cut by sizes alone, and no two threads of a device add to one place: a
//! device gives the same bytes for the same work. It gives others than the kernels, and than another device.

pub mod attack;
mod attention;
pub mod backward;
mod block;
pub mod decoder;
pub mod fused;
mod head;
pub mod kernels;
pub mod learner;
pub mod ledger;
mod linear;
pub mod net;
pub mod ops;
pub mod optim;
pub mod parts;
mod pass;
mod place;
mod ragged;
pub mod room;
pub mod sample;
mod states;

pub use net::{DeviceAdapter, DeviceWeights, Net};
pub use parts::Parts;
pub use place::{place, supports};
pub use ragged::Workspace;
pub use room::sizes;

use crate::adapter::Adapter;
use crate::attack::victim::Victim;
use crate::decoder::Keep;
use crate::learner::Learner;
use crate::weights::Weights;
use anyhow::Result;

/// A learner on the device of this name: `candle` for candle's tensors on this machine's cores, `cuda:N` for its GPU number N.
/// It trains the adapter on frozen weights, or all weights where there is none; with `reference` the weights that it begins as
/// stay at hand. A model that is only asked takes no room for a gradient.
///
/// Errors: a name that is none, a GPU that cannot be used, too little memory on it, a model that it does not support.
pub fn open(
    name: &str,
    weights: Weights,
    adapter: Option<Adapter>,
    reference: bool,
    keep: Keep,
) -> Result<Box<dyn Learner>> {
    supports(&weights.config)?;
    let device = place(name)?;
    let learner = learner::Device::new(&weights, adapter.as_ref(), reference, keep, &device)?;
    Ok(Box::new(learner))
}

/// A model that is attacked, on the device of this name. Errors: as `open`.
pub fn victim(name: &str, weights: &Weights) -> Result<Box<dyn Victim>> {
    supports(&weights.config)?;
    Ok(Box::new(attack::There::new(weights, &place(name)?)?))
}
