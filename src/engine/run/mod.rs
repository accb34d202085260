//! Runs a plan: tokens, locks, jobs, commits. `drive` decides, `tokens` says who starts next, `lifecycle` is what happens to one node,
//! `watch` looks after those that run, `limit` after what they ask of services, `contention` after keys that somebody else has;
//! `executor` is where they run. The verdicts come from `plan::Planner`, node by node as
//! inputs become known.

pub mod executor;
pub mod fault;
pub mod holder;
pub mod pulse;
pub mod worker;

mod contention;
mod drive;
mod lifecycle;
mod limit;
mod queue;
pub mod secrets;
mod tokens;
mod wanting;
mod watch;

use crate::system::clock;
use crate::events::event::{Event, State};
use crate::kind::failure::{Class, Failure, Retries};
use crate::events::journal::{Journal, RunInfo};
use crate::store::workspaces;
use base::hash::Key;
use crate::graph::manifest::Manifest;
use crate::graph::{Graph, NodeId};
use crate::plan::{Decision, Outputs, Plan, Planner, Wanted};
use crate::run::executor::local::Local;
use crate::run::executor::{Executor, Resources, Task};
use crate::store::Store;
use crate::kind::attempt::{Attempt, Spec};
use crate::store::commit::{CommitError, Committed};
use crate::store::index::Brief;
use crate::store::record::Origin;
use crate::system::Process;
use anyhow::{Context, Result};
use base::calls::Calls;
use base::threads;
pub use limit::Limit;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
pub use wanting::Wanting;

/// A worker that was asked to stop has this long to save its state.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// How often locks of others and the stop request are looked at.
const TICK: Duration = Duration::from_millis(50);

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

    fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    fn hear(&self, signal: i32) {
        if !self.begun.load(Ordering::Relaxed) {
            // As if nobody listened. Where that does not end this process, the run ends as soon as it begins.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
        self.request();
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

/// How every node ended.
pub struct Outcome {
    /// Id of the run in the store.
    pub run: String,
    /// By node, in graph order: its final state, what its record says where it has one.
    pub nodes: Vec<NodeEnd>,
    /// What became unusable on the way: the disk is full, say.
    pub trouble: Option<String>,
    /// What was spent when the limit of the run was reached, where nodes were stopped for it.
    pub limited: Option<String>,
}

pub struct NodeEnd {
    pub id: NodeId,
    pub name: String,
    pub state: State,
    pub brief: Option<Brief>,
    /// Its calls to services in this run, whatever became of it.
    pub calls: Calls,
}

impl Outcome {
    /// The worst that happened.
    pub fn failure(&self) -> Option<Failure> {
        if let Some(trouble) = &self.trouble {
            return Some(Failure::Environment(anyhow::anyhow!("{trouble}")));
        }
        let failed: Vec<(String, String)> = self
            .nodes
            .iter()
            .filter_map(|n| match &n.state {
                State::Failed { message, .. } => Some((n.name.clone(), message.clone())),
                _ => None,
            })
            .collect();
        if let Some(told) = &self.limited {
            return Some(Failure::Limit(told.clone()));
        }
        if self.nodes.iter().any(|n| n.state == State::Interrupted) {
            return Some(Failure::Interrupted);
        }
        (!failed.is_empty()).then_some(Failure::Nodes(failed))
    }

    pub fn find(&self, name: &str) -> Option<&NodeEnd> {
        self.nodes.iter().find(|n| n.name == name)
    }
}

/// Plans and runs. `Err`: nothing could be started. What happened to the nodes is in the outcome.
pub fn run(
    store: &Store,
    graph: &Graph,
    wanted: &Wanted,
    settings: &Settings,
    listener: &mut dyn FnMut(&Event),
) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let free = Resources {
        threads: settings.capacity.threads.max(1),
        ..settings.capacity
    };
    store.prepare()?;
    // Until the plan is written down, nobody may remove the blobs that it counts on.
    let shared = store.sharing()?;
    let judge = Planner::new(store, graph, wanted)?;
    let plan = Plan::new(store, graph, &judge)?;
    if let Some(refusal) = settings.limit.refuses(&plan) {
        return Err(Failure::Refused(refusal));
    }
    let lines: Vec<_> = plan.nodes.iter().map(|p| p.line(graph)).collect();
    let wanting = Wanting::of(graph, &plan);
    if !wanting.is_empty() {
        return Err(Failure::Environment(anyhow::anyhow!(
            "{}\nnothing was started",
            wanting.told()
        )));
    }
    if let Some(told) = wanting::too_large(graph, &plan, settings.capacity.memory) {
        return Err(Failure::Environment(anyhow::anyhow!(
            "{told}\nnothing was started; `--memory SIZE` lets larger nodes start"
        )));
    }
    settings.stop.begin();
    let info = RunInfo {
        id: settings.run.clone().unwrap_or_else(clock::unique),
        started_ms: clock::now_ms(),
        version: settings.version.clone(),
        recipes: settings
            .recipes
            .iter()
            .map(|(name, _)| name.clone())
            .collect(),
        targets: wanted
            .only
            .iter()
            .map(|id| graph.node(*id).name.clone())
            .collect(),
        engine: Process::own(),
        workspace: settings.workspace.clone(),
    };
    if let Some(folder) = &settings.workspace {
        workspaces::register(store, folder)?;
    }
    let journal = Journal::create(store, &info, &settings.recipes)?;
    thread::scope(|scope| {
        let (sender, news) = mpsc::channel();
        let mut exec = Exec {
            store,
            graph,
            settings,
            judge: &judge,
            listener,
            journal,
            run: info.id.clone(),
            sender,
            states: judge
                .selected()
                .iter()
                .map(|id| (*id, State::Waiting))
                .collect(),
            remaining: remaining(graph, &plan),
            peaks: peaks(&plan),
            planned: plan
                .nodes
                .into_iter()
                .map(|p| (p.decision.id, p.decision))
                .collect(),
            ready: queue::Queue::default(),
            due: judge.selected().iter().copied().collect(),
            open: judge.selected().len(),
            users: users(graph, judge.selected()),
            running: BTreeMap::new(),
            known: BTreeMap::new(),
            briefs: BTreeMap::new(),
            made: BTreeSet::new(),
            free,
            later: BTreeMap::new(),
            called: BTreeMap::new(),
            tries: BTreeMap::new(),
            held: BTreeMap::new(),
            looked: started,
            halted: None,
            trouble: None,
            origin: None,
            stopping: None,
            publishing: 0,
            limited: limit::Limited::default(),
        };
        exec.emit(Event::RunStarted {
            run: info.id,
            threads: free.threads,
            nodes: lines,
        });
        exec.journal.flush();
        exec.advance();
        drop(shared);
        while exec.open > 0 || exec.publishing > 0 {
            exec.check_stop();
            exec.check_limit();
            exec.poll_workers();
            exec.start_ready();
            exec.journal.flush();
            match news.recv_timeout(TICK) {
                Ok(news) => exec.handle(news, scope),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("exec holds a sender itself"),
            }
        }
        Ok(exec.finish(started))
    })
}

/// The longest path from each node to the end, by the costs of earlier records; what never ran counts as a second, so
/// that among unknowns the deeper path is the longer one.
fn remaining(graph: &Graph, plan: &Plan) -> BTreeMap<NodeId, f64> {
    const UNKNOWN: f64 = 1.0;
    let mut longest: BTreeMap<NodeId, f64> = BTreeMap::new();
    for planned in plan.nodes.iter().rev() {
        let id = planned.decision.id;
        let known = planned.estimate.is_known();
        let own = if known { planned.estimate.seconds } else { UNKNOWN };
        let below = longest.get(&id).copied().unwrap_or(0.0);
        let path = own + below;
        longest.insert(id, path);
        for edge in graph.node(id).inputs.values() {
            let above = longest.entry(edge.node).or_insert(0.0);
            *above = above.max(path);
        }
    }
    longest
}

/// By node, the selected nodes that it is an input of.
fn users(graph: &Graph, selected: &[NodeId]) -> BTreeMap<NodeId, Vec<NodeId>> {
    let mut users: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
    for id in selected {
        for edge in graph.node(*id).inputs.values() {
            users.entry(edge.node).or_default().push(*id);
        }
    }
    users
}

/// What nodes are expected to take of the memory at most, by the nearest earlier records.
fn peaks(plan: &Plan) -> BTreeMap<NodeId, u64> {
    let known = plan.nodes.iter().filter(|p| p.estimate.is_known());
    known
        .map(|p| (p.decision.id, p.estimate.peak_bytes))
        .collect()
}

/// News from jobs, and from the threads that commit.
enum News {
    Job(NodeId, executor::News),
    Committed(NodeId, Box<Result<Committed, CommitError>>),
    /// The remote was given the record, or had it, or could not be.
    Published(NodeId, Result<bool>),
}

/// A node that has to be executed.
struct Ready {
    key: Key,
    manifest: Manifest,
}

/// A node whose worker runs, or whose outputs are being committed.
struct Running {
    key: Key,
    /// Given back when it ends.
    taken: Resources,
    manifest: Manifest,
    attempt: Attempt,
    spec: Spec,
    earlier: Vec<Attempt>,
    /// Until its worker has ended.
    task: Option<Box<dyn Task>>,
    watch: watch::Watch,
    /// What the worker said before it failed.
    complaint: Option<(String, Class)>,
    /// The limit of the run was reached.
    stop_requested: bool,
    /// What it has asked so far, where there is a limit.
    calls: Calls,
    /// What it was let know, by the name of the variable: not to be repeated.
    secrets: BTreeMap<String, String>,
    /// Held until the record is there.
    _lock: File,
}

struct Exec<'a> {
    store: &'a Store,
    graph: &'a Graph,
    settings: &'a Settings,
    judge: &'a Planner<'a>,
    listener: &'a mut dyn FnMut(&Event),
    journal: Journal,
    run: String,
    sender: mpsc::Sender<News>,
    states: BTreeMap<NodeId, State>,
    /// Length of the longest path from the start of a node to the end of the run, in expected seconds.
    remaining: BTreeMap<NodeId, f64>,
    /// Verdicts from before the run, until they are used.
    planned: BTreeMap<NodeId, Decision>,
    ready: queue::Queue,
    /// Waiting nodes to be looked at: something above them has ended.
    due: BTreeSet<NodeId>,
    /// Nodes whose state is not final.
    open: usize,
    users: BTreeMap<NodeId, Vec<NodeId>>,
    running: BTreeMap<NodeId, Running>,
    known: BTreeMap<NodeId, Outputs>,
    briefs: BTreeMap<NodeId, Brief>,
    /// Keys executed in this run: a forced twin is satisfied by them.
    made: BTreeSet<Key>,
    /// What the nodes that run leave of the capacity; memory is not counted here, as it is expected and not given.
    free: Resources,
    peaks: BTreeMap<NodeId, u64>,
    /// Nodes that wait for another try, until then.
    later: BTreeMap<NodeId, Instant>,
    /// What the ended attempts of this run asked.
    called: BTreeMap<NodeId, Calls>,
    /// How often a node was tried again, by class.
    tries: BTreeMap<(NodeId, &'static str), usize>,
    held: BTreeMap<NodeId, contention::Held>,
    /// When running nodes were looked at last.
    looked: Instant,
    /// The failure after which nothing new starts.
    halted: Option<String>,
    trouble: Option<String>,
    /// Asked for when the first node starts.
    origin: Option<Origin>,
    stopping: Option<Instant>,
    /// Records that are on their way to the remote.
    publishing: usize,
    limited: limit::Limited,
}
