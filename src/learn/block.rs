//! The two row-wise halves of a decoder block, before and after attention.
//!
//! They take blocks of rows and write to the caller's buffers, so training and cached decoding share them. Knows no
//! sequences: attention lies between the halves and is the caller's.

use crate::adapter::Linear;
use crate::config::Config;
use crate::kernels::gemm::{Mat, product};
use crate::kernels::rope::{self, Turn};
use crate::kernels::rows::scratch;
use crate::kernels::{norm, simd, swiglu};
use crate::weights::LayerView;

/// First half of a block on a block of rows: norm, q/k/v with bias, head norms, rotation. Shapes: `h` [rows, hidden],
/// `qkv` [rows, q + 2 kv], `scales` [rows], `raw` as `qkv` (before head norms and rotation) where it is kept.
pub fn project(
    config: &Config,
    view: LayerView,
    h: &[f32],
    turn: Turn,
    qkv: &mut [f32],
    scales: &mut [f32],
    raw: Option<&mut [f32]>,
) {
    let (d, w, rows) = (config.hidden_size, config.qkv_width(), scales.len());
    let eps = config.rms_norm_eps as f32;
    scratch(h.len(), |x| {
        norm::forward(h, view.input_norm, eps, x, scales);
        let matrix = Mat::rows(view.qkv, d).t();
        product((rows, w, d), 1.0, Mat::rows(x, d), matrix, qkv, w, false);
        let (q, kv) = (config.q_width(), config.kv_width());
        for (linear, column) in [(Linear::Q, 0), (Linear::K, q), (Linear::V, q + kv)] {
            if let Some(pair) = view.adapter.get(linear) {
                pair.forward(x, rows, &mut qkv[column..], w);
            }
        }
    });
    if let Some(bias) = view.qkv_bias {
        simd::vector(
            #[inline(always)]
            || {
                for row in qkv.chunks_exact_mut(w) {
                    simd::add(row, bias);
                }
            },
        );
    }
    if let Some(raw) = raw {
        raw.copy_from_slice(qkv);
    }
    let keys = config.q_width();
    let with_eps = |weight: Option<_>| weight.map(|weight| (weight, eps));
    rope::forward(qkv, turn, 0, config.heads, with_eps(view.q_norm));
    rope::forward(qkv, turn, keys, config.kv_heads, with_eps(view.k_norm));
}

/// Second half of a block on a block of rows: output projection, residual, norm, SwiGLU, residual. Shapes: `h`,
/// `middle`, `out` [rows, hidden], `mixed` [rows, q], `gate_up` [rows, 2 intermediate], `scales` [rows]. Without
/// `out` the last product is left out.
#[allow(clippy::too_many_arguments)]
pub fn finish(
    config: &Config,
    view: LayerView,
    h: &[f32],
    mixed: &[f32],
    middle: &mut [f32],
    scales: &mut [f32],
    gate_up: &mut [f32],
    out: Option<&mut [f32]>,
) {
    let (d, f, q, rows) = (
        config.hidden_size,
        config.intermediate_size,
        config.q_width(),
        scales.len(),
    );
    middle.copy_from_slice(h);
    let matrix = Mat::rows(view.o, q).t();
    product(
        (rows, d, q),
        1.0,
        Mat::rows(mixed, q),
        matrix,
        middle,
        d,
        true,
    );
    if let Some(pair) = view.adapter.get(Linear::O) {
        pair.forward(mixed, rows, middle, d);
    }
    scratch(h.len(), |x| {
        norm::forward(
            middle,
            view.post_norm,
            config.rms_norm_eps as f32,
            x,
            scales,
        );
        let matrix = Mat::rows(view.gate_up, d).t();
        product(
            (rows, 2 * f, d),
            1.0,
            Mat::rows(x, d),
            matrix,
            gate_up,
            2 * f,
            false,
        );
        for (linear, column) in [(Linear::Gate, 0), (Linear::Up, f)] {
            if let Some(pair) = view.adapter.get(linear) {
                pair.forward(x, rows, &mut gate_up[column..], 2 * f);
            }
        }
    });
    let Some(out) = out else { return };
    out.copy_from_slice(middle);
    scratch(rows * f, |act| {
        swiglu::forward(gate_up, act, f);
        let matrix = Mat::rows(view.down, f).t();
        product((rows, d, f), 1.0, Mat::rows(act, f), matrix, out, d, true);
        if let Some(pair) = view.adapter.get(Linear::Down) {
            pair.forward(act, rows, out, d);
        }
    });
}
