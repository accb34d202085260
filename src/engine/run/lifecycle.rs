//! The life of one executed node until its worker has ended: lock, attempt, worker, what it says. What comes then is `ending`'s.

use super::dispatch::{self, Terms};
use super::exec::{Exec, News, Running};
use super::keeper::Keeper;
use super::secrets::{named_secrets, redact};
use super::watch::Watch;
use crate::events::event::{Event, State};
use crate::graph::NodeId;
use crate::kind::attempt;
use crate::kind::attempt::{Attempt, Spec};
use crate::kind::messages::Message;
use crate::run::executor::{self, Job, Place, Resources, Task};
use crate::store::Lookup;
use crate::store::claims::Claim;
use crate::store::index::RecordSummary;
use crate::store::origin::Asked;
use crate::store::paths;
use crate::store::record::{Artifact, Origin, Provenance};
use crate::system::Process;
use crate::system::clock;
use crate::system::fault;
use anyhow::Result;
use base::calls::Calls;
use base::hash::Key;
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
        let given = self.leasing.take(id);
        let twin = self.running.values().any(|r| r.key == key) || self.leasing.has_key(&key);
        if !twin && self.take_up(id, &key)? {
            return Ok(());
        }
        let (lock, lease) = match given {
            Some((lock, lease)) => (Some(lock), Some(lease)),
            None if twin => (None, None),
            None => (self.store.try_lock(&key)?, None),
        };
        let Some(lock) = lock else {
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
        let Some(lease) = lease.or_else(|| (!self.wants_lease(id)).then_some(None)) else {
            self.ask_lease(id, lock, taken);
            return Ok(());
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
            lock: lock.file().expect("claims of a store are files"),
            given,
            secrets: &secrets,
            expected: self.expected(id),
        };
        let task = settings.executor.start(&job, self.listener(id))?;
        let lasts = self.store.claims().lasts();
        let keeper = match elsewhere {
            true => None,
            false => Some((lock.clone(), Keeper::new(lock, lasts)?)),
        };
        self.runs(id, taken, task, (attempt, spec), earlier, keeper);
        if let Some(running) = self.running.get_mut(&id) {
            running.lease = lease;
        }
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
            unreached: false,
            stop_requested: false,
            calls: Calls::default(),
            secrets: named_secrets(&self.graph.node(id).exec),
            lock,
            keeper,
            lease: None,
            left: None,
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
            News::Beaten(id, brief) => self.beaten(id, *brief),
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

    /// Its origin is found out on the way.
    pub(super) fn provenance(&self, id: NodeId) -> Provenance {
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
}
