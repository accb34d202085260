//! Nodes that wait for tokens, the longest remaining path first. Ordered as they come, since thousands may wait.

use crate::graph::NodeId;
use crate::graph::manifest::Manifest;
use base::hash::Key;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A node that has to be executed.
pub(super) struct Ready {
    pub(super) key: Key,
    pub(super) manifest: Manifest,
}

#[derive(Default)]
pub(super) struct Queue {
    nodes: BTreeMap<NodeId, (Rank, Ready)>,
    order: BTreeSet<(Rank, NodeId)>,
}

/// Bits of a number of seconds; those of numbers that are not negative are in the order of the numbers.
type Rank = Reverse<u64>;

impl Queue {
    pub fn insert(&mut self, id: NodeId, remaining_seconds: f64, ready: Ready) {
        self.remove(id);
        let rank = Reverse(remaining_seconds.max(0.0).to_bits());
        self.order.insert((rank, id));
        self.nodes.insert(id, (rank, ready));
    }

    pub fn remove(&mut self, id: NodeId) -> Option<Ready> {
        let (rank, ready) = self.nodes.remove(&id)?;
        self.order.remove(&(rank, id));
        Some(ready)
    }

    pub fn get(&self, id: NodeId) -> Option<&Ready> {
        self.nodes.get(&id).map(|(_, ready)| ready)
    }

    /// Empties it.
    pub fn take(&mut self) -> Vec<NodeId> {
        self.order.clear();
        std::mem::take(&mut self.nodes).into_keys().collect()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn longest_first(&self) -> impl Iterator<Item = NodeId> {
        self.order.iter().map(|(_, id)| *id)
    }
}
