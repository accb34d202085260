//! Why a node runs or does not, as data for `pipe why`.

use super::decision::Decision;
use super::planned::{Plan, Planned, find};
use super::planner::{Planner, Wanted};
use crate::graph::changes::Reason;
use crate::graph::changes::changes;
use crate::graph::manifest::facts;
use crate::graph::{Graph, NodeId};
use crate::plan::history::History;
use crate::plan::overrides;
use crate::plan::overrides::Override;
use crate::plan::verdict::Verdict;
use crate::store::Store;
use crate::store::record::{Provenance, Record};
use anyhow::Result;
use base::hash::{Digest, Key};
use std::collections::{BTreeMap, BTreeSet};

pub struct Why {
    pub planned: Planned,
    /// The text behind its key, where that is known.
    pub manifest: Option<String>,
    /// The record the reasons compare with, or the record that is the hit.
    pub record: Option<Made>,
    /// For inputs that changed, what changed above them: from the nearest cause to the root.
    pub causes: Vec<Cause>,
    /// Nobody executed the node's own record.
    pub vouched: Option<Override>,
    /// Nor those of these nodes above it, the nearest first.
    pub rests_on: Vec<(String, Override)>,
}

/// A record in a sentence: when, by whom, at what price.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    pub key: Key,
    pub provenance: Provenance,
    pub started_ms: u64,
    /// What a hit saves.
    pub seconds: f64,
    pub dollars: f64,
    /// Digest by port.
    pub inputs: BTreeMap<String, String>,
    /// What stood for the contents of files, by parameter.
    pub sources: BTreeMap<String, String>,
}

/// A node above, and why its output is not what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    pub node: String,
    pub reasons: Vec<Reason>,
    /// Nothing above it changed: this is where it began.
    pub root: bool,
}

pub fn why(store: &Store, graph: &Graph, id: NodeId, wanted: &Wanted) -> Result<Why> {
    let wanted = Wanted {
        only: vec![id],
        fresh: wanted.fresh.clone(),
    };
    let planner = Planner::new(store, graph, &wanted)?;
    let mut plan = Plan::with_calls_of(store, graph, &planner, id)?.nodes;
    planner.leave_remarks();
    let mut causes = vec![];
    let at = plan
        .iter()
        .position(|p| p.decision.id == id)
        .expect("a plan holds what was asked for");
    let explaining = explaining(graph, id, &plan[at].decision, &plan);
    for above in explaining.into_iter().rev().filter(|n| *n != id) {
        let decision = find(&plan, above).expect("a plan holds what a node needs");
        if !decision.verdict.reasons().is_empty() {
            let reasons = decision.verdict.reasons().to_vec();
            let root = !reasons.iter().any(|r| matches!(r, Reason::Input { .. }));
            causes.push(Cause {
                node: graph.node(above).name.clone(),
                reasons,
                root,
            });
        }
    }
    let reasons = plan[at].decision.verdict.reasons();
    let by_input = reasons.iter().any(|r| matches!(r, Reason::Input { .. }));
    // All records are read for it.
    if causes.is_empty() && by_input {
        trace(graph, planner.history(), id, reasons, &mut causes);
    }
    let rests_on = overrides::above(store, graph, id, &plan);
    let own = plan[at]
        .decision
        .key
        .clone()
        .and_then(|key| store.record(&key).ok()?);
    let planned = plan.swap_remove(at);
    let manifest = planned.decision.manifest.as_ref();
    let manifest = manifest.map(|m| m.text().to_string());
    let manifest = manifest.or_else(|| own.as_ref().map(|record| record.manifest.clone()));
    let record = match (&planned.decision.verdict, &planned.decision.compared) {
        (Verdict::Hit(brief), _) => store.record(&brief.key)?.as_ref().map(made),
        (_, Some(key)) => store.record(key)?.as_ref().map(made),
        (_, None) => None,
    };
    Ok(Why {
        planned,
        manifest,
        record,
        causes,
        vouched: own.as_ref().and_then(overrides::vouched),
        rests_on,
    })
}

/// The nodes whose verdicts explain this one: of a node that waits for others, those and what they wait for. Below a node that is
/// certainly reused, what its own inputs do has no effect.
fn explaining(
    graph: &Graph,
    id: NodeId,
    decision: &Decision,
    plan: &[Planned],
) -> BTreeSet<NodeId> {
    let Verdict::Maybe { after, .. } = &decision.verdict else {
        return BTreeSet::new();
    };
    let mut open = after.clone();
    let mut seen = BTreeSet::from([id]);
    while let Some(next) = open.pop() {
        if !seen.insert(next) {
            continue;
        }
        if let Some(Verdict::Maybe { .. }) = find(plan, next).map(|d| &d.verdict) {
            open.extend(graph.node(next).inputs.values().map(|e| e.node));
        }
    }
    seen
}

/// Follows changed inputs upwards through the records that made the old and the new content.
fn trace(
    graph: &Graph,
    history: &History,
    id: NodeId,
    reasons: &[Reason],
    causes: &mut Vec<Cause>,
) {
    for reason in reasons {
        let Reason::Input {
            port,
            was: Some(was),
            now: Some(now),
        } = reason
        else {
            continue;
        };
        let Some(edge) = graph.node(id).inputs.get(port.as_str()) else {
            continue;
        };
        let above = graph.node(edge.node);
        let maker = |digest: &str| {
            history.maker(&Digest::parse(digest)?, above.kind.name, above.plain_name())
        };
        let (Some(old), Some(new)) = (maker(was), maker(now)) else {
            continue;
        };
        if causes.iter().any(|c| c.node == above.name) {
            continue;
        }
        let reasons = changes(&old.manifest, &new.manifest);
        let root = !reasons.iter().any(|r| matches!(r, Reason::Input { .. }));
        causes.push(Cause {
            node: above.name.clone(),
            reasons: reasons.clone(),
            root,
        });
        trace(graph, history, edge.node, &reasons, causes);
    }
}

fn made(record: &Record) -> Made {
    let facts = facts(&record.manifest);
    let section = |section: &str| -> BTreeMap<String, String> {
        let own = facts.iter().filter_map(|(fact, content)| {
            let (is, name) = fact.split_once(' ')?;
            // An input is a type and a digest.
            let content = content.rsplit(' ').next()?;
            (is == section).then(|| (name.to_string(), content.to_string()))
        });
        own.collect()
    };
    Made {
        inputs: section("input"),
        sources: section("source"),
        key: record.key.clone(),
        provenance: record.provenance.clone(),
        started_ms: record.cost.started_ms,
        seconds: record.cost.seconds,
        dollars: record.cost.dollars,
    }
}
