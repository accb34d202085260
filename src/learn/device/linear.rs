//! The products with a decoder's matrices and the adapters on them, forward and backward: y = x W^T, and on the columns of an
//! adapter y += scale (x A^T) B^T. Adapters stay products of their own: folded into W, a small one would be rounded away.
//!
//! Both factors of a product have the matrix's type. What comes out is summed in f32, and rounded once where another type is
//! asked for; what is trained has its gradient in f32.

use candle_core::{DType, Result, Tensor};

use crate::device::net::{Matrix, Pair};
use crate::device::parts::Parts;
use crate::device::product::{product, product_in, rounded};

/// [rows, in] to [rows, out].
pub fn forward(matrix: &Matrix, x: &Tensor, dtype: DType) -> Result<Tensor> {
    let x = &rounded(x, matrix.weight.dtype())?;
    if matrix.pairs.is_empty() {
        return product_in(dtype, x, &matrix.weight.t()?);
    }
    let y = product(x, &matrix.weight.t()?)?;
    let (mut pieces, mut next) = (vec![], 0);
    for pair in &matrix.pairs {
        let columns = &pair.columns;
        if columns.start > next {
            pieces.push(y.narrow(1, next, columns.start - next)?);
        }
        let own = y.narrow(1, columns.start, columns.len())?;
        pieces.push((own + product(&down(pair, x)?, &pair.b.t()?)?)?);
        next = columns.end;
    }
    if next < matrix.outputs {
        pieces.push(y.narrow(1, next, matrix.outputs - next)?);
    }
    Tensor::cat(&pieces, 1)?.to_dtype(dtype)
}

/// dy [rows, out] as the products of the way back read it, and du = scale dy B [rows, rank] of every adapter.
pub struct Factor {
    dy: Tensor,
    dus: Vec<Tensor>,
}

impl Factor {
    pub fn new(matrix: &Matrix, dy: &Tensor) -> Result<Factor> {
        let dy = rounded(dy, matrix.weight.dtype())?;
        let dus = matrix.pairs.iter().map(|pair| {
            let du = (product(&own(pair, &dy)?, pair.b)? * pair.scale)?;
            rounded(&du, pair.b.dtype())
        });
        let dus = dus.collect::<Result<_>>()?;
        Ok(Factor { dy, dus })
    }
}

/// dx [rows, in].
pub fn backward(matrix: &Matrix, factor: &Factor, dtype: DType) -> Result<Tensor> {
    if matrix.pairs.is_empty() {
        return product_in(dtype, &factor.dy, matrix.weight);
    }
    let mut dx = product(&factor.dy, matrix.weight)?;
    for (pair, du) in matrix.pairs.iter().zip(&factor.dus) {
        dx = (dx + product(du, pair.a)?)?;
    }
    dx.to_dtype(dtype)
}

/// Adds the gradients of what is trained.
pub fn gradients(matrix: &Matrix, x: &Tensor, factor: &Factor, grads: &mut Parts) -> Result<()> {
    let (x, dy) = (&rounded(x, matrix.weight.dtype())?, &factor.dy);
    if matrix.trained {
        grads.add_product(matrix.span, &dy.t()?, x)?;
    }
    for (pair, du) in matrix.pairs.iter().zip(&factor.dus) {
        grads.add_product(pair.b_span, &own(pair, dy)?.t()?, &down(pair, x)?)?;
        grads.add_product(pair.a_span, &du.t()?, x)?;
    }
    Ok(())
}

/// dy on an adapter's columns.
fn own(pair: &Pair, dy: &Tensor) -> Result<Tensor> {
    let own = dy.narrow(1, pair.columns.start, pair.columns.len())?;
    own.contiguous()
}

/// u = scale x A^T [rows, rank], as the next product reads it.
fn down(pair: &Pair, x: &Tensor) -> Result<Tensor> {
    let u = (product(x, &pair.a.t()?)? * pair.scale)?;
    rounded(&u, pair.b.dtype())
}
