//! Whoever uses a folder of a file server that hangs is stuck in the middle of it and can say nothing. So somebody else asks the folder
//! again and again, and a third says since when it has not answered. Knows no words.

use anyhow::Result;
use base::threads;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that are free where a folder is. Every network file system asks its server for it, whatever it remembers of files.
pub fn free(folder: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(folder).ok()?;
    Some(told.f_bavail * told.f_frsize)
}

/// What is heard of a folder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Heard {
    /// No answer, for so long by now. Said once.
    Nothing(Duration),
    /// It answers again; it took so long.
    Again(Duration),
}

/// Asks, each time when it had an answer and a while is over, until `over`; whatever the answer is. A silence of more than `patience`
/// is told.
pub fn tell(
    patience: Duration,
    over: Arc<AtomicBool>,
    ask: impl Fn() + Send + 'static,
    say: impl Fn(Heard) + Send + 'static,
) -> Result<()> {
    let pause = patience / 10;
    // Since when there has been no answer, as long as one is waited for; and how long the last one took that took too long.
    let asked: Arc<Mutex<(Option<Instant>, Duration)>> = Arc::default();
    let (own, ended) = (asked.clone(), over.clone());
    threads::start(move || {
        while !ended.load(Ordering::Relaxed) {
            let since = Instant::now();
            own.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(since);
            ask();
            let took = since.elapsed();
            let mut asked = own.lock().unwrap_or_else(PoisonError::into_inner);
            asked.0 = None;
            if took > patience {
                asked.1 = took;
            }
            drop(asked);
            std::thread::sleep(pause);
        }
    })?;
    threads::start(move || {
        // Of the question that had no answer.
        let mut told = None;
        while !over.load(Ordering::Relaxed) {
            let (since, took) = *asked.lock().unwrap_or_else(PoisonError::into_inner);
            if told.is_some() && told != since {
                told = None;
                say(Heard::Again(took));
            }
            let silent = since.map(|since| since.elapsed());
            if let Some(silent) = silent.filter(|silent| *silent > patience && told.is_none()) {
                told = since;
                say(Heard::Nothing(silent));
            }
            std::thread::sleep(pause / 2);
        }
    })?;
    Ok(())
}
