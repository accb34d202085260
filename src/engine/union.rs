//! Several graphs as one: nodes that are the same are one node, so that what recipes and their variants share runs once.
//! Knows that a part has a recipe's name and axes, for telling namesakes apart; not what either means.

use crate::base::claim::Axes;
use crate::engine::graph::{Edge, Graph, Node, NodeId};
use std::collections::{BTreeMap, BTreeSet};

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
struct Occurrence {
    part: usize,
    name: String,
}

/// Nodes are the same if kind, identity parameters and inputs are; execution parameters are those of the first. A name
/// that stays unique is kept; namesakes are called `NAME@RECIPE,AXIS=VALUE` by what tells them apart.
pub fn union(parts: &[Part]) -> Union {
    let mut merged: Vec<Node> = vec![];
    let mut occurrences: Vec<Vec<Occurrence>> = vec![];
    let mut known: BTreeMap<String, NodeId> = BTreeMap::new();
    let mut places = vec![];
    for (part, from) in parts.iter().enumerate() {
        let mut own: Vec<NodeId> = vec![];
        for node in from.graph.nodes() {
            let inputs: BTreeMap<&'static str, Edge> = node
                .inputs
                .iter()
                .map(|(port, edge)| {
                    let place = Edge {
                        node: own[edge.node.0],
                        output: edge.output,
                    };
                    (*port, place)
                })
                .collect();
            let id = *known.entry(identity(node, &inputs)).or_insert_with(|| {
                merged.push(Node {
                    name: node.name.clone(),
                    kind: node.kind,
                    params: node.params.clone(),
                    exec: node.exec.clone(),
                    inputs,
                });
                occurrences.push(vec![]);
                NodeId(merged.len() - 1)
            });
            occurrences[id.0].push(Occurrence {
                part,
                name: node.name.clone(),
            });
            own.push(id);
        }
        places.push(own);
    }
    for (node, name) in merged.iter_mut().zip(names(parts, &occurrences)) {
        node.name = name;
    }
    let names: Vec<String> = merged.iter().map(|n| n.name.clone()).collect();
    let graph = Graph::new(merged).expect("parts have no cycles, and merging equals adds none");
    let place = |id: &NodeId| {
        graph
            .find(&names[id.0])
            .expect("a union keeps every node by its name")
    };
    let places = places.iter().map(|own| own.iter().map(place).collect());
    Union {
        places: places.collect(),
        graph,
    }
}

/// What makes two nodes of different graphs one.
fn identity(node: &Node, inputs: &BTreeMap<&'static str, Edge>) -> String {
    let mut text = format!("{}\n", node.kind.name);
    for (name, value) in &node.params {
        text += &format!("{name} = {}\n", value.canon());
    }
    for (port, edge) in inputs {
        text += &format!("in {port} = {} {}\n", edge.node.0, edge.output);
    }
    text
}

/// A name for every node of the union, all different: plain where that is enough, with axes where these are, and with the
/// recipe where they are not.
fn names(parts: &[Part], occurrences: &[Vec<Occurrence>]) -> Vec<String> {
    let plain = |all: &Vec<Occurrence>| all[0].name.clone();
    let axes = |all: &Vec<Occurrence>| marked(&all[0].name, &telling_axes(parts, all));
    let whole = |all: &Vec<Occurrence>| {
        let recipe = parts[all[0].part].recipe.to_string();
        let marks: Vec<String> = std::iter::once(recipe)
            .chain(telling_axes(parts, all))
            .collect();
        marked(&all[0].name, &marks)
    };
    let mut names: Vec<String> = occurrences.iter().map(plain).collect();
    for fuller in [&axes as &dyn Fn(&Vec<Occurrence>) -> String, &whole] {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for name in &names {
            *counts.entry(name.clone()).or_default() += 1;
        }
        for (name, all) in names.iter_mut().zip(occurrences) {
            if counts[name.as_str()] > 1 {
                *name = fuller(all);
            }
        }
    }
    // Two values of an axis may differ and still give one text.
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (id, name) in names.iter_mut().enumerate() {
        if !taken.insert(name.clone()) {
            *name = format!("{name}#{id}");
            taken.insert(name.clone());
        }
    }
    names
}

fn marked(name: &str, marks: &[String]) -> String {
    match marks.is_empty() {
        true => name.to_string(),
        false => format!("{name}@{}", marks.join(",")),
    }
}

/// Axes of which a node has only some of its recipe's values, as `lambda=0.3`.
fn telling_axes(parts: &[Part], all: &[Occurrence]) -> Vec<String> {
    let recipe = parts[all[0].part].recipe;
    let inside = |o: &&Occurrence| parts[o.part].recipe == recipe;
    let own: Vec<&Axes> = all
        .iter()
        .filter(inside)
        .map(|o| parts[o.part].axes)
        .collect();
    let mut marks = vec![];
    for axis in own[0].keys() {
        let all = parts.iter().filter(|p| p.recipe == recipe);
        let all: BTreeSet<&String> = all.filter_map(|p| p.axes.get(axis)).collect();
        let here: BTreeSet<&String> = own.iter().filter_map(|a| a.get(axis)).collect();
        if here.len() < all.len() {
            let values: Vec<&str> = here.into_iter().map(String::as_str).collect();
            marks.push(format!("{axis}={}", values.join("|")));
        }
    }
    marks
}
