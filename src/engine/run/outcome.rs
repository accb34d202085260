//! How a run ended.

use crate::events::event::State;
use crate::graph::NodeId;
use crate::kind::failure::Failure;
use crate::store::index::RecordSummary;
use crate::store::record::Cost;

/// How every node ended.
pub struct Outcome {
    /// Id of the run in the store.
    pub run: String,
    /// By node, in graph order: its final state, what its record says where it has one.
    pub nodes: Vec<NodeEnd>,
    /// What became unusable on the way: the disk is full, say.
    pub trouble: Option<String>,
    /// What was spent when the limit of the run was reached, where nodes were stopped for it.
    pub limited: Option<String>,
}

pub struct NodeEnd {
    pub id: NodeId,
    pub name: String,
    pub state: State,
    pub brief: Option<RecordSummary>,
    /// What its attempts in this run took, whatever became of it. Its record may be an earlier one, or hold work of earlier runs too.
    pub spent: Cost,
}

impl NodeEnd {
    /// What its artifact took: in this run, where that made it; else by its record.
    pub fn cost(&self) -> Option<&Cost> {
        match self.state {
            State::Done { .. } => Some(&self.spent),
            _ => self.brief.as_ref().map(|b| &b.cost),
        }
    }
}

impl Outcome {
    /// The worst that happened.
    pub fn failure(&self) -> Option<Failure> {
        if let Some(trouble) = &self.trouble {
            return Some(Failure::Environment(anyhow::anyhow!("{trouble}")));
        }
        let failed: Vec<(String, String)> = self
            .nodes
            .iter()
            .filter_map(|n| match &n.state {
                State::Failed { message, .. } => Some((n.name.clone(), message.clone())),
                _ => None,
            })
            .collect();
        if let Some(told) = &self.limited {
            return Some(Failure::Limit(told.clone()));
        }
        if self.nodes.iter().any(|n| n.state == State::Interrupted) {
            return Some(Failure::Interrupted);
        }
        (!failed.is_empty()).then_some(Failure::Nodes(failed))
    }

    pub fn find(&self, name: &str) -> Option<&NodeEnd> {
        self.nodes.iter().find(|n| n.name == name)
    }
}
