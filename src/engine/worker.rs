//! The worker's side: what a kind's `run` may ask for and report. A worker is a process of its own that knows only its
//! attempt folder; it talks to the engine in JSON lines on stdout. Its stdin is the lock of the key and is never read.

use crate::base::value::Values;
use crate::engine::attempt::{self, Attempt, Progress, Spec, Usage};
use crate::engine::checkpoint::{self, Checkpoint};
use crate::engine::kind::{Registry, Type};
use crate::engine::params::ParamSet;
use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Exit status of a worker that stopped because it was asked to, with its state saved.
pub const EXIT_INTERRUPTED: i32 = 75;
/// Exit status of a worker that failed and said why.
pub const EXIT_FAILED: i32 = 1;

const PROGRESS_EVERY: Duration = Duration::from_millis(100);
const PROGRESS_FILE_EVERY: Duration = Duration::from_secs(1);

/// Returned by `run` when it stopped because it was asked to, with its state saved: the attempt is resumable.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}
impl std::error::Error for Interrupted {}

/// A line a worker sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Message {
    Progress {
        done: u64,
        total: u64,
        unit: String,
        note: String,
    },
    Metric(Metric),
    Say {
        text: String,
    },
    /// `environment`: the disk is full or read-only, which is nobody's recipe.
    Failed {
        error: String,
        environment: bool,
    },
}

/// A line of `logs/metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub step: u64,
    /// JSON has no NaN: what is not finite is absent.
    pub values: BTreeMap<String, f64>,
}

/// All that a kind sees of the engine.
pub struct NodeCtx {
    attempt: Attempt,
    spec: Spec,
    params: Values,
    exec: Values,
    inputs: BTreeMap<String, PathBuf>,
    resume: PathBuf,
    earlier: Vec<PathBuf>,
    stop: Arc<AtomicBool>,
    started: Instant,
    metrics: File,
    live: Mutex<Live>,
}

/// What was reported last; behind a lock, so that a kind may report from whichever thread made progress.
#[derive(Default)]
struct Live {
    progress: Progress,
    sent: Option<Instant>,
    written: Option<Instant>,
}

impl NodeCtx {
    pub fn params<P: ParamSet>(&self) -> Result<P> {
        P::read(&self.params).map_err(|e| anyhow!("parameter {e}"))
    }

    pub fn exec<P: ParamSet>(&self) -> Result<P> {
        P::read(&self.exec).map_err(|e| anyhow!("parameter {e}"))
    }

    /// Folder of a required input; read-only.
    pub fn input(&self, port: &str) -> &Path {
        self.input_opt(port)
            .unwrap_or_else(|| panic!("`{port}` is a required port of this kind"))
    }

    /// Folder of an input that may be unconnected.
    pub fn input_opt(&self, port: &str) -> Option<&Path> {
        self.inputs.get(port).map(PathBuf::as_path)
    }

    /// What the connected input is.
    pub fn input_type(&self, port: &str) -> Option<Type> {
        let word = self.spec.inputs.get(port)?;
        TYPES.into_iter().find(|ty| ty.word() == word)
    }

    /// Where a path parameter lies; its content is what the key says.
    pub fn source(&self, param: &str) -> Result<PathBuf> {
        match self.params.get(param) {
            Some(crate::base::value::Value::Str(path)) => Ok(PathBuf::from(path)),
            _ => Err(anyhow!("parameter `{param}` is not a path")),
        }
    }

    /// The folder to fill with this output; exists and is empty.
    pub fn output(&self, name: &str) -> PathBuf {
        assert!(
            self.spec.outputs.iter().any(|o| o == name),
            "`{name}` is an output of this kind"
        );
        self.attempt.output(name)
    }

    /// This attempt's folder for journals and checkpoints.
    pub fn resume_dir(&self) -> &Path {
        &self.resume
    }

    /// The same folders of earlier attempts of this node, newest first. Read them all: none is complete by itself.
    pub fn earlier(&self) -> &[PathBuf] {
        &self.earlier
    }

    pub fn threads(&self) -> usize {
        self.spec.threads
    }

    /// Asked to stop: save what is worth it and return `Interrupted`.
    pub fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The same question for code that does not know this type.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// A secret that an execution parameter names: the value of this environment variable.
    pub fn secret(&self, name: &str) -> Result<String> {
        std::env::var(name).map_err(|_| anyhow!("the environment variable `{name}` is not set"))
    }

    /// Cheap: sent about ten times a second, and always at the end. `total` 0: not known.
    pub fn progress(&self, done: u64, total: u64, unit: &str, note: &str) {
        let mut live = self.live();
        live.progress = Progress {
            done,
            total,
            unit: unit.into(),
            note: note.into(),
        };
        let last = total > 0 && done >= total;
        if !last && live.sent.is_some_and(|t| t.elapsed() < PROGRESS_EVERY) {
            return;
        }
        live.sent = Some(Instant::now());
        let Progress {
            done,
            total,
            unit,
            note,
        } = live.progress.clone();
        send(&Message::Progress {
            done,
            total,
            unit,
            note,
        });
        if last
            || live
                .written
                .is_none_or(|t| t.elapsed() >= PROGRESS_FILE_EVERY)
        {
            live.written = Some(Instant::now());
            // Only a plan's "73 %" is lost with it.
            let _ = serde_json::to_vec(&live.progress)
                .map(|bytes| std::fs::write(self.attempt.logs().join("progress.json"), bytes));
        }
    }

    /// Kept in the record's logs and shown live.
    pub fn metric(&self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let values = values
            .iter()
            .filter(|(_, v)| v.is_finite())
            .map(|(name, v)| (name.to_string(), *v))
            .collect();
        let metric = Metric { step, values };
        let mut line = serde_json::to_string(&metric).context("writing a metric")?;
        line.push('\n');
        (&self.metrics)
            .write_all(line.as_bytes())
            .context("writing a metric")?;
        send(&Message::Metric(metric));
        Ok(())
    }

    pub fn say(&self, text: &str) {
        send(&Message::Say {
            text: text.to_string(),
        });
    }

    /// Writes a checkpoint that is whole or absent, whenever the process dies. The last two of a family (the name up to
    /// its last `-`) are kept.
    pub fn save_checkpoint(&self, name: &str, write: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
        checkpoint::save(
            &self.resume,
            &self.earlier,
            name,
            self.live().progress.clone(),
            write,
        )?;
        self.write_usage()
    }

    /// Whole checkpoints of this and all earlier attempts whose name begins with `prefix`, newest first: where one turns
    /// out to be unreadable, take the next.
    pub fn latest_checkpoint(&self, prefix: &str) -> Vec<Checkpoint> {
        let mut dirs = vec![self.resume.clone()];
        dirs.extend(self.earlier.iter().cloned());
        checkpoint::found(&dirs, prefix)
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn open(dir: &Path, stop: Arc<AtomicBool>) -> Result<NodeCtx> {
        let attempt = Attempt {
            dir: dir.to_path_buf(),
        };
        let spec = attempt.spec()?;
        let metrics = File::options()
            .create(true)
            .append(true)
            .open(attempt.logs().join("metrics.jsonl"))
            .context("opening metrics.jsonl")?;
        let inputs = spec
            .inputs
            .keys()
            .map(|port| (port.clone(), attempt.input(port)))
            .collect();
        let earlier = spec
            .earlier
            .iter()
            .map(|dir| Attempt { dir: dir.clone() }.resume())
            .collect();
        Ok(NodeCtx {
            params: attempt::read_values(&spec.params)?,
            exec: attempt::read_values(&spec.exec)?,
            inputs,
            resume: attempt.resume(),
            earlier,
            stop,
            started: Instant::now(),
            metrics,
            live: Mutex::default(),
            attempt,
            spec,
        })
    }

    fn write_usage(&self) -> Result<()> {
        let usage = Usage {
            seconds: self.started.elapsed().as_secs_f64(),
            ..process_usage()
        };
        let text = serde_json::to_vec(&usage).context("writing usage")?;
        std::fs::write(self.attempt.logs().join("usage.json"), text).context("writing usage")
    }
}

/// The hidden verb `worker DIR`: runs one attempt and returns the process's exit status.
pub fn main(registry: &Registry, dir: &Path) -> i32 {
    let outcome = detach(dir).and_then(|stop| {
        let mut ctx = NodeCtx::open(dir, stop)?;
        let kind = registry
            .get(&ctx.spec.kind)
            .filter(|kind| kind.revision == ctx.spec.revision)
            .ok_or_else(|| {
                anyhow!(
                    "this binary has no kind `{}` of that revision",
                    ctx.spec.kind
                )
            })?;
        let outcome = (kind.run)(&mut ctx);
        ctx.write_usage().and(outcome)
    });
    match outcome {
        Ok(()) => 0,
        Err(error) if error.is::<Interrupted>() => EXIT_INTERRUPTED,
        Err(error) => {
            let environment = error.chain().any(is_environment);
            send(&Message::Failed {
                error: format!("{error:#}"),
                environment,
            });
            EXIT_FAILED
        }
    }
}

const TYPES: [Type; 8] = [
    Type::Prompts,
    Type::Conversations,
    Type::Pairs,
    Type::Completions,
    Type::Scores,
    Type::Model,
    Type::Adapter,
    Type::Metrics,
];

/// A session of its own, so that a Ctrl-C in the terminal reaches only the engine; and no life after the engine's.
fn detach(dir: &Path) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, stop.clone()).context("installing a signal handler")?;
    }
    // Fails only for the leader of a group, which is a worker started by hand from a shell.
    let _ = rustix::process::setsid();
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .context("asking for a signal when the engine dies")?;
    let engine = Attempt {
        dir: dir.to_path_buf(),
    }
    .spec()?
    .engine;
    // The engine may have died before the line above.
    if rustix::process::getppid().map(Pid::as_raw_pid) != Some(engine) {
        stop.store(true, Ordering::Relaxed);
    }
    Ok(stop)
}

fn send(message: &Message) {
    let mut line = serde_json::to_string(message).expect("a message always has a JSON form");
    line.push('\n');
    // An engine that is gone hears nothing; its death signal stops this worker.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

fn is_environment(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| matches!(e.kind(), StorageFull | ReadOnlyFilesystem | QuotaExceeded))
}

/// Cpu time of this process and the children it waited for, and its highest resident memory; zeros where /proc does
/// not say.
fn process_usage() -> Usage {
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
        seconds: 0.0,
        cpu_seconds: ticks / TICKS_PER_SECOND,
        peak_bytes: peak_kib * 1024,
    }
}
