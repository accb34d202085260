//! The products with a decoder's matrices and the adapters on them, forward and backward: y = x W^T, and on the columns of an
//! adapter y += scale (x A^T) B^T. Adapters stay products of their own: folded into W, a small one would be rounded away.

use candle_core::{Result, Tensor};

use crate::device::net::{Matrix, Pair};
use crate::device::ops::product;
use crate::device::parts::Parts;

/// [rows, in] to [rows, out].
pub fn forward(matrix: &Matrix, x: &Tensor) -> Result<Tensor> {
    let y = product(x, &matrix.weight.t()?)?;
    if matrix.pairs.is_empty() {
        return Ok(y);
    }
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
    Tensor::cat(&pieces, 1)
}

/// dx [rows, in] from dy [rows, out]; adds the gradients of what is trained where they are wanted.
pub fn backward(
    matrix: &Matrix,
    x: &Tensor,
    dy: &Tensor,
    mut grads: Option<&mut Parts>,
) -> Result<Tensor> {
    if let Some(grads) = grads.as_deref_mut().filter(|_| matrix.trained) {
        grads.add(matrix.span, &product(&dy.t()?, x)?)?;
    }
    let mut dx = product(dy, matrix.weight)?;
    for pair in &matrix.pairs {
        let dy = dy.narrow(1, pair.columns.start, pair.columns.len())?;
        let dy = dy.contiguous()?;
        let du = (product(&dy, pair.b)? * pair.scale)?;
        if let Some(grads) = grads.as_deref_mut() {
            grads.add(pair.b_span, &product(&dy.t()?, &down(pair, x)?)?)?;
            grads.add(pair.a_span, &product(&du.t()?, x)?)?;
        }
        dx = (dx + product(&du, pair.a)?)?;
    }
    Ok(dx)
}

/// u = scale x A^T [rows, rank].
fn down(pair: &Pair, x: &Tensor) -> Result<Tensor> {
    product(x, &pair.a.t()?)? * pair.scale
}
