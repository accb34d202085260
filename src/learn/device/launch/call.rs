//! A launch as whoever runs it sees it: addresses and numbers.

use candle_core::DType;

use crate::device::kernels::{Kernel, Variant};

/// An argument as a kernel takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Word {
    /// Where a tensor's numbers begin, what they are, and how many.
    At {
        address: u64,
        of: DType,
        count: usize,
    },
    Null,
    I32(i32),
    I64(i64),
    F32(f32),
    F64(f64),
}

/// A launch.
#[derive(Clone, Debug)]
pub struct Call {
    pub kernel: &'static Kernel,
    pub variant: Variant,
    pub grid: [u32; 3],
    pub words: Vec<Word>,
}
