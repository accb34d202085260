//! A plan: what is decided of every node, and what it is expected to take. Made whole by one call; nothing changes it.

use super::calls;
use super::estimate::{Basis, CallsEstimate, Estimate, Formula, Speed, speed};
use super::planner::{Decision, Planner};
use super::verdict::Verdict;
use crate::graph::changes::Reason;
use crate::graph::{Graph, NodeId};
use crate::kind::estimate::{ArtifactEstimate, NodePreview};
use crate::store::Store;
use crate::store::paths::located;
use anyhow::Result;
use base::hash::Key;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// In graph order.
pub struct Plan {
    pub nodes: Vec<Planned>,
    /// By kind; none where nothing has to run of which formulas tell anything.
    pub speeds: BTreeMap<String, Speed>,
    /// What went wrong with the remote, by node, in a plan that nobody runs: a run tells it where it decides.
    pub remarks: BTreeMap<NodeId, String>,
}

/// One node of a plan.
pub struct Planned {
    pub decision: Decision,
    pub estimate: Estimate,
}

/// A line of a plan, as the journal of a run keeps it and `pipe plan --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedNode {
    pub node: String,
    pub kind: String,
    /// `hit`, `run`, `resume` or `maybe`.
    pub verdict: String,
    pub reasons: Vec<Reason>,
    pub key: Option<Key>,
    /// From the nearest earlier record; what is left of it where an attempt goes on.
    pub expected_seconds: Option<f64>,
    /// Dollars, of the record that the seconds are of.
    #[serde(default)]
    pub expected_dollars: Option<f64>,
    /// Its calls to services, where it makes any and they were counted: in `pipe plan`, and in a run that has a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_calls: Option<CallsEstimate>,
}

impl Plan {
    /// Calls to services are not told: to count them, every input of a node that asks is read.
    pub fn new(graph: &Graph, planner: &Planner) -> Result<Plan> {
        Plan::of(graph, planner, |_, _| None)
    }

    /// With the calls to services that each node will make.
    pub(crate) fn with_calls(store: &Store, graph: &Graph, planner: &Planner) -> Result<Plan> {
        Plan::of(graph, planner, |all, one| {
            calls::of_node(store, graph, all, one)
        })
    }

    fn of(
        graph: &Graph,
        planner: &Planner,
        calls: impl Fn(&[Decision], &Decision) -> Option<CallsEstimate>,
    ) -> Result<Plan> {
        let decisions = planner.decide_all()?;
        let mut estimates: Vec<Estimate> = decisions.iter().map(Estimate::recorded).collect();
        for (estimate, decision) in estimates.iter_mut().zip(&decisions) {
            let runs = !matches!(decision.verdict, Verdict::Hit(_));
            if let Some(calls) = runs.then(|| calls(&decisions, decision)).flatten() {
                estimate.with_calls(calls);
            }
        }
        let speeds = by_formula(graph, planner, &decisions, &mut estimates);
        let nodes = decisions.into_iter().zip(estimates);
        let nodes = nodes.map(|(decision, estimate)| Planned { decision, estimate });
        Ok(Plan {
            nodes: nodes.collect(),
            speeds,
            remarks: BTreeMap::new(),
        })
    }
}

/// What formulas say, from the top of the graph to its end; and the speeds that were recorded here.
fn by_formula(
    graph: &Graph,
    planner: &Planner,
    decisions: &[Decision],
    estimates: &mut [Estimate],
) -> BTreeMap<String, Speed> {
    let runs = |d: &Decision| !matches!(d.verdict, Verdict::Hit(_));
    let tells = |d: &&Decision| runs(d) && graph.node(d.id).kind.estimate.is_some();
    if !decisions.iter().any(|d| tells(&d)) {
        return BTreeMap::new();
    }
    let speeds = planner.history().speeds().into_iter();
    let speeds: BTreeMap<String, Speed> = speeds
        .map(|(kind, brief)| (kind, Speed::of(&brief)))
        .collect();
    let mut given: BTreeMap<NodeId, BTreeMap<&'static str, ArtifactEstimate>> = BTreeMap::new();
    for (decision, estimate) in decisions.iter().zip(estimates) {
        let node = graph.node(decision.id);
        let Some(formulas) = node.kind.estimate else {
            continue;
        };
        let mut expected = BTreeMap::new();
        for (port, edge) in &node.inputs {
            let of = given.get(&edge.node).and_then(|o| o.get(edge.output));
            expected.extend(of.map(|artifact| (*port, artifact.clone())));
        }
        let params = located(node.kind, &node.params);
        let preview = NodePreview {
            expected,
            ..NodePreview::new(&node.params, &params, &node.exec)
        };
        // Of parameters that a kind cannot read, nothing can be told, and `check` has said so.
        let Ok(work) = formulas(&preview) else {
            continue;
        };
        given.insert(decision.id, work.outputs);
        if runs(decision) {
            let speed = speed(&speeds, node.kind.name).filter(|_| work.flop > 0.0);
            let formula = Formula {
                calls: work.calls.filter(|c| !c.is_zero()),
                flop: work.flop,
                memory: work.memory,
                seconds: speed.map(|s| work.flop / s.flop_per_second),
            };
            estimate.with_formula(formula, decision);
        }
    }
    speeds
}

impl Planned {
    pub fn line(&self, graph: &Graph) -> PlannedNode {
        let (decision, estimate) = (&self.decision, &self.estimate);
        let node = graph.node(decision.id);
        let known = estimate.is_known();
        PlannedNode {
            node: node.name.clone(),
            kind: node.kind.name.to_string(),
            verdict: decision.verdict.word().to_string(),
            reasons: decision.verdict.reasons().to_vec(),
            key: decision.key.clone(),
            expected_seconds: known.then_some(estimate.seconds),
            expected_dollars: known.then_some(estimate.dollars),
            expected_calls: estimate.calls.clone(),
        }
    }
}

/// Sums over a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallsTotal {
    pub make: u64,
    pub in_journal: u64,
    pub tokens: u64,
    pub dollars: f64,
    /// Nodes that are told by their earlier record.
    pub as_before: usize,
    /// Nodes of which nothing is known.
    pub unknown: usize,
}

impl CallsTotal {
    pub fn add(&mut self, calls: &CallsEstimate) {
        self.make += calls.make;
        self.in_journal += calls.in_journal;
        self.tokens += calls.tokens;
        self.dollars += calls.dollars;
        self.as_before += usize::from(calls.by == Basis::Measured);
        self.unknown += usize::from(calls.by == Basis::Unknown);
    }
}
