//! The row-wise arithmetic of the decoder on candle's tensors, forward and backward. Formulas are those of `kernels/`.
//!
//! Rows are [rows, width] unless said. Knows no weights and no sequences.

use candle_core::{D, Result, Tensor};

use crate::device::fused::{self, Fused};

/// a b, of matrices or of batches [n, .., ..] of them. CUDA multiplies only matrices that lie without gaps by rows or by
/// columns, candle's CPU any: holding both to the narrower rule lets the tests on the CPU speak for CUDA.
pub fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    for factor in [a, b] {
        assert!(gapless(factor), "a product's factors lie without gaps");
    }
    a.matmul(b)
}

/// Whether each matrix of a batch lies without gaps, by rows or by columns; what lies between two of them does not matter.
fn gapless(t: &Tensor) -> bool {
    let dense = |outer: (usize, usize), inner: (usize, usize)| {
        (inner.1 == 1 || inner.0 == 1) && (outer.1 == inner.0 || outer.0 == 1)
    };
    let axes = t.dims().iter().copied().zip(t.stride().iter().copied());
    let [.., rows, columns] = axes.collect::<Vec<_>>()[..] else {
        return false;
    };
    t.rank() <= 3 && (dense(rows, columns) || dense(columns, rows))
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
pub struct SwiGlu;

impl Fused for SwiGlu {
    const NAME: &'static str = "swiglu";

    fn plain(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let (gate, up) = halves(&inputs[0])?;
        (&gate * sigmoid(&gate)?)? * up
    }
}

/// From gate_up [rows, 2 f] and dact [rows, f] to d(gate_up): with s = sigmoid(gate), d gate = dact up s (1 + gate (1 - s))
/// and d up = dact gate s.
pub struct SwiGluBackward;

impl Fused for SwiGluBackward {
    const NAME: &'static str = "swiglu backward";

    fn plain(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let [gate_up, dact] = inputs else {
            candle_core::bail!("{} has two inputs", Self::NAME)
        };
        let (gate, up) = halves(gate_up)?;
        let s = sigmoid(&gate)?;
        let dup = (dact * (&gate * &s)?)?;
        let slope = (((gate * (1.0 - &s)?)? + 1.0)? * s)?;
        let dgate = ((dact * up)? * slope)?;
        Tensor::cat(&[dgate, dup], 1)
    }
}

pub(crate) fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    fused::run(SwiGlu, &[gate_up])
}

pub(crate) fn swiglu_backward(gate_up: &Tensor, dact: &Tensor) -> Result<Tensor> {
    fused::run(SwiGluBackward, &[gate_up, dact])
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
