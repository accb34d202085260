//! What this process and its children took of the machine, and whether an error is the machine's.

/// Cpu time and memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    pub cpu_seconds: f64,
    /// The highest resident memory.
    pub peak_bytes: u64,
}

/// Whether an error is about the disk instead of the node.
pub(crate) fn is_environment(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| matches!(e.kind(), StorageFull | ReadOnlyFilesystem | QuotaExceeded))
}

/// Cpu time of this process and the children it waited for, and the highest resident memory of it or of the largest of them;
/// zeros where the system does not say.
pub(crate) fn of_this_process() -> Taken {
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
    Taken {
        cpu_seconds: ticks / TICKS_PER_SECOND,
        peak_bytes: peak_kib.max(children_kib()) * 1024,
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
