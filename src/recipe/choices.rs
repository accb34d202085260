//! The choices that the axes of a `[matrix]` make: every value with every other, less what is excluded, and what is included beside them.
//! Knows no kinds.

use crate::matrix::{Axis, spelled, text};
use crate::tree::{Entry, Item, Shape, Table};
use base::claim::Axes;
use base::diag::{Diag, Diags, Place};
use base::text::{did_you_mean, listed};
use std::collections::BTreeSet;

/// Choices that nobody meant to make are usually a slip of the hand.
const MOST: usize = 64;

/// More combinations than this are not even made.
const LARGEST: usize = 10_000;
const MOST_AXES: usize = 100;

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
    let mut excluded = vec![];
    for (table, at) in tables(matrix, "exclude", diags) {
        known(table, axes, diags);
        let leaves = leaves(table, axes);
        if leaves.is_empty() {
            let diag = Diag::at(at, "this excludes nothing");
            diags.push(diag.help("write values of axes, as `exclude = [{ seed = 1 }]`"));
        } else if !choices.iter().any(|choice| agrees(choice, &leaves)) && !by_flag(axes) {
            let diag = Diag::at(at, "no choice has these values, so none is excluded");
            diags.aside(diag.warning());
        }
        excluded.push(leaves);
    }
    choices.retain(|choice| !excluded.iter().any(|leaves| agrees(choice, leaves)));
    for (table, at) in tables(matrix, "include", diags) {
        let Some(choice) = included((table, at), axes, diags) else {
            continue;
        };
        match choices.iter().any(|known| known.axes() == choice.axes()) {
            false => choices.push(choice),
            // What the command line says of the axes, the recipe cannot know.
            true if by_flag(axes) => {}
            true => diags.push(Diag::at(at, "there is this choice already")),
        }
    }
    cap(matrix, &mut choices, diags);
    if choices.is_empty() && diags.is_empty() {
        diags.push(at_matrix(matrix, "`[matrix]` excludes every choice"));
    }
    choices
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
                match axes.iter().position(|a| a.path == spelled(word)) {
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

/// Whether the command line says what any of the axes varies.
fn by_flag(axes: &[Axis]) -> bool {
    axes.iter()
        .any(|axis| axis.at.source.name.starts_with("--"))
}

fn included((table, at): (&Table, &Place), axes: &[Axis], diags: &mut Diags) -> Option<Choice> {
    known(table, axes, diags);
    let leaves = leaves(table, axes);
    let mut values = vec![];
    for axis in axes {
        match leaves.iter().find(|(path, _)| *path == axis.path) {
            Some((_, item)) => values.push((axis.path.clone(), (*item).clone())),
            None => {
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

/// The values in a table by their paths. What stands at the path of an axis is a value, a table too.
fn leaves<'t>(table: &'t Table, axes: &[Axis]) -> Vec<(String, &'t Item)> {
    let mut leaves = vec![];
    flatten("", table, axes, &mut leaves);
    leaves
}

fn flatten<'t>(
    before: &str,
    table: &'t Table,
    axes: &[Axis],
    leaves: &mut Vec<(String, &'t Item)>,
) {
    for entry in table.entries() {
        let path = match before {
            "" => entry.key.clone(),
            before => format!("{before}.{}", entry.key),
        };
        match &entry.item.shape {
            Shape::Table(below) if axes.iter().all(|a| a.path != spelled(&path)) => {
                flatten(&path, below, axes, leaves);
            }
            _ => leaves.push((spelled(&path), &entry.item)),
        }
    }
}

fn known(table: &Table, axes: &[Axis], diags: &mut Diags) {
    for (path, item) in leaves(table, axes) {
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

fn tables<'t>(matrix: &'t Table, key: &str, diags: &mut Diags) -> Vec<(&'t Table, &'t Place)> {
    let Some(entry) = matrix.get(key) else {
        return vec![];
    };
    let Shape::List(items) = &entry.item.shape else {
        return expected("an array of tables", entry, diags);
    };
    let mut tables = vec![];
    for item in items {
        match &item.shape {
            Shape::Table(table) => tables.push((table, &item.at)),
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
            Shape::Int(_) => {
                diags.push(Diag::at(
                    &entry.item.at,
                    "`max` is a number of choices, at least 1",
                ));
                return;
            }
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
