//! Threads that an operating system may refuse: an error with what to do, never a panic.

use anyhow::{Context, Result};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

const REFUSED: &str =
    "the operating system gives no thread: see `ulimit -u` (processes) and `ulimit -v` (memory)";

/// A thread of its own.
pub fn start(run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    Builder::new().spawn(run).context(REFUSED)
}

/// One that ends with the scope.
pub fn start_in<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    run: impl FnOnce() + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, ()>> {
    Builder::new().spawn_scoped(scope, run).context(REFUSED)
}

static READY: Mutex<bool> = Mutex::new(false);

/// The threads that work is shared out to, so many or as many as there are; before it is, for they would panic where they are not
/// given. Once a process.
pub fn ready(threads: Option<usize>) -> Result<()> {
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    if !*ready {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
        match pool.build_global() {
            // Somebody shared out work before.
            Err(error) if std::error::Error::source(&error).is_none() => {}
            built => built.context(REFUSED)?,
        }
        *ready = true;
    }
    Ok(())
}
