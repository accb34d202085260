//! Hidden states of prompts: what a model makes of a text before it writes anything. They are counted as transformers counts them: 0 the
//! embeddings, i the output of block i, the last after the final norm.
//!
//! Every prompt is a pass of its own, so that its states depend neither on its neighbours nor on how many are computed at a time.

use crate::adapter::Net;
use crate::decoder::{self, Packed, Workspace};
use base::choice;
use rayon::prelude::*;

choice! {
    /// Which of a prompt's states is kept.
    pub enum Position {
        /// That of its last token.
        Last = "last",
        /// The mean over its tokens.
        Mean = "mean",
    }
}

/// What is kept of a prompt.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Ascending, each from 0 to the number of blocks.
    pub layers: &'a [usize],
    pub position: Position,
}

/// By layer that is wanted, the states of the prompts [prompts, hidden], each with at least one token. `at_once` prompts are in memory at the
/// same time; `done` hears after each of these parts how many there are, and says whether to go on: where it does not, there are none.
///
/// Panics on a layer that the model does not have.
pub fn of_prompts<'a>(
    net: impl Into<Net<'a>>,
    prompts: &[Vec<u32>],
    wanted: Wanted,
    at_once: usize,
    done: &mut dyn FnMut(usize) -> bool,
) -> Option<Vec<Vec<f32>>> {
    let net = net.into();
    let last = net.config().layers;
    let inside = wanted.layers.iter().all(|layer| *layer <= last);
    assert!(inside, "the model has these layers");
    let mut states = vec![vec![]; wanted.layers.len()];
    let mut seen = 0;
    for part in prompts.chunks(at_once.max(1)) {
        let of_part: Vec<Vec<Vec<f32>>> = part
            .par_iter()
            .map_init(Workspace::new, |workspace, ids| {
                of_one(net, ids, wanted, workspace)
            })
            .collect();
        for of_prompt in of_part {
            for (all, one) in states.iter_mut().zip(of_prompt) {
                all.extend(one);
            }
        }
        seen += part.len();
        if !done(seen) {
            return None;
        }
    }
    Some(states)
}

/// By layer.
fn of_one(net: Net, ids: &[u32], wanted: Wanted, workspace: &mut Workspace) -> Vec<Vec<f32>> {
    let starts = [0, ids.len()];
    let batch = Packed {
        ids,
        starts: &starts,
    };
    let width = net.config().hidden_size;
    let mut out = Vec::with_capacity(wanted.layers.len());
    decoder::each_state(net, batch, workspace, |layer, rows| {
        if wanted.layers.contains(&layer) {
            out.push(match wanted.position {
                Position::Last => rows[rows.len() - width..].to_vec(),
                Position::Mean => mean(rows, width),
            });
        }
    });
    out
}

fn mean(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; width];
    for row in rows.chunks_exact(width) {
        let each = sums.iter_mut().zip(row);
        each.for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let n = (rows.len() / width) as f64;
    sums.into_iter().map(|sum| (sum / n) as f32).collect()
}
