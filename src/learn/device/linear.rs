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

/// dy [rows, out] as the products of the way back read it.
pub fn factor(matrix: &Matrix, dy: &Tensor) -> Result<Tensor> {
    rounded(dy, matrix.weight.dtype())
}

/// dx [rows, in] from such a dy.
pub fn backward(matrix: &Matrix, dy: &Tensor, dtype: DType) -> Result<Tensor> {
    if matrix.pairs.is_empty() {
        return product_in(dtype, dy, matrix.weight);
    }
    let mut dx = product(dy, matrix.weight)?;
    for pair in &matrix.pairs {
        let (_, du) = back(pair, dy)?;
        dx = (dx + product(&du, pair.a)?)?;
    }
    dx.to_dtype(dtype)
}

/// Adds the gradients of what is trained.
pub fn gradients(matrix: &Matrix, x: &Tensor, dy: &Tensor, grads: &mut Parts) -> Result<()> {
    let x = &rounded(x, matrix.weight.dtype())?;
    if matrix.trained {
        grads.add_product(matrix.span, &dy.t()?, x)?;
    }
    for pair in &matrix.pairs {
        let (dy, du) = back(pair, dy)?;
        grads.add_product(pair.b_span, &dy.t()?, &down(pair, x)?)?;
        grads.add_product(pair.a_span, &du.t()?, x)?;
    }
    Ok(())
}

/// dy on an adapter's columns, and du = scale dy B [rows, rank].
fn back(pair: &Pair, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    let dy = dy.narrow(1, pair.columns.start, pair.columns.len())?;
    let dy = dy.contiguous()?;
    let du = rounded(&(product(&dy, pair.b)? * pair.scale)?, pair.b.dtype())?;
    Ok((dy, du))
}

/// u = scale x A^T [rows, rank], as the next product reads it.
fn down(pair: &Pair, x: &Tensor) -> Result<Tensor> {
    let u = (product(x, &pair.a.t()?)? * pair.scale)?;
    rounded(&u, pair.b.dtype())
}
