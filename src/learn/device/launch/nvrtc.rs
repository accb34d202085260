//! Launches on a GPU: the kernels' text compiled by NVRTC for the GPU that is there, and run on candle's own stream of the device.
//!
//! The text is compiled once in a process for each variant and GPU; candle's device keeps the module, and that its functions.

use std::collections::BTreeMap;
use std::sync::Mutex;

use candle_core::cuda_backend::cudarc::driver::{
    CudaStream, DevicePtr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDevice, CudaStorageSlice, WrapErr};
use candle_core::{CudaStorage, Error, Result, bail};

use super::call::{Call, Word};
use crate::device::kernels::{self, Variant};

pub(super) fn launch(device: &CudaDevice, call: &Call) -> Result<()> {
    let text = compiled(call.variant, &device.cuda_stream())?;
    let module = format!("pipe-{}", call.variant);
    let function = device.get_or_load_custom_func(call.kernel.name, &module, text)?;
    let [x, y, z] = call.grid;
    let shape = LaunchConfig {
        grid_dim: (x, y, z),
        block_dim: (call.kernel.threads, 1, 1),
        shared_mem_bytes: 0,
    };
    let mut launch = function.builder();
    for word in &call.words {
        match word {
            Word::At { address, .. } => launch.arg(address),
            Word::Null => launch.arg(&0u64),
            Word::I32(n) => launch.arg(n),
            Word::I64(n) => launch.arg(n),
            Word::F32(x) => launch.arg(x),
            Word::F64(x) => launch.arg(x),
        };
    }
    // SAFETY: the words are what the kernel declares, which the tests hold every launch to; tensors live through the call, and
    // what frees them later does so on this stream, after the kernel.
    unsafe { launch.launch(shape) }.w()?;
    Ok(())
}

/// PTX for the GPU of a stream.
fn compiled(variant: Variant, stream: &CudaStream) -> Result<&'static str> {
    static TEXTS: Mutex<BTreeMap<(Variant, usize), &str>> = Mutex::new(BTreeMap::new());
    let gpu = (variant, stream.context().ordinal());
    let mut texts = TEXTS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(&text) = texts.get(&gpu) {
        return Ok(text);
    }
    let (major, minor) = stream.context().compute_capability().w()?;
    let options = CompileOptions {
        options: variant.options((major, minor)),
        ..CompileOptions::default()
    };
    let ptx = compile_ptx_with_opts(kernels::text(), options).map_err(|error| {
        Error::Msg(format!(
            "NVRTC does not compile the kernels ({variant}) for compute capability {major}.{minor}: {error:?}"
        ))
    })?;
    // As many as there are variants, for as long as the process.
    let text: &'static str = Box::leak(ptx.to_src().into_boxed_str());
    texts.insert(gpu, text);
    Ok(text)
}

/// Where a storage begins. Events are off (`place`), so nobody is told of this use: all of a device is on one stream.
pub(super) fn address(storage: &CudaStorage) -> Result<u64> {
    let stream: &CudaStream = &storage.device.cuda_stream();
    Ok(match &storage.slice {
        CudaStorageSlice::F32(all) => all.device_ptr(stream).0,
        CudaStorageSlice::BF16(all) => all.device_ptr(stream).0,
        CudaStorageSlice::U32(all) => all.device_ptr(stream).0,
        CudaStorageSlice::F64(all) => all.device_ptr(stream).0,
        _ => bail!("kernels know no such numbers"),
    })
}
