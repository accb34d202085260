//! What was written on the command line, and what it says for every node that has a parameter: where that does nothing, what it lies over
//! stands again. Knows no kinds.

use crate::tree::{Entry, Shape, Table};
use base::diag::Place;
use std::collections::BTreeMap;

/// The flags that change a recipe, which their texts are called by.
pub const SET: &str = "--set";
pub const MATRIX: &str = "--matrix";

/// Whether this was written on the command line.
pub fn by_flag(at: &Place) -> bool {
    [SET, MATRIX].contains(&&*at.source.name)
}

/// Stands for every node that has the parameter.
pub const EVERY: &str = "*";

/// Whether this was written on the command line for every node that has it: `--set '*.device=cuda:0'`.
pub fn for_every_node(at: &Place) -> bool {
    let path = at.source.text.trim_start();
    let path = path.strip_prefix("node.").unwrap_or(path);
    &*at.source.name == SET && path.starts_with("*.")
}

/// Whether anything in here was.
pub fn says_for_every_node(table: &Table) -> bool {
    let mut entries = table.entries().iter();
    entries.any(|entry| {
        let below = match &entry.item.shape {
            Shape::Table(table) => says_for_every_node(table),
            _ => false,
        };
        below || for_every_node(&entry.key_at)
    })
}

/// The paths in here that were, and where.
pub fn set_for_every_node<'t>(
    table: &'t Table,
    above: &str,
    found: &mut BTreeMap<String, &'t Place>,
) {
    for entry in table.entries() {
        let path = match above {
            "" => entry.key.clone(),
            above => format!("{above}.{}", entry.key),
        };
        if let Shape::Table(below) = &entry.item.shape {
            set_for_every_node(below, &path, found);
        }
        if for_every_node(&entry.key_at) {
            found.entry(path).or_insert(&entry.key_at);
        }
    }
}

/// Whether what stands at exactly this path was.
pub fn is_set_for_every_node(table: &Table, path: &str) -> bool {
    let (key, rest) = match path.split_once('.') {
        Some((key, rest)) => (key, Some(rest)),
        None => (path, None),
    };
    table
        .get(key)
        .is_some_and(|entry| match (&entry.item.shape, rest) {
            (Shape::Table(below), Some(rest)) => is_set_for_every_node(below, rest),
            (_, Some(_)) => false,
            (Shape::Table(_), None) => for_every_node(&entry.key_at),
            (_, None) => for_every_node(&entry.item.at),
        })
}

/// Keeps in what is laid over an entry what it lies over.
pub fn remember(over: &mut Entry, below: &Entry) {
    if let (Shape::Table(table), Shape::Table(below)) = (&mut over.item.shape, &below.item.shape) {
        for below in below.entries() {
            if let Some(over) = table.get_mut(&below.key) {
                remember(over, below);
            }
        }
        return;
    }
    over.item.otherwise = match for_every_node(&below.key_at) {
        true => below.item.otherwise.clone(),
        false => Some(Box::new(below.clone())),
    };
}

/// A node of which nothing of these parameters is said on the command line for every node: what the file says of them stands again.
pub fn taken_back(node: &Entry, params: &[&str]) -> Entry {
    let mut node = node.clone();
    if let Shape::Table(table) = &mut node.item.shape {
        for param in params {
            let path: Vec<&str> = param.split('.').collect();
            take_back(table, &path);
        }
    }
    node
}

fn take_back(table: &mut Table, path: &[&str]) {
    let Some((key, rest)) = path.split_first() else {
        return;
    };
    let Some(entry) = table.get_mut(key) else {
        return;
    };
    if let (Shape::Table(below), false) = (&mut entry.item.shape, rest.is_empty()) {
        take_back(below, rest);
        let made = for_every_node(&entry.key_at) && below.entries().is_empty();
        return table.retain(|e| e.key != *key || !made);
    }
    match entry.item.otherwise.take() {
        Some(before) => *entry = *before,
        None => table.retain(|e| e.key != *key),
    }
}
