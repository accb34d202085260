//! The language head on the scored rows, in chunks: logits of a large vocabulary are never held whole.
//!
//! The backward pass computes the logits of a chunk again, unless they were few enough to keep. Knows nothing of the blocks below.

use std::ops::Range;

use rayon::prelude::*;

use crate::config::Head;
use crate::kernels::gemm::{Mat, product};
use crate::kernels::norm;
use crate::kernels::rows::{Shared, blocks, scratch, span};
use crate::kernels::softmax::{self, RowStats};
use crate::packed::Packed;
use crate::weights::Weights;
use crate::workspace::Workspace;

/// Logits that are kept at most: 32 MB.
const KEPT: usize = 1 << 23;

/// Rows of the head's weight gradient computed together.
const TILE: usize = 128;

/// Results without what a backward pass would need.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    pub logp: Vec<f32>,
    pub entropy: Vec<f32>,
    pub greedy_hit: Vec<bool>,
}

/// Which log-probabilities are wanted.
pub(super) struct Request {
    /// Rows whose logits predict.
    pub rows: Vec<usize>,
    /// The token each of them should predict.
    pub targets: Vec<u32>,
    pub temperature: f32,
}

impl Request {
    pub fn new(batch: Packed, scored: &[usize], temperature: f32) -> Request {
        assert!(temperature > 0.0, "a temperature is above zero");
        assert!(
            scored.windows(2).all(|pair| pair[0] < pair[1]),
            "scored tokens ascend"
        );
        let mut starts = batch.starts.iter().peekable();
        for &i in scored {
            assert!(i < batch.ids.len(), "scored tokens lie inside the batch");
            while starts.next_if(|&&start| start < i).is_some() {}
            assert!(
                starts.peek() != Some(&&i),
                "the first token of a sequence has no prediction"
            );
        }
        Request {
            rows: scored.iter().map(|&i| i - 1).collect(),
            targets: scored.iter().map(|&i| batch.ids[i]).collect(),
            temperature,
        }
    }
}

#[derive(Debug)]
pub(super) struct HeadTape {
    rows: Vec<usize>,
    targets: Vec<u32>,
    inverse_temperature: f32,
    /// Scored rows after the final norm [scored, hidden], and r of that norm.
    normed: Vec<f32>,
    scales: Vec<f32>,
    stats: Vec<RowStats>,
    /// Logits [scored, vocabulary], where they are few: for a larger batch or vocabulary the backward pass computes them
    /// again, and they are never held whole.
    logits: Option<Vec<f32>>,
}

impl HeadTape {
    pub fn recycle(self, workspace: &mut Workspace) {
        workspace.give(self.normed);
        workspace.give(self.scales);
        if let Some(logits) = self.logits {
            workspace.give(logits);
        }
    }

    pub fn scored(&self) -> usize {
        self.rows.len()
    }
}

pub(super) fn forward(
    weights: &Weights,
    last: &[f32],
    request: Request,
    keep: bool,
    workspace: &mut Workspace,
) -> (Scores, HeadTape) {
    expect_language_head(weights);
    let (d, v) = (weights.config.hidden_size, weights.config.vocab_size);
    let n = request.rows.len();
    let mut tape = HeadTape {
        inverse_temperature: 1.0 / request.temperature,
        normed: workspace.take(n * d),
        scales: workspace.take(n),
        stats: vec![RowStats::default(); n],
        logits: (keep && n * v <= KEPT).then(|| workspace.take(n * v)),
        rows: request.rows,
        targets: request.targets,
    };
    let mut logp = vec![0.0; n];
    let eps = weights.config.rms_norm_eps as f32;
    let size = forward_rows(v);
    let (normed, scales) = (Shared::new(&mut tape.normed), Shared::new(&mut tape.scales));
    let kept = tape.logits.as_mut().map(|all| Shared::new(all));
    let (rows, targets, inverse) = (&tape.rows, &tape.targets, tape.inverse_temperature);
    let parts = tape
        .stats
        .par_chunks_mut(size)
        .zip(logp.par_chunks_mut(size));
    parts.enumerate().for_each(|(block, (stats, logp))| {
        let r = block * size..block * size + stats.len();
        // SAFETY: blocks of rows are disjoint.
        let (x, scales) = unsafe { (normed.slice(span(&r, d)), scales.slice(r.clone())) };
        scratch(x.len(), |picked| {
            for (to, &row) in picked.chunks_exact_mut(d).zip(&rows[r.clone()]) {
                to.copy_from_slice(&last[row * d..(row + 1) * d]);
            }
            norm::forward(picked, weights.final_norm(), eps, x, scales);
        });
        let mut score = |z: &mut [f32]| {
            let table = Mat::rows(weights.head(), d).t();
            let size = (r.len(), v, d);
            product(size, inverse, Mat::rows(x, d), table, z, v, false);
            for (i, z) in z.chunks_exact(v).enumerate() {
                stats[i] = softmax::stats(z);
                logp[i] = z[targets[r.start + i] as usize] - stats[i].lse;
            }
        };
        match kept {
            // SAFETY: as above.
            Some(all) => score(unsafe { all.slice(span(&r, v)) }),
            None => scratch(r.len() * v, score),
        }
    });
    let scores = Scores {
        entropy: tape.stats.iter().map(|s| s.entropy).collect(),
        greedy_hit: tape
            .stats
            .iter()
            .zip(&tape.targets)
            .map(|(s, &target)| s.greedy == target as usize)
            .collect(),
        logp,
    };
    (scores, tape)
}

/// Adds the gradient of the head's weights (where `dhead` is given) and of the final norm, and returns dL/d(last
/// hidden) [tokens, hidden]; zero on rows that predict nothing.
#[allow(clippy::too_many_arguments)]
pub(super) fn backward(
    weights: &Weights,
    tape: &HeadTape,
    last: &[f32],
    dlogp: &[f32],
    dentropy: Option<&[f32]>,
    mut grads: Option<&mut [f32]>,
    workspace: &mut Workspace,
) -> Vec<f32> {
    let (d, v, n) = (
        weights.config.hidden_size,
        weights.config.vocab_size,
        tape.scored(),
    );
    let mut dx = workspace.take(n * d);
    let dx_all = Shared::new(&mut dx);
    // dz [rows, v] and dx [rows, d] of a block of scored tokens.
    let block = |at: Range<usize>, dz: &mut [f32]| {
        // SAFETY: blocks of rows are disjoint.
        let dx = unsafe { dx_all.slice(span(&at, d)) };
        let x = Mat::rows(&tape.normed[span(&at, d)], d);
        let table = Mat::rows(weights.head(), d);
        let scale = tape.inverse_temperature;
        match &tape.logits {
            Some(all) => dz.copy_from_slice(&all[span(&at, v)]),
            None => product((at.len(), v, d), scale, x, table.t(), dz, v, false),
        }
        for (i, z) in at.clone().zip(dz.chunks_exact_mut(v)) {
            let dentropy = dentropy.map_or(0.0, |list| list[i]);
            let target = tape.targets[i] as usize;
            softmax::backward(z, tape.stats[i], target, dlogp[i], dentropy);
        }
        let dz = Mat::rows(dz, v);
        product((at.len(), d, v), scale, dz, table, dx, d, false);
    };
    match grads.as_deref_mut() {
        None => blocks(n, forward_rows(v), |_, at| {
            scratch(at.len() * v, |dz| block(at, dz));
        }),
        Some(grads) => {
            let head = Shared::new(&mut grads[weights.layout.head.clone()]);
            let chunk = backward_rows(v);
            let mut dz = workspace.take(chunk.min(n) * v);
            for first in (0..n).step_by(chunk) {
                let r = first..(first + chunk).min(n);
                let all = Shared::new(&mut dz);
                blocks(r.len(), forward_rows(v), |_, b| {
                    // SAFETY: blocks of rows are disjoint.
                    let dz = unsafe { all.slice(span(&b, v)) };
                    block(first + b.start..first + b.end, dz);
                });
                let x = Mat::rows(&tape.normed[span(&r, d)], d);
                blocks(v, TILE, |_, words| {
                    // SAFETY: tiles are disjoint.
                    let out = unsafe { head.slice(span(&words, d)) };
                    let dz = Mat::rows(&dz[words.start..], v).t();
                    let size = (words.len(), d, r.len());
                    product(size, tape.inverse_temperature, dz, x, out, d, true);
                });
            }
            workspace.give(dz);
        }
    }
    let mut dh = workspace.take(last.len());
    dh.fill(0.0);
    let mut spare = vec![0.0; d];
    let dw = match grads {
        Some(grads) => &mut grads[weights.layout.final_norm.clone()],
        None => &mut spare,
    };
    for (i, &row) in tape.rows.iter().enumerate() {
        let at = row * d..(row + 1) * d;
        let (x, dy) = (&last[at.clone()], &dx[i * d..(i + 1) * d]);
        norm::backward(
            x,
            weights.final_norm(),
            &tape.scales[i..=i],
            dy,
            &mut dh[at],
            dw,
        );
    }
    workspace.give(dx);
    dh
}

/// The head's matrix on rows that went through the final norm.
pub(super) fn logits(weights: &Weights, normed: &[f32]) -> Vec<f32> {
    let config = &weights.config;
    let d = config.hidden_size;
    let v = match config.head {
        Head::Score { labels } => labels,
        _ => config.vocab_size,
    };
    let rows = normed.len() / d;
    let mut out = vec![0.0; rows * v];
    let all = Shared::new(&mut out);
    blocks(rows, forward_rows(v), |_, r| {
        // SAFETY: blocks of rows are disjoint.
        let z = unsafe { all.slice(span(&r, v)) };
        let x = Mat::rows(&normed[span(&r, d)], d);
        let table = Mat::rows(weights.head(), d).t();
        product((r.len(), v, d), 1.0, x, table, z, v, false);
    });
    out
}

/// Rows whose logits a thread holds at once: at most 32 MB, unless 32 rows are more.
fn forward_rows(vocabulary: usize) -> usize {
    ((1 << 23) / vocabulary).clamp(32, 128)
}

/// Rows whose logit gradients are held at once, for the products over rows: at most 32 MB, unless 256 rows are more.
fn backward_rows(vocabulary: usize) -> usize {
    ((1 << 23) / vocabulary).clamp(256, 8192)
}

/// Panics where the model has no language head.
fn expect_language_head(weights: &Weights) {
    assert!(
        !matches!(weights.config.head, Head::Score { .. }),
        "log-probabilities need a language head"
    );
}
