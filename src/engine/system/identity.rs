//! Who a process is: a process id alone is nobody, as it is given again; with its start time, the boot and the host it is one.

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::sync::OnceLock;

/// One process for all time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: i32,
    /// Clock ticks between the boot and its start.
    pub start: u64,
    pub boot: String,
    pub host: String,
    /// Process ids are counted per namespace: containers of one host have several.
    pub namespace: String,
}

impl Process {
    /// This process.
    pub fn own() -> Option<Process> {
        Process::with_id(rustix::process::getpid().as_raw_nonzero().get())
    }

    /// The process that has this id now.
    pub(crate) fn with_id(pid: i32) -> Option<Process> {
        let (boot, host, namespace) = place().clone();
        Some(Process {
            pid,
            start: Stat::of(pid)?.start,
            boot,
            host,
            namespace,
        })
    }

    /// Whether its id means something here: the same host since the same boot.
    pub fn is_of_here(&self) -> bool {
        let (boot, host, namespace) = place();
        self.boot == *boot && self.host == *host && self.namespace == *namespace
    }

    /// Whether it runs; of a process elsewhere nobody here can say.
    pub fn lives(&self) -> Option<bool> {
        let here = self.is_of_here();
        here.then(|| Stat::of(self.pid).is_some_and(|s| s.start == self.start && !s.dead()))
    }

    /// Whether it is halted by a signal, as by Ctrl-Z; of a process elsewhere nobody here can say.
    pub fn halted(&self) -> bool {
        let stat = self.is_of_here().then(|| Stat::of(self.pid)).flatten();
        stat.is_some_and(|s| s.start == self.start && matches!(s.state, 'T' | 't'))
    }

    /// Sends a signal to this very process: not to another that was given its id. False where there was nobody to send it to.
    pub fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return false;
        };
        // Opened first and looked at then: what the descriptor means cannot change any more.
        let Ok(open) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            return false;
        };
        self.lives() == Some(true) && rustix::process::pidfd_send_signal(&open, signal).is_ok()
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.pid)
    }
}

/// The name of this machine.
pub fn host() -> String {
    place().1.clone()
}

/// Boot, host and namespace of this process, as they were when they were first asked for.
fn place() -> &'static (String, String, String) {
    static PLACE: OnceLock<(String, String, String)> = OnceLock::new();
    let read = |path: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_string()
    };
    PLACE.get_or_init(|| {
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        (
            read("/proc/sys/kernel/random/boot_id"),
            read("/proc/sys/kernel/hostname"),
            namespace.to_string_lossy().into_owned(),
        )
    })
}

/// What is read of `/proc/PID/stat`.
pub(crate) struct Stat {
    state: char,
    start: u64,
}

impl Stat {
    pub(crate) fn of(pid: i32) -> Option<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Fields count from 3 after the name in parentheses, which may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(Stat {
            state: fields.first()?.chars().next()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }

    /// Ended, and perhaps not yet waited for.
    pub(crate) fn dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}
