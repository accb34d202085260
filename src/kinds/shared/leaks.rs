//! Whether a recipe trains on what it measures with: for every node that trains, the sets of eval prompts that nothing on the way to
//! it was cleaned of. Reads a graph; looks into no file, so it says what a recipe does not look for, not what is there.

use engine::graph::{Edge, Graph, Node, NodeId};
use engine::kind::{Role, Type};
use std::collections::BTreeSet;

/// A node that trains, and a set of eval prompts that it may have seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    pub trained: NodeId,
    pub measured: NodeId,
    /// It is trained on this very set.
    pub same: bool,
}

/// In the order of the graph; a set that is cleaned of on one of several ways counts as looked for.
pub fn leaks(graph: &Graph) -> Vec<Leak> {
    let evals = evals(graph);
    let mut found = vec![];
    for trained in graph.ids().filter(|id| trains(graph, graph.node(*id))) {
        let (seen, looked_for) = seen(graph, trained);
        let open = evals.difference(&looked_for);
        found.extend(open.filter(|_| !seen.is_empty()).map(|measured| Leak {
            trained,
            measured: *measured,
            same: seen.contains(measured),
        }));
    }
    found
}

/// The sets that a node has learned from, on whatever way, and those that something on the way was compared with.
fn seen(graph: &Graph, trained: NodeId) -> (BTreeSet<NodeId>, BTreeSet<NodeId>) {
    let mut seen = BTreeSet::new();
    let mut looked_for = BTreeSet::new();
    let mut open = vec![trained];
    let mut done = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !done.insert(id) {
            continue;
        }
        let node = graph.node(id);
        for (port, edge) in &node.inputs {
            let ty = gives(graph, edge);
            if node.kind.compares(port) {
                looked_for.extend(sets(graph, edge, With::Quoted));
            } else if ty.is_some_and(|ty| teaches(ty) || is_weights(ty)) && !measures(node, port) {
                if ty == Some(Type::Prompts) {
                    seen.extend(sets(graph, edge, With::Quoted));
                }
                open.push(edge.node);
            }
        }
    }
    (seen, looked_for)
}

/// Where the prompts come from whose completions or states are measured; but for sets that share no prompt with others of their making.
fn evals(graph: &Graph) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    for node in graph.nodes() {
        if !matches!(node.kind.role, Role::Evaluates | Role::Measures) {
            continue;
        }
        for edge in node.inputs.values() {
            let measured = [Type::Completions, Type::States].map(Some);
            if measured.contains(&gives(graph, edge)) {
                let asked = prompts(graph, graph.node(edge.node), With::Own);
                asked.for_each(|edge| found.extend(sets(graph, edge, With::Own)));
            }
        }
    }
    found.retain(|id| !graph.node(*id).kind.disjoint);
    found
}

/// Whether what a node delivers has learned from rows. A program of somebody else may have, where it makes a model or an adapter of
/// rows that one trains on.
fn trains(graph: &Graph, node: &Node) -> bool {
    let rows = |(port, edge): (&&'static str, &Edge)| {
        !node.kind.measures_with(port) && gives(graph, edge).is_some_and(teaches)
    };
    match node.kind.role {
        Role::Trains => true,
        Role::Runs => makes_weights(node) && node.inputs.iter().any(rows),
        _ => false,
    }
}

/// Whether a node only measures with what this port brings.
fn measures(node: &Node, port: &str) -> bool {
    node.kind.measures_with(port) && makes_weights(node)
}

fn makes_weights(node: &Node) -> bool {
    let types = node.kind.types(&node.params);
    types.into_values().any(is_weights)
}

fn is_weights(ty: Type) -> bool {
    matches!(ty, Type::Model | Type::RewardModel | Type::Adapter)
}

/// Whether one may train on rows of this type: numbers teach nobody a prompt.
fn teaches(ty: Type) -> bool {
    use Type::{Completions, Conversations, Pairs, Prompts};
    matches!(ty, Prompts | Conversations | Pairs | Completions)
}

/// Where the prompts of an edge come from: nodes that take no prompts themselves.
fn sets(graph: &Graph, edge: &Edge, with: With) -> BTreeSet<NodeId> {
    let mut open = vec![edge.node];
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let above = prompts(graph, graph.node(id), with);
        let above: Vec<NodeId> = above.map(|e| e.node).collect();
        match above.is_empty() {
            true => drop(found.insert(id)),
            false => open.extend(above),
        }
    }
    found
}

/// Which rows of a set count as it: texts that others quote are learned, and measure nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum With {
    Own,
    Quoted,
}

/// The prompts that a node takes, but for what it only compares with.
fn prompts<'a>(graph: &'a Graph, node: &'a Node, with: With) -> impl Iterator<Item = &'a Edge> {
    let inputs = node.inputs.iter();
    let passed_on = inputs.filter(move |(port, edge)| {
        let taken = match with {
            With::Own => node.kind.passes_on(port),
            With::Quoted => !node.kind.compares(port),
        };
        taken && gives(graph, edge) == Some(Type::Prompts)
    });
    passed_on.map(|(_, edge)| edge)
}

fn gives(graph: &Graph, edge: &Edge) -> Option<Type> {
    let output = graph.node(edge.node).kind.output(edge.output);
    output.map(|o| o.ty)
}

/// A warning in words.
pub fn message(graph: &Graph, leak: &Leak) -> String {
    let trained = graph.node(leak.trained);
    // What somebody else's program does with its inputs nobody here knows.
    let is = match trained.kind.role {
        Role::Runs => "may be",
        _ => "is",
    };
    let (trained, measured) = (&trained.name, &graph.node(leak.measured).name);
    match leak.same {
        true => format!("`{trained}` {is} trained on `{measured}`, and evaluated on it"),
        false => format!(
            "`{trained}` {is} trained on prompts that nobody compared with those of `{measured}`, which it may be evaluated on: see \
             `pipe kinds decontaminate`"
        ),
    }
}
