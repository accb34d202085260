//! One block of the decoder on a batch: the two row-wise halves of `block` with attention between them, and what they
//! keep for the way back. Knows no other block.

use rayon::prelude::*;
use std::ops::Range;

use crate::block;
use crate::config::Config;
use crate::kernels::attention::{self, Heads};
use crate::kernels::rope::{Rope, Turn};
use crate::kernels::rows::{Shared, blocks_of, span};
use crate::weights::LayerView;
use crate::workspace::Workspace;

/// Rows of one block of work. A product lays out its matrix anew for every block, so blocks are long; but a block's own
/// rows should stay in the processor's second cache.
pub(super) fn block_rows(config: &Config) -> usize {
    if config.hidden_size <= 128 { 512 } else { 256 }
}

/// What one block keeps of a forward pass.
#[derive(Debug, Default)]
pub(super) struct LayerTape {
    /// r of the first norm, per row.
    pub scales_in: Vec<f32>,
    /// q and k before norm and rotation [rows, q + 2 kv], where the model norms them.
    pub raw: Option<Vec<f32>>,
    /// q, k (rotated), v [rows, q + 2 kv].
    pub qkv: Vec<f32>,
    /// Output of attention [rows, q].
    pub mixed: Vec<f32>,
    /// Log-sum-exp of attention [heads, rows].
    pub lse: Vec<f32>,
    /// Hidden state between attention and MLP [rows, hidden].
    pub middle: Vec<f32>,
    pub scales_post: Vec<f32>,
    /// [rows, 2 intermediate].
    pub gate_up: Vec<f32>,
}

impl LayerTape {
    pub(super) fn new(config: &Config, rows: usize, workspace: &mut Workspace) -> LayerTape {
        let qkv = rows * config.qkv_width();
        LayerTape {
            scales_in: workspace.take(rows),
            raw: config.qk_norm().then(|| workspace.take(qkv)),
            qkv: workspace.take(qkv),
            mixed: workspace.take(rows * config.q_width()),
            lse: workspace.take(rows * config.heads),
            middle: workspace.take(rows * config.hidden_size),
            scales_post: workspace.take(rows),
            gate_up: workspace.take(rows * 2 * config.intermediate_size),
        }
    }

    pub(super) fn recycle(self, workspace: &mut Workspace) {
        if let Some(raw) = self.raw {
            workspace.give(raw);
        }
        for buffer in [
            self.scales_in,
            self.qkv,
            self.mixed,
            self.lse,
            self.middle,
            self.scales_post,
            self.gate_up,
        ] {
            workspace.give(buffer);
        }
    }
}

/// One block on a batch.
pub(super) struct Pass<'a> {
    pub config: &'a Config,
    pub view: LayerView<'a>,
    pub starts: &'a [usize],
    pub positions: &'a [u32],
    /// So many rows at the beginning of a batch of one sequence are given: q, k, v of them stand in the tape already, and
    /// nothing else of them is read or written.
    pub given: usize,
}

impl Pass<'_> {
    /// Fills `tape` from the block's input `h` [rows, hidden]; `out` is left out where only the tape is wanted.
    pub fn run(&self, h: &[f32], tape: &mut LayerTape, out: Option<&mut [f32]>, rope: &Rope) {
        self.project(h, tape, rope);
        let (mixed, lse) = (Shared::new(&mut tape.mixed), Shared::new(&mut tape.lse));
        let shape = heads(self.config);
        each_head(self.starts, shape.kv_heads, |sequence, kv| {
            // SAFETY: every (sequence, head) has its own columns of its own rows.
            unsafe { attention::forward(shape, &tape.qkv, sequence, self.given, kv, mixed, lse) }
        });
        self.finish(h, tape, out);
    }

    /// The rows that are computed.
    fn rows(&self) -> Range<usize> {
        self.given..self.positions.len()
    }

    /// Norm, q/k/v, rotation.
    fn project(&self, h: &[f32], tape: &mut LayerTape, rope: &Rope) {
        let config = self.config;
        let (d, w) = (config.hidden_size, config.qkv_width());
        let (qkv, scales) = (Shared::new(&mut tape.qkv), Shared::new(&mut tape.scales_in));
        let raw = tape.raw.as_mut().map(|raw| Shared::new(raw));
        blocks_of(self.rows(), block_rows(config), |_, r| {
            let turn = Turn {
                rope,
                positions: &self.positions[r.clone()],
                head_dim: config.head_dim,
                stride: w,
            };
            let h = &h[span(&r, d)];
            // SAFETY: blocks of rows are disjoint.
            unsafe {
                let raw = raw.map(|raw| raw.slice(span(&r, w)));
                let (qkv, scales) = (qkv.slice(span(&r, w)), scales.slice(r));
                block::project(config, self.view, h, turn, qkv, scales, raw);
            }
        });
    }

    /// Output projection and MLP.
    fn finish(&self, h: &[f32], tape: &mut LayerTape, out: Option<&mut [f32]>) {
        let config = self.config;
        let (d, f, q) = (
            config.hidden_size,
            config.intermediate_size,
            config.q_width(),
        );
        let mixed = &tape.mixed;
        let (middle, scales) = (
            Shared::new(&mut tape.middle),
            Shared::new(&mut tape.scales_post),
        );
        let gate_up = Shared::new(&mut tape.gate_up);
        let out = out.map(Shared::new);
        blocks_of(self.rows(), block_rows(config), |_, r| {
            let (h, mixed) = (&h[span(&r, d)], &mixed[span(&r, q)]);
            // SAFETY: blocks of rows are disjoint.
            unsafe {
                let middle = middle.slice(span(&r, d));
                let out = out.map(|out| out.slice(span(&r, d)));
                let (gate_up, scales) = (gate_up.slice(span(&r, 2 * f)), scales.slice(r));
                block::finish(config, self.view, h, mixed, middle, scales, gate_up, out);
            }
        });
    }
}

pub(super) fn heads(config: &Config) -> Heads {
    Heads {
        heads: config.heads,
        kv_heads: config.kv_heads,
        dim: config.head_dim,
    }
}

/// Every (sequence, key/value head) of a batch, in parallel.
pub(super) fn each_head(
    starts: &[usize],
    kv_heads: usize,
    work: impl Fn(Range<usize>, usize) + Sync + Send,
) {
    let items = (starts.len() - 1) * kv_heads;
    (0..items).into_par_iter().for_each(|item| {
        let (s, kv) = (item / kv_heads, item % kv_heads);
        work(starts[s]..starts[s + 1], kv);
    });
}
