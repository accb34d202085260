//! The decoder backward, derived by hand: from gradients of log-probabilities to gradients of all parameters.
//!
//! The head comes first, then block after block down to the lowest one that has something to train; a block is in
//! `block_backward`. Blocks that were not kept are computed again from their input.

use crate::adapter::Net;
use crate::block_backward::Back;
use crate::decoder::{Tape, Workspace};
use crate::head;
use crate::kernels::{norm, simd};
use crate::pass::{LayerTape, Pass};
use crate::walk;
use crate::weights::Weights;
use std::convert::Infallible;

/// Gradients at the outputs of a forward pass.
#[derive(Clone, Copy, Default)]
pub struct Upstream<'a> {
    /// dL/dlogp and dL/dentropy of each scored token.
    pub dlogp: &'a [f32],
    pub dentropy: Option<&'a [f32]>,
    /// dL/d(hidden state i) [tokens, hidden] as `Tape::hidden` counts them: for representation methods. Empty, or one
    /// entry per state.
    pub dhidden: &'a [Option<&'a [f32]>],
    /// dL/d(last hidden state after the final norm) [tokens, hidden].
    pub dnormed: Option<&'a [f32]>,
}

/// Adds dL/d(what is trained) to `grads`, given dL/dlogp and dL/dentropy of each scored token. `grads` has the layout of
/// the weights, or of the adapter where there is one: frozen weights cost nothing.
pub fn backward<'a>(
    net: impl Into<Net<'a>>,
    tape: &Tape,
    dlogp: &[f32],
    dentropy: Option<&[f32]>,
    grads: &mut [f32],
    workspace: &mut Workspace,
) {
    let upstream = Upstream {
        dlogp,
        dentropy,
        ..Upstream::default()
    };
    backward_upstream(net, tape, upstream, grads, workspace);
}

/// Adds the gradient of all trained numbers, from gradients at any output of the forward pass.
pub fn backward_upstream<'a>(
    net: impl Into<Net<'a>>,
    tape: &Tape,
    upstream: Upstream,
    grads: &mut [f32],
    workspace: &mut Workspace,
) {
    let net = net.into();
    if let Some(adapter) = net.adapter {
        let dh = descend(
            net,
            tape,
            upstream,
            Some(grads),
            adapter.first_block(),
            workspace,
        );
        workspace.give(dh);
        return;
    }
    let dembed = descend(net, tape, upstream, Some(&mut *grads), 0, workspace);
    let d = net.config().hidden_size;
    let table = &mut grads[net.weights.layout.embed.clone()];
    for (row, &id) in dembed.chunks_exact(d).zip(&tape.ids) {
        let at = id as usize * d;
        simd::vector(
            #[inline(always)]
            || simd::add(&mut table[at..at + d], row),
        );
    }
    workspace.give(dembed);
}

/// The general form: returns dL/d(embedding rows) [tokens, hidden] and does not add it to the table's gradient.
/// Without `grads` no parameter gradient is computed. Rows that were given to the forward pass (`decoder::forward_after`) hold
/// nothing that means anything.
pub fn backward_from<'a>(
    net: impl Into<Net<'a>>,
    tape: &Tape,
    upstream: Upstream,
    grads: Option<&mut [f32]>,
    workspace: &mut Workspace,
) -> Vec<f32> {
    descend(net.into(), tape, upstream, grads, 0, workspace)
}

/// Back through the blocks down to block `lowest`. Returns the gradient at its input.
fn descend(
    net: Net,
    tape: &Tape,
    upstream: Upstream,
    mut grads: Option<&mut [f32]>,
    lowest: usize,
    workspace: &mut Workspace,
) -> Vec<f32> {
    let layers = net.config().layers;
    assert!(
        grads.as_ref().is_none_or(|g| g.len() == net.trained()),
        "gradients have the layout of what is trained"
    );
    assert!(
        grads.is_none() || tape.given == 0,
        "the gradient of a parameter is a sum over all rows"
    );
    assert!(
        upstream.dlogp.len() == tape.head.scored()
            && upstream
                .dentropy
                .is_none_or(|e| e.len() == tape.head.scored()),
        "one gradient per scored token"
    );
    let last = &tape.hidden[layers];
    let mut dh = head::backward(
        net.weights,
        &tape.head,
        last,
        upstream.dlogp,
        upstream.dentropy,
        grads.as_deref_mut().filter(|_| net.adapter.is_none()),
        workspace,
    );
    if let Some(dnormed) = upstream.dnormed {
        let grads = grads.as_deref_mut().filter(|_| net.adapter.is_none());
        through_final_norm(net.weights, last, tape.given, dnormed, &mut dh, grads);
    }
    let mut down = Down {
        net,
        tape,
        grads,
        workspace,
    };
    let Ok(dh) = walk::back(&mut down, layers, lowest, dh, upstream.dhidden);
    dh
}

/// The way down a tape.
struct Down<'a> {
    net: Net<'a>,
    tape: &'a Tape,
    grads: Option<&'a mut [f32]>,
    workspace: &'a mut Workspace,
}

impl walk::Back for Down<'_> {
    type State = Vec<f32>;
    type Error = Infallible;

    fn block(&mut self, block: usize, dout: Vec<f32>) -> Result<Vec<f32>, Infallible> {
        let again = self.tape.layers[block].is_none().then(|| self.again(block));
        let kept = self.tape.layers[block].as_ref().or(again.as_ref());
        let back = Back {
            net: self.net,
            view: self.net.layer(block),
            tape: self.tape,
            kept: kept.expect("a block is kept or was computed again"),
            h: &self.tape.hidden[block],
        };
        let below = back.layer(block, &dout, self.grads.as_deref_mut(), self.workspace);
        self.workspace.give(dout);
        if let Some(again) = again {
            again.recycle(self.workspace);
        }
        Ok(below)
    }

    fn add(&mut self, mut dh: Vec<f32>, given: &[f32]) -> Result<Vec<f32>, Infallible> {
        simd::add(&mut dh, given);
        Ok(dh)
    }
}

impl Down<'_> {
    /// A block's tape from its input.
    fn again(&mut self, block: usize) -> LayerTape {
        let (config, tape) = (self.net.config(), self.tape);
        assert_eq!(tape.given, 0, "a pass that goes on from another keeps all");
        let mut kept = LayerTape::new(config, tape.tokens(), self.workspace);
        let pass = Pass {
            config,
            view: self.net.layer(block),
            starts: &tape.starts,
            positions: &tape.positions,
            given: 0,
        };
        pass.run(&tape.hidden[block], &mut kept, None, &self.workspace.rope);
        kept
    }
}

/// dh += the gradient of the last hidden state, from that of its normed form, but for the first `given` rows.
fn through_final_norm(
    weights: &Weights,
    last: &[f32],
    given: usize,
    dnormed: &[f32],
    dh: &mut [f32],
    grads: Option<&mut [f32]>,
) {
    let (d, eps) = (
        weights.config.hidden_size,
        weights.config.rms_norm_eps as f32,
    );
    let mut spare = vec![0.0; d];
    let dw = match grads {
        Some(grads) => &mut grads[weights.layout.final_norm.clone()],
        None => &mut spare,
    };
    let weight = weights.final_norm();
    let rows = last.chunks_exact(d).zip(dnormed.chunks_exact(d));
    for ((x, dy), dx) in rows.zip(dh.chunks_exact_mut(d)).skip(given) {
        let scale = norm::scale(x, eps);
        norm::backward(x, weight, &[scale], dy, dx, dw);
    }
}
