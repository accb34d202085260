//! Named tables to typed nodes: kinds, and parameters with defaults written out; the edges are `wire`'s. Every error of every node is
//! reported in one pass; knows no kind by name.

use crate::base::diag::{Diag, Diags, Place};
use crate::base::text::{did_you_mean, listed};
use crate::base::value::{Value, Values};
use crate::engine::graph::{Cycles, Graph, Node};
use crate::engine::kind::{Kind, Problem, Registry, no_check};
use crate::engine::params::{Default, ParamSpec};
use crate::recipe::check::{self, Folders};
use crate::recipe::tree::{Entry, Shape, Table};
use crate::recipe::wire::{self, Wiring};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys of a node that are no parameters.
const OWN: [&str; 3] = ["kind", "in", "description"];

pub struct Resolver<'a> {
    pub registry: &'a Registry,
    pub folders: &'a Folders<'a>,
    pub dropped: &'a BTreeMap<String, Place>,
}

/// A node whose kind is known.
pub struct Draft<'a> {
    pub entry: &'a Entry,
    pub table: &'a Table,
    pub kind: &'static Kind,
}

/// The parameters of a kind: (identity, execution).
struct Shapes(Block, Block);

struct Block {
    specs: Vec<ParamSpec>,
    /// What a node is that says nothing of these; absent where it has to.
    unsaid: Option<Arc<Values>>,
}

impl Shapes {
    fn of(kind: &Kind) -> Shapes {
        Shapes(Block::of((kind.params)()), Block::of((kind.exec)()))
    }
}

impl Block {
    fn of(specs: Vec<ParamSpec>) -> Block {
        let mut values = Values::new();
        let mut needed = false;
        for spec in &specs {
            match &spec.default {
                Default::Required => needed = true,
                Default::Absent => {}
                Default::Value(value) => {
                    values.insert(spec.name.into(), value.clone());
                }
            }
        }
        let unsaid = (!needed).then(|| Arc::new(values));
        Block { specs, unsaid }
    }

    fn has(&self, name: &str) -> bool {
        self.specs.iter().any(|s| s.name == name)
    }
}

/// It is wrong and the reader is told.
struct Reported;

impl Resolver<'_> {
    /// `None` where anything is wrong.
    pub fn graph(&self, nodes: &Table, diags: &mut Diags) -> Option<Graph> {
        let mut drafts = vec![];
        let mut places = vec![None; nodes.entries().len()];
        for (place, entry) in places.iter_mut().zip(nodes.entries()) {
            if let Some(draft) = self.draft(entry, diags) {
                *place = Some(drafts.len());
                drafts.push(draft);
            }
        }
        let mut shapes: BTreeMap<&str, Shapes> = BTreeMap::new();
        for draft in &drafts {
            let kind = draft.kind;
            shapes.entry(kind.name).or_insert_with(|| Shapes::of(kind));
        }
        let wiring = Wiring {
            drafts: &drafts,
            nodes,
            places: &places,
            dropped: self.dropped,
        };
        let mut built = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            let (params, exec) = self.params(draft, &shapes[draft.kind.name], diags);
            built.push(Node {
                name: draft.entry.key.clone(),
                kind: draft.kind,
                params,
                exec,
                inputs: wiring.inputs(draft, diags),
            });
        }
        for (draft, node) in drafts.iter().zip(&built) {
            wire::needed(draft, node, diags);
            wire::undelivered(draft, node, &built, diags);
        }
        match Graph::new(built) {
            Ok(graph) => diags.is_empty().then_some(graph),
            Err(Cycles(all)) => {
                for cycle in &all {
                    diags.push(wire::circle(cycle, nodes));
                }
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
    fn params(
        &self,
        draft: &Draft,
        Shapes(identity, exec): &Shapes,
        diags: &mut Diags,
    ) -> (Arc<Values>, Arc<Values>) {
        for entry in draft.table.entries() {
            let key = entry.key.as_str();
            if !OWN.contains(&key) && !identity.has(key) && !exec.has(key) {
                diags.push(unknown_param(draft, entry, &identity.specs, &exec.specs));
            }
        }
        let (identity, sound) = self.block(draft, identity, diags);
        let (exec, exec_sound) = self.block(draft, exec, diags);
        let plain = std::ptr::fn_addr_eq(draft.kind.check, no_check as fn(&Values) -> Vec<Problem>);
        // A kind's own checks may rely on presence and types, so they wait until these are right.
        if sound && exec_sound && !plain {
            own_checks(draft, &identity, &exec, diags);
        }
        (identity, exec)
    }

    /// The values, and whether they are right.
    fn block(&self, draft: &Draft, block: &Block, diags: &mut Diags) -> (Arc<Values>, bool) {
        if let Some(unsaid) = &block.unsaid
            && !draft.table.keys().any(|key| block.has(key))
        {
            return (unsaid.clone(), true);
        }
        let mut sound = true;
        let mut values = Values::new();
        for spec in &block.specs {
            match self.param(draft, spec, diags) {
                Ok(Some(value)) => {
                    values.insert(spec.name.into(), value);
                }
                Ok(None) => {}
                Err(Reported) => sound = false,
            }
        }
        (Arc::new(values), sound)
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
        && !Arc::ptr_eq(&k.key_at.source, &entry.key_at.source)
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

fn own_checks(draft: &Draft, identity: &Values, exec: &Values, diags: &mut Diags) {
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
