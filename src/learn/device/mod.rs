//! The learning core on candle's tensors: the same functions as the CPU's kernels, for a device that candle knows.
//!
//! Composed of products and of operations between them (`ops`, `attention`, `optim`), derived by hand as `decoder_backward` is:
//! no autograd, none of the fused operations that have no gradient. On a GPU the operations are own kernels (`kernels`, by
//! `launch`), elsewhere candle's plain ones; both are the same functions. Numbers are f32, or factors of products bf16 and all
//! that is summed or kept from step to step f32 (`product`, `parts::Held`). The code is the same on every device, so that the
//! tests hold it against the CPU's core on candle's CPU; it is meant for CUDA, where the feature `cuda` is built in.
//!
//! ```ignore
//! let learner = device::open(DeviceName::Cuda(0), weights, adapter, reference, Keep::States)?;
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
pub mod card;
pub mod decoder;
mod head;
pub mod kernels;
pub mod launch;
pub mod learner;
pub mod ledger;
mod linear;
pub mod net;
pub mod ops;
pub mod optim;
pub mod parts;
mod pass;
mod place;
pub mod product;
mod ragged;
pub mod room;
pub mod sample;
mod states;
pub mod together;
pub mod told;

pub use net::{DeviceAdapter, DeviceWeights, Net};
pub use parts::Parts;
pub use place::{place, supports};
pub use ragged::Workspace;
pub use room::sizes;

use crate::adapter::Adapter;
use crate::attack::victim::Victim;
use crate::config::Config;
use crate::decoder::Keep;
use crate::learner::Learner;
use crate::weights::Weights;
use anyhow::Result;
use base::device::{AND_CANDLE, Numerics, Place};
use kernels::Variant;
use told::Told;

/// A learner: candle's tensors on this machine's cores (`DeviceName::Candle`), or a GPU; in numbers that are said, or the device's
/// own. It trains the adapter on frozen weights, or all weights where there is none; with `reference` the weights that it begins as
/// stay at hand. Of what is never trained nothing more is kept than what computes.
///
/// Errors: a device that is none of these two, a GPU that cannot be used, too little memory on it, a model that it does not support.
pub fn open(
    place: impl Into<Place>,
    weights: Weights,
    adapter: Option<Adapter>,
    reference: bool,
    keep: Keep,
) -> Result<Box<dyn Learner>> {
    let place = place.into();
    let (device, numerics) = (on(place, &weights)?, place.numerics);
    let learner = Told::new(&device, || {
        learner::Device::new(weights, adapter, reference, keep, &device, numerics)
    });
    Ok(Box::new(learner?))
}

/// A model that is asked and never trained. Errors: as `open`.
pub fn asked(place: Place, weights: Weights) -> Result<Box<dyn Learner>> {
    let device = on(place, &weights)?;
    let learner = Told::new(&device, || {
        learner::Device::asked(weights, &device, place.numerics)
    });
    Ok(Box::new(learner?))
}

/// A model that is attacked. Errors: as `open`.
pub fn victim(place: impl Into<Place>, weights: &Weights) -> Result<Box<dyn Victim>> {
    let place = place.into();
    let device = on(place, weights)?;
    let victim = Told::new(&device, || {
        let weights = DeviceWeights::frozen(weights, &device, place.numerics)?;
        Ok(attack::There::new(weights))
    });
    Ok(Box::new(victim?))
}

/// The device, if the model can be there.
fn on(to: Place, weights: &Weights) -> Result<candle_core::Device> {
    supports(&weights.config)?;
    place(&to.device.to_string())
}

/// How numbers are computed there, for records: their types, and whose arithmetic lies between the products.
pub fn numerics(place: Place) -> String {
    let whose = match place.device.is_gpu() && launch::used_on_gpus() {
        true => "kernels",
        false => "candle",
    };
    format!("{} {whose}", place.numerics)
}

/// The same with a model of this configuration, whose heads may have a width that no kernel is for.
pub fn numerics_of(place: Place, config: &Config) -> String {
    let variant = Variant {
        bf16: place.numerics == Numerics::Bf16,
        head: config.head_dim,
    };
    let kernels = place.device.is_gpu() && launch::used_on_gpus();
    let beside = match kernels && !variant.exists() {
        true => AND_CANDLE,
        false => "",
    };
    numerics(place) + beside
}

/// The digest of the kernels by which this process computes on GPUs; empty where it does so without.
pub fn kernels_used() -> String {
    match launch::used_on_gpus() {
        true => kernels::digest(),
        false => String::new(),
    }
}
