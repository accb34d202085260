//! The row-wise arithmetic of the decoder on candle's tensors, forward and backward. Formulas are those of `kernels/`.
//!
//! Rows are [rows, width] unless said. Knows the layout of the weights and nothing of sequences.

use std::ops::Range;

use candle_core::{D, Result, Tensor};

use crate::device::parts::{DeviceWeights, Parts};

/// a b, of matrices or of batches of them. CUDA multiplies only what lies without gaps by rows or by columns, candle's CPU
/// anything: holding both to the narrower rule lets the tests on the CPU speak for CUDA.
pub fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    for factor in [a, b] {
        assert!(
            factor.is_contiguous() || factor.t()?.is_contiguous(),
            "a product's factors lie without gaps"
        );
    }
    a.matmul(b)
}

/// y = x W^T: the one place where the decoder multiplies by its weights.
pub fn linear(weights: &DeviceWeights, span: &Range<usize>, x: &Tensor) -> Result<Tensor> {
    product(x, &weights.at(span).t()?)
}

/// dx = dy W, and dW += dy^T x where gradients are wanted.
pub(crate) fn linear_backward(
    weights: &DeviceWeights,
    span: &Range<usize>,
    x: &Tensor,
    dy: &Tensor,
    grads: Option<&mut Parts>,
) -> Result<Tensor> {
    if let Some(grads) = grads {
        grads.add(span, &product(&dy.t()?, x)?)?;
    }
    product(dy, weights.at(span))
}

/// Sum over the rows: [rows, n] to [n]. A product with ones, since candle is slow at sums over rows.
pub(crate) fn sum_rows(x: &Tensor) -> Result<Tensor> {
    let (rows, n) = x.dims2()?;
    let ones = Tensor::ones((1, rows), x.dtype(), x.device())?;
    product(&ones, x)?.reshape(n)
}

/// RMSNorm over the last dimension, of rows or of the heads of rows: y = x r w, and r = (mean(x^2) + eps)^(-1/2), which is
/// 1 wide.
pub fn norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    let r = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
    Ok((norm_again(x, weight, &r)?, r))
}

/// Normed rows computed once more, from the scales kept by `norm`.
pub(crate) fn norm_again(x: &Tensor, weight: &Tensor, r: &Tensor) -> Result<Tensor> {
    x.broadcast_mul(r)?.broadcast_mul(weight)
}

/// dx = r (w dy) - x r^3 / d sum(w dy x), and dw = the sum of dy x r over everything but the last dimension.
pub fn norm_backward(
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

/// Turns the halves of every head: `x` [rows, heads, head_dim], `cos` and `sin` [rows, 1, head_dim / 2].
pub fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let half = cos.dim(2)?;
    let (low, high) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
    let turned_low = (low.broadcast_mul(cos)? - high.broadcast_mul(sin)?)?;
    let turned_high = (high.broadcast_mul(cos)? + low.broadcast_mul(sin)?)?;
    Tensor::cat(&[turned_low, turned_high], 2)
}

/// act = silu(gate) up: [rows, 2 f] to [rows, f].
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    let (gate, up) = halves(gate_up)?;
    (&gate * sigmoid(&gate)?)? * up
}

/// From dact [rows, f] to d(gate_up) [rows, 2 f]: with s = sigmoid(gate), d gate = dact up s (1 + gate (1 - s)) and
/// d up = dact gate s.
pub(crate) fn swiglu_backward(gate_up: &Tensor, dact: &Tensor) -> Result<Tensor> {
    let (gate, up) = halves(gate_up)?;
    let s = sigmoid(&gate)?;
    let dup = (dact * (&gate * &s)?)?;
    let slope = (((gate * (1.0 - &s)?)? + 1.0)? * s)?;
    let dgate = ((dact * up)? * slope)?;
    Tensor::cat(&[dgate, dup], 1)
}

fn halves(gate_up: &Tensor) -> Result<(Tensor, Tensor)> {
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
