//! Several graphs as one: nodes that are the same are one node, so that what recipes and their variants share runs once.
//! Knows that a part has a recipe's name and axes, for telling namesakes apart; not what either means.

use crate::graph::{Graph, Inputs, Node, NodeId};
use base::claim::Axes;
use base::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

pub struct Part<'a> {
    pub recipe: &'a str,
    pub axes: &'a Axes,
    pub graph: &'a Graph,
}

pub struct Union {
    pub graph: Graph,
    /// By part, by node of its graph: where that node is in the union.
    pub places: Vec<Vec<NodeId>>,
}

/// Where a node of the union came from.
struct Occurrence<'a> {
    part: usize,
    name: &'a str,
}

/// Nodes are the same if kind, identity parameters and inputs are; execution parameters are those of the first. A name
/// that stays unique is kept; namesakes are called `NAME@RECIPE,AXIS=VALUE`, by the recipe where they are of several, and by the axes that
/// tell them apart.
pub fn union(parts: &[Part]) -> Union {
    if let [alone] = parts
        && distinct(alone.graph)
    {
        return Union {
            places: vec![alone.graph.ids().collect()],
            graph: alone.graph.clone(),
        };
    }
    let mut merged: Vec<Node> = vec![];
    let mut occurrences: Vec<Vec<Occurrence>> = vec![];
    // By the hash of what they are; those of one hash stand together.
    let mut known: BTreeSet<(u64, usize)> = BTreeSet::new();
    let mut places = vec![];
    for (part, from) in parts.iter().enumerate() {
        let mut own: Vec<NodeId> = Vec::with_capacity(from.graph.nodes().len());
        for node in from.graph.nodes() {
            let mut inputs = node.inputs.clone();
            for edge in inputs.values_mut() {
                edge.node = own[edge.node.0];
            }
            let hash = hash(node, &inputs);
            let equals = known.range((hash, 0)..=(hash, usize::MAX));
            let mut equals = equals.map(|(_, id)| *id);
            let id = equals.find(|id| same(&merged[*id], node, &inputs));
            let id = NodeId(id.unwrap_or(merged.len()));
            if id.0 == merged.len() {
                known.insert((hash, id.0));
                merged.push(Node {
                    name: String::new(),
                    kind: node.kind,
                    params: node.params.clone(),
                    exec: node.exec.clone(),
                    inputs,
                });
                occurrences.push(Vec::with_capacity(1));
            }
            let name = &node.name;
            occurrences[id.0].push(Occurrence { part, name });
            own.push(id);
        }
        places.push(own);
    }
    for (node, name) in merged.iter_mut().zip(names(parts, &occurrences)) {
        node.name = name;
    }
    let (graph, moved) =
        Graph::sorted(merged).expect("parts have no cycles, and merging equals adds none");
    for id in places.iter_mut().flatten() {
        *id = moved[id.0];
    }
    Union { graph, places }
}

/// Whether no two nodes of a graph are the same.
fn distinct(graph: &Graph) -> bool {
    let nodes = graph.nodes();
    let hashes = nodes.iter().map(|node| hash(node, &node.inputs));
    let mut hashes: Vec<(u64, usize)> = hashes.zip(0..).collect();
    hashes.sort_unstable();
    // Of one hash are next to never several that are not the same; then the long way tells.
    hashes.windows(2).all(|two| two[0].0 != two[1].0)
}

/// What makes two nodes of different graphs one.
fn same(known: &Node, node: &Node, inputs: &Inputs) -> bool {
    known.kind.name == node.kind.name && known.params == node.params && known.inputs == *inputs
}

/// Equal for nodes that are the same.
fn hash(node: &Node, inputs: &Inputs) -> u64 {
    let mut hasher = DefaultHasher::new();
    node.kind.name.hash(&mut hasher);
    for (name, value) in node.params.iter() {
        name.hash(&mut hasher);
        match value {
            Value::Str(text) => text.hash(&mut hasher),
            Value::Int(i) => i.hash(&mut hasher),
            value => value.canon().hash(&mut hasher),
        }
    }
    for (port, edge) in inputs {
        (port, edge.node, edge.output).hash(&mut hasher);
    }
    hasher.finish()
}

/// A name for every node of the union, all different: plain where that is enough, with axes where all namesakes are of one recipe, else
/// with the recipe as well.
fn names(parts: &[Part], occurrences: &[Vec<Occurrence>]) -> Vec<String> {
    let telling = Telling::new(parts);
    let axes = |all: &Vec<Occurrence>| marked(all[0].name, &telling.axes(all));
    let whole = |all: &Vec<Occurrence>| {
        let recipe = parts[all[0].part].recipe.to_string();
        let marks: Vec<String> = std::iter::once(recipe).chain(telling.axes(all)).collect();
        marked(all[0].name, &marks)
    };
    let plain = occurrences.iter().map(|all| all[0].name.to_string());
    let mut names: Vec<String> = plain.collect();
    let recipe = |id: &usize| parts[occurrences[*id][0].part].recipe;
    for group in groups(&names) {
        let one = group.iter().all(|id| recipe(id) == recipe(&group[0]));
        for id in group {
            names[id] = match one {
                true => axes(&occurrences[id]),
                false => whole(&occurrences[id]),
            };
        }
    }
    for id in namesakes(&names) {
        names[id] = whole(&occurrences[id]);
    }
    // Two values of an axis may differ and still give one text.
    let again = namesakes(&names);
    if !again.is_empty() {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for (id, name) in names.iter_mut().enumerate() {
            if !taken.insert(name.clone()) {
                *name = format!("{name}#{id}");
                taken.insert(name.clone());
            }
        }
    }
    names
}

/// Where the names are that are not unique.
fn namesakes(names: &[String]) -> Vec<usize> {
    groups(names).concat()
}

/// The same, those of one name together.
fn groups(names: &[String]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|a, b| names[*a].cmp(&names[*b]));
    let groups = order.chunk_by(|a, b| names[*a] == names[*b]);
    groups
        .filter(|g| g.len() > 1)
        .map(<[usize]>::to_vec)
        .collect()
}

fn marked(name: &str, marks: &[String]) -> String {
    match marks.is_empty() {
        true => name.to_string(),
        false => format!("{name}@{}", marks.join(",")),
    }
}

/// What tells the variants of a recipe apart.
struct Telling<'a> {
    parts: &'a [Part<'a>],
    /// By recipe and axis: how many values it has.
    values: BTreeMap<(&'a str, &'a str), usize>,
}

impl<'a> Telling<'a> {
    fn new(parts: &'a [Part<'a>]) -> Telling<'a> {
        let mut values: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for part in parts {
            for (axis, value) in part.axes {
                let all = values.entry((part.recipe, axis)).or_default();
                all.insert(value);
            }
        }
        let values = values.into_iter().map(|(axis, all)| (axis, all.len()));
        let values = values.collect();
        Telling { parts, values }
    }

    /// Axes of which a node has only some of its recipe's values, as `lambda=0.3`.
    fn axes(&self, all: &[Occurrence]) -> Vec<String> {
        let recipe = self.parts[all[0].part].recipe;
        let parts = all.iter().map(|o| &self.parts[o.part]);
        let own: Vec<&Axes> = parts
            .filter(|p| p.recipe == recipe)
            .map(|p| p.axes)
            .collect();
        let mut marks = vec![];
        for axis in own[0].keys() {
            let here: BTreeSet<&String> = own.iter().filter_map(|a| a.get(axis)).collect();
            if here.len() < self.values[&(recipe, axis.as_str())] {
                let values: Vec<&str> = here.into_iter().map(String::as_str).collect();
                marks.push(format!("{axis}={}", values.join("|")));
            }
        }
        marks
    }
}
