//! One block of the decoder on rows, whatever attention is between its two halves: that of packed sequences, or of one more
//! token for each. Knows no other block.

use candle_core::{DType, Result, Tensor};

use crate::config::Config;
use crate::device::attention::Attended;
use crate::device::linear;
use crate::device::net::{Joint, Net};
use crate::device::ops::heads::Turn;
use crate::device::ops::rows;
use crate::device::ragged::Angles;
use crate::kernels::attention::Heads;

/// What one block keeps of a forward pass besides its input. The residual stream and the scales of norms are in f32, all that
/// lies between two products in `Net::between`.
#[derive(Debug)]
pub(super) struct LayerTape {
    /// r of the first norm [rows, 1].
    pub r_in: Tensor,
    /// q, k (rotated), v [rows, q + 2 kv].
    pub qkv: Tensor,
    /// q and k before their norm [rows, q + kv], where the model norms them.
    pub raw: Option<Tensor>,
    /// Outputs of attention [rows, q].
    pub mixed: Attended,
    /// Hidden state between attention and MLP [rows, hidden], and r of its norm.
    pub middle: Tensor,
    pub r_post: Tensor,
    /// [rows, 2 intermediate].
    pub gate_up: Tensor,
}

/// What lies between a block's first product and its second: see `LayerTape`.
pub(super) struct Mixed {
    pub qkv: Tensor,
    pub raw: Option<Tensor>,
    pub attended: Attended,
}

/// The output of block `layer` on `h` [rows, hidden]. `mix` turns the heads of the product's q, k, v [rows, q + 2 kv], whose
/// numbers nobody else has, and is attention.
pub(super) fn forward(
    net: Net,
    layer: usize,
    h: &Tensor,
    angles: &Angles,
    mix: impl FnOnce(Turn, Tensor) -> Result<Mixed>,
) -> Result<(Tensor, LayerTape)> {
    let (weights, eps) = (net.weights, net.config().rms_norm_eps);
    let spans = &weights.layout().layers[layer];
    let (whole, between) = (DType::F32, net.between());
    let (x, r_in) = rows::norm(h, weights.at(&spans.input_norm), eps, between)?;
    let qkv = linear::forward(&net.matrix(layer, Joint::Qkv), &x, between)?;
    let Mixed {
        qkv,
        raw,
        attended: mixed,
    } = mix(turn(net, layer, angles), qkv)?;
    let o = linear::forward(&net.matrix(layer, Joint::O), &mixed.out, whole)?;
    let middle = (h + o)?;
    let (x, r_post) = rows::norm(&middle, weights.at(&spans.post_norm), eps, between)?;
    let gate_up = linear::forward(&net.matrix(layer, Joint::GateUp), &x, between)?;
    let act = rows::swiglu(&gate_up)?;
    let down = linear::forward(&net.matrix(layer, Joint::Down), &act, whole)?;
    let out = (&middle + down)?;
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

/// What block `layer` does to its heads.
pub(super) fn turn<'a>(net: Net<'a>, layer: usize, angles: &'a Angles) -> Turn<'a> {
    let spans = &net.weights.layout().layers[layer];
    let norms = spans.q_norm.as_ref().zip(spans.k_norm.as_ref());
    Turn {
        shape: heads(net.config()),
        bias: spans.qkv_bias.as_ref().map(|span| net.weights.at(span)),
        norms: norms.map(|(q, k)| [net.weights.at(q), net.weights.at(k)]),
        eps: net.config().rms_norm_eps,
        angles,
    }
}

pub(super) fn heads(config: &Config) -> Heads {
    Heads {
        heads: config.heads,
        kv_heads: config.kv_heads,
        dim: config.head_dim,
    }
}
