//! What a device holds where a model is asked and not trained: sequences that are read whole, and the gradient at a suffix. Sampling is in
//! `sampling`, as training does it too.

use super::block::Pass;
use super::{Buffer, By, Dims, F32, Ledger, buffer, rows_of_logits, slopes_of_logits};

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
    let by = how.by;
    let pass = Pass {
        model,
        by,
        tokens: how.tokens,
        longest: how.longest,
        adapted: false,
    };
    let stays = [by.frozen("weights", model), pass.masks()];
    let block = [
        pass.states("states before and after a block", 2),
        pass.tape("tape of a block", 1),
        pass.forward(),
    ];
    let rows = rows_of_logits(model, how.rows, how.logits_at_once);
    let logits = [
        pass.states("the last states", 1),
        buffer("rows that are read", 2 * how.rows * model.hidden),
        stats_of_logits(model, by, rows),
    ];
    let ledger = Ledger::default().with("a pass", &stays, &block);
    match how.rows {
        0 => ledger,
        _ => ledger.with("logits of a pass", &stays, &logits),
    }
}

/// Logits of which something is read: by a kernel nothing else; plainly those below their top, what each weighs, and times how far it is
/// below.
fn stats_of_logits(model: &Dims, by: By, rows: u64) -> Buffer {
    let of_logit = if by.kernels { F32 } else { 4 * F32 };
    Buffer {
        what: "logits",
        bytes: of_logit * rows * model.vocabulary,
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
    let by = how.by;
    let pass = Pass {
        model,
        by,
        tokens: how.tokens,
        longest: how.tokens,
        adapted: false,
    };
    let stays = [
        by.frozen("weights", model),
        pass.states("hidden states", model.layers + 1),
        pass.tape("tapes of the blocks", model.layers),
        buffer("head's tape", how.target * (2 * model.hidden + 4)),
        pass.masks(),
    ];
    let rows = rows_of_logits(model, how.target, how.logits_at_once);
    let head = [
        slopes_of_logits(model, by, rows),
        // Of the target, or, of raw logits, that of all states with their norms and their sum.
        pass.states("gradients of normed rows", 4),
    ];
    let at_suffix = [
        pass.states("gradients of embeddings", 1),
        buffer("gradient at the suffix", how.suffix * model.vocabulary),
    ];
    Ledger::default()
        .with("gradient, head", &stays, &head)
        .with("gradient, blocks", &stays, &[pass.backward(false)])
        .with("gradient, suffix", &stays, &at_suffix)
}
