//! Programs that are asked something: run with a bound on their time and on what they print. One that takes longer is ended with whatever
//! it started; what one leaves behind that ended by itself may be the very job it was asked for, and stays.

use anyhow::{Context, Result, ensure};
use base::threads;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Of its output this much is read, in bytes: a line for each of a million jobs.
const MOST: u64 = 128 << 20;
/// Of what it complains of, this much.
const MOST_COMPLAINT: u64 = 64 << 10;
/// Of a complaint this much is told, in characters.
const TOLD: usize = 600;
/// How long its last words may take when it has ended: only somebody else that holds its pipes makes us wait.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What a program said until it ended.
pub struct Said {
    /// With status 0.
    pub well: bool,
    /// How it ended, in words.
    pub status: String,
    pub out: String,
    pub complaint: String,
}

impl Said {
    /// What it complained of, for messages; its status where it said nothing.
    pub fn told(&self) -> String {
        let text = match self.complaint.trim().is_empty() {
            false => self.complaint.trim(),
            true => self.out.trim(),
        };
        match text.is_empty() {
            true => format!("it said nothing and ended with {}", self.status),
            false => text.chars().take(TOLD).collect(),
        }
    }
}

/// Why nothing is known of what a program did.
pub enum Unheard {
    /// It was never started.
    NotStarted(anyhow::Error),
    /// It was ended before it ended itself, or cannot be understood.
    Lost(anyhow::Error),
}

impl From<Unheard> for anyhow::Error {
    fn from(unheard: Unheard) -> anyhow::Error {
        match unheard {
            Unheard::NotStarted(error) | Unheard::Lost(error) => error,
        }
    }
}

/// Runs a program to its end, which comes within `patience`.
pub fn run(command: &mut Command, patience: Duration) -> Result<Said, Unheard> {
    let name = command.get_program().to_string_lossy().into_owned();
    let command = command.stdin(Stdio::null()).process_group(0);
    let spawned = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let spawned = spawned.with_context(|| format!("starting `{name}`"));
    let mut child = spawned.map_err(Unheard::NotStarted)?;
    let heard = hear(&mut child, &name, patience);
    if heard.is_err() {
        let group = Pid::from_raw(child.id() as i32).expect("a process id is not zero");
        let _ = kill_process_group(group, Signal::KILL);
        let _ = child.wait(); // It has ended, or just been killed.
    }
    heard.map_err(Unheard::Lost)
}

fn hear(child: &mut Child, name: &str, patience: Duration) -> Result<Said> {
    let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
    let stderr = child.stderr.take().expect("stderr was asked to be a pipe");
    let (out, complaint) = (listen(stdout, MOST)?, listen(stderr, MOST_COMPLAINT)?);
    let until = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait().context("waiting for a program")? {
            break status;
        }
        let seconds = patience.as_secs();
        ensure!(
            Instant::now() < until,
            "`{name}` gave no answer within {seconds} s"
        );
        std::thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(50));
    };
    let (out, complaint) = (out.words(), complaint.words());
    ensure!(
        (out.len() as u64) < MOST,
        "`{name}` printed more than {MOST} bytes"
    );
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said {
        well: status.success(),
        status: status.to_string(),
        out: text(&out),
        complaint: text(&complaint),
    })
}

/// What comes from one of its pipes.
struct Heard {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Heard {
    /// All of it; or what has come by now, where somebody else still has the pipe.
    fn words(self) -> Vec<u8> {
        let _ = self.ended.recv_timeout(LAST_WORDS);
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads to the end, and the first `most` bytes of it are kept: who writes is never made to wait.
fn listen(mut from: impl Read + Send + 'static, most: u64) -> Result<Heard> {
    let (sender, ended) = mpsc::channel();
    let kept = Arc::new(Mutex::new(vec![]));
    let all = kept.clone();
    threads::start(move || {
        let mut part = vec![0; 64 << 10];
        // A pipe that cannot be read has ended.
        while let Ok(read @ 1..) = from.read(&mut part) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let room = most.saturating_sub(kept.len() as u64) as usize;
            kept.extend_from_slice(&part[..read.min(room)]);
        }
        let _ = sender.send(()); // Nobody may wait for it any more.
    })?;
    Ok(Heard { kept: all, ended })
}
