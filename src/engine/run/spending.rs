//! When the limit of a run is reached, nodes that ask are told to stop, as by Ctrl-C, and no other such node
//! starts; everything else goes on. What is in flight by then still comes, is paid and kept.

use super::exec::{Exec, STOP_GRACE};
use super::executor::Task;
use crate::events::event::{Event, State};
use crate::graph::NodeId;
use crate::plan::names_service;
use base::calls::Calls;
use std::time::{Duration, Instant};

/// How often what running workers wrote down is read.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Exec<'_> {
    pub(super) fn check_limit(&mut self) {
        if self.settings.limit.is_none() {
            return;
        }
        if self.limited.reached.is_none() {
            let looked = &mut self.limited.looked;
            if looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
                return;
            }
            *looked = Some(Instant::now());
            let spent = self.asked();
            let Some(told) = self.settings.limit.reached(&spent) else {
                return;
            };
            self.limited.reached = Some((Instant::now(), told));
            self.stop_asking();
        }
        let since = self.limited.reached.as_ref().map(|r| r.0);
        if since.is_some_and(|since| since.elapsed() > STOP_GRACE) {
            let told = self.running.values().filter(|r| r.stop_requested);
            told.filter_map(|r| r.task.as_deref())
                .for_each(<dyn Task>::kill);
        }
        let ready = self.ready.longest_first();
        let cut: Vec<NodeId> = ready.filter(|id| self.asks(*id)).collect();
        if cut.is_empty() {
            return;
        }
        for id in cut {
            self.ready.remove(id);
            self.set(id, State::Interrupted);
        }
        self.advance();
    }

    /// What this run's attempts asked so far, those that go on included.
    fn asked(&mut self) -> Calls {
        for running in self.running.values_mut().filter(|r| r.task.is_some()) {
            if let Some(now) = running.attempt.usage_so_far() {
                running.calls = now.calls;
            }
        }
        let mut asked = Calls::default();
        self.spent
            .values()
            .for_each(|ended| asked.add(&ended.calls));
        let live = self.running.values().filter(|r| r.task.is_some());
        live.for_each(|running| asked.add(&running.calls));
        asked
    }

    fn stop_asking(&mut self) {
        let graph = self.graph;
        let mut told = vec![];
        for (id, running) in &mut self.running {
            if let (true, Some(task)) = (names_service(&graph.node(*id).exec), &running.task) {
                task.stop();
                running.stop_requested = true;
                told.push(*id);
            }
        }
        for id in told {
            self.emit(Event::Log {
                node: self.name(id),
                text: "the limit of the run is reached: it stops, and its answers are kept".into(),
            });
        }
    }

    fn asks(&self, id: NodeId) -> bool {
        names_service(&self.graph.node(id).exec)
    }
}
