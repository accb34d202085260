//! What goes row by row: RMSNorm and SwiGLU, forward and backward. Each by its kernel where kernels are used, by candle's plain
//! operations else; formulas are those of `learn::kernels`.
//!
//! Rows are [rows, width]. The residual stream, weights of norms and their gradients are f32; what goes into products
//! (`act` in `kernels/common.h`) is of the number type that the caller says, or that came in.

use candle_core::{D, DType, Result, Tensor};

use crate::device::kernels::ROWS;
use crate::device::launch::{Arg, launch, of_rows, unwritten, used};
use crate::device::ops::sum_rows;

/// RMSNorm: y = x r w of the type `act`, and r = (mean(x^2) + eps)^(-1/2) [rows, 1].
pub fn norm(x: &Tensor, weight: &Tensor, eps: f64, act: DType) -> Result<(Tensor, Tensor)> {
    if !used(x.device()) {
        let r = scale(x, eps)?;
        return Ok((normed(x, weight, &r)?.to_dtype(act)?, r));
    }
    let (rows, width) = x.dims2()?;
    let x = &x.contiguous()?;
    let y = unwritten((rows, width), act, x.device())?;
    let r = unwritten((rows, 1), DType::F32, x.device())?;
    let arguments = [
        Arg::Read(x),
        Arg::Read(weight),
        Arg::Write(&y),
        Arg::Write(&r),
        Arg::I32(width),
        Arg::F32(eps),
    ];
    launch("rms_norm", of_rows(act), [rows, 1, 1], &arguments)?;
    Ok((y, r))
}

/// Normed rows once more: the same bits as `norm` gave.
pub fn norm_again(x: &Tensor, weight: &Tensor, r: &Tensor, eps: f64, act: DType) -> Result<Tensor> {
    match used(x.device()) {
        true => Ok(norm(x, weight, eps, act)?.0),
        false => normed(x, weight, r)?.to_dtype(act),
    }
}

/// dx = r (w dy) - x r^3 / width sum(w dy x), onto what is given, whose numbers nobody else has; and dw [width] = the sum of
/// dy x r over the rows.
pub fn norm_backward(
    x: &Tensor,
    weight: &Tensor,
    r: &Tensor,
    dy: &Tensor,
    onto: Option<Tensor>,
) -> Result<(Tensor, Tensor)> {
    let dy = &dy.to_dtype(DType::F32)?;
    if !used(x.device()) {
        let (dx, dw) = plain_backward(x, weight, r, dy)?;
        let dx = onto.map_or(Ok(dx.clone()), |onto| onto + dx)?;
        return Ok((dx, dw));
    }
    let (rows, width) = x.dims2()?;
    let (x, dy) = (&x.contiguous()?, &dy.contiguous()?);
    let dx = match onto {
        Some(onto) => onto.contiguous()?,
        None => x.zeros_like()?,
    };
    let parts = rows.div_ceil(ROWS);
    let partial = unwritten((parts, width), DType::F32, x.device())?;
    let arguments = [
        Arg::Read(x),
        Arg::Read(weight),
        Arg::Read(r),
        Arg::Read(dy),
        Arg::Write(&dx),
        Arg::Write(&partial),
        Arg::I32(rows),
        Arg::I32(width),
        Arg::I32(ROWS),
    ];
    launch(
        "rms_norm_backward",
        of_rows(DType::F32),
        [rows, 1, 1],
        &arguments,
    )?;
    Ok((dx, add_parts(&partial)?))
}

/// The sum of a kernel's parts [parts, width], in their order.
pub(super) fn add_parts(partial: &Tensor) -> Result<Tensor> {
    let (parts, width) = partial.dims2()?;
    let sum = Tensor::zeros(width, DType::F32, partial.device())?;
    let arguments = [
        Arg::Read(partial),
        Arg::Write(&sum),
        Arg::I32(parts),
        Arg::I32(width),
    ];
    launch("add_parts", of_rows(DType::F32), [width, 1, 1], &arguments)?;
    Ok(sum)
}

/// r of the last dimension, of rows or of the heads of rows; 1 wide.
pub(super) fn scale(x: &Tensor, eps: f64) -> Result<Tensor> {
    (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()
}

pub(super) fn normed(x: &Tensor, weight: &Tensor, r: &Tensor) -> Result<Tensor> {
    x.broadcast_mul(r)?.broadcast_mul(weight)
}

/// Of rows, or of the heads of rows: dw is summed over everything but the last dimension.
pub(super) fn plain_backward(
    x: &Tensor,
    weight: &Tensor,
    r: &Tensor,
    dy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let d = weight.elem_count();
    let slope = dy.broadcast_mul(weight)?;
    let inner = (&slope * x)?.sum_keepdim(D::Minus1)?;
    let back = (((r.sqr()? * r)? * inner)? / d as f64)?;
    let dx = (slope.broadcast_mul(r)? - x.broadcast_mul(&back)?)?;
    let dw = sum_rows(&(dy * x)?.broadcast_mul(r)?.reshape(((), d))?)?;
    Ok((dx, dw))
}

/// silu(gate) up: [rows, 2 f] to [rows, f], of the same type.
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    let act = gate_up.dtype();
    let (rows, f) = (gate_up.dim(0)?, gate_up.dim(1)? / 2);
    if !used(gate_up.device()) {
        let (gate, up) = halves(gate_up)?;
        return ((&gate * sigmoid(&gate)?)? * up)?.to_dtype(act);
    }
    let gate_up = &gate_up.contiguous()?;
    let out = unwritten((rows, f), act, gate_up.device())?;
    let arguments = [Arg::Read(gate_up), Arg::Write(&out), Arg::I32(f)];
    launch("swiglu", of_rows(act), [rows, 1, 1], &arguments)?;
    Ok(out)
}

/// From gate_up [rows, 2 f] and dact [rows, f], whose numbers nobody else has, to d(gate_up): with s = sigmoid(gate),
/// d gate = dact up s (1 + gate (1 - s)) and d up = dact gate s. And what `swiglu` gave, once more.
pub fn swiglu_backward(gate_up: &Tensor, dact: Tensor) -> Result<(Tensor, Tensor)> {
    let act = gate_up.dtype();
    if !used(gate_up.device()) {
        let (gate, up) = halves(gate_up)?;
        let dact = dact.to_dtype(DType::F32)?;
        let s = sigmoid(&gate)?;
        let silu = (&gate * &s)?;
        let (out, dup) = ((&silu * &up)?.to_dtype(act)?, (&dact * silu)?);
        let slope = (((gate * (1.0 - &s)?)? + 1.0)? * s)?;
        let dgate = ((dact * up)? * slope)?;
        return Ok((Tensor::cat(&[dgate, dup], 1)?.to_dtype(act)?, out));
    }
    let (rows, f) = (gate_up.dim(0)?, gate_up.dim(1)? / 2);
    let dact = dact.to_dtype(act)?.contiguous()?;
    // The kernel writes over what it reads, and others have that: the tape keeps it.
    let both = gate_up.copy()?;
    let arguments = [
        Arg::Write(&both),
        Arg::Read(&dact),
        Arg::Write(&dact),
        Arg::I32(f),
    ];
    launch("swiglu_backward", of_rows(act), [rows, 1, 1], &arguments)?;
    Ok((both, dact))
}

/// Gate and up, in f32.
fn halves(gate_up: &Tensor) -> Result<(Tensor, Tensor)> {
    let gate_up = gate_up.to_dtype(DType::F32)?;
    let f = gate_up.dim(1)? / 2;
    Ok((
        gate_up.narrow(1, 0, f)?.contiguous()?,
        gate_up.narrow(1, f, f)?.contiguous()?,
    ))
}

/// 1 / (1 + exp(-x)); exp overflows to infinity and the quotient to 0, as it should.
fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}
