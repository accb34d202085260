//! Named tables to typed nodes: kinds, and parameters with defaults written out; the edges are `wire`'s. Every error of every node is
//! reported in one pass; knows no kind by name.

use crate::base::diag::{Diag, Diags, Place};
use crate::base::text::{did_you_mean, listed};
use crate::base::value::{Value, Values};
use crate::engine::graph::{Graph, Node};
use crate::engine::kind::{Kind, Registry};
use crate::engine::params::{Default, ParamSpec};
use crate::recipe::check::{self, Folders};
use crate::recipe::tree::{Entry, Shape, Table};
use crate::recipe::wire::{self, Wiring};

/// Keys of a node that are no parameters.
const OWN: [&str; 3] = ["kind", "in", "description"];

pub struct Resolver<'a> {
    pub registry: &'a Registry,
    pub folders: &'a Folders<'a>,
    pub dropped: &'a [(String, Place)],
}

/// A node whose kind is known.
pub struct Draft<'a> {
    pub entry: &'a Entry,
    pub table: &'a Table,
    pub kind: &'static Kind,
}

/// It is wrong and the reader is told.
struct Reported;

impl Resolver<'_> {
    /// `None` where anything is wrong.
    pub fn graph(&self, nodes: &Table, diags: &mut Diags) -> Option<Graph> {
        let drafts: Vec<Draft> = nodes
            .entries
            .iter()
            .filter_map(|e| self.draft(e, diags))
            .collect();
        let wiring = Wiring {
            drafts: &drafts,
            nodes,
            dropped: self.dropped,
        };
        let mut built = vec![];
        for draft in &drafts {
            let (params, exec) = self.params(draft, diags);
            built.push(Node {
                name: draft.entry.key.clone(),
                kind: draft.kind,
                params,
                exec,
                inputs: wiring.inputs(draft, diags),
            });
        }
        for (draft, node) in drafts.iter().zip(&built) {
            wire::undelivered(draft, node, &built, diags);
        }
        match Graph::new(built) {
            Ok(graph) => diags.is_empty().then_some(graph),
            Err(cycle) => {
                diags.push(wire::circle(&cycle, nodes));
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
        let mut sound = true;
        for entry in &draft.table.entries {
            let known = |specs: &[ParamSpec]| specs.iter().any(|s| s.name == entry.key);
            if !OWN.contains(&entry.key.as_str()) && !known(&identity) && !known(&exec) {
                diags.push(unknown_param(draft, entry, &identity, &exec));
            }
        }
        let mut read = |specs: &[ParamSpec]| {
            let mut values = Values::new();
            for spec in specs {
                match self.param(draft, spec, diags) {
                    Ok(Some(value)) => {
                        values.insert(spec.name.into(), value);
                    }
                    Ok(None) => {}
                    Err(Reported) => sound = false,
                }
            }
            values
        };
        let values = (read(&identity), read(&exec));
        // A kind's own checks may rely on presence and types, so they wait until these are right.
        if sound {
            own_checks(draft, &values, diags);
        }
        values
    }

    /// `None` where the parameter is optional and absent.
    fn param(
        &self,
        draft: &Draft,
        spec: &ParamSpec,
        diags: &mut Diags,
    ) -> Result<Option<Value>, Reported> {
        match (draft.table.get(spec.name), &spec.default) {
            (Some(entry), _) => check::param(spec, entry, self.folders, diags)
                .map(Some)
                .ok_or(Reported),
            (None, Default::Value(value)) => Ok(Some(value.clone())),
            (None, Default::Absent) => Ok(None),
            (None, Default::Required) => {
                let (name, kind) = (&draft.entry.key, draft.kind.name);
                let message = format!("node `{name}` lacks `{}`", spec.name);
                let label = format!("`{kind}` needs it, {}", spec.ty.describe());
                let help = format!("`{}`: {}", spec.name, spec.doc.trim());
                diags.push(
                    Diag::at(&draft.entry.key_at, message)
                        .label(label)
                        .help(help),
                );
                Err(Reported)
            }
        }
    }
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
