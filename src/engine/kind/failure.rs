//! Why a run or a node did not end well: the classes that a command line turns into exit codes, and those that decide whether a
//! node is tried again. Judges what others observed; looks at nothing itself.

use base::text::bytes;
use serde::{Deserialize, Serialize};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// Exit status of a worker that stopped because it was asked to, with its state saved.
pub const EXIT_INTERRUPTED: i32 = 75;
/// Exit status of a worker that failed and said why.
pub const EXIT_FAILED: i32 = 1;
/// Exit status of a worker that failed in a way that may pass.
pub const EXIT_TRANSIENT: i32 = 69;

#[derive(Debug)]
pub enum Failure {
    /// Nodes failed: name and message, in the order it happened.
    Nodes(Vec<(String, String)>),
    /// The store or the machine is unusable: not writable, full, of a newer format.
    Environment(anyhow::Error),
    /// Asked to stop; the attempts are resumable.
    Interrupted,
    /// What the run was allowed to ask of services is used up: what was spent, in words. The attempts are resumable.
    Limit(String),
    /// The plan may ask for more than the run is allowed to; nothing was started.
    Refused(String),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Nodes(_) | Failure::Limit(_) => 1,
            Failure::Refused(_) => 2,
            Failure::Environment(_) => 3,
            Failure::Interrupted => 130,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Nodes(nodes) => {
                let names: Vec<String> = nodes.iter().map(|(n, _)| format!("`{n}`")).collect();
                write!(f, "failed: {}", names.join(", "))
            }
            Failure::Environment(error) => write!(f, "{error:#}"),
            Failure::Interrupted => f.write_str("interrupted"),
            Failure::Refused(why) => f.write_str(why),
            Failure::Limit(told) => write!(f, "the limit of this run is reached: {told}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Environment(error)
    }
}

/// Why a node did not end well. Told apart because they call for different answers: a changed recipe, a larger machine, or just
/// another try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The node itself: it said so, panicked, or crashed. Another try would end in the same way.
    #[default]
    Error,
    /// A signal from outside ended its worker.
    Killed,
    /// There was not enough memory, said the kernel or the worker.
    OutOfMemory,
    /// The disk is full or read-only, the store cannot be used.
    Environment,
    /// The worker said that it may go better in a while: an endpoint was busy, say.
    Transient,
    /// Asked to stop; what it had saved is kept.
    Interrupted,
    /// It ended well, but its outputs are missing, incomplete or still being written to.
    LostOutputs,
}

impl Class {
    /// In a sentence that says how something failed.
    pub fn words(self) -> &'static str {
        match self {
            Class::Error => "error",
            Class::Killed => "killed",
            Class::OutOfMemory => "out of memory",
            Class::Environment => "environment",
            Class::Transient => "transient",
            Class::Interrupted => "interrupted",
            Class::LostOutputs => "lost outputs",
        }
    }
}

/// What is known of a worker's end.
#[derive(Default)]
pub struct Evidence<'a> {
    pub status: Option<ExitStatus>,
    /// What it said before: the message and its class.
    pub complaint: Option<&'a (String, Class)>,
    /// Its last lines on stderr.
    pub tail: &'a str,
    /// Whether this run was asked to stop.
    pub asked: bool,
    /// Whether the kernel killed anyone for memory while it ran.
    pub kernel_killed: bool,
    /// Its highest resident memory.
    pub peak: Option<u64>,
    /// The least memory that was free while it ran, and all there is.
    pub free: Option<(u64, u64)>,
}

/// Below this share of the machine's memory there is no more to be had.
const SCARCE: f64 = 0.05;
/// Whoever has this share of the machine's memory is the one that is killed for it.
const LARGE: f64 = 0.4;

/// The class of a worker's end that was no success, and the cause in words.
pub fn classify(evidence: &Evidence) -> (Class, String) {
    let signal = evidence.status.and_then(|s| s.signal());
    let code = evidence.status.and_then(|s| s.code());
    // A worker that was asked to stop may die of the request before it can listen to it.
    if code == Some(EXIT_INTERRUPTED) || (evidence.asked && signal.is_some()) {
        return (Class::Interrupted, "interrupted".into());
    }
    if let Some((message, class)) = evidence.complaint {
        let memory = message.to_lowercase();
        let memory = memory.contains("out of memory") || memory.contains("out_of_memory");
        let class = if memory { Class::OutOfMemory } else { *class };
        return (class, message.clone());
    }
    let peak = evidence
        .peak
        .map_or(String::new(), |p| format!(": peak {}", bytes(p)));
    if signal == Some(libc::SIGKILL) && evidence.kernel_killed {
        return (
            Class::OutOfMemory,
            format!("out of memory{peak}; the kernel killed the worker"),
        );
    }
    if signal == Some(libc::SIGKILL) && evidence.starved() {
        let told = format!("out of memory{peak}; it was killed when next to nothing was free");
        return (Class::OutOfMemory, told);
    }
    if signal == Some(libc::SIGABRT) && evidence.tail.contains("memory allocation of") {
        return (
            Class::OutOfMemory,
            format!("out of memory{peak}; an allocation failed"),
        );
    }
    let class = match signal {
        Some(libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGKILL | libc::SIGTERM) => {
            Class::Killed
        }
        _ => Class::Error,
    };
    let mut told = evidence.status.map_or("the worker ended".into(), describe);
    if let (Class::Killed, Some(p)) = (class, evidence.peak) {
        told += &format!("; its peak was {}", bytes(p));
    }
    (class, told)
}

impl Evidence<'_> {
    /// The worker was large and the machine empty, which is when daemons kill before the kernel does.
    fn starved(&self) -> bool {
        let (Some((least, total)), Some(peak)) = (self.free, self.peak) else {
            return false;
        };
        (least as f64) < SCARCE * total as f64 && peak as f64 > LARGE * total as f64
    }
}

/// `the worker was killed by SIGKILL`, `the worker panicked`.
fn describe(status: ExitStatus) -> String {
    if let Some(signal) = status.signal() {
        let name = match signal {
            libc::SIGHUP => "SIGHUP",
            libc::SIGINT => "SIGINT",
            libc::SIGQUIT => "SIGQUIT",
            libc::SIGILL => "SIGILL",
            libc::SIGABRT => "SIGABRT",
            libc::SIGBUS => "SIGBUS",
            libc::SIGFPE => "SIGFPE",
            libc::SIGKILL => "SIGKILL",
            libc::SIGSEGV => "SIGSEGV",
            libc::SIGTERM => "SIGTERM",
            libc::SIGXCPU => "SIGXCPU",
            libc::SIGXFSZ => "SIGXFSZ",
            _ => return format!("the worker was killed by signal {signal}"),
        };
        return format!("the worker was killed by {name}");
    }
    match status.code() {
        Some(101) => "the worker panicked".to_string(),
        Some(code) => format!("the worker ended with exit status {code}"),
        None => "the worker ended without an exit status".to_string(),
    }
}

/// How often a node is tried again, and when.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// The most for transient failures; 0: nothing is tried again.
    pub most: usize,
    /// The first pause; each is twice the one before.
    pub pause: Duration,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries {
            most: 3,
            pause: Duration::from_secs(1),
        }
    }
}

/// A pause grows no longer than this.
const LONGEST: Duration = Duration::from_secs(120);

impl Retries {
    /// The pause before another try; none: it stays failed. `before`: how often it was tried again already, for this class of
    /// failure. `saved`: a checkpoint is there to go on from. `salt` keeps nodes that failed together from coming back together.
    pub fn pause(&self, class: Class, before: usize, saved: bool, salt: &str) -> Option<Duration> {
        let most = match class {
            Class::Transient => self.most,
            // Who kills a worker may have had a reason; once is an accident.
            Class::Killed if saved => self.most.min(1),
            _ => 0,
        };
        if before >= most {
            return None;
        }
        let pause = self.pause.saturating_mul(1 << before.min(16)).min(LONGEST);
        let hash = blake3::hash(format!("{salt} {before}").as_bytes());
        let jitter = f64::from(hash.as_bytes()[0]) / 255.0 - 0.5; // Plain spread, no randomness that a result could see.
        Some(pause.mul_f64(1.0 + 0.5 * jitter))
    }
}
