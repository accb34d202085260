//! A node of a recipe whose kind is known and whose parameters and edges are not read yet: where in it something stands.

use crate::flags;
use crate::matrix::Axis;
use crate::tree::{Entry, Shape, Table};
use base::diag::{Diag, Place};
use base::params::{ParamSpec, Problem};
use engine::kind::Kind;

/// A node whose kind is known.
pub struct Draft<'a> {
    pub entry: &'a Entry,
    pub table: &'a Table,
    pub kind: &'static Kind,
    /// Its keys that are no parameters and say which are meant.
    pub spelled: Vec<Spelled<'a>>,
    /// It is of a recipe that a run kept: see `from_resolved`.
    pub resolved: bool,
    /// Of the recipe: what they say stands in the node by now, at the place of the axis.
    pub axes: &'a [Axis],
}

/// A key that is no parameter and says which are meant: reported already, but where a run kept it. Where that is one, its value counts,
/// so that no error is one that the new spelling would not have.
#[derive(Clone)]
pub struct Spelled<'a> {
    /// Their names.
    pub means: Vec<&'static str>,
    pub entry: &'a Entry,
}

impl<'a> Spelled<'a> {
    pub fn of(specs: &[&ParamSpec], entry: &'a Entry) -> Spelled<'a> {
        let means = specs.iter().map(|s| s.name).collect();
        Spelled { means, entry }
    }
}

impl Draft<'_> {
    /// Whether the entry is the end of a whole path: of `--set`, or of an axis.
    pub fn by_path(&self, entry: &Entry) -> bool {
        entry.key_at.source.name == flags::SET || self.is_axis(entry)
    }

    pub fn is_axis(&self, entry: &Entry) -> bool {
        self.axes.iter().any(|axis| axis.at.is(&entry.key_at))
    }

    /// What one writes for these parameters in the place of an entry: the path in the node, or with it.
    pub fn names(&self, entry: &Entry, specs: &[&ParamSpec]) -> String {
        let of_node = match self.by_path(entry) {
            true => format!("{}.", self.entry.key),
            false => String::new(),
        };
        let name = |spec: &&ParamSpec| format!("`{of_node}{}`", spec.name);
        let names: Vec<String> = specs.iter().map(name).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }

    /// Where a parameter stands that is written by another of its names.
    pub fn spelled_at(&self, path: &str) -> Option<&Place> {
        let spelled = self.spelled.iter().find(|s| s.means == [path]);
        spelled.map(|spelled| &spelled.entry.item.at)
    }

    /// The deepest part of a dotted path that the recipe wrote, or the node's name where it wrote none of it.
    pub fn locate(&self, path: &str) -> &Place {
        if let Some(at) = self.spelled_at(path) {
            return at;
        }
        let mut place = &self.entry.key_at;
        let mut item = &self.entry.item;
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

    pub fn diag(&self, problem: Problem) -> Diag {
        let diag = Diag::at(self.locate(&problem.path), problem.message);
        match problem.help {
            Some(help) => diag.help(help),
            None => diag,
        }
    }
}
