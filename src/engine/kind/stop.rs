//! The request to stop that a worker may get, and who has heard it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Where nothing asks within this, nothing will; longer only for a loop whose rounds are longer than that.
const HEED: Duration = Duration::from_millis(1000);

/// As a multiple of the longest time between two questions so far.
const ROUNDS: u32 = 3;

/// The request to stop that a worker may get, and who has heard it.
pub struct Stop {
    asked: Arc<AtomicBool>,
    checks: Mutex<Checks>,
}

/// When the kind asked whether it should stop.
struct Checks {
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
        let checks = Checks {
            last: None,
            longest: Duration::ZERO,
            heard: false,
            saving: 0,
            saved: None,
        };
        Stop {
            asked,
            checks: Mutex::new(checks),
        }
    }

    /// Whether to stop, for whoever then saves what is worth it and ends.
    pub fn asked(&self) -> bool {
        let (now, asked) = (Instant::now(), self.asked.load(Ordering::Relaxed));
        let mut checks = self.checks();
        if let Some(last) = checks.last.replace(now) {
            checks.longest = checks.longest.max(now.saturating_duration_since(last));
        }
        checks.heard |= asked;
        asked
    }

    pub fn saving(&self) -> Saving<'_> {
        self.checks().saving += 1;
        Saving(self)
    }

    /// For whoever passes a request on that came another way.
    pub fn request(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether it was requested, for whoever only watches.
    pub(crate) fn requested(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether somebody who was asked to stop at `since` will not notice it.
    pub fn unnoticed(&self, since: Instant) -> bool {
        let checks = self.checks();
        let since = checks.saved.map_or(since, |saved| saved.max(since));
        let patience = HEED.max(checks.longest * ROUNDS);
        !checks.heard && checks.saving == 0 && since.elapsed() > patience
    }

    fn checks(&self) -> MutexGuard<'_, Checks> {
        self.checks
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Saving<'_> {
    fn drop(&mut self) {
        let mut checks = self.0.checks();
        checks.saving -= 1;
        checks.saved = Some(Instant::now());
    }
}
