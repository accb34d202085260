//! Layers into one recipe: the child lies over the parent, `--set` over both. Says which names a child may bring. Knows
//! no kinds: whether a parameter exists is checked where the kind is known.

use crate::choices::Choice;
use crate::flags::{EVERY, MATRIX, SET, by_flag, remember};
use crate::layer::Layer;
use crate::matrix::{self, Axis};
use crate::parse;
use crate::tree::{Entry, Item, Shape, Table};
use crate::vars::mentions;
use base::diag::{Diag, Diags, Place, Source};
use base::text::did_you_mean;
use std::collections::{BTreeMap, BTreeSet};

/// All layers in one, variables not yet replaced.
#[derive(Clone, Default)]
pub struct Merged {
    pub vars: Table,
    pub nodes: Table,
    pub matrix: Table,
    /// Names of nodes that a child left out, and where.
    pub dropped: BTreeMap<String, Place>,
}

/// `layers` have the eldest first.
pub fn compose(layers: &mut [Layer], sets: &[String], diags: &mut Diags) -> Merged {
    let mut merged = Merged::default();
    for (i, layer) in layers.iter_mut().enumerate() {
        merged.drop_nodes(&layer.drop, diags);
        merged.matrix.merge(std::mem::take(&mut layer.matrix));
        let vars = std::mem::take(&mut layer.vars);
        let nodes = std::mem::take(&mut layer.nodes);
        match i {
            0 => (merged.vars, merged.nodes) = (vars, nodes),
            _ => merged.lay(vars, nodes, diags),
        }
    }
    for set in sets {
        if let Some((vars, nodes)) = argument(set, &merged, diags) {
            merged.lay(vars, nodes, diags);
        }
    }
    merged
}

impl Merged {
    fn drop_nodes(&mut self, names: &[(String, Place)], diags: &mut Diags) {
        let mut gone = BTreeSet::new();
        for (name, place) in names {
            if self.nodes.get(name).is_some() && gone.insert(name.as_str()) {
                self.dropped.insert(name.clone(), place.clone());
            } else {
                let left = self.nodes.keys().filter(|key| !gone.contains(key));
                let near = diags.near(name, left);
                let diag = Diag::at(place, format!("unknown node `{name}`"));
                diags.push(diag.label("nothing to drop").suggest(near));
            }
        }
        if !gone.is_empty() {
            self.nodes.retain(|e| !gone.contains(e.key.as_str()));
        }
    }

    /// Lays a child's tables over what there is. A new node must name its kind, and a new variable must be used by the
    /// child itself: otherwise the name is misspelt.
    fn lay(&mut self, vars: Table, nodes: Table, diags: &mut Diags) {
        let mut used = BTreeSet::new();
        mentions(&nodes, &mut used);
        mentions(&vars, &mut used);
        for var in vars.entries() {
            if self.vars.get(&var.key).is_none() && !used.contains(&var.key) {
                let near = diags.near(&var.key, self.vars.keys());
                let diag = Diag::at(&var.key_at, format!("unknown variable `{}`", var.key));
                let label = "neither in what this extends nor used here";
                diags.push(diag.label(label).suggest(near));
            }
        }
        let (nodes, strangers): (Vec<Entry>, Vec<Entry>) = nodes
            .into_entries()
            .into_iter()
            .partition(|n| self.nodes.get(&n.key).is_some() || has_kind(n));
        for node in strangers {
            let diag = Diag::at(&node.key_at, format!("unknown node `{}`", node.key));
            let diag = diag.label("a new node names its `kind`");
            diags.push(match self.dropped.get(&node.key) {
                Some(place) => diag.related(place, "dropped here"),
                None => match self.variable(&node) {
                    Some(path) => diag.suggest(Some(path)),
                    None => diags.among(diag, &node.key, self.nodes.keys()),
                },
            });
        }
        let nodes = beside_variables(&self.nodes, Table::new(nodes), "", diags);
        self.vars.merge(vars);
        self.nodes.merge(nodes);
    }
}

impl Merged {
    /// The variable that is meant by a path on the command line whose beginning is misspelt, as `var.seed`.
    fn variable(&self, node: &Entry) -> Option<String> {
        let Shape::Table(table) = &node.item.shape else {
            return None;
        };
        let [entry] = table.entries() else {
            return None;
        };
        let near = by_flag(&node.key_at) && did_you_mean(&node.key, ["vars"]).is_some();
        let name = did_you_mean(&entry.key, self.vars.keys()).filter(|_| near)?;
        Some(format!("vars.{name}"))
    }
}

/// A child's tables without those that would take the place of a variable, which are reported: what the variable holds would be lost,
/// where a table of the parent stays.
fn beside_variables(below: &Table, over: Table, path: &str, diags: &mut Diags) -> Table {
    let mut kept = vec![];
    for mut entry in over.into_entries() {
        let below = below.get(&entry.key).map(|e| &e.item);
        if let (Shape::Table(table), Some(below)) = (&mut entry.item.shape, below) {
            let path = match path {
                "" => entry.key.clone(),
                path => format!("{path}.{}", entry.key),
            };
            match &below.shape {
                Shape::Table(below) => {
                    *table = beside_variables(below, std::mem::take(table), &path, diags);
                }
                Shape::Str(text) if text.starts_with("${") && text.ends_with('}') => {
                    let message =
                        format!("`{path}` is the variable `{text}`, which no table changes");
                    let diag = Diag::at(&entry.key_at, message).related(&below.at, "it is this");
                    let help = "change the variable in `[vars]`, or the table where it is";
                    diags.push(diag.help(help));
                    continue;
                }
                _ => {}
            }
        }
        kept.push(entry);
    }
    Table::new(kept)
}

fn has_kind(node: &Entry) -> bool {
    matches!(&node.item.shape, Shape::Table(t) if t.get("kind").is_some())
}

/// One `--set` as the tables of a layer: (vars, nodes).
fn argument(text: &str, merged: &Merged, diags: &mut Diags) -> Option<(Table, Table)> {
    let (steps, item, whole) = flag(SET, "as in `--set sft.lr=1e-5`", text, diags)?;
    let path: Vec<&str> = steps.iter().map(|(key, _)| key.as_str()).collect();
    if let [name] = path.as_slice() {
        let diag = Diag::at(&whole, format!("`{name}` is no path into a recipe"));
        diags.push(match merged.vars.get(name).is_some() {
            true => diag.suggest(Some(format!("vars.{name}"))),
            false => diag.help(FORMS),
        });
        return None;
    }
    let at = usize::from(path[0] == "node");
    if path.get(at) == Some(&EVERY) && path.len() > at + 1 {
        return every(&steps[at..], &item, merged, diags);
    }
    inside(&steps, item, &whole, diags)
}

/// The same of every node: which of them have the parameter is known where their kinds are.
fn every(
    steps: &[(String, Place)],
    item: &Item,
    merged: &Merged,
    diags: &mut Diags,
) -> Option<(Table, Table)> {
    let (_, place) = &steps[0];
    let (name, at) = &steps[1];
    if OWN.contains(&name.as_str()) {
        let message = format!("`{name}` is every node's own: `*` sets parameters");
        diags.push(Diag::at(at, message));
        return None;
    }
    let nodes = merged.nodes.entries().iter().map(|below| {
        let mut node = Entry {
            key: below.key.clone(),
            key_at: place.clone(),
            item: Item::new(Shape::Table(nest(&steps[1..], item.clone())), place.clone()),
        };
        remember(&mut node, below);
        node
    });
    Some((Table::default(), Table::new(nodes.collect())))
}

/// What stands in a node besides its parameters.
pub const OWN: [&str; 3] = ["kind", "in", "description"];

/// As deep as TOML itself goes.
const DEEPEST: usize = 80;

const FORMS: &str =
    "write `vars.NAME`, `node.NAME.PARAM`, `NAME.PARAM` or, for every node that has it, `*.PARAM`";

/// `path=value` of the command line: the steps of the path, the value, the place of the whole path.
type Flag = (Vec<(String, Place)>, Item, Place);

fn flag(name: &str, example: &str, text: &str, diags: &mut Diags) -> Option<Flag> {
    let Some((path, value)) = text.split_once('=') else {
        let source = Source::new(name, text);
        let diag = Diag::at(&Place::new(&source, 0..text.len()), "expected `path=value`");
        diags.push(diag.help(example));
        return None;
    };
    let spaces = value.len() - value.trim_start().len();
    let offset = path.len() + 1 + spaces;
    let last = path.rsplit('.').next().unwrap_or_default().trim();
    let end = text.trim_end();
    let (source, item) = parse::argument(name, end, offset.min(end.len()), last, diags);
    let mut start = 0;
    let mut steps: Vec<(String, Place)> = vec![];
    for raw in path.split('.') {
        let key = raw.trim();
        let from = start + raw.len() - raw.trim_start().len();
        steps.push((key.into(), Place::new(&source, from..from + key.len())));
        start += raw.len() + 1;
    }
    Some((steps, item, Place::new(&source, 0..path.trim_end().len())))
}

/// A value at the end of a path into a recipe, as the tables of a layer: (vars, nodes).
fn inside(
    steps: &[(String, Place)],
    item: Item,
    whole: &Place,
    diags: &mut Diags,
) -> Option<(Table, Table)> {
    if steps.len() > DEEPEST {
        let message = format!("a path into a recipe has no more than {DEEPEST} steps");
        diags.push(Diag::at(whole, message).help(FORMS));
        return None;
    }
    let heads: Vec<&str> = steps.iter().take(3).map(|(key, _)| key.as_str()).collect();
    let (skip, is_var) = match heads.as_slice() {
        ["vars", _, ..] => (1, true),
        ["node", _, _] => (1, false),
        [name, _, ..] if *name != "vars" && *name != "node" => (0, false),
        _ => {
            let path: Vec<&str> = steps.iter().map(|(key, _)| key.as_str()).collect();
            let message = format!("`{}` is no path into a recipe", path.join("."));
            diags.push(Diag::at(whole, message).help(FORMS));
            return None;
        }
    };
    let nested = nest(&steps[skip..], item);
    Some(match is_var {
        true => (nested, Table::default()),
        false => (Table::default(), nested),
    })
}

/// The axes of `--matrix axis=[values]` or `axis=a,b`.
pub fn axes(flags: &[String], diags: &mut Diags) -> Vec<Axis> {
    let mut axes = vec![];
    for text in flags {
        let example = "as in `--matrix seed=0,1,2`";
        let (path, values) = text.split_once('=').unwrap_or((text, ""));
        // A list without its brackets is how a shell likes it.
        let text = match values.trim_start().starts_with('[') || !text.contains('=') {
            true => text.clone(),
            false => format!("{path}=[{values}]"),
        };
        let Some((steps, item, whole)) = flag(MATRIX, example, &text, diags) else {
            continue;
        };
        let path: Vec<&str> = steps.iter().map(|(key, _)| key.as_str()).collect();
        let values = match item.shape {
            Shape::List(items) => items,
            // Words without quotes.
            Shape::Str(words) => words
                .trim_matches(['[', ']'])
                .split(',')
                .map(|word| Item::new(Shape::Str(word.trim().into()), item.at.clone()))
                .collect(),
            _ => vec![],
        };
        axes.push(Axis {
            path: matrix::spelled(&path.join(".")),
            at: whole,
            values,
        });
    }
    axes
}

impl Merged {
    /// Whether an axis of another recipe can vary something here. A matrix that names its choices one by one takes no axis more.
    pub fn varies(&self, path: &str) -> bool {
        let head = path.split('.').next().unwrap_or(path);
        let there = match head == path {
            true => self.vars.get(head).is_some(),
            false => self.nodes.get(head).is_some(),
        };
        there && self.matrix.get("include").is_none()
    }

    /// The recipe with these values of its axes.
    pub fn choose(mut self, choice: &Choice, axes: &[Axis], diags: &mut Diags) -> Merged {
        for (path, item) in &choice.values {
            let at = axes.iter().find(|a| a.path == *path).map(|a| &a.at);
            let at = at.unwrap_or(&item.at);
            let mut steps: Vec<(String, Place)> = path
                .split('.')
                .map(|key| (key.into(), at.clone()))
                .collect();
            if let [(name, _)] = steps.as_slice() {
                if self.vars.get(name).is_none() {
                    let near = did_you_mean(name, self.vars.keys());
                    let diag = Diag::at(at, format!("unknown variable `{name}`"));
                    let label = "an axis is a variable of `[vars]`, or `NODE.PARAM`";
                    diags.push(diag.label(label).suggest(near));
                    continue;
                }
                steps.insert(0, ("vars".into(), at.clone()));
            }
            if let Some((vars, nodes)) = inside(&steps, item.clone(), at, diags) {
                self.lay(vars, nodes, diags);
            }
        }
        self
    }
}

/// `a.b` and a value as `{ a = { b = value } }`.
fn nest(steps: &[(String, Place)], item: Item) -> Table {
    let mut item = item;
    for (key, place) in steps.iter().rev() {
        let entry = Entry {
            key: key.clone(),
            key_at: place.clone(),
            item,
        };
        item = Item::new(Shape::Table(Table::new(vec![entry])), place.clone());
    }
    match item.shape {
        Shape::Table(table) => table,
        _ => Table::default(),
    }
}
