//! Named tables to typed nodes: kinds, and parameters with defaults written out; the edges are `wire`'s. Every error of every node is
//! reported in one pass; knows no kind by name.

use crate::check::{self, Folders};
use crate::draft::Draft;
use crate::tree::{Entry, Shape, Table};
use crate::wire::{self, Wiring};
use base::diag::{Diag, Diags, Place};
use base::idle;
use base::params::Problem;
use base::params::{Default, ParamSpec};
use base::setup::Setup;
use base::text::{did_you_mean, listed};
use base::value::{Value, Values};
use engine::graph::{Cycles, Graph, Node};
use engine::kind::{Kind, Need, Registry};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys of a node that are no parameters.
const OWN: [&str; 3] = ["kind", "in", "description"];

pub struct Resolver<'a> {
    pub registry: &'a Registry,
    pub folders: &'a Folders<'a>,
    pub dropped: &'a BTreeMap<String, Place>,
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
    pub fn graph(&self, nodes: &Table, idle: &mut IdleParams, diags: &mut Diags) -> Option<Graph> {
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
        let mut built: Vec<Node> = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            let (params, exec, sound) = self.params(draft, &shapes[draft.kind.name], diags);
            built.push(Node {
                name: draft.entry.key.clone(),
                kind: draft.kind,
                params,
                exec,
                inputs: wiring.inputs(draft, diags),
            });
            if sound {
                self.idle(draft, &built[built.len() - 1], idle);
            }
        }
        for (draft, node) in drafts.iter().zip(&built) {
            wire::needed(draft, node, diags);
            wire::undelivered(draft, node, &built, diags);
        }
        match Graph::new(built) {
            Ok(graph) if diags.is_empty() => {
                above(&graph, &drafts, diags);
                diags.is_empty().then_some(graph)
            }
            Ok(_) => None,
            Err(Cycles(all)) => {
                for cycle in &all {
                    diags.push(wire::circle(cycle, nodes));
                }
                None
            }
        }
    }

    fn idle(&self, draft: &Draft, node: &Node, seen: &mut IdleParams) {
        let mut values = (*node.params).clone();
        values.extend((*node.exec).clone());
        let ports: Vec<&'static str> = node.inputs.keys().copied().collect();
        let setup = Setup {
            values: &values,
            ports: &ports,
        };
        for (name, idle) in idle::idle((draft.kind.params)(), &setup) {
            let told = idle.map(|idle| {
                // What a parent wrote cannot be taken back by who only changes what it hangs on.
                let inherited = draft
                    .table
                    .get(name)
                    .is_some_and(|e| self.folders.is_elder(&e.item.at));
                (diag(draft, idle.problem), idle.refused && !inherited)
            });
            seen.see(&node.name, name, told);
        }
        for port in draft.kind.inputs {
            let Need::With { when, .. } = port.need else {
                continue;
            };
            if node.inputs.get(port.name).is_some() {
                let unread = !port.need.of(&node.params);
                let path = format!("in.{}", port.name);
                let message = format!(
                    "the input `{}` is needed {when}: here it is not read",
                    port.name
                );
                let diag = Diag::at(locate(draft, &path), message);
                seen.see(&node.name, port.name, unread.then_some((diag, false)));
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
    ) -> (Arc<Values>, Arc<Values>, bool) {
        for entry in draft.table.entries() {
            let key = entry.key.as_str();
            if !OWN.contains(&key) && !identity.has(key) && !exec.has(key) {
                diags.push(unknown_param(draft, entry, &identity.specs, &exec.specs));
            }
        }
        let (identity, mut wrong) = self.block(draft, identity, diags);
        let (exec, wrong_exec) = self.block(draft, exec, diags);
        wrong.extend(wrong_exec);
        if draft.kind.check.is_some() {
            own_checks(draft, &identity, &exec, &wrong, diags);
        }
        (identity, exec, wrong.is_empty())
    }

    /// The values, and the parameters that are wrong, of which there is none.
    fn block<'b>(
        &self,
        draft: &Draft,
        block: &'b Block,
        diags: &mut Diags,
    ) -> (Arc<Values>, Vec<&'b ParamSpec>) {
        if let Some(unsaid) = &block.unsaid
            && !draft.table.keys().any(|key| block.has(key))
        {
            return (unsaid.clone(), vec![]);
        }
        let mut wrong = vec![];
        let mut values = Values::new();
        for spec in &block.specs {
            match self.param(draft, spec, diags) {
                Ok(Some(value)) => {
                    let problems = spec.problems(&value);
                    match problems.is_empty() {
                        true => drop(values.insert(spec.name.into(), value)),
                        false => wrong.push(spec),
                    }
                    problems.into_iter().for_each(|p| report(draft, p, diags));
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
    all.extend(exec.clone());
    let look = |second: bool| {
        let mut all = all.clone();
        for spec in wrong {
            if let Some(value) = spec.stand_in(second) {
                all.insert(spec.name.into(), value);
            }
        }
        draft.kind.check.map_or(vec![], |check| check(&all))
    };
    let mut found = look(false);
    if !wrong.is_empty() {
        let again = look(true);
        found.retain(|problem| {
            let param = problem.path.split('.').next();
            again.contains(problem) && !wrong.iter().any(|spec| Some(spec.name) == param)
        });
    }
    found.into_iter().for_each(|p| report(draft, p, diags));
}

fn report(draft: &Draft, problem: Problem, diags: &mut Diags) {
    diags.push(diag(draft, problem));
}

fn diag(draft: &Draft, problem: Problem) -> Diag {
    let diag = Diag::at(locate(draft, &problem.path), problem.message);
    match problem.help {
        Some(help) => diag.help(help),
        None => diag,
    }
}

/// Reports what does not fit what stands above it.
fn above(graph: &Graph, drafts: &[Draft], diags: &mut Diags) {
    let asks = |d: &&Draft| d.kind.above.is_some();
    for draft in drafts.iter().filter(asks) {
        if let (Some(above), Some(id)) = (draft.kind.above, graph.find(&draft.entry.key)) {
            above(graph, id)
                .into_iter()
                .for_each(|p| report(draft, p, diags));
        }
    }
}

/// Parameters that are set and do nothing, by node and name, over the choices of a recipe's axes: what acts in any of them is meant.
#[derive(Default)]
pub struct IdleParams(BTreeMap<(String, &'static str), Option<(Diag, bool)>>);

impl IdleParams {
    fn see(&mut self, node: &str, param: &'static str, idle: Option<(Diag, bool)>) {
        let kept = self
            .0
            .entry((node.into(), param))
            .or_insert_with(|| idle.clone());
        if idle.is_none() {
            *kept = None;
        }
    }

    pub fn report(self, diags: &mut Diags) {
        for (diag, refused) in self.0.into_values().flatten() {
            match refused {
                true => diags.push(diag),
                false => diags.aside(diag.warning()),
            }
        }
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
