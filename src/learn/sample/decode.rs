//! Tokens through the whole decoder, with the keys and values of what came before: one a row for sampling, or several that go
//! on from a shared beginning. A team of threads may share the products; the rest is the calling thread's.
//!
//! A row's numbers depend on its own tokens, and on how they are divided between caches, only. Knows nothing of requests or of
//! choosing tokens.

use crate::adapter::Net;
use crate::config::Config;
use crate::kernels::rope::{self, Rope, Turn};
use crate::kernels::rows::span;
use crate::kernels::{norm, swiglu};
use crate::sample::attend::Attend;
use crate::sample::cache::Cache;
use crate::sample::in_place::InPlace;
use crate::sample::panels::{Into, Panels};
use crate::sample::team::Team;
use crate::weights::Weights;
use anyhow::Result;
use std::ops::Range;

/// The weights laid out for decoding.
pub struct Decoder<'a> {
    weights: &'a Weights,
    layers: Vec<Layer<'a>>,
    head: Panels<'a>,
    /// Embeddings are looked up in the head's panels: there is no other table.
    in_head: bool,
    rope: Rope,
}

struct Layer<'a> {
    qkv: Panels<'a>,
    o: Panels<'a>,
    gate_up: Panels<'a>,
    down: Panels<'a>,
}

/// Tokens that follow what is cached.
pub(crate) struct Tail<'t> {
    /// The first so many positions of a cache that others read as well.
    pub shared: Option<(&'t Cache, usize)>,
    /// Goes on behind the shared positions, and receives the tokens' keys and values behind those that it has.
    pub own: &'t mut Cache,
    pub tokens: &'t [u32],
    /// Logits are wanted behind so many of the last tokens; of the others nothing is but keys and values.
    pub kept: usize,
}

impl Tail<'_> {
    /// The position of its first token.
    fn first(&self) -> usize {
        self.shared.map_or(0, |(_, seen)| seen) + self.own.len
    }
}

/// A thread's helpers, and its buffers, that grow to the largest number of rows.
pub(crate) struct Buffers<'a> {
    team: &'a Team<'a>,
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
    /// With a second copy of every matrix. `length` is the longest sequence that will be decoded. Fails where the model has no
    /// language head.
    pub fn new(net: Net<'a>, length: usize) -> Result<Decoder<'a>> {
        let weights = net.weights;
        let config = &weights.config;
        config.expect_language_head()?;
        let (d, f) = (config.hidden_size, config.intermediate_size);
        let layers = (0..config.layers)
            .map(|layer| {
                let bias = weights.layer(layer).qkv_bias;
                let own = net.matrices(layer);
                Layer {
                    qkv: Panels::new(&own.qkv, config.qkv_width(), bias),
                    o: Panels::new(&own.o, d, None),
                    gate_up: Panels::new(&own.gate_up, 2 * f, None),
                    down: Panels::new(&own.down, d, None),
                }
            })
            .collect();
        Ok(Decoder {
            weights,
            layers,
            head: Panels::new(weights.head(), config.vocab_size, None),
            in_head: false,
            rope: rope(config, length),
        })
    }

    /// Without a copy. A model with a language head.
    pub fn of(weights: &'a InPlace, length: usize) -> Decoder<'a> {
        let config = &weights.config;
        let (d, f) = (config.hidden_size, config.intermediate_size);
        let layers = (0..config.layers)
            .map(|layer| {
                let view = weights.layer(layer);
                Layer {
                    qkv: Panels::laid_out(view.qkv, config.qkv_width(), view.qkv_bias),
                    o: Panels::laid_out(view.o, d, None),
                    gate_up: Panels::laid_out(view.gate_up, 2 * f, None),
                    down: Panels::laid_out(view.down, d, None),
                }
            })
            .collect();
        Decoder {
            weights,
            layers,
            head: Panels::laid_out(weights.head(), config.vocab_size, None),
            in_head: weights.tied(),
            rope: rope(config, length),
        }
    }

    pub fn config(&self) -> &Config {
        &self.weights.config
    }

    pub fn vocabulary(&self) -> usize {
        self.weights.config.vocab_size
    }

    /// Rows that a thread best takes together. Every step reads all weights and the keys and values of every row: the
    /// weights should serve many rows, but what the rows hold should stay near the processor. Measured: with 4 MB, or
    /// twice the weights where these are larger, small models ran up to 1.7 times as fast as with 128 rows.
    pub(crate) fn fitting_rows(&self, prompt: usize, new_tokens: usize) -> usize {
        let config = &self.weights.config;
        let row = 2 * config.layers * config.kv_width() * (prompt + new_tokens);
        let room = (1 << 20).max(2 * self.weights.data.len());
        // A multiple of the rows of a tile.
        (room / row).max(1).next_multiple_of(12)
    }

    pub fn cache(&self, capacity: usize) -> Cache {
        let config = &self.weights.config;
        Cache::new(config.layers, config.kv_heads, config.head_dim, capacity)
    }

    /// From now on sequences may be this long.
    pub fn reach(&mut self, length: usize) {
        self.rope.reach(&self.weights.config, length);
    }

    /// All tokens of every tail. Then `logits` gives what follows those that are kept, tail by tail.
    pub fn extend(&self, tails: &mut [Tail], buffers: &mut Buffers) {
        let (mut tokens, mut positions, mut kept) = (vec![], vec![], vec![]);
        for tail in tails.iter() {
            let first = tail.first() as u32;
            positions.extend(first..first + tail.tokens.len() as u32);
            tokens.extend_from_slice(tail.tokens);
            kept.push(tokens.len() - tail.kept..tokens.len());
        }
        let config = &self.weights.config;
        let (w, q) = (config.qkv_width(), config.q_width());
        self.run(&tokens, &positions, &kept, buffers, |decoder, layer, b| {
            let last = layer + 1 == decoder.layers.len();
            let mut first = 0;
            for tail in tails.iter_mut() {
                let n = tail.tokens.len();
                let qkv = &b.qkv[first * w..(first + n) * w];
                let mixed = &mut b.mixed[first * q..(first + n) * q];
                first += n;
                for (i, line) in qkv.chunks_exact(w).enumerate() {
                    tail.own.put(layer, tail.own.len + i, &line[q..]);
                }
                let unasked = if last { n - tail.kept } else { 0 };
                decoder.attend_all(layer, tail, unasked, qkv, mixed, &mut b.scores);
            }
        });
        for tail in tails {
            tail.own.len += tail.tokens.len();
        }
    }

    /// One more token for every row: `(token, prompt, own)`, where `own` follows the prompt and receives the token's
    /// keys and values. Then `logits` gives what follows each row.
    pub fn step(&self, rows: &mut [(u32, &Cache, &mut Cache)], buffers: &mut Buffers) {
        let tokens: Vec<u32> = rows.iter().map(|row| row.0).collect();
        let positions: Vec<u32> = rows
            .iter()
            .map(|row| (row.1.len + row.2.len) as u32)
            .collect();
        self.run(
            &tokens,
            &positions,
            std::slice::from_ref(&(0..tokens.len())),
            buffers,
            |decoder, layer, buffers| {
                let (w, q) = (
                    decoder.weights.config.qkv_width(),
                    decoder.weights.config.q_width(),
                );
                let lines = buffers
                    .qkv
                    .chunks_exact(w)
                    .zip(buffers.mixed.chunks_exact_mut(q));
                for ((_, prompt, own), (qkv, mixed)) in rows.iter_mut().zip(lines) {
                    own.put(layer, own.len, &qkv[q..]);
                    let seen = [(*prompt, prompt.len), (&**own, own.len + 1)];
                    decoder.attend::<1>(layer, &seen, qkv, mixed, &mut buffers.scores);
                }
            },
        );
        for (_, _, own) in rows {
            own.len += 1;
        }
    }

    /// Logits [rows, vocabulary] of these rows of the last `step` or `extend`.
    pub fn logits(&self, rows: Range<usize>, buffers: &mut Buffers, logits: &mut [f32]) {
        let config = &self.weights.config;
        let (d, n) = (config.hidden_size, rows.len());
        norm::forward(
            &buffers.x[rows.start * d..rows.end * d],
            self.weights.final_norm(),
            config.rms_norm_eps as f32,
            &mut buffers.normed[..n * d],
            &mut buffers.scales[..n],
        );
        self.head.apply(
            buffers.team,
            &buffers.normed[..n * d],
            logits,
            Into::Replace,
        );
    }

    /// All blocks for these tokens; `mix` does the attention of a layer, from `qkv` to `mixed`. Leaves the hidden
    /// state before the final norm of the `kept` tokens in `buffers.x`: of the others nobody asks for more than the last
    /// layer's keys and values.
    fn run(
        &self,
        tokens: &[u32],
        positions: &[u32],
        kept: &[Range<usize>],
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
            let token = token as usize;
            match self.in_head {
                true => self.head.row(token, x),
                false => x.copy_from_slice(&embed[token * d..(token + 1) * d]),
            }
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let view = self.weights.layer(i);
            let b = &mut *buffers;
            norm::forward(&b.x, view.input_norm, eps, &mut b.normed, &mut b.scales);
            layer
                .qkv
                .apply(b.team, &b.normed, &mut b.qkv, Into::Replace);
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
            if i + 1 == self.layers.len() {
                b.keep(config, kept);
            }
            layer.o.apply(b.team, &b.mixed, &mut b.x, Into::Add);
            norm::forward(&b.x, view.post_norm, eps, &mut b.normed, &mut b.scales);
            layer
                .gate_up
                .apply(b.team, &b.normed, &mut b.gate_up, Into::Replace);
            swiglu::forward(&b.gate_up, &mut b.act, f);
            layer.down.apply(b.team, &b.act, &mut b.x, Into::Add);
        }
    }

    /// Attention of a tail's tokens from number `from` on, whose keys and values its cache holds already.
    fn attend_all(
        &self,
        layer: usize,
        tail: &Tail,
        from: usize,
        qkv: &[f32],
        mixed: &mut [f32],
        room: &mut Vec<f32>,
    ) {
        let config = &self.weights.config;
        let (w, q, n) = (config.qkv_width(), config.q_width(), tail.tokens.len());
        let mut i = from;
        while i < n {
            let rows = if n - i >= TOGETHER { TOGETHER } else { 1 };
            let (qkv, mixed) = (&qkv[i * w..], &mut mixed[i * q..(i + rows) * q]);
            let own = (&*tail.own, tail.own.len + i + 1);
            let both = tail.shared.map(|shared| [shared, own]);
            let seen = both
                .as_ref()
                .map_or(std::slice::from_ref(&own), |both| both);
            match rows {
                1 => self.attend::<1>(layer, seen, qkv, mixed, room),
                _ => self.attend::<TOGETHER>(layer, seen, qkv, mixed, room),
            }
            i += rows;
        }
    }

    /// Attention of rows that follow each other over the parts of their sequence, each with how many of its positions the first
    /// row sees.
    fn attend<const ROWS: usize>(
        &self,
        layer: usize,
        seen: &[(&Cache, usize)],
        qkv: &[f32],
        mixed: &mut [f32],
        room: &mut Vec<f32>,
    ) {
        let config = &self.weights.config;
        let (w, q) = (config.qkv_width(), config.q_width());
        let attend = Attend::<ROWS> {
            scale: 1.0 / (config.head_dim as f32).sqrt(),
            layer,
            seen,
            queries: std::array::from_fn(|r| &qkv[r * w..r * w + q]),
            out: mixed,
            heads: config.heads,
            room,
        };
        attend.run();
    }
}

fn rope(config: &Config, length: usize) -> Rope {
    let mut rope = Rope::default();
    rope.reach(config, length);
    rope
}

/// Rows of a sequence whose attention is computed together.
const TOGETHER: usize = 4;

impl<'a> Buffers<'a> {
    pub fn new(team: &'a Team<'a>) -> Buffers<'a> {
        Buffers {
            team,
            x: vec![],
            normed: vec![],
            scales: vec![],
            qkv: vec![],
            mixed: vec![],
            gate_up: vec![],
            act: vec![],
            scores: vec![],
        }
    }

    fn size(&mut self, config: &Config, rows: usize) {
        let (d, f) = (config.hidden_size, config.intermediate_size);
        self.x.resize(rows * d, 0.0);
        self.normed.resize(rows * d, 0.0);
        self.scales.resize(rows, 0.0);
        self.qkv.resize(rows * config.qkv_width(), 0.0);
        self.mixed.resize(rows * config.q_width(), 0.0);
        self.gate_up.resize(rows * 2 * f, 0.0);
        self.act.resize(rows * f, 0.0);
    }

    /// Leaves these rows, which ascend, of what is needed after the attention.
    fn keep(&mut self, config: &Config, kept: &[Range<usize>]) {
        let rows = kept.iter().map(Range::len).sum();
        for (data, width) in [
            (&mut self.x, config.hidden_size),
            (&mut self.mixed, config.q_width()),
        ] {
            let mut to = 0;
            for run in kept {
                data.copy_within(span(run, width), to);
                to += run.len() * width;
            }
            data.truncate(to);
        }
        self.normed.truncate(rows * config.hidden_size);
        self.scales.truncate(rows);
        self.gate_up.truncate(rows * 2 * config.intermediate_size);
        self.act.truncate(rows * config.intermediate_size);
    }
}
