//! One block of the decoder on rows, whatever attention is between its two halves: that of packed sequences, or of one more
//! token for each. Knows no other block.

use candle_core::{Result, Tensor};

use crate::config::Config;
use crate::device::linear;
use crate::device::net::{Joint, Net};
use crate::device::ops;
use crate::device::ragged::Angles;
use crate::kernels::attention::Heads;

/// Heads before their norm [rows, heads, head_dim], and r of that norm [rows, heads, 1].
#[derive(Debug)]
pub(super) struct RawHeads {
    pub x: Tensor,
    pub r: Tensor,
}

/// What one block keeps of a forward pass besides its input.
#[derive(Debug)]
pub(super) struct LayerTape {
    /// r of the first norm [rows, 1].
    pub r_in: Tensor,
    /// q, k (rotated), v [rows, q + 2 kv].
    pub qkv: Tensor,
    /// Of q and of k, where the model norms them.
    pub raw: Option<[RawHeads; 2]>,
    /// Output of attention [rows, q].
    pub mixed: Tensor,
    /// Hidden state between attention and MLP [rows, hidden], and r of its norm.
    pub middle: Tensor,
    pub r_post: Tensor,
    /// [rows, 2 intermediate].
    pub gate_up: Tensor,
}

/// The output of block `layer` on `h` [rows, hidden]. `mix` is attention: from q, k (rotated), v [rows, q + 2 kv] to the heads'
/// outputs side by side [rows, q].
pub(super) fn forward(
    net: Net,
    layer: usize,
    h: &Tensor,
    angles: &Angles,
    mix: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<(Tensor, LayerTape)> {
    let (weights, eps) = (net.weights, net.config().rms_norm_eps);
    let spans = &weights.layout().layers[layer];
    let (x, r_in) = ops::norm(h, weights.at(&spans.input_norm), eps)?;
    let mut qkv = linear::forward(&net.matrix(layer, Joint::Qkv), &x)?;
    if let Some(bias) = &spans.qkv_bias {
        qkv = qkv.broadcast_add(weights.at(bias))?;
    }
    let (qkv, raw) = turn(net, layer, &qkv, angles)?;
    let mixed = mix(&qkv)?;
    let o = linear::forward(&net.matrix(layer, Joint::O), &mixed)?;
    let middle = (h + o)?;
    let (x, r_post) = ops::norm(&middle, weights.at(&spans.post_norm), eps)?;
    let gate_up = linear::forward(&net.matrix(layer, Joint::GateUp), &x)?;
    let act = ops::swiglu(&gate_up)?;
    let out = (&middle + linear::forward(&net.matrix(layer, Joint::Down), &act)?)?;
    let tape = LayerTape {
        r_in,
        qkv,
        raw,
        mixed,
        middle,
        r_post,
        gate_up,
    };
    Ok((out, tape))
}

/// Norm of each head of q and k where the model has one, then rotation.
fn turn(
    net: Net,
    layer: usize,
    qkv: &Tensor,
    angles: &Angles,
) -> Result<(Tensor, Option<[RawHeads; 2]>)> {
    let (weights, config) = (net.weights, net.config());
    let spans = &weights.layout().layers[layer];
    let rows = qkv.dim(0)?;
    let (mut q, mut k, v) = split(config, qkv)?;
    let mut raw = None;
    if let (Some(q_norm), Some(k_norm)) = (&spans.q_norm, &spans.k_norm) {
        let eps = config.rms_norm_eps;
        let (normed_q, q_r) = ops::norm(&q, weights.at(q_norm), eps)?;
        let (normed_k, k_r) = ops::norm(&k, weights.at(k_norm), eps)?;
        raw = Some([RawHeads { x: q, r: q_r }, RawHeads { x: k, r: k_r }]);
        (q, k) = (normed_q, normed_k);
    }
    let Angles { cos, sin } = angles;
    let q = ops::rotate(&q, cos, sin)?.reshape((rows, config.q_width()))?;
    let k = ops::rotate(&k, cos, sin)?.reshape((rows, config.kv_width()))?;
    Ok((Tensor::cat(&[q, k, v], 1)?, raw))
}

/// q and k by head [rows, heads, head_dim], v as it lies [rows, kv].
pub(super) fn split(config: &Config, qkv: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    let rows = qkv.dim(0)?;
    let (q, kv, dim) = (config.q_width(), config.kv_width(), config.head_dim);
    Ok((
        qkv.narrow(1, 0, q)?.reshape((rows, config.heads, dim))?,
        qkv.narrow(1, q, kv)?
            .reshape((rows, config.kv_heads, dim))?,
        qkv.narrow(1, q + kv, kv)?,
    ))
}

pub(super) fn heads(config: &Config) -> Heads {
    Heads {
        heads: config.heads,
        kv_heads: config.kv_heads,
        dim: config.head_dim,
    }
}
