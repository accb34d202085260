//! Buffers of the decoder that live from step to step, and its table of rotations.

use crate::kernels::rope::Rope;

/// Buffers that live from step to step. One per training loop; it does not change results.
#[derive(Debug, Default)]
pub struct Workspace {
    free: Vec<Vec<f32>>,
    pub(crate) rope: Rope,
}

impl Workspace {
    pub fn new() -> Workspace {
        Workspace::default()
    }

    /// A buffer of this length with arbitrary contents.
    pub fn take(&mut self, len: usize) -> Vec<f32> {
        let fits = (0..self.free.len())
            .filter(|&i| self.free[i].capacity() >= len)
            .min_by_key(|&i| self.free[i].capacity());
        let mut buffer = match fits {
            Some(i) => self.free.swap_remove(i),
            None => Vec::with_capacity(len),
        };
        buffer.resize(len, 0.0);
        buffer
    }

    pub fn give(&mut self, buffer: Vec<f32>) {
        if buffer.capacity() > 0 {
            self.free.push(buffer);
        }
    }
}
