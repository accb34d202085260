//! Named tables to typed nodes: kinds, parameters with defaults written out, edges. Every error of every node is
//! reported in one pass; knows no kind by name.

use crate::base::diag::{Diag, Diags, Place};
use crate::base::text::{did_you_mean, listed};
use crate::base::value::Values;
use crate::engine::graph::{Cycle, Edge, Graph, Node, NodeId};
use crate::engine::kind::{Kind, Output, Port, Registry, Type};
use crate::engine::params::{Default, ParamSpec};
use crate::recipe::check::{self, Folders};
use crate::recipe::tree::{Entry, Item, Shape, Table};
use std::collections::BTreeMap;

/// Keys of a node that are no parameters.
const OWN: [&str; 3] = ["kind", "in", "description"];

pub struct Resolver<'a> {
    pub registry: &'a Registry,
    pub folders: &'a Folders<'a>,
    pub dropped: &'a [(String, Place)],
}

/// A node whose kind is known.
struct Draft<'a> {
    entry: &'a Entry,
    table: &'a Table,
    kind: &'static Kind,
}

impl Resolver<'_> {
    /// `None` where anything is wrong.
    pub fn graph(&self, nodes: &Table, diags: &mut Diags) -> Option<Graph> {
        let drafts: Vec<Draft> = nodes
            .entries
            .iter()
            .filter_map(|e| self.draft(e, diags))
            .collect();
        let mut built = vec![];
        for draft in &drafts {
            let (params, exec) = self.params(draft, diags);
            built.push(Node {
                name: draft.entry.key.clone(),
                kind: draft.kind,
                params,
                exec,
                inputs: self.inputs(draft, &drafts, nodes, diags),
            });
        }
        match Graph::new(built) {
            Ok(graph) => diags.is_empty().then_some(graph),
            Err(cycle) => {
                diags.push(circle(&cycle, nodes));
                None
            }
        }
    }

    fn draft<'n>(&self, entry: &'n Entry, diags: &mut Diags) -> Option<Draft<'n>> {
        let Shape::Table(table) = &entry.item.shape else {
            return None;
        };
        if let Some(text) = table.get("description")
            && !matches!(text.item.shape, Shape::Str(_) | Shape::Bad)
        {
            diags.push(check::wrong("a string", "description", &text.item));
        }
        let Some(kind) = table.get("kind") else {
            let diag = Diag::at(&entry.key_at, format!("node `{}` has no `kind`", entry.key));
            diags.push(diag.help(format!("kinds: {}", listed(self.registry.names()))));
            return None;
        };
        let word = match &kind.item.shape {
            Shape::Str(word) => word,
            Shape::Bad => return None,
            _ => {
                diags.push(check::wrong("a string", "kind", &kind.item));
                return None;
            }
        };
        let Some(kind) = self.registry.get(word) else {
            let diag = Diag::at(&kind.item.at, format!("unknown kind `{word}`"));
            let near = did_you_mean(word, self.registry.names());
            diags.push(match near {
                None => diag.help(format!("kinds: {}", listed(self.registry.names()))),
                near => diag.suggest(near),
            });
            return None;
        };
        Some(Draft { entry, table, kind })
    }

    /// (identity, execution), defaults written out.
    fn params(&self, draft: &Draft, diags: &mut Diags) -> (Values, Values) {
        let (identity, exec) = ((draft.kind.params)(), (draft.kind.exec)());
        let before = diags.len();
        for entry in &draft.table.entries {
            let known = |specs: &[ParamSpec]| specs.iter().any(|s| s.name == entry.key);
            if !OWN.contains(&entry.key.as_str()) && !known(&identity) && !known(&exec) {
                diags.push(unknown_param(draft, entry, &identity, &exec));
            }
        }
        let mut read = |specs: &[ParamSpec]| {
            let mut values = Values::new();
            for spec in specs {
                if let Some(value) = self.param(draft, spec, diags) {
                    values.insert(spec.name.into(), value);
                }
            }
            values
        };
        let values = (read(&identity), read(&exec));
        // A kind's own checks may rely on types, so they wait until these are right.
        if diags.len() == before {
            own_checks(draft, &values, diags);
        }
        values
    }

    fn param(
        &self,
        draft: &Draft,
        spec: &ParamSpec,
        diags: &mut Diags,
    ) -> Option<crate::base::value::Value> {
        match (draft.table.get(spec.name), &spec.default) {
            (Some(entry), _) => check::param(spec, entry, self.folders, diags),
            (None, Default::Value(value)) => Some(value.clone()),
            (None, Default::Absent) => None,
            (None, Default::Required) => {
                let (name, kind) = (&draft.entry.key, draft.kind.name);
                let diag = Diag::at(
                    &draft.entry.key_at,
                    format!("node `{name}` lacks `{}`", spec.name),
                );
                let label = format!("`{kind}` needs it, {}", spec.ty.describe());
                diags.push(
                    diag.label(label)
                        .help(format!("`{}`: {}", spec.name, spec.doc.trim())),
                );
                None
            }
        }
    }

    fn inputs(
        &self,
        draft: &Draft,
        drafts: &[Draft],
        nodes: &Table,
        diags: &mut Diags,
    ) -> BTreeMap<&'static str, Edge> {
        let mut inputs = BTreeMap::new();
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
        for entry in &written.entries {
            match draft.kind.port(&entry.key) {
                Some(port) => {
                    if let Some(edge) = self.edge(port, entry, drafts, nodes, diags) {
                        inputs.insert(port.name, edge);
                    }
                }
                None => diags.push(unknown_port(draft, entry)),
            }
        }
        for port in draft.kind.inputs {
            if port.required && written.get(port.name).is_none() {
                let message = format!("node `{}` lacks the input `{}`", draft.entry.key, port.name);
                let label = format!("`{}` needs {}", draft.kind.name, phrase(port.ty));
                let diag = Diag::at(&draft.entry.key_at, message).label(label);
                diags.push(diag.help(format!("write `in = {{ {} = \"node\" }}`", port.name)));
            }
        }
        inputs
    }

    fn edge(
        &self,
        port: &Port,
        entry: &Entry,
        drafts: &[Draft],
        nodes: &Table,
        diags: &mut Diags,
    ) -> Option<Edge> {
        let text = match &entry.item.shape {
            Shape::Str(text) => text,
            Shape::Bad => return None,
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
        if nodes.get(name).is_none() {
            let diag = Diag::at(at, format!("unknown node `{name}`"));
            let dropped = self.dropped.iter().find(|(dropped, _)| dropped == name);
            diags.push(match dropped {
                Some((_, place)) => diag.related(place, "dropped here"),
                None => diag.suggest(did_you_mean(name, nodes.keys())),
            });
            return None;
        }
        // A node whose kind is unknown is reported at its own place.
        let place = drafts.iter().position(|d| d.entry.key == name)?;
        let output = find_output(drafts[place].kind, name, output, at, diags)?;
        if output.ty != port.ty {
            let (takes, gives) = (phrase(port.ty), phrase(output.ty));
            let message = format!("port `{}` takes {takes}, `{text}` gives {gives}", port.name);
            let fitting: Vec<&str> = drafts
                .iter()
                .filter(|d| d.kind.outputs.first().is_some_and(|o| o.ty == port.ty))
                .map(|d| d.entry.key.as_str())
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

fn find_output(
    kind: &'static Kind,
    name: &str,
    output: Option<&str>,
    at: &Place,
    diags: &mut Diags,
) -> Option<&'static Output> {
    let found = match output {
        Some(output) => kind.output(output),
        None => kind.outputs.first(),
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

fn unknown_param(draft: &Draft, entry: &Entry, identity: &[ParamSpec], exec: &[ParamSpec]) -> Diag {
    let (key, kind) = (entry.key.as_str(), draft.kind);
    let message = format!("unknown parameter `{key}`");
    let mut diag =
        Diag::at(&entry.key_at, message).label(format!("not a parameter of `{}`", kind.name));
    // A child may have changed the kind of a node whose parameters the parent wrote.
    if let Some(k) = draft.table.get("kind")
        && !std::sync::Arc::ptr_eq(&k.key_at.source, &entry.key_at.source)
    {
        diag = diag.related(&k.item.at, "the kind is named here");
    }
    if kind.port(key).is_some() {
        return diag.help(format!(
            "`{key}` is an input: write `in = {{ {key} = \"node\" }}`"
        ));
    }
    let own = OWN.iter().copied();
    let names = identity.iter().chain(exec).map(|s| s.name);
    let ports = kind.inputs.iter().map(|p| p.name);
    diag.suggest(did_you_mean(key, names.chain(own).chain(ports)))
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

fn own_checks(draft: &Draft, (identity, exec): &(Values, Values), diags: &mut Diags) {
    let mut all = identity.clone();
    all.extend(exec.clone());
    for problem in (draft.kind.check)(&all) {
        let place = locate(draft, &problem.path);
        let diag = Diag::at(place, problem.message);
        diags.push(match problem.help {
            Some(help) => diag.help(help),
            None => diag,
        });
    }
}

/// The deepest part of a dotted path that the recipe wrote, or the node's name where it wrote none of it.
fn locate<'d>(draft: &'d Draft, path: &str) -> &'d Place {
    let mut place = &draft.entry.key_at;
    let mut item = &draft.entry.item;
    for step in path.split('.') {
        item = match &item.shape {
            Shape::Table(table) => match table.get(step) {
                Some(entry) => {
                    place = match entry.item.shape {
                        Shape::Table(_) => &entry.key_at,
                        _ => &entry.item.at,
                    };
                    &entry.item
                }
                None => return place,
            },
            Shape::List(items) => match step.parse::<usize>().ok().and_then(|i| items.get(i)) {
                Some(item) => {
                    place = &item.at;
                    item
                }
                None => return place,
            },
            _ => return place,
        };
    }
    place
}

/// At the edge from the first node of the circle to the second.
fn circle(Cycle(names): &Cycle, nodes: &Table) -> Diag {
    let message = format!("nodes need each other: {}", names.join(" -> "));
    let edge = nodes.get(&names[1]).and_then(|user| {
        let Shape::Table(table) = &user.item.shape else {
            return None;
        };
        let Shape::Table(ports) = &table.get("in")?.item.shape else {
            return None;
        };
        let refers = |e: &&Entry| matches!(&e.item.shape, Shape::Str(s) if s.split('.').next() == Some(&names[0]));
        ports.entries.iter().find(refers).map(|e| &e.item.at)
    });
    match edge {
        Some(place) => Diag::at(place, message),
        None => Diag::plain(message),
    }
}

/// As in "takes {}".
fn phrase(ty: Type) -> String {
    match ty {
        Type::Model => "a model".into(),
        Type::Adapter => "an adapter".into(),
        ty => ty.word().into(),
    }
}
