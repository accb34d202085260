//! Passes over the rows of a window: log-probabilities, and the gradient of what is lost on each micro-batch. Knows no optimizer.

use std::ops::Range;

use anyhow::Result;
use candle_core::Tensor;

use crate::batch::{Batch, Row, micro_batches};
use crate::decoder::Keep;
use crate::decoder_backward::Upstream;
use crate::device::backward::backward;
use crate::device::decoder;
use crate::device::net::Net;
use crate::device::parts::Parts;
use crate::device::ragged::Workspace;
use crate::learner::{Accumulated, Broken};
use crate::objective::rerouting::{StateObjective, States};
use crate::objective::{Goal, Objective, Scored};

/// Log-probabilities of every row's scored tokens: [row][scored token].
pub(super) fn logps(
    net: Net,
    rows: &[Row],
    temperature: f32,
    workspace: &mut Workspace,
) -> Result<Vec<Vec<f32>>> {
    let mut out = Vec::with_capacity(rows.len());
    for run in micro_batches(rows, 1) {
        let batch = Batch::pack(&rows[run]);
        let rows = batch.bounds.windows(2);
        if batch.scored.is_empty() {
            out.extend(rows.map(|_| vec![]));
            continue;
        }
        let scores = decoder::score(net, batch.packed(), &batch.scored, temperature, workspace)?;
        out.extend(rows.map(|b| scores.logp[b[0]..b[1]].to_vec()));
    }
    Ok(out)
}

/// Forward and backward passes of micro-batches.
pub(super) struct Pass<'a> {
    pub net: Net<'a>,
    pub keep: Keep,
    /// Of the window so far.
    pub grads: &'a mut Parts,
    pub workspace: &'a mut Workspace,
}

impl Pass<'_> {
    /// Every micro-batch of a window.
    pub fn window(
        &mut self,
        rows: &[Row],
        goal: &mut Goal,
        temperature: f32,
        through: &mut dyn FnMut(usize),
    ) -> Result<Accumulated> {
        let mut sum = Accumulated {
            loss: 0.0,
            tokens: 0,
            broken: None,
        };
        for range in micro_batches(rows, goal.unit()) {
            through(range.start);
            let batch = Batch::pack(&rows[range.clone()]);
            sum.tokens += batch.ids.len();
            sum.loss += match goal {
                Goal::Logp(_) if batch.scored.is_empty() => continue,
                Goal::Logp(objective) => {
                    let objective = objective.as_mut();
                    let (loss, broken) = self.logps(objective, range, &batch, temperature)?;
                    sum.broken = sum.broken.or(broken);
                    loss
                }
                Goal::States(_) if batch.ids.is_empty() => continue,
                Goal::States(objective) => self.states(objective.as_mut(), range, &batch)?,
            };
        }
        Ok(sum)
    }

    /// The loss of a micro-batch by its log-probabilities, whose gradient is added where the loss is finite; and the first
    /// token whose log-probability is not.
    fn logps(
        &mut self,
        objective: &mut dyn Objective,
        rows: Range<usize>,
        batch: &Batch,
        temperature: f32,
    ) -> Result<(f64, Option<Broken>)> {
        let (net, keep) = (self.net, self.keep);
        let (packed, scored) = (batch.packed(), &batch.scored);
        let tape = decoder::forward(net, packed, scored, temperature, keep, self.workspace)?;
        let scores = &tape.scores;
        let broken = Broken::of(&scores.logp, batch, rows.start);
        let scored = Scored {
            logp: &scores.logp,
            entropy: &scores.entropy,
            greedy_hit: &scores.greedy_hit,
        };
        let share = objective.share(rows, &batch.bounds, scored);
        if share.loss.is_finite() {
            let upstream = Upstream {
                dlogp: &share.dlogp,
                dentropy: share.dentropy.as_deref(),
                ..Upstream::default()
            };
            backward(net, &tape, upstream, self.grads)?;
        }
        Ok((share.loss, broken))
    }

    /// The loss of a micro-batch by its hidden states, with the adapter on and off.
    fn states(
        &mut self,
        objective: &mut dyn StateObjective,
        rows: Range<usize>,
        batch: &Batch,
    ) -> Result<f64> {
        let (net, packed) = (self.net, batch.packed());
        let layers = net.config().layers;
        let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
        let mut frozen = vec![];
        decoder::each_state(net.frozen(), packed, self.workspace, |_, h| {
            frozen.push(flat(h)?);
            Ok(())
        })?;
        let tape = decoder::forward(net, packed, &[], 1.0, self.keep, self.workspace)?;
        let mut live = vec![];
        for layer in 0..layers {
            live.push(flat(tape.hidden(layer))?);
        }
        live.push(flat(&decoder::normed(net, tape.hidden(layers))?)?);
        let live: Vec<&[f32]> = live.iter().map(Vec::as_slice).collect();
        let states = States {
            live: &live,
            frozen: &frozen,
            width: net.config().hidden_size,
        };
        let share = objective.share(rows, &batch.starts, &states);
        if share.loss.is_finite() {
            let dhidden = share.dstates[..layers].iter().map(|d| Some(&d[..]));
            let dhidden: Vec<Option<&[f32]>> = dhidden.collect();
            let upstream = Upstream {
                dhidden: &dhidden,
                dnormed: Some(&share.dstates[layers]),
                ..Upstream::default()
            };
            backward(net, &tape, upstream, self.grads)?;
        }
        Ok(share.loss)
    }
}
