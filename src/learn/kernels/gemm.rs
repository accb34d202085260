//! Matrix products on one thread, through the `gemm` crate.

use gemm::Parallelism;

/// A matrix to read: `stride` numbers from row to row, `step` from column to column.
#[derive(Clone, Copy)]
pub struct Mat<'a> {
    data: &'a [f32],
    stride: usize,
    step: usize,
}

impl<'a> Mat<'a> {
    /// Row-major rows, `stride` apart; `data` begins at the first number.
    pub fn rows(data: &'a [f32], stride: usize) -> Mat<'a> {
        Mat {
            data,
            stride,
            step: 1,
        }
    }

    /// Transposed.
    pub fn t(self) -> Mat<'a> {
        Mat {
            data: self.data,
            stride: self.step,
            step: self.stride,
        }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.stride + (columns - 1) * self.step < self.data.len()
    }
}

/// `out[m, n] = scale * a[m, k] b[k, n]`, added to what is there where `add` is set. `out` is row-major with rows
/// `stride` apart.
#[allow(clippy::too_many_arguments)]
pub fn product(
    (m, n, k): (usize, usize, usize),
    scale: f32,
    a: Mat,
    b: Mat,
    out: &mut [f32],
    stride: usize,
    add: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(
        n <= stride && (m - 1) * stride + n <= out.len(),
        "a product fits its output"
    );
    // SAFETY: the output was just measured and is exclusively borrowed.
    unsafe { product_at((m, n, k), scale, a, b, out.as_mut_ptr(), stride, add) }
}

/// A product (see `product`) written to an address: for columns of an array whose other columns belong to other threads.
///
/// # Safety
/// The `m` rows of `n` numbers, `stride` apart, from `out` on are writable and nobody else touches them.
#[allow(clippy::too_many_arguments)]
pub(crate) unsafe fn product_at(
    (m, n, k): (usize, usize, usize),
    scale: f32,
    a: Mat,
    b: Mat,
    out: *mut f32,
    stride: usize,
    add: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(k > 0, "a product has an inner dimension");
    assert!(
        a.holds(m, k) && b.holds(k, n),
        "the factors hold what the product reads"
    );
    // SAFETY: reads are in bounds by the assertion, writes by the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            stride as isize,
            add,
            a.data.as_ptr(),
            a.step as isize,
            a.stride as isize,
            b.data.as_ptr(),
            b.step as isize,
            b.stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        )
    }
}
