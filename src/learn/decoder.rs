//! The decoder on packed sequences: embeddings to log-probabilities, keeping what the backward pass needs.
//!
//! Sequences lie one after another without padding; positions restart and attention ends at every boundary. Work is
//! cut into blocks of rows (or heads of a sequence) by sizes alone. Knows no objective and no optimizer; the backward
//! pass is in `decoder_backward`.

use crate::adapter::Net;
use crate::head;
pub use crate::head::Scores;
use crate::kernels::norm;
pub use crate::packed::Packed;
use crate::pass::{LayerTape, Pass};
use crate::weights::Weights;
pub use crate::workspace::Workspace;

/// How much of a forward pass is kept. It changes time and memory, not one bit of a gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All that the backward pass reads.
    #[default]
    All,
    /// The hidden state before each block; the backward pass computes the block again: about a third more time, and the
    /// memory of one block instead of all (activation checkpointing, Chen et al. 2016).
    States,
}

/// A forward pass: its results, and what `backward` needs.
#[derive(Debug)]
pub struct Tape {
    /// Log-probability of each scored token under softmax(logits / temperature), in nats.
    pub logp: Vec<f32>,
    /// Entropy of the distribution each scored token was drawn from, in nats.
    pub entropy: Vec<f32>,
    /// Whether the scored token is the most probable one.
    pub greedy_hit: Vec<bool>,
    pub(super) ids: Vec<u32>,
    pub(super) starts: Vec<usize>,
    pub(super) positions: Vec<u32>,
    /// Rows at the beginning that an earlier pass went through: nothing of them is kept but q, k, v.
    pub(super) given: usize,
    /// What each block keeps; None where the backward pass computes it again (`Keep::States`).
    pub(super) layers: Vec<Option<LayerTape>>,
    /// Embeddings, then the output of every block (before the final norm) [rows, hidden].
    pub(super) hidden: Vec<Vec<f32>>,
    pub(super) head: head::HeadTape,
}

impl Tape {
    /// Hands the buffers back for the next step.
    pub fn recycle(self, workspace: &mut Workspace) {
        for layer in self.layers.into_iter().flatten() {
            layer.recycle(workspace);
        }
        for buffer in self.hidden {
            workspace.give(buffer);
        }
        self.head.recycle(workspace);
    }

    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Hidden state i [rows, hidden]: 0 the embeddings, i the output of block i, before the final norm. Of rows that were given
    /// to `forward_after` only the embeddings mean anything.
    pub fn hidden(&self, i: usize) -> &[f32] {
        &self.hidden[i]
    }
}

/// Log-probabilities of the tokens `scored` (ascending indices into `ids`; none is the first of its sequence) at this
/// temperature. Token i is predicted by the row of token i - 1.
///
/// Panics where the bounds, ids or scored indices break these rules: they are made by this program.
pub fn forward<'a>(
    net: impl Into<Net<'a>>,
    batch: Packed,
    scored: &[usize],
    temperature: f32,
    workspace: &mut Workspace,
) -> Tape {
    forward_keeping(net, batch, scored, temperature, Keep::All, workspace)
}

/// The forward pass, with a say in what is kept for the backward pass.
pub fn forward_keeping<'a>(
    net: impl Into<Net<'a>>,
    batch: Packed,
    scored: &[usize],
    temperature: f32,
    keep: Keep,
    workspace: &mut Workspace,
) -> Tape {
    let net = net.into();
    let config = net.config();
    let run = Run::new(net, batch, workspace);
    let mut hidden = vec![run.embed(workspace)];
    let mut layers = Vec::with_capacity(config.layers);
    let mut shared =
        (keep == Keep::States).then(|| LayerTape::new(config, batch.ids.len(), workspace));
    for layer in 0..config.layers {
        let mut out = workspace.take(hidden[layer].len());
        let mut own = match keep {
            Keep::All => Some(LayerTape::new(config, batch.ids.len(), workspace)),
            Keep::States => None,
        };
        let tape = own
            .as_mut()
            .or(shared.as_mut())
            .expect("a block writes to a tape");
        run.layer(layer, &hidden[layer], tape, Some(&mut out), workspace);
        layers.push(own);
        hidden.push(out);
    }
    if let Some(shared) = shared {
        shared.recycle(workspace);
    }
    let request = head::Request::new(batch, scored, temperature);
    let (scores, head) = head::forward(
        net.weights,
        &hidden[config.layers],
        request,
        keep == Keep::All,
        workspace,
    );
    Tape {
        logp: scores.logp,
        entropy: scores.entropy,
        greedy_hit: scores.greedy_hit,
        ids: batch.ids.to_vec(),
        starts: batch.starts.to_vec(),
        positions: run.positions,
        given: 0,
        layers,
        hidden,
        head,
    }
}

/// The forward pass of one sequence that goes on from another: `before` went through its first tokens and kept all of them.
/// Only the tokens behind them are computed, and have a gradient.
pub fn forward_after<'a>(
    net: impl Into<Net<'a>>,
    before: &Tape,
    ids: &[u32],
    scored: &[usize],
    workspace: &mut Workspace,
) -> Tape {
    let net = net.into();
    let config = net.config();
    let given = before.tokens();
    assert!(
        ids.starts_with(&before.ids) && before.starts == [0, given] && before.given == 0,
        "a sequence goes on from its own beginning"
    );
    assert!(
        scored.first().is_none_or(|&first| first > given),
        "the last token that was given predicts nothing any more"
    );
    let starts = [0, ids.len()];
    let batch = Packed {
        ids,
        starts: &starts,
    };
    let run = Run {
        given,
        ..Run::new(net, batch, workspace)
    };
    let kept = given * config.qkv_width();
    let mut hidden = vec![run.embed(workspace)];
    let mut layers = Vec::with_capacity(config.layers);
    for (layer, earlier) in before.layers.iter().enumerate() {
        let earlier = earlier
            .as_ref()
            .expect("a pass that is gone on from keeps all");
        let mut tape = LayerTape::new(config, ids.len(), workspace);
        tape.qkv[..kept].copy_from_slice(&earlier.qkv[..kept]);
        let mut out = workspace.take(hidden[layer].len());
        run.layer(layer, &hidden[layer], &mut tape, Some(&mut out), workspace);
        layers.push(Some(tape));
        hidden.push(out);
    }
    let request = head::Request::new(batch, scored, 1.0);
    let last = &hidden[config.layers];
    let (scores, head) = head::forward(net.weights, last, request, true, workspace);
    Tape {
        logp: scores.logp,
        entropy: scores.entropy,
        greedy_hit: scores.greedy_hit,
        ids: ids.to_vec(),
        starts: starts.to_vec(),
        positions: run.positions,
        given,
        layers,
        hidden,
        head,
    }
}

/// Log-probabilities without a tape, so without a gradient: for reference and old log-probabilities.
pub fn score<'a>(
    net: impl Into<Net<'a>>,
    batch: Packed,
    scored: &[usize],
    temperature: f32,
    workspace: &mut Workspace,
) -> Scores {
    let net = net.into();
    let last = last_hidden(net, batch, workspace, |_, _| {});
    let request = head::Request::new(batch, scored, temperature);
    let (scores, tape) = head::forward(net.weights, &last, request, false, workspace);
    tape.recycle(workspace);
    workspace.give(last);
    scores
}

/// Hidden states as transformers counts them, each [tokens, hidden]: 0 the embeddings, i the output of block i, the
/// last one after the final norm.
pub fn hidden_states<'a>(
    net: impl Into<Net<'a>>,
    batch: Packed,
    workspace: &mut Workspace,
) -> Vec<Vec<f32>> {
    let mut states = Vec::new();
    each_state(net, batch, workspace, |_, h| states.push(h.to_vec()));
    states
}

/// Shows the same one after the other, with its number, and keeps none.
pub fn each_state<'a>(
    net: impl Into<Net<'a>>,
    batch: Packed,
    workspace: &mut Workspace,
    mut look: impl FnMut(usize, &[f32]),
) {
    let net = net.into();
    let layers = net.config().layers;
    let last = last_hidden(net, batch, workspace, |layer, h| {
        if layer < layers {
            look(layer, h);
        }
    });
    look(layers, &normed(net.weights, &last));
    workspace.give(last);
}

/// Output of the last block before the final norm [tokens, hidden].
pub fn hidden_before_norm<'a>(
    net: impl Into<Net<'a>>,
    batch: Packed,
    workspace: &mut Workspace,
) -> Vec<f32> {
    last_hidden(net.into(), batch, workspace, |_, _| {})
}

/// The head on these rows: logits [rows, vocabulary], or label scores [rows, labels] of a sequence classifier.
pub fn logits_at<'a>(
    net: impl Into<Net<'a>>,
    batch: Packed,
    rows: &[usize],
    workspace: &mut Workspace,
) -> Vec<f32> {
    let net = net.into();
    let d = net.config().hidden_size;
    let last = last_hidden(net, batch, workspace, |_, _| {});
    let mut picked = Vec::with_capacity(rows.len() * d);
    for &row in rows {
        picked.extend_from_slice(&last[row * d..(row + 1) * d]);
    }
    workspace.give(last);
    head_logits(net.weights, &picked)
}

/// Logits of every token [tokens, vocabulary]: for tests and small inputs.
pub fn logits<'a>(net: impl Into<Net<'a>>, batch: Packed, workspace: &mut Workspace) -> Vec<f32> {
    let rows: Vec<usize> = (0..batch.ids.len()).collect();
    logits_at(net, batch, &rows, workspace)
}

/// The final norm and the head on rows of the last block's output: logits [rows, vocabulary] or label scores.
pub(crate) fn head_logits(weights: &Weights, rows: &[f32]) -> Vec<f32> {
    head::logits(weights, &normed(weights, rows))
}

/// Rows after the final norm.
pub fn normed(weights: &Weights, rows: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; rows.len()];
    let mut scales = vec![0.0; rows.len() / weights.config.hidden_size];
    let eps = weights.config.rms_norm_eps as f32;
    norm::forward(rows, weights.final_norm(), eps, &mut out, &mut scales);
    out
}

/// Rows of token embeddings.
pub fn embed(weights: &Weights, ids: &[u32], out: &mut [f32]) {
    let d = weights.config.hidden_size;
    let table = weights.embed();
    for (row, &id) in out.chunks_exact_mut(d).zip(ids) {
        row.copy_from_slice(&table[id as usize * d..(id as usize + 1) * d]);
    }
}

/// One pass over a batch.
struct Run<'a> {
    net: Net<'a>,
    batch: Packed<'a>,
    positions: Vec<u32>,
    /// Rows at the beginning that are not computed.
    given: usize,
}

impl<'a> Run<'a> {
    fn new(net: Net<'a>, batch: Packed<'a>, workspace: &mut Workspace) -> Run<'a> {
        let positions = batch.positions(net.config().vocab_size);
        let longest = positions.iter().max().map_or(0, |&p| p as usize + 1);
        workspace.rope.reach(net.config(), longest);
        Run {
            net,
            batch,
            positions,
            given: 0,
        }
    }

    fn embed(&self, workspace: &mut Workspace) -> Vec<f32> {
        let d = self.net.config().hidden_size;
        let mut out = workspace.take(self.batch.ids.len() * d);
        embed(self.net.weights, self.batch.ids, &mut out);
        out
    }

    fn layer(
        &self,
        layer: usize,
        h: &[f32],
        tape: &mut LayerTape,
        out: Option<&mut [f32]>,
        workspace: &Workspace,
    ) {
        let pass = Pass {
            config: self.net.config(),
            view: self.net.layer(layer),
            starts: self.batch.starts,
            positions: &self.positions,
            given: self.given,
        };
        pass.run(h, tape, out, &workspace.rope);
    }
}

/// The output of the last block; `look` sees the embeddings (0) and the output of every block on the way.
fn last_hidden(
    net: Net,
    batch: Packed,
    workspace: &mut Workspace,
    mut look: impl FnMut(usize, &[f32]),
) -> Vec<f32> {
    let run = Run::new(net, batch, workspace);
    let mut h = run.embed(workspace);
    let mut out = workspace.take(h.len());
    let mut tape = LayerTape::new(net.config(), batch.ids.len(), workspace);
    look(0, &h);
    for layer in 0..net.config().layers {
        run.layer(layer, &h, &mut tape, Some(&mut out), workspace);
        std::mem::swap(&mut h, &mut out);
        look(layer + 1, &h);
    }
    tape.recycle(workspace);
    workspace.give(out);
    h
}
