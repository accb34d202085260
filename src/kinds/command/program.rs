//! The process of a program: starting it, hearing it, ending it with everything that it started. Knows nothing of inputs and outputs.
//!
//! It leads a process group of its own, which is asked to end (SIGTERM) when this worker is, or when its time is up, and killed
//! with whatever else carries the attempt's mark when its grace is over. The engine ends what is left when the worker has ended.

use super::params::Exec;
use super::progress::Report;
use super::sandbox::Sandbox;
use anyhow::{Context, Result};
use base::threads;
use engine::kind::context::NodeCtx;
use engine::system::strays;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The exit status of a program that asks for another try (`EX_TEMPFAIL` of sysexits.h).
pub(crate) const TRY_AGAIN: i32 = 75;

/// A program that was asked to end has this long to save what it wants; the engine's patience with the worker is a little longer.
const GRACE: Duration = Duration::from_secs(18);

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A longer line, in bytes, is cut in parts.
const MOST_LINE: u64 = 1 << 20;

pub enum End {
    Ended(ExitStatus),
    /// This worker was asked to stop.
    Stopped,
    /// After so many seconds.
    TimedOut(f64),
}

/// Runs it to its end. When this returns, nothing that it started is left.
pub fn run(ctx: &NodeCtx, sandbox: &Sandbox, report: &Report, exec: &Exec) -> Result<End> {
    let mut command = Command::new(&sandbox.program);
    command
        .args(&sandbox.args)
        .env_clear()
        .envs(&sandbox.env)
        .current_dir(&sandbox.cwd)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn();
    let mut child =
        child.with_context(|| format!("failed to start {}", sandbox.program.display()))?;
    let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
    let stderr = child.stderr.take().expect("stderr was asked to be a pipe");
    std::thread::scope(|scope| {
        let out = || hear(stdout, |line, drawn| report.line(line, false, drawn));
        let err = || hear(stderr, |line, drawn| report.line(line, true, drawn));
        let heard = threads::start_in(scope, out).and_then(|_| threads::start_in(scope, err));
        let end = match heard {
            Ok(_) => wait(ctx, &mut child, exec.timeout_seconds),
            Err(error) => Err(error),
        };
        // Whatever it left behind could still write to what is read next, and holds the pipes open.
        let _ = kill_process_group(group(&child), Signal::KILL);
        strays::kill_everywhere(ctx.folder());
        end
    })
}

fn wait(ctx: &NodeCtx, child: &mut Child, timeout: Option<f64>) -> Result<End> {
    let since = Instant::now();
    let mut asked: Option<(Instant, End)> = None;
    loop {
        let ended = child.try_wait().context("failed to wait for the program")?;
        if let Some(status) = ended {
            return Ok(match asked {
                Some((_, why)) => why,
                None => End::Ended(status),
            });
        }
        let late = timeout.filter(|seconds| since.elapsed().as_secs_f64() >= *seconds);
        if asked.is_none() && (ctx.stop() || late.is_some()) {
            let why = late
                .filter(|_| !ctx.stop())
                .map_or(End::Stopped, End::TimedOut);
            let _ = kill_process_group(group(child), Signal::TERM); // It may be gone already.
            asked = Some((Instant::now(), why));
        }
        if asked
            .as_ref()
            .is_some_and(|(when, _)| when.elapsed() > GRACE)
        {
            let _ = kill_process_group(group(child), Signal::KILL);
            strays::kill_everywhere(ctx.folder());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn group(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32).expect("a process id is not zero")
}

/// Line by line; a carriage return ends a line that is drawn over.
fn hear(pipe: impl Read, each: impl Fn(&str, bool)) {
    let mut reader = BufReader::new(pipe);
    let mut line = vec![];
    loop {
        line.clear();
        match reader.by_ref().take(MOST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end_matches(['\n', '\r']);
                let mut parts = text.split('\r').peekable();
                while let Some(part) = parts.next() {
                    each(part, parts.peek().is_some());
                }
            }
        }
    }
}

/// What is said of an end that was no success, with the program's last words.
pub fn complaint(status: ExitStatus, last: Option<&str>) -> Option<String> {
    if status.success() {
        return None;
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(libc::SIGKILL)) => "was killed by SIGKILL".into(),
        (None, Some(libc::SIGSEGV)) => "was killed by SIGSEGV".into(),
        (None, Some(libc::SIGTERM)) => "was killed by SIGTERM".into(),
        (None, Some(libc::SIGABRT)) => "was killed by SIGABRT".into(),
        (None, signal) => format!("was killed by signal {}", signal.unwrap_or_default()),
    };
    Some(match last {
        Some(last) => format!("{how}: {last}"),
        None => how,
    })
}
