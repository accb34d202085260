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

/// Renews as long as it lives. When it is gone, nobody holds the claim by it any more.
pub struct Keeper {
    at_work: Option<(Arc<Shared>, JoinHandle<()>)>,
}

struct Shared {
    claim: Arc<dyn Claim>,
    lasts: Duration,
    renewed: Mutex<Instant>,
    lost: AtomicBool,
    over: AtomicBool,
}

impl Keeper {
    /// `lasts`: how long the claim counts without a renewal; none: as long as its holder lives.
    pub fn new(claim: Arc<dyn Claim>, lasts: Option<Duration>) -> Result<Keeper> {
        let Some(lasts) = lasts else {
            return Ok(Keeper { at_work: None });
        };
        let shared = Arc::new(Shared {
            claim,
            lasts,
            renewed: Mutex::new(Instant::now()),
            lost: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let own = shared.clone();
        let thread = threads::start(move || own.keep())?;
        Ok(Keeper {
            at_work: Some((shared, thread)),
        })
    }

    /// Whether somebody else may have it: taken over, or not renewed for so long that it may be at any moment.
    pub fn lost(&self) -> bool {
        self.at_work.as_ref().is_some_and(|(shared, _)| {
            let late = shared.since_renewal() > shared.lasts.mul_f64(0.8);
            late || shared.lost.load(Ordering::Relaxed)
        })
    }
}

impl Shared {
    fn since_renewal(&self) -> Duration {
        let renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.elapsed()
    }

    fn keep(&self) {
        let mut tried: Option<Instant> = None;
        while !self.over.load(Ordering::Relaxed) {
            std::thread::park_timeout(TICK);
            // The disk may come back before it is too late.
            let again = tried.is_none_or(|at| at.elapsed() >= self.lasts / 20);
            if self.since_renewal() < self.lasts / 5 || !again {
                continue;
            }
            match self.claim.renew() {
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
            let _ = thread.join(); // One that panicked keeps nothing either.
        }
    }
}
