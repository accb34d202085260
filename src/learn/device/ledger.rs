//! What a device holds at its peak, before anything is computed: a list of the buffers that `learn::device` makes, by the shapes alone.
//! Every line names the tensors that it counts, in the words of the file that makes them; where they change, so does the line.
//!
//! Counted is what is alive at once; what the device's allocator keeps besides, its context and its libraries' workspaces are not
//! (about a gigabyte on CUDA). Sequences of a batch are counted as one of all its tokens: padding at most doubles what plain attention
//! makes of them.

mod asked;
mod block;
mod buffers;
mod sampling;

use block::{block_backward, block_forward, masks};
use buffers::{BF16, F32, buffer};

pub use buffers::{Buffer, By, Dims};

pub use asked::{Reading, Slope, reading, rerouting, slope};
pub use sampling::{Sampling, TOGETHER, cache_bytes, sampling};

use crate::adapter::Adapter;
use crate::decoder::Keep;
use crate::device::ragged::{GPU_LOGITS, Workspace};
use crate::device::states;
use base::device::{DeviceName, Numerics};

/// The phase in which gradients go through the blocks.
const BLOCKS: &str = "blocks, backward";

/// The buffer of an adapter, with which products are computed in pieces.
const ADAPTER: &str = "adapter";

/// A place where memory is highest, and what is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    pub name: &'static str,
    pub buffers: Vec<Buffer>,
}

impl Phase {
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.bytes).sum()
    }
}

/// The phases of a step or a rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    pub phases: Vec<Phase>,
}

impl Ledger {
    /// The phase that takes most.
    pub fn peak(&self) -> Option<&Phase> {
        self.phases.iter().max_by_key(|phase| phase.bytes())
    }

    pub fn bytes(&self) -> u64 {
        self.peak().map_or(0, Phase::bytes)
    }

    fn with(mut self, name: &'static str, stays: &[Buffer], passing: &[Buffer]) -> Ledger {
        let buffers = stays.iter().chain(passing).copied();
        let buffers = buffers.filter(|b| b.bytes > 0).collect();
        self.phases.push(Phase { name, buffers });
        self
    }
}

/// What is trained, and how.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// Numbers of the adapter; 0: all weights are trained.
    pub adapter: u64,
    /// Weights that training began as stay at hand.
    pub reference: bool,
    pub keep: Keep,
    /// Of the largest pass: tokens, those of them that are scored, and of its longest sequence.
    pub tokens: u64,
    pub scored: u64,
    pub longest: u64,
    /// The objective has a slope by the entropy.
    pub entropy: bool,
    /// Of the workspace.
    pub logits_at_once: u64,
    pub by: By,
}

/// Tokens of sequences that are read together, unless one has more.
pub const READ_TOGETHER: u64 = states::TOGETHER as u64;

/// Logits that exist at the same time on such a device: see `Workspace::of`.
pub fn logits_at_once(device: DeviceName) -> u64 {
    let most = match device.is_gpu() {
        true => GPU_LOGITS,
        false => Workspace::default().logits_at_once,
    };
    most as u64
}

/// Numbers of an adapter.
pub fn numbers(adapter: &Adapter) -> u64 {
    let each = adapter.params.iter().map(|param| param.range.len() as u64);
    each.sum()
}

/// A training step.
pub fn training(model: &Dims, how: &Training) -> Ledger {
    let Training { tokens, by, .. } = *how;
    let (full, tape) = (how.adapter == 0, model.tape(by));
    let resident = resident(model, how);
    let states = buffer("hidden states", tokens * (model.layers + 1) * model.hidden);
    let (kept, again) = match how.keep {
        Keep::All => (model.layers, 0),
        Keep::States => (0, 1),
    };
    let of_blocks = |what, blocks: u64| Buffer {
        what,
        bytes: tokens * blocks * tape,
    };
    let tapes = of_blocks("tapes of the blocks", kept);
    // `Kept`: last, normed, r, targets, lse, entropy.
    let head = buffer("head's tape", how.scored * (2 * model.hidden + 4));
    let masks = masks(model, by, tokens, how.longest);
    let mut kept = resident.clone();
    kept.extend([states, tapes, masks]);
    let forward = block_forward(model, by, tokens, how.longest, !full);
    let with_head: Vec<Buffer> = kept.iter().copied().chain([head]).collect();
    let back = [
        of_blocks("a block computed again", again),
        block_backward(model, by, tokens, how.longest, full),
    ];
    Ledger::default()
        .with(
            "forward",
            &kept,
            &[of_blocks("tape of a block", again), forward],
        )
        .with("head, backward", &with_head, &head_backward(model, how))
        .with(BLOCKS, &with_head, &back)
        .with("update", &resident, &[update(model, how)])
}

fn head_backward(model: &Dims, how: &Training) -> [Buffer; 3] {
    let (by, full) = (how.by, how.adapter == 0);
    let rows = rows_of_logits(model, how.scored, how.logits_at_once);
    let rounded = by.numerics == Numerics::Bf16;
    // A kernel's gradient takes the place of the logits in f32, and is beside them in bf16. Plainly, with entropy: logp, p, above, slope,
    // its sum with dlogp, minus; without: logp, p, minus, its negative, dz; and dz rounded and wide again.
    let of_logit = match (by.kernels, rounded) {
        (true, false) => F32,
        (true, true) => F32 + BF16,
        (false, false) => F32 * if how.entropy { 6 } else { 5 },
        (false, true) => F32 * 6 + BF16,
    };
    // Plainly dz^T x, and its sum with what was there; cuBLAS adds in place.
    let of_table = if full && !by.kernels { 2 } else { 0 };
    [
        Buffer {
            what: "chunk of logits and its gradient",
            bytes: of_logit * rows * model.vocabulary,
        },
        buffer(
            "gradient of the head's matrix",
            of_table * model.vocabulary * model.hidden,
        ),
        buffer("gradients of normed rows", 2 * how.scored * model.hidden),
    ]
}

/// A kernel updates in place; then clipping is what takes most, which makes a scaled gradient. Plainly m and v anew, slope, step and
/// the kept weights.
fn update(model: &Dims, how: &Training) -> Buffer {
    let times = if how.by.kernels { 1 } else { 4 };
    let full = how.adapter == 0;
    let largest = if full { model.largest() } else { 0 };
    buffer("the largest matrix anew", times * largest)
}

/// What stays from step to step.
fn resident(model: &Dims, how: &Training) -> Vec<Buffer> {
    let (by, full) = (how.by, how.adapter == 0);
    let trained = if full { model.parameters } else { how.adapter };
    let weights = match full {
        true => buffer("weights", model.parameters),
        false => by.frozen("weights", model),
    };
    let reference = match full && how.reference {
        true => by.frozen("reference", model),
        false => buffer("reference", 0),
    };
    vec![
        weights,
        buffer(ADAPTER, how.adapter),
        by.rounded("what is trained, in bf16", trained),
        reference,
        buffer("first moments", trained),
        buffer("second moments", trained),
        buffer("gradient", trained),
    ]
}

/// Rows whose logits exist at the same time: `HeadTape::chunk`.
fn rows_of_logits(model: &Dims, rows: u64, at_once: u64) -> u64 {
    (at_once / model.vocabulary.max(1)).max(1).min(rows)
}

/// The buffers of a training that stay while it samples.
pub fn beside(model: &Dims, how: &Training) -> Vec<Buffer> {
    resident(model, how)
}

/// Samples and steps of one node in turn.
pub fn both(mut first: Ledger, second: Ledger) -> Ledger {
    first.phases.extend(second.phases);
    first
}
