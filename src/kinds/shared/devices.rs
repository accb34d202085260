//! Where the models of a node compute: the parameter `device` of every kind that has one, and the learners that it opens.

use anyhow::{Result, bail};
use base::device::{DeviceName, DeviceUsed, Place};
use base::setup::Acts;
use engine::kind::Computes;
use engine::kind::context::NodeCtx;
use engine::system::gpus;
use learn::adapter::Adapter;
use learn::attack::victim::Victim;
use learn::config::Config;
use learn::decoder::Keep;
use learn::device::{self, launch};
use learn::learner::Learner;
use learn::placed;
use learn::weights::Weights;

/// Of a kind whose model computes on any device there is.
pub const ANYWHERE: Computes = Computes {
    acts: None,
    only_cpu: |_| None,
    lacks,
    used: |place| used(place).ok(),
    numerics: placed::numerics,
    memory: placed::memory,
};

/// The same, where it has a model of its own at all.
pub const fn anywhere(acts: Acts) -> Computes {
    Computes {
        acts: Some(acts),
        ..ANYWHERE
    }
}

/// What computes on GPUs in this process, by what `gpus::KERNELS` says: the own kernels, or plainly none of them.
pub fn kernels(said: Option<&str>) -> Result<()> {
    match said {
        None => {}
        Some("plain") => launch::never(),
        Some(other) => bail!("{} is {other:?}, and can be `plain` only", gpus::KERNELS),
    }
    Ok(())
}

/// What lacks of a device here.
fn lacks(device: DeviceName) -> Option<String> {
    match device {
        DeviceName::Cpu | DeviceName::Candle => None,
        DeviceName::Cuda(_) if !placed::CUDA => Some(format!(
            "`{device}`: this binary computes on the CPU only: build it with `cargo build --release --features cuda`, which needs \
             CUDA's compiler (bench/cuda does it without an installed one)"
        )),
        DeviceName::Cuda(number) => gpus::absent(number),
    }
}

/// A model on the node's device, to be asked and not trained.
pub fn asked(ctx: &NodeCtx, weights: Weights) -> Result<Box<dyn Learner>> {
    placed::asked(taken(ctx, &weights.config)?, weights)
}

/// A model on the node's device, to be trained: see `placed::trained`.
pub fn trained(
    ctx: &NodeCtx,
    weights: Weights,
    adapter: Option<Adapter>,
    reference: bool,
    keep: Keep,
) -> Result<Box<dyn Learner>> {
    let place = taken(ctx, &weights.config)?;
    placed::trained(place, weights, adapter, reference, keep)
}

/// A model on the node's device, to be attacked.
pub fn victim<'m>(ctx: &NodeCtx, weights: &'m Weights) -> Result<Box<dyn Victim + 'm>> {
    placed::victim(taken(ctx, &weights.config)?, weights)
}

/// The node's device, which it has to itself from now on, and which its record will tell with how it computes such a model.
fn taken(ctx: &NodeCtx, config: &Config) -> Result<Place> {
    let place = ctx.place();
    if place.device == DeviceName::Cpu {
        return Ok(place);
    }
    ctx.take_device()?;
    ctx.computes_on(&DeviceUsed {
        numerics: device::numerics_of(place, config),
        ..used(place)?
    })?;
    Ok(place)
}

/// What such a place is here.
fn used(place: Place) -> Result<DeviceUsed> {
    Ok(DeviceUsed {
        driver: match place.device.is_gpu() {
            true => gpus::driver(),
            false => String::new(),
        },
        ..placed::facts(place)?
    })
}
