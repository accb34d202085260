//! Whether a recipe trains on what it measures with: for every node that trains, the sets of eval prompts that nothing on the way to
//! it was cleaned of. Reads a graph; looks into no file, so it says what a recipe does not look for, not what is there.

use engine::graph::{Edge, Graph, NodeId};
use engine::kind::Type;
use std::collections::BTreeSet;

/// Kinds that learn from prompts or what was made of them.
const TRAINERS: [&str; 4] = ["sft", "grpo", "dpo", "rerouting"];
/// Kinds that measure completions.
const MEASURES: [&str; 2] = ["evaluate", "lengths"];
/// Kinds that take prompts out, and the port of the prompts that they look for.
const CLEANERS: [(&str, &str); 2] = [("decontaminate", "against"), ("teacher", "exclude")];
/// Kinds whose outputs share no prompt.
const DISJOINT: [&str; 1] = ["world-prompts"];

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
    let mut evals = BTreeSet::new();
    for id in graph.ids() {
        let node = graph.node(id);
        if MEASURES.contains(&node.kind.name)
            && let Some(completions) = node.inputs.get("completions")
            && let Some(prompts) = graph.node(completions.node).inputs.get("prompts")
        {
            evals.extend(sets(graph, prompts));
        }
    }
    evals.retain(|id| !DISJOINT.contains(&graph.node(*id).kind.name));
    let mut found = vec![];
    for trained in graph.ids() {
        if !TRAINERS.contains(&graph.node(trained).kind.name) {
            continue;
        }
        let above = graph.closure(&[trained]);
        let mut seen = BTreeSet::new();
        let mut looked_for = BTreeSet::new();
        for id in &above {
            let node = graph.node(*id);
            for (kind, port) in CLEANERS {
                if node.kind.name == kind
                    && let Some(edge) = node.inputs.get(port)
                {
                    looked_for.extend(sets(graph, edge));
                }
            }
            let teaching = node.inputs.iter().filter(|(port, edge)| {
                let cleans = CLEANERS.iter().any(|(_, p)| p == *port);
                !cleans && is_prompts(graph, edge)
            });
            for (_, edge) in teaching {
                seen.extend(sets(graph, edge));
            }
        }
        let open = evals.difference(&looked_for);
        found.extend(open.filter(|_| !seen.is_empty()).map(|measured| Leak {
            trained,
            measured: *measured,
            same: seen.contains(measured),
        }));
    }
    found
}

/// Where the prompts of an edge come from: nodes that take no prompts themselves. What is only looked for does not count.
fn sets(graph: &Graph, edge: &Edge) -> BTreeSet<NodeId> {
    let mut open = vec![edge.node];
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let inputs = graph.node(id).inputs.iter();
        let above: Vec<NodeId> = inputs
            .filter(|(port, edge)| **port != "against" && is_prompts(graph, edge))
            .map(|(_, edge)| edge.node)
            .collect();
        match above.is_empty() {
            true => drop(found.insert(id)),
            false => open.extend(above),
        }
    }
    found
}

fn is_prompts(graph: &Graph, edge: &Edge) -> bool {
    let output = graph.node(edge.node).kind.output(edge.output);
    output.is_some_and(|o| o.ty == Type::Prompts)
}

/// For people.
pub fn told(graph: &Graph, leak: &Leak) -> String {
    let name = |id| &graph.node(id).name;
    match leak.same {
        true => format!(
            "`{}` is trained on `{}`, and evaluated on it",
            name(leak.trained),
            name(leak.measured)
        ),
        false => format!(
            "`{}` is trained on prompts that nobody compared with those of `{}`, which it may be evaluated on: see `pipe kinds \
             decontaminate`",
            name(leak.trained),
            name(leak.measured)
        ),
    }
}
