//! Attention of new tokens over the cached parts of their sequence: of one, or of several that follow each other, which
//! read keys and values once for all.

use crate::kernels::simd::{LANES, exp, fold, max};
use crate::sample::cache::{Cache, wide};
use pulp::{Arch, Simd, WithSimd};

/// Scores, softmax and mix of `ROWS` rows in one layer, all heads. The rows follow each other: in the last part each sees one
/// position more than the one before it. A row's numbers are those that it has alone.
pub struct Attend<'a, const ROWS: usize> {
    pub scale: f32,
    pub layer: usize,
    /// The parts of the sequence, each with how many of its positions the first row sees.
    pub seen: &'a [(&'a Cache, usize)],
    /// Of each row [heads * head_dim].
    pub queries: [&'a [f32]; ROWS],
    /// [ROWS, heads * head_dim].
    pub out: &'a mut [f32],
    pub heads: usize,
    /// A buffer that grows.
    pub room: &'a mut Vec<f32>,
}

impl<const ROWS: usize> Attend<'_, ROWS> {
    /// Computes `out`.
    pub fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl<const ROWS: usize> WithSimd for Attend<'_, ROWS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Attend {
            scale,
            layer,
            seen,
            queries,
            out,
            heads,
            room,
        } = self;
        let width = queries[0].len();
        let dim = width / heads;
        let first: usize = seen.iter().map(|&(_, n)| n).sum();
        let totals: [usize; ROWS] = std::array::from_fn(|r| first + r);
        // Room for the last block of every part to run over.
        let stride = totals[ROWS - 1] + LANES;
        let (of_row, of_sums) = (heads * stride, 2 * heads * wide(dim));
        let size = ROWS * (of_row + of_sums);
        if room.len() < size {
            room.resize(size, 0.0);
        }
        let (scores, sums) = room[..size].split_at_mut(ROWS * of_row);
        let last = seen.len() - 1;
        let mut at = 0;
        for (part, &(cache, n)) in seen.iter().enumerate() {
            let n = if part == last { n + ROWS - 1 } else { n };
            let scores = (rows(&mut scores[at..], of_row), stride);
            cache.score(simd, layer, queries, n, scale, scores);
            at += n;
        }
        for (r, scores) in scores.chunks_exact_mut(of_row).enumerate() {
            for head in scores.chunks_exact_mut(stride) {
                // The padding keeps the sum until the end.
                head[stride - 1] = exponentials(head, totals[r]);
            }
        }
        out.fill(0.0);
        let mut at = 0;
        for (part, &(cache, n)) in seen.iter().enumerate() {
            let more = usize::from(part == last);
            let n_each: [usize; ROWS] = std::array::from_fn(|r| n + r * more);
            let p: [&[f32]; ROWS] =
                std::array::from_fn(|r| &scores[r * of_row + at..(r + 1) * of_row]);
            let out = rows(out, width);
            cache.gather(simd, layer, n_each, (p, stride), sums, out);
            at += n;
        }
        let sums = scores.chunks_exact(stride);
        for (out, scores) in out.chunks_exact_mut(dim).zip(sums) {
            let inverse = 1.0 / scores[stride - 1];
            for x in out {
                *x *= inverse;
            }
        }
    }
}

/// The first `ROWS` rows of an array, `stride` apart; the last may be shorter.
#[inline(always)]
fn rows<const ROWS: usize>(data: &mut [f32], stride: usize) -> [&mut [f32]; ROWS] {
    let mut rows = data.chunks_mut(stride);
    std::array::from_fn(|_| rows.next().expect("there are so many rows"))
}

/// Replaces the first `n` scores by exp(score - largest) and returns their sum. What lies behind them, up to a whole vector, is
/// overwritten: elements are computed `LANES` at a time, though those of the last, incomplete vector are added one by one.
#[inline(always)]
fn exponentials(scores: &mut [f32], n: usize) -> f32 {
    let whole = n / LANES * LANES;
    let end = n.next_multiple_of(LANES);
    scores[n..end].fill(f32::NEG_INFINITY);
    let top = max(&scores[..end]);
    let vectors = scores[..end].as_chunks_mut::<LANES>().0;
    let mut sums = [0.0f32; LANES];
    for z in &mut vectors[..whole / LANES] {
        for i in 0..LANES {
            z[i] = exp(z[i] - top);
            sums[i] += z[i];
        }
    }
    let mut sum = fold(sums);
    if let Some(z) = vectors.get_mut(whole / LANES) {
        for z in z.iter_mut() {
            *z = exp(*z - top);
        }
        for z in &z[..n - whole] {
            sum += z;
        }
    }
    sum
}
