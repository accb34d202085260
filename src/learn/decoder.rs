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
pub use crate::walk::Keep;
use crate::walk::{self, Blocks, Walked};
use crate::weights::Weights;
pub use crate::workspace::Workspace;
use std::convert::Infallible;

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
    Run::new(net.into(), batch, None, workspace).keeping(scored, temperature, keep)
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
    Run::new(net.into(), batch, Some(before), workspace).keeping(scored, 1.0, Keep::All)
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
    /// A pass over the first tokens, of which nothing is computed again.
    before: Option<&'a Tape>,
    workspace: &'a mut Workspace,
}

impl<'a> Run<'a> {
    fn new(
        net: Net<'a>,
        batch: Packed<'a>,
        before: Option<&'a Tape>,
        workspace: &'a mut Workspace,
    ) -> Run<'a> {
        let positions = batch.positions(net.config().vocab_size);
        let longest = positions.iter().max().map_or(0, |&p| p as usize + 1);
        workspace.rope.reach(net.config(), longest);
        Run {
            net,
            batch,
            positions,
            before,
            workspace,
        }
    }

    fn keeping(mut self, scored: &[usize], temperature: f32, keep: Keep) -> Tape {
        let Ok(Walked { hidden, tapes }) = walk::forward(&mut self, keep);
        let (scores, head) = head::forward(
            self.net.weights,
            &hidden[self.blocks()],
            head::Request::new(self.batch, scored, temperature),
            keep == Keep::All,
            self.workspace,
        );
        Tape {
            logp: scores.logp,
            entropy: scores.entropy,
            greedy_hit: scores.greedy_hit,
            ids: self.batch.ids.to_vec(),
            starts: self.batch.starts.to_vec(),
            positions: self.positions,
            given: self.before.map_or(0, Tape::tokens),
            layers: tapes,
            hidden,
            head,
        }
    }
}

impl Blocks for Run<'_> {
    type State = Vec<f32>;
    type Tape = LayerTape;
    type Error = Infallible;

    fn blocks(&self) -> usize {
        self.net.config().layers
    }

    fn embed(&mut self) -> Result<Vec<f32>, Infallible> {
        let d = self.net.config().hidden_size;
        let mut out = self.workspace.take(self.batch.ids.len() * d);
        embed(self.net.weights, self.batch.ids, &mut out);
        Ok(out)
    }

    fn block(&mut self, block: usize, h: &Vec<f32>) -> Result<(Vec<f32>, LayerTape), Infallible> {
        let config = self.net.config();
        let mut tape = LayerTape::new(config, self.batch.ids.len(), self.workspace);
        if let Some(before) = self.before {
            let earlier = before.layers[block].as_ref();
            let earlier = earlier.expect("a pass that is gone on from keeps all");
            let kept = before.tokens() * config.qkv_width();
            tape.qkv[..kept].copy_from_slice(&earlier.qkv[..kept]);
        }
        let mut out = self.workspace.take(h.len());
        let pass = Pass {
            config,
            view: self.net.layer(block),
            starts: self.batch.starts,
            positions: &self.positions,
            given: self.before.map_or(0, Tape::tokens),
        };
        pass.run(h, &mut tape, Some(&mut out), &self.workspace.rope);
        Ok((out, tape))
    }

    fn done(&mut self, state: Option<Vec<f32>>, tape: Option<LayerTape>) {
        if let Some(state) = state {
            self.workspace.give(state);
        }
        if let Some(tape) = tape {
            tape.recycle(self.workspace);
        }
    }
}

/// The output of the last block; `look` sees the embeddings (0) and the output of every block on the way.
fn last_hidden(
    net: Net,
    batch: Packed,
    workspace: &mut Workspace,
    mut look: impl FnMut(usize, &[f32]),
) -> Vec<f32> {
    let mut run = Run::new(net, batch, None, workspace);
    let Ok(last) = walk::last(&mut run, |state, h| {
        look(state, h);
        Ok(())
    });
    last
}
