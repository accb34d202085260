//! Which calls to services the nodes of a plan will make. A reader of the plan, of artifacts and of the journal of calls: nobody is
//! asked anything.

use crate::graph::{Graph, NodeId};
use crate::kind::estimate::Look;
use crate::plan::layout::Layout;
use crate::plan::verdict::Verdict;
use crate::plan::{Plan, Planned};
use crate::store::Store;
use crate::store::paths::located;
use anyhow::{Context, Result};
use base::calls::Calls;
use base::value::{Value, Values};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is expected of a node that asks services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExpectedCalls {
    pub by: By,
    /// Calls to make: at most, or as many as the earlier record made.
    pub make: u64,
    /// Answers that the journal has, or that the earlier record found there.
    pub in_journal: u64,
    /// Of the calls to make, requests and answers together.
    pub tokens: u64,
    pub dollars: f64,
    /// Nodes that have to be made before it can be told.
    pub after: Vec<String>,
    /// Why it cannot be told although they are there.
    pub problem: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// What will be asked is known: it is at most this.
    Forecast,
    /// Only what the node did before is known.
    Record,
    /// Nothing is.
    #[default]
    Nothing,
}

/// Sums over a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    pub make: u64,
    pub in_journal: u64,
    pub tokens: u64,
    pub dollars: f64,
    /// Nodes that are told by their earlier record.
    pub as_before: usize,
    /// Nodes of which nothing is known.
    pub unknown: usize,
}

/// Tells it for every node that has to run and may ask somebody; free of charge for all others.
pub fn tell(store: &Store, graph: &Graph, plan: &mut Plan) -> Result<()> {
    for at in 0..plan.nodes.len() {
        let planned = &plan.nodes[at];
        let node = graph.node(planned.id);
        let asks = node.kind.forecast.is_some()
            && !matches!(planned.verdict, Verdict::Hit(_))
            && names_service(&node.exec);
        if asks {
            let told = one(store, graph, plan, planned)?;
            let planned = &mut plan.nodes[at];
            if let (Some(expected), Some(told)) = (&mut planned.expected, &told)
                && told.by == By::Forecast
            {
                expected.dollars = expected.dollars.min(told.dollars);
            }
            planned.calls = told;
        }
    }
    Ok(())
}

pub fn sum(plan: &Plan) -> Sum {
    let mut sum = Sum::default();
    for calls in plan.nodes.iter().filter_map(|p| p.calls.as_ref()) {
        sum.make += calls.make;
        sum.in_journal += calls.in_journal;
        sum.tokens += calls.tokens;
        sum.dollars += calls.dollars;
        sum.as_before += usize::from(calls.by == By::Record);
        sum.unknown += usize::from(calls.by == By::Nothing);
    }
    sum
}

/// Nothing for a node that turns out to ask nobody.
fn one(
    store: &Store,
    graph: &Graph,
    plan: &Plan,
    planned: &Planned,
) -> Result<Option<ExpectedCalls>> {
    let (inputs, after) = inputs(store, graph, plan, planned.id)?;
    if !after.is_empty() {
        return Ok(Some(as_before(planned, after, None)));
    }
    let layout = Layout::new(store);
    let mut folders = BTreeMap::new();
    for (port, artifact) in &inputs {
        folders.insert(*port, layout.add(port, artifact)?);
    }
    let node = graph.node(planned.id);
    let params = located(node.kind, &node.params);
    let look = Look {
        params: &params,
        exec: &node.exec,
        inputs: folders,
        most: 0,
    };
    let forecast = node.kind.forecast.expect("only such nodes are asked");
    Ok(match forecast(&look, &store.calls()) {
        Ok(calls) if calls.is_zero() => None,
        Ok(calls) => Some(ExpectedCalls {
            by: By::Forecast,
            ..of(&calls)
        }),
        Err(error) => Some(as_before(planned, vec![], Some(format!("{error:#}")))),
    })
}

fn of(calls: &Calls) -> ExpectedCalls {
    ExpectedCalls {
        make: calls.made,
        in_journal: calls.reused,
        tokens: calls.tokens(),
        dollars: calls.dollars,
        ..ExpectedCalls::default()
    }
}

fn as_before(planned: &Planned, after: Vec<String>, problem: Option<String>) -> ExpectedCalls {
    let before = planned.expected.map(|e| e.calls).unwrap_or_default();
    let by = match before.is_zero() {
        true => By::Nothing,
        false => By::Record,
    };
    ExpectedCalls {
        by,
        after,
        problem,
        ..of(&before)
    }
}

type Inputs = Vec<(&'static str, crate::store::record::Artifact)>;

/// The artifacts that a node is made from, and the names of the nodes whose artifacts are not there.
fn inputs(store: &Store, graph: &Graph, plan: &Plan, id: NodeId) -> Result<(Inputs, Vec<String>)> {
    let (mut inputs, mut after) = (vec![], vec![]);
    for (port, edge) in &graph.node(id).inputs {
        let above = plan
            .find(edge.node)
            .expect("a plan holds what a node needs");
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
pub fn names_service(exec: &Values) -> bool {
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
