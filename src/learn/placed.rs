//! Learners by the device that they are to compute on: the one place that opens one. And what such a device is, for records.

use crate::adapter::Adapter;
use crate::attack::victim::{Here, Victim};
use crate::cpu::Cpu;
use crate::decoder::Keep;
use crate::device;
use crate::learner::Learner;
use crate::weights::Weights;
use anyhow::Result;
use base::device::{DeviceName, DeviceUsed};
use std::collections::BTreeMap;

/// Whether GPUs can be computed on by this binary.
pub const CUDA: bool = cfg!(feature = "cuda");

/// Of candle-core, as `Cargo.lock` has it.
pub const CANDLE: &str = "0.11.1";

/// How numbers are computed on candle's tensors.
const CANDLE_NUMERICS: &str = "f32 candle";

/// A model that is asked and never trained.
pub fn asked(device: DeviceName, weights: Weights) -> Result<Box<dyn Learner>> {
    match device {
        DeviceName::Cpu => Ok(Box::new(Cpu::frozen(weights, None))),
        other => device::open(&other.to_string(), weights, None, false, Keep::All),
    }
}

/// Trains the adapter on frozen weights, or all weights where there is none; with `reference` the weights that it begins as stay at
/// hand.
pub fn trained(
    device: DeviceName,
    weights: Weights,
    adapter: Option<Adapter>,
    reference: bool,
    keep: Keep,
) -> Result<Box<dyn Learner>> {
    match device {
        DeviceName::Cpu => Ok(Box::new(Cpu::new(weights, adapter, reference, keep))),
        other => device::open(&other.to_string(), weights, adapter, reference, keep),
    }
}

/// A model that is attacked.
pub fn victim(device: DeviceName, weights: &Weights) -> Result<Box<dyn Victim + '_>> {
    match device {
        DeviceName::Cpu => Ok(Box::new(Here::new(weights)?)),
        other => device::victim(&other.to_string(), weights),
    }
}

/// What a device is, beside what its driver tells everybody.
pub fn facts(device: DeviceName) -> Result<DeviceUsed> {
    let candle = BTreeMap::from([("candle-core".to_string(), CANDLE.to_string())]);
    Ok(match device {
        DeviceName::Cpu => DeviceUsed::cpu(),
        DeviceName::Candle => DeviceUsed {
            name: device.to_string(),
            libraries: candle,
            numerics: CANDLE_NUMERICS.into(),
            ..DeviceUsed::default()
        },
        DeviceName::Cuda(number) => DeviceUsed {
            name: device.to_string(),
            libraries: candle,
            numerics: CANDLE_NUMERICS.into(),
            ..gpu(number)?
        },
    })
}

/// Bytes of a device that are free, and that it has in all, where it can be used and tells.
pub fn memory(device: DeviceName) -> Option<(u64, u64)> {
    let place = device.is_gpu().then(|| device::place(&device.to_string()));
    device::sizes(&place?.ok()?)
}

#[cfg(feature = "cuda")]
fn gpu(number: u32) -> Result<DeviceUsed> {
    use candle_core::cuda_backend::cudarc::driver::CudaContext;
    let context = CudaContext::new(number as usize)?;
    let (major, minor) = context.compute_capability()?;
    Ok(DeviceUsed {
        model: context.name()?,
        capability: format!("{major}.{minor}"),
        ..DeviceUsed::default()
    })
}

#[cfg(not(feature = "cuda"))]
fn gpu(number: u32) -> Result<DeviceUsed> {
    anyhow::bail!("this binary cannot compute on GPU {number}")
}
