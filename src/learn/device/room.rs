//! A device that has no room left, told as `base::device::OutOfMemory`: a sort of failure of its own, with what is known of it. Where it is
//! told is `told`.

use anyhow::Error;
use base::device::{DeviceName, OutOfMemory};
use candle_core::{Device, DeviceLocation};

/// How CUDA and cuBLAS say it.
const NO_ROOM: [&str; 3] = [
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "out of memory",
];

/// An error of a device while it computed `what`.
pub fn told(device: &Device, what: &str, error: Error) -> Error {
    let said = format!("{error:#}");
    if !NO_ROOM.iter().any(|words| said.contains(words)) {
        return error;
    }
    let (free, total) = sizes(device).unzip();
    let no_room = OutOfMemory {
        device: name(device),
        asked: None,
        what: what.into(),
        free,
        total,
    };
    no_room.into()
}

pub(super) fn name(device: &Device) -> DeviceName {
    match device.location() {
        DeviceLocation::Cuda { gpu_id } => DeviceName::Cuda(gpu_id as u32),
        _ => DeviceName::Candle,
    }
}

/// Bytes that are free, and all.
#[cfg(feature = "cuda")]
pub fn sizes(device: &Device) -> Option<(u64, u64)> {
    use candle_core::cuda_backend::cudarc::driver::sys;
    let stream = device.as_cuda_device().ok()?.cuda_stream();
    stream.context().bind_to_thread().ok()?;
    let (mut free, mut total) = (0, 0);
    // SAFETY: both are numbers of this thread, and the context is its own.
    unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) }
        .result()
        .ok()?;
    Some((free as u64, total as u64))
}

#[cfg(not(feature = "cuda"))]
pub fn sizes(_: &Device) -> Option<(u64, u64)> {
    None
}
