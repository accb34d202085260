//! Runs a plan: `drive` decides and is the one door for states, `tokens` says who starts next, `lifecycle` is what happens to one node
//! (lock, attempt, worker, commit), `supervise` looks after those that run and says whether one is tried again, `spending` after what
//! they ask of services, `contention` after keys that somebody else has; `executor` is where they run. The verdicts come from
//! `plan::Planner`, node by node as inputs become known. What cannot run here is refused before anything starts: `limit`, `wanting`.

pub mod executor;
pub mod holder;
pub mod pulse;
pub mod worker;

mod contention;
mod drive;
mod exec;
mod lifecycle;
mod limit;
mod outcome;
mod queue;
pub mod secrets;
mod settings;
mod spending;
mod supervise;
mod tokens;
mod wanting;
mod watch;

use crate::events::event::{Event, State};
use crate::events::journal::{Journal, RunInfo};
use crate::graph::{Graph, NodeId, PerNode};
use crate::kind::failure::Failure;
use crate::plan::estimate::Basis;
use crate::plan::{Plan, Planned, Planner, Wanted};
use crate::store::{Store, workspaces};
use crate::system::{Process, clock};
use exec::{Exec, Limited};
use executor::Resources;
pub use limit::Limit;
pub use outcome::{NodeEnd, Outcome};
use queue::Queue;
pub use settings::{Orphans, Settings, Stop};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
pub use wanting::{Wanting, too_large};

/// How often locks of others and the stop request are looked at.
const TICK: Duration = Duration::from_millis(50);

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
    // Until the plan is written down, nobody may remove the blobs that it counts on. Where there are none, nothing is made before it is
    // sure that something starts.
    let hold = || -> Result<_, Failure> {
        store.prepare()?;
        Ok(store.sharing()?)
    };
    let held = match Store::is_at(store.root()) {
        true => Some(hold()?),
        false => None,
    };
    let planner = Planner::new(store, graph, wanted)?;
    let plan = match settings.limit.is_none() {
        true => Plan::new(graph, &planner)?,
        false => Plan::with_calls(store, graph, &planner)?,
    };
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
    if let Some(told) = too_large(graph, &plan, &settings.capacity) {
        return Err(Failure::Environment(anyhow::anyhow!(
            "{told}\nnothing was started"
        )));
    }
    let shared = match held {
        Some(shared) => shared,
        None => hold()?,
    };
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
            planner: &planner,
            listener,
            journal,
            run: info.id.clone(),
            sender,
            states: planner
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
            ready: Queue::default(),
            due: planner.selected().iter().copied().collect(),
            open: planner.selected().len(),
            users: users(graph, planner.selected()),
            running: BTreeMap::new(),
            briefs: PerNode::with_capacity(graph.nodes().len()),
            made: BTreeSet::new(),
            free,
            later: BTreeMap::new(),
            spent: BTreeMap::new(),
            tries: BTreeMap::new(),
            held: BTreeMap::new(),
            looked: started,
            halted: None,
            trouble: None,
            origin: None,
            stopping: None,
            publishing: 0,
            limited: Limited::default(),
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
fn remaining(graph: &Graph, plan: &Plan) -> PerNode<f64> {
    const UNKNOWN: f64 = 1.0;
    let mut longest: PerNode<f64> = PerNode::default();
    for planned in plan.nodes.iter().rev() {
        let id = planned.decision.id;
        let known = planned.estimate.is_known();
        let own = if known {
            planned.estimate.seconds
        } else {
            UNKNOWN
        };
        let below = longest.get(id).copied().unwrap_or(0.0);
        let path = own + below;
        longest.insert(id, path);
        for edge in graph.node(id).inputs.values() {
            let above = longest.get_or_insert_with(edge.node, || 0.0);
            *above = above.max(path);
        }
    }
    longest
}

/// By node, the selected nodes that it is an input of.
fn users(graph: &Graph, selected: &[NodeId]) -> PerNode<Vec<NodeId>> {
    let mut users: PerNode<Vec<NodeId>> = PerNode::default();
    for id in selected {
        for edge in graph.node(*id).inputs.values() {
            users.get_or_insert_with(edge.node, Vec::new).push(*id);
        }
    }
    users
}

/// What nodes are expected to take of the memory at most, by the nearest earlier records.
fn peaks(plan: &Plan) -> PerNode<u64> {
    let told = |p: &&Planned| p.estimate.basis != Basis::Unknown;
    let told = plan.nodes.iter().filter(told);
    told.map(|p| (p.decision.id, p.estimate.peak_bytes))
        .collect()
}
