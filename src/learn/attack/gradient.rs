//! The gradient of a target's loss at the one-hot suffix: how the loss would change if a little of another token stood in a place.
//!
//! With e = x E, x one-hot, dL/dx = dL/de E^T: by the input side alone, also where the head is the same table, which is constant
//! here. What comes before the suffix is computed once (`Before`); a step goes forward and back from the suffix on, and no
//! gradient of a weight is computed.

use crate::adapter::Net;
use crate::attack::score::Loss;
use crate::decoder::{self, Packed, Tape, Workspace};
use crate::decoder_backward::{Upstream, backward_from};
use crate::kernels::gemm::{Mat, product_at};
use crate::kernels::rows::{Shared, blocks};
use crate::weights::Weights;

/// What comes before the suffix, gone through once.
pub struct Before<'n> {
    net: Net<'n>,
    ids: Vec<u32>,
    tape: Tape,
}

/// The loss of a suffix, and its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Slope {
    pub loss: f64,
    /// [suffix, vocabulary].
    pub gradient: Vec<f32>,
}

impl<'n> Before<'n> {
    pub fn new(net: impl Into<Net<'n>>, ids: &[u32], workspace: &mut Workspace) -> Before<'n> {
        let net = net.into();
        let starts = [0, ids.len()];
        let batch = Packed {
            ids,
            starts: &starts,
        };
        Before {
            net,
            ids: ids.to_vec(),
            tape: decoder::forward(net, batch, &[], 1.0, workspace),
        }
    }

    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Hands the buffers back.
    pub fn recycle(self, workspace: &mut Workspace) {
        self.tape.recycle(workspace);
    }

    /// Of the target behind before + suffix + after. Neither suffix nor target is empty; `after` may be.
    pub fn slope(
        &self,
        suffix: &[u32],
        after: &[u32],
        target: &[u32],
        loss: Loss,
        workspace: &mut Workspace,
    ) -> Slope {
        assert!(
            !suffix.is_empty() && !target.is_empty(),
            "a gradient is at a suffix and of a target"
        );
        let ids = [&self.ids, suffix, after, target].concat();
        let scored: Vec<usize> = (ids.len() - target.len()..ids.len()).collect();
        let tape = decoder::forward_after(self.net, &self.tape, &ids, &scored, workspace);
        let (loss, dembed) = match loss {
            Loss::CrossEntropy => {
                let n = target.len() as f64;
                let sum: f64 = tape.logp.iter().map(|&logp| f64::from(logp)).sum();
                let upstream = Upstream {
                    dlogp: &vec![(-1.0 / n) as f32; target.len()],
                    ..Upstream::default()
                };
                let dembed = backward_from(self.net, &tape, upstream, None, workspace);
                (-sum / n, dembed)
            }
            Loss::Mellowmax => self.mellowmax(&tape, &scored, target, workspace),
        };
        let d = self.net.config().hidden_size;
        let first = self.ids.len();
        let at_suffix = &dembed[first * d..(first + suffix.len()) * d];
        let gradient = against_table(self.net.weights, at_suffix);
        workspace.give(dembed);
        tape.recycle(workspace);
        Slope { loss, gradient }
    }

    /// d/dz_i of log mean exp(-z_i) over the target's raw logits is minus the softmax of -z. The logit of a token is the product of
    /// the normed state with the token's row of the head.
    fn mellowmax(
        &self,
        tape: &Tape,
        scored: &[usize],
        target: &[u32],
        workspace: &mut Workspace,
    ) -> (f64, Vec<f32>) {
        let (weights, config) = (self.net.weights, self.net.config());
        let d = config.hidden_size;
        let last = tape.hidden(config.layers);
        let head = |token: u32| &weights.head()[token as usize * d..(token as usize + 1) * d];
        let logits: Vec<f32> = scored
            .iter()
            .zip(target)
            .map(|(&row, &token)| {
                let normed = decoder::normed(weights, &last[(row - 1) * d..row * d]);
                normed.iter().zip(head(token)).map(|(x, w)| x * w).sum()
            })
            .collect();
        let loss = Loss::Mellowmax.of_logits(&logits);
        let mut dnormed = workspace.take(last.len());
        dnormed.fill(0.0);
        for ((&row, &token), &logit) in scored.iter().zip(target).zip(&logits) {
            // softmax(-z)_i = exp(-z_i) / (T exp(loss)).
            let share = (-f64::from(logit) - loss).exp() / target.len() as f64;
            let to = &mut dnormed[(row - 1) * d..row * d];
            for (to, w) in to.iter_mut().zip(head(token)) {
                *to = -(share as f32) * w;
            }
        }
        let upstream = Upstream {
            dlogp: &vec![0.0; target.len()],
            dnormed: Some(&dnormed),
            ..Upstream::default()
        };
        let dembed = backward_from(self.net, tape, upstream, None, workspace);
        workspace.give(dnormed);
        (loss, dembed)
    }
}

/// Rows of the table that are multiplied together.
const TILE: usize = 512;

/// de E^T [rows, vocabulary], `de` being [rows, hidden].
fn against_table(weights: &Weights, de: &[f32]) -> Vec<f32> {
    let (d, v) = (weights.config.hidden_size, weights.config.vocab_size);
    let rows = de.len() / d;
    let mut out = vec![0.0; rows * v];
    let all = Shared::new(&mut out);
    blocks(v, TILE, |_, words| {
        let table = Mat::rows(&weights.embed()[words.start * d..words.end * d], d).t();
        let size = (rows, words.len(), d);
        // SAFETY: tiles are disjoint columns of the same rows, which lie inside of `out`.
        unsafe {
            product_at(
                size,
                1.0,
                Mat::rows(de, d),
                table,
                all.at(words.start),
                v,
                false,
            )
        };
    });
    out
}
