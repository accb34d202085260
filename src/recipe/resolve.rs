//! Named tables to typed nodes: kinds, and parameters with defaults written out; the edges are `wire`'s. Every error of every node is
//! reported in one pass; knows no kind by name.

use crate::check::{self, Folders};
use crate::draft::Draft;
use crate::flags;
use crate::idle::{self, IdleParams};
use crate::matrix::Axis;
use crate::said::{Half, Said, Shapes};
use crate::tree::{Entry, Shape, Table};
use crate::wire::{self, Wiring};
use base::diag::{Diag, Diags, Place};
use base::params::{Default, ParamSpec};
use base::setup::Setup;
use base::text::{alike, did_you_mean, listed};
use base::value::{self, Value, Values};
use engine::graph::{Cycles, Graph, Inputs, Node, NodeId};
use engine::kind::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub struct Resolver<'a> {
    pub registry: &'a Registry,
    pub folders: &'a Folders<'a>,
    pub dropped: &'a BTreeMap<String, Place>,
    /// Whether a run kept the recipe: see `from_resolved`.
    pub resolved: bool,
    pub axes: &'a [Axis],
}

/// It is wrong and the reader is told.
struct Reported;

fn table(entry: &Entry) -> Option<&Table> {
    match &entry.item.shape {
        Shape::Table(table) => Some(table),
        _ => None,
    }
}

/// Kinds that are offered where none is near.
const OFFERED: usize = 6;

impl Resolver<'_> {
    /// `None` where anything is wrong.
    pub fn graph(&self, nodes: &Table, idle: &mut IdleParams, diags: &mut Diags) -> Option<Graph> {
        // Of what a child failed to say the parent's word stands, and would be blamed.
        let composed = diags.is_empty();
        let mut drafts = Vec::with_capacity(nodes.entries().len());
        let mut places = vec![None; nodes.entries().len()];
        for (place, entry) in places.iter_mut().zip(nodes.entries()) {
            if let Some(draft) = self.draft(entry, diags) {
                *place = Some(drafts.len());
                drafts.push(draft);
            }
        }
        let mut shapes: BTreeMap<&str, Shapes> = BTreeMap::new();
        let mut sound = vec![];
        for draft in &mut drafts {
            let (kind, before) = (draft.kind, diags.len());
            let shapes = shapes.entry(kind.name);
            draft.spelled = shapes
                .or_insert_with(|| Shapes::of(kind))
                .spelled(draft, diags);
            sound.push(diags.len() == before);
        }
        had_somewhere(&drafts, &shapes, diags);
        let wiring = Wiring {
            drafts: &drafts,
            nodes,
            places: &places,
            dropped: self.dropped,
        };
        let mut built: Vec<Node> = Vec::with_capacity(drafts.len());
        for (draft, sound) in drafts.iter().zip(&mut sound) {
            let before = diags.len();
            let shapes = &shapes[draft.kind.name];
            let inputs = wiring.inputs(draft, diags);
            let settled = self.settled(draft, shapes, &inputs);
            let without = settled.as_ref().and_then(table);
            idle::look_for_all(draft, without, |path| shapes.knows(path), idle);
            let draft = &Draft {
                entry: settled.as_ref().unwrap_or(draft.entry),
                table: settled.as_ref().and_then(table).unwrap_or(draft.table),
                spelled: draft.spelled.clone(),
                ..*draft
            };
            let (params, exec, right) = self.params(draft, shapes, diags);
            *sound &= diags.len() == before && wire::all_connected(draft, &inputs);
            built.push(Node {
                name: draft.entry.key.clone(),
                kind: draft.kind,
                params,
                exec,
                inputs,
            });
            if let (Some(node), true) = (built.last(), right) {
                idle::look(self.folders, draft, node, idle);
            }
        }
        for ((draft, node), sound) in drafts.iter().zip(&built).zip(&mut sound) {
            let before = diags.len();
            wire::needed(draft, node, diags);
            wire::undelivered(draft, node, &built, diags);
            *sound &= diags.len() == before;
        }
        match Graph::new(built) {
            Ok(graph) => {
                if composed {
                    let wrong = drafts.iter().zip(&sound).filter(|(_, sound)| !**sound);
                    let wrong = wrong.map(|(draft, _)| draft.entry.key.as_str()).collect();
                    above(&graph, &drafts, &wrong, diags);
                }
                diags.is_empty().then_some(graph)
            }
            Err(Cycles(all)) => {
                for cycle in &all {
                    diags.push(wire::circle(cycle, nodes));
                }
                None
            }
        }
    }

    /// A node of which something was said for every node that has it, and does nothing here: as it is without.
    fn settled(&self, draft: &Draft, shapes: &Shapes, inputs: &Inputs) -> Option<Entry> {
        if !flags::says_for_every_node(draft.table) {
            return None;
        }
        let ports: Vec<&'static str> = inputs.keys().copied().collect();
        let mut settled: Option<Entry> = None;
        // What was taken back may have been what others hang on.
        loop {
            let draft = &Draft {
                entry: settled.as_ref().unwrap_or(draft.entry),
                table: settled.as_ref().and_then(table).unwrap_or(draft.table),
                spelled: draft.spelled.clone(),
                ..*draft
            };
            // What is wrong is reported of what stays in the end.
            let (params, exec, right) = self.params(draft, shapes, &mut Diags::default());
            let mut values = (*params).clone();
            value::merge(&mut values, &exec);
            let setup = Setup {
                values: &values,
                ports: &ports,
            };
            let idle = match right {
                true => idle::set_for_all(draft, &setup),
                false => vec![],
            };
            if idle.is_empty() {
                return settled;
            }
            settled = Some(flags::taken_back(draft.entry, &idle));
        }
    }

    fn draft<'n>(&'n self, entry: &'n Entry, diags: &mut Diags) -> Option<Draft<'n>> {
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
            diags.push(diag.help(self.kinds_like(&entry.key)));
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
                None => diag.help(self.kinds_like(word)),
                near => diag.suggest(near),
            });
            return None;
        };
        Some(Draft {
            entry,
            table,
            kind,
            spelled: vec![],
            resolved: self.resolved,
            axes: self.axes,
        })
    }

    /// What is said where no kind is meant in particular.
    fn kinds_like(&self, word: &str) -> String {
        let all = alike(word, self.registry.names());
        match all.len() > OFFERED {
            true => format!(
                "the kinds that are most like it: {}; `pipe kinds` explains all {}",
                listed(all[..OFFERED].iter().copied()),
                all.len()
            ),
            false => format!("kinds: {}", listed(all)),
        }
    }

    /// (identity, execution), defaults written out.
    fn params(
        &self,
        draft: &Draft,
        shapes: &Shapes,
        diags: &mut Diags,
    ) -> (Arc<Values>, Arc<Values>, bool) {
        let (identity, mut wrong) = self.half(draft, &shapes.0, diags);
        let (exec, wrong_exec) = self.half(draft, &shapes.1, diags);
        wrong.extend(wrong_exec);
        if draft.kind.check.is_some() || !exec.is_empty() {
            own_checks(draft, &identity, &exec, &wrong, diags);
        }
        (identity, exec, wrong.is_empty())
    }

    /// The values, and the parameters that are wrong, of which there is none.
    fn half<'b>(
        &self,
        draft: &Draft,
        half: &'b Half,
        diags: &mut Diags,
    ) -> (Arc<Values>, Vec<&'b ParamSpec>) {
        if let Some(unsaid) = &half.unsaid
            && draft.spelled.is_empty()
            && !draft.table.keys().any(|key| half.has(key))
        {
            return (unsaid.clone(), vec![]);
        }
        let mut wrong = vec![];
        let mut values = Values::new();
        for spec in &half.specs {
            match self.param(draft, spec, &mut values, diags) {
                Ok(Some(value)) => {
                    let problems = spec.problems(&value);
                    match problems.is_empty() {
                        true => value::put(&mut values, spec.name, value),
                        false => wrong.push(spec),
                    }
                    problems.into_iter().for_each(|p| diags.push(draft.diag(p)));
                }
                Ok(None) => {}
                Err(Reported) => wrong.push(spec),
            }
        }
        (Arc::new(values), wrong)
    }

    /// `None` where the parameter is optional and absent.
    fn param(
        &self,
        draft: &Draft,
        spec: &ParamSpec,
        values: &mut Values,
        diags: &mut Diags,
    ) -> Result<Option<Value>, Reported> {
        let said = Said::of(draft, spec);
        if let (Said::Entry(_) | Said::Nothing, Some(block)) = (&said, spec.block)
            && block.optional
        {
            // Also where it says nothing.
            let table = values.entry(block.name.into());
            table.or_insert_with(|| Value::Table(Values::new()));
        }
        match (said, &spec.default) {
            (Said::Entry(entry), _) => {
                check::param(spec, entry, self.folders, self.resolved, diags)
                    .map(Some)
                    .ok_or(Reported)
            }
            (Said::Wrong, _) => Err(Reported),
            (Said::NoBlock, _) => Ok(None),
            (Said::Nothing, Default::Value(value)) => Ok(Some(value.clone())),
            (Said::Nothing, Default::Absent) => Ok(None),
            (Said::Nothing, Default::Required) => {
                let (name, kind) = (&draft.entry.key, draft.kind.name);
                let message = format!("node `{name}` lacks `{}`", spec.name);
                let label = format!("`{kind}` needs it, {}", spec.ty.describe());
                let help = format!("`{}`: {}", spec.name, spec.doc.trim());
                let diag = Diag::at(draft.locate(spec.name), message);
                diags.push(diag.label(label).help(help));
                Err(Reported)
            }
        }
    }
}

/// Reports what the command line sets at every node that has it, where none has.
fn had_somewhere(drafts: &[Draft], shapes: &BTreeMap<&str, Shapes>, diags: &mut Diags) {
    let mut set = BTreeMap::new();
    for draft in drafts {
        flags::set_for_every_node(draft.table, "", &mut set);
    }
    let known = |path: &str| shapes.values().any(|shapes| shapes.knows(path));
    let unknown: Vec<_> = set.iter().filter(|(path, _)| !known(path)).collect();
    for (path, at) in &unknown {
        // What is said of a block counts for all in it.
        let of_block = path.rsplit_once('.');
        if of_block.is_some_and(|(block, _)| set.contains_key(block) && !known(block)) {
            continue;
        }
        let diag = Diag::at(at, format!("no node has a parameter `{path}`"));
        let names = shapes.values().flat_map(Shapes::names);
        diags.push(diag.suggest(did_you_mean(path, names)));
    }
}

/// What the kind itself finds. It may rely on presence and types, so that for what is `wrong` something stands in, twice: what it
/// finds both times does not hang on that.
fn own_checks(
    draft: &Draft,
    identity: &Values,
    exec: &Values,
    wrong: &[&ParamSpec],
    diags: &mut Diags,
) {
    let mut all = identity.clone();
    value::merge(&mut all, exec);
    let look = |second: bool| {
        let mut all = all.clone();
        for spec in wrong {
            if let Some(value) = spec.stand_in(second) {
                value::put(&mut all, spec.name, value);
            }
        }
        draft.kind.checked(&all)
    };
    let mut found = look(false);
    if !wrong.is_empty() {
        let again = look(true);
        found.retain(|problem| {
            let path = &problem.path;
            let of = |s: &&ParamSpec| {
                path.strip_prefix(s.name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            again.contains(problem) && !wrong.iter().any(of)
        });
    }
    found.into_iter().for_each(|p| diags.push(draft.diag(p)));
}

/// Reports what does not fit what stands above it; of nodes that are wrong, or have such a one above, nothing can be told.
fn above(graph: &Graph, drafts: &[Draft], wrong: &BTreeSet<&str>, diags: &mut Diags) {
    let asks = |d: &&Draft| d.kind.above.is_some();
    for draft in drafts.iter().filter(asks) {
        if let (Some(above), Some(id)) = (draft.kind.above, graph.find(&draft.entry.key)) {
            let is_wrong = |id: &NodeId| wrong.contains(graph.node(*id).name.as_str());
            if !wrong.is_empty() && graph.closure(&[id]).iter().any(is_wrong) {
                continue;
            }
            above(graph, id)
                .into_iter()
                .for_each(|p| diags.push(draft.diag(p)));
        }
    }
}
