//! The score head of a sequence classifier, read at the last token of each sequence. Every sequence is a pass of its own, so that
//! a number depends neither on its neighbours nor on how many are computed at a time.

use crate::adapter::Net;
use crate::decoder::{self, Packed, Workspace};
use rayon::prelude::*;

/// Tokens that are in memory at a time, unless one sequence has more.
pub const TOGETHER: usize = 4096;

/// Sequences from long to short, cut into parts of so many tokens at most, or of one sequence; each by its number.
pub(crate) fn parts(lengths: &[usize], together: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
    let mut rest = order.as_slice();
    let mut parts = vec![];
    while let Some(&longest) = rest.first() {
        let fit = together / lengths[longest];
        let (part, later) = rest.split_at(fit.clamp(1, rest.len()));
        parts.push(part.to_vec());
        rest = later;
    }
    parts
}

/// The number of each sequence, in their order, by a head with one label: longest first, as many at a time as memory is meant
/// for. `done` hears how many there are after every part, and says whether to go on; where it does not, there are none.
///
/// Panics on an empty sequence and on ids outside of the vocabulary.
pub fn of_sequences<'a>(
    net: impl Into<Net<'a>>,
    sequences: &[&[u32]],
    done: &mut dyn FnMut(usize) -> bool,
) -> Option<Vec<f32>> {
    let net = net.into();
    let lengths: Vec<usize> = sequences.iter().map(|ids| ids.len()).collect();
    let mut numbers = vec![0.0; sequences.len()];
    let mut seen = 0;
    for part in parts(&lengths, TOGETHER) {
        let of_part: Vec<f32> = part
            .par_iter()
            .map_init(Workspace::new, |workspace, &i| {
                of_one(net, sequences[i], workspace)
            })
            .collect();
        for (&i, number) in part.iter().zip(of_part) {
            numbers[i] = number;
        }
        seen += part.len();
        if !done(seen) {
            return None;
        }
    }
    Some(numbers)
}

fn of_one(net: Net, ids: &[u32], workspace: &mut Workspace) -> f32 {
    let starts = [0, ids.len()];
    let batch = Packed {
        ids,
        starts: &starts,
    };
    decoder::logits_at(net, batch, &[ids.len() - 1], workspace)[0]
}
