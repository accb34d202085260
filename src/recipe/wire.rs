//! The edges of a recipe: what stands in `in`, against the ports and outputs of the kinds. Knows no parameters.

use crate::check;
use crate::draft::Draft;
use crate::tree::{Entry, Item, Shape, Table};
use base::diag::{Diag, Diags, Place};
use base::text::{did_you_mean, listed};
use engine::graph::{Edge, Hop, Inputs, Node, NodeId};
use engine::kind::{Kind, Need, Output, Port, Type};
use std::collections::BTreeMap;

pub struct Wiring<'a> {
    /// Nodes whose kind is known; an edge's `NodeId` is a place in here.
    pub drafts: &'a [Draft<'a>],
    /// All nodes.
    pub nodes: &'a Table,
    /// By place in `nodes`: the place in `drafts`.
    pub places: &'a [Option<usize>],
    pub dropped: &'a BTreeMap<String, Place>,
}

/// Nodes that are offered in the place of one that does not fit.
const OFFERED: usize = 20;

impl Wiring<'_> {
    /// The edges of a node by port; what is wrong is left out and reported.
    pub fn inputs(&self, draft: &Draft, diags: &mut Diags) -> Inputs {
        let mut inputs = Inputs::default();
        let empty = Table::default();
        let written = match draft.table.get("in").map(|e| &e.item) {
            None => &empty,
            Some(Item {
                shape: Shape::Table(table),
                ..
            }) => table,
            Some(Item {
                shape: Shape::Bad, ..
            }) => return inputs,
            Some(item) => {
                let diag = check::wrong("a table of ports", "in", item);
                diags.push(diag.help("write `in = { port = \"node\" }`"));
                return inputs;
            }
        };
        for entry in written.entries() {
            match draft.kind.port(&entry.key) {
                Some(port) => {
                    if let Some(edge) = self.edge(draft, port, entry, diags) {
                        inputs.insert(port.name, edge);
                    }
                }
                None => diags.push(unknown_port(draft, entry)),
            }
        }
        for port in draft.kind.inputs {
            let connected = written.get(port.name).filter(|e| !is_cut(&e.item));
            if matches!(port.need, Need::Always) && connected.is_none() && !is_meant(draft, port) {
                diags.push(lacking(draft, port));
            }
        }
        inputs
    }

    fn edge(&self, draft: &Draft, port: &Port, entry: &Entry, diags: &mut Diags) -> Option<Edge> {
        let text = match &entry.item.shape {
            Shape::Str(text) => text,
            Shape::Bad => return None,
            _ if is_cut(&entry.item) => return None,
            _ => {
                diags.push(check::wrong("the name of a node", &entry.key, &entry.item));
                return None;
            }
        };
        let at = &entry.item.at;
        let (name, output) = match text.split_once('.') {
            Some((name, output)) => (name, Some(output)),
            None => (text.as_str(), None),
        };
        let Some(node) = self.nodes.find(name) else {
            let diag = Diag::at(at, format!("unknown node `{name}`"));
            diags.push(match self.dropped.get(name) {
                Some(place) => diag.related(place, "dropped here"),
                None => diags.among(diag, name, self.nodes.keys()),
            });
            return None;
        };
        // A node whose kind is unknown is reported at its own place.
        let place = self.places[node]?;
        let output = find_output(self.drafts[place].kind, name, output, port.ty, at, diags)?;
        if output.ty != port.ty {
            let (takes, gives) = (phrase(port.ty), phrase(output.ty));
            let message = format!("port `{}` takes {takes}, `{text}` gives {gives}", port.name);
            let fitting: Vec<&str> = self
                .drafts
                .iter()
                .filter(|d| d.entry.key != draft.entry.key)
                .filter(|d| d.kind.outputs.first().is_some_and(|o| o.ty == port.ty))
                .map(|d| d.entry.key.as_str())
                .take(OFFERED)
                .collect();
            let diag = Diag::at(at, message);
            diags.push(match fitting.is_empty() {
                true => diag,
                false => diag.help(format!("nodes that give {takes}: {}", listed(fitting))),
            });
            return None;
        }
        Some(Edge {
            node: NodeId(place),
            output: output.name,
        })
    }
}

/// `port = false` takes back what the parent connects: tables merge, and nothing else would.
fn is_cut(item: &Item) -> bool {
    matches!(item.shape, Shape::Bool(false))
}

/// Whether every edge that is written is there: one to a node whose kind is unknown is not, and is reported elsewhere.
pub fn all_connected(draft: &Draft, inputs: &Inputs) -> bool {
    let Some(Shape::Table(written)) = draft.table.get("in").map(|e| &e.item.shape) else {
        return true;
    };
    let entries = written.entries().iter();
    entries.filter(|e| !is_cut(&e.item)).count() == inputs.len()
}

/// Whether something that is written in another place or misspelt, and reported so, means this port.
fn is_meant(draft: &Draft, port: &Port) -> bool {
    let ports = || draft.kind.inputs.iter().map(|p| p.name);
    let near = |key: &str| {
        draft.kind.port(key).is_none() && did_you_mean(key, ports()).as_deref() == Some(port.name)
    };
    let within = match draft.table.get("in").map(|e| &e.item.shape) {
        Some(Shape::Table(written)) => written.keys().any(near),
        _ => false,
    };
    let specs = (draft.kind.params)().into_iter();
    let mut specs = specs.chain(draft.kind.execution());
    let beside = draft.table.get(port.name).is_some();
    within || beside && !specs.any(|spec| spec.key() == port.name)
}

/// Reports ports that the node's parameters ask for.
pub fn needed(draft: &Draft, node: &Node, diags: &mut Diags) {
    let written = match draft.table.get("in").map(|e| &e.item.shape) {
        Some(Shape::Table(written)) => Some(written),
        None => None,
        _ => return,
    };
    for port in draft.kind.inputs {
        let conditional = matches!(port.need, Need::With { .. });
        let there = written.and_then(|w| w.get(port.name));
        let there = there.is_some_and(|entry| !is_cut(&entry.item));
        if conditional && !there && port.need.of(&node.params) && !is_meant(draft, port) {
            diags.push(lacking(draft, port));
        }
    }
}

fn lacking(draft: &Draft, port: &Port) -> Diag {
    let message = format!("node `{}` lacks the input `{}`", draft.entry.key, port.name);
    let needs = format!("`{}` needs {}", draft.kind.name, phrase(port.ty));
    let label = match port.need {
        Need::With { when, .. } => format!("{needs} {when}"),
        _ => needs,
    };
    let diag = Diag::at(&draft.entry.key_at, message).label(label);
    diag.help(format!("write `in = {{ {} = \"node\" }}`", port.name))
}

/// Reports the edges of a node to outputs that the other node's parameters rule out.
pub fn undelivered(draft: &Draft, node: &Node, nodes: &[Node], diags: &mut Diags) {
    let Some(Shape::Table(written)) = draft.table.get("in").map(|e| &e.item.shape) else {
        return;
    };
    for (port, edge) in &node.inputs {
        let from = &nodes[edge.node.0];
        let only = from
            .kind
            .output(edge.output)
            .and_then(|o| o.only_with.as_ref());
        if let (Some(only), Some(entry)) = (only, written.get(port))
            && !(only.given)(&from.params)
        {
            let message = format!("`{}` gives no `{}` as it is set", from.name, edge.output);
            diags.push(Diag::at(&entry.item.at, message).help(only.hint));
        }
    }
}

/// Edges of a circle that are shown where they are written.
const EDGES: usize = 8;

/// Edges of a circle that are told in a line, beside the one that closes it.
const TOLD: usize = 100;

/// The edges of a circle, of a very long one the first and the one that closes it: in a line, and each where it is written.
pub fn circle(hops: &[Hop], nodes: &Table) -> Diag {
    let mut message = format!("nodes need each other: {}", hops[0].from);
    for (i, hop) in hops.iter().enumerate() {
        match i {
            TOLD if hops.len() > TOLD + 1 => message += " -> …",
            i if i < TOLD || i + 1 == hops.len() => {
                message += &format!(" -> {} ({})", hop.to, hop.port);
            }
            _ => {}
        }
    }
    let written = |hop: &Hop| {
        let Shape::Table(user) = &nodes.get(&hop.to)?.item.shape else {
            return None;
        };
        let Shape::Table(ports) = &user.get("in")?.item.shape else {
            return None;
        };
        Some(ports.get(hop.port)?.item.at.clone())
    };
    let mut diag = Diag::plain(message);
    for hop in hops.iter().take(EDGES) {
        let Some(place) = written(hop) else { continue };
        let label = format!("`{}` needs `{}`", hop.to, hop.from);
        diag = match diag.place {
            None => Diag {
                place: Some(place),
                label,
                ..diag
            },
            Some(_) => diag.related(&place, label),
        };
    }
    match hops.len() > EDGES {
        true => diag.help(format!(
            "{} more edges are in the circle",
            hops.len() - EDGES
        )),
        false => diag,
    }
}

fn find_output(
    kind: &'static Kind,
    name: &str,
    output: Option<&str>,
    wanted: Type,
    at: &Place,
    diags: &mut Diags,
) -> Option<&'static Output> {
    let first = kind.outputs.first();
    let found = match output {
        Some(output) => kind.output(output),
        // Where a node delivers what it is told to, its name alone means what fits.
        None if first.is_some_and(|o| o.only_with.is_some()) => {
            kind.outputs.iter().find(|o| o.ty == wanted).or(first)
        }
        None => first,
    };
    if found.is_none() {
        let message = match output {
            Some(output) => format!("`{name}` has no output `{output}`"),
            None => format!("`{name}` has no output"),
        };
        let diag = Diag::at(at, message);
        diags.push(match kind.outputs.is_empty() {
            true => diag,
            false => diag.help(format!(
                "outputs: {}",
                listed(kind.outputs.iter().map(|o| o.name))
            )),
        });
    }
    found
}

fn unknown_port(draft: &Draft, entry: &Entry) -> Diag {
    let (key, kind) = (&entry.key, draft.kind);
    let diag = Diag::at(&entry.key_at, format!("unknown input `{key}`"));
    let diag = diag.label(format!("not a port of `{}`", kind.name));
    let ports = || kind.inputs.iter().map(|p| p.name);
    match did_you_mean(key, ports()) {
        None if !kind.inputs.is_empty() => diag.help(format!("ports: {}", listed(ports()))),
        near => diag.suggest(near),
    }
}

/// As in "takes {}".
fn phrase(ty: Type) -> String {
    match ty {
        Type::Model => "a model".into(),
        Type::RewardModel => "a reward model".into(),
        Type::Adapter => "an adapter".into(),
        ty => ty.word().into(),
    }
}
