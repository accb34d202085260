//! Ends a worker that does not end by itself: one whose engine is gone, within moments and whatever it is doing; and one that was
//! asked to stop while nothing in it asks whether it should. What a worker saved is whole or absent at any moment, so that nothing
//! that counts is lost by it. No loop of a kind has to know of this; one that asks may save its state first.

use crate::kind::failure::EXIT_INTERRUPTED;
use crate::kind::stop::Stop;
use crate::system::strays;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A worker whose engine is gone works for nobody, but a step of it may have been about to be saved.
const ORPHANED: Duration = Duration::from_millis(1300);

/// Bytes of the stack of a thread that does next to nothing.
const STACK: usize = 256 << 10;

/// Looks after this worker from a thread of its own. `engine`: the process id of who started it; `attempt`: the folder whose mark
/// all carry that it starts.
pub fn watch(stop: &Arc<Stop>, engine: i32, attempt: &Path) -> Result<()> {
    let (stop, attempt) = (stop.clone(), attempt.to_path_buf());
    let thread = std::thread::Builder::new().name("watchdog".into());
    let body = move || guard(&stop, engine, &attempt);
    let started = thread.stack_size(STACK).spawn(body);
    started.map(drop).context("starting a thread")
}

fn guard(stop: &Stop, engine: i32, attempt: &Path) {
    let (mut orphaned, mut asked): (Option<Instant>, Option<Instant>) = (None, None);
    loop {
        if rustix::process::getppid().map(Pid::as_raw_pid) != Some(engine) {
            orphaned.get_or_insert_with(Instant::now);
            stop.request();
        }
        if stop.requested() {
            asked.get_or_insert_with(Instant::now);
        }
        if orphaned.is_some_and(|since| since.elapsed() > ORPHANED) {
            end(attempt, true);
        }
        if asked.is_some_and(|since| stop.unnoticed(since)) {
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
