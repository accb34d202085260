//! Whether a worker ended for want of memory: by what the kernel counted, what was free, and what the worker wrote last.

use crate::system::memory::{self, Kills};
use std::cell::Cell;

/// Below this share of the machine's memory there is no more to be had.
const SCARCE: f64 = 0.05;
/// Whoever has this share of the machine's memory is the one that is killed for it.
const LARGE: f64 = 0.4;

/// What is seen of memory while a worker runs.
pub(super) struct Seen {
    /// What the kernel had killed when it started.
    kills: Kills,
    peak: Cell<u64>,
    /// The least free memory of the machine.
    free: Cell<Option<u64>>,
}

impl Seen {
    pub fn new() -> Seen {
        Seen {
            kills: Kills::now(),
            peak: Cell::new(0),
            free: Cell::new(None),
        }
    }

    /// A look at the worker and at the machine while it runs.
    pub fn look(&self, peak: Option<u64>) {
        self.note(peak);
        let free = [self.free.get(), memory::available()];
        self.free.set(free.into_iter().flatten().min());
    }

    pub fn note(&self, peak: Option<u64>) {
        self.peak.set(self.peak.get().max(peak.unwrap_or_default()));
    }

    /// The most that the worker had resident.
    pub fn peak(&self) -> Option<u64> {
        Some(self.peak.get()).filter(|peak| *peak > 0)
    }

    /// What speaks for a lack of memory after a signal ended the worker. `tail`: its last lines on stderr.
    pub(crate) fn evidence<'a>(&self, signal: i32, tail: &'a str) -> Evidence<'a> {
        Evidence {
            signal,
            kernel_killed: Kills::now().since(&self.kills),
            peak: self.peak(),
            free: self.free.get().zip(memory::total()),
            tail,
        }
    }
}

/// What is known of the memory of a worker that a signal ended.
#[derive(Clone, Copy, Default)]
pub struct Evidence<'a> {
    pub signal: i32,
    /// Whether the kernel killed anyone for memory while it ran.
    pub kernel_killed: bool,
    /// Its highest resident memory.
    pub peak: Option<u64>,
    /// The least memory that was free while it ran, and all there is.
    pub free: Option<(u64, u64)>,
    /// Its last lines on stderr.
    pub tail: &'a str,
}

impl Evidence<'_> {
    /// How memory ended the worker, where it did.
    pub fn cause(&self) -> Option<&'static str> {
        match self.signal {
            libc::SIGKILL if self.kernel_killed => Some("the kernel killed the worker"),
            libc::SIGKILL if self.starved() => Some("it was killed when next to nothing was free"),
            libc::SIGABRT if self.tail.contains("memory allocation of") => {
                Some("an allocation failed")
            }
            _ => None,
        }
    }

    /// The worker was large and the machine empty, which is when daemons kill before the kernel does.
    fn starved(&self) -> bool {
        let (Some((least, total)), Some(peak)) = (self.free, self.peak) else {
            return false;
        };
        (least as f64) < SCARCE * total as f64 && peak as f64 > LARGE * total as f64
    }
}
