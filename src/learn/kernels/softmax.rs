//! Rows of logits: log-sum-exp, entropy, greedy choice, and the gradient of log-probability and entropy.

use super::simd::{LANES, exp, fold, max, vector};

#[derive(Clone, Copy, Debug, Default)]
pub struct RowStats {
    /// log sum_j exp(z_j).
    pub lse: f32,
    /// -sum_j p_j log p_j in nats.
    pub entropy: f32,
    /// The first index of the largest logit.
    pub greedy: usize,
}

pub fn stats(z: &[f32]) -> RowStats {
    vector(
        #[inline(always)]
        move || {
            let top = max(z);
            let (mut sums, mut weighted) = ([0.0f32; LANES], [0.0f32; LANES]);
            let (body, tail) = z.as_chunks::<LANES>();
            for z in body {
                for i in 0..LANES {
                    let e = exp(z[i] - top);
                    sums[i] += e;
                    weighted[i] = e.mul_add(z[i] - top, weighted[i]);
                }
            }
            let (mut sum, mut weight) = (fold(sums), fold(weighted));
            for z in tail {
                let e = exp(z - top);
                sum += e;
                weight += e * (z - top);
            }
            RowStats {
                lse: top + sum.ln(),
                entropy: sum.ln() - weight / sum,
                greedy: z.iter().position(|&x| x == top).unwrap_or(0),
            }
        },
    )
}

/// Turns logits z into dL/dz in place, for L with dL/dlogp[target] = `dlogp` and dL/dentropy = `dentropy`:
/// dz_j = dlogp (1[j = target] - p_j) - dentropy p_j (log p_j + entropy).
pub fn backward(z: &mut [f32], row: RowStats, target: usize, dlogp: f32, dentropy: f32) {
    let shift = row.entropy - row.lse;
    vector(
        #[inline(always)]
        || {
            for z in z.iter_mut() {
                let p = exp(*z - row.lse);
                *z = -p * (*z + shift).mul_add(dentropy, dlogp);
            }
        },
    );
    z[target] += dlogp;
}

/// Softmax of causal rows in place: row r keeps its first `first + r` numbers, the rest become 0. `width` numbers from
/// row to row; `lse` gets the log-sum-exp of what is kept.
pub(crate) fn causal(scores: &mut [f32], width: usize, first: usize, lse: &mut [f32]) {
    vector(
        #[inline(always)]
        move || {
            for (r, (row, lse)) in scores.chunks_exact_mut(width).zip(lse).enumerate() {
                let (kept, masked) = row.split_at_mut(first + r);
                let top = max(kept);
                let mut sums = [0.0f32; LANES];
                let (body, tail) = kept.as_chunks_mut::<LANES>();
                for z in body {
                    for i in 0..LANES {
                        z[i] = exp(z[i] - top);
                        sums[i] += z[i];
                    }
                }
                let mut sum = fold(sums);
                for z in tail {
                    *z = exp(*z - top);
                    sum += *z;
                }
                let inverse = 1.0 / sum;
                for z in kept {
                    *z *= inverse;
                }
                masked.fill(0.0);
                *lse = top + sum.ln();
            }
        },
    );
}

/// The backward pass of `causal` rows. On entry `p` holds the scores and `dp` the gradient of the probabilities; on return `p` the
/// probabilities and `dp` the gradient of the scores times `scale`. `delta` is sum_j p_j dp_j of each row.
pub(crate) fn causal_backward(
    p: &mut [f32],
    dp: &mut [f32],
    width: usize,
    first: usize,
    lse: &[f32],
    delta: &[f32],
    scale: f32,
) {
    vector(
        #[inline(always)]
        move || {
            let rows = p.chunks_exact_mut(width).zip(dp.chunks_exact_mut(width));
            for (r, ((p, dp), (&lse, &delta))) in rows.zip(lse.iter().zip(delta)).enumerate() {
                let keep = first + r;
                for (p, dp) in p[..keep].iter_mut().zip(&mut dp[..keep]) {
                    *p = exp(*p - lse);
                    *dp = *p * (*dp - delta) * scale;
                }
                p[keep..].fill(0.0);
                dp[keep..].fill(0.0);
            }
        },
    );
}
