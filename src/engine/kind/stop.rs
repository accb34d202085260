//! The request to stop, on the side of a node that runs: whether it is asked for, whether the node has heard it, and what is being
//! saved.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Where nothing asks within this, nothing will; longer only for a loop whose rounds are longer than that.
const HEED: Duration = Duration::from_millis(1000);

/// As a multiple of the longest time between two questions so far.
const ROUNDS: u32 = 3;

/// The request to stop that a worker may get, and who has heard it.
pub struct Stop {
    pub(crate) asked: Arc<AtomicBool>,
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
    pub(crate) fn deaf(&self, since: Instant) -> bool {
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
