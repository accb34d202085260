//! Renews a claim from a thread of its own, so that a worker that writes to a slow disk keeps it; and says when it is lost.

use crate::store::claims::Claim;
use anyhow::Result;
use base::threads;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(50);

/// What is told of a worker that was ended with its claim.
pub const LOST: &str = "its claim could not be kept: somebody else may execute this node by now";

/// What is told of a worker that was ended with its lease.
pub const LEFT: &str =
    "another run has it: its lease was taken over while nothing was heard from here";

/// How long who finishes waits to hear whether the lease is still his.
const SURE: Duration = Duration::from_secs(2);

/// Renews as long as it lives. When it is gone, nobody holds the claim by it any more.
pub struct Keeper {
    at_work: Option<(Arc<Shared>, JoinHandle<()>)>,
}

struct Shared {
    lasts: Duration,
    /// It is renewed when the last time is so long ago.
    every: Duration,
    /// A remote is never in the way: who hears nothing of it goes on, and a thread that waits for it is left behind.
    lease: bool,
    renewed: Mutex<Instant>,
    /// The last try had no answer.
    failed: AtomicBool,
    lost: AtomicBool,
    over: AtomicBool,
}

impl Keeper {
    /// `lasts`: how long the claim counts without a renewal; none: as long as its holder lives.
    pub fn new(claim: Arc<dyn Claim>, lasts: Option<Duration>) -> Result<Keeper> {
        match lasts {
            None => Ok(Keeper { at_work: None }),
            Some(lasts) => Keeper::start(claim, lasts, lasts / 5, false),
        }
    }

    /// Of a lease: given up on the keeper's thread, as that takes requests.
    pub fn of_lease(claim: Arc<dyn Claim>, lasts: Duration) -> Result<Keeper> {
        Keeper::start(claim, lasts, lasts / 3, true)
    }

    fn start(
        claim: Arc<dyn Claim>,
        lasts: Duration,
        every: Duration,
        lease: bool,
    ) -> Result<Keeper> {
        let shared = Arc::new(Shared {
            lasts,
            every,
            lease,
            renewed: Mutex::new(Instant::now()),
            failed: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let own = shared.clone();
        let thread = threads::start(move || own.keep(&*claim))?;
        Ok(Keeper {
            at_work: Some((shared, thread)),
        })
    }

    /// Whether it is certain that nobody else has it, or nobody can tell. Asks where it was not renewed for so long that somebody may
    /// have taken it over.
    pub fn is_kept(&self) -> bool {
        let Some((shared, thread)) = &self.at_work else {
            return true;
        };
        let began = Instant::now();
        let late = || shared.since_renewal() >= shared.lasts;
        while late() && !shared.failed.load(Ordering::Relaxed) && began.elapsed() < SURE {
            if self.lost() {
                return false;
            }
            thread.thread().unpark();
            std::thread::sleep(TICK);
        }
        !self.lost()
    }

    /// Whether somebody else may have it: taken over, or not renewed for so long that it may be at any moment. Of a lease: taken over.
    pub fn lost(&self) -> bool {
        self.at_work.as_ref().is_some_and(|(shared, _)| {
            let late = shared.since_renewal() > shared.lasts.mul_f64(0.8);
            (late && !shared.lease) || shared.lost.load(Ordering::Relaxed)
        })
    }
}

impl Shared {
    fn since_renewal(&self) -> Duration {
        let renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.elapsed()
    }

    fn keep(&self, claim: &dyn Claim) {
        let mut tried: Option<Instant> = None;
        while !self.over.load(Ordering::Relaxed) {
            std::thread::park_timeout(TICK);
            // The disk may come back before it is too late.
            let again = tried.is_none_or(|at| at.elapsed() >= self.lasts / 20);
            if self.since_renewal() < self.every || !again {
                continue;
            }
            let renewed = claim.renew();
            self.failed.store(renewed.is_err(), Ordering::Relaxed);
            match renewed {
                Ok(true) => {
                    tried = None;
                    let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
                    *renewed = Instant::now();
                }
                Ok(false) => return self.lost.store(true, Ordering::Relaxed),
                Err(_) => tried = Some(Instant::now()),
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some((shared, thread)) = self.at_work.take() {
            shared.over.store(true, Ordering::Relaxed);
            thread.thread().unpark();
            if !shared.lease {
                let _ = thread.join(); // One that panicked keeps nothing either.
            }
        }
    }
}
