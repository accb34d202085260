//! Prompts through the decoder: several in one pass, each once for all of its samples.

use candle_core::{Result, Tensor};

use crate::decoder::Packed;
use crate::device::decoder::{again, embed, normed};
use crate::device::head;
use crate::device::net::Net;
use crate::device::ragged::{Ragged, Workspace};
use crate::device::sample::cache::Pair;

/// Tokens of prompts that are computed together, unless one has more.
pub(crate) const TOGETHER: usize = 4096;

/// What a prompt was computed to. None of it keeps what others were computed to.
pub(super) struct Prompt {
    /// By block.
    pub blocks: Vec<Pair>,
    /// After its last token [1, vocabulary].
    pub logits: Tensor,
}

/// None is empty.
pub(super) fn compute(
    net: Net,
    prompts: &[&[u32]],
    workspace: &mut Workspace,
) -> Result<Vec<Prompt>> {
    let (mut ids, mut starts) = (vec![], vec![0]);
    for prompt in prompts {
        ids.extend_from_slice(prompt);
        starts.push(ids.len());
    }
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let config = net.config();
    let ragged = Ragged::new(batch, config, workspace, net.device())?;
    let mut h = embed(net, &ids)?;
    let mut blocks: Vec<Vec<Pair>> = prompts.iter().map(|_| vec![]).collect();
    let (heads, kv, dim) = (config.heads, config.kv_heads, config.head_dim);
    for layer in 0..config.layers {
        let (out, tape) = again(net, layer, &h, &ragged)?;
        let by_head = tape.qkv.reshape((ids.len(), heads + 2 * kv, dim))?;
        for (bounds, blocks) in starts.windows(2).zip(&mut blocks) {
            let own = by_head.narrow(0, bounds[0], bounds[1] - bounds[0])?;
            // A prompt of one token lies without gaps where it is: it is to be copied all the same.
            let side = |first: usize| {
                let side = own.narrow(1, first, kv)?;
                side.transpose(0, 1)?.force_contiguous()
            };
            blocks.push([side(heads)?, side(heads + kv)?]);
        }
        h = out;
    }
    let last: Vec<u32> = starts[1..].iter().map(|&end| end as u32 - 1).collect();
    let last = Tensor::from_slice(&last, last.len(), net.device())?;
    let last = normed(net, &h.index_select(&last, 0)?)?;
    let logits = head::logits(net.weights, &last)?;
    let each = blocks.into_iter().enumerate();
    each.map(|(i, blocks)| {
        let logits = logits.narrow(0, i, 1)?.force_contiguous()?;
        Ok(Prompt { blocks, logits })
    })
    .collect()
}
