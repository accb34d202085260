//! The life of one executed node: lock, attempt, worker, commit, and what becomes of it when it does not end well.

use super::delivery;
use super::dispatch::{self, Terms};
use super::errands::Errand;
use super::exec::{Exec, News, Running};
use super::keeper::{Keeper, LOST};
use super::secrets::{named_secrets, redact, redact_files};
use super::watch::Watch;
use crate::events::event::{Event, State};
use crate::graph::{Node, NodeId};
use crate::kind::attempt;
use crate::kind::attempt::{Attempt, Spec};
use crate::kind::conclusion::{Conclusion, Result as Told};
use crate::kind::failure;
use crate::kind::failure::{Class, End};
use crate::kind::messages::Message;
use crate::plan;
use crate::run::executor::{self, Job, Place, Resources, Task};
use crate::store::Lookup;
use crate::store::claims::Claim;
use crate::store::commit::{CommitError, Committed, Delivery, Versus};
use crate::store::index::RecordSummary;
use crate::store::origin::Asked;
use crate::store::paths::{self, Paths};
use crate::store::record::{Artifact, Origin, Provenance};
use crate::system::Process;
use crate::system::clock;
use crate::system::fault;
use anyhow::Result;
use base::calls::Calls;
use base::hash::Key;
use base::threads;
use std::sync::Arc;
use std::thread::Scope;

/// What a node that starts is made from.
enum Inputs {
    Whole(Vec<(&'static str, Artifact)>),
    /// Some have to come from the remote once more.
    OnTheirWay,
    /// Some are gone, or are not what they were: the nodes that make them run again.
    Gone,
}

impl<'a> Exec<'a> {
    pub(super) fn start(&mut self, id: NodeId, taken: Resources) -> Result<()> {
        let waiting = self.ready.get(id);
        let key = waiting.expect("only a ready node is started").key.clone();
        let twin = self.running.values().any(|r| r.key == key);
        if !twin && self.take_up(id, &key)? {
            return Ok(());
        }
        let Some(lock) = (if twin {
            None
        } else {
            self.store.try_lock(&key)?
        }) else {
            let own = twin || self.sweeping.contains(&key);
            self.wait_for_holder(id, key, own);
            return Ok(());
        };
        self.got_lock(id);
        // Another engine may have submitted it between the question and the lock.
        if self.take_up(id, &key)? {
            return Ok(());
        }
        let forced = self.planner.forced(id) && !self.made.contains(&key);
        let settings = self.settings;
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
        let inputs = match self.inputs(id)? {
            Inputs::Whole(inputs) => inputs,
            Inputs::OnTheirWay => return Ok(()),
            Inputs::Gone => {
                self.wait_again(id);
                return Ok(());
            }
        };
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
        let there = settings.executor.elsewhere();
        let threads = there.map(|there| there.threads(&self.needs_there(id)));
        let given = Resources {
            threads: threads.unwrap_or(taken.threads).max(1),
            ..taken
        };
        let (attempt, spec) = self.attempt(id, &key, given.threads, &earlier, &inputs)?;
        fault::point("attempt-made")?;
        let secrets = named_secrets(&self.graph.node(id).exec);
        let elsewhere = settings.executor.elsewhere().is_some();
        if elsewhere {
            self.write_terms(id, &attempt, forced)?;
        }
        let job = Job {
            attempt: &attempt,
            program: &settings.program,
            lock: lock.file(),
            given,
            secrets: &secrets,
        };
        let task = settings.executor.start(&job, self.listener(id))?;
        let lasts = self.store.claims().lasts();
        let keeper = match elsewhere {
            true => None,
            false => Some((lock.clone(), Keeper::new(lock, lasts)?)),
        };
        self.runs(id, taken, task, (attempt, spec), earlier, keeper);
        Ok(())
    }

    /// Whether an attempt goes on elsewhere that an engine submitted which is gone, or another one: then its news come here. Whoever
    /// attends to it has the claim.
    fn take_up(&mut self, id: NodeId, key: &Key) -> Result<bool> {
        let settings = self.settings;
        let forced = self.planner.forced(id) && !self.made.contains(key);
        let Some(there) = settings.executor.elsewhere().filter(|_| !forced) else {
            return Ok(false);
        };
        let mut earlier = Attempt::of(self.store, key)?;
        if earlier.is_empty() {
            return Ok(false);
        }
        let newest = earlier.remove(0);
        let Some(task) = there.take_up(&newest, self.listener(id))? else {
            return Ok(false);
        };
        self.got_lock(id);
        self.log(id, format!("goes on with attempt {}", newest.name()));
        let spec = newest.spec()?;
        let taken = Resources::default();
        self.runs(id, taken, task, (newest, spec), earlier, None);
        Ok(true)
    }

    fn listener(&self, id: NodeId) -> executor::Listener {
        let sender = self.sender.clone();
        Arc::new(move |news| {
            let _ = sender.send(News::Job(id, news)); // The loop ends before this only when it panics.
        })
    }

    /// Of an attempt that was started.
    fn runs(
        &mut self,
        id: NodeId,
        taken: Resources,
        task: Box<dyn Task>,
        (attempt, spec): (Attempt, Spec),
        earlier: Vec<Attempt>,
        held: Option<(Arc<dyn Claim>, Keeper)>,
    ) {
        let (lock, keeper) = held.unzip();
        let ready = self.ready.remove(id).expect("only a ready node is started");
        let threads = match self.settings.executor.elsewhere() {
            Some(_) => spec.threads,
            None => taken.threads,
        };
        self.set(
            id,
            State::Running {
                attempt: attempt.name(),
                threads,
            },
        );
        self.free.take(&taken);
        let running = Running {
            key: ready.key,
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
            secrets: named_secrets(&self.graph.node(id).exec),
            lock,
            keeper,
        };
        self.running.insert(id, running);
    }

    /// What has to be known to commit an attempt elsewhere.
    fn write_terms(&self, id: NodeId, attempt: &Attempt, forced: bool) -> Result<()> {
        let there = self.settings.executor.elsewhere();
        let profile = there.expect("it is to run elsewhere").profile();
        let ready = self.ready.get(id).expect("only a ready node is started");
        let mut provenance = self.provenance(id);
        let origin = self.origin.as_ref();
        provenance.origin = origin.map(Asked::wait).unwrap_or_default();
        let terms = Terms {
            manifest: ready.manifest.text().to_string(),
            provenance,
            forced,
            contents: self.planner.paths(id).contents.clone(),
            needs: self.needs_there(id),
            grace_seconds: profile.grace_seconds,
            secrets_file: profile.secrets_file.clone(),
        };
        dispatch::put_terms(self.store, attempt, &terms)
    }

    /// The artifacts that a node is made from, by port, their bytes looked at.
    fn inputs(&mut self, id: NodeId) -> Result<Inputs> {
        let mut inputs = vec![];
        let (mut whole, mut coming) = (true, false);
        let graph = self.graph;
        for (port, edge) in &graph.node(id).inputs {
            // Another node may have invalidated the one above since this one was ready.
            let key = self.briefs.get(edge.node).map(|b| b.key.clone());
            let record = key.and_then(|key| self.store.record(&key).ok().flatten());
            let artifact = record.and_then(|mut r| Some((r.outputs.remove(edge.output)?, r.key)));
            match artifact {
                Some((artifact, _)) if self.store.sound(&artifact)? => {
                    inputs.push((*port, artifact));
                }
                Some((_, key)) if self.store.may_pull(&key) && self.errands.again(id) => {
                    coming = true;
                }
                _ => {
                    self.invalidate(edge.node);
                    whole = false;
                }
            }
        }
        Ok(match (whole, coming) {
            (false, _) => Inputs::Gone,
            (true, true) => Inputs::OnTheirWay,
            (true, false) => Inputs::Whole(inputs),
        })
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
            News::Job(id, executor::News::Place(place)) => self.handle_place(id, place),
            News::Job(id, executor::News::Ended) => self.handle_end(id, scope),
            News::Committed(id, committed) => self.handle_commit(id, *committed),
            News::Swept(key) => {
                self.sweeping.remove(&key);
            }
            News::Back(back) => self.back(back),
        }
    }

    fn handle_place(&mut self, id: NodeId, place: Place) {
        if let Some(running) = self.running.get_mut(&id) {
            running.watch.placed(place.host.is_some());
        }
        let node = self.name(id);
        self.emit(Event::Placed {
            node,
            on: place.on,
            job: place.job,
            host: place.host,
            word: place.word,
        });
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
        if let End::Attended(conclusion) = &ending.end
            && !matches!(conclusion.result, Told::Failed { .. })
        {
            return self.handle_conclusion(id, conclusion);
        }
        if ending.end != End::Exited(0) && running.keeper.as_ref().is_some_and(Keeper::lost) {
            return self.end_badly(id, Class::Evicted, LOST.into());
        }
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

    /// Its origin is found out on the way.
    fn provenance(&self, id: NodeId) -> Provenance {
        let node = self.graph.node(id);
        let first = self.settings.recipes.first().map(|(name, _)| name.clone());
        let named = self.settings.origins.get(&node.name).cloned();
        Provenance {
            recipe: named.or(first).unwrap_or_default(),
            node: node.plain_name().to_string(),
            run: self.run.clone(),
            version: self.settings.version.clone(),
            origin: Origin::default(),
            commits: self.planner.paths(id).commits.clone(),
        }
    }

    /// It was judged where it ran, and its record is there.
    fn handle_conclusion(&mut self, id: NodeId, conclusion: &Conclusion) {
        let key = self.running[&id].key.clone();
        let record = match self.store.record(&key) {
            Ok(Some(record)) => record,
            Ok(None) => return self.end_badly(id, Class::LostOutputs, "its record is gone".into()),
            Err(error) => return self.end_badly(id, Class::Environment, format!("{error:#}")),
        };
        match &conclusion.result {
            Told::Committed {
                same,
                beaten,
                different,
            } => {
                let versus = match (same, beaten) {
                    _ if !different.is_empty() => Versus::Different(different.clone()),
                    (true, _) => Versus::Same,
                    (_, true) => Versus::Beaten,
                    _ => Versus::Nothing,
                };
                self.handle_commit(id, Ok(Committed { record, versus }));
            }
            Told::Hit | Told::Failed { .. } => {
                let running = self.running.remove(&id).expect("it ran until now");
                self.free.give_back(&running.taken);
                self.hit(id, RecordSummary::of(&record, false));
                self.advance();
            }
        }
        if let Ok(Some(_claim)) = self.store.try_lock(&key) {
            delivery::sweep(self.store, &key);
        }
        self.sweeping.remove(&key);
    }

    /// On a thread of its own: hashing a model takes a while, and other workers want to be heard.
    fn commit<'scope>(&mut self, id: NodeId, node: &'a Node, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        let mut provenance = self.provenance(id);
        let running = &self.running[&id];
        let (attempt, spec) = (running.attempt.clone(), running.spec.clone());
        let lock = running.lock.clone();
        let (manifest, earlier) = (running.manifest.clone(), running.earlier.clone());
        let forced = self.planner.forced(id);
        let (store, sender) = (self.store, self.sender.clone());
        let (origin, gpus) = (self.origin.clone(), node.needs().gpus);
        let executor = &*self.settings.executor;
        let started = threads::start_in(scope, move || {
            provenance.origin = origin.map(|asked| asked.wait()).unwrap_or_default();
            provenance.origin.gpus.truncate(gpus);
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
            let committed = delivery::deliver(store, executor, &delivery);
            // A try that comes after a failure wants the lock.
            let lock = lock.filter(|_| committed.is_ok());
            let made = committed.is_ok();
            let _ = sender.send(News::Committed(id, Box::new(committed))); // The loop waits for both.
            // Some file systems take longer for this than the node took, and nobody has to wait for it.
            if let Some(_lock) = lock {
                delivery::sweep(store, &spec.key);
            }
            if made {
                let _ = sender.send(News::Swept(spec.key.clone())); // As above; at the end nobody asks.
            }
        });
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
        // Who sweeps has the lock as long as it takes.
        drop(running);
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
        self.sweeping.insert(key.clone());
        self.store.remember(self.planner.plan_key(id), &key);
        let brief = RecordSummary::of(&record, false);
        if self.store.has_remote() {
            self.errands.ask(Errand::Publish(id, Box::new(record)));
        }
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
        // Elsewhere that is done by whoever attends to it, who may still be at work.
        if self.settings.executor.elsewhere().is_none() {
            running.attempt.drop_outputs();
        }
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
