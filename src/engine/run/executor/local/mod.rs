//! Workers as processes of this machine: starting one, hearing it, stopping it. Unaware of graphs, keys and records.
//!
//! The lock of the key is the worker's stdin: it is held as long as the worker lives, even if the engine does not. Its stdout is a
//! pipe of messages: they arrive without a file that grows, and its end is the end of whatever could still speak. (Elsewhere stdout
//! can be a file that is followed; a worker does not know the difference.) The worker leads a session of its own; when it ends,
//! whatever it left running in its group or anywhere else is killed before anyone looks at the outputs, so that nobody can still
//! write to them.

pub mod memory;
mod session;
mod watchdog;

pub use session::detach;

use crate::kind::attempt::Attempt;
use crate::kind::failure::{End, Ending};
use crate::kind::messages::Message;
use crate::run::executor::{Executor, Job, Listener, News, Resources, Task};
use crate::system::fault;
use crate::system::files;
use crate::system::gpus;
use crate::system::memory::{available, peak};
use crate::system::{strays, writers};
use anyhow::{Context, Result};
use base::threads;
use memory::Seen;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What a worker may see of the environment, apart from the secrets its node names.
const ENVIRONMENT: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    gpus::VISIBLE,
    gpus::ORDER,
    gpus::KERNELS,
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_BACKTRACE",
    "TZ",
];

/// How long a worker's last words may take after its end; only a process that escaped its group makes us wait.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// This machine.
pub(crate) struct Local;

impl Executor for Local {
    /// All cores and GPUs, and the memory that is free now.
    fn capacity(&self) -> Resources {
        Resources {
            threads: thread::available_parallelism().map_or(1, usize::from),
            gpus: gpus::count(),
            memory: available(),
        }
    }

    /// Must be called on a thread that outlives the worker: the worker dies with the thread that started it.
    fn start(&self, job: &Job, listener: Listener) -> Result<Box<dyn Task>> {
        strays::adopt();
        let mut child = spawn(job)?;
        let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
        let (silent, silence) = mpsc::channel();
        let heard = listener.clone();
        let listening = threads::start(move || {
            listen(stdout, &heard);
            let _ = silent.send(()); // Nobody waits any more: the worker is long gone.
        });
        let (pid, dir) = (pid(&child), job.attempt.dir.clone());
        let waiting = listening.and_then(|_| {
            threads::start(move || {
                await_end(pid, &dir);
                let _ = silence.recv_timeout(LAST_WORDS);
                listener(News::Ended);
            })
        });
        let task = LocalTask {
            child,
            attempt: job.attempt.clone(),
            seen: Seen::new(),
        };
        // One that nobody listens to must not go on.
        if let Err(error) = waiting {
            task.kill();
            return Err(error);
        }
        Ok(Box::new(task))
    }

    fn name(&self, attempt: &Attempt) -> Option<String> {
        attempt.worker().map(|w| w.to_string())
    }

    fn runs(&self, attempt: &Attempt) -> bool {
        let worker = attempt.worker();
        worker.is_some_and(|w| w.lives() == Some(true)) || !strays::marked(&attempt.dir).is_empty()
    }

    fn kill_leftovers(&self, attempt: &Attempt) -> bool {
        let worker = attempt.worker().is_some_and(|w| w.signal(Signal::KILL));
        strays::kill_everywhere(&attempt.dir) > 0 || worker
    }

    fn writers(&self, attempt: &Attempt) -> Result<Vec<String>> {
        let out = attempt.outputs();
        let files = files::walk(&out, false)?;
        let paths: Vec<_> = files.into_iter().map(|(_, path)| path).collect();
        Ok(writers::of(&out, &paths))
    }
}

fn spawn(job: &Job) -> Result<Child> {
    let dir = &job.attempt.dir;
    let stderr = File::create(job.attempt.stderr()).context("creating stderr.txt")?;
    let mut command = Command::new(job.program);
    command.arg("worker").arg(dir).env_clear().current_dir(dir);
    for name in ENVIRONMENT.iter().chain(fault::environment()) {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if std::env::var_os(gpus::ORDER).is_none() {
        command.env(gpus::ORDER, gpus::BY_BUS);
    }
    let lock = job.lock.try_clone().context("handing over the lock")?;
    command
        .env("RAYON_NUM_THREADS", job.given.threads.to_string())
        .envs(job.secrets)
        .env(strays::MARK, dir)
        .stdin(Stdio::from(lock))
        .stdout(Stdio::piped())
        .stderr(Stdio::from(stderr))
        .spawn()
        .with_context(|| format!("starting {}", job.program.display()))
}

/// A running worker. Reaped by `end`, so its process id stays its own until then.
struct LocalTask {
    child: Child,
    attempt: Attempt,
    seen: Seen,
}

impl Task for LocalTask {
    fn stop(&self) {
        // It may have ended already; then the news is on its way.
        let _ = rustix::process::kill_process(pid(&self.child), Signal::TERM);
    }

    fn kill(&self) {
        let pid = pid(&self.child);
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }

    fn peak(&self) -> Option<u64> {
        self.seen.look(peak(self.child.id() as i32));
        self.seen.peak()
    }

    fn end(self: Box<Self>) -> Ending {
        let (status, highest) = match wait(&self.child) {
            Ok(waited) => waited,
            Err(error) => {
                return Ending {
                    end: End::ExecutorFailed(format!("{error:#}")),
                    peak: self.seen.peak(),
                };
            }
        };
        self.seen.note(highest);
        if !status.success() {
            // One that died between two looks told its memory with its last checkpoint.
            self.seen.note(Some(self.attempt.usage().peak_bytes));
        }
        let end = match (status.code(), status.signal()) {
            (Some(code), _) => End::Exited(code),
            (None, Some(signal)) => {
                let tail = self.attempt.stderr_tail();
                match self.seen.evidence(signal, &tail).cause() {
                    Some(cause) => End::OutOfMemory(cause.into()),
                    None => End::Signalled(signal),
                }
            }
            (None, None) => End::Lost("it ended without an exit status".into()),
        };
        Ending {
            end,
            peak: self.seen.peak(),
        }
    }
}

/// Reaps the worker: how it ended, and its highest resident memory where the kernel can tell it from the engine's own.
fn wait(child: &Child) -> Result<(ExitStatus, Option<u64>)> {
    let mut status = 0;
    // SAFETY: a plain structure of numbers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both places are ours and live as long as the call.
        let waited = unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
        if waited >= 0 {
            break;
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error).context("waiting for the worker");
        }
    }
    let highest = usage.ru_maxrss as u64 * 1024;
    // A new process begins with the number of the one that started it.
    let own = peak(std::process::id() as i32);
    let told = own.is_some_and(|own| highest > own).then_some(highest);
    Ok((ExitStatus::from_raw(status), told))
}

fn listen(stdout: impl Read, listener: &Listener) {
    let mut reader = BufReader::new(stdout);
    let mut line = vec![];
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => listener(News::Message(Message::read(&line))),
        }
    }
}

/// Waits without reaping, so that the group's id cannot be anyone else's when the group is killed.
fn await_end(pid: Pid, attempt: &Path) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), options) {}
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    strays::kill_left_by_child(attempt);
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32).expect("a process id is not zero")
}
