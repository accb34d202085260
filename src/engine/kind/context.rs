//! What a kind's `run` may ask for and report: all that a kind sees of the engine.

use crate::kind::attempt;
use crate::kind::attempt::{Attempt, Spec, Usage};
use crate::kind::checkpoint;
use crate::kind::device;
use crate::kind::messages::{Message, Metric, Progress, Sampled, send};
use crate::kind::stop::{Saving, Stop};
use crate::system::gpus::{self, Card};
use anyhow::{Context, Result, anyhow};
use base::calls::Calls;
use base::device::{DeviceName, DeviceUsed, Place};
use base::params::ParamSet;
use base::value::{Value, Values};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const PROGRESS_EVERY: Duration = Duration::from_millis(100);
const USAGE_EVERY: Duration = Duration::from_millis(20);
/// How often a GPU that somebody else has is asked for, and how often it is said that the node waits for it.
const CARD_EVERY: Duration = Duration::from_millis(200);
const WAITING_EVERY: Duration = Duration::from_secs(60);
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

/// Returned by `run`, or anywhere below it, when the same may go well in a while: an endpoint that is busy, a connection that broke.
/// What was paid for and saved is kept for the next try.
#[derive(Debug)]
pub struct Transient(pub anyhow::Error);

impl std::fmt::Display for Transient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}
impl std::error::Error for Transient {}

/// All that a kind sees of the engine.
pub struct NodeCtx {
    attempt: Attempt,
    spec: Spec,
    params: Values,
    exec: Values,
    inputs: BTreeMap<String, PathBuf>,
    resume: PathBuf,
    earlier: Vec<PathBuf>,
    stop: Arc<Stop>,
    started: Instant,
    reports: Mutex<Reports>,
    /// The GPUs that it has, until it ends.
    cards: Mutex<BTreeMap<String, Card>>,
}

/// What was reported so far. Behind a lock, so that a kind may report from any of its threads.
struct Reports {
    metrics: File,
    progress: Progress,
    dollars: f64,
    calls: Calls,
    flop: f64,
    /// When the calls were last written down.
    paid: Option<Instant>,
    sent: Option<Instant>,
    written: Option<Instant>,
    /// `usage.json`, and the longest text that it had.
    usage: Option<(File, usize)>,
}

impl Reports {
    /// Whether progress is to be sent again.
    fn due(&self) -> bool {
        self.sent.is_none_or(|t| t.elapsed() >= PROGRESS_EVERY)
    }
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

    /// Where a path parameter lies; its content is what the key says.
    pub fn source(&self, param: &str) -> PathBuf {
        match self.params.get(param) {
            Some(Value::Str(path)) => PathBuf::from(path),
            _ => panic!("`{param}` is a required path parameter of this kind"),
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

    /// The folders for journals and checkpoints of earlier attempts of this node, newest first. Read them all: none is complete by itself.
    pub fn earlier(&self) -> &[PathBuf] {
        &self.earlier
    }

    pub fn threads(&self) -> usize {
        self.spec.threads
    }

    /// What is to compute its models.
    pub fn device(&self) -> DeviceName {
        device::of(&self.exec)
    }

    /// The same, and in which numbers.
    pub fn place(&self) -> Place {
        device::place(&self.exec)
    }

    /// Whether an execution parameter is a switch that is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.exec.get(name) == Some(&Value::Bool(true))
    }

    /// Waits until the node has its device to itself, and has it until it ends; then says what it computes on. A processor is shared.
    pub fn take_device(&self) -> Result<()> {
        match self.device() {
            DeviceName::Cpu | DeviceName::Candle => Ok(()),
            device @ DeviceName::Cuda(number) => {
                self.take_card(&device.to_string(), &gpus::card(number))
            }
        }
    }

    /// The same of the GPUs that a list as that of `CUDA_VISIBLE_DEVICES` names, for programs that a kind starts. In one order, so that no
    /// two wait for each other.
    pub fn take_cards(&self, list: &str) -> Result<()> {
        for (shown, card) in gpus::cards(list) {
            self.take_card(&format!("GPU {shown}"), &card)?;
        }
        Ok(())
    }

    fn take_card(&self, called: &str, card: &str) -> Result<()> {
        let mut cards = self
            .cards
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if cards.contains_key(card) {
            return Ok(());
        }
        let mut said: Option<Instant> = None;
        loop {
            let holder = match gpus::take(card)? {
                Ok(taken) => {
                    cards.insert(card.to_string(), taken);
                    return Ok(());
                }
                Err(holder) => holder,
            };
            if self.stop() {
                return Err(Interrupted.into());
            }
            if said.is_none_or(|when| when.elapsed() >= WAITING_EVERY) {
                said = Some(Instant::now());
                self.log(&format!("waits for {called}: {holder}"));
            }
            std::thread::sleep(CARD_EVERY);
        }
    }

    /// What a device turned out to be that the node computes on, for its record.
    pub fn computes_on(&self, used: &DeviceUsed) -> Result<()> {
        self.attempt.note_device(used)
    }

    /// Asked to stop: save what is worth it and return `Interrupted`. A loop that has nothing to save need not ask: it is ended
    /// (`engine::run::executor::local::watchdog`).
    pub fn stop(&self) -> bool {
        self.stop.asked()
    }

    /// What took long is done and is being written, as long as this lives: a request to stop waits for it.
    pub fn finishing(&self) -> Saving<'_> {
        self.stop.saving()
    }

    /// A secret that an execution parameter names: the value of this environment variable, which the engine let through.
    #[allow(clippy::disallowed_methods)]
    pub fn secret(&self, name: &str) -> Result<String> {
        std::env::var(name).map_err(|_| anyhow!("the environment variable `{name}` is not set"))
    }

    /// An environment variable of this worker: one of the ordinary ones, or a secret that the node names.
    #[allow(clippy::disallowed_methods)]
    pub fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    /// The folder of this attempt, for programs that a kind starts: whatever carries its mark (`system::strays`) ends with it.
    pub fn folder(&self) -> &Path {
        &self.attempt.dir
    }

    /// Cheap: sent about ten times a second, and always at the end. `total` 0: not known.
    pub fn progress(&self, done: u64, total: u64, unit: &str, note: &str) {
        self.report((done, total), unit, note, None, None);
    }

    /// Progress of what is sampled. `sampled` is called only where it is sent.
    pub fn sampled(&self, counted: (u64, u64), unit: &str, sampled: &dyn Fn() -> Sampled) {
        self.report(counted, unit, "", None, Some(sampled));
    }

    /// Progress of what is sampled in the course of a unit of the progress that was last reported, which stands.
    pub fn sampled_part(&self, note: &dyn Fn() -> String, sampled: &dyn Fn() -> Sampled) {
        let last = {
            let reports = self.reports();
            if !reports.due() {
                return;
            }
            reports.progress.clone()
        };
        let counted = (last.done, last.total);
        self.report(counted, &last.unit, &note(), None, Some(sampled));
    }

    /// What is done now in the course of a unit of the progress that was last reported, which stands. Sent at once.
    pub fn progress_part(&self, note: &str) {
        let last = {
            let mut reports = self.reports();
            reports.sent = None;
            reports.progress.clone()
        };
        self.report((last.done, last.total), &last.unit, note, None, None);
    }

    /// Progress of what others are asked for. `made`: of what is done, what was not there at once; its pace is the node's.
    pub fn call_progress(&self, counted: (u64, u64), unit: &str, note: &str, made: u64) {
        self.report(counted, unit, note, Some(made), None);
    }

    fn report(
        &self,
        (done, total): (u64, u64),
        unit: &str,
        note: &str,
        made: Option<u64>,
        sampled: Option<&dyn Fn() -> Sampled>,
    ) {
        let mut reports = self.reports();
        reports.progress = Progress {
            done,
            total,
            unit: unit.into(),
            note: note.into(),
        };
        let last = total > 0 && done >= total;
        if !last && !reports.due() {
            return;
        }
        reports.sent = Some(Instant::now());
        send(&Message::Progress {
            done,
            total,
            unit: unit.into(),
            note: note.into(),
            made,
            sampled: sampled.map(|sampled| sampled()),
        });
        let due = |t: Instant| t.elapsed() >= PROGRESS_FILE_EVERY;
        if last || reports.written.is_none_or(due) {
            reports.written = Some(Instant::now());
            // Only a plan's "73 %" is lost with it.
            let _ = serde_json::to_vec(&reports.progress)
                .map(|bytes| std::fs::write(self.attempt.logs().join("progress.json"), bytes));
        }
    }

    /// Kept in the record's logs and shown live. What is not finite is left out.
    pub fn metric(&self, step: u64, values: &[(&str, f64)]) {
        let values = values
            .iter()
            .filter(|(_, v)| v.is_finite())
            .map(|(name, v)| (name.to_string(), *v))
            .collect();
        let metric = Metric { step, values };
        let mut line = serde_json::to_string(&metric).expect("a metric always has a JSON form");
        line.push('\n');
        if let Err(error) = self.reports().metrics.write_all(line.as_bytes()) {
            // A curve with a hole is no reason to lose the node; a full disk will be noticed by its outputs.
            self.log(&format!(
                "the metrics of step {step} could not be kept: {error}"
            ));
        }
        send(&Message::Metric(metric));
    }

    /// So much was paid. Written down at once: money is gone whatever becomes of this attempt, and the record's cost is over
    /// all of them.
    pub fn record_cost(&self, dollars: f64) {
        assert!(
            dollars.is_finite() && dollars >= 0.0,
            "a price is finite and not negative"
        );
        self.reports().dollars += dollars;
        if let Err(error) = self.write_usage() {
            self.log(&format!("what was paid could not be kept: {error:#}"));
        }
    }

    /// What the calls of this attempt came to so far; what they cost is paid. Written down within moments.
    pub fn record_calls(&self, calls: &Calls) {
        let mut reports = self.reports();
        if reports.calls == *calls {
            return;
        }
        reports.dollars += calls.dollars - reports.calls.dollars;
        reports.calls = *calls;
        if reports.paid.is_some_and(|t| t.elapsed() < USAGE_EVERY) {
            return; // Written with the next, or at the end.
        }
        reports.paid = Some(Instant::now());
        drop(reports);
        if let Err(error) = self.write_usage() {
            self.log(&format!("what was paid could not be kept: {error:#}"));
        }
    }

    /// So many floating-point operations were done, for forecasts of other nodes. Written down with the next checkpoint, or at the
    /// end.
    pub fn record_flops(&self, flop: f64) {
        self.reports().flop += flop;
    }

    /// What earlier attempts of this node paid for.
    pub fn earlier_calls(&self) -> Calls {
        let mut all = Calls::default();
        for dir in &self.spec.earlier {
            all.add(&Attempt { dir: dir.clone() }.usage().calls);
        }
        all
    }

    /// The folder of the journal of calls, which all nodes of a store share.
    pub fn calls_dir(&self) -> &Path {
        &self.spec.calls
    }

    /// The first digits of the node's key, for notes of who did something.
    pub fn key(&self) -> &str {
        self.spec.key.short()
    }

    /// Shown live and kept with the run.
    pub fn log(&self, text: &str) {
        send(&Message::Log {
            text: text.to_string(),
        });
    }

    /// Writes a checkpoint that is whole or absent, whenever the process dies. The last two of a family (the name up to
    /// its last `-`) are kept.
    pub fn save_checkpoint(&self, name: &str, write: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
        let _saving = self.stop.saving();
        let progress = self.reports().progress.clone();
        checkpoint::save(&self.resume, &self.earlier, name, progress, write)?;
        self.write_usage()
    }

    /// Whole checkpoints of this and all earlier attempts whose name begins with `prefix`, newest first, each looked at when its
    /// turn comes: where one turns out to be unreadable, take the next.
    pub fn latest_checkpoint(&self, prefix: &str) -> impl Iterator<Item = PathBuf> {
        let mut dirs = vec![self.resume.clone()];
        dirs.extend(self.earlier.iter().cloned());
        let found = checkpoint::found(&dirs, prefix).into_iter();
        let sound = found.filter(|checkpoint| {
            let sound = checkpoint.sound();
            if !sound {
                self.log(&format!(
                    "checkpoint {} does not hold what was written; it is not used",
                    checkpoint.name
                ));
            }
            sound
        });
        sound.map(|checkpoint| checkpoint.path)
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(crate) fn open(dir: &Path, stop: Arc<Stop>) -> Result<NodeCtx> {
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
            reports: Mutex::new(Reports {
                metrics,
                progress: Progress::default(),
                dollars: 0.0,
                calls: Calls::default(),
                flop: 0.0,
                paid: None,
                sent: None,
                written: None,
                usage: None,
            }),
            cards: Mutex::default(),
            attempt,
            spec,
        })
    }

    fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Many times a second where calls are paid for. Written over what is there, with blanks behind: a file that is cut first has no
    /// text for a moment, and file systems send such a one to the disk when it is closed, which the calls would wait for.
    pub(crate) fn write_usage(&self) -> Result<()> {
        let mut reports = self.reports();
        let usage = Usage {
            seconds: self.started.elapsed().as_secs_f64(),
            dollars: reports.dollars,
            calls: reports.calls,
            flop: reports.flop,
            ..Usage::of_this_process()
        };
        let mut text = usage.sealed()?.into_bytes();
        if reports.usage.is_none() {
            let path = self.attempt.logs().join(attempt::USAGE);
            reports.usage = Some((File::create(path).context("creating usage.json")?, 0));
        }
        if let Some((file, longest)) = &mut reports.usage {
            *longest = text.len().max(*longest);
            text.resize(*longest, b' ');
            file.write_all_at(&text, 0).context("writing usage")?;
        }
        Ok(())
    }
}
