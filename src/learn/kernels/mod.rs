//! The arithmetic of the decoder on the CPU, on blocks of rows. Knows shapes and strides, no models.
//!
//! Every function here runs on the calling thread; callers spread blocks over rayon's current pool (`rows::blocks`).
//! Blocks are cut by sizes alone and no sum is shared between threads, so the bytes of a result do not depend on the
//! number of threads.

pub mod attention;
pub mod gemm;
pub mod norm;
pub mod rope;
pub mod rows;
pub mod simd;
pub mod softmax;
pub mod swiglu;
