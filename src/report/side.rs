//! One recipe under one choice of its axes, with what the store holds of it: what is compared, tabulated and reported.

use crate::command;
use base::claim::{Axes, Claim, SEED, SHIPPED};
use engine::graph::{Graph, NodeId};
use engine::kind::Kind;
use engine::store::record::Record;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub struct Side {
    /// The recipe's name.
    pub recipe: String,
    /// The recipe's path, `pipe:NAME` of one that comes with the program; or the run it was read from.
    pub file: PathBuf,
    pub axes: Axes,
    /// Its own nodes under their own names. Two sides share a node when its records have the same key.
    pub graph: Graph,
    /// By node of `graph`: the record that it has now.
    pub records: BTreeMap<NodeId, Record>,
    /// Descriptions of nodes, by node.
    pub notes: BTreeMap<String, String>,
    pub claims: Vec<Claim>,
    /// What else stood on the command line than recipes and axes, word by word: a command that is advised repeats it.
    pub given: Vec<String>,
}

impl Side {
    /// `tars`, `lambda-sweep lambda=0.3, seed=1`.
    pub fn label(&self) -> String {
        self.label_without("")
    }

    /// `lambda-sweep lambda=0.3` where `seed` is the axis that is left out.
    pub fn label_without(&self, axis: &str) -> String {
        labelled(&self.recipe, &self.axes_without(|name| name == axis))
    }

    /// The axes but those that are left out.
    pub fn axes_without(&self, out: impl Fn(&str) -> bool) -> Axes {
        let axes = self.axes.iter().filter(|(axis, _)| !out(axis));
        axes.map(|(a, v)| (a.clone(), v.clone())).collect()
    }

    /// Its seed, where it has one.
    pub fn seed(&self) -> Option<&str> {
        self.axes.get(SEED).map(String::as_str)
    }

    pub fn record(&self, node: &str) -> Option<&Record> {
        self.records.get(&self.graph.find(node)?)
    }

    /// The kind of a node.
    pub fn kind(&self, node: &str) -> Option<&'static Kind> {
        Some(self.graph.node(self.graph.find(node)?).kind)
    }

    /// Why there is no artifact of a node, and what makes it.
    pub fn missing(&self, node: &str) -> String {
        let label = self.label();
        let of = || self.axes.iter().map(|(a, v)| (a.clone(), v.clone()));
        match (self.graph.find(node), self.command(of(), &[node])) {
            (None, _) => format!("`{label}` has no node `{node}`"),
            (Some(_), Some(command)) => {
                format!("`{label}` has no artifact of `{node}`: {command}")
            }
            (Some(_), None) => format!("`{label}` left no artifact of `{node}`"),
        }
    }

    /// What makes these nodes of the recipe, or all there are where none is named, under these values of its axes. None of a run, which
    /// made what it made.
    pub fn command(
        &self,
        axes: impl IntoIterator<Item = (String, String)>,
        only: &[&str],
    ) -> Option<String> {
        let shipped = self.file.to_string_lossy().starts_with(SHIPPED);
        if !shipped && self.file.extension().is_none_or(|e| e != "toml") {
            return None;
        }
        let axes = axes.into_iter();
        let axes = axes.flat_map(|(a, v)| ["--matrix".into(), format!("{a}={v}")]);
        let only = only
            .iter()
            .flat_map(|node| ["--only".into(), node.to_string()]);
        let words = axes.chain(self.given.iter().cloned()).chain(only);
        let file = from_here(&self.file).display().to_string();
        Some(command::command(
            ["run".to_string(), file].into_iter().chain(words),
        ))
    }
}

/// A recipe and these values of its axes.
pub fn labelled(recipe: &str, axes: &Axes) -> String {
    let axes: Vec<String> = axes.iter().map(|(a, v)| format!("{a}={v}")).collect();
    match axes.is_empty() {
        true => recipe.into(),
        false => format!("{recipe} {}", axes.join(", ")),
    }
}

/// Variants of one file that differ in nothing but the axes that are left out, together.
pub fn repeated<'a>(sides: &[&'a Side], out: impl Fn(&str) -> bool) -> Vec<Vec<&'a Side>> {
    let mut found: Vec<Vec<&Side>> = vec![];
    for side in sides {
        let axes = side.axes_without(&out);
        let same = |f: &&mut Vec<&Side>| f[0].file == side.file && f[0].axes_without(&out) == axes;
        match found.iter_mut().find(same) {
            Some(variants) => variants.push(side),
            None => found.push(vec![side]),
        }
    }
    found
}

/// As it is typed in the current folder.
fn from_here(file: &Path) -> &Path {
    let here = std::env::current_dir().ok();
    here.and_then(|here| file.strip_prefix(here).ok())
        .unwrap_or(file)
}
