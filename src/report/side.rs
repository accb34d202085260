//! One recipe under one choice of its axes, with what the store holds of it: what is compared, tabulated and reported.

use base::claim::{Axes, Claim};
use engine::graph::{Graph, NodeId};
use engine::kind::Kind;
use engine::store::record::Record;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub struct Side {
    /// The recipe's name.
    pub recipe: String,
    /// The recipe's file, or the run it was read from.
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
        let axes = self.axes.iter().filter(|(name, _)| *name != axis);
        let axes: Vec<String> = axes.map(|(a, v)| format!("{a}={v}")).collect();
        match axes.is_empty() {
            true => self.recipe.clone(),
            false => format!("{} {}", self.recipe, axes.join(", ")),
        }
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
        let (label, file) = (self.label(), from_here(&self.file).display());
        let recipe = self.file.extension().is_some_and(|e| e == "toml");
        match (self.graph.find(node), recipe) {
            (None, _) => format!("`{label}` has no node `{node}`"),
            (Some(_), true) => {
                let axes = self.axes.iter();
                let axes = axes.flat_map(|(a, v)| ["--matrix".into(), format!("{a}={v}")]);
                let words = axes.chain(self.given.iter().cloned());
                let more: String = words.map(|word| format!(" {}", quoted(&word))).collect();
                format!(
                    "`{label}` has no artifact of `{node}`: pipe run {file}{more} --only {node}"
                )
            }
            (Some(_), false) => format!("`{label}` left no artifact of `{node}`"),
        }
    }
}

/// As it is typed in the current folder.
fn from_here(file: &Path) -> &Path {
    let here = std::env::current_dir().ok();
    here.and_then(|here| file.strip_prefix(here).ok())
        .unwrap_or(file)
}

/// As a shell reads it as one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "=._-+/:,@%".contains(c);
    match word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
