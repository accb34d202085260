//! Why a run or a node did not end well: the classes that a command line turns into exit codes, and those that decide whether a
//! node is tried again. Judges what others observed; looks at nothing itself.

pub use super::class::Class;
use super::conclusion::{self, Conclusion};
use base::text::bytes;
use std::time::Duration;

/// Exit status of a worker that stopped because it was asked to, with its state saved.
pub(crate) const EXIT_INTERRUPTED: i32 = 75;
/// Exit status of a worker that failed and said why.
pub(crate) const EXIT_FAILED: i32 = 1;
/// Exit status of a worker that failed in a way that may pass.
pub(crate) const EXIT_TRANSIENT: i32 = 69;

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

/// How a worker ended, as its executor saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    pub end: End,
    /// Its highest resident memory, in bytes.
    pub peak: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// With this exit status.
    Exited(i32),
    /// By this signal of POSIX.
    Signalled(i32),
    /// It was ended for want of memory; how, in words.
    OutOfMemory(String),
    /// Nobody can say what became of it, a machine that is gone, say; the reason in words. Another try may go well.
    Lost(String),
    /// The executor itself does not work any more: why, in words.
    ExecutorFailed(String),
    /// It was taken off its machine; how, in words.
    Evicted(String),
    /// The job that it was in ended before it was its turn; how, in words. Nothing happened to it.
    Unreached(String),
    /// It cannot be executed there: why, in words.
    Unstartable(String),
    /// Somebody cancelled it behind our back.
    Cancelled(String),
    /// Who attended to it where it ran has judged it, and committed it where it went well.
    Attended(Box<Conclusion>),
}

/// The class of a worker's end that was no success, and the cause in words. `complaint`: what the worker said before, and its class;
/// `asked`: whether it was asked to stop.
pub fn classify(
    ending: &Ending,
    complaint: Option<&(String, Class)>,
    asked: bool,
) -> (Class, String) {
    let exited = matches!(ending.end, End::Exited(_));
    if let End::Attended(conclusion) = &ending.end {
        return match judged(conclusion) {
            // Several engines may wait for one attempt.
            (Class::Interrupted, _) if !asked => {
                (Class::Evicted, "another engine had it stopped".into())
            }
            judged => judged,
        };
    }
    // A worker that was asked to stop may die of the request before it can listen to it.
    if ending.end == End::Exited(EXIT_INTERRUPTED) || (asked && !exited) {
        return (Class::Interrupted, "interrupted".into());
    }
    if let Some((message, class)) = complaint {
        let memory = is_of_memory(message);
        let class = if memory { Class::OutOfMemory } else { *class };
        return (class, message.clone());
    }
    let peak = ending.peak.map(bytes);
    let (class, mut told) = match &ending.end {
        End::OutOfMemory(how) => {
            let peak = peak.map_or(String::new(), |p| format!(": peak {p}"));
            return (Class::OutOfMemory, format!("out of memory{peak}; {how}"));
        }
        End::Exited(101) => (Class::Error, "the worker panicked".into()),
        End::Exited(code) => (
            Class::Error,
            format!("the worker ended with exit status {code}"),
        ),
        End::Signalled(signal) => (of_signal(*signal), signalled(*signal)),
        End::Lost(why) => (Class::Transient, format!("the worker was lost: {why}")),
        End::ExecutorFailed(why) | End::Unstartable(why) => (Class::Environment, why.clone()),
        End::Evicted(how) => (Class::Evicted, format!("it was evicted: {how}")),
        End::Unreached(how) => (Class::Evicted, how.clone()),
        End::Cancelled(how) => (Class::Interrupted, how.clone()),
        End::Attended(_) => unreachable!("it was judged where it ran"),
    };
    if let (Class::Killed, Some(peak)) = (class, peak) {
        told += &format!("; its peak was {peak}");
    }
    (class, told)
}

/// Whether there was not enough memory, by the words of who asked for it.
pub(crate) fn is_of_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("out of memory") || message.contains("out_of_memory")
}

/// By whoever attended to it.
fn judged(conclusion: &Conclusion) -> (Class, String) {
    match &conclusion.result {
        conclusion::Result::Failed { class, message } => (*class, message.clone()),
        conclusion::Result::Committed { .. } | conclusion::Result::Hit => {
            (Class::LostOutputs, "its record is not there".into())
        }
    }
}

/// Some signals come from outside, others from what the worker did.
fn of_signal(signal: i32) -> Class {
    match signal {
        libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGKILL | libc::SIGTERM => {
            Class::Killed
        }
        _ => Class::Error,
    }
}

/// `the worker was killed by SIGKILL`.
fn signalled(signal: i32) -> String {
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
    format!("the worker was killed by {name}")
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
            // Of those in whose course nothing was saved: others are not counted.
            Class::Transient | Class::Evicted => self.most,
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
