//! Large allocations ask the system for huge pages: weights, gradients and activations are read from end to end, and with
//! pages of 4 KiB much of that time goes to page faults and address translation (a training step of 6 M parameters took
//! 12 % longer). Where the system has no such pages, or gives none, nothing changes.
//!
//! Every thread's allocations are counted, so that a test can hold what is read from outside to a bound.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Smaller allocations are left alone.
const LARGE: usize = 1 << 17;
const PAGE: usize = 4096;

#[global_allocator]
static ALLOCATOR: HugePages = HugePages;

struct HugePages;

/// Keeps what is freed for the next allocation, instead of giving it back to the system: training and sampling free and
/// take the same hundred megabytes at every step, and new pages are dear (rollouts of few rows took a third longer). To be
/// called once, first thing, by a program that computes. One heap for all threads: another thread's heap would be given
/// back whenever it is empty.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: plain settings of the C library's allocator; one that it does not take is no error.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Asks for huge pages wherever one fits in this allocation or in its neighbours.
fn advise(start: *mut u8, size: usize) {
    #[cfg(target_os = "linux")]
    if size >= LARGE && !start.is_null() {
        use rustix::mm::{Advice, madvise};
        let skip = start.align_offset(PAGE);
        let len = (size - skip) / PAGE * PAGE;
        // SAFETY: the pages lie inside the allocation, and the advice changes how they are backed, not what they hold.
        // It is a wish: that it was refused is no error.
        let _ = unsafe { madvise(start.add(skip).cast(), len, Advice::LinuxHugepage) };
    }
}

// SAFETY: every call is the system allocator's.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        let start = unsafe { System.alloc(layout) };
        advise(start, layout.size());
        start
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        let start = unsafe { System.alloc_zeroed(layout) };
        advise(start, layout.size());
        start
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as above.
        let start = unsafe { System.realloc(old, layout, size) };
        advise(start, size);
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(start, layout) }
    }
}

thread_local! {
    /// What this thread took and has not given back, and the most of it so far. Below zero where it gave back what another took.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let live = LIVE.get() + bytes;
    LIVE.set(live);
    if live > PEAK.get() {
        PEAK.set(live);
    }
}

/// What it returns, and the most bytes that this thread had taken for it at once.
pub fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = run();
    (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
}
