//! Runs a plan: `drive` decides and is the one door for states, `tokens` says who starts next, `lifecycle` is what happens to one node
//! (lock, attempt, worker), `ending` what becomes of it (commit, failure), `supervise` looks after those that run and says whether one is
//! tried again, `spending` after what they ask of services, `contention` after keys that somebody else has, `sharing` after what is asked
//! of a remote, `leasing` after what other machines make; `executor` is where they run. The verdicts come from `plan::Planner`, node by
//! node as inputs become known. What cannot run here is refused before anything starts: `limit`, `wanting`.

pub mod attend;
pub mod dispatch;
pub mod executor;
pub mod holder;
pub mod profile;
mod profile_file;
pub mod pulse;
pub mod scheduler;
pub mod worker;

mod contention;
mod delivery;
mod drive;
mod ending;
mod errands;
mod exec;
mod keeper;
mod leases;
mod leasing;
mod lifecycle;
mod limit;
mod outcome;
mod queue;
pub mod secrets;
mod settings;
mod sharing;
mod spending;
mod supervise;
mod tokens;
mod wanting;
mod watch;

use crate::events::event::{Event, State};
use crate::events::journal::{Journal, RunInfo};
use crate::graph::{Graph, NodeId, PerNode};
use crate::kind::Needs;
use crate::kind::failure::Failure;
use crate::plan::estimate::Basis;
use crate::plan::verdict::Verdict;
use crate::plan::{Plan, Planned, Planner, Wanted};
use crate::store::{Store, workspaces};
use crate::system::{Process, clock};
use errands::Errands;
use exec::{Exec, Limited};
use executor::Resources;
use leases::Leasing;
pub use limit::Limit;
pub use outcome::{NodeEnd, Outcome};
use queue::Queue;
pub use settings::{Orphans, Settings, Stop};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
pub use wanting::{Wanting, too_large, without_place};

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
    let elsewhere = settings.executor.elsewhere();
    let wanting = match elsewhere {
        None => Wanting::of(graph, &plan),
        Some(there) => Wanting::elsewhere(graph, &plan, there.profile()),
    };
    if !wanting.is_empty() {
        return Err(Failure::Environment(anyhow::anyhow!(
            "{}\nnothing was started",
            wanting.told()
        )));
    }
    let too_large = match elsewhere {
        None => too_large(graph, &plan, &settings.capacity),
        Some(there) => without_place(graph, &plan, there.profile()),
    };
    if let Some(told) = too_large {
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
    let hits = plan.nodes.iter().filter_map(|p| match &p.decision.verdict {
        Verdict::Hit(brief) => Some(&brief.key),
        _ => None,
    });
    store.keep(hits)?;
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
            peaks: peaks(graph, &plan),
            needs: match elsewhere {
                None => PerNode::default(),
                Some(_) => needs(graph, &plan),
            },
            lengths: lengths(&plan),
            longest: BTreeMap::new(),
            saved: BTreeMap::new(),
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
            sweeping: BTreeSet::new(),
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
            without_card: BTreeSet::new(),
            errands: Errands::default(),
            leasing: Leasing::default(),
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
        while exec.open > 0 || exec.errands.busy() {
            exec.check_stop();
            exec.check_limit();
            exec.poll_workers();
            exec.start_ready();
            exec.send(scope);
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

/// What is asked for nodes that run elsewhere.
fn needs(graph: &Graph, plan: &Plan) -> PerNode<Needs> {
    let each = plan.nodes.iter();
    each.map(|p| (p.decision.id, p.needs(graph))).collect()
}

/// How long nodes will take, in seconds, where that can be told.
fn lengths(plan: &Plan) -> PerNode<f64> {
    let known = plan.nodes.iter().filter(|p| {
        // What a hit took whose bytes are gone says nothing of it.
        p.estimate.is_known() && !matches!(p.decision.verdict, Verdict::Hit(_))
    });
    known.map(|p| (p.decision.id, p.estimate.seconds)).collect()
}

/// What nodes are expected to take of the memory at most: by what was said of them, else by the nearest earlier records.
fn peaks(graph: &Graph, plan: &Plan) -> PerNode<u64> {
    let told = |p: &&Planned| p.estimate.basis != Basis::Unknown;
    let said = |p: &Planned| graph.node(p.decision.id).memory();
    let told = plan.nodes.iter().filter(|p| told(p) || said(p).is_some());
    told.map(|p| (p.decision.id, said(p).unwrap_or(p.estimate.peak_bytes)))
        .collect()
}
