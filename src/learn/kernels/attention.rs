//! Causal attention of one key/value head and its query heads over one sequence, forward and backward.
//!
//! Probabilities are not kept: the backward pass has the log-sum-exp of each row and computes them again, block of
//! queries by block of queries, with only the keys a block can see.

use std::ops::Range;

use super::gemm::{Mat, product, product_at};
use super::rows::{Shared, scratch};
use super::simd::{dot, vector};
use super::softmax;

const QUERIES: usize = 64;

/// Heads side by side in a row: `heads` query heads, then `kv_heads` key heads, then `kv_heads` value heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
}

impl Heads {
    /// Numbers of a row of q, k, v.
    pub fn width(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.dim
    }

    /// Numbers of a row of the output.
    pub fn out_width(&self) -> usize {
        self.heads * self.dim
    }

    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    fn key_column(&self, kv: usize) -> usize {
        (self.heads + kv) * self.dim
    }

    fn value_column(&self, kv: usize) -> usize {
        (self.heads + self.kv_heads + kv) * self.dim
    }
}

/// Writes the outputs of the query heads of `kv` for the rows `sequence`: columns of `out` [rows, out_width] and of
/// `lse` [heads, rows]. The first `given` rows of the sequence are attended to and get no output.
///
/// # Safety
/// Nobody else touches these columns of these rows.
pub unsafe fn forward(
    shape: Heads,
    qkv: &[f32],
    sequence: Range<usize>,
    given: usize,
    kv: usize,
    out: Shared,
    lse: Shared,
) {
    let (w, d, length) = (shape.width(), shape.dim, sequence.len());
    let rows = lse.len() / shape.heads;
    let base = sequence.start * w;
    let keys = Mat::rows(&qkv[base + shape.key_column(kv)..], w);
    let values = Mat::rows(&qkv[base + shape.value_column(kv)..], w);
    for head in kv * shape.group()..(kv + 1) * shape.group() {
        let at = head * rows + sequence.start;
        // SAFETY: this head's rows of this sequence are the caller's.
        let lse = unsafe { lse.slice(at..at + length) };
        for first in (given..length).step_by(QUERIES) {
            let n = QUERIES.min(length - first);
            let seen = first + n;
            let queries = Mat::rows(&qkv[base + first * w + head * d..], w);
            scratch(n * seen, |scores| {
                let size = (n, seen, d);
                product(size, shape.scale(), queries, keys.t(), scores, seen, false);
                softmax::causal(scores, seen, first + 1, &mut lse[first..seen]);
                let to = out.at((sequence.start + first) * shape.out_width() + head * d);
                let p = Mat::rows(scores, seen);
                // SAFETY: as above; the rows of the sequence lie inside `out`.
                unsafe { product_at((n, d, seen), 1.0, p, values, to, shape.out_width(), false) };
            });
        }
    }
}

/// What the backward pass of a layer's attention reads.
#[derive(Clone, Copy)]
pub struct Kept<'a> {
    /// [rows, width], as the forward pass read it.
    pub qkv: &'a [f32],
    /// [rows, out_width].
    pub out: &'a [f32],
    /// [heads, rows].
    pub lse: &'a [f32],
    /// Gradient of `out`.
    pub dout: &'a [f32],
}

/// Writes the gradient of the query heads of `kv`, of its keys and of its values for the rows `sequence`: columns of
/// `dqkv` [rows, width]. The first `given` rows of the sequence had no output and get no gradient.
///
/// # Safety
/// Nobody else touches these columns of these rows.
pub unsafe fn backward(
    shape: Heads,
    kept: Kept,
    sequence: Range<usize>,
    given: usize,
    kv: usize,
    dqkv: Shared,
) {
    let (w, ow, d, length) = (shape.width(), shape.out_width(), shape.dim, sequence.len());
    let rows = kept.lse.len() / shape.heads;
    let base = sequence.start * w;
    let keys = Mat::rows(&kept.qkv[base + shape.key_column(kv)..], w);
    let values = Mat::rows(&kept.qkv[base + shape.value_column(kv)..], w);
    let dkeys = dqkv.at(base + given * w + shape.key_column(kv));
    let dvalues = dqkv.at(base + given * w + shape.value_column(kv));
    for row in sequence.clone().skip(given) {
        for column in [shape.key_column(kv), shape.value_column(kv)] {
            let at = row * w + column;
            // SAFETY: these columns of this row are the caller's.
            unsafe { dqkv.slice(at..at + d) }.fill(0.0);
        }
    }
    for head in kv * shape.group()..(kv + 1) * shape.group() {
        for first in (given..length).step_by(QUERIES) {
            let n = QUERIES.min(length - first);
            let seen = first + n;
            let row = sequence.start + first;
            let queries = Mat::rows(&kept.qkv[row * w + head * d..], w);
            let douts = Mat::rows(&kept.dout[row * ow + head * d..], ow);
            let lse = &kept.lse[head * rows + row..head * rows + row + n];
            scratch((2 * seen + 1) * n, |buffer| {
                let (p, rest) = buffer.split_at_mut(n * seen);
                let (dp, delta) = rest.split_at_mut(n * seen);
                deltas(kept, ow, row, head * d..(head + 1) * d, delta);
                let size = (n, seen, d);
                product(size, shape.scale(), queries, keys.t(), p, seen, false);
                product(size, 1.0, douts, values.t(), dp, seen, false);
                softmax::causal_backward(p, dp, seen, first + 1, lse, delta, shape.scale());
                let ds = Mat::rows(dp, seen);
                let own = |all| Mat::rows(all, seen).t();
                let size = (seen - given, d, n);
                // SAFETY: these columns of the sequence's rows are the caller's, and lie inside `dqkv`.
                unsafe {
                    product_at(size, 1.0, own(&p[given..]), douts, dvalues, w, true);
                    product_at(size, 1.0, own(&dp[given..]), queries, dkeys, w, true);
                    let dqueries = dqkv.at(row * w + head * d);
                    product_at((n, d, seen), 1.0, ds, keys, dqueries, w, false);
                }
            });
        }
    }
}

/// sum_j p_j dp_j of every row, which is the product of an output with its gradient.
fn deltas(kept: Kept, width: usize, row: usize, columns: Range<usize>, delta: &mut [f32]) {
    vector(
        #[inline(always)]
        move || {
            for (i, delta) in delta.iter_mut().enumerate() {
                let at = (row + i) * width;
                let range = at + columns.start..at + columns.end;
                *delta = dot(&kept.out[range.clone()], &kept.dout[range]);
            }
        },
    );
}
