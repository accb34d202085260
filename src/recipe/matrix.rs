//! `[matrix]`: axes over variables and parameters, and the choices of values they make. Knows no kinds; what an axis
//! changes is laid over the recipe as `--set` would.
//!
//! | key | what |
//! |---|---|
//! | `seed = [0, 1]`, `rl.lr = [1e-4, 2e-4]` | an axis: a variable, or a parameter of a node |
//! | `zip = [["a", "b"]]` | axes of one length that go together; all else is multiplied |
//! | `exclude = [{ a = 1 }]` | choices that agree with the table are left out |
//! | `include = [{ a = 5, b = 6 }]` | a choice more; it names every axis |
//! | `max = 100` | more choices than this are an error (64 where nothing is said) |

use crate::tree::{Entry, Item, Shape, Table};
use base::claim::Axes;
use base::diag::{Diag, Diags, Place};
use base::text::{did_you_mean, listed};
use std::collections::BTreeSet;

const RESERVED: [&str; 4] = ["zip", "include", "exclude", "max"];

/// Choices that nobody meant to make are usually a slip of the hand.
const MOST: usize = 64;

/// More combinations than this are not even made.
const LARGEST: usize = 10_000;
const MOST_AXES: usize = 100;

#[derive(Clone)]
pub struct Axis {
    /// `seed`, or `rl.lr`.
    pub path: String,
    pub at: Place,
    pub values: Vec<Item>,
}

/// The steps of a path of an axis or of `--set` from the recipe's root: `seed` is `vars.seed`, and `rl.lr` is `node.rl.lr`.
pub fn steps(path: &str) -> Vec<&str> {
    let steps: Vec<&str> = path.split('.').map(str::trim).collect();
    let root = match steps.as_slice() {
        ["vars" | "node", _, ..] => return steps,
        [_] => "vars",
        _ => "node",
    };
    [&[root], steps.as_slice()].concat()
}

impl Axis {
    /// Whether both vary the same, or one a part of what the other does.
    pub fn overlaps(&self, other: &Axis) -> bool {
        let (one, two) = (steps(&self.path), steps(&other.path));
        one.starts_with(&two) || two.starts_with(&one)
    }

    /// Whether what `--set` says of this path would be lost in a choice: it is what the axis varies, or holds that, or a value of the
    /// axis says it as well.
    pub fn hides(&self, set: &str) -> bool {
        let (own, set) = (steps(&self.path), steps(set));
        let Some(rest) = set.strip_prefix(own.as_slice()) else {
            return own.starts_with(&set);
        };
        let beside = |item| beside(item, rest);
        !(self.values.iter().all(beside) && self.values.iter().any(is_table))
    }
}

fn is_table(item: &Item) -> bool {
    matches!(item.shape, Shape::Table(_))
}

/// Whether a value leaves room for what is said at these steps into it: a table without them, or none at all.
fn beside(item: &Item, steps: &[&str]) -> bool {
    match (&item.shape, steps) {
        (Shape::Table(table), [step, rest @ ..]) => {
            table.get(step).is_none_or(|e| beside(&e.item, rest))
        }
        (Shape::Bool(false), [_, ..]) => true,
        _ => false,
    }
}

/// One value of every axis, in the order of the axes.
#[derive(Clone, Default)]
pub struct Choice {
    pub values: Vec<(String, Item)>,
}

impl Choice {
    pub fn axes(&self) -> Axes {
        self.values
            .iter()
            .map(|(path, item)| (path.clone(), text(item)))
            .collect()
    }
}

/// The value of an axis as people write it.
pub fn text(item: &Item) -> String {
    match &item.shape {
        Shape::List(items) => {
            let items: Vec<String> = items.iter().map(text).collect();
            format!("[{}]", items.join(" "))
        }
        Shape::Table(table) => {
            let entries = table.entries().iter();
            let entries: Vec<String> = entries
                .map(|e| format!("{}: {}", e.key, text(&e.item)))
                .collect();
            format!("{{{}}}", entries.join(" "))
        }
        _ => item.inline_text().unwrap_or_default(),
    }
}

/// The axes of a matrix; `over`, from the command line, replace those of the same path.
pub fn axes(matrix: &Table, over: Vec<Axis>, diags: &mut Diags) -> Vec<Axis> {
    let mut axes = vec![];
    for entry in matrix.entries() {
        if !RESERVED.contains(&entry.key.as_str()) {
            collect(&entry.key, entry, &mut axes, diags);
        }
    }
    for axis in over {
        single(&axis, diags);
        match axes
            .iter_mut()
            .find(|a| steps(&a.path) == steps(&axis.path))
        {
            Some(old) => *old = axis,
            None => axes.push(axis),
        }
    }
    apart(&axes, diags);
    axes
}

/// Of two axes over one thing, the later would undo the earlier.
fn apart(axes: &[Axis], diags: &mut Diags) {
    for (i, axis) in axes.iter().enumerate() {
        if let Some(other) = axes[..i].iter().find(|other| other.overlaps(axis)) {
            let message = format!("`{}` and `{}` vary the same", other.path, axis.path);
            let diag = Diag::at(&axis.at, message).related(&other.at, "the other axis");
            diags.push(diag.help("write one axis, whose values say all of it"));
        }
    }
}

/// All choices of a matrix; a single empty one where there are no axes.
pub fn choices(matrix: &Table, axes: &[Axis], diags: &mut Diags) -> Vec<Choice> {
    if axes.len() > MOST_AXES {
        let message = format!("`[matrix]` has more than {MOST_AXES} axes");
        diags.push(at_matrix(matrix, &message));
        return vec![];
    }
    let groups = groups(matrix, axes, diags);
    let sizes = groups.iter().map(|group| axes[group[0]].values.len());
    if sizes.fold(1, usize::saturating_mul) > LARGEST {
        let message = format!("`[matrix]` makes more than {LARGEST} combinations");
        diags.push(at_matrix(matrix, &message).help("axes that go together are named in `zip`"));
        return vec![];
    }
    let mut choices = product(axes, &groups);
    let excluded: Vec<_> = tables(matrix, "exclude", diags)
        .into_iter()
        .map(|table| {
            known(table, axes, diags);
            leaves(table)
        })
        .collect();
    choices.retain(|choice| !excluded.iter().any(|leaves| agrees(choice, leaves)));
    for table in tables(matrix, "include", diags) {
        choices.extend(included(table, axes, diags));
    }
    cap(matrix, &mut choices, diags);
    if choices.is_empty() && diags.is_empty() {
        diags.push(at_matrix(matrix, "`[matrix]` excludes every choice"));
    }
    choices
}

/// Axes in a table are parameters of a node: `rl.lr = [...]`.
fn collect(path: &str, entry: &Entry, axes: &mut Vec<Axis>, diags: &mut Diags) {
    match &entry.item.shape {
        Shape::List(values) => {
            let axis = Axis {
                path: path.into(),
                at: entry.key_at.clone(),
                values: values.clone(),
            };
            single(&axis, diags);
            axes.push(axis);
        }
        Shape::Table(table) => {
            for below in table.entries() {
                collect(&format!("{path}.{}", below.key), below, axes, diags);
            }
        }
        Shape::Bad => {}
        _ => {
            let message = format!(
                "the axis `{path}` expects an array of values, got {}",
                entry.item.type_name()
            );
            let help = format!("write `{path} = [{}]`", text(&entry.item));
            diags.push(Diag::at(&entry.item.at, message).help(help));
        }
    }
}

/// An axis has values, and each once.
fn single(axis: &Axis, diags: &mut Diags) {
    let mut seen = BTreeSet::new();
    for value in &axis.values {
        let known = !matches!(value.shape, Shape::Bad);
        if known && !seen.insert(text(value)) {
            let message = format!("`{}` has the value {} twice", axis.path, text(value));
            diags.push(Diag::at(&value.at, message));
        }
    }
    if axis.values.is_empty() {
        let message = format!("the axis `{}` has no values", axis.path);
        diags.push(Diag::at(&axis.at, message));
    }
}

/// Indices of axes that go together; an axis that is not zipped is a group of its own.
fn groups(matrix: &Table, axes: &[Axis], diags: &mut Diags) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = vec![];
    let mut zipped = BTreeSet::new();
    if let Some(entry) = matrix.get("zip") {
        let Shape::List(lists) = &entry.item.shape else {
            return expected("an array of arrays of axes", entry, diags);
        };
        for list in lists {
            let Shape::List(names) = &list.shape else {
                return expected("an array of arrays of axes", entry, diags);
            };
            let mut group = vec![];
            for name in names {
                let Shape::Str(word) = &name.shape else {
                    return expected("names of axes", entry, diags);
                };
                match axes.iter().position(|a| a.path == *word) {
                    Some(i) if zipped.insert(i) => group.push(i),
                    Some(_) => {
                        let message = format!("the axis `{word}` is zipped twice");
                        diags.push(Diag::at(&name.at, message));
                    }
                    None => diags.push(unknown(word, &name.at, axes)),
                }
            }
            let lengths: BTreeSet<usize> = group.iter().map(|i| axes[*i].values.len()).collect();
            if lengths.len() > 1 {
                let told = group.iter().map(|i| {
                    let axis = &axes[*i];
                    format!("`{}` has {}", axis.path, axis.values.len())
                });
                let told: Vec<String> = told.collect();
                let diag = Diag::at(&list.at, "zipped axes are of different lengths");
                diags.push(diag.help(told.join(", ")));
                continue;
            }
            groups.push(group);
        }
    }
    groups.extend(
        (0..axes.len())
            .filter(|i| !zipped.contains(i))
            .map(|i| vec![i]),
    );
    groups.retain(|group| !group.is_empty());
    // In the order of the axes, so that the last one varies fastest.
    groups.sort();
    groups
}

fn product(axes: &[Axis], groups: &[Vec<usize>]) -> Vec<Choice> {
    let mut choices = vec![vec![None; axes.len()]];
    for group in groups {
        let length = axes[group[0]].values.len();
        choices = choices
            .into_iter()
            .flat_map(|choice| {
                (0..length).map(move |value| {
                    let mut choice = choice.clone();
                    group.iter().for_each(|axis| choice[*axis] = Some(value));
                    choice
                })
            })
            .collect();
    }
    let named = |(axis, value): (&Axis, Option<usize>)| {
        Some((axis.path.clone(), axis.values.get(value?)?.clone()))
    };
    choices
        .into_iter()
        .map(|choice| Choice {
            values: axes.iter().zip(choice).filter_map(named).collect(),
        })
        .collect()
}

fn included(table: &Table, axes: &[Axis], diags: &mut Diags) -> Option<Choice> {
    known(table, axes, diags);
    let mut values = vec![];
    for axis in axes {
        match leaf(table, &axis.path) {
            Some(item) => values.push((axis.path.clone(), item.clone())),
            None => {
                let at = table.entries().first().map_or(&axis.at, |e| &e.key_at);
                let message = format!("`include` lacks a value for `{}`", axis.path);
                diags.push(Diag::at(at, message).help("a choice names every axis"));
                return None;
            }
        }
    }
    Some(Choice { values })
}

/// Whether the choice has every value of the table with these leaves.
fn agrees(choice: &Choice, leaves: &[(String, &Item)]) -> bool {
    !leaves.is_empty()
        && leaves.iter().all(|(path, item)| {
            let own = choice.values.iter().find(|(axis, _)| axis == path);
            own.is_some_and(|(_, value)| text(value) == text(item))
        })
}

fn leaves(table: &Table) -> Vec<(String, &Item)> {
    let mut leaves = vec![];
    flatten("", table, &mut leaves);
    leaves
}

fn flatten<'t>(before: &str, table: &'t Table, leaves: &mut Vec<(String, &'t Item)>) {
    for entry in table.entries() {
        let path = match before {
            "" => entry.key.clone(),
            before => format!("{before}.{}", entry.key),
        };
        match &entry.item.shape {
            Shape::Table(below) => flatten(&path, below, leaves),
            _ => leaves.push((path, &entry.item)),
        }
    }
}

fn leaf<'t>(table: &'t Table, path: &str) -> Option<&'t Item> {
    let found = leaves(table).into_iter().find(|(p, _)| p == path);
    found.map(|(_, item)| item)
}

fn known(table: &Table, axes: &[Axis], diags: &mut Diags) {
    for (path, item) in leaves(table) {
        if !axes.iter().any(|a| a.path == path) {
            diags.push(unknown(&path, &item.at, axes));
        }
    }
}

fn unknown(path: &str, at: &Place, axes: &[Axis]) -> Diag {
    let names = || axes.iter().map(|a| a.path.as_str());
    let diag = Diag::at(at, format!("`{path}` is no axis of `[matrix]`"));
    match did_you_mean(path, names()) {
        None if !axes.is_empty() => diag.help(format!("axes: {}", listed(names()))),
        near => diag.suggest(near),
    }
}

fn tables<'t>(matrix: &'t Table, key: &str, diags: &mut Diags) -> Vec<&'t Table> {
    let Some(entry) = matrix.get(key) else {
        return vec![];
    };
    let Shape::List(items) = &entry.item.shape else {
        return expected("an array of tables", entry, diags);
    };
    let mut tables = vec![];
    for item in items {
        match &item.shape {
            Shape::Table(table) => tables.push(table),
            _ => return expected("an array of tables", entry, diags),
        }
    }
    tables
}

fn cap(matrix: &Table, choices: &mut Vec<Choice>, diags: &mut Diags) {
    let most = match matrix.get("max") {
        None => MOST,
        Some(entry) => match &entry.item.shape {
            Shape::Int(n) if *n > 0 => usize::try_from(*n).unwrap_or(usize::MAX),
            _ => return expected("a positive integer", entry, diags),
        },
    };
    if choices.len() > most {
        let message = format!(
            "`[matrix]` makes {} choices, more than {most}",
            choices.len()
        );
        diags.push(at_matrix(matrix, &message).help(format!(
            "if they are meant, write `max = {}` in `[matrix]`",
            choices.len()
        )));
        // One of them shows what else is wrong.
        choices.truncate(1);
    }
}

fn at_matrix(matrix: &Table, message: &str) -> Diag {
    match matrix.entries().first() {
        Some(entry) => Diag::at(&entry.key_at, message),
        None => Diag::plain(message),
    }
}

fn expected<T: Default>(what: &str, entry: &Entry, diags: &mut Diags) -> T {
    if !matches!(entry.item.shape, Shape::Bad) {
        let got = entry.item.type_name();
        let message = format!("`{}` expects {what}, got {got}", entry.key);
        diags.push(Diag::at(&entry.item.at, message));
    }
    T::default()
}
