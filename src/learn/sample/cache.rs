//! Keys and values of decoded tokens, and one query against them.
//!
//! Keys lie in blocks of positions, each transposed, so that the scores of a block are computed side by side. The
//! functions marked `inline(always)` are meant to be called inside `simd::vector`.

use crate::learn::kernels::simd::{LANES, exp, fold, max};

/// Keys and values of one sequence, or of one part of it, for every block.
#[derive(Clone, Debug)]
pub struct Cache {
    /// [layers, kv_heads, capacity / LANES, head_dim, LANES].
    keys: Vec<f32>,
    /// [layers, kv_heads, capacity, head_dim].
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

    /// Stores one position of a layer; `line` has its keys, then its values.
    pub fn put(&mut self, layer: usize, position: usize, line: &[f32]) {
        assert!(position < self.capacity, "a cache has room for every token");
        let dim = self.head_dim;
        let (keys, values) = line.split_at(self.kv_heads * dim);
        for kv in 0..self.kv_heads {
            let base = (layer * self.kv_heads + kv) * dim * self.capacity;
            let block = base + position / LANES * dim * LANES;
            let lines = self.keys[block..block + dim * LANES].chunks_exact_mut(LANES);
            for (line, &key) in lines.zip(&keys[kv * dim..(kv + 1) * dim]) {
                line[position % LANES] = key;
            }
            let at = base + position * dim;
            self.values[at..at + dim].copy_from_slice(&values[kv * dim..(kv + 1) * dim]);
        }
    }

    /// `kv` counts key/value heads through all layers. scores = scale q·k for the first `n` positions; up to `LANES` - 1 numbers after them are overwritten.
    #[inline(always)]
    pub fn score(&self, kv: usize, query: &[f32], n: usize, scale: f32, scores: &mut [f32]) {
        let block = query.len() * LANES;
        let base = kv * query.len() * self.capacity;
        let keys = &self.keys[base..base + n.div_ceil(LANES) * block];
        let mut pairs = keys.chunks_exact(2 * block);
        let mut scores = scores.chunks_exact_mut(LANES);
        // Two blocks at once keep more sums under way.
        for pair in &mut pairs {
            let (left, right) = pair.split_at(block);
            let (left, right) = (left.as_chunks::<LANES>().0, right.as_chunks::<LANES>().0);
            let (mut first, mut second) = ([0.0f32; LANES], [0.0f32; LANES]);
            for ((&q, left), right) in query.iter().zip(left).zip(right) {
                for i in 0..LANES {
                    first[i] = q.mul_add(left[i], first[i]);
                    second[i] = q.mul_add(right[i], second[i]);
                }
            }
            for sums in [first, second] {
                let out = scores.next().expect("scores have room for whole blocks");
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = sum * scale;
                }
            }
        }
        for last in pairs.remainder().chunks_exact(block) {
            let mut sums = [0.0f32; LANES];
            for (&q, line) in query.iter().zip(last.as_chunks::<LANES>().0) {
                for i in 0..LANES {
                    sums[i] = q.mul_add(line[i], sums[i]);
                }
            }
            let out = scores.next().expect("scores have room for whole blocks");
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum * scale;
            }
        }
    }

    /// out += sum_t p_t v_t over the first positions.
    #[inline(always)]
    pub fn gather(&self, kv: usize, p: &[f32], out: &mut [f32]) {
        let dim = out.len();
        let base = kv * dim * self.capacity;
        let values = &self.values[base..base + p.len() * dim];
        let mut first = 0;
        while first + 32 <= dim {
            gather_part::<32>(values, p, first, out);
            first += 32;
        }
        if first + 16 <= dim {
            gather_part::<16>(values, p, first, out);
            first += 16;
        }
        if first + 8 <= dim {
            gather_part::<8>(values, p, first, out);
            first += 8;
        }
        for i in first..dim {
            gather_part::<1>(values, p, i, out);
        }
    }
}

/// `N` columns of `out += p values`: sums over even and odd positions apart, then together.
#[inline(always)]
fn gather_part<const N: usize>(values: &[f32], p: &[f32], first: usize, out: &mut [f32]) {
    let dim = out.len();
    let (mut even, mut odd) = ([0.0f32; N], [0.0f32; N]);
    let (pairs, last) = p.as_chunks::<2>();
    for (p, lines) in pairs.iter().zip(values.chunks_exact(2 * dim)) {
        let a = &lines[first..first + N];
        let b = &lines[dim + first..dim + first + N];
        for i in 0..N {
            even[i] = p[0].mul_add(a[i], even[i]);
            odd[i] = p[1].mul_add(b[i], odd[i]);
        }
    }
    if let [p] = last {
        let line = &values[values.len() - dim + first..][..N];
        for i in 0..N {
            even[i] = p.mul_add(line[i], even[i]);
        }
    }
    for (i, out) in out[first..first + N].iter_mut().enumerate() {
        *out += even[i] + odd[i];
    }
}

/// Replaces scores by exp(score - largest) and returns their sum.
#[inline(always)]
pub fn exponentials(scores: &mut [f32]) -> f32 {
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
