//! What one block holds beyond its tape and its output while it computes: by our kernels, or by candle's plain operations in f32.

use super::buffers::{BF16, Buffer, By, Dims, F32, buffer};
use crate::device::attention::groups::{QUERIES, SCORES};
use base::device::Numerics;

/// Packed sequences that go through a model.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub model: &'a Dims,
    pub by: By,
    /// Of all, and of the longest sequence.
    pub tokens: u64,
    pub longest: u64,
    /// Products have adapters on them.
    pub adapted: bool,
}

impl Pass<'_> {
    /// What so many blocks keep.
    pub fn tape(&self, what: &'static str, blocks: u64) -> Buffer {
        Buffer {
            what,
            bytes: self.tokens * blocks * self.model.tape(self.by),
        }
    }

    /// So many states of every token.
    pub fn states(&self, what: &'static str, each: u64) -> Buffer {
        buffer(what, self.tokens * each * self.model.hidden)
    }

    /// A block forward.
    pub fn forward(&self) -> Buffer {
        let Pass {
            model,
            by,
            tokens,
            adapted,
            ..
        } = *self;
        let (d, f, b) = (model.hidden, model.intermediate, by.between());
        let bytes = if by.kernels {
            // Both normed rows live as long as the block does.
            let normed = 2 * b * d;
            let attention = match by.heads(model) {
                true => 0,
                false => self.heads_forward(),
            };
            // With an adapter the products of gate and up in f32, in pieces with what it adds, and together before they are rounded.
            let joined = match (adapted, by.numerics) {
                (false, _) => 0,
                (true, Numerics::F32) => 4 * F32 * f,
                (true, Numerics::Bf16) => 6 * F32 * f,
            };
            // SwiGLU's output, and the sum for the residual stream in f32, with an adapter in pieces too.
            let down = b * f + F32 * if adapted { 3 * d } else { d };
            tokens * normed + attention.max(tokens * joined.max(down))
        } else {
            // x and qkv before rotation live as long as the block does.
            let alive = tokens * (d + model.qkv());
            // Gate, up and three of the sigmoid.
            let mlp = F32 * tokens * (2 * d + 5 * f);
            F32 * alive + self.heads_forward().max(mlp) + self.widened()
        };
        let what = "a block forward";
        Buffer { what, bytes }
    }

    /// A block backward; `full`: its weights have gradients.
    pub fn backward(&self, full: bool) -> Buffer {
        let Pass {
            model,
            by,
            tokens,
            adapted,
            ..
        } = *self;
        let (d, f, b) = (model.hidden, model.intermediate, by.between());
        let bytes = if by.kernels {
            let rounded = match by.numerics {
                Numerics::F32 => 0,
                Numerics::Bf16 => BF16 * d,
            };
            // dx of a product of so many numbers: with an adapter in f32, with what that adds, and their sum.
            let dx = |n: u64, own: u64| if adapted { F32 * 3 * n } else { own * n };
            // The gradient of a matrix's output in one piece for each adapter.
            let piece = |n: u64| if adapted { b * n } else { 0 };
            let (q, qkv) = (model.q, model.qkv());
            let each = [
                // The gradient of SwiGLU's output; its output in that place with the gradient of gate and up; rows normed again and dx.
                rounded + dx(f, b),
                rounded + 3 * b * f,
                b * (2 * f + d) + piece(f).max(dx(d, F32)),
                // The gradient of heads; that of q, k, v; rows normed again and dx.
                rounded + dx(q, b),
                F32 * model.heads + b * (q + qkv),
                b * (q + qkv + d) + piece(q).max(dx(d, F32)),
            ];
            let plain = match by.heads(model) {
                true => 0,
                false => tokens * b * (q + qkv) + self.heads_backward(),
            };
            let most = each.into_iter().fold(0, u64::max);
            // d(out), which becomes d(middle).
            tokens * F32 * d + (tokens * most).max(plain)
        } else {
            // dh, d(middle) and rows that are normed again.
            let alive = 4 * tokens * d;
            // act, dact, gate, up, s, dup and three of the slope, the gradient of both; then that of a matrix, and its sum with what
            // was there, beside the gradient of gate and up and rows normed again.
            let matrices = if full { 2 * 2 * f * d } else { 0 };
            let mlp = (tokens * 11 * f).max(tokens * 3 * f + matrices);
            F32 * alive + self.heads_backward().max(F32 * mlp) + self.widened()
        };
        let what = "a block backward";
        Buffer { what, bytes }
    }

    /// Of every block of queries with the keys before it: `Padded::masks`. Kernels of heads need none.
    pub fn masks(&self) -> Buffer {
        let numbers = self.longest * (self.longest + self.queries().min(self.longest)) / 2;
        let heads = self.by.heads(self.model);
        buffer("masks", if heads { 0 } else { numbers })
    }

    /// Attention by plain operations, which compute in f32: queries before and after scaling, keys, values, outputs by block and together;
    /// scores, masked, exp and probabilities of a block of queries.
    fn heads_forward(&self) -> u64 {
        let model = self.model;
        let numbers = self.tokens * (model.qkv() + 3 * model.q + 2 * model.kv);
        F32 * (numbers + 4 * self.scores()) + self.wide()
    }

    /// As forward, with the gradients of queries, keys and values, their sums, and five of the scores.
    fn heads_backward(&self) -> u64 {
        let model = self.model;
        let numbers = self.tokens * (3 * model.qkv() + 5 * model.q + 6 * model.kv);
        F32 * (numbers + 5 * self.scores()) + self.wide()
    }

    /// q, k and v in f32, where they are rounded.
    fn wide(&self) -> u64 {
        match self.by.numerics {
            Numerics::F32 => 0,
            Numerics::Bf16 => F32 * self.tokens * self.model.qkv(),
        }
    }

    /// candle's CPU multiplies no bf16: the largest matrix is in f32 for as long as it is read.
    fn widened(&self) -> u64 {
        match self.by.numerics {
            Numerics::F32 => 0,
            Numerics::Bf16 => F32 * self.model.largest(),
        }
    }

    /// Of one block of queries of all heads, with every key: `View::block`.
    fn scores(&self) -> u64 {
        self.tokens * self.model.heads * self.queries().min(self.longest)
    }

    /// Queries of a block: `Padded::queries`.
    fn queries(&self) -> u64 {
        let most = SCORES as u64 / (self.model.heads * self.tokens).max(1);
        (QUERIES as u64).min(most).max(1)
    }
}
