//! Recipe text to graph: parsed with places, extended, overridden, variables replaced, checked against the kinds. All
//! errors come at once. Reads recipe files only; knows no kind by name, no terminal, no network.

pub mod check;
pub mod compose;
pub mod layer;
pub mod parse;
pub mod resolve;
pub mod schema;
pub mod secret;
pub mod tree;
pub mod vars;
pub mod wire;
pub mod write;

use crate::base::diag::{Diag, Diags};
use crate::engine::graph::Graph;
use crate::engine::kind::Registry;
use crate::recipe::check::Folders;
use crate::recipe::compose::Merged;
use crate::recipe::layer::Layer;
use crate::recipe::tree::{Shape, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What the command line adds.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `path=value`, applied in order.
    pub sets: Vec<String>,
    /// Where relative paths of the command line start: the recipe's own and those in `sets`.
    pub cwd: PathBuf,
}

pub struct Loaded {
    pub graph: Graph,
    /// The recipe's `name`, or its file's stem. A parent's name is not inherited, nor is its description.
    pub name: String,
    pub description: Option<String>,
    /// Descriptions of nodes, by node.
    pub notes: BTreeMap<String, String>,
    /// Every file that was read, the eldest first.
    pub files: Vec<(PathBuf, String)>,
    /// (node, parameter) to `file:line`, for everything that is no default; a variable's value has the variable's line.
    pub origins: BTreeMap<(String, String), String>,
    /// The graph as one recipe: nothing extended, no variables, defaults written out, paths absolute.
    pub resolved_text: String,
    pub warnings: Diags,
}

/// Loads a recipe file and all it extends.
pub fn load(path: &Path, overrides: &Overrides, registry: &Registry) -> Result<Loaded, Diags> {
    let mut diags = Diags::default();
    let layers = layer::chain(path, &overrides.cwd, &mut diags);
    finish(layers, overrides, registry, diags)
}

/// Loads a text as if it were a file of this name in the current directory of `overrides`.
pub fn from_text(
    name: &str,
    text: &str,
    overrides: &Overrides,
    registry: &Registry,
) -> Result<Loaded, Diags> {
    let mut diags = Diags::default();
    let youngest = layer::layer(name, text, PathBuf::new(), None, &mut diags);
    let layers = layer::elders(youngest, &overrides.cwd, &mut diags);
    finish(layers, overrides, registry, diags)
}

fn finish(
    mut layers: Vec<Layer>,
    overrides: &Overrides,
    registry: &Registry,
    mut diags: Diags,
) -> Result<Loaded, Diags> {
    // A missing or broken file would make everything that hangs on it look wrong.
    if layers.first().is_none_or(|eldest| eldest.extends.is_some()) {
        return Err(diags.finish());
    }
    let warnings = unused_vars(&layers);
    let merged = compose::compose(&mut layers, &overrides.sets, &mut diags);
    let Merged {
        vars,
        nodes,
        dropped,
    } = merged;
    let nodes = vars::expand(nodes, &vars, &mut diags);
    if nodes.entries.is_empty() && diags.is_empty() {
        diags.push(Diag::plain("the recipe has no nodes"));
    }
    let folders = Folders {
        layers: &layers,
        cwd: &overrides.cwd,
    };
    let resolver = resolve::Resolver {
        registry,
        folders: &folders,
        dropped: &dropped,
    };
    let Some(graph) = resolver.graph(&nodes, &mut diags) else {
        return Err(diags.finish());
    };
    let youngest = &layers[layers.len() - 1];
    let stem = Path::new(&youngest.source.name).file_stem();
    let stem = stem.map_or_else(|| "recipe".into(), |s| s.to_string_lossy().into_owned());
    let name = youngest.name.clone().unwrap_or(stem);
    let notes = notes(&nodes);
    Ok(Loaded {
        resolved_text: write::text(&name, youngest.description.as_deref(), &graph, &notes),
        name,
        description: youngest.description.clone(),
        notes,
        files: layers
            .iter()
            .map(|l| (PathBuf::from(&l.source.name), l.source.text.clone()))
            .collect(),
        origins: origins(&nodes),
        graph,
        warnings: warnings.finish(),
    })
}

/// Variables that no text of the whole chain mentions.
fn unused_vars(layers: &[Layer]) -> Diags {
    let mut used = BTreeSet::new();
    for layer in layers {
        used.extend(vars::mentions(&layer.nodes));
        used.extend(vars::mentions(&layer.vars));
    }
    let mut warnings = Diags::default();
    for entry in layers.iter().flat_map(|l| &l.vars.entries) {
        if !used.contains(&entry.key) {
            let message = format!("variable `{}` is never used", entry.key);
            warnings.push(Diag::at(&entry.key_at, message).warning());
        }
    }
    warnings
}

fn origins(nodes: &Table) -> BTreeMap<(String, String), String> {
    let mut origins = BTreeMap::new();
    for node in &nodes.entries {
        let Shape::Table(table) = &node.item.shape else {
            continue;
        };
        for param in &table.entries {
            let place = param.item.origin().file_line();
            origins.insert((node.key.clone(), param.key.clone()), place);
        }
    }
    origins
}

fn notes(nodes: &Table) -> BTreeMap<String, String> {
    let mut notes = BTreeMap::new();
    for node in &nodes.entries {
        if let Shape::Table(table) = &node.item.shape
            && let Some(note) = table.get("description")
            && let Shape::Str(text) = &note.item.shape
        {
            notes.insert(node.key.clone(), text.clone());
        }
    }
    notes
}
