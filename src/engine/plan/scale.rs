//! What an earlier record says of a node whose parameters, or those above it, were others then: what it took, times what the formulas of
//! its kind say of both. Formulas are upper bounds, and so is the answer only as far as their ratio is right.

use super::decision::Decision;
use super::estimate::Estimate;
use super::planner::Planner;
use crate::graph::Node;
use crate::graph::manifest::{facts, holds_paths};
use crate::kind::estimate::Work;
use base::value::{self, Value, Values};

/// The identity parameters of a node as they were in the record that its estimate is of; nothing where they are the same, or nobody
/// can say. Paths are in no manifest and stay.
pub(super) fn params_then(planner: &Planner, node: &Node, decision: &Decision) -> Option<Values> {
    let key = decision.earlier.as_ref()?.unlike.as_ref()?;
    let record = planner.history().record(key)?;
    let specs = (node.kind.params)();
    let mut params = Values::new();
    for spec in &specs {
        if holds_paths(&spec.ty)
            && let Some(path) = value::at(&node.params, spec.name)
        {
            value::put(&mut params, spec.name, path.clone());
        }
    }
    for (fact, text) in facts(&record.manifest) {
        if let Some(name) = fact.strip_prefix("param ") {
            let then: Value = serde_json::from_str(text).ok()?;
            match (params.get_mut(name), then) {
                // A table that holds a path.
                (Some(Value::Table(paths)), Value::Table(then)) => value::merge(paths, &then),
                (_, then) => drop(params.insert(name.into(), then)),
            }
        }
    }
    Some(params)
}

/// How much more it is now than then, by what is known of both.
fn ratio(now: f64, then: f64) -> Option<f64> {
    (now > 0.0 && then > 0.0).then(|| now / then)
}

impl Estimate {
    /// Takes what the record took for what it is by now. Whether anything can be said.
    pub(super) fn scale(&mut self, decision: &Decision, now: &Work, then: &Work) -> bool {
        let calls = |work: &Work| work.calls.map_or(0.0, |c| c.made as f64);
        let dollars = |work: &Work| work.calls.map_or(0.0, |c| c.dollars);
        let asked = ratio(calls(now), calls(then));
        let amount = || ratio(now.amount, then.amount).or(asked);
        let Some(work) = ratio(now.flop, then.flop).or_else(amount) else {
            return false;
        };
        self.seconds *= work;
        let took = decision.earlier.as_ref().map_or(0.0, |e| e.dollars);
        let paid = took * ratio(dollars(now), dollars(then)).or(asked).unwrap_or(1.0);
        self.dollars = self.at_most_counted(paid);
        let memory = ratio(now.memory, then.memory).unwrap_or(1.0);
        self.peak_bytes = (self.peak_bytes as f64 * memory) as u64;
        true
    }
}
