//! A plan: what is decided of every node, and what it is expected to take. Made whole by one call; nothing changes it.

use super::asking::{self, Asking};
use super::calls;
use super::decision::Decision;
use super::estimate::{Basis, CallsEstimate, Estimate, Formula, Speed, speed};
use super::planner::Planner;
use super::scale;
use super::verdict::Verdict;
use crate::graph::changes::Reason;
use crate::graph::{Edge, Graph, Node, NodeId};
use crate::kind::Needs;
use crate::kind::estimate::{ArtifactEstimate, NodePreview, Work};
use crate::store::Store;
use crate::store::paths::located;
use anyhow::Result;
use base::device::Moved;
use base::hash::Key;
use base::value::Values;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// In graph order.
pub struct Plan {
    pub nodes: Vec<Planned>,
    /// By kind; none where nothing has to run of which formulas tell anything.
    pub speeds: BTreeMap<String, Speed>,
    /// What went wrong with the remote, by node, in a plan that nobody runs: a run tells it where it decides.
    pub remarks: BTreeMap<NodeId, String>,
    /// Nodes that are made again on another device than before, in a plan that nobody runs.
    pub moved: BTreeMap<NodeId, Moved>,
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
    /// `hit`, `run`, `resume`, `maybe`, or `needs` where files that it names are not here.
    pub verdict: String,
    pub reasons: Vec<Reason>,
    pub key: Option<Key>,
    /// That it takes while it runs.
    #[serde(default, skip_serializing_if = "is_none")]
    pub gpus: usize,
    /// The nodes that it gets its inputs from, each once, in graph order; none of a hit, which waits for nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<String>,
    /// By an earlier record of the node, put into relation to what there is to do by now, or by the formulas of its kind at a speed that
    /// was recorded; what is left of it where an attempt goes on. 0 of a hit; absent where nobody can say.
    pub expected_seconds: Option<f64>,
    /// It takes no more than that: the formulas count every answer as long as it may be. False in journals of older versions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expected_at_most: bool,
    /// Known as the seconds are; where its calls were counted, no more than these cost.
    #[serde(default)]
    pub expected_dollars: Option<f64>,
    /// Its calls to services, where it makes any and they were counted: in `pipe plan`, and in a run that has a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_calls: Option<CallsEstimate>,
}

fn is_none(gpus: &usize) -> bool {
    *gpus == 0
}

impl Plan {
    /// Calls to services are not told: to count them, every input of a node that asks is read.
    pub fn new(graph: &Graph, planner: &Planner) -> Result<Plan> {
        Plan::of(graph, planner, planner.decide_all()?, |_, _| None)
    }

    /// With the calls to services that each node will make.
    pub(crate) fn with_calls(store: &Store, graph: &Graph, planner: &Planner) -> Result<Plan> {
        Plan::of(graph, planner, planner.decide_all()?, |all, one| {
            calls::of_node(store, graph, all, one)
        })
    }

    /// With the calls, and what a remote has beyond its index.
    pub(super) fn beyond_index(
        store: &Store,
        graph: &Graph,
        planner: &Planner,
        asking: Asking,
    ) -> Result<Plan> {
        let decisions = asking::decide(store, planner, asking)?;
        Plan::of(graph, planner, decisions, |all, one| {
            calls::of_node(store, graph, all, one)
        })
    }

    /// With the calls of this node alone.
    pub(super) fn with_calls_of(
        store: &Store,
        graph: &Graph,
        planner: &Planner,
        id: NodeId,
    ) -> Result<Plan> {
        let decisions = asking::decide(store, planner, Asking::Some)?;
        Plan::of(graph, planner, decisions, |all, one| match one.id == id {
            true => calls::of_node(store, graph, all, one),
            false => None,
        })
    }

    fn of(
        graph: &Graph,
        planner: &Planner,
        decisions: Vec<Decision>,
        calls: impl Fn(&[Decision], &Decision) -> Option<CallsEstimate>,
    ) -> Result<Plan> {
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
            moved: BTreeMap::new(),
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
    // As the recipe says; and, where it was not the same, as it was when the earlier records were made.
    let (mut given, mut given_then) = (Given::new(), Given::new());
    for (decision, estimate) in decisions.iter().zip(estimates) {
        let node = graph.node(decision.id);
        let Some(work) = work(node, &node.params, |from| given.get(from)) else {
            continue;
        };
        let params = scale::params_then(planner, node, decision);
        let mut then = None;
        let other = |edge: &Edge| given_then.contains_key(&edge.node);
        if params.is_some() || node.inputs.values().any(other) {
            let above = |from: &NodeId| given_then.get(from).or_else(|| given.get(from));
            let params_then = params.as_ref().unwrap_or(&node.params);
            then = self::work(node, params_then, above);
        }
        let scaled = match &then {
            Some(then) if params.is_some() && runs(decision) => {
                estimate.scale(decision, &work, then)
            }
            _ => false,
        };
        given.insert(decision.id, work.outputs);
        given_then.extend(then.map(|then| (decision.id, then.outputs)));
        if runs(decision) {
            let speed = speed(&speeds, node.kind.name).filter(|_| work.flop > 0.0);
            let formula = Formula {
                calls: work.calls.filter(|c| !c.is_zero()),
                flop: work.flop,
                memory: work.memory,
                device_memory: work.device_memory,
                seconds: speed.map(|s| work.flop / s.flop_per_second),
                told: work.told,
            };
            estimate.with_formula(formula, decision, scaled);
        }
    }
    speeds
}

/// By node, what is known of its outputs.
type Given = BTreeMap<NodeId, GivenOutputs>;
type GivenOutputs = BTreeMap<&'static str, ArtifactEstimate>;

/// What the formulas of a kind say of a node with these parameters. Of parameters that a kind cannot read nothing can be told, and
/// `check` has said so.
fn work<'g>(
    node: &Node,
    params: &Values,
    given: impl Fn(&NodeId) -> Option<&'g GivenOutputs>,
) -> Option<Work> {
    let mut expected = BTreeMap::new();
    for (port, edge) in &node.inputs {
        let of = given(&edge.node).and_then(|outputs| outputs.get(edge.output));
        expected.extend(of.map(|artifact| (*port, artifact.clone())));
    }
    let here = located(node.kind, params);
    let preview = NodePreview {
        expected,
        ..NodePreview::new(params, &here, &node.exec)
    };
    node.kind.estimate?(&preview).ok()
}

/// So many times what it took: another machine may be slower.
pub(crate) const SLACK: f64 = 2.0;

impl Planned {
    /// What the node needs: what was said of it, and else what is expected, with something to spare.
    pub fn needs(&self, graph: &Graph) -> Needs {
        const SPARE: f64 = 1.3;
        // What libraries and the device's own allocator take besides.
        const DEVICE_SPARE: f64 = 1.1;
        // In steps, so that nodes that are alike ask for the same.
        const MEMORY: u64 = 1 << 30;
        const HOURS: f64 = 0.25;
        let mut needs = graph.node(self.decision.id).needs();
        let estimate = &self.estimate;
        let formula = estimate.formula.as_ref();
        let peak = match estimate.is_measured() {
            true => estimate.peak_bytes as f64,
            false => formula.map_or(0.0, |f| f.memory),
        };
        if needs.memory.is_none() && peak > 0.0 {
            needs.memory = Some(((peak * SPARE) as u64).next_multiple_of(MEMORY));
        }
        if let Some(device) = formula.and_then(|f| f.device_memory.as_ref())
            && needs.gpus > 0
            && needs.gpu_memory.is_none()
        {
            let bytes = (device.bytes * DEVICE_SPARE) as u64;
            needs.gpu_memory = Some(bytes.next_multiple_of(MEMORY));
        }
        if needs.hours.is_none() && estimate.is_measured() {
            let hours = estimate.seconds * SLACK / 3600.0;
            needs.hours = Some((hours / HOURS).ceil().max(1.0) * HOURS);
        }
        needs
    }

    pub fn line(&self, graph: &Graph) -> PlannedNode {
        let (decision, estimate) = (&self.decision, &self.estimate);
        let node = graph.node(decision.id);
        let known = estimate.is_known();
        let waits = !matches!(decision.verdict, Verdict::Hit(_));
        let above = node.inputs.values().filter(|_| waits);
        let above: BTreeSet<NodeId> = above.map(|edge| edge.node).collect();
        let above = above.into_iter().map(|id| graph.node(id).name.clone());
        PlannedNode {
            node: node.name.clone(),
            kind: node.kind.name.to_string(),
            verdict: decision.verdict.word().to_string(),
            reasons: decision.verdict.reasons().to_vec(),
            key: decision.key.clone(),
            gpus: node.needs().gpus,
            waits_for: above.collect(),
            expected_seconds: known.then_some(estimate.seconds),
            expected_at_most: estimate.is_at_most(),
            expected_dollars: known.then_some(estimate.dollars),
            expected_calls: estimate.calls.as_deref().cloned(),
        }
    }
}

/// What is decided of this node, in a plan that has it.
pub(super) fn find(plan: &[Planned], id: NodeId) -> Option<&Decision> {
    let place = plan.binary_search_by_key(&id, |p| p.decision.id).ok()?;
    Some(&plan[place].decision)
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
