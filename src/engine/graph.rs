//! The resolved graph: typed nodes and edges, acyclic. No execution, no store.

use crate::base::value::Values;
use crate::engine::kind::Kind;
use petgraph::graph::DiGraph;
use std::collections::BTreeMap;

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
    pub params: Values,
    /// Execution parameters, defaults written out.
    pub exec: Values,
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
}

/// Names of the nodes on a cycle, first repeated at the end.
#[derive(Debug, PartialEq)]
pub struct Cycle(pub Vec<String>);

impl Graph {
    /// Sorts the nodes topologically (ties by the given order) and remaps the edges.
    pub fn new(nodes: Vec<Node>) -> Result<Graph, Cycle> {
        let mut graph: DiGraph<usize, ()> = DiGraph::new();
        let ids: Vec<_> = (0..nodes.len()).map(|i| graph.add_node(i)).collect();
        for (i, node) in nodes.iter().enumerate() {
            for edge in node.inputs.values() {
                graph.add_edge(ids[edge.node.0], ids[i], ());
            }
        }
        if let Some(cycle) = find_cycle(&graph, &nodes) {
            return Err(Cycle(cycle));
        }
        let order = stable_order(&nodes);
        let mut place = vec![0; nodes.len()];
        for (new, old) in order.iter().enumerate() {
            place[*old] = new;
        }
        let mut slots: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
        let nodes = order
            .iter()
            .map(|old| {
                let mut node = slots[*old].take().expect("an order names each node once");
                for edge in node.inputs.values_mut() {
                    edge.node = NodeId(place[edge.node.0]);
                }
                node
            })
            .collect();
        Ok(Graph { nodes })
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
        self.nodes.iter().position(|n| n.name == name).map(NodeId)
    }

    /// All nodes that their own recipes call so.
    pub fn namesakes(&self, name: &str) -> Vec<NodeId> {
        self.ids()
            .filter(|id| self.node(*id).plain_name() == name)
            .collect()
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

/// Kahn's algorithm that always takes the earliest declared node that is ready.
fn stable_order(nodes: &[Node]) -> Vec<usize> {
    let mut waits: Vec<usize> = nodes.iter().map(|n| n.inputs.len()).collect();
    let mut users: Vec<Vec<usize>> = vec![vec![]; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        for edge in node.inputs.values() {
            users[edge.node.0].push(i);
        }
    }
    let mut ready: std::collections::BTreeSet<usize> =
        (0..nodes.len()).filter(|i| waits[*i] == 0).collect();
    let mut order = vec![];
    while let Some(i) = ready.pop_first() {
        order.push(i);
        for user in &users[i] {
            waits[*user] -= 1;
            if waits[*user] == 0 {
                ready.insert(*user);
            }
        }
    }
    assert_eq!(
        order.len(),
        nodes.len(),
        "a graph without a cycle has an order"
    );
    order
}

fn find_cycle(graph: &DiGraph<usize, ()>, nodes: &[Node]) -> Option<Vec<String>> {
    let component = petgraph::algo::tarjan_scc(graph)
        .into_iter()
        .find(|c| c.len() > 1 || graph.contains_edge(c[0], c[0]))?;
    let inside: std::collections::BTreeSet<usize> = component.iter().map(|i| graph[*i]).collect();
    // Walk from the first declared node along the smallest edge inside the component until a node repeats.
    let mut path = vec![*inside.first()?];
    loop {
        let here = path[path.len() - 1];
        let next = nodes[here]
            .inputs
            .values()
            .map(|e| e.node.0)
            .find(|n| inside.contains(n))?;
        if let Some(start) = path.iter().position(|n| *n == next) {
            let mut names: Vec<String> = path[start..]
                .iter()
                .rev()
                .map(|n| nodes[*n].name.clone())
                .collect();
            names.push(names[0].clone());
            return Some(names);
        }
        path.push(next);
    }
}
