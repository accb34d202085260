//! Causal attention with grouped heads over packed sequences, forward and backward: by the own kernels, which hold no score beyond a
//! tile, where they are used and have heads of this width; over padded groups by candle's plain operations else (`padded`).

pub(crate) mod groups;
mod padded;

use candle_core::{DType, Result, Tensor};

use crate::device::kernels::Variant;
use crate::device::launch::{Arg, launch, of_heads, unwritten};
use crate::device::ragged::Ragged;
use crate::kernels::attention::Heads;

/// What attention gives.
#[derive(Debug)]
pub struct Attended {
    /// The heads' outputs side by side [rows, out_width], of the type of q, k, v.
    pub out: Tensor,
    /// Log-sum-exps of the scores [heads, rows], where a kernel computed: its way back needs them.
    pub lse: Option<Tensor>,
}

/// `qkv` [rows, width].
pub fn forward(shape: Heads, qkv: &Tensor, ragged: &Ragged) -> Result<Attended> {
    let Some(variant) = of_heads(qkv.device(), qkv.dtype(), shape.dim) else {
        let out = padded::forward(shape, &qkv.to_dtype(DType::F32)?, ragged)?;
        let out = out.to_dtype(qkv.dtype())?;
        return Ok(Attended { out, lse: None });
    };
    let qkv = &qkv.contiguous()?;
    let (rows, tiles) = (qkv.dim(0)?, &ragged.tiles);
    let out = unwritten((rows, shape.out_width()), qkv.dtype(), qkv.device())?;
    let lse = unwritten((shape.heads, rows), DType::F32, qkv.device())?;
    let own = [
        Arg::Read(qkv),
        Arg::Read(tiles),
        Arg::Write(&out),
        Arg::Write(&lse),
    ];
    let arguments = [&own[..], &sizes(shape, rows)].concat();
    let counts = [tiles.dim(0)?, shape.heads, 1];
    launch("flash_forward", variant, counts, &arguments)?;
    Ok(Attended {
        out,
        lse: Some(lse),
    })
}

/// dL/d(qkv) [rows, width] from dL/d(out) [rows, out_width], of the type of q, k, v.
pub fn backward(
    shape: Heads,
    qkv: &Tensor,
    attended: &Attended,
    dout: &Tensor,
    ragged: &Ragged,
) -> Result<Tensor> {
    let variant = of_heads(qkv.device(), qkv.dtype(), shape.dim);
    match (variant, &attended.lse) {
        (Some(variant), Some(lse)) => {
            let dout = dout.to_dtype(qkv.dtype())?.contiguous()?;
            launch_backward(shape, qkv, (&attended.out, lse), &dout, ragged, variant)
        }
        _ => {
            let (of_qkv, dout) = (qkv.to_dtype(DType::F32)?, dout.to_dtype(DType::F32)?);
            padded::backward(shape, &of_qkv, &dout, ragged)?.to_dtype(qkv.dtype())
        }
    }
}

fn launch_backward(
    shape: Heads,
    qkv: &Tensor,
    (out, lse): (&Tensor, &Tensor),
    dout: &Tensor,
    ragged: &Ragged,
    variant: Variant,
) -> Result<Tensor> {
    let qkv = &qkv.contiguous()?;
    let (rows, tiles) = (qkv.dim(0)?, &ragged.tiles);
    let delta = unwritten((shape.heads, rows), DType::F32, qkv.device())?;
    let arguments = [
        Arg::Read(out),
        Arg::Read(dout),
        Arg::Write(&delta),
        Arg::I32(rows),
        Arg::I32(shape.heads),
    ];
    launch("flash_delta", variant, [rows, shape.heads, 1], &arguments)?;
    let dqkv = unwritten((rows, shape.width()), qkv.dtype(), qkv.device())?;
    let own = [
        Arg::Read(qkv),
        Arg::Read(dout),
        Arg::Read(lse),
        Arg::Read(&delta),
        Arg::Read(tiles),
        Arg::Write(&dqkv),
    ];
    let arguments = [&own[..], &sizes(shape, rows)].concat();
    let counts = |heads: usize| Result::Ok([tiles.dim(0)?, heads, 1]);
    launch(
        "flash_backward_queries",
        variant,
        counts(shape.heads)?,
        &arguments,
    )?;
    launch(
        "flash_backward_keys",
        variant,
        counts(shape.kv_heads)?,
        &arguments,
    )?;
    Ok(dqkv)
}

fn sizes(shape: Heads, rows: usize) -> [Arg<'static>; 4] {
    [
        Arg::I32(rows),
        Arg::I32(shape.heads),
        Arg::I32(shape.kv_heads),
        Arg::F32(f64::from((shape.dim as f32).powf(-0.5))),
    ]
}
