//! The arithmetic of the decoder between its products, on candle's tensors, forward and backward: by the own kernels where they are
//! used (`launch::used`), by candle's plain operations else, which are what a kernel is held against.
//!
//! Knows no weights and no sequences.

pub mod heads;
pub mod logits;
pub mod rows;
pub mod table;

use candle_core::{Result, Tensor};

use crate::device::product::product;

/// Sum over the rows: [rows, n] to [n], of f32. A product with ones, since candle is slow at sums over rows.
pub(crate) fn sum_rows(x: &Tensor) -> Result<Tensor> {
    let (rows, n) = x.dims2()?;
    let ones = Tensor::ones((1, rows), x.dtype(), x.device())?;
    product(&ones, x)?.reshape(n)
}
