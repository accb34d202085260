//! Attention of one new token over the cached parts of its sequence.

use crate::kernels::simd::{LANES, exp, fold, max};
use crate::sample::cache::Cache;
use pulp::{Simd, WithSimd};

/// Scores, softmax and mix of one row in one layer, all heads.
pub(crate) struct Attend<'a> {
    pub scale: f32,
    pub layer: usize,
    /// The parts of the row's sequence, each with how many of its positions are seen.
    pub seen: &'a [(&'a Cache, usize)],
    /// Positions seen in all parts.
    pub total: usize,
    pub queries: &'a [f32],
    pub out: &'a mut [f32],
    /// [heads, total + LANES].
    pub scores: &'a mut [f32],
    /// [2, heads, head_dim].
    pub sums: &'a mut [f32],
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let stride = self.total + LANES;
        let mut at = 0;
        for &(cache, n) in self.seen {
            let scores = (&mut self.scores[at..], stride);
            cache.score(simd, self.layer, self.queries, n, self.scale, scores);
            at += n;
        }
        let heads = self.scores.len() / stride;
        let dim = self.out.len() / heads;
        for row in self.scores.chunks_exact_mut(stride) {
            // The padding keeps the sum until the end.
            row[stride - 1] = exponentials(&mut row[..self.total]);
        }
        self.out.fill(0.0);
        let mut at = 0;
        for &(cache, n) in self.seen {
            let p = (&self.scores[at..], stride);
            cache.gather(simd, self.layer, n, p, self.sums, self.out);
            at += n;
        }
        let rows = self.scores.chunks_exact(stride);
        for (out, row) in self.out.chunks_exact_mut(dim).zip(rows) {
            let inverse = 1.0 / row[stride - 1];
            for x in out {
                *x *= inverse;
            }
        }
    }
}

/// Replaces scores by exp(score - largest) and returns their sum.
#[inline(always)]
fn exponentials(scores: &mut [f32]) -> f32 {
    let top = max(scores);
    let mut sums = [0.0f32; LANES];
    let (body, tail) = scores.as_chunks_mut::<LANES>();
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
    sum
}
