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
        // Both normed rows live as long as the block does.
        let normed = 2 * b * d;
        let attention = match by.heads(model) {
            true => 0,
            false => heads_forward(model, by, tokens, longest),
        };
        // With an adapter the products of gate and up in f32, in pieces with what it adds, and together before they are rounded.
        let joined = match (adapted, by.numerics) {
            (false, _) => 0,
            (true, Numerics::F32) => 4 * F32 * f,
            (true, Numerics::Bf16) => 6 * F32 * f,
        };
        // SwiGLU's output, and the sum for the residual stream in f32, with an adapter in pieces too.
        let down = b * f + F32 * if adapted { 3 * d } else { d };
        let bytes = tokens * normed + attention.max(tokens * joined.max(down));
        return Buffer { what, bytes };
    }
    // x and qkv before rotation live as long as the block does.
    let alive = tokens * (d + model.qkv());
    // Gate, up and three of the sigmoid.
    let mlp = F32 * tokens * (2 * d + 5 * f);
    let bytes = F32 * alive + heads_forward(model, by, tokens, longest).max(mlp);
    widened(Buffer { what, bytes }, model, by)
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
        // dx of a product of so many numbers: below an adapter in f32, with what it adds, and their sum.
        let dx = |n: u64, own: u64| if full { own * n } else { F32 * 3 * n };
        // The gradient of a matrix's output in one piece for each adapter.
        let piece = |n: u64| if full { 0 } else { b * n };
        // The gradient of SwiGLU's output; its output in that place with the gradient of gate and up; then rows normed again and dx.
        let mlp = [
            rounded + dx(f, b),
            rounded + 3 * b * f,
            2 * b * f + piece(f) + b * d + dx(d, F32),
        ];
        // The gradients of heads and of q, k, v, rows normed again and dx.
        let qkv = model.qkv();
        let attention = F32 * model.heads
            + b * (model.q + qkv + d)
            + piece(qkv)
            + rounded
            + dx(d, F32).max(dx(model.q, b));
        let plain = match by.heads(model) {
            true => 0,
            false => tokens * b * (model.q + qkv) + heads_backward(model, by, tokens, longest),
        };
        let most = mlp.into_iter().fold(attention, u64::max);
        // d(out), which becomes d(middle).
        let bytes = tokens * F32 * d + (tokens * most).max(plain);
        return Buffer { what, bytes };
    }
    // dh, d(middle) and rows that are normed again.
    let alive = F32 * 4 * tokens * d;
    let matrices = if full { 2 * 2 * f * d } else { 0 };
    // act, dact, gate, up, s, dup and three of the slope, the gradient of both; with the gradients of the matrices.
    let mlp = F32 * (tokens * 11 * f + matrices);
    let bytes = alive + heads_backward(model, by, tokens, longest).max(mlp);
    widened(Buffer { what, bytes }, model, by)
}

/// Attention by plain operations, which compute in f32: queries before and after scaling, keys, values, outputs by block and together;
/// scores, masked, exp and probabilities of a block of queries.
fn heads_forward(model: &Dims, by: By, tokens: u64, longest: u64) -> u64 {
    let numbers = tokens * (model.qkv() + 3 * model.q + 2 * model.kv);
    F32 * (numbers + 4 * scores(model, tokens, longest)) + wide(model, by, tokens)
}

/// As forward, with the gradients of queries, keys and values, their sums, and five of the scores.
fn heads_backward(model: &Dims, by: By, tokens: u64, longest: u64) -> u64 {
    let numbers = tokens * (3 * model.qkv() + 5 * model.q + 6 * model.kv);
    F32 * (numbers + 5 * scores(model, tokens, longest)) + wide(model, by, tokens)
}

/// q, k and v in f32, where they are rounded.
fn wide(model: &Dims, by: By, tokens: u64) -> u64 {
    match by.numerics {
        Numerics::F32 => 0,
        Numerics::Bf16 => F32 * tokens * model.qkv(),
    }
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

/// Of every block of queries with the keys before it: `Padded::masks`. Kernels of heads need none.
pub(super) fn masks(model: &Dims, by: By, tokens: u64, longest: u64) -> Buffer {
    let numbers = longest * (longest + queries(model, tokens).min(longest)) / 2;
    buffer("masks", if by.heads(model) { 0 } else { numbers })
}
