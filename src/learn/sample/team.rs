//! Threads that share one small piece of work after another, each of microseconds: for decoding few rows on
//! many threads. Knows nothing of what the work is.
//!
//! A piece is cut into parts that whoever is free takes. The calling thread leads: it takes parts as its helpers do, and
//! waits only for parts that a helper has begun. So a helper that the system keeps off the processor costs nothing.
//! Helpers without work spin for a moment, then give way, then sleep, so that neither a machine with one core nor a long
//! pause of the leader burns time.

use base::threads;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::thread::{self, Thread};

/// Looks at a flag before giving way, and turns of giving way before sleep.
const SPINS: usize = 2000;
const TURNS: usize = 50;

/// With more threads than this a piece of work gets too small to be shared.
const LARGEST: usize = 16;

/// Parts of a piece for every thread: a thread that comes late leaves more of them to the others.
const PARTS: usize = 4;

/// The leader's end. It stays with its thread.
pub struct Team<'a> {
    shared: Option<&'a Shared>,
    helpers: &'a [Thread],
    here: PhantomData<*const ()>,
}

/// Runs `body` with a team of up to `size` threads, this one included.
pub fn lead<R>(size: usize, body: impl FnOnce(&Team) -> R) -> R {
    let size = size.min(LARGEST);
    if size <= 1 {
        return body(&Team::alone());
    }
    let parts = size * PARTS;
    let shared = Shared {
        parts,
        ticket: AtomicU64::new(parts as u64),
        done: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        lost: AtomicBool::new(false),
        asleep: (1..size).map(|_| AtomicBool::new(false)).collect(),
        work: UnsafeCell::new(None),
    };
    thread::scope(|scope| {
        let shared = &shared;
        let helpers: Vec<Thread> = (shared.asleep.iter())
            .map_while(|asleep| threads::start_in(scope, move || shared.help(asleep)).ok())
            .map(|helper| helper.thread().clone())
            .collect();
        let _end = End(shared, &helpers);
        body(&Team {
            shared: Some(shared),
            helpers: &helpers,
            here: PhantomData,
        })
    })
}

impl Team<'_> {
    pub fn alone() -> Team<'static> {
        Team {
            shared: None,
            helpers: &[],
            here: PhantomData,
        }
    }

    /// Into how many parts a piece is cut.
    pub fn parts(&self) -> usize {
        self.shared.map_or(1, |shared| shared.parts)
    }

    /// Calls `work(part)` once for every part of 0..parts, and returns when all are done.
    pub fn each(&self, work: &(dyn Fn(usize) + Sync)) {
        let Some(shared) = self.shared else {
            return work(0);
        };
        // SAFETY: no part is under way, so nobody reads the cell; and the reference is not used after this call, which
        // ends, by a panic of `work` too, when every part is done.
        unsafe {
            type Work<'a> = &'a (dyn Fn(usize) + Sync);
            *shared.work.get() = Some(std::mem::transmute::<Work<'_>, Work<'static>>(work));
        }
        shared.done.store(0, Relaxed);
        let piece = (shared.ticket.load(Relaxed) >> 32).wrapping_add(1);
        shared.ticket.store(piece << 32, SeqCst);
        for (asleep, helper) in shared.asleep.iter().zip(self.helpers) {
            if asleep.load(SeqCst) {
                helper.unpark();
            }
        }
        let all = All(shared);
        while let Some(part) = shared.take() {
            let _done = Done(shared);
            work(part);
        }
        drop(all);
        assert!(!shared.lost.load(Relaxed), "a helper of a team panicked");
    }
}

struct Shared {
    parts: usize,
    /// The number of the piece, and in the low 32 bits the next part that nobody has taken.
    ticket: AtomicU64,
    /// Parts of the piece that are done.
    done: AtomicUsize,
    over: AtomicBool,
    lost: AtomicBool,
    asleep: Vec<AtomicBool>,
    work: UnsafeCell<Option<&'static (dyn Fn(usize) + Sync)>>,
}

// SAFETY: the leader writes `work` while all parts are done, before it offers new ones; a helper reads it between taking
// a part and finishing it.
unsafe impl Sync for Shared {}

impl Shared {
    /// A part that is now the caller's.
    fn take(&self) -> Option<usize> {
        let free = |ticket: u64| ((ticket as u32 as usize) < self.parts).then_some(ticket + 1);
        let ticket = self.ticket.fetch_update(SeqCst, SeqCst, free);
        ticket.ok().map(|ticket| ticket as u32 as usize)
    }

    fn help(&self, asleep: &AtomicBool) {
        while let Some(part) = self.wait(asleep) {
            let _done = Done(self);
            // SAFETY: see `Sync` above.
            let work = unsafe { *self.work.get() };
            work.expect("work is there before its parts are offered")(part);
        }
    }

    /// The next part that this helper gets; none when the team is dissolved.
    fn wait(&self, asleep: &AtomicBool) -> Option<usize> {
        for turn in 0.. {
            if let Some(part) = self.take() {
                asleep.store(false, SeqCst);
                return Some(part);
            }
            if self.over.load(SeqCst) {
                break;
            }
            if turn < SPINS {
                std::hint::spin_loop();
            } else if turn < SPINS + TURNS {
                thread::yield_now();
            } else if asleep.swap(true, SeqCst) {
                // The flag was up when the last look at the ticket found nothing: whoever offers work now sees it.
                thread::park();
                asleep.store(false, SeqCst);
            }
        }
        None
    }
}

/// A part under way, done however it ends.
struct Done<'a>(&'a Shared);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lost.store(true, Relaxed);
        }
        self.0.done.fetch_add(1, Release);
    }
}

/// Waits until all parts are done; what a panic of the leader left is dropped.
struct All<'a>(&'a Shared);

impl Drop for All<'_> {
    fn drop(&mut self) {
        while self.0.take().is_some() {
            self.0.done.fetch_add(1, Relaxed);
        }
        for turn in 0.. {
            if self.0.done.load(Acquire) == self.0.parts {
                return;
            }
            match turn < SPINS {
                true => std::hint::spin_loop(),
                false => thread::yield_now(),
            }
        }
    }
}

/// Dissolves the team.
struct End<'a>(&'a Shared, &'a [Thread]);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, SeqCst);
        for helper in self.1 {
            helper.unpark();
        }
    }
}
