//! Keys and values of decoded tokens, and one row's queries against them.
//!
//! Keys lie in blocks of positions, each transposed, so that the scores of a block are computed side by side. The
//! functions marked `inline(always)` are meant to be called where the instruction set is chosen already.

use crate::kernels::simd::{LANES, prefetch};
use pulp::Simd;

/// Keys and values of one sequence, or of one part of it, for every layer. What a row reads in a layer is contiguous, in
/// the order in which it is read: these numbers come from far, and an even stream of them comes fastest.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    /// [layers, capacity / LANES, kv_heads, head_dim, LANES].
    keys: Vec<f32>,
    /// [layers, capacity / LANES, kv_heads, LANES, head_dim].
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
            values: vec![0.0; size],
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

    /// scores[head] = scale q·k for the first `n` positions and all query heads; the rows of scores are `stride` apart,
    /// and up to `LANES` - 1 numbers after the `n` are overwritten. Every score is one sum over the head in its order.
    #[inline(always)]
    pub fn score<S: Simd>(
        &self,
        simd: S,
        layer: usize,
        queries: &[f32],
        n: usize,
        scale: f32,
        (scores, stride): (&mut [f32], usize),
    ) {
        match S::F32_LANES {
            16 => self.scores::<S, 1>(simd, layer, queries, n, scale, (scores, stride)),
            8 => self.scores::<S, 2>(simd, layer, queries, n, scale, (scores, stride)),
            4 => self.scores::<S, 4>(simd, layer, queries, n, scale, (scores, stride)),
            _ => self.scores::<S, LANES>(simd, layer, queries, n, scale, (scores, stride)),
        }
    }

    #[inline(always)]
    fn scores<S: Simd, const VECTORS: usize>(
        &self,
        simd: S,
        layer: usize,
        queries: &[f32],
        n: usize,
        scale: f32,
        (scores, stride): (&mut [f32], usize),
    ) {
        let dim = self.head_dim;
        let group = queries.len() / dim / self.kv_heads;
        let heads = self.keys[self.layer(layer)..].chunks_exact(self.block());
        let count = n.div_ceil(LANES) * self.kv_heads;
        for (i, keys) in heads.take(count).enumerate() {
            let (block, kv) = (i / self.kv_heads, i % self.kv_heads);
            let ahead = keys.as_ptr().wrapping_add(AHEAD);
            let keys = S::as_simd_f32s(keys).0;
            for head in kv * group..(kv + 1) * group {
                let query = &queries[head * dim..(head + 1) * dim];
                let mut sums = [simd.splat_f32s(0.0); VECTORS];
                for (j, &q) in query.iter().enumerate() {
                    let line = &keys[j * VECTORS..(j + 1) * VECTORS];
                    prefetch(ahead.wrapping_add(j * LANES));
                    let q = simd.splat_f32s(q);
                    for v in 0..VECTORS {
                        sums[v] = simd.mul_add_f32s(q, line[v], sums[v]);
                    }
                }
                let at = head * stride + block * LANES;
                let out = S::as_mut_simd_f32s(&mut scores[at..at + LANES]).0;
                for v in 0..VECTORS {
                    out[v] = simd.mul_f32s(sums[v], simd.splat_f32s(scale));
                }
            }
        }
    }

    /// out[head] += sum_t p_t v_t over the first `n` positions, for all query heads; the rows of `p` are `stride` apart.
    /// Sums over even and over odd positions are kept in `sums` [2, out.len()] and added at the end.
    #[inline(always)]
    pub fn gather<S: Simd>(
        &self,
        simd: S,
        layer: usize,
        n: usize,
        (p, stride): (&[f32], usize),
        sums: &mut [f32],
        out: &mut [f32],
    ) {
        let dim = self.head_dim;
        let group = out.len() / dim / self.kv_heads;
        sums.fill(0.0);
        let (even, odd) = sums.split_at_mut(out.len());
        let heads = self.values[self.layer(layer)..].chunks_exact(self.block());
        let count = n.div_ceil(LANES) * self.kv_heads;
        for (i, values) in heads.take(count).enumerate() {
            let (block, kv) = (i / self.kv_heads, i % self.kv_heads);
            let seen = (n - block * LANES).min(LANES);
            for head in kv * group..(kv + 1) * group {
                let at = head * stride + block * LANES;
                let p = &p[at..at + seen];
                let sums = (
                    &mut even[head * dim..][..dim],
                    &mut odd[head * dim..][..dim],
                );
                gather_block(simd, values, p, sums);
            }
        }
        for ((out, even), odd) in out.iter_mut().zip(even).zip(odd) {
            *out += *even + *odd;
        }
    }
}

/// Numbers between what is read and what is asked for meanwhile.
const AHEAD: usize = 1024;

/// One block of values: adds its even and its odd positions to their sums.
#[inline(always)]
fn gather_block<S: Simd>(
    simd: S,
    values: &[f32],
    p: &[f32],
    (even, odd): (&mut [f32], &mut [f32]),
) {
    let dim = even.len();
    let mut first = 0;
    while first + 4 * S::F32_LANES <= dim {
        let columns = first..first + 4 * S::F32_LANES;
        let sums = (&mut even[columns.clone()], &mut odd[columns]);
        gather_part::<S, 4>(simd, values, (dim, first), p, sums);
        first += 4 * S::F32_LANES;
    }
    while first + S::F32_LANES <= dim {
        let columns = first..first + S::F32_LANES;
        let sums = (&mut even[columns.clone()], &mut odd[columns]);
        gather_part::<S, 1>(simd, values, (dim, first), p, sums);
        first += S::F32_LANES;
    }
    for i in first..dim {
        for (t, &p) in p.iter().enumerate() {
            let sum = if t % 2 == 0 {
                &mut even[i]
            } else {
                &mut odd[i]
            };
            *sum = p.mul_add(values[t * dim + i], *sum);
        }
    }
}

/// `VECTORS` vectors of columns from `first` on.
#[inline(always)]
fn gather_part<S: Simd, const VECTORS: usize>(
    simd: S,
    values: &[f32],
    (dim, first): (usize, usize),
    p: &[f32],
    (even, odd): (&mut [f32], &mut [f32]),
) {
    let (even, odd) = (S::as_mut_simd_f32s(even).0, S::as_mut_simd_f32s(odd).0);
    let mut sums: [[S::f32s; VECTORS]; 2] = [
        std::array::from_fn(|v| even[v]),
        std::array::from_fn(|v| odd[v]),
    ];
    let width = VECTORS * S::F32_LANES;
    let ahead = values.as_ptr().wrapping_add(AHEAD);
    let (whole_pairs, last) = p.as_chunks::<2>();
    let whole = whole_pairs.len();
    let pairs = values.chunks_exact(2 * dim).zip(whole_pairs);
    for (pair, (lines, p)) in pairs.enumerate() {
        for half in 0..2 {
            let at = half * dim + first;
            let line = S::as_simd_f32s(&lines[at..at + width]).0;
            let p = simd.splat_f32s(p[half]);
            for v in 0..VECTORS {
                sums[half][v] = simd.mul_add_f32s(p, line[v], sums[half][v]);
            }
            for i in (0..width).step_by(LANES) {
                prefetch(ahead.wrapping_add(2 * pair * dim + at + i));
            }
        }
    }
    if let [p] = last {
        let line = &values[(whole * 2) * dim + first..][..width];
        let (p, line) = (simd.splat_f32s(*p), S::as_simd_f32s(line).0);
        for v in 0..VECTORS {
            sums[0][v] = simd.mul_add_f32s(p, line[v], sums[0][v]);
        }
    }
    for v in 0..VECTORS {
        (even[v], odd[v]) = (sums[0][v], sums[1][v]);
    }
}
