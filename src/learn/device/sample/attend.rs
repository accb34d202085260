//! Attention of rows that are one token each over the pages of a cache: by the own kernels where they are used and have heads of
//! this width, by candle's plain operations else (`seen`).
//!
//! What a page gives is computed for it alone: the outputs of its positions, the largest score, and the sum of
//! exp(score - largest). A row's pages are then merged in their order.

use std::cell::OnceCell;

use candle_core::{DType, Result, Tensor};

use crate::device::kernels::{GROUP, Variant};
use crate::device::launch::{Arg, launch, of_heads, unwritten};
use crate::device::ops::heads::Turn;
use crate::device::sample::cache::Pair;
use crate::device::sample::rows::{Rows, made};
use crate::device::sample::seen::Seen;
use crate::kernels::attention::Heads;

/// Attention of the rows of a step.
pub(super) struct Attention<'a> {
    rows: &'a Rows<'a>,
    /// The same in all blocks, made when it is first asked for.
    seen: OnceCell<Seen>,
}

impl<'a> Attention<'a> {
    pub fn of(rows: &'a Rows<'a>) -> Attention<'a> {
        Attention {
            rows,
            seen: OnceCell::new(),
        }
    }

    /// From q, k (rotated), v [width, q + 2 kv] and the keys and values of a block, where those of the rows are already, to the
    /// heads' outputs side by side [width, q].
    pub fn attend(&self, turn: &Turn, qkv: &Tensor, cached: &Pair) -> Result<Tensor> {
        match of_heads(qkv.device(), qkv.dtype(), turn.shape.dim) {
            Some(variant) => launched(self.rows, turn, qkv, cached, variant),
            None => {
                let seen = made(&self.seen, || Seen::new(self.rows))?;
                seen.attend(turn.shape, qkv, cached)
            }
        }
    }
}

fn launched(
    rows: &Rows,
    turn: &Turn,
    qkv: &Tensor,
    [keys, values]: &Pair,
    variant: Variant,
) -> Result<Tensor> {
    let Heads {
        heads,
        kv_heads: kv,
        dim,
    } = turn.shape;
    let (width, most, device) = (rows.width, rows.most, qkv.device());
    let of_pages = |numbers: usize| unwritten((width, heads, most, numbers), DType::F32, device);
    let (parts, stats) = (of_pages(dim)?, of_pages(2)?);
    let (table, positions) = (rows.table()?, &turn.angles.positions);
    let arguments = [
        Arg::Read(qkv),
        Arg::Read(keys),
        Arg::Read(values),
        Arg::Read(table),
        Arg::Read(positions),
        Arg::Write(&parts),
        Arg::Write(&stats),
        Arg::I32(most),
        Arg::I32(heads),
        Arg::I32(kv),
        Arg::F32(f64::from((dim as f32).powf(-0.5))),
    ];
    let groups = kv * (heads / kv).div_ceil(GROUP);
    launch("decode_pages", variant, [width, groups, most], &arguments)?;
    let out = unwritten((width, heads * dim), qkv.dtype(), device)?;
    let arguments = [
        Arg::Read(&parts),
        Arg::Read(&stats),
        Arg::Read(positions),
        Arg::Write(&out),
        Arg::I32(most),
        Arg::I32(heads),
    ];
    launch("decode_merge", variant, [width, heads, 1], &arguments)?;
    Ok(out)
}
