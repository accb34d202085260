//! `[matrix]`: axes over variables and parameters; the choices that they make are `choices`'. Knows no kinds; what an axis changes is laid
//! over the recipe as `--set` would.
//!
//! | key | what |
//! |---|---|
//! | `seed = [0, 1]`, `rl.lr = [1e-4, 2e-4]` | an axis: a variable, or a parameter of a node |
//! | `zip = [["a", "b"]]` | axes of one length that go together; all else is multiplied |
//! | `exclude = [{ a = 1 }]` | choices that agree with the table are left out |
//! | `include = [{ a = 5, b = 6 }]` | a choice more; it names every axis |
//! | `max = 100` | more choices than this are an error (64 where nothing is said) |

use crate::tree::{Entry, Item, Shape, Table};
use base::diag::{Diag, Diags, Place};
use std::collections::BTreeSet;

const RESERVED: [&str; 4] = ["zip", "include", "exclude", "max"];

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

/// How the path of an axis is spelled: a variable by its name alone, so that `vars.seed` is the axis of the seeds, too.
pub fn spelled(path: &str) -> String {
    match steps(path).as_slice() {
        ["vars", name] => name.to_string(),
        _ => path.into(),
    }
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
    for (i, axis) in over.iter().enumerate() {
        if let Some(other) = over[..i]
            .iter()
            .find(|other| steps(&other.path) == steps(&axis.path))
        {
            let message = format!("`{}` is given twice", axis.path);
            let diag = Diag::at(&axis.at, message).related(&other.at, "here before");
            diags.push(diag.help("write all of its values in one `--matrix`"));
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

/// Axes in a table are parameters of a node: `rl.lr = [...]`.
fn collect(path: &str, entry: &Entry, axes: &mut Vec<Axis>, diags: &mut Diags) {
    match &entry.item.shape {
        Shape::List(values) => {
            let axis = Axis {
                path: spelled(path),
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
