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

use block::Pass;
use buffers::{BF16, F32, buffer};

pub use buffers::{Buffer, By, Dims};

pub use asked::{Reading, Slope, reading, slope};
pub use sampling::{Beside, Sampling};

use crate::adapter::Adapter;
use crate::decoder::Keep;
use crate::device::{ragged, states};
use base::device::{DeviceName, Numerics};

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
    /// Of the workspace.
    pub logits_at_once: u64,
    pub by: By,
}

impl Training {
    /// Numbers that are trained.
    fn trained(&self, model: &Dims) -> u64 {
        match self.adapter {
            0 => model.parameters,
            adapter => adapter,
        }
    }
}

/// Tokens of sequences that are read together, unless one has more.
pub const READ_TOGETHER: u64 = states::TOGETHER as u64;

/// Logits that exist at the same time on such a device: see `Workspace::of`.
pub fn logits_at_once(device: DeviceName) -> u64 {
    ragged::logits_at_once(device.is_gpu()) as u64
}

/// Numbers of an adapter.
pub fn numbers(adapter: &Adapter) -> u64 {
    let each = adapter.params.iter().map(|param| param.range.len() as u64);
    each.sum()
}

/// A training step.
pub fn training(model: &Dims, how: &Training) -> Ledger {
    let full = how.adapter == 0;
    let pass = Pass {
        model,
        by: how.by,
        tokens: how.tokens,
        longest: how.longest,
        adapted: !full,
    };
    let mut resident = resident(model, how);
    resident.push(buffer("gradient", how.trained(model)));
    let (kept, again) = match how.keep {
        Keep::All => (model.layers, 0),
        Keep::States => (0, 1),
    };
    let states = pass.states("hidden states", model.layers + 1);
    let tapes = pass.tape("tapes of the blocks", kept);
    let kept = [&resident[..], &[states, tapes, pass.masks()]].concat();
    // `Kept`: last, normed, r, targets, lse, entropy.
    let head = buffer("head's tape", how.scored * (2 * model.hidden + 4));
    let with_head = [&kept[..], &[head]].concat();
    let forward = [pass.tape("tape of a block", again), pass.forward()];
    // The gradient of normed rows and of those before; that with zeros for rows that predict nothing, and every row's. Plainly beside
    // the slope and two of its products.
    let of_rows = if how.by.kernels { 3 } else { 5 } * how.scored * model.hidden;
    let of_rows = [buffer("gradients of normed rows", of_rows)];
    let mut back = pass.backward(full);
    if how.keep == Keep::States {
        // Forward again first, beside the gradient of its output and that output.
        let beside = 2 * F32 * how.tokens * model.hidden;
        back.bytes = back.bytes.max(pass.forward().bytes + beside);
    }
    let back = [pass.tape("a block computed again", again), back];
    Ledger::default()
        .with("forward", &kept, &forward)
        .with("head, backward", &with_head, &head_backward(model, how))
        .with("rows of the head, backward", &with_head, &of_rows)
        .with("blocks, backward", &with_head, &back)
        .with("update", &resident, &[update(model, how)])
}

fn head_backward(model: &Dims, how: &Training) -> [Buffer; 3] {
    let full = how.adapter == 0;
    let rows = rows_of_logits(model, how.scored, how.logits_at_once);
    // Plainly dz^T x, and its sum with what was there; cuBLAS adds in place.
    let of_table = if full && !how.by.kernels { 2 } else { 0 };
    [
        slopes_of_logits(model, how.by, rows),
        buffer(
            "gradient of the head's matrix",
            of_table * model.vocabulary * model.hidden,
        ),
        buffer("gradients of normed rows", how.scored * model.hidden),
    ]
}

/// A chunk of logits and its gradient. A kernel's takes the place of the logits in f32, and is beside them in bf16. Plainly, with entropy:
/// logp, p, above, slope, its sum with dlogp, minus; without: logp, p, minus, its negative, that with the targets, dz.
fn slopes_of_logits(model: &Dims, by: By, rows: u64) -> Buffer {
    let of_logit = match (by.kernels, by.numerics) {
        (true, Numerics::F32) => F32,
        (true, Numerics::Bf16) => F32 + BF16,
        (false, _) => 6 * F32,
    };
    Buffer {
        what: "chunk of logits and its gradient",
        bytes: of_logit * rows * model.vocabulary,
    }
}

/// A kernel updates in place; then clipping is what takes most, which makes a scaled gradient. Plainly m and v anew, slope, step and
/// the kept weights.
fn update(model: &Dims, how: &Training) -> Buffer {
    let times = if how.by.kernels { 1 } else { 4 };
    let full = how.adapter == 0;
    let largest = if full { model.largest() } else { 0 };
    buffer("the largest matrix anew", times * largest)
}

/// What stays from step to step: all but the gradient, which is gone after an update and made anew for the next window.
fn resident(model: &Dims, how: &Training) -> Vec<Buffer> {
    let (by, full) = (how.by, how.adapter == 0);
    let trained = how.trained(model);
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
        buffer("adapter", how.adapter),
        by.rounded("what is trained, in bf16", trained),
        reference,
        buffer("first moments", trained),
        buffer("second moments", trained),
    ]
}

/// Rows whose logits exist at the same time: `HeadTape::chunk`.
fn rows_of_logits(model: &Dims, rows: u64, at_once: u64) -> u64 {
    (at_once / model.vocabulary.max(1)).max(1).min(rows)
}

/// Samples and steps of one node in turn.
pub fn both(mut first: Ledger, second: Ledger) -> Ledger {
    first.phases.extend(second.phases);
    first
}
