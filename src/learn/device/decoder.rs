//! The decoder forward on packed sequences, as `learn::decoder` on the CPU's kernels.
//!
//! Knows no objective and no optimizer; the backward pass is in `backward`.

use candle_core::{Result, Tensor};

use crate::config::{Config, Head};
use crate::decoder::{Packed, Scores};
use crate::device::attention;
use crate::device::head;
use crate::device::ops;
use crate::device::parts::DeviceWeights;
use crate::device::ragged::{Ragged, Workspace};
use crate::head::Request;
use crate::kernels::attention::Heads;
use crate::weights::LayerSpans;

/// Heads before their norm [rows, heads, head_dim], and r of that norm [rows, heads, 1].
#[derive(Debug)]
pub(super) struct RawHeads {
    pub x: Tensor,
    pub r: Tensor,
}

/// What one block keeps of a forward pass.
#[derive(Debug)]
pub(super) struct LayerTape {
    /// The block's input [rows, hidden], and r of its first norm [rows, 1].
    pub h: Tensor,
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

/// A forward pass: its results, and what `backward` needs.
#[derive(Debug)]
pub struct Tape {
    pub scores: Scores,
    pub(super) ragged: Ragged,
    pub(super) layers: Vec<LayerTape>,
    /// Output of the last block [rows, hidden].
    last: Tensor,
    pub(super) head: head::HeadTape,
}

impl Tape {
    pub fn tokens(&self) -> usize {
        self.ragged.rows
    }

    /// Hidden state i [rows, hidden]: 0 the embeddings, i the output of block i, before the final norm.
    pub fn hidden(&self, i: usize) -> &Tensor {
        assert!(i <= self.layers.len(), "a state per block and one");
        self.layers.get(i).map_or(&self.last, |layer| &layer.h)
    }
}

/// Log-probabilities of the tokens `scored` at this temperature; the rules are those of `learn::decoder::forward`, and
/// the batch has a token.
pub fn forward(
    weights: &DeviceWeights,
    batch: Packed,
    scored: &[usize],
    temperature: f32,
    workspace: &mut Workspace,
) -> Result<Tape> {
    let mut layers = Vec::with_capacity(weights.config.layers);
    let run = Run::new(weights, batch, workspace)?;
    let last = run.all(|layer| layers.push(layer))?;
    let request = Request::new(batch, scored, temperature);
    let (scores, head) = head::forward(weights, &last, request, workspace.logits_at_once)?;
    Ok(Tape {
        scores,
        ragged: run.ragged,
        layers,
        last,
        head,
    })
}

/// Log-probabilities without a tape, so without a gradient: for reference and old log-probabilities.
pub fn score(
    weights: &DeviceWeights,
    batch: Packed,
    scored: &[usize],
    temperature: f32,
    workspace: &mut Workspace,
) -> Result<Scores> {
    let last = Run::new(weights, batch, workspace)?.all(drop)?;
    let request = Request::new(batch, scored, temperature);
    let (scores, _) = head::forward(weights, &last, request, workspace.logits_at_once)?;
    Ok(scores)
}

pub(super) fn heads(config: &Config) -> Heads {
    Heads {
        heads: config.heads,
        kv_heads: config.kv_heads,
        dim: config.head_dim,
    }
}

/// One pass over a batch.
struct Run<'a> {
    weights: &'a DeviceWeights,
    ragged: Ragged,
}

impl<'a> Run<'a> {
    fn new(
        weights: &'a DeviceWeights,
        batch: Packed,
        workspace: &mut Workspace,
    ) -> Result<Run<'a>> {
        assert!(!batch.ids.is_empty(), "a batch has a token");
        assert!(
            !matches!(weights.config.head, Head::Score { .. }),
            "log-probabilities need a language head"
        );
        let ragged = Ragged::new(batch, &weights.config, workspace, &weights.device)?;
        Ok(Run { weights, ragged })
    }

    /// Embeddings and all blocks; `keep` gets what each of them would need on the way back.
    fn all(&self, mut keep: impl FnMut(LayerTape)) -> Result<Tensor> {
        let layout = self.weights.layout();
        let table = self.weights.at(&layout.embed);
        let mut h = table.index_select(&self.ragged.ids, 0)?;
        for spans in &layout.layers {
            let (out, tape) = self.layer(spans, h)?;
            keep(tape);
            h = out;
        }
        Ok(h)
    }

    fn layer(&self, spans: &LayerSpans, h: Tensor) -> Result<(Tensor, LayerTape)> {
        let (weights, config) = (self.weights, &self.weights.config);
        let eps = config.rms_norm_eps;
        let (x, r_in) = ops::norm(&h, weights.at(&spans.input_norm), eps)?;
        let mut qkv = ops::linear(weights, &spans.qkv, &x)?;
        if let Some(bias) = &spans.qkv_bias {
            qkv = qkv.broadcast_add(weights.at(bias))?;
        }
        let (qkv, raw) = self.turn(spans, &qkv)?;
        let mixed = attention::forward(heads(config), &qkv, &self.ragged)?;
        let middle = (&h + ops::linear(weights, &spans.o, &mixed)?)?;
        let (x, r_post) = ops::norm(&middle, weights.at(&spans.post_norm), eps)?;
        let gate_up = ops::linear(weights, &spans.gate_up, &x)?;
        let act = ops::swiglu(&gate_up)?;
        let out = (&middle + ops::linear(weights, &spans.down, &act)?)?;
        let tape = LayerTape {
            h,
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
    fn turn(&self, spans: &LayerSpans, qkv: &Tensor) -> Result<(Tensor, Option<[RawHeads; 2]>)> {
        let config = &self.weights.config;
        let rows = self.ragged.rows;
        let (mut q, mut k, v) = split(config, qkv)?;
        let mut raw = None;
        if let (Some(q_norm), Some(k_norm)) = (&spans.q_norm, &spans.k_norm) {
            let eps = config.rms_norm_eps;
            let (normed_q, q_r) = ops::norm(&q, self.weights.at(q_norm), eps)?;
            let (normed_k, k_r) = ops::norm(&k, self.weights.at(k_norm), eps)?;
            raw = Some([RawHeads { x: q, r: q_r }, RawHeads { x: k, r: k_r }]);
            (q, k) = (normed_q, normed_k);
        }
        let (cos, sin) = (&self.ragged.cos, &self.ragged.sin);
        let q = ops::rotate(&q, cos, sin)?.reshape((rows, config.q_width()))?;
        let k = ops::rotate(&k, cos, sin)?.reshape((rows, config.kv_width()))?;
        Ok((Tensor::cat(&[q, k, v], 1)?, raw))
    }
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
