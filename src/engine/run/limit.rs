//! What a whole run may ask of services, of a plan before it starts and of what was spent since.

use crate::plan::estimate::Basis;
use crate::plan::{CallsTotal, Plan};
use base::calls::Calls;
use base::text::{count, dollars, thousands};

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
    pub(super) fn reached(&self, spent: &Calls) -> Option<String> {
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
