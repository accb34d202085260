//! What one block holds beyond its tape and its output while it computes: by our kernels, or by candle's plain operations in f32.

use super::buffers::{BF16, Buffer, By, Dims, F32, buffer};
use crate::device::attention::groups::{QUERIES, SCORES};
use base::device::Numerics;

/// Forward.
pub(super) fn block_forward(
    model: &Dims,
    by: By,
    tokens: u64,
    longest: u64,
    adapted: bool,
) -> Buffer {
    let what = "a block forward";
    let (d, f, b) = (model.hidden, model.intermediate, by.between());
    if by.kernels {
        // Both normed rows, SwiGLU's output, and the sum for the residual stream in f32.
        let own = 2 * b * d + b * f + F32 * d;
        // With an adapter gate and up in f32, as they are and in pieces with what the adapter adds.
        let pairs = if adapted { F32 * 5 * f } else { 0 };
        let bytes = tokens * (own + pairs);
        return Buffer { what, bytes };
    }
    // x and qkv before rotation live as long as the block does.
    let alive = tokens * (d + model.qkv());
    // Queries before and after scaling, keys, values, outputs by block and together; scores, masked, exp and probabilities of a block
    // of queries.
    let attention =
        tokens * (model.qkv() + 3 * model.q + 2 * model.kv) + 4 * scores(model, tokens, longest);
    // Gate, up and three of the sigmoid.
    let mlp = tokens * (2 * d + 5 * f);
    widened(buffer(what, alive + attention.max(mlp)), model, by)
}

/// Backward.
pub(super) fn block_backward(
    model: &Dims,
    by: By,
    tokens: u64,
    longest: u64,
    full: bool,
) -> Buffer {
    let what = "a block backward";
    let (d, f, b) = (model.hidden, model.intermediate, by.between());
    if by.kernels {
        let rounded = match by.numerics {
            Numerics::F32 => 0,
            Numerics::Bf16 => BF16 * d,
        };
        // d(out); SwiGLU's output and its gradient, or that with the gradient of gate and up, rows normed again and dx.
        let mlp = [2 * b * f + rounded, 3 * b * f + b * d + F32 * d];
        // d(middle); the gradients of heads and of q, k, v, rows normed again and dx.
        let attention = F32 * model.heads + b * (model.q + model.qkv() + d) + rounded + F32 * d;
        let pairs = if full { 0 } else { F32 * 3 * f };
        let bytes = tokens * (F32 * d + mlp[0].max(mlp[1]).max(attention) + pairs);
        return Buffer { what, bytes };
    }
    // dh, d(middle) and rows that are normed again.
    let alive = 4 * tokens * d;
    let matrices = if full { 2 * 2 * f * d } else { 0 };
    // act, dact, gate, up, s, dup and three of the slope, the gradient of both; with the gradients of the matrices.
    let mlp = tokens * 11 * f + matrices;
    // As forward, with the gradients of queries, keys and values, their sums, and five of the scores.
    let attention = tokens * (3 * model.qkv() + 5 * model.q + 6 * model.kv)
        + 5 * scores(model, tokens, longest);
    widened(buffer(what, alive + attention.max(mlp)), model, by)
}

/// candle's CPU multiplies no bf16: the largest matrix is in f32 for as long as it is read.
fn widened(buffer: Buffer, model: &Dims, by: By) -> Buffer {
    let more = match by.numerics {
        Numerics::F32 => 0,
        Numerics::Bf16 => F32 * model.largest(),
    };
    Buffer {
        bytes: buffer.bytes + more,
        ..buffer
    }
}

/// Of one block of queries of all heads, with every key: `View::block`.
fn scores(model: &Dims, tokens: u64, longest: u64) -> u64 {
    tokens * model.heads * queries(model, tokens).min(longest)
}

/// Queries of a block: `Padded::queries`.
fn queries(model: &Dims, tokens: u64) -> u64 {
    let most = SCORES as u64 / (model.heads * tokens).max(1);
    (QUERIES as u64).min(most).max(1)
}

/// Of every block of queries with the keys before it: `Padded::masks`. Kernels need none.
pub(super) fn masks(model: &Dims, by: By, tokens: u64, longest: u64) -> Buffer {
    let numbers = longest * (longest + queries(model, tokens).min(longest)) / 2;
    buffer("masks", if by.kernels { 0 } else { numbers })
}
