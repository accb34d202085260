//! What a worker process is to the system: its session, its signals, its usage.

use super::watchdog;
use crate::kind::stop::Stop;
use crate::store::attempt::{Attempt, Usage};
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

/// Whether an error is about the disk instead of the node.
pub fn is_environment(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| matches!(e.kind(), StorageFull | ReadOnlyFilesystem | QuotaExceeded))
}

/// Cpu time of this process and the children it waited for, and the highest resident memory of it or of the largest of them;
/// zeros where the system does not say.
pub fn usage() -> Usage {
    // The unit of /proc/PID/stat, fixed by the kernel's user interface.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 to 17, counted after the name in parentheses, which may hold spaces.
    let ticks: f64 = stat
        .rsplit_once(')')
        .map(|(_, rest)| {
            rest.split_whitespace()
                .skip(11)
                .take(4)
                .filter_map(|t| t.parse::<f64>().ok())
                .sum()
        })
        .unwrap_or_default();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak_kib: u64 = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or_default();
    Usage {
        cpu_seconds: ticks / TICKS_PER_SECOND,
        peak_bytes: peak_kib.max(children_kib()) * 1024,
        ..Usage::default()
    }
}

/// The highest resident memory of the children that were waited for, and of theirs, in KiB.
fn children_kib() -> u64 {
    // SAFETY: a plain structure of numbers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the place is ours and lives as long as the call.
    let told = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    match told {
        0 => u64::try_from(usage.ru_maxrss).unwrap_or_default(),
        _ => 0,
    }
}
