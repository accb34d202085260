//! One block of the decoder backward: MLP, attention, projection, then the gradients of its parameters or its adapters.
//!
//! What is cheap (norms, activations, probabilities) is computed again from the tape. Sums over rows are cut by sizes
//! alone and added in a fixed order. Knows nothing of other blocks.

use crate::adapter::{Adapter, Linear, Net, Site};
use crate::config::Config;
use crate::decoder::{Tape, Workspace};
use crate::kernels::attention::{self, Kept};
use crate::kernels::gemm::{Mat, product};
use crate::kernels::rope::{self, Turn};
use crate::kernels::rows::{Shared, blocks, blocks_of, scratch, span};
use crate::kernels::{norm, simd, swiglu};
use crate::pass::{LayerTape, block_rows, each_head, heads};
use crate::weights::LayerView;
use rayon::prelude::*;

/// Output rows of a weight gradient computed together: enough parts for the threads, few enough times that the other
/// factor is laid out anew.
fn tile_rows(config: &Config) -> usize {
    if config.hidden_size <= 128 { 256 } else { 128 }
}

/// One block of a forward pass, on the way back.
pub(super) struct Back<'a> {
    pub net: Net<'a>,
    pub view: LayerView<'a>,
    pub tape: &'a Tape,
    pub kept: &'a LayerTape,
    /// The block's input.
    pub h: &'a [f32],
}

/// What the weight gradients of a block are products of, each [tokens, its width].
struct Factors {
    act: Vec<f32>,
    dgate_up: Vec<f32>,
    post: Vec<f32>,
    dmiddle: Vec<f32>,
    dqkv: Vec<f32>,
    input: Vec<f32>,
}

impl Back<'_> {
    /// From the gradient of the block's output to that of its input.
    pub fn layer(
        &self,
        layer: usize,
        dout: &[f32],
        grads: Option<&mut [f32]>,
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let config = self.net.config();
        let (rows, d) = (self.tape.tokens(), config.hidden_size);
        let mut factors = Factors {
            act: workspace.take(rows * config.intermediate_size),
            dgate_up: workspace.take(rows * 2 * config.intermediate_size),
            post: workspace.take(rows * d),
            dmiddle: workspace.take(rows * d),
            dqkv: workspace.take(rows * config.qkv_width()),
            input: workspace.take(rows * d),
        };
        let mut dmixed = workspace.take(rows * config.q_width());
        let post_norm = self.mlp(dout, &mut factors, &mut dmixed);
        self.attention(&dmixed, &mut factors.dqkv);
        workspace.give(dmixed);
        let mut below = workspace.take(rows * d);
        let sums = self.project(&mut factors, &mut below, workspace);
        match (grads, self.net.adapter) {
            (Some(grads), None) => {
                self.add_vectors(layer, &post_norm, &sums, grads);
                self.add_matrices(layer, dout, &factors, grads);
            }
            (Some(grads), Some(adapter)) => {
                self.add_pairs(adapter, layer, dout, &factors, grads, workspace);
            }
            (None, _) => {}
        }
        for buffer in [
            factors.act,
            factors.dgate_up,
            factors.post,
            factors.dmiddle,
            factors.dqkv,
            factors.input,
        ] {
            workspace.give(buffer);
        }
        below
    }

    /// Back through the MLP, its norm and the output projection. Returns the gradient of the norm's weight, block by
    /// block of rows.
    fn mlp(&self, dout: &[f32], factors: &mut Factors, dmixed: &mut [f32]) -> Vec<f32> {
        let config = self.net.config();
        let (d, f, q) = (
            config.hidden_size,
            config.intermediate_size,
            config.q_width(),
        );
        let rows = self.tape.tokens();
        let mut dnorm = vec![0.0; rows.div_ceil(block_rows(config)) * d];
        let norms = Shared::new(&mut dnorm);
        let (act, dgate_up) = (
            Shared::new(&mut factors.act),
            Shared::new(&mut factors.dgate_up),
        );
        let (post, dmiddle) = (
            Shared::new(&mut factors.post),
            Shared::new(&mut factors.dmiddle),
        );
        let dmixed = Shared::new(dmixed);
        blocks_of(self.tape.given..rows, block_rows(config), |block, r| {
            let n = r.len();
            // SAFETY: blocks of rows are disjoint.
            let (act, dgate_up, post, dmiddle, dmixed, dnorm) = unsafe {
                (
                    act.slice(span(&r, f)),
                    dgate_up.slice(span(&r, 2 * f)),
                    post.slice(span(&r, d)),
                    dmiddle.slice(span(&r, d)),
                    dmixed.slice(span(&r, q)),
                    norms.slice(block * d..(block + 1) * d),
                )
            };
            let dout = &dout[span(&r, d)];
            let middle = &self.kept.middle[span(&r, d)];
            let scales = &self.kept.scales_post[r.clone()];
            scratch(n * f, |dact| {
                let down = Mat::rows(self.view.down, f);
                product((n, f, d), 1.0, Mat::rows(dout, d), down, dact, f, false);
                self.back_pair(Linear::Down, dout, d, n, dact);
                let gate_up = &self.kept.gate_up[span(&r, 2 * f)];
                swiglu::backward(gate_up, dact, dgate_up, act, f);
            });
            norm::again(middle, self.view.post_norm, scales, post);
            dmiddle.copy_from_slice(dout);
            scratch(n * d, |dpost| {
                let matrix = Mat::rows(self.view.gate_up, d);
                let rows = Mat::rows(dgate_up, 2 * f);
                product((n, d, 2 * f), 1.0, rows, matrix, dpost, d, false);
                self.back_pair(Linear::Gate, dgate_up, 2 * f, n, dpost);
                self.back_pair(Linear::Up, &dgate_up[f..], 2 * f, n, dpost);
                norm::backward(middle, self.view.post_norm, scales, dpost, dmiddle, dnorm);
            });
            let o = Mat::rows(self.view.o, q);
            product((n, q, d), 1.0, Mat::rows(dmiddle, d), o, dmixed, q, false);
            self.back_pair(Linear::O, dmiddle, d, n, dmixed);
        });
        dnorm
    }

    /// dx += the part of a linear layer's input gradient that goes through its adapter.
    fn back_pair(&self, linear: Linear, dy: &[f32], stride: usize, rows: usize, dx: &mut [f32]) {
        if let Some(pair) = self.view.adapter.get(linear) {
            pair.backward(dy, stride, rows, dx);
        }
    }

    fn attention(&self, dmixed: &[f32], dqkv: &mut [f32]) {
        let shape = heads(self.net.config());
        let kept = Kept {
            qkv: &self.kept.qkv,
            out: &self.kept.mixed,
            lse: &self.kept.lse,
            dout: dmixed,
        };
        let dqkv = Shared::new(dqkv);
        each_head(&self.tape.starts, shape.kv_heads, |sequence, kv| {
            // SAFETY: every (sequence, head) has its own columns of its own rows.
            unsafe { attention::backward(shape, kept, sequence, self.tape.given, kv, dqkv) }
        });
    }

    /// Back through rotation, head norms, the q/k/v projection and the first norm. Returns the gradients of the first
    /// norm's weight, the biases and the two head norms, side by side, block by block of rows.
    fn project(&self, factors: &mut Factors, below: &mut [f32], workspace: &Workspace) -> Vec<f32> {
        let config = self.net.config();
        let (d, w) = (config.hidden_size, config.qkv_width());
        let rows = self.tape.tokens();
        let width = self.sums_width();
        let mut sums = vec![0.0; rows.div_ceil(block_rows(config)) * width];
        let all = Shared::new(&mut sums);
        let (dqkv, input) = (
            Shared::new(&mut factors.dqkv),
            Shared::new(&mut factors.input),
        );
        let (dmiddle, below) = (&factors.dmiddle, Shared::new(below));
        blocks_of(self.tape.given..rows, block_rows(config), |block, r| {
            // SAFETY: blocks of rows are disjoint.
            let (dqkv, input, below, sums) = unsafe {
                (
                    dqkv.slice(span(&r, w)),
                    input.slice(span(&r, d)),
                    below.slice(span(&r, d)),
                    all.slice(block * width..(block + 1) * width),
                )
            };
            let (dnorm, sums) = sums.split_at_mut(d);
            let turn = Turn {
                rope: &workspace.rope,
                positions: &self.tape.positions[r.clone()],
                head_dim: config.head_dim,
                stride: w,
            };
            self.unturn(dqkv, turn, r.clone(), sums);
            let h = &self.h[span(&r, d)];
            let scales = &self.kept.scales_in[r.clone()];
            norm::again(h, self.view.input_norm, scales, input);
            below.copy_from_slice(&dmiddle[span(&r, d)]);
            scratch(r.len() * d, |dinput| {
                let matrix = Mat::rows(self.view.qkv, d);
                let size = (r.len(), d, w);
                product(size, 1.0, Mat::rows(dqkv, w), matrix, dinput, d, false);
                let (q, kv) = (config.q_width(), config.kv_width());
                self.back_pair(Linear::Q, dqkv, w, r.len(), dinput);
                self.back_pair(Linear::K, &dqkv[q..], w, r.len(), dinput);
                self.back_pair(Linear::V, &dqkv[q + kv..], w, r.len(), dinput);
                norm::backward(h, self.view.input_norm, scales, dinput, below, dnorm);
            });
        });
        sums
    }

    /// Rotation and head norms backward, in place; sums of biases and head norms.
    fn unturn(&self, dqkv: &mut [f32], turn: Turn, r: std::ops::Range<usize>, sums: &mut [f32]) {
        let config = self.net.config();
        let (w, q, kv) = (config.qkv_width(), config.q_width(), config.kv_width());
        rope::backward(dqkv, turn, 0, config.heads);
        rope::backward(dqkv, turn, q, config.kv_heads);
        let (bias, norms) = sums.split_at_mut(self.bias_width());
        if !bias.is_empty() {
            simd::vector(
                #[inline(always)]
                || {
                    for row in dqkv.chunks_exact(w) {
                        simd::add(bias, row);
                    }
                },
            );
        }
        let eps = config.rms_norm_eps as f32;
        if let (Some(q_norm), Some(k_norm), Some(raw)) =
            (self.view.q_norm, self.view.k_norm, &self.kept.raw)
        {
            let raw = &raw[span(&r, w)];
            let (dq, dk) = norms.split_at_mut(config.head_dim);
            rope::norm_backward(dqkv, w, raw, w, 0..q, (q_norm, eps), dq);
            rope::norm_backward(dqkv, w, raw, w, q..q + kv, (k_norm, eps), dk);
        }
    }

    fn bias_width(&self) -> usize {
        self.view.qkv_bias.map_or(0, <[f32]>::len)
    }

    fn sums_width(&self) -> usize {
        let norms = self.view.q_norm.map_or(0, <[f32]>::len) * 2;
        self.net.config().hidden_size + self.bias_width() + norms
    }

    /// Adds up norms and biases over the blocks of rows.
    fn add_vectors(&self, layer: usize, post_norm: &[f32], sums: &[f32], grads: &mut [f32]) {
        let spans = &self.net.weights.layout.layers[layer];
        let d = self.net.config().hidden_size;
        for part in post_norm.chunks_exact(d) {
            simd::add(&mut grads[spans.post_norm.clone()], part);
        }
        let targets = [
            Some(&spans.input_norm),
            spans.qkv_bias.as_ref(),
            spans.q_norm.as_ref(),
            spans.k_norm.as_ref(),
        ];
        for mut part in sums.chunks_exact(self.sums_width()) {
            for range in targets.into_iter().flatten() {
                let (own, rest) = part.split_at(range.len());
                simd::add(&mut grads[range.clone()], own);
                part = rest;
            }
        }
    }

    /// dW += dy^T x of the four matrices of the block, tile by tile of output rows.
    fn add_matrices(&self, layer: usize, dout: &[f32], factors: &Factors, grads: &mut [f32]) {
        let config = self.net.config();
        let spans = &self.net.weights.layout.layers[layer];
        let (d, f, q) = (
            config.hidden_size,
            config.intermediate_size,
            config.q_width(),
        );
        let rows = self.tape.tokens();
        let products = [
            (
                &spans.gate_up,
                &factors.dgate_up[..],
                2 * f,
                &factors.post[..],
                d,
            ),
            (&spans.down, dout, d, &factors.act, f),
            (
                &spans.qkv,
                &factors.dqkv,
                config.qkv_width(),
                &factors.input,
                d,
            ),
            (&spans.o, &factors.dmiddle, d, &self.kept.mixed, q),
        ];
        let tile = tile_rows(config);
        let mut tiles = Vec::new();
        for (i, (_, _, out, _, _)) in products.iter().enumerate() {
            tiles.extend((0..*out).step_by(tile).map(|first| (i, first)));
        }
        let grads = Shared::new(grads);
        tiles.into_par_iter().for_each(|(i, first)| {
            let (range, dy, out, x, inner) = products[i];
            let n = tile.min(out - first);
            let start = range.start + first * inner;
            // SAFETY: tiles are disjoint.
            let to = unsafe { grads.slice(start..start + n * inner) };
            let dy = Mat::rows(&dy[first..], out).t();
            product(
                (n, inner, rows),
                1.0,
                dy,
                Mat::rows(x, inner),
                to,
                inner,
                true,
            );
        });
    }

    /// dB += dy^T (scale A x) and dA += (scale B^T dy)^T x of every adapted linear layer of the block.
    fn add_pairs(
        &self,
        adapter: &Adapter,
        layer: usize,
        dout: &[f32],
        factors: &Factors,
        grads: &mut [f32],
        workspace: &mut Workspace,
    ) {
        let (rows, rank) = (self.tape.tokens(), adapter.rank);
        let sites: Vec<(Linear, &Site)> = Linear::ALL
            .into_iter()
            .zip(&adapter.sites[layer])
            .filter_map(|(linear, site)| Some((linear, site.as_ref()?)))
            .collect();
        // Of every site: scale A x, then scale B^T dy, each [rows, rank].
        let mut inner = workspace.take(2 * sites.len() * rows * rank);
        let all = Shared::new(&mut inner);
        blocks(rows, block_rows(self.net.config()), |_, r| {
            for (i, &(linear, _)) in sites.iter().enumerate() {
                let pair = self.view.adapter.get(linear).expect("a site has a pair");
                let (dy, stride, x, width) = self.factor(linear, dout, factors);
                let at = |half: usize| {
                    let first = (2 * i + half) * rows * rank;
                    first + r.start * rank..first + r.end * rank
                };
                // SAFETY: blocks of rows are disjoint, and so are the halves of the sites.
                let (u, du) = unsafe { (all.slice(at(0)), all.slice(at(1))) };
                pair.down(&x[span(&r, width)], r.len(), u);
                pair.up(&dy[r.start * stride..], stride, r.len(), du);
            }
        });
        let grads = Shared::new(grads);
        (0..2 * sites.len()).into_par_iter().for_each(|item| {
            let (linear, site) = sites[item / 2];
            let (dy, stride, x, width) = self.factor(linear, dout, factors);
            let part = Mat::rows(&inner[item * rows * rank..(item + 1) * rows * rank], rank);
            // SAFETY: A and B of the sites are disjoint.
            match item % 2 {
                0 => unsafe {
                    let out = site.b.len() / rank;
                    let to = grads.slice(site.b.clone());
                    let dy = Mat::rows(dy, stride).t();
                    product((out, rank, rows), 1.0, dy, part, to, rank, true);
                },
                _ => unsafe {
                    let to = grads.slice(site.a.clone());
                    let x = Mat::rows(x, width);
                    product((rank, width, rows), 1.0, part.t(), x, to, width, true);
                },
            }
        });
        workspace.give(inner);
    }

    /// Of a linear layer: the gradient of its output with the numbers from row to row, and its input [rows, width].
    fn factor<'f>(
        &'f self,
        linear: Linear,
        dout: &'f [f32],
        factors: &'f Factors,
    ) -> (&'f [f32], usize, &'f [f32], usize) {
        let config = self.net.config();
        let (d, f) = (config.hidden_size, config.intermediate_size);
        let (w, q, kv) = (config.qkv_width(), config.q_width(), config.kv_width());
        match linear {
            Linear::Q => (&factors.dqkv, w, &factors.input, d),
            Linear::K => (&factors.dqkv[q..], w, &factors.input, d),
            Linear::V => (&factors.dqkv[q + kv..], w, &factors.input, d),
            Linear::O => (&factors.dmiddle, d, &self.kept.mixed, q),
            Linear::Gate => (&factors.dgate_up, 2 * f, &factors.post, d),
            Linear::Up => (&factors.dgate_up[f..], 2 * f, &factors.post, d),
            Linear::Down => (dout, d, &factors.act, f),
        }
    }
}
