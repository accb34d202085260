//! The decoder forward on packed sequences, as `learn::decoder` on the CPU's kernels.
//!
//! Knows no objective and no optimizer; the backward pass is in `backward`.

use candle_core::{DType, Result, Tensor};

use crate::decoder::{Keep, Packed, Scores};
use crate::device::attention;
use crate::device::block::{self, LayerTape, Mixed};
use crate::device::head::{self, HeadTape};
use crate::device::net::Net;
use crate::device::ops::{rows, table};
use crate::device::ragged::{Ragged, Workspace};
use crate::head::Request;
use crate::walk::{self, Blocks, Walked};

/// A forward pass: its results, and what `backward` needs.
#[derive(Debug)]
pub struct Tape {
    pub scores: Scores,
    pub(super) ragged: Ragged,
    /// What each block keeps; None where the backward pass computes it again (`Keep::States`).
    pub(super) layers: Vec<Option<LayerTape>>,
    /// Embeddings, then the output of every block (before the final norm) [rows, hidden].
    pub(super) hidden: Vec<Tensor>,
    pub(super) head: HeadTape,
}

impl Tape {
    pub fn tokens(&self) -> usize {
        self.ragged.rows
    }

    /// Hidden state i [rows, hidden]: 0 the embeddings, i the output of block i, before the final norm.
    pub fn hidden(&self, i: usize) -> &Tensor {
        &self.hidden[i]
    }
}

/// Log-probabilities of the tokens `scored` at this temperature; the rules are those of `learn::decoder::forward`, and
/// the batch has a token.
pub fn forward<'a>(
    net: impl Into<Net<'a>>,
    batch: Packed,
    scored: &[usize],
    temperature: f32,
    keep: Keep,
    workspace: &mut Workspace,
) -> Result<Tape> {
    let mut run = Run::new(net.into(), batch, workspace)?;
    let Walked { hidden, tapes } = walk::forward(&mut run, keep)?;
    let request = Request::new(batch, scored, temperature);
    let at_once = workspace.logits_at_once;
    let (scores, head) = head::forward(run.net.weights, &hidden[run.blocks()], request, at_once)?;
    Ok(Tape {
        scores,
        ragged: run.ragged,
        layers: tapes,
        hidden,
        head,
    })
}

/// Log-probabilities without a tape, so without a gradient: for reference and old log-probabilities.
pub fn score<'a>(
    net: impl Into<Net<'a>>,
    batch: Packed,
    scored: &[usize],
    temperature: f32,
    workspace: &mut Workspace,
) -> Result<Scores> {
    let net = net.into();
    let last = last_hidden(net, batch, workspace, |_, _| Ok(()))?;
    let request = Request::new(batch, scored, temperature);
    let at_once = workspace.logits_at_once;
    let (scores, _) = head::forward(net.weights, &last, request, at_once)?;
    Ok(scores)
}

/// Shows hidden states [tokens, hidden] one after the other with their number, as transformers counts them: 0 the embeddings,
/// i the output of block i, the last one after the final norm.
pub fn each_state<'a>(
    net: impl Into<Net<'a>>,
    batch: Packed,
    workspace: &mut Workspace,
    mut look: impl FnMut(usize, &Tensor) -> Result<()>,
) -> Result<()> {
    let net = net.into();
    let layers = net.config().layers;
    let last = last_hidden(net, batch, workspace, |layer, h| {
        if layer < layers {
            look(layer, h)?;
        }
        Ok(())
    })?;
    look(layers, &normed(net, &last)?)
}

/// The head on these rows: logits [rows, vocabulary], or label scores [rows, labels] of a sequence classifier.
pub fn logits_at<'a>(
    net: impl Into<Net<'a>>,
    batch: Packed,
    rows: &[usize],
    workspace: &mut Workspace,
) -> Result<Tensor> {
    let net = net.into();
    let last = last_hidden(net, batch, workspace, |_, _| Ok(()))?;
    let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
    let rows = Tensor::from_slice(&rows, rows.len(), net.device())?;
    head::logits(net.weights, &normed(net, &last.index_select(&rows, 0)?)?)
}

/// Rows after the final norm.
pub fn normed(net: Net, of: &Tensor) -> Result<Tensor> {
    let weights = net.weights;
    let norm = weights.at(&weights.layout().final_norm);
    Ok(rows::norm(of, norm, net.config().rms_norm_eps, DType::F32)?.0)
}

/// Rows of token embeddings [ids, hidden].
pub(super) fn embed(net: Net, ids: &[u32]) -> Result<Tensor> {
    let weights = net.weights;
    let embeddings = weights.at(&weights.layout().embed);
    table::gather(embeddings, ids)
}

/// The output of the last block; `look` sees the embeddings (0) and the output of every block on the way.
pub(super) fn last_hidden(
    net: Net,
    batch: Packed,
    workspace: &mut Workspace,
    look: impl FnMut(usize, &Tensor) -> Result<()>,
) -> Result<Tensor> {
    walk::last(&mut Run::new(net, batch, workspace)?, look)
}

/// One pass over a batch.
struct Run<'a> {
    net: Net<'a>,
    ragged: Ragged,
}

impl<'a> Run<'a> {
    fn new(net: Net<'a>, batch: Packed, workspace: &mut Workspace) -> Result<Run<'a>> {
        assert!(!batch.ids.is_empty(), "a batch has a token");
        let ragged = Ragged::new(batch, net.config(), workspace, net.device())?;
        Ok(Run { net, ragged })
    }
}

impl Blocks for Run<'_> {
    type State = Tensor;
    type Tape = LayerTape;
    type Error = candle_core::Error;

    fn blocks(&self) -> usize {
        self.net.config().layers
    }

    fn embed(&mut self) -> Result<Tensor> {
        embed(self.net, &self.ragged.ids)
    }

    fn block(&mut self, block: usize, h: &Tensor) -> Result<(Tensor, LayerTape)> {
        again(self.net, block, h, &self.ragged)
    }
}

/// A block on a batch, with what its way back needs.
pub(super) fn again(
    net: Net,
    layer: usize,
    h: &Tensor,
    ragged: &Ragged,
) -> Result<(Tensor, LayerTape)> {
    block::forward(net, layer, h, &ragged.angles, |turn, qkv| {
        let (qkv, raw) = turn.forward(qkv)?;
        let attended = attention::forward(turn.shape, &qkv, ragged)?;
        Ok(Mixed { qkv, raw, attended })
    })
}
