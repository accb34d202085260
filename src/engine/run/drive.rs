//! The loop's decisions: states, verdicts, stopping, the end. Every node's state changes in `Exec::set` alone.

use super::errands::Errand;
use super::exec::{Exec, STOP_GRACE};
use super::outcome::{NodeEnd, Outcome};
use super::queue::Ready;
use crate::events::event::{Counts, End, Event, State};
use crate::graph::NodeId;
use crate::kind::attempt::Attempt;
use crate::kind::failure::{Class, Failure};
use crate::plan::Decision;
use crate::plan::verdict::Verdict;
use crate::run::executor::Task;
use crate::store::index::{Index, RecordSummary};
use base::hash::Key;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What giving up the last leases may take.
const LEASES: Duration = Duration::from_secs(2);

impl Exec<'_> {
    /// The one door for state changes.
    pub(super) fn set(&mut self, id: NodeId, state: State) {
        if self.states[id] == state {
            return;
        }
        assert!(
            !self.states[id].is_final()
                || matches!(
                    (&self.states[id], &state),
                    (State::Hit { .. }, State::Waiting)
                ),
            "a final state does not change, but for a hit whose bytes are needed and gone"
        );
        match (self.states[id].is_final(), state.is_final()) {
            (false, true) => self.open -= 1,
            (true, false) => self.open += 1,
            _ => {}
        }
        if state.is_final() {
            self.due.extend(self.users.get(id).into_iter().flatten());
        } else if state == State::Waiting {
            self.due.insert(id);
        }
        self.states.insert(id, state.clone());
        self.emit(Event::State {
            node: self.name(id),
            state,
        });
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.journal.write(&event);
        (self.listener)(&event);
    }

    pub(super) fn log(&mut self, id: NodeId, text: String) {
        let node = self.name(id);
        self.emit(Event::Log { node, text });
    }

    pub(super) fn name(&self, id: NodeId) -> String {
        self.graph.node(id).name.clone()
    }

    /// Judges waiting nodes whose inputs are known by now, and skips what hangs below a failure. A node may invalidate
    /// others above it; these are looked at next.
    ///
    /// From deciding that a record will do until that is written down for all to see, nobody may remove its blobs.
    pub(super) fn advance(&mut self) {
        let shared = self.store.sharing();
        while let Some(id) = self.due.pop_first() {
            if self.states[id] == State::Waiting {
                self.look_at(id);
            }
        }
        self.journal.flush();
        if let Err(error) = shared {
            self.trouble.get_or_insert_with(|| format!("{error:#}"));
        }
    }

    fn look_at(&mut self, id: NodeId) {
        let graph = self.graph;
        let inputs = || graph.node(id).inputs.values().map(|edge| edge.node);
        if let Some(because) = inputs().find_map(|i| self.broken(i)) {
            self.set(id, State::Skipped { because });
        } else if let Some(because) = self.halted.clone() {
            self.set(id, State::Skipped { because });
        } else if inputs().any(|i| self.states[i] == State::Interrupted) {
            self.set(id, State::Interrupted);
        } else if inputs().all(|i| self.briefs.has(i)) {
            self.decide(id);
        }
    }

    /// The node to blame if this one will never have outputs.
    fn broken(&self, id: NodeId) -> Option<String> {
        match &self.states[id] {
            State::Failed { .. } => Some(self.name(id)),
            State::Skipped { because } => Some(because.clone()),
            _ => None,
        }
    }

    /// Where it runs and bytes of its inputs are gone, the nodes that make them are invalidated, and it goes on waiting.
    fn decide(&mut self, id: NodeId) {
        let settled = |d: &Decision| !matches!(d.verdict, Verdict::Maybe { .. });
        let planned = match self.planned.remove(id).filter(settled) {
            Some(planned) => planned,
            None => match self.planner.decide(id, &|above| self.briefs.get(above)) {
                Ok(planned) => planned,
                Err(error) => return self.give_up(id, &error),
            },
        };
        if let Some(text) = self.planner.take_remark(id) {
            self.log(id, text);
        }
        let (reasons, resumable, resumed) = match planned.verdict {
            Verdict::Hit(brief) => return self.use_hit(id, *brief),
            Verdict::Run(reasons) => (reasons, false, None),
            Verdict::Resume { reasons, fraction } => (reasons, true, fraction),
            Verdict::Maybe { .. } => unreachable!("all inputs are known"),
            Verdict::Needs { .. } => unreachable!("no run begins while files are absent"),
        };
        let evicted: Vec<NodeId> = self
            .graph
            .node(id)
            .inputs
            .values()
            .map(|edge| edge.node)
            // What a remote may have is pulled when this node starts.
            .filter(|above| {
                let brief = &self.briefs[*above];
                brief.evicted && !self.store.may_pull(&brief.key)
            })
            .collect();
        if !evicted.is_empty() {
            return evicted.into_iter().for_each(|above| self.invalidate(above));
        }
        let manifest = planned
            .manifest
            .expect("a node whose inputs are known has a manifest");
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
        let ready = Ready { key, manifest };
        self.ready.insert(id, self.remaining[id], ready);
    }

    /// A hit, once its bytes are here where somebody asked for them.
    pub(super) fn use_hit(&mut self, id: NodeId, brief: RecordSummary) {
        if brief.evicted && self.planner.needs(id) && self.store.may_pull(&brief.key) {
            return self.errands.ask(Errand::Bytes(id, Box::new(brief)));
        }
        self.hit(id, brief);
    }

    /// A hit whose bytes are needed and gone: it is decided anew, and will run.
    pub(super) fn invalidate(&mut self, id: NodeId) {
        if self.briefs.remove(id).is_some() {
            self.planner.lose(id);
            self.set(id, State::Waiting);
        }
    }

    pub(super) fn hit(&mut self, id: NodeId, brief: RecordSummary) {
        if let Err(error) = self.store.keep([&brief.key].into_iter()) {
            return self.give_up(id, &error);
        }
        let plan_key = self.planner.plan_key(id);
        if !self.planner.index().remembers(plan_key, &brief.key) {
            self.store.remember(plan_key, &brief.key);
        }
        self.set(
            id,
            State::Hit {
                key: brief.key.clone(),
                saved_seconds: brief.cost.seconds,
            },
        );
        self.briefs.insert(id, brief);
    }

    /// The store does not work: what runs may finish, nothing new starts.
    pub(super) fn give_up(&mut self, id: NodeId, error: &anyhow::Error) {
        let message = format!("{error:#}");
        self.trouble.get_or_insert_with(|| message.clone());
        let failed = State::Failed {
            message,
            tail: String::new(),
            class: Class::Environment,
            peak_bytes: None,
        };
        self.fail(id, failed);
    }

    pub(super) fn fail(&mut self, id: NodeId, failed: State) {
        self.ready.remove(id);
        self.set(id, failed);
        if self.settings.fail_fast {
            let because = self.name(id);
            self.halted.get_or_insert(because.clone());
            for other in self.ready.take() {
                let because = because.clone();
                self.set(other, State::Skipped { because });
            }
            let all = self.states.iter();
            let waiting = all.filter(|(_, state)| **state == State::Waiting);
            self.due.extend(waiting.map(|(id, _)| id));
        }
        self.advance();
    }

    pub(super) fn check_stop(&mut self) {
        let requests = self.settings.stop.requests();
        if requests == 0 && self.trouble.is_none() {
            return;
        }
        for id in self.ready.take() {
            self.set(id, State::Interrupted);
        }
        self.advance();
        if requests == 0 {
            return;
        }
        let tasks = self.running.values().filter_map(|r| r.task.as_deref());
        let there = self.settings.executor.elsewhere();
        // Jobs have as long as their profile says; that is looked at where they are.
        let late = |since: Instant| there.is_none() && since.elapsed() > STOP_GRACE;
        match self.stopping {
            _ if self.settings.stop.leaves() => tasks.for_each(<dyn Task>::leave),
            None => {
                tasks.for_each(<dyn Task>::stop);
                self.stopping = Some(Instant::now());
            }
            Some(since) if requests > 1 || late(since) => tasks.for_each(<dyn Task>::kill),
            Some(_) => {}
        }
    }

    /// An engine that died between a record and the removal of its attempts left them.
    fn sweep_leftovers(&self) {
        let keys: BTreeMap<&str, &Key> = self
            .briefs
            .values()
            .map(|b| (b.key.short(), &b.key))
            .collect();
        for attempt in Attempt::all(self.store).unwrap_or_default() {
            let name = attempt.name();
            let Some(key) = name.split('-').next().and_then(|short| keys.get(short)) else {
                continue;
            };
            // One that says nothing died while it was made, which happens under the lock of its key.
            let anothers = attempt.spec().is_ok_and(|spec| spec.key != **key);
            if !anothers && let Ok(Some(_lock)) = self.store.try_lock(key) {
                let _ = attempt.remove(); // What stays is litter.
            }
        }
    }

    pub(super) fn finish(mut self, started: Instant) -> Outcome {
        self.leasing.end();
        self.sweep_leftovers();
        self.store.sources().save(&self.store.tmp());
        self.store.seen().save(&self.store.tmp());
        match self.made.is_empty() {
            true => self.planner.index().save(),
            false => Index::open(self.store).refreshed().save(),
        }
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
                brief: self.briefs.remove(id),
                spent: self.spent.remove(&id).unwrap_or_default(),
            })
            .collect();
        let mut outcome = Outcome {
            run: self.run.clone(),
            nodes,
            trouble: self.trouble.take(),
            limited: None,
        };
        let cut = outcome.nodes.iter().any(|n| n.state == State::Interrupted);
        if cut && self.settings.stop.requests() == 0 {
            outcome.limited = self.limited.reached.take().map(|(_, told)| told);
        }
        let end = match outcome.failure() {
            None => End::Whole,
            Some(Failure::Nodes(_)) => End::Failed,
            Some(Failure::Environment(_) | Failure::Refused(_)) => End::Environment,
            Some(Failure::Interrupted | Failure::Limit(_)) => End::Interrupted,
        };
        self.emit(Event::RunEnded {
            end,
            seconds: started.elapsed().as_secs_f64(),
            counts,
        });
        if outcome.trouble.is_none() {
            outcome.trouble = self.journal.trouble().map(str::to_string);
        }
        self.store.settle_leases(LEASES);
        outcome
    }
}
