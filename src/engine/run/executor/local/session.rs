//! What a worker process is to the system: its session, its signals, its usage.

use super::watchdog;
use crate::kind::attempt::Attempt;
use crate::kind::stop::Stop;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A session of its own, so that a Ctrl-C in the terminal reaches only the engine; and no life after the engine's.
pub fn detach(dir: &Path) -> Result<Arc<Stop>> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, asked.clone())
            .context("installing a signal handler")?;
    }
    // Fails only for the leader of a group, which is a worker started by hand from a shell.
    let _ = rustix::process::setsid();
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .context("asking for a signal when the engine dies")?;
    let attempt = Attempt {
        dir: dir.to_path_buf(),
    };
    attempt.sign()?;
    let engine = attempt.spec()?.engine;
    let engine = engine.context("finding out who started this worker")?.pid;
    // The engine may have died before the signal was asked for.
    if rustix::process::getppid().map(Pid::as_raw_pid) != Some(engine) {
        asked.store(true, Ordering::Relaxed);
    }
    let stop = Arc::new(Stop::new(asked));
    watchdog::watch(&stop, engine, dir)?;
    Ok(stop)
}
