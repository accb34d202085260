//! Blocks of rows spread over rayon's current pool, and the buffers they write to.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

/// A mutable array that several blocks write at once, each to places of its own.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    data: *mut f32,
    len: usize,
    life: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a borrowed `&mut [f32]`; the callers of the unsafe methods promise that no two threads touch one place.
unsafe impl Send for Shared<'_> {}
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(data: &'a mut [f32]) -> Shared<'a> {
        Shared {
            data: data.as_mut_ptr(),
            len: data.len(),
            life: PhantomData,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// # Safety
    /// While the slice lives nobody else reads or writes the range.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, range: Range<usize>) -> &'a mut [f32] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "a block lies inside its array"
        );
        // SAFETY: in bounds by the assertion, exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(range.start), range.len()) }
    }

    /// The address of number `offset`, for strided writes.
    pub fn at(&self, offset: usize) -> *mut f32 {
        assert!(offset <= self.len, "a column lies inside its array");
        // SAFETY: in bounds by the assertion.
        unsafe { self.data.add(offset) }
    }
}

/// Calls `work(block number, rows)` for blocks of `size` rows, in parallel.
pub fn blocks(rows: usize, size: usize, work: impl Fn(usize, Range<usize>) + Sync + Send) {
    (0..rows.div_ceil(size))
        .into_par_iter()
        .for_each(|block| work(block, block * size..((block + 1) * size).min(rows)));
}

/// As `blocks`, for these rows.
pub fn blocks_of(
    rows: Range<usize>,
    size: usize,
    work: impl Fn(usize, Range<usize>) + Sync + Send,
) {
    blocks(rows.len(), size, |block, r| {
        work(block, rows.start + r.start..rows.start + r.end)
    });
}

/// `rows` scaled to a width: the part of a row-major array that holds these rows.
pub fn span(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}

/// Lends a buffer of this thread, of this length and with arbitrary contents, that lives from call to call.
pub fn scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local!(static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) });
    // The buffer is taken out, so that a nested call gets another one.
    let mut buffer = FREE
        .with(|free| free.borrow_mut().pop())
        .unwrap_or_default();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = work(&mut buffer[..len]);
    FREE.with(|free| free.borrow_mut().push(buffer));
    result
}
