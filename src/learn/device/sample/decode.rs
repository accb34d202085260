//! One more token for every row under way, through the whole decoder.

use candle_core::{Result, Tensor};

use crate::device::attention::Attended;
use crate::device::block::{self, Mixed};
use crate::device::decoder::{embed, normed};
use crate::device::net::Net;
use crate::device::ragged::Workspace;
use crate::device::sample::attend::Attention;
use crate::device::sample::cache::Cache;
use crate::device::sample::rows::{At, Rows};

/// Rows of a step, with those that fill it up: 1, 2, 3, 4, 6, 8, 12, 16 and so on. The sums of a product follow its shape, so
/// the bits of a row hang on the width and not on how many rows go with it; and a device meets few shapes.
pub fn width(rows: usize) -> usize {
    let above = rows.next_power_of_two();
    match above / 4 * 3 {
        between if above >= 4 && rows <= between => between,
        _ => above,
    }
}

/// The last hidden states [width, hidden] after the final norm, of every row's token at its position; of rows beyond them,
/// numbers that mean nothing. The cache receives the tokens' keys and values.
pub(super) fn step(
    net: Net,
    cache: &Cache,
    rows: &[At],
    workspace: &mut Workspace,
) -> Result<Tensor> {
    let width = width(rows.len());
    let filled = |each: fn(&At) -> u32| {
        let mut all: Vec<u32> = rows.iter().map(each).collect();
        all.resize(width, 0);
        all
    };
    let (tokens, positions) = (filled(|row| row.token), filled(|row| row.position as u32));
    let angles = workspace.angles(positions, net.config(), net.device())?;
    let rows = Rows::new(rows, width, net.device());
    let attention = Attention::of(&rows);
    let mut h = embed(net, &tokens)?;
    for layer in 0..net.config().layers {
        let (out, _) = block::forward(net, layer, &h, &angles, |turn, qkv| {
            let qkv = cache.receive(layer, &turn, qkv, &rows)?;
            let out = attention.attend(&turn, &qkv, cache.block(layer))?;
            Ok(Mixed {
                qkv,
                raw: None,
                attended: Attended { out, lse: None },
            })
        })?;
        h = out;
    }
    normed(net, &h)
}
