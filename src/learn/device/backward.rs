//! The decoder backward on a device, as `learn::decoder_backward`: from gradients of log-probabilities to gradients of
//! all parameters.
//!
//! What is cheap (norms, activations, probabilities) is computed again from the tape.

use candle_core::{Result, Tensor};

use crate::decoder_backward::Upstream;
use crate::device::attention;
use crate::device::decoder::{LayerTape, Tape, heads, split};
use crate::device::head;
use crate::device::ops;
use crate::device::parts::{DeviceWeights, Parts};
use crate::weights::LayerSpans;

/// Adds dL/dparameter to `grads`, given dL/dlogp and dL/dentropy of each scored token.
pub fn backward(
    weights: &DeviceWeights,
    tape: &Tape,
    dlogp: &[f32],
    dentropy: Option<&[f32]>,
    grads: &mut Parts,
) -> Result<()> {
    let upstream = Upstream {
        dlogp,
        dentropy,
        ..Upstream::default()
    };
    let dembed = backward_from(weights, tape, upstream, Some(&mut *grads))?;
    let embed = weights.layout().embed.clone();
    grads.add_rows(&embed, &tape.ragged.ids, &dembed)
}

/// The general form: returns dL/d(embedding rows) [tokens, hidden] and does not add it to the table's gradient.
/// Without `grads` no parameter gradient is computed.
pub fn backward_from(
    weights: &DeviceWeights,
    tape: &Tape,
    upstream: Upstream,
    mut grads: Option<&mut Parts>,
) -> Result<Tensor> {
    let scored = tape.head.scored();
    assert!(
        upstream.dlogp.len() == scored && upstream.dentropy.is_none_or(|e| e.len() == scored),
        "one gradient per scored token"
    );
    assert!(
        upstream.dnormed.is_none(),
        "gradients at the normed state are the kernels' alone"
    );
    let shape = (tape.tokens(), weights.config.hidden_size);
    let given = |i: usize, dh: Tensor| match upstream.dhidden.get(i).copied().flatten() {
        Some(extra) => dh + Tensor::from_slice(extra, shape, &weights.device)?,
        None => Ok(dh),
    };
    let mut dh = head::backward(
        weights,
        &tape.head,
        upstream.dlogp,
        upstream.dentropy,
        grads.as_deref_mut(),
    )?;
    for (layer, spans) in weights.layout().layers.iter().enumerate().rev() {
        dh = given(layer + 1, dh)?;
        let back = Back {
            weights,
            spans,
            tape,
            kept: &tape.layers[layer],
        };
        let dmiddle = back.mlp(&dh, grads.as_deref_mut())?;
        dh = back.attention(&dmiddle, grads.as_deref_mut())?;
    }
    given(0, dh)
}

struct Back<'a> {
    weights: &'a DeviceWeights,
    spans: &'a LayerSpans,
    tape: &'a Tape,
    kept: &'a LayerTape,
}

impl Back<'_> {
    /// Back through the MLP, its norm and the residual: from d(out) to d(middle).
    fn mlp(&self, dout: &Tensor, mut grads: Option<&mut Parts>) -> Result<Tensor> {
        let (weights, spans, kept) = (self.weights, self.spans, self.kept);
        let norm = weights.at(&spans.post_norm);
        let act = ops::swiglu(&kept.gate_up)?;
        let dact = ops::linear_backward(weights, &spans.down, &act, dout, grads.as_deref_mut())?;
        let dgate_up = ops::swiglu_backward(&kept.gate_up, &dact)?;
        let x = ops::norm_again(&kept.middle, norm, &kept.r_post)?;
        let own = grads.as_deref_mut();
        let dx = ops::linear_backward(weights, &spans.gate_up, &x, &dgate_up, own)?;
        let (dmiddle, dnorm) = ops::norm_backward(&kept.middle, norm, &kept.r_post, &dx)?;
        if let Some(grads) = grads {
            grads.add(&spans.post_norm, &dnorm)?;
        }
        dout + dmiddle
    }

    /// Back through attention, its projections, the first norm and the residual: from d(middle) to d(h).
    fn attention(&self, dmiddle: &Tensor, mut grads: Option<&mut Parts>) -> Result<Tensor> {
        let (weights, spans, kept) = (self.weights, self.spans, self.kept);
        let own = grads.as_deref_mut();
        let dmixed = ops::linear_backward(weights, &spans.o, &kept.mixed, dmiddle, own)?;
        let shape = heads(&weights.config);
        let dqkv = attention::backward(shape, &kept.qkv, &dmixed, &self.tape.ragged)?;
        let dqkv = self.unturn(&dqkv, grads.as_deref_mut())?;
        if let (Some(grads), Some(bias)) = (grads.as_deref_mut(), &spans.qkv_bias) {
            grads.add(bias, &ops::sum_rows(&dqkv)?)?;
        }
        let norm = weights.at(&spans.input_norm);
        let x = ops::norm_again(&kept.h, norm, &kept.r_in)?;
        let dx = ops::linear_backward(weights, &spans.qkv, &x, &dqkv, grads.as_deref_mut())?;
        let (dh, dnorm) = ops::norm_backward(&kept.h, norm, &kept.r_in, &dx)?;
        if let Some(grads) = grads {
            grads.add(&spans.input_norm, &dnorm)?;
        }
        dmiddle + dh
    }

    /// Rotation and head norms backward; turning back is turning by the negative angle.
    fn unturn(&self, dqkv: &Tensor, grads: Option<&mut Parts>) -> Result<Tensor> {
        let (weights, config) = (self.weights, &self.weights.config);
        let ragged = &self.tape.ragged;
        let (cos, sin) = (&ragged.cos, ragged.sin.neg()?);
        let (dq, dk, dv) = split(config, dqkv)?;
        let mut dq = ops::rotate(&dq, cos, &sin)?;
        let mut dk = ops::rotate(&dk, cos, &sin)?;
        let norms = self.spans.q_norm.as_ref().zip(self.spans.k_norm.as_ref());
        if let (Some((q_norm, k_norm)), Some([q, k])) = (norms, &self.kept.raw) {
            let (dq_weight, dk_weight);
            (dq, dq_weight) = ops::norm_backward(&q.x, weights.at(q_norm), &q.r, &dq)?;
            (dk, dk_weight) = ops::norm_backward(&k.x, weights.at(k_norm), &k.r, &dk)?;
            if let Some(grads) = grads {
                grads.add(q_norm, &dq_weight)?;
                grads.add(k_norm, &dk_weight)?;
            }
        }
        let dq = dq.reshape((ragged.rows, config.q_width()))?;
        let dk = dk.reshape((ragged.rows, config.kv_width()))?;
        Tensor::cat(&[dq, dk, dv], 1)
    }
}
