//! Products of matrices on a device: of factors in f32, or of factors in bf16 with sums in f32. And the rounding of factors.
//!
//! A product is of bf16 where one of its factors is: the other is rounded then. candle's CPU multiplies no bf16, so there both
//! are widened again, which gives the same products and another order of sums. candle's own product of bf16 on CUDA writes bf16
//! and adds to nothing; ours writes f32 (or bf16, rounded once) and adds to a gradient in place.
//!
//! Knows no weights.

use candle_core::{DType, Result, Tensor};

/// a b, of matrices or of batches [n, .., ..] of them, in f32. CUDA multiplies only matrices that lie without gaps by rows or by
/// columns, candle's CPU any: holding both to the narrower rule lets the tests on the CPU speak for CUDA.
pub fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    product_in(DType::F32, a, b)
}

/// The same in this type: summed in f32 and rounded once.
pub fn product_in(dtype: DType, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    for factor in [a, b] {
        assert!(gapless(factor), "a product's factors lie without gaps");
    }
    if !is_bf16(a, b) {
        return a.matmul(b)?.to_dtype(dtype);
    }
    let (a, b) = (rounded(a, DType::BF16)?, rounded(b, DType::BF16)?);
    #[cfg(feature = "cuda")]
    if a.device().is_cuda() {
        return a.apply_op2_no_bwd(&b, &blas::Product(dtype));
    }
    let wide = |t: &Tensor| rounded(t, DType::F32);
    wide(&a)?.matmul(&wide(&b)?)?.to_dtype(dtype)
}

/// sum += a b, in f32. Nobody else holds `sum`, which lies by rows.
pub fn add_product(sum: &mut Tensor, a: &Tensor, b: &Tensor) -> Result<()> {
    #[cfg(feature = "cuda")]
    if sum.device().is_cuda() {
        for factor in [a, b] {
            assert!(gapless(factor), "a product's factors lie without gaps");
        }
        let dtype = if is_bf16(a, b) {
            DType::BF16
        } else {
            DType::F32
        };
        let (a, b) = (rounded(a, dtype)?, rounded(b, dtype)?);
        return sum.inplace_op3(&a, &b, &blas::Added);
    }
    *sum = sum.add(&product(a, b)?)?;
    Ok(())
}

fn is_bf16(a: &Tensor, b: &Tensor) -> bool {
    [a, b].iter().any(|t| t.dtype() == DType::BF16)
}

/// In this type, lying as it did: to bf16 to the nearest, ties to even.
pub fn rounded(t: &Tensor, dtype: DType) -> Result<Tensor> {
    if t.rank() > 1 && !t.is_contiguous() && t.t()?.is_contiguous() {
        return t.t()?.to_dtype(dtype)?.t();
    }
    t.to_dtype(dtype)
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

/// cuBLAS on the device's own handle and stream. It knows columns only: what lies by rows is its transpose there, so that
/// c = a b is asked for as c' = b' a'.
#[cfg(feature = "cuda")]
mod blas {
    use candle_core::backend::BackendStorage;
    use candle_core::cuda_backend::WrapErr;
    use candle_core::cuda_backend::cudarc::cublas::{result, sys};
    use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, DevicePtrMut};
    use candle_core::cuda_backend::{CudaDType, CudaStorage};
    use candle_core::{CustomOp2, DType, InplaceOp3, Layout, Result, Shape, WithDType};
    use half::bf16;

    type Factor<'a> = (&'a CudaStorage, &'a Layout);

    /// The product of two factors in bf16, in this type.
    pub(super) struct Product(pub DType);

    impl CustomOp2 for Product {
        fn name(&self) -> &'static str {
            "product of bf16"
        }

        fn cpu_fwd(
            &self,
            _: &candle_core::CpuStorage,
            _: &Layout,
            _: &candle_core::CpuStorage,
            _: &Layout,
        ) -> Result<(candle_core::CpuStorage, Shape)> {
            candle_core::bail!("{} is for CUDA", self.name())
        }

        fn cuda_fwd(
            &self,
            a: &CudaStorage,
            of_a: &Layout,
            b: &CudaStorage,
            of_b: &Layout,
        ) -> Result<(CudaStorage, Shape)> {
            product((a, of_a), (b, of_b), self.0)
        }
    }

    fn product(a: Factor, b: Factor, dtype: DType) -> Result<(CudaStorage, Shape)> {
        let sizes = Sizes::of(a.1, b.1)?;
        let device = a.0.device().clone();
        let shape = sizes.shape(a.1.dims().len());
        // SAFETY: with beta 0 the product writes every number of the result and reads none.
        let storage = unsafe {
            match dtype {
                DType::F32 => {
                    let mut out = device.alloc::<f32>(shape.elem_count())?;
                    multiply::<bf16>(a, b, &sizes, &mut out, 0, 0.0)?;
                    CudaStorage::wrap_cuda_slice(out, device)
                }
                DType::BF16 => {
                    let mut out = device.alloc::<bf16>(shape.elem_count())?;
                    multiply::<bf16>(a, b, &sizes, &mut out, 0, 0.0)?;
                    CudaStorage::wrap_cuda_slice(out, device)
                }
                other => candle_core::bail!("a product of bf16 is not written as {other:?}"),
            }
        };
        Ok((storage, shape))
    }

    /// sum += a b, the sum in f32.
    pub(super) struct Added;

    impl InplaceOp3 for Added {
        fn name(&self) -> &'static str {
            "product added"
        }

        fn cpu_fwd(
            &self,
            _: &mut candle_core::CpuStorage,
            _: &Layout,
            _: &candle_core::CpuStorage,
            _: &Layout,
            _: &candle_core::CpuStorage,
            _: &Layout,
        ) -> Result<()> {
            candle_core::bail!("{} is for CUDA", self.name())
        }

        fn cuda_fwd(
            &self,
            sum: &mut CudaStorage,
            of_sum: &Layout,
            a: &CudaStorage,
            of_a: &Layout,
            b: &CudaStorage,
            of_b: &Layout,
        ) -> Result<()> {
            let sizes = Sizes::of(of_a, of_b)?;
            let own = sizes.shape(of_a.dims().len());
            let Some((first, _)) = of_sum
                .contiguous_offsets()
                .filter(|_| own == *of_sum.shape())
            else {
                candle_core::bail!("a sum of products lies by rows and has their shape")
            };
            let (a, b) = ((a, of_a), (b, of_b));
            let sum = sum.as_cuda_slice_mut::<f32>()?;
            // SAFETY: the sum's own numbers lie from `first` on, all of them.
            unsafe {
                match a.0.dtype() {
                    DType::BF16 => multiply::<bf16>(a, b, &sizes, sum, first, 1.0),
                    _ => multiply::<f32>(a, b, &sizes, sum, first, 1.0),
                }
            }
        }
    }

    /// How a factor lies: by rows (`OP_N`) or by columns, how long those are, and how far the next of a batch is.
    struct Lies {
        operation: sys::cublasOperation_t,
        leading: i32,
        next: i64,
    }

    impl Lies {
        fn of(layout: &Layout) -> Result<Lies> {
            let (dims, strides) = (layout.dims(), layout.stride());
            let n = dims.len();
            let (rows, columns) = (dims[n - 2], dims[n - 1]);
            let (down, right) = (strides[n - 2], strides[n - 1]);
            let next = match n {
                2 => rows * columns,
                _ => strides[n - 3],
            };
            let (operation, leading) =
                if (right == 1 || columns == 1) && (down == columns || rows == 1) {
                    (sys::cublasOperation_t::CUBLAS_OP_N, columns)
                } else if (right == rows || columns == 1) && (down == 1 || rows == 1) {
                    (sys::cublasOperation_t::CUBLAS_OP_T, rows)
                } else {
                    candle_core::bail!("a factor lies with gaps: {layout:?}")
                };
            Ok(Lies {
                operation,
                leading: leading as i32,
                next: next as i64,
            })
        }
    }

    /// [batch, m, k] times [batch, k, n].
    struct Sizes {
        batch: usize,
        m: usize,
        k: usize,
        n: usize,
    }

    impl Sizes {
        fn of(a: &Layout, b: &Layout) -> Result<Sizes> {
            let (batch, m, k, n) = match (a.dims(), b.dims()) {
                (&[m, k], &[l, n]) if k == l => (1, m, k, n),
                (&[batch, m, k], &[other, l, n]) if k == l && batch == other => (batch, m, k, n),
                (a, b) => candle_core::bail!("{a:?} does not go with {b:?}"),
            };
            Ok(Sizes { batch, m, k, n })
        }

        fn shape(&self, rank: usize) -> Shape {
            match rank {
                2 => (self.m, self.n).into(),
                _ => (self.batch, self.m, self.n).into(),
            }
        }
    }

    /// out[first ..] = a b + beta out, summed in f32.
    ///
    /// # Safety
    /// `out` has room for all numbers of the product from `first` on.
    unsafe fn multiply<T: CudaDType + WithDType>(
        a: Factor,
        b: Factor,
        sizes: &Sizes,
        out: &mut CudaSlice<impl WithDType>,
        first: usize,
        beta: f32,
    ) -> Result<()> {
        let device = a.0.device();
        let (alpha, handle, stream) = (1.0f32, device.cublas_handle(), device.cuda_stream());
        let (of_a, of_b) = (Lies::of(a.1)?, Lies::of(b.1)?);
        let (from_a, from_b) = (a.0.as_cuda_slice::<T>()?, b.0.as_cuda_slice::<T>()?);
        let (from_a, from_b) = (
            from_a.slice(a.1.start_offset()..),
            from_b.slice(b.1.start_offset()..),
        );
        let written = type_of(out);
        let mut into = out.slice_mut(first..);
        let (a, _a) = from_a.device_ptr(&stream);
        let (b, _b) = from_b.device_ptr(&stream);
        let (c, _c) = into.device_ptr_mut(&stream);
        let factors = cuda_type(T::DTYPE);
        // SAFETY: sizes and strides are those of the layouts, and the caller vouches for `out`.
        unsafe {
            result::gemm_strided_batched_ex(
                *handle.handle(),
                of_b.operation,
                of_a.operation,
                sizes.n as i32,
                sizes.m as i32,
                sizes.k as i32,
                (&raw const alpha).cast(),
                b as *const _,
                factors,
                of_b.leading,
                of_b.next,
                a as *const _,
                factors,
                of_a.leading,
                of_a.next,
                (&raw const beta).cast(),
                c as *mut _,
                written,
                sizes.n as i32,
                (sizes.m * sizes.n) as i64,
                sizes.batch as i32,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
            .w()
        }
    }

    fn type_of<T: WithDType>(_: &CudaSlice<T>) -> sys::cudaDataType_t {
        cuda_type(T::DTYPE)
    }

    fn cuda_type(dtype: DType) -> sys::cudaDataType_t {
        match dtype {
            DType::BF16 => sys::cudaDataType_t::CUDA_R_16BF,
            _ => sys::cudaDataType_t::CUDA_R_32F,
        }
    }
}
