//! What a whole run may ask of services. When it is reached, nodes that ask are told to stop, as by Ctrl-C, and no other such node
//! starts; everything else goes on. What is in flight by then still comes, is paid and kept.

use super::{Exec, STOP_GRACE};
use crate::events::event::{Event, State};
use crate::graph::NodeId;
use crate::plan::estimate::Basis;
use crate::plan::{CallsTotal, Plan, names_service};
use crate::run::executor::Task;
use base::calls::Calls;
use base::text::{count, dollars, thousands};
use std::time::{Duration, Instant};

/// How often what running workers wrote down is read.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Of all nodes of a run together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limit {
    pub dollars: Option<f64>,
    /// Calls made, not those that the journal answered.
    pub calls: Option<u64>,
}

impl Limit {
    pub fn is_none(&self) -> bool {
        *self == Limit::default()
    }

    /// Why nothing of a plan may start, where what is counted of its calls is more than this.
    pub fn refuses(&self, plan: &Plan) -> Option<String> {
        let mut counted = CallsTotal::default();
        for calls in plan.nodes.iter().filter_map(|p| p.estimate.calls.as_ref()) {
            if calls.by == Basis::Counted {
                counted.add(calls);
            }
        }
        let dear = self.dollars.filter(|limit| counted.dollars > *limit);
        let dear = dear.map(|limit| format!("`--max-usd` is {}", dollars(limit)));
        let many = self.calls.filter(|limit| counted.make > *limit);
        let many = many.map(|limit| format!("`--max-calls` is {}", thousands(limit)));
        let limit = dear.or(many)?;
        Some(format!(
            "the plan may make {} for up to {}, and {limit}; nothing was started. Allow as much, ask for less, or give the nodes \
             a `budget_dollars` or `budget_tokens`, which stops before it is exceeded",
            count(counted.make, "call", "calls"),
            dollars(counted.dollars)
        ))
    }

    /// Which part of it is reached, in words.
    fn reached(&self, spent: &Calls) -> Option<String> {
        let calls = count(spent.made, "call", "calls");
        let paid = dollars(spent.dollars);
        if let Some(limit) = self.dollars
            && spent.dollars > 0.0
            && spent.dollars >= limit
        {
            let limit = dollars(limit);
            return Some(format!("{paid} of {limit} are spent, in {calls}"));
        }
        let limit = self.calls.filter(|n| spent.made > 0 && spent.made >= *n)?;
        Some(format!("{calls} of {limit} are made, for {paid}"))
    }
}

/// How far a run is with its limit.
#[derive(Default)]
pub(super) struct Limited {
    looked: Option<Instant>,
    /// Since when it is reached, and what to say of it.
    pub reached: Option<(Instant, String)>,
}

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
            let spent = self.spent();
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
    fn spent(&mut self) -> Calls {
        for running in self.running.values_mut().filter(|r| r.task.is_some()) {
            let now = running.attempt.usage().calls;
            // While it is written it reads as nothing.
            if now.made >= running.calls.made {
                running.calls = now;
            }
        }
        let mut spent = Calls::default();
        self.called.values().for_each(|calls| spent.add(calls));
        let live = self.running.values().filter(|r| r.task.is_some());
        live.for_each(|running| spent.add(&running.calls));
        spent
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
