//! Named tables to typed nodes: kinds, and parameters with defaults written out; the edges are `wire`'s. Every error of every node is
//! reported in one pass; knows no kind by name.

use crate::check::{self, Folders};
use crate::draft::Draft;
use crate::tree::{Entry, Shape, Table};
use crate::wire::{self, Wiring};
use base::diag::{Diag, Diags, Place};
use base::idle;
use base::params::{self, Default, ParamSpec, Problem};
use base::setup::Setup;
use base::text::{did_you_mean, listed};
use base::value::{self, Value, Values};
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
struct Shapes(Half, Half);

struct Half {
    specs: Vec<ParamSpec>,
    /// What a node is that says nothing of these; absent where it has to.
    unsaid: Option<Arc<Values>>,
}

impl Shapes {
    fn of(kind: &Kind) -> Shapes {
        Shapes(Half::of(kind.params), Half::of(kind.exec))
    }

    fn specs(&self) -> impl Iterator<Item = &ParamSpec> {
        self.0.specs.iter().chain(&self.1.specs)
    }
}

impl Half {
    fn of(specs: fn() -> Vec<ParamSpec>) -> Half {
        let needs = |s: &ParamSpec| {
            matches!(s.default, Default::Required) && s.block.is_none_or(|block| !block.optional)
        };
        let unsaid = (!specs().iter().any(needs)).then(|| Arc::new(params::unsaid(specs())));
        Half {
            specs: specs(),
            unsaid,
        }
    }

    fn has(&self, key: &str) -> bool {
        self.specs.iter().any(|s| s.key() == key)
    }
}

/// What a recipe says of a parameter.
enum Said<'d> {
    Entry(&'d Entry),
    Nothing,
    /// The optional table that it would stand in is not there.
    NoBlock,
    /// Its table is none, which is reported by itself.
    NoTable,
}

impl<'d> Said<'d> {
    fn of(draft: &Draft<'d>, spec: &ParamSpec) -> Said<'d> {
        let entry = |table: &'d Table, key: &str| table.get(key).map_or(Said::Nothing, Said::Entry);
        let Some(block) = spec.block else {
            return entry(draft.table, spec.name);
        };
        match draft.table.get(block.name).map(|e| &e.item.shape) {
            Some(Shape::Table(table)) => entry(table, spec.field()),
            Some(Shape::Bool(false)) | None if block.optional => Said::NoBlock,
            Some(_) => Said::NoTable,
            None => Said::Nothing,
        }
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
        value::merge(&mut values, &node.exec);
        let ports: Vec<&'static str> = node.inputs.keys().copied().collect();
        let setup = Setup {
            values: &values,
            ports: &ports,
        };
        for (name, idle) in idle::idle((draft.kind.params)(), &setup) {
            let told = idle.map(|idle| {
                // What a parent wrote cannot be taken back by who only changes what it hangs on.
                let inherited = self.folders.is_elder(locate(draft, name));
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
        shapes: &Shapes,
        diags: &mut Diags,
    ) -> (Arc<Values>, Arc<Values>, bool) {
        for entry in draft.table.entries() {
            let key = entry.key.as_str();
            if OWN.contains(&key) {
                continue;
            }
            match shapes.specs().find(|s| s.key() == key) {
                None => diags.push(unknown_param(draft, entry, shapes)),
                Some(ParamSpec {
                    block: Some(block), ..
                }) => block_keys(draft, entry, *block, shapes, diags),
                Some(_) => {}
            }
        }
        let (identity, mut wrong) = self.half(draft, &shapes.0, diags);
        let (exec, wrong_exec) = self.half(draft, &shapes.1, diags);
        wrong.extend(wrong_exec);
        if draft.kind.check.is_some() {
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
            (Said::Entry(entry), _) => check::param(spec, entry, self.folders, diags)
                .map(Some)
                .ok_or(Reported),
            (Said::NoTable, _) => Err(Reported),
            (Said::NoBlock, _) => Ok(None),
            (Said::Nothing, Default::Value(value)) => Ok(Some(value.clone())),
            (Said::Nothing, Default::Absent) => Ok(None),
            (Said::Nothing, Default::Required) => {
                let (name, kind) = (&draft.entry.key, draft.kind.name);
                let message = format!("node `{name}` lacks `{}`", spec.name);
                let label = format!("`{kind}` needs it, {}", spec.ty.describe());
                let help = format!("`{}`: {}", spec.name, spec.doc.trim());
                let diag = Diag::at(locate(draft, spec.name), message);
                diags.push(diag.label(label).help(help));
                Err(Reported)
            }
        }
    }
}

/// Reports what stands in a block and is no parameter of it.
fn block_keys(
    draft: &Draft,
    entry: &Entry,
    block: params::Block,
    shapes: &Shapes,
    diags: &mut Diags,
) {
    let (node, name) = (&draft.entry.key, block.name);
    let table = match &entry.item.shape {
        Shape::Table(table) => table,
        Shape::Bad => return,
        Shape::Bool(false) if block.optional => return,
        _ if shapes.specs().any(|s| s.was.contains(&name)) => {
            diags.push(unknown_param(draft, entry, shapes));
            return;
        }
        _ => {
            let diag = check::wrong("a table", name, &entry.item);
            diags.push(diag.help(format!("write `[node.{node}.{name}]`")));
            return;
        }
    };
    let fields = || shapes.specs().filter(|s| s.key() == name);
    for entry in table.entries() {
        let key = entry.key.as_str();
        if fields().any(|s| s.field() == key) {
            continue;
        }
        let diag = Diag::at(&entry.key_at, format!("unknown parameter `{name}.{key}`"))
            .label(format!("not a parameter of `[node.{node}.{name}]`"));
        diags.push(match shapes.specs().any(|s| s.name == key) {
            true => diag.help(format!("`{key}` stands in `[node.{node}]`")),
            false => diag.suggest(did_you_mean(key, fields().map(ParamSpec::field))),
        });
    }
}

fn unknown_param(draft: &Draft, entry: &Entry, shapes: &Shapes) -> Diag {
    let (key, kind, node) = (entry.key.as_str(), draft.kind, &draft.entry.key);
    let place = |s: &ParamSpec| match s.block {
        Some(block) => format!("`{}` in `[node.{node}.{}]`", s.field(), block.name),
        None => format!("`{}`", s.name),
    };
    let was = |s: &&ParamSpec| s.was.contains(&key) || s.name.replace('.', "_") == key;
    if let Some(spec) = shapes.specs().find(was) {
        let diag = Diag::at(&entry.key_at, format!("`{key}` is now {}", place(spec)));
        return diag.help(format!("`{}`: {}", spec.field(), spec.doc.trim()));
    }
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
    if let Some(spec) = shapes.specs().find(|s| s.field() == key) {
        return diag.help(format!("write {}", place(spec)));
    }
    let own = OWN.iter().copied();
    let names = shapes.specs().map(ParamSpec::key);
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
    value::merge(&mut all, exec);
    let look = |second: bool| {
        let mut all = all.clone();
        for spec in wrong {
            if let Some(value) = spec.stand_in(second) {
                value::put(&mut all, spec.name, value);
            }
        }
        draft.kind.check.map_or(vec![], |check| check(&all))
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
