//! Launches of the own kernels (`kernels`) on candle's tensors. A kernel reads tensors and writes into others, as candle's
//! operations in place do, and any number of them: where an operation has several results, they are several tensors.
//!
//! `Call` is a launch as whoever runs it sees it: addresses and numbers. On a GPU that is its driver; on candle's CPU nobody
//! launches, unless a test plays the kernels there. Knows no formula.

mod call;
#[cfg(feature = "cuda")]
mod nvrtc;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{
    CpuStorage, DType, Device, InplaceOp1, Layout, Result, Shape, Storage, Tensor, bail,
};

use crate::device::kernels::{self, Variant};

pub use call::{Call, Word};

/// One argument of a launch.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    Read(&'a Tensor),
    /// Nobody else has this tensor, or all who do expect that it changes.
    Write(&'a Tensor),
    Null,
    I32(usize),
    I64(usize),
    F32(f64),
    F64(f64),
}

impl<'a> Arg<'a> {
    /// Null where a model has none.
    pub fn read(tensor: Option<&'a Tensor>) -> Arg<'a> {
        tensor.map_or(Arg::Null, Arg::Read)
    }

    pub fn write(tensor: Option<&'a Tensor>) -> Arg<'a> {
        tensor.map_or(Arg::Null, Arg::Write)
    }

    fn tensor(&self) -> Option<&'a Tensor> {
        match self {
            Arg::Read(tensor) | Arg::Write(tensor) => Some(tensor),
            _ => None,
        }
    }
}

/// Who runs launches on candle's CPU.
pub trait Player {
    fn play(&self, call: &Call) -> Result<()>;
}

/// What computes where an operation has a kernel.
#[derive(Clone)]
pub enum Choice {
    /// Kernels on a GPU, plain operations elsewhere.
    Usual,
    /// candle's plain operations everywhere.
    Plain,
    /// Kernels, on candle's CPU too, which this one plays.
    Played(Rc<dyn Player>),
}

thread_local! {
    static CHOICE: RefCell<Choice> = const { RefCell::new(Choice::Usual) };
}

/// Of this process.
static PLAIN: AtomicBool = AtomicBool::new(false);

/// This thread's operations during `work` are computed so.
pub fn by<T>(choice: Choice, work: impl FnOnce() -> T) -> T {
    struct Back(Choice);
    impl Drop for Back {
        fn drop(&mut self) {
            CHOICE.with(|own| own.replace(self.0.clone()));
        }
    }
    let _back = Back(CHOICE.with(|own| own.replace(choice)));
    work()
}

/// From now on this process computes by candle's plain operations on a GPU too: to hold the kernels against them.
pub fn never() {
    PLAIN.store(true, Ordering::Relaxed);
}

/// Whether operations on this device are computed by kernels, where they have one.
pub fn used(device: &Device) -> bool {
    let played = |choice: &RefCell<Choice>| matches!(&*choice.borrow(), Choice::Played(_));
    match device.is_cuda() {
        true => used_on_gpus(),
        false => device.is_cpu() && CHOICE.with(played),
    }
}

/// The same of any GPU, there or not.
pub fn used_on_gpus() -> bool {
    CHOICE.with(|choice| match &*choice.borrow() {
        Choice::Usual => !PLAIN.load(Ordering::Relaxed),
        Choice::Plain => false,
        Choice::Played(_) => true,
    })
}

/// A tensor that a kernel is about to write whole.
pub fn unwritten(shape: impl Into<Shape>, of: DType, device: &Device) -> Result<Tensor> {
    // SAFETY: numbers of any bits are numbers, and a launch writes them before anybody reads them.
    unsafe { Tensor::empty(shape, of, device) }
}

/// The variant of kernels that know no heads, with such activations.
pub fn of_rows(act: DType) -> Variant {
    Variant::of_rows(act == DType::BF16)
}

/// That of kernels of heads of `head` numbers, where they are used and there are such.
pub fn of_heads(device: &Device, act: DType, head: usize) -> Option<Variant> {
    let bf16 = act == DType::BF16;
    let variant = Variant { bf16, head };
    (used(device) && variant.exists()).then_some(variant)
}

/// Launches the kernel for that many of what it counts (`Kernel::counted`). Tensors lie without gaps.
///
/// Errors: of the device; a number that a kernel counts in 32 bits and that has no room in them.
pub fn launch(name: &str, variant: Variant, counts: [usize; 3], arguments: &[Arg]) -> Result<()> {
    let kernel = kernels::kernel(name);
    let Some(grid) = kernel.grid(counts) else {
        bail!(
            "{name}: a grid has no room for {counts:?} of {:?}",
            kernel.counted
        )
    };
    let mut tensors = arguments.iter().filter_map(Arg::tensor);
    let device = tensors.next().expect("a kernel writes a tensor").device();
    assert!(
        tensors.all(|t| t.device().same_device(device)),
        "tensors of a launch are on one device"
    );
    if grid.contains(&0) {
        return Ok(());
    }
    let words = arguments
        .iter()
        .map(|argument| word(name, argument))
        .collect::<Result<_>>()?;
    let call = Call {
        kernel,
        variant,
        grid,
        words,
    };
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => nvrtc::launch(device, &call),
        Device::Cpu => CHOICE.with(|choice| match &*choice.borrow() {
            Choice::Played(player) => player.play(&call),
            _ => bail!("{name}: nobody launches kernels on the CPU"),
        }),
        _ => bail!("{name}: this binary launches no kernels on such a device"),
    }
}

fn word(name: &str, argument: &Arg) -> Result<Word> {
    Ok(match *argument {
        Arg::Read(tensor) => at(name, tensor, read(tensor)?),
        Arg::Write(tensor) => at(name, tensor, written(tensor)?),
        Arg::Null => Word::Null,
        Arg::I32(n) => match i32::try_from(n) {
            Ok(n) => Word::I32(n),
            Err(_) => bail!("{name} counts in 32 bits, and {n} has no room there"),
        },
        Arg::I64(n) => match i64::try_from(n) {
            Ok(n) => Word::I64(n),
            Err(_) => bail!("{name} counts in 64 bits, and {n} has no room there"),
        },
        Arg::F32(x) => Word::F32(x as f32),
        Arg::F64(x) => Word::F64(x),
    })
}

/// `storage` is where the tensor's storage begins.
fn at(name: &str, tensor: &Tensor, storage: u64) -> Word {
    assert!(
        tensor.is_contiguous(),
        "{name}: tensors of a launch lie without gaps"
    );
    let of = tensor.dtype();
    let skipped = tensor.layout().start_offset() * of.size_in_bytes();
    Word::At {
        address: storage + skipped as u64,
        of,
        count: tensor.elem_count(),
    }
}

fn read(tensor: &Tensor) -> Result<u64> {
    let (storage, _) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => on_host(storage),
        #[cfg(feature = "cuda")]
        Storage::Cuda(storage) => nvrtc::address(storage),
        _ => bail!("kernels have no such device"),
    }
}

fn written(tensor: &Tensor) -> Result<u64> {
    let found = Written(Cell::new(0));
    tensor.inplace_op1(&found)?;
    Ok(found.0.get())
}

/// candle's way to a storage that changes.
struct Written(Cell<u64>);

impl InplaceOp1 for Written {
    fn name(&self) -> &'static str {
        "written by a kernel"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> Result<()> {
        let address = match storage {
            CpuStorage::F32(all) => all.as_mut_ptr() as u64,
            CpuStorage::BF16(all) => all.as_mut_ptr() as u64,
            CpuStorage::U32(all) => all.as_mut_ptr() as u64,
            CpuStorage::F64(all) => all.as_mut_ptr() as u64,
            _ => bail!("kernels know no such numbers"),
        };
        self.0.set(address);
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &mut candle_core::CudaStorage, _: &Layout) -> Result<()> {
        self.0.set(nvrtc::address(storage)?);
        Ok(())
    }
}

fn on_host(storage: &CpuStorage) -> Result<u64> {
    Ok(match storage {
        CpuStorage::F32(all) => all.as_ptr() as u64,
        CpuStorage::BF16(all) => all.as_ptr() as u64,
        CpuStorage::U32(all) => all.as_ptr() as u64,
        CpuStorage::F64(all) => all.as_ptr() as u64,
        _ => bail!("kernels know no such numbers"),
    })
}
