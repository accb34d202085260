//! What would run, and why. A run asks the same question of the same planner once the inputs of a node are known, so a plan and a
//! run cannot disagree.

mod asking;
mod calls;
mod decision;
mod devices;
pub mod estimate;
pub mod history;
pub mod layout;
pub mod overrides;
mod planned;
mod planner;
mod scale;
pub mod verdict;
pub mod why;

use crate::graph::Graph;
use crate::store::Store;
use anyhow::Result;
pub use asking::Asking;
pub(crate) use calls::names_service;
pub use decision::{Decision, Earlier, Outputs, find, outputs};
pub(crate) use planned::SLACK;
pub use planned::{CallsTotal, Plan, Planned, PlannedNode};
pub use planner::{Planner, Wanted};

/// What would be done with every node, and what that takes, its calls to services counted.
pub fn plan(store: &Store, graph: &Graph, wanted: &Wanted) -> Result<Plan> {
    plan_asking(store, graph, wanted, Asking::Some)
}

/// As `plan`; of how many keys that its index lacks the remote is asked.
pub fn plan_asking(store: &Store, graph: &Graph, wanted: &Wanted, asking: Asking) -> Result<Plan> {
    let planner = Planner::new(store, graph, wanted)?;
    let mut plan = Plan::beyond_index(store, graph, &planner, asking)?;
    let remarks = planner.selected().iter();
    plan.remarks = remarks
        .filter_map(|id| Some((*id, planner.take_remark(*id)?)))
        .collect();
    plan.moved = devices::moved(store, graph, &plan.nodes);
    Ok(plan)
}

/// What would be done with every node, in graph order; for who asks no more than that. What went wrong with the remote is among the
/// store's remarks.
pub fn decide(store: &Store, graph: &Graph, wanted: &Wanted) -> Result<Vec<Decision>> {
    let planner = Planner::new(store, graph, wanted)?;
    let decided = asking::decide(store, &planner, Asking::Some);
    planner.leave_remarks();
    decided
}
