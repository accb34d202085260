//! Devices by their names.

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;

use crate::config::Config;

/// candle's kernels count a tensor's elements in 32 bits: from here on they hang or are wrong.
const COUNTED: usize = 1 << 32;

/// Errors: a model with a matrix that candle's kernels cannot count.
pub fn supports(config: &Config) -> Result<()> {
    let (d, f) = (config.hidden_size, config.intermediate_size);
    let matrices = [
        ("embeddings", config.vocab_size),
        ("q, k and v", config.qkv_width()),
        ("gate and up", 2 * f),
    ];
    for (name, outputs) in matrices {
        ensure!(
            outputs.saturating_mul(d) < COUNTED,
            "the matrix of {name} has {outputs} x {d} numbers, and a device counts less than 2^32: this model computes on `cpu`"
        );
    }
    Ok(())
}

/// `candle`: candle's tensors on this machine's cores. `cuda:N`: its GPU number N, from 0 on.
///
/// Errors: another name; a binary without the feature, a machine without this GPU.
pub fn place(name: &str) -> Result<Device> {
    if name == "candle" {
        return Ok(Device::Cpu);
    }
    let number = name.strip_prefix("cuda:").map(str::parse::<usize>);
    let Some(Ok(number)) = number else {
        bail!("{name:?} is no device: `candle`, or `cuda:0` and so on");
    };
    ensure!(
        candle_core::utils::cuda_is_available(),
        "this binary computes on the CPU only: build it with `cargo build --release --features cuda`, which needs CUDA's \
         compiler (bench/cuda does it without an installed one)"
    );
    cuda(number).with_context(|| {
        format!(
            "CUDA is built in, but GPU {number} cannot be used; does `nvidia-smi` list it here?"
        )
    })
}

/// With a stream of its own: on CUDA's default stream of a thread, what one thread has made and another uses would race.
fn cuda(number: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(number)?;
    #[cfg(feature = "cuda")]
    {
        // SAFETY: all that a device makes and uses is on its one stream, which keeps the order.
        unsafe { device.as_cuda_device()?.disable_event_tracking() };
        keep_pool(&device)?;
        sum_in_f32(&device)?;
    }
    Ok(device)
}

/// Products of bf16 are summed in f32 to the end: cuBLAS would else add up parts of long sums in bf16 where it likes to.
#[cfg(feature = "cuda")]
fn sum_in_f32(device: &Device) -> Result<()> {
    use candle_core::cuda_backend::cudarc::cublas::sys;
    let handle = device.as_cuda_device()?.cublas_handle();
    let mode = sys::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    // SAFETY: the handle is candle's own for this device and lives as long as that.
    unsafe { sys::cublasSetMathMode(*handle.handle(), mode) }.result()?;
    Ok(())
}

/// Memory that is freed stays with the process: at the pool's default, every transfer to the host gives it back to the system
/// and the next tensor asks for it again.
#[cfg(feature = "cuda")]
fn keep_pool(device: &Device) -> Result<()> {
    use candle_core::cuda_backend::cudarc::driver::sys;
    let stream = device.as_cuda_device()?.cuda_stream();
    let context = stream.context();
    context.bind_to_thread()?;
    let mut pool = std::ptr::null_mut();
    let mut most = u64::MAX;
    let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the pool is the device's own and outlives this process's use of it; the attribute is a number of 64 bits.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&raw mut pool, context.cu_device()).result()?;
        sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut most).cast()).result()?;
    }
    Ok(())
}
