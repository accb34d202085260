//! The resolved graph: typed nodes and edges, acyclic. No execution, no store.

pub mod changes;
pub mod manifest;
pub mod per_node;
pub mod union;

use crate::kind::Upstream;
pub use crate::kind::{Edge, Inputs, Node, NodeId};
pub use per_node::PerNode;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::{Arc, OnceLock};

/// Nodes in topological order: an edge points to a smaller id. Made by `Graph::new`, which is the only door.
#[derive(Clone)]
pub struct Graph {
    nodes: Arc<[Node]>,
    /// All nodes in the order of their names; made by the first search.
    by_name: OnceLock<Box<[NodeId]>>,
}

/// The edges of a cycle, each beginning where the one before ends; of each knot of nodes that need each other, one.
#[derive(Debug, PartialEq)]
pub struct Cycles(pub Vec<Vec<Hop>>);

/// An edge, by the names of its nodes.
#[derive(Debug, PartialEq)]
pub struct Hop {
    pub from: String,
    pub to: String,
    /// Of `to`.
    pub port: &'static str,
}

impl Graph {
    /// Sorts the nodes topologically (ties by the given order) and remaps the edges.
    pub fn new(nodes: Vec<Node>) -> Result<Graph, Cycles> {
        Graph::sorted(nodes).map(|(graph, _)| graph)
    }

    /// The graph of these nodes, and where each of them is in it.
    pub fn sorted(mut nodes: Vec<Node>) -> Result<(Graph, Vec<NodeId>), Cycles> {
        let by_name = OnceLock::new();
        let mut edges = nodes.iter().enumerate();
        if edges.all(|(id, node)| node.inputs.values().all(|e| e.node.0 < id)) {
            let places = (0..nodes.len()).map(NodeId).collect();
            let nodes = nodes.into();
            return Ok((Graph { nodes, by_name }, places));
        }
        let order = stable_order(&nodes);
        if order.len() < nodes.len() {
            return Err(cycles(&nodes));
        }
        let mut places = vec![NodeId(0); nodes.len()];
        for (new, old) in order.iter().enumerate() {
            places[*old] = NodeId(new);
        }
        for node in &mut nodes {
            for edge in node.inputs.values_mut() {
                edge.node = places[edge.node.0];
            }
        }
        let mut slots: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
        let nodes = order
            .iter()
            .map(|old| slots[*old].take().expect("an order names each node once"))
            .collect();
        Ok((Graph { nodes, by_name }, places))
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    pub fn find(&self, name: &str) -> Option<NodeId> {
        let id = self.beginning_at(name).next()?;
        (self.node(id).name == name).then_some(id)
    }

    /// All nodes that their own recipes call so.
    pub fn namesakes(&self, name: &str) -> Vec<NodeId> {
        let prefix = format!("{name}@");
        let bare = self.beginning_at(name);
        let bare = bare.take_while(|id| self.node(*id).name == name);
        let marked = self.beginning_at(&prefix);
        let marked = marked.take_while(|id| self.node(*id).name.starts_with(&prefix));
        let all = bare.chain(marked);
        let mut found: Vec<NodeId> = all
            .filter(|id| self.node(*id).plain_name() == name)
            .collect();
        found.sort();
        found
    }

    /// The nodes by their names, from the first that is not before this one.
    fn beginning_at(&self, name: &str) -> impl Iterator<Item = NodeId> {
        let before = |id: &NodeId| self.node(*id).name.as_str() < name;
        let by_name = self.by_name.get_or_init(|| {
            let mut ids: Box<[NodeId]> = self.ids().collect();
            ids.sort_by(|a, b| self.node(*a).name.cmp(&self.node(*b).name));
            ids
        });
        let start = by_name.partition_point(before);
        by_name[start..].iter().copied()
    }

    /// The node and everything it needs, in order.
    pub fn closure(&self, targets: &[NodeId]) -> Vec<NodeId> {
        let mut wanted = vec![false; self.nodes.len()];
        for t in targets {
            wanted[t.0] = true;
        }
        for i in (0..self.nodes.len()).rev() {
            if wanted[i] {
                for edge in self.nodes[i].inputs.values() {
                    wanted[edge.node.0] = true;
                }
            }
        }
        self.ids().filter(|id| wanted[id.0]).collect()
    }
}

impl Upstream for Graph {
    fn node(&self, id: NodeId) -> &Node {
        Graph::node(self, id)
    }

    fn closure(&self, targets: &[NodeId]) -> Vec<NodeId> {
        Graph::closure(self, targets)
    }
}

/// Kahn's algorithm that always takes the earliest declared node that is ready. Nodes of a cycle, and below one, are left out.
fn stable_order(nodes: &[Node]) -> Vec<usize> {
    let mut waits: Vec<usize> = nodes.iter().map(|n| n.inputs.len()).collect();
    let mut users: Vec<Vec<usize>> = vec![vec![]; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        for edge in node.inputs.values() {
            users[edge.node.0].push(i);
        }
    }
    let first = (0..nodes.len()).filter(|i| waits[*i] == 0).map(Reverse);
    let mut ready: BinaryHeap<Reverse<usize>> = first.collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for user in &users[i] {
            waits[*user] -= 1;
            if waits[*user] == 0 {
                ready.push(Reverse(*user));
            }
        }
    }
    order
}

/// A cycle in every strongly connected part, those whose first node is declared first before others.
fn cycles(nodes: &[Node]) -> Cycles {
    let mut graph: DiGraph<(), ()> = DiGraph::with_capacity(nodes.len(), nodes.len());
    for _ in nodes {
        graph.add_node(());
    }
    for (user, node) in nodes.iter().enumerate() {
        for edge in node.inputs.values() {
            let (from, to) = (edge.node.0 as u32, user as u32);
            graph.add_edge(from.into(), to.into(), ());
        }
    }
    // Not Tarjan's algorithm, which is recursive: a recipe may be ten thousand nodes deep.
    let parts = kosaraju_scc(&graph).into_iter();
    let parts = parts.map(|part| part.into_iter().map(|n| n.index()).collect::<BTreeSet<_>>());
    let itself = |n: usize| nodes[n].inputs.values().any(|e| e.node.0 == n);
    let mut parts: Vec<BTreeSet<usize>> = parts
        .filter(|part| part.len() > 1 || part.first().is_some_and(|n| itself(*n)))
        .collect();
    parts.sort();
    Cycles(parts.iter().map(|part| cycle(nodes, part)).collect())
}

/// The cycle that the walk up from the first node of the part comes into, from the node that is declared first.
fn cycle(nodes: &[Node], part: &BTreeSet<usize>) -> Vec<Hop> {
    let above = |node: usize| {
        let mut inputs = nodes[node].inputs.iter();
        let (port, edge) = inputs
            .find(|(_, edge)| part.contains(&edge.node.0))
            .expect("every node of such a part needs another of it");
        (*port, edge.node.0)
    };
    let mut here = *part.first().expect("a part is not empty");
    let mut seen = BTreeSet::new();
    while seen.insert(here) {
        here = above(here).1;
    }
    let mut circle = vec![here];
    let mut next = above(here).1;
    while next != here {
        circle.push(next);
        next = above(next).1;
    }
    // Now from above to below.
    circle.reverse();
    let first = (0..circle.len()).min_by_key(|i| circle[*i]).unwrap_or(0);
    circle.rotate_left(first);
    let name = |node: usize| nodes[node].name.clone();
    let hop = |i: usize| {
        let (from, to) = (circle[i], circle[(i + 1) % circle.len()]);
        Hop {
            from: name(from),
            to: name(to),
            port: above(to).0,
        }
    };
    (0..circle.len()).map(hop).collect()
}
