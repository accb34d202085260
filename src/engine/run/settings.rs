//! How to run, and the request to stop.

use super::executor::local::Local;
use super::executor::{Executor, Resources};
use super::limit::Limit;
use crate::kind::failure::{Failure, Retries};
use anyhow::{Context, Result};
use base::threads;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How to run; nothing of this is in a key.
pub struct Settings {
    /// Where nodes are executed.
    pub executor: Arc<dyn Executor>,
    /// What the nodes that run at once may take together: what the executor has, or what somebody said instead. Memory is what they
    /// are expected to take; a node alone always runs.
    pub capacity: Resources,
    /// Nodes that run at once, at most.
    pub jobs: Option<usize>,
    /// Which failures are tried again, and how often.
    pub retries: Retries,
    /// After a failure nothing new starts, whether it depends on what failed or not.
    pub fail_fast: bool,
    pub orphans: Orphans,
    /// What may be asked of services.
    pub limit: Limit,
    /// The id of the run, where it was promised to somebody.
    pub run: Option<String>,
    /// The binary whose verb `worker` is `worker::main`.
    pub program: PathBuf,
    pub stop: Stop,
    /// Name and text of the recipes, kept with the run.
    pub recipes: Vec<(String, String)>,
    /// Which recipe a node came from, for its record; the first recipe where it is not said.
    pub origins: BTreeMap<String, String>,
    /// Of the binary, for the records.
    pub version: String,
    /// The folder that the run is called in: what it made is kept for as long as the folder is there.
    pub workspace: Option<PathBuf>,
}

impl Settings {
    /// This machine, this binary.
    pub fn new() -> Result<Settings, Failure> {
        Settings::on(Arc::new(Local))
    }

    /// All that an executor has.
    pub fn on(executor: Arc<dyn Executor>) -> Result<Settings, Failure> {
        let program = std::env::current_exe().context("finding the path of this binary")?;
        Ok(Settings {
            capacity: executor.capacity(),
            executor,
            jobs: None,
            retries: Retries::default(),
            fail_fast: false,
            orphans: Orphans::default(),
            limit: Limit::default(),
            run: None,
            program,
            stop: Stop::default(),
            recipes: vec![],
            origins: BTreeMap::new(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            workspace: None,
        })
    }
}

/// What becomes of workers whose engine is gone and which hold a key that this run needs.
#[derive(Clone, Copy, Debug)]
pub struct Orphans {
    /// They have this long to save their state, then they are killed; none: they are waited for, however long it takes.
    pub patience: Option<Duration>,
}

impl Default for Orphans {
    fn default() -> Orphans {
        Orphans {
            patience: Some(Duration::from_secs(20)),
        }
    }
}

/// A request to stop. The first asks the workers to save their state, the second kills them.
#[derive(Clone, Default)]
pub struct Stop {
    requests: Arc<AtomicUsize>,
    /// Jobs elsewhere are to go on without this engine.
    leave: Arc<AtomicBool>,
    /// The first signal is a question, which somebody asks.
    asks: Arc<AtomicBool>,
    /// Signals.
    heard: Arc<AtomicUsize>,
    /// Whether there is anything to end in good order: not while a plan is made, which may read large files.
    begun: Arc<AtomicBool>,
}

impl Stop {
    pub fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// As `request`, but what runs elsewhere goes on there; another run takes it up.
    pub fn leave(&self) {
        self.leave.store(true, Ordering::Relaxed);
        self.request();
    }

    pub fn leaves(&self) -> bool {
        self.leave.load(Ordering::Relaxed)
    }

    /// From now on there is something to end in good order.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    fn hear(&self, signal: i32) {
        if !self.begun.load(Ordering::Relaxed) {
            // As if nobody listened. Where that does not end this process, the run ends as soon as it begins.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
        let first = self.heard.fetch_add(1, Ordering::Relaxed) == 0;
        if !(first && self.asks.load(Ordering::Relaxed)) {
            self.request();
        }
    }

    /// From now on the first signal requests nothing: who calls this looks at `heard`, and asks what is wanted.
    pub fn ask_first(&self) {
        self.asks.store(true, Ordering::Relaxed);
    }

    /// How many signals came.
    pub fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    /// One that Ctrl-C and SIGTERM request, from now on.
    pub fn on_signals() -> Result<Stop> {
        let stop = Stop::default();
        let heard = stop.clone();
        let wanted = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
        let mut signals =
            signal_hook::iterator::Signals::new(wanted).context("installing signal handlers")?;
        threads::start(move || signals.forever().for_each(|signal| heard.hear(signal)))?;
        Ok(stop)
    }
}
