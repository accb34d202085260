//! Keys and values of decoded tokens, and the queries of a few rows against them.
//!
//! Keys lie in blocks of positions, each transposed, so that the scores of a block are computed side by side. The
//! functions marked `inline(always)` are meant to be called where the instruction set is chosen already.

use crate::kernels::simd::{LANES, prefetch};
use pulp::Simd;

/// Keys and values of one sequence, or of one part of it, for every layer. What a row reads in a layer is contiguous, in
/// the order in which it is read: these numbers come from far, and an even stream of them comes fastest.
#[derive(Clone, Debug)]
pub struct Cache {
    /// [layers, capacity / LANES, kv_heads, head_dim, LANES].
    keys: Vec<f32>,
    /// [layers, capacity / LANES, kv_heads, LANES, head_dim], and `LANES` numbers more: the last vector of a position may run over.
    values: Vec<f32>,
    capacity: usize,
    kv_heads: usize,
    head_dim: usize,
    pub len: usize,
}

impl Cache {
    pub fn new(layers: usize, kv_heads: usize, head_dim: usize, capacity: usize) -> Cache {
        let capacity = capacity.next_multiple_of(LANES);
        let size = layers * kv_heads * head_dim * capacity;
        Cache {
            keys: vec![0.0; size],
            values: vec![0.0; size + LANES],
            capacity,
            kv_heads,
            head_dim,
            len: 0,
        }
    }

    /// Positions that it has room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Copies the first so many positions of another of the same model.
    pub fn take_over(&mut self, other: &Cache, positions: usize) {
        assert!(
            positions <= self.capacity.min(other.len),
            "a cache takes over what fits and is there"
        );
        // Whole blocks: what lies behind the positions is written before it is read.
        let line = LANES * self.kv_heads * self.head_dim;
        let blocks = positions.div_ceil(LANES) * line;
        let (own, theirs) = (self.capacity / LANES * line, other.capacity / LANES * line);
        for (to, from) in [
            (&mut self.keys, &other.keys),
            (&mut self.values, &other.values),
        ] {
            if own > 0 && theirs > 0 {
                let layers = to.chunks_exact_mut(own).zip(from.chunks_exact(theirs));
                layers.for_each(|(to, from)| to[..blocks].copy_from_slice(&from[..blocks]));
            }
        }
        self.len = positions;
    }

    /// Numbers of one head in a block of positions.
    fn block(&self) -> usize {
        self.head_dim * LANES
    }

    /// Where a layer begins in `keys` and in `values`.
    fn layer(&self, layer: usize) -> usize {
        layer * self.capacity * self.kv_heads * self.head_dim
    }

    /// Stores one position of a layer; `line` has its keys, then its values.
    pub fn put(&mut self, layer: usize, position: usize, line: &[f32]) {
        assert!(position < self.capacity, "a cache has room for every token");
        let (dim, block) = (self.head_dim, self.block());
        let (keys, values) = line.split_at(self.kv_heads * dim);
        let lane = position % LANES;
        let first = self.layer(layer) + position / LANES * self.kv_heads * block;
        let blocks = first..first + self.kv_heads * block;
        let heads = self.keys[blocks.clone()].chunks_exact_mut(block);
        for (head, keys) in heads.zip(keys.chunks_exact(dim)) {
            for (line, &key) in head.chunks_exact_mut(LANES).zip(keys) {
                line[lane] = key;
            }
        }
        let heads = self.values[blocks].chunks_exact_mut(block);
        for (head, values) in heads.zip(values.chunks_exact(dim)) {
            head[lane * dim..(lane + 1) * dim].copy_from_slice(values);
        }
    }

    /// scores[row][head] = scale q·k for the first `n` positions and all query heads of every row; heads of scores are `stride`
    /// apart, and up to `LANES` - 1 numbers after the `n` are overwritten. Every score is one sum over the head in its order.
    #[inline(always)]
    pub fn score<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        layer: usize,
        queries: [&[f32]; ROWS],
        n: usize,
        scale: f32,
        scores: ([&mut [f32]; ROWS], usize),
    ) {
        match S::F32_LANES {
            16 => self.scores::<S, 1, ROWS>(simd, layer, queries, n, scale, scores),
            8 => self.scores::<S, 2, ROWS>(simd, layer, queries, n, scale, scores),
            4 => self.scores::<S, 4, ROWS>(simd, layer, queries, n, scale, scores),
            _ => self.scores::<S, LANES, ROWS>(simd, layer, queries, n, scale, scores),
        }
    }

    #[inline(always)]
    fn scores<S: Simd, const VECTORS: usize, const ROWS: usize>(
        &self,
        simd: S,
        layer: usize,
        queries: [&[f32]; ROWS],
        n: usize,
        scale: f32,
        (scores, stride): ([&mut [f32]; ROWS], usize),
    ) {
        let dim = self.head_dim;
        let group = queries[0].len() / dim / self.kv_heads;
        let heads = self.keys[self.layer(layer)..].chunks_exact(self.block());
        let count = n.div_ceil(LANES) * self.kv_heads;
        for (i, keys) in heads.take(count).enumerate() {
            let (block, kv) = (i / self.kv_heads, i % self.kv_heads);
            let ahead = keys.as_ptr().wrapping_add(AHEAD);
            let keys = S::as_simd_f32s(keys).0.as_chunks::<VECTORS>().0;
            for head in kv * group..(kv + 1) * group {
                let queries: [&[f32]; ROWS] =
                    std::array::from_fn(|r| &queries[r][head * dim..][..keys.len()]);
                let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
                for (j, line) in keys.iter().enumerate() {
                    prefetch(ahead.wrapping_add(j * LANES));
                    for r in 0..ROWS {
                        let q = simd.splat_f32s(queries[r][j]);
                        for v in 0..VECTORS {
                            sums[r][v] = simd.mul_add_f32s(q, line[v], sums[r][v]);
                        }
                    }
                }
                let at = head * stride + block * LANES;
                for r in 0..ROWS {
                    let out = S::as_mut_simd_f32s(&mut scores[r][at..at + LANES]).0;
                    for v in 0..VECTORS {
                        out[v] = simd.mul_f32s(sums[r][v], simd.splat_f32s(scale));
                    }
                }
            }
        }
    }

    /// out[row][head] += sum_t p_t v_t over the first `n[row]` positions, for all query heads; heads of `p` are `stride` apart.
    /// Sums over even and over odd positions are kept in `sums` [ROWS, 2, heads, width of a head] and added at the end.
    #[inline(always)]
    pub fn gather<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        layer: usize,
        n: [usize; ROWS],
        (p, stride): ([&[f32]; ROWS], usize),
        sums: &mut [f32],
        mut out: [&mut [f32]; ROWS],
    ) {
        let (dim, wide) = (self.head_dim, wide(self.head_dim));
        let heads = out[0].len() / dim;
        let group = heads / self.kv_heads;
        sums.fill(0.0);
        let (of_row, most) = (2 * heads * wide, n[ROWS - 1]);
        let base = self.layer(layer);
        for i in 0..most.div_ceil(LANES) * self.kv_heads {
            let (block, kv) = (i / self.kv_heads, i % self.kv_heads);
            let values = &self.values[base + i * self.block()..][..self.block() + LANES];
            let seen = n.map(|n| n.saturating_sub(block * LANES).min(LANES));
            // What all rows see they see together; what is left of each begins with an even position.
            let together = match ROWS {
                1 => seen[0],
                _ if seen[0] == seen[ROWS - 1] => seen[0],
                _ => seen[0] / 2 * 2,
            };
            for head in kv * group..(kv + 1) * group {
                let at = head * stride + block * LANES;
                let first = 2 * head * wide;
                let place = Place {
                    values,
                    dim,
                    first: 0,
                };
                let weights: [&[f32]; ROWS] = std::array::from_fn(|r| &p[r][at..at + together]);
                add_block::<S, ROWS>(simd, place, weights, (&mut sums[first..], of_row, wide));
                if ROWS == 1 || seen[ROWS - 1] == together {
                    continue;
                }
                for r in 0..ROWS {
                    let place = Place {
                        first: together,
                        ..place
                    };
                    let weights = [&p[r][at + together..at + seen[r]]];
                    let sums = &mut sums[r * of_row + first..];
                    add_block::<S, 1>(simd, place, weights, (sums, of_row, wide));
                }
            }
        }
        for (out, sums) in out.iter_mut().zip(sums.chunks_exact(of_row)) {
            let heads = out.chunks_exact_mut(dim).zip(sums.chunks_exact(2 * wide));
            for (out, sums) in heads {
                let (even, odd) = sums.split_at(wide);
                for ((out, even), odd) in out.iter_mut().zip(even).zip(odd) {
                    *out += *even + *odd;
                }
            }
        }
    }
}

/// Numbers between what is read and what is asked for meanwhile.
const AHEAD: usize = 1024;

/// Numbers that the sums of a head take: whole vectors. What lies behind the head is thrown away.
pub(crate) fn wide(head_dim: usize) -> usize {
    head_dim.next_multiple_of(LANES)
}

/// A head's values in a block of positions, from an even position on.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// [LANES, dim], and `LANES` numbers more: a vector may run over.
    values: &'a [f32],
    dim: usize,
    first: usize,
}

/// Adds the weighted values of some positions to each row's sums: those of even positions, and those of odd ones `wide` behind.
/// Rows of sums are `of_row` apart.
#[inline(always)]
fn add_block<S: Simd, const ROWS: usize>(
    simd: S,
    place: Place,
    p: [&[f32]; ROWS],
    (sums, of_row, wide): (&mut [f32], usize, usize),
) {
    if p[0].is_empty() {
        return;
    }
    // Vectors whose sums, two of each for every row, stay in registers.
    let most = match (ROWS, S::F32_LANES) {
        (1, _) => 4,
        (_, 16) => 2,
        _ => 1,
    };
    let mut column = 0;
    while column < place.dim {
        let sums = (&mut sums[column..], of_row, wide);
        let left = (place.dim - column).div_ceil(S::F32_LANES).min(most);
        let vectors = match left {
            4.. => {
                add_part::<S, 4, ROWS>(simd, place, column, p, sums);
                4
            }
            2.. => {
                add_part::<S, 2, ROWS>(simd, place, column, p, sums);
                2
            }
            _ => {
                add_part::<S, 1, ROWS>(simd, place, column, p, sums);
                1
            }
        };
        column += vectors * S::F32_LANES;
    }
}

/// `VECTORS` vectors of columns from `column` on.
#[inline(always)]
fn add_part<S: Simd, const VECTORS: usize, const ROWS: usize>(
    simd: S,
    place: Place,
    column: usize,
    p: [&[f32]; ROWS],
    (sums, of_row, wide): (&mut [f32], usize, usize),
) {
    let width = VECTORS * S::F32_LANES;
    let Place { values, dim, first } = place;
    let mut own = [[[simd.splat_f32s(0.0); VECTORS]; 2]; ROWS];
    for r in 0..ROWS {
        for half in 0..2 {
            let kept = &sums[r * of_row + half * wide..][..width];
            let kept = S::as_simd_f32s(kept).0;
            own[r][half].copy_from_slice(&kept[..VECTORS]);
        }
    }
    let ahead = values.as_ptr().wrapping_add(AHEAD);
    let pairs: [&[[f32; 2]]; ROWS] = std::array::from_fn(|r| p[r].as_chunks().0);
    for (pair, _) in pairs[0].iter().enumerate() {
        for half in 0..2 {
            let at = (first + 2 * pair + half) * dim + column;
            let line = S::as_simd_f32s(&values[at..at + width]).0;
            for r in 0..ROWS {
                let p = simd.splat_f32s(pairs[r][pair][half]);
                for v in 0..VECTORS {
                    own[r][half][v] = simd.mul_add_f32s(p, line[v], own[r][half][v]);
                }
            }
            for i in (0..width).step_by(LANES) {
                prefetch(ahead.wrapping_add(at + i));
            }
        }
    }
    let last = p[0].len() - 1;
    if last.is_multiple_of(2) {
        let at = (first + last) * dim + column;
        let line = S::as_simd_f32s(&values[at..at + width]).0;
        for r in 0..ROWS {
            let p = simd.splat_f32s(p[r][last]);
            for v in 0..VECTORS {
                own[r][0][v] = simd.mul_add_f32s(p, line[v], own[r][0][v]);
            }
        }
    }
    for r in 0..ROWS {
        for half in 0..2 {
            let kept = &mut sums[r * of_row + half * wide..][..width];
            let kept = S::as_mut_simd_f32s(kept).0;
            kept[..VECTORS].copy_from_slice(&own[r][half]);
        }
    }
}
