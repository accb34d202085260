//! Ends a worker that does not end by itself: one whose engine is gone, within moments and whatever it is doing; and one that was
//! asked to stop while nothing in it asks whether it should. What a worker saved is whole or absent at any moment, so that nothing
//! that counts is lost by it. No loop of a kind has to know of this; one that asks may save its state first.

use crate::run::system::strays;
use crate::run::worker::EXIT_INTERRUPTED;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A worker whose engine is gone works for nobody, but a step of it may have been about to be saved.
const ORPHANED: Duration = Duration::from_millis(1300);

/// Where nothing asks within this, nothing will; longer only for a loop whose rounds are longer than that.
const HEED: Duration = Duration::from_millis(1000);

/// As a multiple of the longest time between two questions so far.
const ROUNDS: u32 = 3;

/// Bytes of the stack of a thread that does next to nothing.
const STACK: usize = 256 << 10;

/// The request to stop that a worker may get, and who has heard it.
pub struct Stop {
    asked: Arc<AtomicBool>,
    ear: Mutex<Ear>,
}

/// When the kind asked whether it should stop.
struct Ear {
    last: Option<Instant>,
    /// Between two questions.
    longest: Duration,
    /// It was told that it should: from now on it is the engine's patience that counts.
    heard: bool,
    /// Checkpoints, and outputs that took long to make, that are being written.
    saving: usize,
    /// When the last of them was whole.
    saved: Option<Instant>,
}

/// Something that is worth it is being written as long as this lives.
pub struct Saving<'a>(&'a Stop);

impl Stop {
    /// `asked` is set by whoever hears a signal.
    pub fn new(asked: Arc<AtomicBool>) -> Stop {
        let ear = Ear {
            last: None,
            longest: Duration::ZERO,
            heard: false,
            saving: 0,
            saved: None,
        };
        Stop {
            asked,
            ear: Mutex::new(ear),
        }
    }

    /// Whether to stop, for whoever then saves what is worth it and ends.
    pub fn asked(&self) -> bool {
        let (now, asked) = (Instant::now(), self.asked.load(Ordering::Relaxed));
        let mut ear = self.ear();
        if let Some(last) = ear.last.replace(now) {
            ear.longest = ear.longest.max(now.saturating_duration_since(last));
        }
        ear.heard |= asked;
        asked
    }

    pub fn saving(&self) -> Saving<'_> {
        self.ear().saving += 1;
        Saving(self)
    }

    /// Whether somebody who was asked to stop at `since` will not hear it.
    fn deaf(&self, since: Instant) -> bool {
        let ear = self.ear();
        let since = ear.saved.map_or(since, |saved| saved.max(since));
        let patience = HEED.max(ear.longest * ROUNDS);
        !ear.heard && ear.saving == 0 && since.elapsed() > patience
    }

    fn ear(&self) -> MutexGuard<'_, Ear> {
        self.ear
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Saving<'_> {
    fn drop(&mut self) {
        let mut ear = self.0.ear();
        ear.saving -= 1;
        ear.saved = Some(Instant::now());
    }
}

/// Looks after this worker from a thread of its own. `engine`: the process id of who started it; `attempt`: the folder whose mark
/// all carry that it starts.
pub fn watch(stop: &Arc<Stop>, engine: i32, attempt: &Path) -> Result<()> {
    let (stop, attempt) = (stop.clone(), attempt.to_path_buf());
    let thread = std::thread::Builder::new().name("warden".into());
    let body = move || guard(&stop, engine, &attempt);
    let started = thread.stack_size(STACK).spawn(body);
    started.map(drop).context("starting a thread")
}

fn guard(stop: &Stop, engine: i32, attempt: &Path) {
    let (mut orphaned, mut asked): (Option<Instant>, Option<Instant>) = (None, None);
    loop {
        if rustix::process::getppid().map(Pid::as_raw_pid) != Some(engine) {
            orphaned.get_or_insert_with(Instant::now);
            stop.asked.store(true, Ordering::Relaxed);
        }
        if stop.asked.load(Ordering::Relaxed) {
            asked.get_or_insert_with(Instant::now);
        }
        if orphaned.is_some_and(|since| since.elapsed() > ORPHANED) {
            end(attempt, true);
        }
        if asked.is_some_and(|since| stop.deaf(since)) {
            end(attempt, orphaned.is_some());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Ends this process at once, and what it started. An engine that lives does the latter itself, before it looks at outputs.
fn end(attempt: &Path, orphan: bool) -> ! {
    if orphan {
        strays::kill_everywhere(attempt);
        // This process too, where it leads its group.
        let _ = rustix::process::kill_process_group(rustix::process::getpid(), Signal::KILL);
    }
    // SAFETY: ends the process and returns to nobody. No handler of the C library runs, which could wait for the other threads.
    unsafe { libc::_exit(EXIT_INTERRUPTED) }
}
