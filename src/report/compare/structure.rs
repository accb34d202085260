//! Where two graphs part: nodes of one name whose kind, parameters, sources or inputs differ, and what hangs below them.

use crate::side::Side;
use base::hash::Key;
use base::value::{self, Value};
use engine::graph::changes::Reason;
use engine::graph::changes::changes;
use engine::graph::manifest::holds_paths;
use engine::graph::{Graph, Node, NodeId};
use engine::plan::overrides::{Override, vouched};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Structure {
    /// The first node, in graph order, that is not the same on both sides by itself.
    pub parts_at: Option<String>,
    /// Nodes that both have and that differ by themselves.
    pub changed: Vec<Changed>,
    pub only_first: Vec<Lone>,
    pub only_second: Vec<Lone>,
    /// The same by themselves, with other inputs.
    pub below: Vec<String>,
    /// The same artifact; where neither has one, the same down to the root.
    pub shared: Vec<String>,
    /// What the shared artifacts took, which the second side does not pay again.
    pub shared_seconds: f64,
    pub shared_dollars: f64,
    /// Artifacts that nobody made by running their node, first and second.
    pub vouched: [Vec<(String, Override)>; 2],
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changed {
    pub node: String,
    pub kind: String,
    pub changes: Vec<Change>,
}

/// `what` is `kind`, `revision`, a parameter (`lr`, `reward.harmful`), `content of PARAM` or `in.PORT`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub what: String,
    /// Absent where the side has no such thing, or it is no text.
    pub first: Option<String>,
    pub second: Option<String>,
}

/// A node of one side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lone {
    pub node: String,
    pub kind: String,
    /// A node of the other side with the same artifact.
    pub same_as: Option<String>,
}

impl Structure {
    /// Nothing differs.
    pub fn same(&self) -> bool {
        let lone = self.only_first.len() + self.only_second.len();
        self.changed.is_empty() && self.below.is_empty() && lone == 0
    }
}

fn on_word(side: &Side) -> Vec<(String, Override)> {
    let records = side.records.iter();
    let named = records
        .filter_map(|(id, record)| Some((side.graph.node(*id).name.clone(), vouched(record)?)));
    named.collect()
}

pub fn structure(a: &Side, b: &Side) -> Structure {
    let mut out = Structure {
        only_first: lone(a, b),
        only_second: lone(b, a),
        vouched: [on_word(a), on_word(b)],
        ..Structure::default()
    };
    let mut same: BTreeSet<NodeId> = BTreeSet::new();
    let mut first_difference = None;
    for id in a.graph.ids() {
        let node = a.graph.node(id);
        let Some(other) = b.graph.find(&node.name) else {
            first_difference.get_or_insert(id);
            continue;
        };
        let keys = (a.records.get(&id), b.records.get(&other));
        let one_artifact = matches!(keys, (Some(x), Some(y)) if x.key == y.key);
        let changes = own_changes(a, id, b, other);
        let inputs_same = node.inputs.values().all(|edge| same.contains(&edge.node));
        let both = keys.0.is_some() && keys.1.is_some();
        if one_artifact || (changes.is_empty() && inputs_same && !both) {
            same.insert(id);
            out.shared.push(node.name.clone());
            let cost = keys.0.or(keys.1).map(|r| &r.cost);
            out.shared_seconds += cost.map_or(0.0, |c| c.seconds);
            out.shared_dollars += cost.map_or(0.0, |c| c.dollars);
        } else if changes.is_empty() {
            out.below.push(node.name.clone());
        } else {
            first_difference.get_or_insert(id);
            out.changed.push(Changed {
                node: node.name.clone(),
                kind: node.kind.name.to_string(),
                changes,
            });
        }
    }
    out.parts_at = match first_difference {
        Some(id) => Some(a.graph.node(id).name.clone()),
        None => out.only_second.first().map(|l| l.node.clone()),
    };
    out
}

fn lone(side: &Side, other: &Side) -> Vec<Lone> {
    let mut by_key: BTreeMap<&Key, NodeId> = BTreeMap::new();
    for (id, record) in &other.records {
        by_key.entry(&record.key).or_insert(*id);
    }
    let nodes = side.graph.ids().map(|id| (id, side.graph.node(id)));
    nodes
        .filter(|(_, node)| other.graph.find(&node.name).is_none())
        .map(|(id, node)| Lone {
            node: node.name.clone(),
            kind: node.kind.name.to_string(),
            same_as: side
                .records
                .get(&id)
                .and_then(|r| by_key.get(&r.key))
                .map(|id| other.graph.node(*id).name.clone()),
        })
        .collect()
}

/// What differs in the node itself: never because of something above it.
fn own_changes(a: &Side, id: NodeId, b: &Side, other: NodeId) -> Vec<Change> {
    let (one, two) = (a.graph.node(id), b.graph.node(other));
    if one.kind.name != two.kind.name {
        return vec![change("kind", Some(one.kind.name), Some(two.kind.name))];
    }
    let mut found = vec![];
    let paths = paths(one);
    let names: BTreeSet<&String> = one.params.keys().chain(two.params.keys()).collect();
    for name in names {
        let (first, second) = (one.params.get(name), two.params.get(name));
        parameter(name, first, second, &paths, &mut found);
    }
    match (a.records.get(&id), b.records.get(&other)) {
        // What a path holds is identity, the path is not; only records know what it held.
        (Some(x), Some(y)) => {
            for reason in changes(&x.manifest, &y.manifest) {
                match reason {
                    Reason::Source { name } => {
                        found.push(change(&format!("content of {name}"), None, None));
                    }
                    Reason::Revision { old, new } => {
                        found.push(change("revision", Some(&old), Some(&new)));
                    }
                    _ => {}
                }
            }
        }
        _ => {
            for name in paths {
                let (first, second) = (value::at(&one.params, name), value::at(&two.params, name));
                parameter(name, first, second, &BTreeSet::new(), &mut found);
            }
        }
    }
    let ports: BTreeSet<&str> = one
        .inputs
        .keys()
        .chain(two.inputs.keys())
        .copied()
        .collect();
    for port in ports {
        let (from, to) = (source(&a.graph, one, port), source(&b.graph, two, port));
        if from != to {
            let what = format!("in.{port}");
            found.push(change(&what, from.as_deref(), to.as_deref()));
        }
    }
    found
}

fn paths(node: &Node) -> BTreeSet<&'static str> {
    let specs = (node.kind.params)().into_iter();
    specs
        .filter(|s| holds_paths(&s.ty))
        .map(|s| s.name)
        .collect()
}

/// A table is compared entry by entry, `but` those of these names.
fn parameter(
    name: &str,
    one: Option<&Value>,
    two: Option<&Value>,
    but: &BTreeSet<&str>,
    found: &mut Vec<Change>,
) {
    if one == two || but.contains(name) {
        return;
    }
    if let (Some(Value::Table(x)), Some(Value::Table(y))) = (one, two) {
        let keys: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
        for key in keys {
            let name = format!("{name}.{key}");
            parameter(&name, x.get(key), y.get(key), but, found);
        }
        return;
    }
    let (one, two) = (one.map(Value::canon), two.map(Value::canon));
    found.push(change(name, one.as_deref(), two.as_deref()));
}

/// `node.output` behind a port.
fn source(graph: &Graph, node: &Node, port: &str) -> Option<String> {
    let edge = node.inputs.get(port)?;
    Some(format!("{}.{}", graph.node(edge.node).name, edge.output))
}

fn change(what: &str, first: Option<&str>, second: Option<&str>) -> Change {
    Change {
        what: what.into(),
        first: first.map(String::from),
        second: second.map(String::from),
    }
}
