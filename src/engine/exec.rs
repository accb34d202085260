//! Runs a plan: cpu tokens, locks, workers, commits. Every node's state changes in `Exec::set` alone, which emits the
//! event. The verdicts come from `plan::Judge`, node by node as inputs become known.

use crate::base::value::{Value, Values};
use crate::engine::attempt::{self, Attempt, Spec};
use crate::engine::clock;
use crate::engine::commit::{self, CommitError, Committed, Delivery, Versus};
use crate::engine::event::{Counts, End, Event, State};
use crate::engine::failure::Failure;
use crate::engine::graph::{Graph, Node, NodeId};
use crate::engine::journal::{Journal, RunInfo};
use crate::engine::key::{Key, Manifest};
use crate::engine::kind::Cpu;
use crate::engine::plan::{self, Judge, Outputs, Verdict, Wanted};
use crate::engine::process::{self, Heard, Worker};
use crate::engine::store::{Lookup, Provenance, Record, Store};
use crate::engine::worker::{EXIT_INTERRUPTED, Message};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

/// How often locks of others and the stop request are looked at.
const TICK: Duration = Duration::from_millis(50);
/// A worker that was asked to stop has this long to save its state.
const PATIENCE: Duration = Duration::from_secs(20);

/// How to run; nothing of this is in a key.
pub struct Settings {
    /// Cpu tokens.
    pub threads: usize,
    /// The binary whose verb `worker` is `worker::main`.
    pub program: PathBuf,
    pub stop: Stop,
    /// Name and text of the recipes, kept with the run.
    pub recipes: Vec<(String, String)>,
    /// Which recipe a node came from, for its record; the first recipe where it is not said.
    pub origins: BTreeMap<String, String>,
    /// Of the binary, for the records.
    pub version: String,
}

impl Settings {
    /// All cores, this binary.
    pub fn new() -> Result<Settings, Failure> {
        let program = std::env::current_exe().context("finding the path of this binary")?;
        Ok(Settings {
            threads: thread::available_parallelism().map_or(1, usize::from),
            program,
            stop: Stop::default(),
            recipes: vec![],
            origins: BTreeMap::new(),
            version: env!("CARGO_PKG_VERSION").to_string(),
        })
    }
}

/// A request to stop. The first asks the workers to save their state, the second kills them.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
    pub fn request(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn requests(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One that Ctrl-C and SIGTERM request, from now on.
    pub fn on_signals() -> Result<Stop> {
        let stop = Stop::default();
        let heard = stop.clone();
        let wanted = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
        let mut signals =
            signal_hook::iterator::Signals::new(wanted).context("installing signal handlers")?;
        thread::spawn(move || signals.forever().for_each(|_| heard.request()));
        Ok(stop)
    }
}

/// How every node ended.
pub struct Outcome {
    /// Id of the run in the store.
    pub run: String,
    /// By node, in graph order: its final state, its record where it has one.
    pub nodes: Vec<NodeEnd>,
    /// What became unusable on the way: the disk is full, say.
    pub trouble: Option<String>,
}

pub struct NodeEnd {
    pub id: NodeId,
    pub name: String,
    pub state: State,
    pub record: Option<Record>,
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
    store.prepare()?;
    let judge = Judge::new(store, graph, wanted)?;
    let lines: Vec<_> = judge.plan()?.nodes.iter().map(|p| p.line(graph)).collect();
    let info = RunInfo {
        id: clock::unique(),
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
    };
    let journal = Journal::create(store, &info, &settings.recipes, &lines)?;
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
            ready: BTreeMap::new(),
            running: BTreeMap::new(),
            known: BTreeMap::new(),
            records: BTreeMap::new(),
            made: BTreeSet::new(),
            free: settings.threads.max(1),
            trouble: None,
            stopping: None,
        };
        exec.emit(Event::RunStarted {
            run: info.id,
            threads: settings.threads.max(1),
            nodes: lines,
        });
        exec.advance();
        while exec.unfinished() {
            exec.heed_stop();
            exec.start_ready();
            match news.recv_timeout(TICK) {
                Ok(news) => exec.hear(news, scope),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("exec holds a sender itself"),
            }
        }
        Ok(exec.finish(started))
    })
}

/// News from the threads that watch workers and commit.
enum News {
    Heard(NodeId, Heard),
    Committed(NodeId, Box<Result<Committed, CommitError>>),
}

/// A node that has to be executed.
struct Ready {
    key: Key,
    manifest: Manifest,
}

/// A node whose worker runs, or whose outputs are being committed.
struct Running {
    key: Key,
    tokens: usize,
    manifest: Manifest,
    attempt: Attempt,
    spec: Spec,
    earlier: Vec<Attempt>,
    worker: Option<Worker>,
    /// What the worker said before it failed.
    complaint: Option<(String, bool)>,
    /// Held until the record is there.
    _lock: File,
}

struct Exec<'a> {
    store: &'a Store,
    graph: &'a Graph,
    settings: &'a Settings,
    judge: &'a Judge<'a>,
    listener: &'a mut dyn FnMut(&Event),
    journal: Journal,
    run: String,
    sender: mpsc::Sender<News>,
    states: BTreeMap<NodeId, State>,
    ready: BTreeMap<NodeId, Ready>,
    running: BTreeMap<NodeId, Running>,
    known: BTreeMap<NodeId, Outputs>,
    records: BTreeMap<NodeId, Record>,
    /// Keys executed in this run: a forced twin is satisfied by them.
    made: BTreeSet<Key>,
    free: usize,
    trouble: Option<String>,
    stopping: Option<Instant>,
}

impl<'a> Exec<'a> {
    /// The one door for state changes.
    fn set(&mut self, id: NodeId, state: State) {
        if self.states[&id] == state {
            return;
        }
        assert!(
            !self.states[&id].is_final(),
            "a final state does not change"
        );
        self.states.insert(id, state.clone());
        self.emit(Event::State {
            node: self.name(id),
            state,
        });
    }

    fn emit(&mut self, event: Event) {
        self.journal.write(&event);
        (self.listener)(&event);
    }

    fn name(&self, id: NodeId) -> String {
        self.graph.node(id).name.clone()
    }

    fn unfinished(&self) -> bool {
        self.states.values().any(|s| !s.is_final())
    }

    /// Judges every waiting node whose inputs are known, and skips what hangs below a failure. One pass is enough:
    /// nodes are in graph order.
    fn advance(&mut self) {
        let waiting: Vec<NodeId> = self
            .states
            .iter()
            .filter(|(_, s)| **s == State::Waiting)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            if self.states[&id] != State::Waiting {
                continue; // A failure on the way has settled it.
            }
            let inputs: Vec<NodeId> = self
                .graph
                .node(id)
                .inputs
                .values()
                .map(|e| e.node)
                .collect();
            if let Some(because) = inputs.iter().find_map(|i| self.broken(*i)) {
                self.set(id, State::Skipped { because });
            } else if inputs.iter().any(|i| self.states[i] == State::Interrupted) {
                self.set(id, State::Interrupted);
            } else if inputs.iter().all(|i| self.known.contains_key(i)) {
                self.judge(id);
            }
        }
    }

    /// The node to blame if this one will never have outputs.
    fn broken(&self, id: NodeId) -> Option<String> {
        match &self.states[&id] {
            State::Failed { .. } => Some(self.name(id)),
            State::Skipped { because } => Some(because.clone()),
            _ => None,
        }
    }

    fn judge(&mut self, id: NodeId) {
        let planned = match self.judge.judge(id, &self.known) {
            Ok(planned) => planned,
            Err(error) => return self.give_up(id, &error),
        };
        let manifest = planned
            .manifest
            .expect("a node whose inputs are known has a manifest");
        let (reasons, resumable, resumed) = match planned.verdict {
            Verdict::Hit(record) => return self.hit(id, *record),
            Verdict::Run(reasons) => (reasons, false, None),
            Verdict::Resume { reasons, fraction } => (reasons, true, fraction),
            Verdict::Maybe { .. } => unreachable!("all inputs are known"),
        };
        let key = manifest.key();
        self.set(
            id,
            State::Ready {
                key: key.clone(),
                reasons,
                resumable,
                resumed,
            },
        );
        self.ready.insert(id, Ready { key, manifest });
    }

    fn hit(&mut self, id: NodeId, record: Record) {
        self.store.remember(self.judge.plan_key(id), &record.key);
        self.known.insert(id, plan::outputs(&record));
        self.set(
            id,
            State::Hit {
                key: record.key.clone(),
                saved_seconds: record.cost.seconds,
            },
        );
        self.records.insert(id, record);
    }

    /// The store does not work: what runs may finish, nothing new starts.
    fn give_up(&mut self, id: NodeId, error: &anyhow::Error) {
        let message = format!("{error:#}");
        self.trouble.get_or_insert_with(|| message.clone());
        self.fail(id, message, String::new());
    }

    fn fail(&mut self, id: NodeId, message: String, tail: String) {
        self.ready.remove(&id);
        self.set(id, State::Failed { message, tail });
        self.advance();
    }

    fn heed_stop(&mut self) {
        let requests = self.settings.stop.requests();
        if requests == 0 && self.trouble.is_none() {
            return;
        }
        for id in std::mem::take(&mut self.ready).into_keys() {
            self.set(id, State::Interrupted);
        }
        self.advance();
        if requests == 0 {
            return;
        }
        let workers = self.running.values().filter_map(|r| r.worker.as_ref());
        match self.stopping {
            None => {
                workers.for_each(Worker::stop);
                self.stopping = Some(Instant::now());
            }
            Some(since) if requests > 1 || since.elapsed() > PATIENCE => {
                workers.for_each(Worker::kill)
            }
            Some(_) => {}
        }
    }

    /// Starts what the free tokens allow. Nodes that can use all cores share what is free evenly.
    fn start_ready(&mut self) {
        let mut left = self.ready.len();
        for id in self.ready.keys().copied().collect::<Vec<_>>() {
            if self.free == 0 || self.trouble.is_some() {
                return;
            }
            let tokens = match self.graph.node(id).kind.cpu {
                Cpu::One => 1,
                Cpu::All => (self.free / left).max(1),
            };
            left -= 1;
            if let Err(error) = self.start(id, tokens) {
                self.give_up(id, &error);
            }
        }
    }

    fn start(&mut self, id: NodeId, tokens: usize) -> Result<()> {
        let key = self.ready[&id].key.clone();
        let twin = self.running.values().any(|r| r.key == key);
        let Some(lock) = (if twin {
            None
        } else {
            self.store.try_lock(&key)?
        }) else {
            self.set(id, State::Held { key });
            return Ok(());
        };
        let forced = self.judge.forced(id) && !self.made.contains(&key);
        if !forced && let Lookup::Whole(record) = self.store.lookup(&key) {
            // Someone was faster while this node waited.
            self.ready.remove(&id);
            self.hit(id, *record);
            self.advance();
            return Ok(());
        }
        if matches!(self.store.lookup(&key), Lookup::Damaged(_)) {
            self.store.quarantine_damage(&key)?;
        }
        let earlier = if forced {
            vec![]
        } else {
            Attempt::of(self.store, &key)?
        };
        earlier.iter().for_each(Attempt::drop_outputs);
        let (attempt, spec) = self.attempt(id, &key, tokens, &earlier)?;
        let secrets = named_secrets(&self.graph.node(id).exec);
        let sender = self.sender.clone();
        let hear = move |heard| {
            let _ = sender.send(News::Heard(id, heard)); // The loop ends before this only when it panics.
        };
        let worker = process::start(
            &self.settings.program,
            &attempt.dir,
            &lock,
            tokens,
            &secrets,
            hear,
        )?;
        let ready = self
            .ready
            .remove(&id)
            .expect("only a ready node is started");
        self.set(
            id,
            State::Running {
                attempt: attempt.name(),
                threads: tokens,
            },
        );
        self.free -= tokens;
        let running = Running {
            key,
            tokens,
            manifest: ready.manifest,
            attempt,
            spec,
            earlier,
            worker: Some(worker),
            complaint: None,
            _lock: lock,
        };
        self.running.insert(id, running);
        Ok(())
    }

    fn attempt(
        &self,
        id: NodeId,
        key: &Key,
        threads: usize,
        earlier: &[Attempt],
    ) -> Result<(Attempt, Spec)> {
        let node = self.graph.node(id);
        let mut inputs = vec![];
        for (port, edge) in &node.inputs {
            let artifact = &self.records[&edge.node].outputs[edge.output];
            inputs.push((*port, artifact));
        }
        let spec = Spec {
            key: key.clone(),
            kind: node.kind.name.to_string(),
            revision: node.kind.revision,
            node: node.name.clone(),
            params: attempt::write_values(&node.params)?,
            exec: attempt::write_values(&node.exec)?,
            inputs: inputs
                .iter()
                .map(|(port, a)| (port.to_string(), a.ty.clone()))
                .collect(),
            outputs: node
                .kind
                .outputs
                .iter()
                .map(|o| o.name.to_string())
                .collect(),
            threads,
            earlier: earlier.iter().map(|a| a.dir.clone()).collect(),
            engine: std::process::id() as i32,
            started_ms: clock::now_ms(),
        };
        Ok((Attempt::create(self.store, &spec, &inputs)?, spec))
    }

    fn hear<'scope>(&mut self, news: News, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        match news {
            News::Heard(id, Heard::Message(message)) => self.hear_message(id, message),
            News::Heard(id, Heard::Ended) => self.hear_end(id, scope),
            News::Committed(id, committed) => self.hear_commit(id, *committed),
        }
    }

    fn hear_message(&mut self, id: NodeId, message: Message) {
        let node = self.name(id);
        let event = match message {
            Message::Progress {
                done,
                total,
                unit,
                note,
            } => Event::Progress {
                node,
                done,
                total,
                unit,
                note,
            },
            Message::Metric(metric) => Event::Metric { node, metric },
            Message::Say { text } => Event::Log { node, text },
            Message::Failed { error, environment } => {
                if let Some(running) = self.running.get_mut(&id) {
                    running.complaint = Some((error, environment));
                }
                return;
            }
        };
        self.emit(event);
    }

    fn hear_end<'scope>(&mut self, id: NodeId, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        let running = self
            .running
            .get_mut(&id)
            .expect("only a running worker ends");
        let worker = running.worker.take().expect("a worker ends once");
        let status = match worker.end() {
            Ok(status) => status,
            Err(error) => return self.end_badly(id, None, format!("{error:#}")),
        };
        if !status.success() {
            return self.end_badly(id, Some(status), process::describe(status));
        }
        let node = self.graph.node(id);
        match plan::sources(self.store, node) {
            Ok(now) if now == *self.judge.sources(id) => {}
            Ok(_) => {
                return self.end_badly(id, None, "a source file changed while the node ran".into());
            }
            Err(error) => return self.end_badly(id, None, format!("{error:#}")),
        }
        self.commit(id, node, scope);
    }

    /// On a thread of its own: hashing a model takes a while, and other workers want to be heard.
    fn commit<'scope>(&mut self, id: NodeId, node: &'a Node, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        let running = &self.running[&id];
        let first = self.settings.recipes.first().map(|(name, _)| name.clone());
        let provenance = Provenance {
            recipe: self
                .settings
                .origins
                .get(&node.name)
                .cloned()
                .or(first)
                .unwrap_or_default(),
            node: node.name.clone(),
            run: self.run.clone(),
            version: self.settings.version.clone(),
        };
        let (attempt, spec) = (running.attempt.clone(), running.spec.clone());
        let (manifest, earlier) = (running.manifest.clone(), running.earlier.clone());
        let forced = self.judge.forced(id);
        let (store, sender) = (self.store, self.sender.clone());
        scope.spawn(move || {
            let delivery = Delivery {
                attempt: &attempt,
                earlier: &earlier,
                spec: &spec,
                manifest: &manifest,
                types: node
                    .kind
                    .outputs
                    .iter()
                    .map(|o| (o.name, o.ty.word()))
                    .collect(),
                provenance,
                forced,
            };
            let committed = commit::commit(store, &delivery);
            let _ = sender.send(News::Committed(id, Box::new(committed))); // As above.
        });
    }

    fn hear_commit(&mut self, id: NodeId, committed: Result<Committed, CommitError>) {
        let committed = match committed {
            Ok(committed) => committed,
            Err(CommitError::Outputs(message)) => return self.end_badly(id, None, message),
            Err(CommitError::Store(error)) => {
                self.trouble.get_or_insert_with(|| format!("{error:#}"));
                return self.end_badly(id, None, format!("{error:#}"));
            }
        };
        let running = self
            .running
            .remove(&id)
            .expect("only a running node is committed");
        self.free += running.tokens;
        self.sweep(&running.key);
        let (node, record) = (self.name(id), committed.record);
        let key = record.key.clone();
        if let Versus::Different(outputs) = &committed.versus {
            let outputs = outputs.clone();
            self.emit(Event::NotReproducible {
                node: node.clone(),
                key: key.clone(),
                outputs,
            });
        }
        self.made.insert(key.clone());
        self.store.remember(self.judge.plan_key(id), &key);
        self.known.insert(id, plan::outputs(&record));
        self.emit(Event::Committed {
            node,
            key: key.clone(),
            outputs: plan::outputs(&record),
            cost: record.cost.clone(),
            reproduced: committed.versus == Versus::Same,
        });
        self.records.insert(id, record);
        self.set(id, State::Done { key });
        self.advance();
    }

    /// Attempts of a committed key have served. Still under its lock, so none of them is alive; what cannot be removed
    /// is litter.
    fn sweep(&self, key: &Key) {
        for attempt in Attempt::of(self.store, key).unwrap_or_default() {
            let _ = attempt.remove();
        }
    }

    fn end_badly(&mut self, id: NodeId, status: Option<ExitStatus>, message: String) {
        let running = self.running.remove(&id).expect("only a running node ends");
        self.free += running.tokens;
        running.attempt.drop_outputs();
        let asked = self.stopping.is_some();
        let code = status.and_then(|s| s.code());
        // A worker that was asked to stop may die of the request before it can listen to it.
        if code == Some(EXIT_INTERRUPTED) || (asked && status.is_some() && code.is_none()) {
            self.set(id, State::Interrupted);
            return self.advance();
        }
        let tail = attempt::tail(&running.attempt.logs().join("stderr.txt"), 20);
        let message = match running.complaint {
            Some((error, environment)) => {
                if environment {
                    self.trouble
                        .get_or_insert_with(|| format!("node `{}`: {error}", running.spec.node));
                }
                error
            }
            None => message,
        };
        self.fail(id, message, tail);
    }

    fn finish(mut self, started: Instant) -> Outcome {
        self.store.sources().save(&self.store.tmp());
        let mut counts = Counts::default();
        for state in self.states.values() {
            match state {
                State::Hit { .. } => counts.hit += 1,
                State::Done { .. } => counts.done += 1,
                State::Failed { .. } => counts.failed += 1,
                State::Skipped { .. } => counts.skipped += 1,
                State::Interrupted => counts.interrupted += 1,
                _ => unreachable!("a run ends when every node has"),
            }
        }
        let nodes = std::mem::take(&mut self.states)
            .into_iter()
            .map(|(id, state)| NodeEnd {
                id,
                name: self.name(id),
                state,
                record: self.records.remove(&id),
            })
            .collect();
        let mut outcome = Outcome {
            run: self.run.clone(),
            nodes,
            trouble: self.trouble.take(),
        };
        let end = match outcome.failure() {
            None => End::Whole,
            Some(Failure::Nodes(_)) => End::Failed,
            Some(Failure::Environment(_)) => End::Environment,
            Some(Failure::Interrupted) => End::Interrupted,
        };
        self.emit(Event::RunEnded {
            end,
            seconds: started.elapsed().as_secs_f64(),
            counts,
        });
        if outcome.trouble.is_none() {
            outcome.trouble = self.journal.trouble().map(str::to_string);
        }
        outcome
    }
}

/// Secrets are named, not written: `key = { env = "NAME" }` or a parameter whose name ends in `_env`.
fn named_secrets(exec: &Values) -> BTreeMap<String, String> {
    let mut names = BTreeSet::new();
    for (param, value) in exec {
        name_secrets(param, value, &mut names);
    }
    names
        .into_iter()
        .filter_map(|name| Some((name.clone(), std::env::var(&name).ok()?)))
        .collect()
}

fn name_secrets(under: &str, value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Str(name) if under == "env" || under.ends_with("_env") => {
            names.insert(name.clone());
        }
        Value::List(items) => items.iter().for_each(|v| name_secrets(under, v, names)),
        Value::Table(map) => map.iter().for_each(|(k, v)| name_secrets(k, v, names)),
        _ => {}
    }
}
