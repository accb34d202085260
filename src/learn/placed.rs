//! Learners by the device that they are to compute on: the one place that opens one. And what such a device is, for records.

use crate::adapter::Adapter;
use crate::attack::victim::{Here, Victim};
use crate::cpu::Cpu;
use crate::decoder::Keep;
use crate::device;
use crate::learner::Learner;
use crate::weights::Weights;
use anyhow::Result;
use base::device::{CPU_NUMERICS, DeviceName, DeviceUsed, Place};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Whether GPUs can be computed on by this binary.
pub const CUDA: bool = cfg!(feature = "cuda");

/// Of candle-core, as `Cargo.lock` has it.
pub const CANDLE: &str = "0.11.1";

/// A model that is asked and never trained.
pub fn asked(place: impl Into<Place>, weights: Weights) -> Result<Box<dyn Learner>> {
    match place.into() {
        place if place.device == DeviceName::Cpu => Ok(Box::new(Cpu::frozen(weights, None))),
        place => device::asked(place, weights),
    }
}

/// Trains the adapter on frozen weights, or all weights where there is none; with `reference` the weights that it begins as stay at
/// hand.
pub fn trained(
    place: Place,
    weights: Weights,
    adapter: Option<Adapter>,
    reference: bool,
    keep: Keep,
) -> Result<Box<dyn Learner>> {
    match place.device {
        DeviceName::Cpu => Ok(Box::new(Cpu::new(weights, adapter, reference, keep))),
        _ => device::open(place, weights, adapter, reference, keep),
    }
}

/// A model that is attacked.
pub fn victim(place: Place, weights: &Weights) -> Result<Box<dyn Victim + '_>> {
    match place.device {
        DeviceName::Cpu => Ok(Box::new(Here::new(weights)?)),
        _ => device::victim(place, weights),
    }
}

/// How numbers are computed there by this process, as a record tells it.
pub fn numerics(place: Place) -> String {
    match place.device {
        DeviceName::Cpu => CPU_NUMERICS.into(),
        _ => device::numerics(place),
    }
}

/// What a device is, beside what its driver tells everybody.
pub fn facts(place: Place) -> Result<DeviceUsed> {
    let (device, numerics) = (place.device, numerics(place));
    let candle = BTreeMap::from([("candle-core".to_string(), CANDLE.to_string())]);
    Ok(match device {
        DeviceName::Cpu => DeviceUsed::cpu(),
        DeviceName::Candle => DeviceUsed {
            name: device.to_string(),
            libraries: candle,
            numerics,
            ..DeviceUsed::default()
        },
        DeviceName::Cuda(number) => {
            let mut used = gpu(number)?;
            used.libraries.extend(candle);
            DeviceUsed {
                name: device.to_string(),
                numerics,
                ..used
            }
        }
    })
}

/// Bytes of a device that are free, and that it has in all, where it can be used and tells.
pub fn memory(device: DeviceName) -> Option<(u64, u64)> {
    let place = device.is_gpu().then(|| device::place(&device.to_string()));
    device::sizes(&place?.ok()?)
}

/// All bytes of a device, where it can be used and tells: asked once in a process.
pub fn total(device: DeviceName) -> Option<u64> {
    static TOTALS: Mutex<BTreeMap<String, Option<u64>>> = Mutex::new(BTreeMap::new());
    let mut totals = TOTALS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let total = || memory(device).map(|(_, total)| total);
    *totals.entry(device.to_string()).or_insert_with(total)
}

#[cfg(feature = "cuda")]
fn gpu(number: u32) -> Result<DeviceUsed> {
    use candle_core::cuda_backend::cudarc::driver::CudaContext;
    let context = CudaContext::new(number as usize)?;
    let (major, minor) = context.compute_capability()?;
    Ok(DeviceUsed {
        model: context.name()?,
        capability: format!("{major}.{minor}"),
        kernels: device::kernels_used(),
        libraries: libraries()?,
        ..DeviceUsed::default()
    })
}

/// Of CUDA as the driver has it, of cuBLAS and of NVRTC.
#[cfg(feature = "cuda")]
fn libraries() -> Result<BTreeMap<String, String>> {
    use candle_core::cuda_backend::cudarc::{cublas, driver, nvrtc};
    use cublas::sys::libraryPropertyType;
    let (mut cuda, mut major, mut minor) = (0, 0, 0);
    let parts = [
        libraryPropertyType::MAJOR_VERSION,
        libraryPropertyType::MINOR_VERSION,
        libraryPropertyType::PATCH_LEVEL,
    ];
    let mut of_cublas = vec![];
    // SAFETY: each writes whole numbers of this thread, and asks for nothing to be there before.
    unsafe {
        driver::sys::cuDriverGetVersion(&raw mut cuda).result()?;
        nvrtc::sys::nvrtcVersion(&raw mut major, &raw mut minor).result()?;
        for part in parts {
            let mut number = 0;
            cublas::sys::cublasGetProperty(part, &raw mut number).result()?;
            of_cublas.push(number.to_string());
        }
    }
    let versions = [
        ("cuda", format!("{}.{}", cuda / 1000, cuda % 1000 / 10)),
        ("cublas", of_cublas.join(".")),
        ("nvrtc", format!("{major}.{minor}")),
    ];
    Ok(versions.map(|(name, v)| (name.to_string(), v)).into())
}

#[cfg(not(feature = "cuda"))]
fn gpu(number: u32) -> Result<DeviceUsed> {
    anyhow::bail!("this binary cannot compute on GPU {number}")
}
