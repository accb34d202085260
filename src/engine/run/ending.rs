//! What becomes of a node whose worker has ended: judged, committed, or given up. What was committed where it ran is only taken note of.

use super::delivery;
use super::errands::Errand;
use super::exec::{Exec, News};
use super::keeper::{Keeper, LOST};
use super::leasing;
use super::secrets::redact_files;
use crate::events::event::{Event, State};
use crate::graph::{Node, NodeId};
use crate::kind::conclusion::{Conclusion, Result as Told};
use crate::kind::failure;
use crate::kind::failure::{Class, End};
use crate::plan;
use crate::store::commit::{CommitError, Committed, Delivery, Versus};
use crate::store::index::RecordSummary;
use crate::store::paths::Paths;
use base::threads;
use std::thread::Scope;

impl<'a> Exec<'a> {
    pub(super) fn handle_end<'scope>(&mut self, id: NodeId, scope: &'scope Scope<'scope, '_>)
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
        running.unreached = matches!(ending.end, End::Unreached(_));
        if let End::Attended(conclusion) = &ending.end
            && !matches!(conclusion.result, Told::Failed { .. })
        {
            return self.handle_conclusion(id, conclusion);
        }
        if ending.end != End::Exited(0) && running.keeper.as_ref().is_some_and(Keeper::lost) {
            return self.end_badly(id, Class::Evicted, LOST.into());
        }
        let left = running.left.is_some() || running.lease.as_ref().is_some_and(|l| l.lost());
        if ending.end != End::Exited(0) && left {
            return self.give_way(id);
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
                moved,
            } => {
                let longest = self.longest.entry(self.graph.node(id).kind.name);
                let longest = longest.or_default();
                *longest = longest.max(conclusion.seconds);
                let versus = match (same, beaten) {
                    _ if !different.is_empty() => match moved {
                        Some(moved) => Versus::OtherDevice(different.clone(), moved.clone()),
                        None => Versus::Different(different.clone()),
                    },
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
        let (lock, lease) = (running.lock.clone(), running.lease.clone());
        let (manifest, earlier) = (running.manifest.clone(), running.earlier.clone());
        let forced = self.planner.forced(id);
        let (store, sender) = (self.store, self.sender.clone());
        let (origin, gpus) = (self.origin.clone(), node.needs().gpus);
        let executor = &*self.settings.executor;
        let started = threads::start_in(scope, move || {
            provenance.origin = origin.map(|asked| asked.wait()).unwrap_or_default();
            provenance.origin.gpus.truncate(gpus);
            // Whoever took over its lease may have a record of it, and then that counts.
            if lease.is_some_and(|lease| !lease.is_kept())
                && let Some(made) = leasing::made(store, &spec.key)
            {
                let _ = sender.send(News::Beaten(id, Box::new(made))); // The loop waits for it.
                return;
            }
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

    pub(super) fn handle_commit(&mut self, id: NodeId, committed: Result<Committed, CommitError>) {
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
        let lease = running.lease.clone();
        // Who sweeps has the lock as long as it takes.
        drop(running);
        let (node, record) = (self.name(id), committed.record);
        let key = record.key.clone();
        let other = match &committed.versus {
            Versus::Different(outputs) => Some((outputs, None)),
            Versus::OtherDevice(outputs, moved) => Some((outputs, Some(moved.clone()))),
            Versus::Nothing | Versus::Same | Versus::Beaten => None,
        };
        if let Some((outputs, moved)) = other {
            let (node, key, outputs) = (node.clone(), key.clone(), outputs.clone());
            self.emit(match moved {
                None => Event::NotReproducible { node, key, outputs },
                Some(moved) => Event::OtherDevice {
                    node,
                    key,
                    outputs,
                    moved,
                },
            });
        }
        self.made.insert(key.clone());
        self.sweeping.insert(key.clone());
        self.store.remember(self.planner.plan_key(id), &key);
        let brief = RecordSummary::of(&record, false);
        if self.store.has_remote() {
            self.leasing.publishes(id, lease);
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
