//! One worker process: starting it, hearing it, stopping it. Unaware of graphs, keys and records.
//!
//! The key's lock is the worker's stdin: it is held as long as the worker lives, even if the engine does not. The worker
//! leads a session of its own; when it ends, whatever it left running in its group or anywhere else is killed before anyone
//! looks at the outputs, so that nobody can still write to them.

use crate::run::fault;
use crate::run::system::{memory, strays};
use crate::run::worker::Message;
use anyhow::{Context, Result};
use base::threads;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// What a worker may see of the environment, apart from the secrets its node names.
const ENVIRONMENT: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_BACKTRACE",
    "TZ",
];

/// How long a worker's last words may take after its end; only a process that escaped its group makes us wait.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running worker. Reaped by `end`, so its process id stays its own until then.
pub struct Worker {
    child: Child,
}

/// What comes from a worker.
pub enum Heard {
    Message(Message),
    /// The process has ended and all that it started is gone; nothing follows.
    Ended,
}

/// Must be called on a thread that outlives the worker: the worker dies with the thread that started it.
/// `hear` runs on another thread.
pub fn start(
    program: &Path,
    dir: &Path,
    lock: &File,
    threads: usize,
    secrets: &BTreeMap<String, String>,
    hear: impl Fn(Heard) + Clone + Send + 'static,
) -> Result<Worker> {
    let stderr = File::create(dir.join("logs/stderr.txt")).context("creating stderr.txt")?;
    let mut command = Command::new(program);
    command.arg("worker").arg(dir).env_clear().current_dir(dir);
    for name in ENVIRONMENT.iter().chain(fault::environment()) {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("RAYON_NUM_THREADS", threads.to_string())
        .envs(secrets)
        .env(strays::MARK, dir);
    let mut child = command
        .stdin(Stdio::from(
            lock.try_clone().context("handing over the lock")?,
        ))
        .stdout(Stdio::piped())
        .stderr(Stdio::from(stderr))
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
    let (silent, silence) = mpsc::channel();
    let listener = hear.clone();
    let listening = threads::start(move || {
        listen(stdout, listener);
        let _ = silent.send(()); // Nobody waits any more: the worker is long gone.
    });
    let (pid, dir) = (pid(&child), dir.to_path_buf());
    let waiting = listening.and_then(|_| {
        threads::start(move || {
            await_end(pid, &dir);
            let _ = silence.recv_timeout(LAST_WORDS);
            hear(Heard::Ended);
        })
    });
    let worker = Worker { child };
    // One that nobody listens to must not go on.
    if let Err(error) = waiting {
        worker.kill();
        return Err(error);
    }
    Ok(worker)
}

impl Worker {
    /// Asks it to save its state and go.
    pub fn stop(&self) {
        // It may have ended already; then the news is on its way.
        let _ = rustix::process::kill_process(pid(&self.child), Signal::TERM);
    }

    pub fn kill(&self) {
        let pid = pid(&self.child);
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }

    /// The most it had resident so far.
    pub fn peak(&self) -> Option<u64> {
        memory::peak(self.child.id() as i32)
    }

    /// After `Heard::Ended`: how it ended, and its highest resident memory where the kernel can tell it from the engine's own.
    pub fn end(self) -> Result<(ExitStatus, Option<u64>)> {
        let mut status = 0;
        // SAFETY: a plain structure of numbers, for which zeros are a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        loop {
            // SAFETY: both places are ours and live as long as the call.
            let waited = unsafe { libc::wait4(self.child.id() as i32, &mut status, 0, &mut usage) };
            if waited >= 0 {
                break;
            }
            let error = std::io::Error::last_os_error();
            if error.kind() != std::io::ErrorKind::Interrupted {
                return Err(error).context("waiting for the worker");
            }
        }
        let peak = usage.ru_maxrss as u64 * 1024;
        // A new process begins with the number of the one that started it.
        let own = memory::peak(std::process::id() as i32);
        let told = own.is_some_and(|own| peak > own).then_some(peak);
        Ok((ExitStatus::from_raw(status), told))
    }
}

/// Lines that are no message are words: a library may print what it likes.
fn listen(stdout: impl Read, hear: impl Fn(Heard)) {
    let mut reader = BufReader::new(stdout);
    let mut line = vec![];
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let message = serde_json::from_slice(&line).unwrap_or_else(|_| Message::Say {
                    text: String::from_utf8_lossy(&line).trim_end().to_string(),
                });
                hear(Heard::Message(message));
            }
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
