//! The resolved graph: typed nodes and edges, acyclic. No execution, no store.

use crate::base::value::Values;
use crate::engine::kind::Kind;
use petgraph::graph::DiGraph;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

/// A node's place in `Graph::nodes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// An input: one output of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub node: NodeId,
    pub output: &'static str,
}

#[derive(Clone)]
pub struct Node {
    /// The name in the recipe; for people only, never in a key. In a union of graphs, `NAME@MARKS` where namesakes exist.
    pub name: String,
    pub kind: &'static Kind,
    /// Identity parameters, defaults written out; `Ty::Path` values are absolute paths.
    pub params: Arc<Values>,
    /// Execution parameters, defaults written out.
    pub exec: Arc<Values>,
    /// By port name.
    pub inputs: BTreeMap<&'static str, Edge>,
}

impl Node {
    /// The name in its own recipe.
    pub fn plain_name(&self) -> &str {
        self.name.split('@').next().unwrap_or(&self.name)
    }
}

/// Nodes in topological order: an edge points to a smaller id. Made by `Graph::new`, which is the only door.
#[derive(Clone)]
pub struct Graph {
    nodes: Vec<Node>,
    /// All nodes in the order of their names.
    by_name: Vec<NodeId>,
}

/// Names of the nodes on a cycle, first repeated at the end.
#[derive(Debug, PartialEq)]
pub struct Cycle(pub Vec<String>);

impl Graph {
    /// Sorts the nodes topologically (ties by the given order) and remaps the edges.
    pub fn new(nodes: Vec<Node>) -> Result<Graph, Cycle> {
        Graph::sorted(nodes).map(|(graph, _)| graph)
    }

    /// The same, and where each of the given nodes is now.
    pub fn sorted(mut nodes: Vec<Node>) -> Result<(Graph, Vec<NodeId>), Cycle> {
        let order = stable_order(&nodes);
        if order.len() < nodes.len() {
            return Err(Cycle(cycle(&nodes)));
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
        let nodes: Vec<Node> = order
            .iter()
            .map(|old| slots[*old].take().expect("an order names each node once"))
            .collect();
        let mut by_name: Vec<NodeId> = (0..nodes.len()).map(NodeId).collect();
        by_name.sort_by(|a, b| nodes[a.0].name.cmp(&nodes[b.0].name));
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
        let id = self.from_name(name).next()?;
        (self.node(id).name == name).then_some(id)
    }

    /// All nodes that their own recipes call so.
    pub fn namesakes(&self, name: &str) -> Vec<NodeId> {
        let prefix = format!("{name}@");
        let bare = self.from_name(name);
        let bare = bare.take_while(|id| self.node(*id).name == name);
        let marked = self.from_name(&prefix);
        let marked = marked.take_while(|id| self.node(*id).name.starts_with(&prefix));
        let all = bare.chain(marked);
        let mut found: Vec<NodeId> = all
            .filter(|id| self.node(*id).plain_name() == name)
            .collect();
        found.sort();
        found
    }

    /// The nodes by their names, from the first that is not before this one.
    fn from_name(&self, name: &str) -> impl Iterator<Item = NodeId> {
        let before = |id: &NodeId| self.node(*id).name.as_str() < name;
        let start = self.by_name.partition_point(before);
        self.by_name[start..].iter().copied()
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

/// The names on the first cycle, the first repeated at the end.
fn cycle(nodes: &[Node]) -> Vec<String> {
    let mut graph: DiGraph<usize, ()> = DiGraph::new();
    let ids: Vec<_> = (0..nodes.len()).map(|i| graph.add_node(i)).collect();
    for (i, node) in nodes.iter().enumerate() {
        for edge in node.inputs.values() {
            graph.add_edge(ids[edge.node.0], ids[i], ());
        }
    }
    let component = petgraph::algo::tarjan_scc(&graph)
        .into_iter()
        .find(|c| c.len() > 1 || graph.contains_edge(c[0], c[0]))
        .expect("a graph without an order has a cycle");
    let inside: BTreeSet<usize> = component.iter().map(|i| graph[*i]).collect();
    // Walk from the first declared node along the smallest edge inside the component until a node repeats.
    let mut path: Vec<usize> = inside.first().copied().into_iter().collect();
    let mut steps = vec![None; nodes.len()];
    loop {
        let here = path[path.len() - 1];
        steps[here] = Some(path.len() - 1);
        let mut inputs = nodes[here].inputs.values().map(|e| e.node.0);
        let next = inputs
            .find(|n| inside.contains(n))
            .expect("every node of a cycle has one of it above");
        if let Some(start) = steps[next] {
            let names = path[start..].iter().rev();
            let mut names: Vec<String> = names.map(|n| nodes[*n].name.clone()).collect();
            names.push(names[0].clone());
            return names;
        }
        path.push(next);
    }
}
