//! Which calls to services a node will make, counted by its inputs and the journal of calls: nobody is asked anything.

use super::decision::{self, Decision};
use super::estimate::{Basis, CallsEstimate};
use super::layout::Layout;
use super::verdict::Verdict;
use crate::graph::{Graph, NodeId};
use crate::kind::CountCalls;
use crate::kind::estimate::NodePreview;
use crate::store::Store;
use crate::store::paths::located;
use crate::store::record::Artifact;
use anyhow::{Context, Result};
use base::calls::Calls;
use base::value::{Value, Values};
use std::collections::BTreeMap;

/// The calls of a node that has to run; nothing for one that asks nobody. `all`: what is decided of the nodes of its plan. What
/// cannot be counted, whatever the reason, is told as a problem of the estimate: nothing runs any less for it.
pub(super) fn of_node(
    store: &Store,
    graph: &Graph,
    all: &[Decision],
    decision: &Decision,
) -> Option<CallsEstimate> {
    let node = graph.node(decision.id);
    let count = node
        .kind
        .count_calls
        .filter(|_| names_service(&node.exec))?;
    match counted(store, graph, all, decision, count) {
        Ok(estimate) => estimate,
        Err(error) => Some(as_before(decision, vec![], Some(format!("{error:#}")))),
    }
}

fn counted(
    store: &Store,
    graph: &Graph,
    all: &[Decision],
    decision: &Decision,
    count: CountCalls,
) -> Result<Option<CallsEstimate>> {
    let node = graph.node(decision.id);
    let (inputs, after) = inputs(store, graph, all, decision.id)?;
    if !after.is_empty() {
        return Ok(Some(as_before(decision, after, None)));
    }
    let layout = Layout::new(store);
    let mut folders = BTreeMap::new();
    for (port, artifact) in &inputs {
        folders.insert(*port, layout.add(port, artifact)?);
    }
    let params = located(node.kind, &node.params);
    let preview = NodePreview {
        inputs: folders,
        ..NodePreview::new(&node.params, &params, &node.exec)
    };
    let calls = count(&preview, &store.calls())?;
    Ok((!calls.is_zero()).then(|| CallsEstimate {
        by: Basis::Counted,
        ..of(&calls)
    }))
}

fn of(calls: &Calls) -> CallsEstimate {
    CallsEstimate {
        make: calls.made,
        in_journal: calls.reused,
        tokens: calls.tokens(),
        dollars: calls.dollars,
        ..CallsEstimate::default()
    }
}

fn as_before(decision: &Decision, after: Vec<String>, problem: Option<String>) -> CallsEstimate {
    let before = decision.earlier.as_ref().map(|e| e.calls);
    let before = before.unwrap_or_default();
    let by = match before.is_zero() {
        true => Basis::Unknown,
        false => Basis::Measured,
    };
    CallsEstimate {
        by,
        after,
        problem,
        ..of(&before)
    }
}

type Inputs = Vec<(&'static str, Artifact)>;

/// The artifacts that a node is made from, and the names of the nodes whose artifacts are not there.
fn inputs(
    store: &Store,
    graph: &Graph,
    all: &[Decision],
    id: NodeId,
) -> Result<(Inputs, Vec<String>)> {
    let (mut inputs, mut after) = (vec![], vec![]);
    for (port, edge) in &graph.node(id).inputs {
        let above = decision::find(all, edge.node).expect("a plan holds what a node needs");
        let name = &graph.node(edge.node).name;
        match &above.verdict {
            Verdict::Hit(brief) if !brief.evicted => {
                let record = store.record(&brief.key)?;
                let mut record =
                    record.with_context(|| format!("the record of `{name}` is gone"))?;
                let artifact = record.outputs.remove(edge.output);
                let artifact =
                    artifact.with_context(|| format!("`{name}` has no `{}`", edge.output))?;
                inputs.push((*port, artifact));
            }
            _ if after.contains(name) => {}
            _ => after.push(name.clone()),
        }
    }
    Ok((inputs, after))
}

/// Whether an execution parameter says where a service is.
pub(crate) fn names_service(exec: &Values) -> bool {
    exec.iter().any(|(name, value)| is_url(name, value))
}

fn is_url(name: &str, value: &Value) -> bool {
    match value {
        Value::Str(_) => name == "url" || name.ends_with("_url"),
        Value::List(items) => items.iter().any(|item| is_url(name, item)),
        Value::Table(map) => map.iter().any(|(name, value)| is_url(name, value)),
        _ => false,
    }
}
