//! What a device holds where a model is asked and not trained: sequences that are read whole, and the gradient at a suffix. And what
//! rerouting holds besides training. Sampling is in `ledger`, as training does it too.

use super::block::{block_backward, block_forward, masks};
use super::{BLOCKS, Buffer, By, Dims, Ledger, Training, buffer, rows_of_logits, training};

/// Sequences that go through a model in one pass, without a tape: their hidden states are read, what a score head makes of their last
/// tokens, or logits.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Of the largest pass: tokens, and those of its longest sequence.
    pub tokens: u64,
    pub longest: u64,
    /// Its rows whose logits are read.
    pub rows: u64,
    /// Of the workspace.
    pub logits_at_once: u64,
    pub by: By,
}

/// Passes over sequences.
pub fn reading(model: &Dims, how: &Reading) -> Ledger {
    let (tokens, by) = (how.tokens, how.by);
    let stays = [
        by.frozen("weights", model),
        masks(model, by, tokens, how.longest),
    ];
    let forward = block_forward(model, by, tokens, how.longest, false);
    let block = [
        buffer("states before and after a block", 2 * tokens * model.hidden),
        Buffer {
            bytes: tokens * model.tape(by) + forward.bytes,
            ..forward
        },
    ];
    let rows = rows_of_logits(model, how.rows, how.logits_at_once);
    let logits = [
        buffer("the last states", tokens * model.hidden),
        buffer("rows that are read", 2 * how.rows * model.hidden),
        // Logits, below their top, and what each weighs.
        buffer("logits", 3 * rows * model.vocabulary),
    ];
    let ledger = Ledger::default().with("a pass", &stays, &block);
    match how.rows {
        0 => ledger,
        _ => ledger.with("logits of a pass", &stays, &logits),
    }
}

/// The gradient of a target at the suffix before it, without one of any weight.
#[derive(Clone, Copy, Debug)]
pub struct Slope {
    /// Of the whole chat, the suffix and the target.
    pub tokens: u64,
    pub suffix: u64,
    pub target: u64,
    /// Of the workspace.
    pub logits_at_once: u64,
    pub by: By,
}

/// A gradient at a suffix.
pub fn slope(model: &Dims, how: &Slope) -> Ledger {
    let (tokens, by) = (how.tokens, how.by);
    let stays = [
        by.frozen("weights", model),
        buffer("hidden states", tokens * (model.layers + 1) * model.hidden),
        Buffer {
            what: "tapes of the blocks",
            bytes: tokens * model.layers * model.tape(by),
        },
        buffer("head's tape", how.target * (2 * model.hidden + 4)),
        masks(model, by, tokens, tokens),
    ];
    let logits = rows_of_logits(model, how.target, how.logits_at_once) * model.vocabulary;
    let head = [
        // Logits, probabilities, minus, its negative, dz.
        buffer("chunk of logits and its gradient", 5 * logits),
        buffer("gradients of normed rows", 2 * tokens * model.hidden),
    ];
    let back = [block_backward(model, by, tokens, tokens, false)];
    let at_suffix = [
        buffer("gradients of embeddings", tokens * model.hidden),
        buffer("gradient at the suffix", how.suffix * model.vocabulary),
    ];
    Ledger::default()
        .with("gradient, head", &stays, &head)
        .with("gradient, blocks", &stays, &back)
        .with("gradient, suffix", &stays, &at_suffix)
}

/// A training step whose loss is one of hidden states, each of which has a gradient of its own. The states themselves are compared on
/// the host; the pass with the adapter off that makes half of them keeps nothing and holds less than the step.
pub fn rerouting(model: &Dims, how: &Training) -> Ledger {
    let mut ledger = training(model, how);
    let of_states = buffer(
        "gradient of a block's states",
        2 * how.tokens * model.hidden,
    );
    for phase in ledger.phases.iter_mut().filter(|p| p.name == BLOCKS) {
        phase.buffers.push(of_states);
    }
    ledger
}
