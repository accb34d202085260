//! What is read of whole sequences on a device: hidden states of prompts, and what a score head makes of a last token. Several
//! go through the model in one pass; where a device's products round by their shape, the last bits of one follow how many
//! there are.

use candle_core::{Result, Tensor};

use crate::decoder::Packed;
use crate::device::decoder::{each_state, logits_at};
use crate::device::net::Net;
use crate::device::product::product;
use crate::device::ragged::Workspace;
use crate::labels::parts;
use crate::states::{Position, Wanted};

/// Tokens that are computed together, unless one sequence has more.
pub(super) const TOGETHER: usize = 8192;

/// See `learn::states::of_prompts`.
pub(super) fn of_prompts(
    net: Net,
    prompts: &[Vec<u32>],
    wanted: Wanted,
    at_once: usize,
    done: &mut dyn FnMut(usize) -> bool,
    workspace: &mut Workspace,
) -> Result<Option<Vec<Vec<f32>>>> {
    let last = net.config().layers;
    let inside = wanted.layers.iter().all(|layer| *layer <= last);
    assert!(inside, "the model has these layers");
    let width = net.config().hidden_size;
    let mut states = vec![vec![0.0; prompts.len() * width]; wanted.layers.len()];
    let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
    let mut seen = 0;
    for part in parts(&lengths, TOGETHER) {
        for part in part.chunks(at_once.max(1)) {
            let sequences: Vec<&[u32]> = part.iter().map(|&i| &prompts[i][..]).collect();
            let (ids, starts) = packed(&sequences);
            let batch = Packed {
                ids: &ids,
                starts: &starts,
            };
            let pick = Pick::new(&starts, wanted.position, net)?;
            let mut of_layers = states.iter_mut();
            each_state(net, batch, workspace, |layer, rows| {
                if !wanted.layers.contains(&layer) {
                    return Ok(());
                }
                let own = pick.of(rows)?.to_vec2::<f32>()?;
                let all = of_layers
                    .next()
                    .expect("each layer that is wanted comes once, in its order");
                for (&i, own) in part.iter().zip(own) {
                    all[i * width..(i + 1) * width].copy_from_slice(&own);
                }
                Ok(())
            })?;
            seen += part.len();
            if !done(seen) {
                return Ok(None);
            }
        }
    }
    Ok(Some(states))
}

/// See `learn::labels::of_sequences`.
pub(super) fn labels(
    net: Net,
    sequences: &[&[u32]],
    done: &mut dyn FnMut(usize) -> bool,
    workspace: &mut Workspace,
) -> Result<Option<Vec<f32>>> {
    let lengths: Vec<usize> = sequences.iter().map(|ids| ids.len()).collect();
    let mut numbers = vec![0.0; sequences.len()];
    let mut seen = 0;
    for part in parts(&lengths, TOGETHER) {
        let own: Vec<&[u32]> = part.iter().map(|&i| sequences[i]).collect();
        let (ids, starts) = packed(&own);
        let batch = Packed {
            ids: &ids,
            starts: &starts,
        };
        let rows: Vec<usize> = starts[1..].iter().map(|end| end - 1).collect();
        let of_part = logits_at(net, batch, &rows, workspace)?.to_vec2::<f32>()?;
        for (&i, of_one) in part.iter().zip(of_part) {
            numbers[i] = of_one[0];
        }
        seen += part.len();
        if !done(seen) {
            return Ok(None);
        }
    }
    Ok(Some(numbers))
}

/// Sequences one after another: ids and bounds.
fn packed(sequences: &[&[u32]]) -> (Vec<u32>, Vec<usize>) {
    let (mut ids, mut starts) = (vec![], vec![0]);
    for sequence in sequences {
        ids.extend_from_slice(sequence);
        starts.push(ids.len());
    }
    (ids, starts)
}

/// What takes a sequence's state from the states of its tokens.
enum Pick {
    /// Rows [sequences].
    Rows(Tensor),
    /// Of every sequence its first row and the shares of its rows [1, rows]: what is no number in one is none of another's mean.
    Means(Vec<(usize, Tensor)>),
}

impl Pick {
    fn new(starts: &[usize], position: Position, net: Net) -> Result<Pick> {
        let device = net.device();
        if position == Position::Last {
            let last: Vec<u32> = starts[1..].iter().map(|&end| end as u32 - 1).collect();
            return Ok(Pick::Rows(Tensor::from_vec(
                last,
                starts.len() - 1,
                device,
            )?));
        }
        let shares = starts.windows(2).map(|bounds| {
            let rows = bounds[1] - bounds[0];
            let shares = Tensor::full(1.0 / rows as f32, (1, rows), device)?;
            Ok((bounds[0], shares))
        });
        Ok(Pick::Means(shares.collect::<Result<_>>()?))
    }

    /// Of rows [tokens, hidden]: [sequences, hidden].
    fn of(&self, rows: &Tensor) -> Result<Tensor> {
        match self {
            Pick::Rows(last) => rows.index_select(last, 0),
            Pick::Means(all) => {
                let means = all.iter().map(|(first, shares)| {
                    product(shares, &rows.narrow(0, *first, shares.dim(1)?)?)
                });
                Tensor::cat(&means.collect::<Result<Vec<_>>>()?, 0)
            }
        }
    }
}
