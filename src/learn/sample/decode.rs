//! One token a row through the whole decoder on the calling thread, with the keys and values of what came before.
//!
//! Keys lie transposed, [head_dim, positions], so that scores are computed side by side; values are [positions,
//! head_dim]. A row's numbers depend on its own tokens only. Knows nothing of requests or of choosing tokens.

use crate::learn::config::Head;
use crate::learn::kernels::rope::{self, Rope, Turn};
use crate::learn::kernels::simd::{exp, max, vector};
use crate::learn::kernels::{norm, swiglu};
use crate::learn::sample::panels::{Into, Panels};
use crate::learn::weights::Weights;
use anyhow::{Result, ensure};

/// Positions that are scored together.
const LANES: usize = 16;

/// The weights laid out for decoding. Holds a second copy of every matrix.
pub struct Decoder<'a> {
    weights: &'a Weights,
    layers: Vec<Layer>,
    head: Panels,
    rope: Rope,
}

struct Layer {
    qkv: Panels,
    o: Panels,
    gate_up: Panels,
    down: Panels,
}

/// Keys and values of one sequence, or of one part of it, for every block.
#[derive(Clone, Debug)]
pub struct Cache {
    /// [layers, kv_heads, head_dim, capacity].
    keys: Vec<f32>,
    /// [layers, kv_heads, capacity, head_dim].
    values: Vec<f32>,
    capacity: usize,
    pub len: usize,
}

/// Buffers of one thread, that grow to the largest number of rows.
#[derive(Default)]
pub struct Buffers {
    x: Vec<f32>,
    normed: Vec<f32>,
    scales: Vec<f32>,
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    gate_up: Vec<f32>,
    act: Vec<f32>,
    scores: Vec<f32>,
}

impl<'a> Decoder<'a> {
    /// `length` is the longest sequence that will be decoded. Fails where the model has no language head.
    pub fn new(weights: &'a Weights, length: usize) -> Result<Decoder<'a>> {
        let config = &weights.config;
        ensure!(
            !matches!(config.head, Head::Score { .. }),
            "a sequence classifier has no language head to sample from"
        );
        let (d, f) = (config.hidden_size, config.intermediate_size);
        let layers = (0..config.layers)
            .map(|layer| {
                let view = weights.layer(layer);
                Layer {
                    qkv: Panels::new(view.qkv, config.qkv_width(), view.qkv_bias),
                    o: Panels::new(view.o, d, None),
                    gate_up: Panels::new(view.gate_up, 2 * f, None),
                    down: Panels::new(view.down, d, None),
                }
            })
            .collect();
        let mut rope = Rope::default();
        rope.reach(config, length);
        Ok(Decoder {
            weights,
            layers,
            head: Panels::new(weights.head(), config.vocab_size, None),
            rope,
        })
    }

    pub fn vocabulary(&self) -> usize {
        self.weights.config.vocab_size
    }

    pub fn cache(&self, capacity: usize) -> Cache {
        let config = &self.weights.config;
        let capacity = capacity.next_multiple_of(LANES);
        let size = config.layers * config.kv_width() * capacity;
        Cache {
            keys: vec![0.0; size],
            values: vec![0.0; size],
            capacity,
            len: 0,
        }
    }

    /// Fills `cache` with the prompt and writes the logits that follow it [vocabulary].
    pub fn prefill(
        &self,
        prompt: &[u32],
        cache: &mut Cache,
        buffers: &mut Buffers,
        logits: &mut [f32],
    ) {
        let positions: Vec<u32> = (0..prompt.len() as u32).collect();
        self.run(prompt, &positions, buffers, |decoder, layer, buffers| {
            let (w, q) = (
                decoder.weights.config.qkv_width(),
                decoder.weights.config.q_width(),
            );
            let rows = buffers
                .qkv
                .chunks_exact(w)
                .zip(buffers.mixed.chunks_exact_mut(q));
            for (position, (qkv, mixed)) in rows.enumerate() {
                cache.put(decoder.weights, layer, position, qkv);
                let seen = [(&*cache, position + 1)];
                decoder.attend(layer, &seen, qkv, mixed, &mut buffers.scores);
            }
        });
        cache.len = prompt.len();
        let d = self.weights.config.hidden_size;
        let last = (prompt.len() - 1) * d..prompt.len() * d;
        buffers.x.copy_within(last, 0);
        self.logits(0..1, buffers, logits);
    }

    /// One more token for every row: `(token, prompt, own)`, where `own` follows the prompt and receives the token's
    /// keys and values. Then `logits` gives what follows each row.
    pub fn step(&self, rows: &mut [(u32, &Cache, &mut Cache)], buffers: &mut Buffers) {
        let tokens: Vec<u32> = rows.iter().map(|row| row.0).collect();
        let positions: Vec<u32> = rows
            .iter()
            .map(|row| (row.1.len + row.2.len) as u32)
            .collect();
        self.run(&tokens, &positions, buffers, |decoder, layer, buffers| {
            let (w, q) = (
                decoder.weights.config.qkv_width(),
                decoder.weights.config.q_width(),
            );
            let lines = buffers
                .qkv
                .chunks_exact(w)
                .zip(buffers.mixed.chunks_exact_mut(q));
            for ((_, prompt, own), (qkv, mixed)) in rows.iter_mut().zip(lines) {
                own.put(decoder.weights, layer, own.len, qkv);
                let seen = [(*prompt, prompt.len), (&**own, own.len + 1)];
                decoder.attend(layer, &seen, qkv, mixed, &mut buffers.scores);
            }
        });
        for (_, _, own) in rows {
            own.len += 1;
        }
    }

    /// Logits [rows, vocabulary] of these rows of the last `step`.
    pub fn logits(&self, rows: std::ops::Range<usize>, buffers: &mut Buffers, logits: &mut [f32]) {
        let config = &self.weights.config;
        let (d, n) = (config.hidden_size, rows.len());
        norm::forward(
            &buffers.x[rows.start * d..rows.end * d],
            self.weights.final_norm(),
            config.rms_norm_eps as f32,
            &mut buffers.normed[..n * d],
            &mut buffers.scales[..n],
        );
        self.head
            .apply(&buffers.normed[..n * d], logits, Into::Replace);
    }

    /// All blocks for these tokens; `mix` does the attention of a layer, from `qkv` to `mixed`. Leaves the hidden
    /// state before the final norm in `buffers.x`.
    fn run(
        &self,
        tokens: &[u32],
        positions: &[u32],
        buffers: &mut Buffers,
        mut mix: impl FnMut(&Decoder, usize, &mut Buffers),
    ) {
        let config = &self.weights.config;
        let (d, f, eps) = (
            config.hidden_size,
            config.intermediate_size,
            config.rms_norm_eps as f32,
        );
        buffers.size(config, tokens.len());
        let embed = self.weights.embed();
        for (x, &token) in buffers.x.chunks_exact_mut(d).zip(tokens) {
            x.copy_from_slice(&embed[token as usize * d..(token as usize + 1) * d]);
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let view = self.weights.layer(i);
            let b = &mut *buffers;
            norm::forward(&b.x, view.input_norm, eps, &mut b.normed, &mut b.scales);
            layer.qkv.apply(&b.normed, &mut b.qkv, Into::Replace);
            let turn = Turn {
                rope: &self.rope,
                positions,
                head_dim: config.head_dim,
                stride: config.qkv_width(),
            };
            let (q, k) = (view.q_norm.map(|w| (w, eps)), view.k_norm.map(|w| (w, eps)));
            rope::forward(&mut b.qkv, turn, 0, config.heads, q);
            rope::forward(&mut b.qkv, turn, config.q_width(), config.kv_heads, k);
            mix(self, i, b);
            layer.o.apply(&b.mixed, &mut b.x, Into::Add);
            norm::forward(&b.x, view.post_norm, eps, &mut b.normed, &mut b.scales);
            layer
                .gate_up
                .apply(&b.normed, &mut b.gate_up, Into::Replace);
            swiglu::forward(&b.gate_up, &mut b.act, f);
            layer.down.apply(&b.act, &mut b.x, Into::Add);
        }
    }

    /// Attention of one row over the parts of its sequence, each with how many of its positions are seen.
    fn attend(
        &self,
        layer: usize,
        seen: &[(&Cache, usize)],
        qkv: &[f32],
        mixed: &mut [f32],
        scores: &mut Vec<f32>,
    ) {
        let config = &self.weights.config;
        let (dim, group) = (config.head_dim, config.heads / config.kv_heads);
        let scale = 1.0 / (dim as f32).sqrt();
        let total: usize = seen.iter().map(|&(_, n)| n).sum();
        // Room for the last block of every part to run over.
        scores.resize(total + seen.len() * LANES, 0.0);
        let heads = qkv.chunks_exact(dim).zip(mixed.chunks_exact_mut(dim));
        for (head, (query, out)) in heads.enumerate() {
            let kv = layer * config.kv_heads + head / group;
            let scores = &mut *scores;
            vector(
                #[inline(always)]
                move || {
                    let mut at = 0;
                    for &(cache, n) in seen {
                        cache.score(kv, query, n, scale, &mut scores[at..]);
                        at += n;
                    }
                    let inverse = 1.0 / exponentials(&mut scores[..total]);
                    out.fill(0.0);
                    let mut at = 0;
                    for &(cache, n) in seen {
                        cache.gather(kv, &scores[at..at + n], out);
                        at += n;
                    }
                    for x in out {
                        *x *= inverse;
                    }
                },
            );
        }
    }
}

impl Cache {
    fn put(&mut self, weights: &Weights, layer: usize, position: usize, qkv: &[f32]) {
        let config = &weights.config;
        let (dim, width) = (config.head_dim, config.kv_width());
        assert!(position < self.capacity, "a cache has room for every token");
        let (keys, values) = qkv[config.q_width()..].split_at(width);
        for kv in 0..config.kv_heads {
            let base = (layer * config.kv_heads + kv) * dim * self.capacity;
            for (i, &key) in keys[kv * dim..(kv + 1) * dim].iter().enumerate() {
                self.keys[base + i * self.capacity + position] = key;
            }
            let at = base + position * dim;
            self.values[at..at + dim].copy_from_slice(&values[kv * dim..(kv + 1) * dim]);
        }
    }

    /// scores = scale q·k for the first `n` positions; up to `LANES` - 1 numbers after them are overwritten.
    #[inline(always)]
    fn score(&self, kv: usize, query: &[f32], n: usize, scale: f32, scores: &mut [f32]) {
        let size = query.len() * self.capacity;
        let keys = &self.keys[kv * size..(kv + 1) * size];
        for first in (0..n).step_by(LANES) {
            let mut sums = [0.0f32; LANES];
            for (&q, line) in query.iter().zip(keys.chunks_exact(self.capacity)) {
                let line: &[f32; LANES] = line[first..first + LANES]
                    .try_into()
                    .expect("the slice has this length");
                for i in 0..LANES {
                    sums[i] = q.mul_add(line[i], sums[i]);
                }
            }
            for i in 0..LANES {
                scores[first + i] = sums[i] * scale;
            }
        }
    }

    /// out += sum_t p_t v_t over the first positions.
    #[inline(always)]
    fn gather(&self, kv: usize, p: &[f32], out: &mut [f32]) {
        const PART: usize = 8;
        let dim = out.len();
        let size = dim * self.capacity;
        let values = &self.values[kv * size..kv * size + p.len() * dim];
        let (parts, tail) = out.as_chunks_mut::<PART>();
        for (i, out) in parts.iter_mut().enumerate() {
            let mut sums = *out;
            for (&p, line) in p.iter().zip(values.chunks_exact(dim)) {
                let line: &[f32; PART] = line[i * PART..(i + 1) * PART]
                    .try_into()
                    .expect("the slice has this length");
                for j in 0..PART {
                    sums[j] = p.mul_add(line[j], sums[j]);
                }
            }
            *out = sums;
        }
        let first = parts.len() * PART;
        for (&p, line) in p.iter().zip(values.chunks_exact(dim)) {
            for (out, &v) in tail.iter_mut().zip(&line[first..]) {
                *out = p.mul_add(v, *out);
            }
        }
    }
}

/// Replaces scores by exp(score - largest) and returns their sum.
#[inline(always)]
fn exponentials(scores: &mut [f32]) -> f32 {
    use crate::learn::kernels::simd::fold;
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

impl Buffers {
    fn size(&mut self, config: &crate::learn::config::Config, rows: usize) {
        let (d, f) = (config.hidden_size, config.intermediate_size);
        self.x.resize(rows * d, 0.0);
        self.normed.resize(rows * d, 0.0);
        self.scales.resize(rows, 0.0);
        self.qkv.resize(rows * config.qkv_width(), 0.0);
        self.mixed.resize(rows * config.q_width(), 0.0);
        self.gate_up.resize(rows * 2 * f, 0.0);
        self.act.resize(rows * f, 0.0);
    }
}
