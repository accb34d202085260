//! One recipe under one choice of its axes, with what the store holds of it: what is compared, tabulated and reported.

use crate::base::claim::{Axes, Claim};
use crate::engine::graph::{Graph, NodeId};
use crate::engine::record::Record;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub struct Side {
    /// The recipe's name.
    pub recipe: String,
    /// The recipe's file, or the run it was read from.
    pub file: PathBuf,
    pub axes: Axes,
    /// Its own nodes under their own names. Two sides share a node when its records have the same key.
    pub graph: Graph,
    /// By node of `graph`: the record that it has now.
    pub records: BTreeMap<NodeId, Record>,
    /// Descriptions of nodes, by node.
    pub notes: BTreeMap<String, String>,
    pub claims: Vec<Claim>,
}

impl Side {
    /// `tars`, `lambda-sweep lambda=0.3, seed=1`.
    pub fn label(&self) -> String {
        if self.axes.is_empty() {
            return self.recipe.clone();
        }
        let axes: Vec<String> = self.axes.iter().map(|(a, v)| format!("{a}={v}")).collect();
        format!("{} {}", self.recipe, axes.join(", "))
    }

    pub fn record(&self, node: &str) -> Option<&Record> {
        self.records.get(&self.graph.find(node)?)
    }
}
