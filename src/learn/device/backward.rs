//! The decoder backward on a device, as `learn::decoder_backward`: from gradients of log-probabilities and hidden states to
//! gradients of what is trained.
//!
//! What is cheap (norms, activations, probabilities) is computed again from the tape, and so are blocks that were not kept.

use candle_core::{DType, Result, Tensor};

use crate::decoder_backward::Upstream;
use crate::device::attention;
use crate::device::block::{LayerTape, heads, turn};
use crate::device::decoder::{Tape, again};
use crate::device::head;
use crate::device::linear::{self, Factor};
use crate::device::net::{Joint, Net};
use crate::device::ops::rows;
use crate::device::parts::Parts;
use crate::walk;
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
    let mut down = Down { net, tape, grads };
    walk::back(&mut down, layers, lowest, dh, upstream.dhidden)
}

/// The way down a tape.
struct Down<'a> {
    net: Net<'a>,
    tape: &'a Tape,
    grads: Option<&'a mut Parts>,
}

impl walk::Back for Down<'_> {
    type State = Tensor;
    type Error = candle_core::Error;

    fn block(&mut self, block: usize, dout: Tensor) -> Result<Tensor> {
        let (net, tape) = (self.net, self.tape);
        let h = tape.hidden(block);
        let computed = match &tape.layers[block] {
            Some(_) => None,
            None => Some(again(net, block, h, &tape.ragged)?.1),
        };
        let kept = tape.layers[block].as_ref().or(computed.as_ref());
        let back = Back {
            net,
            layer: block,
            spans: &net.weights.layout().layers[block],
            tape,
            h,
            kept: kept.expect("a block is kept or was computed again"),
            full: net.adapter.is_none(),
        };
        let dmiddle = back.mlp(dout, self.grads.as_deref_mut())?;
        back.attention(dmiddle, self.grads.as_deref_mut())
    }

    fn add(&mut self, dh: Tensor, given: &[f32]) -> Result<Tensor> {
        let shape = dh.shape().clone();
        dh + Tensor::from_slice(given, shape, self.net.device())?
    }
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
    let (_, r) = rows::norm(last, weight, net.config().rms_norm_eps, DType::F32)?;
    let (dlast, dweight) = rows::norm_backward(last, weight, &r, dnormed, None)?;
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
    /// Back through the MLP, its norm and the residual: from d(out), whose numbers nobody else has, to d(middle).
    fn mlp(&self, dout: Tensor, mut grads: Option<&mut Parts>) -> Result<Tensor> {
        let (net, spans, kept) = (self.net, self.spans, self.kept);
        let norm = net.weights.at(&spans.post_norm);
        let between = net.between();
        let down = net.matrix(self.layer, Joint::Down);
        let dy = Factor::new(&down, &dout)?;
        let dact = linear::backward(&down, &dy, between)?;
        let (dgate_up, act) = rows::swiglu_backward(&kept.gate_up, dact)?;
        if let Some(grads) = grads.as_deref_mut() {
            linear::gradients(&down, &act, &dy, grads)?;
        }
        drop((act, dy));
        let eps = net.config().rms_norm_eps;
        let x = rows::norm_again(&kept.middle, norm, &kept.r_post, eps, between)?;
        let own = grads.as_deref_mut();
        let dx = self.linear(Joint::GateUp, &x, &dgate_up, own, DType::F32)?;
        let onto = Some(dout);
        let (dmiddle, dnorm) = rows::norm_backward(&kept.middle, norm, &kept.r_post, &dx, onto)?;
        if let Some(grads) = grads.filter(|_| self.full) {
            grads.add(&spans.post_norm, &dnorm)?;
        }
        Ok(dmiddle)
    }

    /// Back through attention, its projections, the first norm and the residual: from d(middle), whose numbers nobody else has, to
    /// d(h).
    fn attention(&self, dmiddle: Tensor, mut grads: Option<&mut Parts>) -> Result<Tensor> {
        let (net, spans, kept) = (self.net, self.spans, self.kept);
        let (config, ragged) = (net.config(), &self.tape.ragged);
        let (mixed, between) = (&kept.mixed, net.between());
        let own = grads.as_deref_mut();
        let dmixed = self.linear(Joint::O, &mixed.out, &dmiddle, own, between)?;
        let dqkv = attention::backward(heads(config), &kept.qkv, mixed, &dmixed, ragged)?;
        let turn = turn(net, self.layer, &ragged.angles);
        let own = grads.as_deref_mut().filter(|_| self.full);
        let turned = turn.backward(dqkv, kept.raw.as_ref(), own.is_some())?;
        if let Some(grads) = own {
            let norms = turned.norms.map(|[q, k]| (q, k)).unzip();
            let of_spans = [
                (&spans.qkv_bias, turned.bias),
                (&spans.q_norm, norms.0),
                (&spans.k_norm, norms.1),
            ];
            for (span, gradient) in of_spans {
                if let (Some(span), Some(gradient)) = (span, gradient) {
                    grads.add(span, &gradient)?;
                }
            }
        }
        let norm = net.weights.at(&spans.input_norm);
        let x = rows::norm_again(self.h, norm, &kept.r_in, config.rms_norm_eps, between)?;
        let own = grads.as_deref_mut();
        let dx = self.linear(Joint::Qkv, &x, &turned.dqkv, own, DType::F32)?;
        let onto = Some(dmiddle);
        let (dh, dnorm) = rows::norm_backward(self.h, norm, &kept.r_in, &dx, onto)?;
        if let Some(grads) = grads.filter(|_| self.full) {
            grads.add(&spans.input_norm, &dnorm)?;
        }
        Ok(dh)
    }

    fn linear(
        &self,
        joint: Joint,
        x: &Tensor,
        dy: &Tensor,
        grads: Option<&mut Parts>,
        dtype: DType,
    ) -> Result<Tensor> {
        let matrix = self.net.matrix(self.layer, joint);
        let dy = &Factor::new(&matrix, dy)?;
        if let Some(grads) = grads {
            linear::gradients(&matrix, x, dy, grads)?;
        }
        linear::backward(&matrix, dy, dtype)
    }
}
