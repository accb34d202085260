//! Large allocations ask the system for huge pages: weights, gradients and activations are read from end to end, and with
//! pages of 4 KiB much of that time goes to page faults and address translation (a training step of 6 M parameters took
//! 12 % longer). Where the system has no such pages, or gives none, nothing changes.
//!
//! Every thread's allocations are counted, so that a computation that somebody else wrote (a chat template) can be held to a
//! bound, and so can, in tests, whatever is read from outside.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

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

/// Asks for huge pages for what will soon be taken in small pieces: a page fault for every 4 KiB costs more than filling them. Needs
/// `keep_freed`; a few dozen megabytes at most.
pub fn expect(size: usize) {
    const PIECE: usize = 16 << 20;
    let mut pieces: Vec<Vec<u8>> = vec![];
    let mut left = size.min(4 * PIECE);
    while left > 0 {
        let mut piece = vec![];
        if piece.try_reserve_exact(left.min(PIECE)).is_err() {
            return;
        }
        pieces.push(std::hint::black_box(piece));
        left -= left.min(PIECE);
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
    static ACCOUNT: Account = const {
        Account {
            live: Cell::new(0),
            peak: Cell::new(0),
            most: Cell::new(isize::MAX),
            alarm: Cell::new(std::ptr::null()),
        }
    };
}

/// What a thread took and has not given back; below zero where it gave back what another took.
struct Account {
    live: Cell<isize>,
    peak: Cell<isize>,
    most: Cell<isize>,
    /// Who waits for this thread; only while there is a `most`.
    alarm: Cell<*const Alarm>,
}

fn count(bytes: isize) {
    ACCOUNT.with(|account| {
        let live = account.live.get() + bytes;
        account.live.set(live);
        if live > account.peak.get() {
            account.peak.set(live);
        }
        // A panic is told to its end: it holds locks that others need for their own.
        if live > account.most.get() && !std::thread::panicking() {
            account.most.set(isize::MAX);
            // SAFETY: whoever set `most` keeps the alarm as long as this thread lives.
            unsafe { &*account.alarm.get() }.ring(Ring::Memory);
            // An allocation cannot fail without ending the process, but it need not return.
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
    });
}

/// What it returns, and the most bytes that this thread had taken for it at once.
pub fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = ACCOUNT.with(|account| {
        account.peak.set(account.live.get());
        account.live.get()
    });
    let result = run();
    let peak = ACCOUNT.with(|account| account.peak.get());
    (result, usize::try_from(peak - before).unwrap_or(0))
}

/// What a computation may take.
#[derive(Clone, Copy)]
pub struct Bounds {
    pub memory: usize,
    pub stack: usize,
    /// Only for what would else never end: no result may depend on it.
    pub time: Duration,
}

/// What it took too much of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exceeded {
    Memory,
    Time,
}

/// Runs it on a thread of its own. One that goes beyond its bounds is left alone until the process ends. A panic goes on here.
pub fn bounded<T: Send + 'static>(
    bounds: Bounds,
    run: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<Result<T, Exceeded>> {
    let shared = Arc::new((Alarm::default(), Mutex::new(None)));
    let own = shared.clone();
    let thread = std::thread::Builder::new().stack_size(bounds.stack);
    let thread = thread.spawn(move || {
        ACCOUNT.with(|account| {
            account.alarm.set(&own.0);
            let most = isize::try_from(bounds.memory).unwrap_or(isize::MAX);
            account.most.set(account.live.get().saturating_add(most));
        });
        let result = catch_unwind(AssertUnwindSafe(run));
        ACCOUNT.with(|account| account.most.set(isize::MAX));
        *own.1.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        own.0.ring(Ring::Ended);
    })?;
    match shared.0.wait(bounds.time) {
        Some(Ring::Memory) => return Ok(Err(Exceeded::Memory)),
        None => return Ok(Err(Exceeded::Time)),
        Some(Ring::Ended) => {}
    }
    let _ = thread.join(); // It has caught its own panic.
    let mut result = shared.1.lock().unwrap_or_else(PoisonError::into_inner);
    match result.take().expect("a thread that ended left its result") {
        Ok(result) => Ok(Ok(result)),
        Err(panic) => resume_unwind(panic),
    }
}

#[derive(Clone, Copy)]
enum Ring {
    Ended,
    Memory,
}

/// Rings without allocating.
#[derive(Default)]
struct Alarm {
    rung: Mutex<Option<Ring>>,
    changed: Condvar,
}

impl Alarm {
    fn ring(&self, ring: Ring) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = Some(ring);
        self.changed.notify_all();
    }

    /// Nothing where it did not ring in time.
    fn wait(&self, time: Duration) -> Option<Ring> {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(rung, time, |r| r.is_none());
        let (rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rung
    }
}
