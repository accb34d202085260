//! Renews a claim from a thread of its own, so that a worker that writes to a slow disk keeps it; and says when it is lost.

use crate::store::claims::Claim;
use anyhow::Result;
use base::threads;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(50);

/// Renews as long as it lives.
pub struct Keeper {
    shared: Option<Arc<Shared>>,
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
            return Ok(Keeper { shared: None });
        };
        let shared = Arc::new(Shared {
            claim,
            lasts,
            renewed: Mutex::new(Instant::now()),
            lost: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let own = shared.clone();
        threads::start(move || own.keep())?;
        Ok(Keeper {
            shared: Some(shared),
        })
    }

    /// Whether somebody else may have it: taken over, or not renewed for so long that it may be at any moment.
    pub fn lost(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| {
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
        while !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            if self.since_renewal() < self.lasts / 5 {
                continue;
            }
            match self.claim.renew() {
                Ok(true) => {
                    let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
                    *renewed = Instant::now();
                }
                Ok(false) => return self.lost.store(true, Ordering::Relaxed),
                // The disk may come back before it is too late.
                Err(_) => std::thread::sleep(self.lasts / 20),
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.over.store(true, Ordering::Relaxed);
        }
    }
}
