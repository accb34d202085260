//! Passes over packed rows on a device: what `window` asks of it. Knows no optimizer.

use std::borrow::Cow;

use anyhow::Result;
use candle_core::Tensor;

use crate::batch::{Batch, Row};
use crate::decoder::Keep;
use crate::decoder_backward::Upstream;
use crate::device::backward::backward;
use crate::device::decoder::{self, Tape};
use crate::device::net::Net;
use crate::device::parts::Parts;
use crate::device::ragged::Workspace;
use crate::objective::Scored;
use crate::window::{self, Passes};

/// Log-probabilities of every row's scored tokens: [row][scored token]. So many tokens go through together.
pub(super) fn logps(
    net: Net,
    rows: &[Row],
    temperature: f32,
    together: usize,
    workspace: &mut Workspace,
) -> Result<Vec<Vec<f32>>> {
    window::logps(rows, together, |batch| {
        let packed = batch.packed();
        let scores = decoder::score(net, packed, &batch.scored, temperature, workspace)?;
        Ok(scores.logp)
    })
}

/// Forward and backward passes of micro-batches.
pub(super) struct Pass<'a> {
    pub net: Net<'a>,
    pub keep: Keep,
    /// Of the window so far.
    pub grads: &'a mut Parts,
    pub workspace: &'a mut Workspace,
}

impl Passes for Pass<'_> {
    type Tape = Tape;

    fn forward(&mut self, batch: &Batch, scored: &[usize], temperature: f32) -> Result<Tape> {
        let (packed, keep) = (batch.packed(), self.keep);
        let workspace = &mut *self.workspace;
        let tape = decoder::forward(self.net, packed, scored, temperature, keep, workspace)?;
        Ok(tape)
    }

    fn scores<'t>(&self, tape: &'t Tape) -> Scored<'t> {
        let scores = &tape.scores;
        Scored {
            logp: &scores.logp,
            entropy: &scores.entropy,
            greedy_hit: &scores.greedy_hit,
        }
    }

    fn frozen_states(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>> {
        let mut frozen = vec![];
        let net = self.net.frozen();
        decoder::each_state(net, batch.packed(), self.workspace, |_, h| {
            frozen.push(flat(h)?);
            Ok(())
        })?;
        Ok(frozen)
    }

    fn states<'t>(&self, tape: &'t Tape) -> Result<Vec<Cow<'t, [f32]>>> {
        let layers = self.net.config().layers;
        let mut live = vec![];
        for layer in 0..layers {
            live.push(Cow::Owned(flat(tape.hidden(layer))?));
        }
        let normed = decoder::normed(self.net, tape.hidden(layers))?;
        live.push(Cow::Owned(flat(&normed)?));
        Ok(live)
    }

    fn back(&mut self, tape: &Tape, upstream: Upstream) -> Result<()> {
        Ok(backward(self.net, tape, upstream, self.grads)?)
    }
}

fn flat(t: &Tensor) -> candle_core::Result<Vec<f32>> {
    t.flatten_all()?.to_vec1()
}
