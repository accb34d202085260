//! The decoder backward on a device, as `learn::decoder_backward`: from gradients of log-probabilities and hidden states to
//! gradients of what is trained.
//!
//! What is cheap (norms, activations, probabilities) is computed again from the tape, and so are blocks that were not kept.

use candle_core::{Result, Tensor};

use crate::decoder_backward::Upstream;
use crate::device::attention;
use crate::device::block::{LayerTape, heads, split};
use crate::device::decoder::{Tape, again};
use crate::device::head;
use crate::device::linear;
use crate::device::net::{Joint, Net};
use crate::device::ops;
use crate::device::parts::Parts;
use crate::weights::LayerSpans;

/// Adds dL/d(what is trained) to `grads`, which has the layout of the weights, or of the adapter where there is one.
pub fn backward<'a>(
    net: impl Into<Net<'a>>,
    tape: &Tape,
    upstream: Upstream,
    grads: &mut Parts,
) -> Result<()> {
    let net = net.into();
    if let Some(adapter) = net.adapter {
        descend(net, tape, upstream, Some(grads), adapter.first_block())?;
        return Ok(());
    }
    let dembed = descend(net, tape, upstream, Some(&mut *grads), 0)?;
    let embed = &net.weights.layout().embed;
    grads.add_rows(embed, &tape.ragged.ids, &dembed)
}

/// The general form: returns dL/d(embedding rows) [tokens, hidden] and does not add it to the table's gradient.
/// Without `grads` no parameter gradient is computed.
pub fn backward_from<'a>(
    net: impl Into<Net<'a>>,
    tape: &Tape,
    upstream: Upstream,
    grads: Option<&mut Parts>,
) -> Result<Tensor> {
    descend(net.into(), tape, upstream, grads, 0)
}

/// Back through the blocks down to block `lowest`. Returns the gradient at its input.
fn descend(
    net: Net,
    tape: &Tape,
    upstream: Upstream,
    mut grads: Option<&mut Parts>,
    lowest: usize,
) -> Result<Tensor> {
    let scored = tape.head.scored();
    assert!(
        upstream.dlogp.len() == scored && upstream.dentropy.is_none_or(|e| e.len() == scored),
        "one gradient per scored token"
    );
    let (layers, full) = (net.config().layers, net.adapter.is_none());
    let shape = (tape.tokens(), net.config().hidden_size);
    let upload = |numbers: &[f32]| Tensor::from_slice(numbers, shape, net.device());
    let given = |i: usize, dh: Tensor| match upstream.dhidden.get(i).copied().flatten() {
        Some(extra) => dh + upload(extra)?,
        None => Ok(dh),
    };
    let mut dh = head::backward(
        net.weights,
        &tape.head,
        upstream.dlogp,
        upstream.dentropy,
        grads.as_deref_mut().filter(|_| full),
    )?;
    if let Some(dnormed) = upstream.dnormed {
        let grads = grads.as_deref_mut().filter(|_| full);
        dh = (dh + through_final_norm(net, tape.hidden(layers), &upload(dnormed)?, grads)?)?;
    }
    for layer in (lowest..layers).rev() {
        dh = given(layer + 1, dh)?;
        let computed = match &tape.layers[layer] {
            Some(_) => None,
            None => Some(again(net, layer, tape.hidden(layer), &tape.ragged)?.1),
        };
        let kept = tape.layers[layer].as_ref().or(computed.as_ref());
        let back = Back {
            net,
            layer,
            spans: &net.weights.layout().layers[layer],
            tape,
            h: tape.hidden(layer),
            kept: kept.expect("a block is kept or was computed again"),
            full,
        };
        let dmiddle = back.mlp(&dh, grads.as_deref_mut())?;
        dh = back.attention(&dmiddle, grads.as_deref_mut())?;
    }
    given(lowest, dh)
}

/// The gradient of the last hidden state, from that of its normed form.
fn through_final_norm(
    net: Net,
    last: &Tensor,
    dnormed: &Tensor,
    grads: Option<&mut Parts>,
) -> Result<Tensor> {
    let span = &net.weights.layout().final_norm;
    let weight = net.weights.at(span);
    let (_, r) = ops::norm(last, weight, net.config().rms_norm_eps)?;
    let (dlast, dweight) = ops::norm_backward(last, weight, &r, dnormed)?;
    if let Some(grads) = grads {
        grads.add(span, &dweight)?;
    }
    Ok(dlast)
}

struct Back<'a> {
    net: Net<'a>,
    layer: usize,
    spans: &'a LayerSpans,
    tape: &'a Tape,
    /// The block's input.
    h: &'a Tensor,
    kept: &'a LayerTape,
    /// Whether all weights are trained.
    full: bool,
}

impl Back<'_> {
    /// Back through the MLP, its norm and the residual: from d(out) to d(middle).
    fn mlp(&self, dout: &Tensor, mut grads: Option<&mut Parts>) -> Result<Tensor> {
        let (spans, kept) = (self.spans, self.kept);
        let norm = self.net.weights.at(&spans.post_norm);
        let act = ops::swiglu(&kept.gate_up)?;
        let dact = self.linear(Joint::Down, &act, dout, grads.as_deref_mut())?;
        let dgate_up = ops::swiglu_backward(&kept.gate_up, &dact)?;
        let x = ops::norm_again(&kept.middle, norm, &kept.r_post)?;
        let dx = self.linear(Joint::GateUp, &x, &dgate_up, grads.as_deref_mut())?;
        let (dmiddle, dnorm) = ops::norm_backward(&kept.middle, norm, &kept.r_post, &dx)?;
        if let Some(grads) = grads.filter(|_| self.full) {
            grads.add(&spans.post_norm, &dnorm)?;
        }
        dout + dmiddle
    }

    /// Back through attention, its projections, the first norm and the residual: from d(middle) to d(h).
    fn attention(&self, dmiddle: &Tensor, mut grads: Option<&mut Parts>) -> Result<Tensor> {
        let (net, spans, kept) = (self.net, self.spans, self.kept);
        let dmixed = self.linear(Joint::O, &kept.mixed, dmiddle, grads.as_deref_mut())?;
        let shape = heads(net.config());
        let dqkv = attention::backward(shape, &kept.qkv, &dmixed, &self.tape.ragged)?;
        let dqkv = self.unturn(&dqkv, grads.as_deref_mut())?;
        let own = grads.as_deref_mut().filter(|_| self.full);
        if let (Some(grads), Some(bias)) = (own, &spans.qkv_bias) {
            grads.add(bias, &ops::sum_rows(&dqkv)?)?;
        }
        let norm = net.weights.at(&spans.input_norm);
        let x = ops::norm_again(self.h, norm, &kept.r_in)?;
        let dx = self.linear(Joint::Qkv, &x, &dqkv, grads.as_deref_mut())?;
        let (dh, dnorm) = ops::norm_backward(self.h, norm, &kept.r_in, &dx)?;
        if let Some(grads) = grads.filter(|_| self.full) {
            grads.add(&spans.input_norm, &dnorm)?;
        }
        dmiddle + dh
    }

    fn linear(
        &self,
        joint: Joint,
        x: &Tensor,
        dy: &Tensor,
        grads: Option<&mut Parts>,
    ) -> Result<Tensor> {
        linear::backward(&self.net.matrix(self.layer, joint), x, dy, grads)
    }

    /// Rotation and head norms backward; turning back is turning by the negative angle.
    fn unturn(&self, dqkv: &Tensor, grads: Option<&mut Parts>) -> Result<Tensor> {
        let (weights, config) = (self.net.weights, self.net.config());
        let angles = &self.tape.ragged.angles;
        let (cos, sin) = (&angles.cos, angles.sin.neg()?);
        let (dq, dk, dv) = split(config, dqkv)?;
        let mut dq = ops::rotate(&dq, cos, &sin)?;
        let mut dk = ops::rotate(&dk, cos, &sin)?;
        let norms = self.spans.q_norm.as_ref().zip(self.spans.k_norm.as_ref());
        if let (Some((q_norm, k_norm)), Some([q, k])) = (norms, &self.kept.raw) {
            let (dq_weight, dk_weight);
            (dq, dq_weight) = ops::norm_backward(&q.x, weights.at(q_norm), &q.r, &dq)?;
            (dk, dk_weight) = ops::norm_backward(&k.x, weights.at(k_norm), &k.r, &dk)?;
            if let Some(grads) = grads.filter(|_| self.full) {
                grads.add(q_norm, &dq_weight)?;
                grads.add(k_norm, &dk_weight)?;
            }
        }
        let rows = self.tape.tokens();
        let dq = dq.reshape((rows, config.q_width()))?;
        let dk = dk.reshape((rows, config.kv_width()))?;
        Tensor::cat(&[dq, dk, dv], 1)
    }
}
