//! Recipe text to graph: parsed with places, extended, overridden, multiplied by its axes, variables replaced, checked against the kinds.
//! All errors come at once. Reads recipe files only, or those that are part of the program; knows no kind by name, no terminal, no network.

pub mod against;
pub mod check;
pub mod choices;
pub mod claims;
pub mod compose;
pub mod condition;
mod draft;
mod flags;
mod idle;
pub mod layer;
pub mod matrix;
mod measured;
mod older;
pub mod parse;
pub mod place;
pub mod resolve;
mod said;
pub mod schema;
pub mod secret;
pub mod shipped;
pub mod study;
mod than;
pub mod tree;
pub mod vars;
pub mod wire;
pub mod write;

use crate::check::Folders;
use crate::compose::Merged;
use crate::idle::IdleParams;
use crate::layer::Layer;
use crate::matrix::Axis;
use crate::tree::{Shape, Table};
use base::claim::{Axes, Claim, SEED};
use base::diag::{Diag, Diags, Source};
use engine::graph::Graph;
use engine::kind::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the command line adds.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `path=value`, applied in order.
    pub sets: Vec<String>,
    /// `axis=[values]`, over the axes of `[matrix]`.
    pub matrix: Vec<String>,
    /// Where relative paths of the command line start: the recipe's own and those in `sets`.
    pub cwd: PathBuf,
}

/// A recipe under one choice of its axes.
pub struct Loaded {
    pub graph: Graph,
    /// The recipe's `name`, or its file's stem. A parent's name is not inherited, nor is its description.
    pub name: String,
    pub description: Option<String>,
    /// What was chosen; empty without a `[matrix]`.
    pub axes: Axes,
    /// What it expects of others.
    pub claims: Vec<Claim>,
    /// Where each of these is written.
    pub written: Vec<claims::Written>,
    /// All axes with all their values.
    pub matrix: Vec<Axis>,
    /// The variable `seed` where no axis varies it, if it is a number.
    pub seed: Option<i64>,
    /// Descriptions of nodes, by node.
    pub notes: BTreeMap<String, String>,
    /// Every file that was read, the eldest first.
    pub files: Vec<Arc<Source>>,
    /// Of the whole recipe, with its first choice.
    pub warnings: Diags,
}

impl Loaded {
    /// The graph as one recipe: nothing extended, no variables, no axes, defaults written out, paths absolute.
    pub fn resolved_text(&self) -> String {
        let description = self.description.as_deref();
        write::text(&self.name, description, &self.graph, &self.notes)
    }
}

/// Loads a recipe, a file or `pipe:NAME`, and all it extends: one for every choice of `[matrix]`, at least one.
pub fn load(path: &Path, overrides: &Overrides, registry: &Registry) -> Result<Vec<Loaded>, Diags> {
    load_under(path, overrides, &[], registry)
}

/// The same under axes of another recipe, as far as it has what they vary and does not vary it itself.
pub fn load_under(
    path: &Path,
    overrides: &Overrides,
    others: &[Axis],
    registry: &Registry,
) -> Result<Vec<Loaded>, Diags> {
    let mut diags = Diags::default();
    let layers = layer::chain(path, &overrides.cwd, &mut diags);
    finish(layers, overrides, others, registry, false, diags)
}

/// Loads a text as if it were a file of this name in the current directory of `overrides`.
pub fn from_text(
    name: &str,
    text: &str,
    overrides: &Overrides,
    registry: &Registry,
) -> Result<Vec<Loaded>, Diags> {
    read_text(name, text, overrides, registry, false)
}

/// The same of a text that `Loaded::resolved_text` gave, perhaps in an older version: parameters may have the names that they had then.
pub fn from_resolved(
    name: &str,
    text: &str,
    overrides: &Overrides,
    registry: &Registry,
) -> Result<Vec<Loaded>, Diags> {
    read_text(name, text, overrides, registry, true)
}

fn read_text(
    name: &str,
    text: &str,
    overrides: &Overrides,
    registry: &Registry,
    resolved: bool,
) -> Result<Vec<Loaded>, Diags> {
    let mut diags = Diags::default();
    if text.len() as u64 > place::MOST_TEXT {
        let most = base::text::bytes(place::MOST_TEXT);
        return Err(Diag::plain(format!("`{name}` is larger than {most}")).into());
    }
    let youngest = layer::layer(name, text, PathBuf::new(), None, &mut diags);
    let layers = layer::elders(youngest, &overrides.cwd, &mut diags);
    finish(layers, overrides, &[], registry, resolved, diags)
}

fn finish(
    mut layers: Vec<Layer>,
    overrides: &Overrides,
    others: &[Axis],
    registry: &Registry,
    resolved: bool,
    mut diags: Diags,
) -> Result<Vec<Loaded>, Diags> {
    // A missing or broken file would make everything that hangs on it look wrong.
    if layers.first().is_none_or(|eldest| eldest.extends.is_some()) {
        return Err(diags.finish());
    }
    let mut warnings = Some(unused_vars(&layers));
    let mut merged = compose::compose(&mut layers, &overrides.sets, &mut diags);
    let over = compose::axes(&overrides.matrix, &mut diags);
    let mut axes = matrix::axes(&merged.matrix, over, &mut diags);
    let fixed = |axis: &Axis| {
        set_axes(
            std::slice::from_ref(axis),
            &overrides.sets,
            &mut Diags::default(),
        )
    };
    let more = others
        .iter()
        .filter(|a| merged.varies(&a.path) && !fixed(a));
    let more: Vec<Axis> = more
        .filter(|a| !axes.iter().any(|own| own.overlaps(a)))
        .cloned()
        .collect();
    axes.extend(more);
    set_axes(&axes, &overrides.sets, &mut diags);
    let choices = choices::choices(&merged.matrix, &axes, &mut diags);
    let recipe = Recipe {
        layers: &layers,
        overrides,
        registry,
        resolved,
        axes: &axes,
    };
    let mut loaded = vec![];
    let mut idle = IdleParams::default();
    for (i, choice) in choices.iter().enumerate() {
        let recipe_of_all = match i + 1 == choices.len() {
            true => std::mem::take(&mut merged),
            false => merged.clone(),
        };
        let chosen = recipe_of_all.choose(choice, &axes, &mut diags);
        if let Some(mut one) = recipe.choice(choice.axes(), chosen, &mut idle, &mut diags) {
            one.warnings = warnings.take().unwrap_or_default().finish();
            loaded.push(one);
        }
    }
    // What a run kept was right when it ran.
    if !resolved {
        idle.report(&mut diags);
    }
    if !diags.is_empty() {
        return Err(diags.finish());
    }
    if let Some(first) = loaded.first_mut() {
        first.warnings.extend(diags.take_asides());
        first.warnings = std::mem::take(&mut first.warnings).finish();
    }
    Ok(loaded)
}

/// A value that is set for this command and varied by an axis would be silently lost. Whether there is one.
fn set_axes(axes: &[Axis], sets: &[String], diags: &mut Diags) -> bool {
    let mut fixed = false;
    for set in sets {
        let path = set.split('=').next().unwrap_or_default().trim();
        if let Some(axis) = axes.iter().find(|axis| axis.hides(path)) {
            let of = &axis.path;
            let below = matrix::steps(path).len() > matrix::steps(of).len();
            let (what, help) = match below {
                true => (
                    format!("`{path}`"),
                    format!("write it into the values: `--matrix '{of}=[{{ … }}]'`"),
                ),
                false => ("it".into(), format!("write `--matrix {of}=VALUE`")),
            };
            let message = format!("`{of}` is an axis of `[matrix]`, so `--set` cannot fix {what}");
            diags.push(Diag::at(&axis.at, message).help(help));
            fixed = true;
        }
    }
    fixed
}

/// What is the same for every choice.
struct Recipe<'a> {
    layers: &'a [Layer],
    overrides: &'a Overrides,
    registry: &'a Registry,
    /// It was kept by a run: see `from_resolved`.
    resolved: bool,
    axes: &'a [Axis],
}

impl Recipe<'_> {
    /// `None` where anything is wrong.
    fn choice(
        &self,
        chosen: Axes,
        merged: Merged,
        idle: &mut IdleParams,
        diags: &mut Diags,
    ) -> Option<Loaded> {
        let seed = match merged.vars.get(SEED).map(|e| &e.item.shape) {
            Some(Shape::Int(seed)) => Some(*seed),
            _ => None,
        };
        let mut nodes = merged.nodes;
        vars::expand(&mut nodes, &merged.vars, diags);
        let youngest = &self.layers[self.layers.len() - 1];
        if nodes.entries().is_empty() && diags.is_empty() {
            let message = format!("`{}` has no nodes", youngest.source.name);
            let help = "a node is written `[node.NAME]` with its `kind`; `pipe kinds` lists them";
            diags.push(Diag::plain(message).help(help));
        }
        let folders = Folders {
            layers: self.layers,
            cwd: &self.overrides.cwd,
        };
        let resolver = resolve::Resolver {
            registry: self.registry,
            folders: &folders,
            dropped: &merged.dropped,
            resolved: self.resolved,
            axes: self.axes,
        };
        let graph = resolver.graph(&nodes, idle, diags);
        let known = condition::Known {
            from: youngest.path.as_deref(),
            folder: &self.overrides.cwd.join(&youngest.folder),
            nodes: &nodes,
            axes: self.axes,
            graph: graph.as_ref(),
        };
        let claims = claims::claims(&youngest.claims, &known, diags);
        let (claims, written) = claims.into_iter().unzip();
        let graph = graph?;
        let stem = || place::stem(Path::new(&youngest.source.name));
        let name = youngest.name.clone().unwrap_or_else(stem);
        let notes = notes(&nodes);
        Some(Loaded {
            name,
            description: youngest.description.clone(),
            axes: chosen,
            claims,
            written,
            matrix: self.axes.to_vec(),
            seed,
            notes,
            files: self.layers.iter().map(|l| l.source.clone()).collect(),
            graph,
            warnings: Diags::default(),
        })
    }
}

/// Variables that no text of the whole chain mentions.
fn unused_vars(layers: &[Layer]) -> Diags {
    let mut used = BTreeSet::new();
    for layer in layers {
        vars::mentions(&layer.nodes, &mut used);
        vars::mentions(&layer.vars, &mut used);
    }
    let mut warnings = Diags::default();
    for entry in layers.iter().flat_map(|l| l.vars.entries()) {
        if !used.contains(&entry.key) {
            let message = format!("variable `{}` is never used", entry.key);
            warnings.push(Diag::at(&entry.key_at, message).warning());
        }
    }
    warnings
}

fn notes(nodes: &Table) -> BTreeMap<String, String> {
    let mut notes = BTreeMap::new();
    for node in nodes.entries() {
        if let Shape::Table(table) = &node.item.shape
            && let Some(note) = table.get("description")
            && let Shape::Str(text) = &note.item.shape
        {
            notes.insert(node.key.clone(), text.clone());
        }
    }
    notes
}
