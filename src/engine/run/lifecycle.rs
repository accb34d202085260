//! The life of one executed node: lock, attempt, worker, commit, and what becomes of it when it does not end well.

use super::exec::{Exec, News, Running};
use super::secrets::{named_secrets, redact, redact_files};
use super::watch::Watch;
use crate::events::event::{Event, State};
use crate::graph::{Node, NodeId};
use crate::kind::attempt;
use crate::kind::attempt::{Attempt, Spec};
use crate::kind::failure;
use crate::kind::failure::{Class, End};
use crate::kind::messages::Message;
use crate::plan;
use crate::run::executor::{self, Executor, Job, Resources};
use crate::store::commit::{self, CommitError, Committed, Delivery, Versus};
use crate::store::index::RecordSummary;
use crate::store::origin::Asked;
use crate::store::paths::{self, Paths};
use crate::store::record::{Artifact, Origin, Provenance};
use crate::store::{Lookup, Store};
use crate::system::Process;
use crate::system::clock;
use crate::system::fault;
use crate::system::files;
use anyhow::Result;
use base::calls::Calls;
use base::hash::Key;
use base::threads;
use std::sync::Arc;
use std::thread::Scope;

impl<'a> Exec<'a> {
    pub(super) fn start(&mut self, id: NodeId, taken: Resources) -> Result<()> {
        let waiting = self.ready.get(id);
        let key = waiting.expect("only a ready node is started").key.clone();
        let twin = self.running.values().any(|r| r.key == key);
        let Some(lock) = (if twin {
            None
        } else {
            self.store.try_lock(&key)?
        }) else {
            // What was made here is being swept.
            let own = twin || self.made.contains(&key);
            self.wait_for_holder(id, key, own);
            return Ok(());
        };
        self.got_lock(id);
        let forced = self.planner.forced(id) && !self.made.contains(&key);
        let shared = self.store.sharing()?;
        match self.store.lookup(&key) {
            Lookup::Whole(record) if !forced => {
                // Someone was faster while this node waited.
                self.ready.remove(id);
                self.hit(id, RecordSummary::of(&record, false));
                self.advance();
                return Ok(());
            }
            Lookup::Damaged(_) => self.store.quarantine_damage(&key)?,
            Lookup::Whole(_) | Lookup::Evicted(_) | Lookup::Absent => {}
        }
        drop(shared);
        let Some(inputs) = self.inputs(id)? else {
            self.ready.remove(id);
            self.set(id, State::Waiting);
            self.advance();
            return Ok(());
        };
        let settings = self.settings;
        let mut earlier = Attempt::of(self.store, &key)?;
        if forced {
            // It is made from the beginning; what this run has of it already is no earlier work.
            earlier.retain(|a| a.spec().is_ok_and(|spec| spec.run == self.run));
        }
        for attempt in &earlier {
            // We have the lock, so whoever still belongs to these attempts works for nobody, and might write to what we read.
            settings.executor.kill_leftovers(attempt);
            attempt.drop_outputs();
        }
        self.origin
            .get_or_insert_with(|| Asked::new(&settings.program, settings.workspace.as_deref()));
        let given = Resources {
            threads: taken.threads.max(1),
            ..taken
        };
        let (attempt, spec) = self.attempt(id, &key, given.threads, &earlier, &inputs)?;
        fault::point("attempt-made")?;
        let secrets = named_secrets(&self.graph.node(id).exec);
        let sender = self.sender.clone();
        let listener = Arc::new(move |news| {
            let _ = sender.send(News::Job(id, news)); // The loop ends before this only when it panics.
        });
        let job = Job {
            attempt: &attempt,
            program: &settings.program,
            lock: &lock,
            given,
            secrets: &secrets,
        };
        let task = settings.executor.start(&job, listener)?;
        let ready = self.ready.remove(id).expect("only a ready node is started");
        self.set(
            id,
            State::Running {
                attempt: attempt.name(),
                threads: taken.threads,
            },
        );
        self.free.take(&taken);
        let running = Running {
            key,
            taken,
            manifest: ready.manifest,
            attempt,
            spec,
            earlier,
            task: Some(task),
            watch: Watch::new(),
            complaint: None,
            stop_requested: false,
            calls: Calls::default(),
            secrets,
            lock,
        };
        self.running.insert(id, running);
        Ok(())
    }

    /// The artifacts that a node is made from, by port, their bytes looked at. Nothing where some are gone or are not what they
    /// were: then the nodes that make them run again.
    fn inputs(&mut self, id: NodeId) -> Result<Option<Vec<(&'static str, Artifact)>>> {
        let mut inputs = vec![];
        let mut whole = true;
        let graph = self.graph;
        for (port, edge) in &graph.node(id).inputs {
            // Another node may have invalidated the one above since this one was ready.
            let key = self.briefs.get(edge.node).map(|b| b.key.clone());
            let record = key.and_then(|key| self.store.record(&key).ok().flatten());
            let artifact = record.and_then(|mut r| Some((r.outputs.remove(edge.output)?, r.key)));
            match artifact {
                Some((artifact, key))
                    if self.store.sound(&artifact)?
                        || self.pull(edge.node, &key, edge.output, &artifact) =>
                {
                    inputs.push((*port, artifact));
                }
                _ => {
                    self.invalidate(edge.node);
                    whole = false;
                }
            }
        }
        Ok(whole.then_some(inputs))
    }

    /// Whether the bytes of an output came from the remote. On the loop's own thread, like looking at inputs.
    pub(super) fn pull(
        &mut self,
        id: NodeId,
        key: &Key,
        output: &str,
        artifact: &Artifact,
    ) -> bool {
        match self.store.pull(key, output, artifact) {
            Ok(pulled) => pulled,
            Err(error) => {
                self.log(id, format!("{error:#}; it is made here"));
                false
            }
        }
    }

    fn attempt(
        &self,
        id: NodeId,
        key: &Key,
        threads: usize,
        earlier: &[Attempt],
        inputs: &[(&'static str, Artifact)],
    ) -> Result<(Attempt, Spec)> {
        let node = self.graph.node(id);
        let spec = Spec {
            key: key.clone(),
            kind: node.kind.name.to_string(),
            revision: node.kind.revision,
            node: node.name.clone(),
            params: attempt::write_values(&paths::located(node.kind, &node.params))?,
            exec: attempt::write_values(&node.exec)?,
            inputs: inputs
                .iter()
                .map(|(port, a)| (port.to_string(), a.ty))
                .collect(),
            outputs: node
                .kind
                .delivered(&node.params)
                .map(|o| o.name.to_string())
                .collect(),
            threads,
            earlier: earlier.iter().map(|a| a.dir.clone()).collect(),
            calls: self.store.calls(),
            engine: Process::own(),
            run: self.run.clone(),
            started_ms: clock::now_ms(),
        };
        Ok((Attempt::create(self.store, &spec, inputs)?, spec))
    }

    pub(super) fn handle<'scope>(&mut self, news: News, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        match news {
            News::Job(id, executor::News::Message(message)) => self.handle_message(id, message),
            News::Job(id, executor::News::Ended) => self.handle_end(id, scope),
            News::Committed(id, committed) => self.handle_commit(id, *committed),
            News::Published(id, published) => {
                self.publishing -= 1;
                if let Err(error) = published {
                    self.log(id, format!("{error:#}; it is in the store of this machine"));
                }
            }
        }
    }

    fn handle_message(&mut self, id: NodeId, message: Message) {
        let node = self.name(id);
        let secrets = self.running.get_mut(&id).map(|running| {
            running.watch.hear(&message);
            running.secrets.clone()
        });
        let secrets = secrets.unwrap_or_default();
        let clean = |text: &str| redact(text, &secrets);
        let event = match message {
            Message::Progress {
                done,
                total,
                unit,
                note,
                made,
                sampled,
            } => Event::Progress {
                node,
                done,
                total,
                unit,
                note: clean(&note),
                made,
                sampled,
            },
            Message::Metric(metric) => Event::Metric { node, metric },
            Message::Log { text } => Event::Log {
                node,
                text: clean(&text),
            },
            Message::Failed { error, class } => {
                let error = clean(&error);
                if let Some(running) = self.running.get_mut(&id) {
                    running.complaint = Some((error, class));
                }
                return;
            }
        };
        self.emit(event);
    }

    fn handle_end<'scope>(&mut self, id: NodeId, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        let running = self
            .running
            .get_mut(&id)
            .expect("only a running worker ends");
        let task = running.task.take().expect("a worker ends once");
        redact_files(&running.attempt.logs(), &running.secrets);
        let spec = &running.spec;
        let spent = self.spent.entry(id).or_default();
        spent.follow(&running.attempt.usage(), spec.threads, spec.started_ms);
        let ending = task.end();
        running.watch.note_peak(ending.peak);
        if ending.end != End::Exited(0) {
            let asked = self.stopping.is_some() || running.stop_requested;
            let (class, message) = failure::classify(&ending, running.complaint.as_ref(), asked);
            return self.end_badly(id, class, message);
        }
        let node = self.graph.node(id);
        match Paths::of(self.store, node) {
            Ok(now) if now == *self.planner.paths(id) => {}
            Ok(_) => {
                let message = "a source file changed while the node ran".into();
                return self.end_badly(id, Class::Error, message);
            }
            Err(error) => return self.end_badly(id, Class::Error, format!("{error:#}")),
        }
        // What is committed computes next to nothing: the next node need not wait for the disk.
        if let Some(running) = self.running.get_mut(&id) {
            self.free.give_back(&std::mem::take(&mut running.taken));
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
        let mut provenance = Provenance {
            recipe: self
                .settings
                .origins
                .get(&node.name)
                .cloned()
                .or(first)
                .unwrap_or_default(),
            node: node.plain_name().to_string(),
            run: self.run.clone(),
            version: self.settings.version.clone(),
            origin: Origin::default(),
            commits: self.planner.paths(id).commits.clone(),
        };
        let (attempt, spec) = (running.attempt.clone(), running.spec.clone());
        let lock = running.lock.try_clone().ok();
        let (manifest, earlier) = (running.manifest.clone(), running.earlier.clone());
        let forced = self.planner.forced(id);
        let (store, sender) = (self.store, self.sender.clone());
        let origin = self.origin.clone();
        let executor = &*self.settings.executor;
        let stop = self.settings.stop.clone();
        let started = threads::start_in(scope, move || {
            provenance.origin = origin.map(|asked| asked.wait()).unwrap_or_default();
            let delivery = Delivery {
                attempt: &attempt,
                earlier: &earlier,
                spec: &spec,
                manifest: &manifest,
                types: node.kind.types(&node.params),
                provenance,
                forced,
                adopted: None,
            };
            let committed = at_rest(executor, &attempt);
            let committed = committed.and_then(|()| commit::commit(store, &delivery));
            let record = committed.as_ref().ok().filter(|_| store.has_remote());
            let record = record.map(|c| c.record.clone());
            // A try that comes after a failure wants the lock.
            let lock = lock.filter(|_| committed.is_ok());
            if committed.is_ok() {
                let _ = fault::point("committed"); // Only death matters here: the record is there.
                unname_outputs(&attempt);
            }
            let _ = sender.send(News::Committed(id, Box::new(committed))); // The loop waits for both.
            // Some file systems take longer for this than the node took, and nobody has to wait for it.
            if let Some(_lock) = lock {
                sweep(store, &spec.key);
            }
            if store.has_remote() {
                let published = record.map_or(Ok(false), |record| {
                    // Who asks twice wants to be gone; after the first request it may end.
                    store.publish(&record, &|| stop.requests() > 1)
                });
                let _ = sender.send(News::Published(id, published));
            }
        });
        self.publishing += usize::from(store.has_remote() && started.is_ok());
        if let Err(error) = started {
            let failed = Err(CommitError::Store(error));
            let _ = self.sender.send(News::Committed(id, Box::new(failed)));
        }
    }

    fn handle_commit(&mut self, id: NodeId, committed: Result<Committed, CommitError>) {
        let committed = match committed {
            Ok(committed) => committed,
            Err(CommitError::Outputs(message)) => {
                return self.end_badly(id, Class::LostOutputs, message);
            }
            Err(CommitError::Store(error)) => {
                return self.end_badly(id, Class::Environment, format!("{error:#}"));
            }
        };
        let running = self
            .running
            .remove(&id)
            .expect("only a running node is committed");
        self.free.give_back(&running.taken);
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
        self.store.remember(self.planner.plan_key(id), &key);
        let brief = RecordSummary::of(&record, false);
        self.emit(Event::Committed {
            node,
            key: key.clone(),
            outputs: plan::outputs(&brief),
            cost: self.spent.get(&id).cloned().unwrap_or_default(),
            reproduced: committed.versus == Versus::Same,
        });
        self.briefs.insert(id, brief);
        self.set(id, State::Done { key });
        self.advance();
    }

    fn end_badly(&mut self, id: NodeId, class: Class, message: String) {
        let running = self.running.remove(&id).expect("only a running node ends");
        self.free.give_back(&running.taken);
        running.attempt.drop_outputs();
        if class == Class::Interrupted {
            self.set(id, State::Interrupted);
            return self.advance();
        }
        if class == Class::Environment {
            self.trouble
                .get_or_insert_with(|| format!("node `{}`: {message}", running.spec.node));
        }
        if self.try_again(id, &running, class, &message) {
            return;
        }
        let tail = running.attempt.stderr_tail();
        let failed = State::Failed {
            message,
            tail,
            class,
            peak_bytes: Some(running.watch.peak()).filter(|peak| *peak > 0),
        };
        self.fail(id, failed);
    }
}

/// Outputs that are in the store have another name there. To lose this one changes their times, by which they are known to whoever has
/// read them: so it is lost before anybody may. Their folders, which may take longer, go with the attempt.
fn unname_outputs(attempt: &Attempt) {
    for (_, path) in files::walk(&attempt.outputs(), false).unwrap_or_default() {
        let _ = std::fs::remove_file(path); // As in `sweep`.
    }
}

/// Attempts of a committed key have served. Under its lock still, so none of them is alive; what cannot be removed is litter.
fn sweep(store: &Store, key: &Key) {
    for attempt in Attempt::of(store, key).unwrap_or_default() {
        let _ = attempt.remove();
    }
    let _ = fault::point("swept"); // As after the commit.
}

/// Nobody may be able to write to the outputs any more: what is hashed now is to be what is kept.
fn at_rest(executor: &dyn Executor, attempt: &Attempt) -> Result<(), CommitError> {
    let writers = executor.writers(attempt);
    let writers = writers.map_err(|error| CommitError::Outputs(format!("{error:#}")))?;
    if writers.is_empty() {
        return Ok(());
    }
    let told = format!("its outputs are not at rest: {}", writers.join(", "));
    Err(CommitError::Outputs(told))
}
