//! Operations that a GPU may compute by a kernel of its own, as candle's custom operations.
//!
//! An operation says what it computes by candle's plain operations: that is what runs where there is no kernel, and what a
//! kernel is held against. With a kernel it goes through `Custom`, which candle calls with the bare storage; on the CPU that
//! computes the plain operations too, so that the way there is tested without a GPU.

use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape,
    Storage, Tensor,
};

/// An operation on one to three tensors of f32 or bf16, with one. What has several results lays them side by side.
pub trait Fused: Send + Sync {
    const NAME: &'static str;

    /// Whether its kernel reads inputs as they lie, with strides; others get them contiguous.
    const AS_IT_LIES: bool = false;

    fn plain(&self, inputs: &[Tensor]) -> Result<Tensor>;

    /// The kernel's result on contiguous inputs. Where an operation has none, that is an error of candle's sort.
    ///
    /// It is compiled from `kernels::FILES` by NVRTC once a device, and launched on the device's own stream.
    fn launch(&self, _inputs: &[(&CudaStorage, &Layout)]) -> Result<(CudaStorage, Shape)> {
        candle_core::bail!("{} has no kernel", Self::NAME)
    }

    /// Whether `launch` computes it.
    fn has_kernel(&self) -> bool {
        false
    }
}

/// The operation on these tensors: by its kernel on a GPU, if it has one, by plain operations else.
pub fn run<F: Fused>(op: F, inputs: &[&Tensor]) -> Result<Tensor> {
    if op.has_kernel() && inputs[0].device().is_cuda() {
        return custom(op, inputs);
    }
    op.plain(&inputs.iter().copied().cloned().collect::<Vec<_>>())
}

/// The same as candle's custom operation, on any device.
pub fn custom<F: Fused>(op: F, inputs: &[&Tensor]) -> Result<Tensor> {
    let inputs: Vec<Tensor> = inputs
        .iter()
        .map(|t| match F::AS_IT_LIES {
            true => Ok((*t).clone()),
            false => t.contiguous(),
        })
        .collect::<Result<_>>()?;
    let op = Custom(op);
    match &inputs[..] {
        [a] => a.apply_op1_no_bwd(&op),
        [a, b] => a.apply_op2_no_bwd(b, &op),
        [a, b, c] => a.apply_op3_no_bwd(b, c, &op),
        other => panic!("an operation has one to three inputs, not {}", other.len()),
    }
}

/// The numbers of a layout, in its order.
fn picked<T: Copy>(all: &[T], layout: &Layout) -> Vec<T> {
    let place = |mut i: usize| {
        let mut at = layout.start_offset();
        for (dim, stride) in layout.dims().iter().zip(layout.stride()).rev() {
            at += i % dim * stride;
            i /= dim;
        }
        at
    };
    let each = 0..layout.shape().elem_count();
    each.map(|i| all[place(i)]).collect()
}

struct Custom<F>(F);

impl<F: Fused> Custom<F> {
    fn on_cpu(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let inputs: Vec<Tensor> = inputs
            .iter()
            .map(|(storage, layout)| {
                let own = match storage {
                    CpuStorage::F32(all) => CpuStorage::F32(picked(all, layout)),
                    CpuStorage::BF16(all) => CpuStorage::BF16(picked(all, layout)),
                    _ => candle_core::bail!("{} is of f32 and bf16", F::NAME),
                };
                let shape = layout.shape().clone();
                let none = BackpropOp::none();
                Ok(Tensor::from_storage(Storage::Cpu(own), shape, none, false))
            })
            .collect::<Result<_>>()?;
        let out = self.0.plain(&inputs)?;
        let (shape, flat) = (out.shape().clone(), out.flatten_all()?);
        let numbers = match flat.dtype() {
            DType::BF16 => CpuStorage::BF16(flat.to_vec1()?),
            _ => CpuStorage::F32(flat.to_vec1()?),
        };
        Ok((numbers, shape))
    }
}

impl<F: Fused> CustomOp1 for Custom<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(&self, a: &CpuStorage, of_a: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu(&[(a, of_a)])
    }

    fn cuda_fwd(&self, a: &CudaStorage, of_a: &Layout) -> Result<(CudaStorage, Shape)> {
        self.0.launch(&[(a, of_a)])
    }
}

impl<F: Fused> CustomOp2 for Custom<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        of_a: &Layout,
        b: &CpuStorage,
        of_b: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu(&[(a, of_a), (b, of_b)])
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        of_a: &Layout,
        b: &CudaStorage,
        of_b: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.0.launch(&[(a, of_a), (b, of_b)])
    }
}

impl<F: Fused> CustomOp3 for Custom<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        of_a: &Layout,
        b: &CpuStorage,
        of_b: &Layout,
        c: &CpuStorage,
        of_c: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu(&[(a, of_a), (b, of_b), (c, of_c)])
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        of_a: &Layout,
        b: &CudaStorage,
        of_b: &Layout,
        c: &CudaStorage,
        of_c: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.0.launch(&[(a, of_a), (b, of_b), (c, of_c)])
    }
}
