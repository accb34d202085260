//! The learning core on candle's tensors: the same functions as the CPU's kernels, for a device that candle knows.
//!
//! Composed of candle's plain operations (products, exp, sums, gathers) and derived by hand as `decoder_backward` is: no
//! autograd, none of the fused operations that have no gradient. All numbers are f32. The code is the same on every
//! device, so that the tests hold it against the kernels on candle's CPU; it is meant for CUDA, where the feature
//! `cuda` is built in.
//!
//! ```ignore
//! let mut trainer = Trainer::new(&weights, &moments, &device::cuda()?)?;
//! for micro in window {
//!     trainer.add_gradient(batch, &scored, temperature, |scored| Ok(objective.share(rows, bounds, scored)))?;
//! }
//! let grad_norm = trainer.clip(1.0)?;
//! trainer.update(&AdamW::default(), schedule.at(step))?;
//! let (weights, moments) = trainer.download()?;           // for a checkpoint, or for the sampler
//! ```
//!
//! `decoder::{forward, score}` and `backward::{backward, backward_from}` are what it is made of.
//!
//! `Trainer` is the greater part of a `learner::Learner`: `score`, `clip` and `update` are that trait's, `accumulate` is
//! `add_gradient` for each of `batch::micro_batches`, `snapshot` and `finish` are `download`, `restore` is `new`. What the trait
//! asks beyond is not here yet: an adapter, hidden states and their gradient (`Goal::States`), a copy of the weights that
//! training began as (`Policy::Reference`), a sampler. Until then no kind uses it.
//!
//! Nothing is written in place, so a tensor may be kept as long as it is wanted. What is cut into parts (queries, rows of
//! logits) is cut by sizes alone. Unlike the kernels', bytes are not promised: they are those of the device's library.

mod attention;
pub mod backward;
pub mod decoder;
mod head;
mod ops;
pub mod optim;
pub mod parts;
mod ragged;
mod trainer;

pub use parts::{DeviceWeights, Parts};
pub use ragged::Workspace;
pub use trainer::Trainer;

use anyhow::{Context, Result, ensure};
use candle_core::Device;

/// The first GPU. Errors: a binary without the feature, a machine without a usable GPU.
pub fn cuda() -> Result<Device> {
    ensure!(
        candle_core::utils::cuda_is_available(),
        "this binary computes on the CPU only: build it with `cargo build --release --features cuda`, which needs CUDA's \
         compiler (bench/cuda does it without an installed one)"
    );
    Device::new_cuda(0).context(
        "CUDA is built in, but its first GPU cannot be used; does `nvidia-smi` list one here?",
    )
}
