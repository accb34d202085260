//! Something for some nodes of a graph, found by their place in it and without a search. In graph order.

use crate::kind::NodeId;
use std::ops::Index;

#[derive(Clone, Debug)]
pub struct PerNode<T> {
    slots: Vec<Option<T>>,
}

impl<T> Default for PerNode<T> {
    fn default() -> PerNode<T> {
        PerNode { slots: vec![] }
    }
}

impl<T> PerNode<T> {
    /// For the nodes of a graph of so many.
    pub fn with_capacity(nodes: usize) -> PerNode<T> {
        PerNode {
            slots: Vec::with_capacity(nodes),
        }
    }

    pub fn get(&self, id: NodeId) -> Option<&T> {
        self.slots.get(id.0)?.as_ref()
    }

    pub fn has(&self, id: NodeId) -> bool {
        self.get(id).is_some()
    }

    /// What was there before.
    pub fn insert(&mut self, id: NodeId, value: T) -> Option<T> {
        self.slot(id).replace(value)
    }

    pub fn remove(&mut self, id: NodeId) -> Option<T> {
        self.slots.get_mut(id.0)?.take()
    }

    pub fn get_or_insert_with(&mut self, id: NodeId, value: impl FnOnce() -> T) -> &mut T {
        self.slot(id).get_or_insert_with(value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &T)> {
        let all = self.slots.iter().enumerate();
        all.filter_map(|(place, slot)| Some((NodeId(place), slot.as_ref()?)))
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }

    fn slot(&mut self, id: NodeId) -> &mut Option<T> {
        if self.slots.len() <= id.0 {
            self.slots.resize_with(id.0 + 1, || None);
        }
        &mut self.slots[id.0]
    }
}

impl<T> Index<NodeId> for PerNode<T> {
    type Output = T;

    fn index(&self, id: NodeId) -> &T {
        self.get(id).expect("it is there for this node")
    }
}

impl<T> FromIterator<(NodeId, T)> for PerNode<T> {
    fn from_iter<I: IntoIterator<Item = (NodeId, T)>>(all: I) -> PerNode<T> {
        let all = all.into_iter();
        let mut found = PerNode::default();
        // At most for so many, and mostly for all of them.
        found.slots.reserve_exact(all.size_hint().1.unwrap_or(0));
        for (id, value) in all {
            found.insert(id, value);
        }
        found
    }
}

impl<T> IntoIterator for PerNode<T> {
    type Item = (NodeId, T);
    type IntoIter = std::vec::IntoIter<(NodeId, T)>;

    fn into_iter(self) -> Self::IntoIter {
        let all = self.slots.into_iter().enumerate();
        let there = all.filter_map(|(place, slot)| Some((NodeId(place), slot?)));
        there.collect::<Vec<_>>().into_iter()
    }
}
