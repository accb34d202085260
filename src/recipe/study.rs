//! Several recipes, each under every choice of its axes, as one graph. Knows no store.

use crate::against::{self, whole};
use crate::place;
use crate::{Loaded, Overrides, load, load_under};
use base::claim::Axes;
use base::diag::{Diag, Diags};
use base::text::listed;
use engine::graph::union::{Part, union};
use engine::graph::{Graph, NodeId};
use engine::kind::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One recipe under one choice of its axes.
pub struct Variant {
    pub file: PathBuf,
    pub loaded: Loaded,
    /// By node of the own graph: where it is in the study's.
    pub places: Vec<NodeId>,
}

pub struct Study {
    /// Of all variants, every node once.
    pub graph: Graph,
    /// In the order of the files, then of the choices.
    pub variants: Vec<Variant>,
    /// What the command line has changed in all of them.
    pub sets: Vec<String>,
    pub warnings: Diags,
}

impl Variant {
    pub fn axes(&self) -> &Axes {
        &self.loaded.axes
    }

    /// `tars`, `lambda-sweep lambda=0.3, seed=1`.
    pub fn label(&self) -> String {
        let axes: Vec<String> = self
            .axes()
            .iter()
            .map(|(a, v)| format!("{a}={v}"))
            .collect();
        match axes.is_empty() {
            true => self.loaded.name.clone(),
            false => format!("{} {}", self.loaded.name, axes.join(", ")),
        }
    }
}

impl Study {
    /// Loads the files; a file that is named twice counts once. Two recipes of one name are an error, as nobody could
    /// tell their nodes apart.
    pub fn load(
        files: &[PathBuf],
        overrides: &Overrides,
        registry: &Registry,
    ) -> Result<Study, Diags> {
        let mut diags = Diags::default();
        let mut warnings = Diags::default();
        let (mut read, mut failed) = (vec![], vec![]);
        let mut seen = BTreeSet::new();
        let mut names: BTreeMap<String, &Path> = BTreeMap::new();
        let files: Vec<PathBuf> = files.iter().map(|f| place::spelled(f)).collect();
        for file in &files {
            let full = place::full(&overrides.cwd, file);
            if !seen.insert(full.canonicalize().unwrap_or(full)) {
                continue;
            }
            match load(file, overrides, registry) {
                Err(errors) => failed.push((file.as_path(), errors)),
                Ok(loaded) => {
                    if let Some(first) = names.insert(loaded[0].name.clone(), file) {
                        let message = format!(
                            "{} and {} are both called `{}`",
                            first.display(),
                            file.display(),
                            loaded[0].name
                        );
                        diags.push(Diag::plain(message).help("give one of them another `name`"));
                    }
                    read.extend(loaded.into_iter().map(|l| (file.clone(), l)));
                }
            }
        }
        told(&failed, seen.len(), &mut diags);
        if !diags.is_empty() {
            return Err(diags.finish());
        }
        let read = under_claims(read, overrides, registry)?;
        let parts: Vec<Part> = read
            .iter()
            .map(|(_, loaded)| Part {
                recipe: &loaded.name,
                axes: &loaded.axes,
                graph: &loaded.graph,
            })
            .collect();
        let united = union(&parts);
        let variants = read.into_iter().zip(united.places);
        let variants = variants
            .map(|((file, mut loaded), places)| {
                warnings.extend(std::mem::take(&mut loaded.warnings));
                Variant {
                    file,
                    loaded,
                    places,
                }
            })
            .collect();
        Ok(Study {
            graph: united.graph,
            variants,
            sets: overrides.sets.clone(),
            warnings: warnings.finish(),
        })
    }

    /// The recipes that claims are against and that are not among these.
    pub fn missing(&self) -> Vec<PathBuf> {
        let mut known: BTreeSet<PathBuf> = self.variants.iter().map(|v| whole(&v.file)).collect();
        let claims = self.variants.iter().flat_map(|v| &v.loaded.claims);
        let files = claims.filter_map(|c| c.against.as_ref());
        files.filter(|f| known.insert(whole(f))).cloned().collect()
    }

    /// The recipes' names, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .variants
            .iter()
            .map(|v| v.loaded.name.as_str())
            .collect();
        names.dedup();
        names
    }

    /// Descriptions of the study's nodes: of the first recipe that has one.
    pub fn notes(&self) -> BTreeMap<String, String> {
        let mut notes = BTreeMap::new();
        for variant in &self.variants {
            for (own, place) in variant.loaded.graph.ids().zip(&variant.places) {
                if let Some(note) = variant
                    .loaded
                    .notes
                    .get(&variant.loaded.graph.node(own).name)
                {
                    let name = self.graph.node(*place).name.clone();
                    notes.entry(name).or_insert_with(|| note.clone());
                }
            }
        }
        notes
    }

    /// By node of the study: the recipe it came from, the first of them.
    pub fn origins(&self) -> BTreeMap<String, String> {
        let mut origins = BTreeMap::new();
        for variant in &self.variants {
            for place in &variant.places {
                let name = self.graph.node(*place).name.clone();
                origins
                    .entry(name)
                    .or_insert_with(|| variant.loaded.name.clone());
            }
        }
        origins
    }

    /// How many nodes the variants have, each counted for itself.
    pub fn counted_apart(&self) -> usize {
        self.variants.iter().map(|v| v.places.len()).sum()
    }
}

/// What is wrong with recipes. What is so of the command line is told once, with those of several recipes that it is wrong for.
fn told(failed: &[(&Path, Diags)], all: usize, diags: &mut Diags) {
    let given = |d: &&Diag| (d.place.as_ref()).is_some_and(|p| p.source.name.starts_with("--"));
    let same = |a: &Diag, b: &Diag| {
        let at = |d: &Diag| (d.place.as_ref()).map(|p| (p.source.text.clone(), p.span.clone()));
        a.message == b.message && at(a) == at(b)
    };
    let mut shared: Vec<(&Diag, Vec<String>)> = vec![];
    for (file, errors) in failed {
        let (of_line, own): (Vec<&Diag>, Vec<&Diag>) = errors.iter().partition(given);
        own.into_iter().for_each(|diag| diags.push(diag.clone()));
        for diag in of_line {
            let file = file.display().to_string();
            match shared.iter_mut().find(|(known, _)| same(known, diag)) {
                Some((_, files)) => files.push(file),
                None => shared.push((diag, vec![file])),
            }
        }
    }
    for (diag, files) in shared {
        let mut diag = diag.clone();
        if all > 1 && files.len() < all {
            let files = listed(files.iter().map(String::as_str));
            diag.message = format!("{} in {files}", diag.message);
        }
        diags.push(diag);
    }
}

/// The recipes that claims of others are against, under the axes of these; and what is wrong with the claims, now that both are there.
fn under_claims(
    read: Vec<(PathBuf, Loaded)>,
    overrides: &Overrides,
    registry: &Registry,
) -> Result<Vec<(PathBuf, Loaded)>, Diags> {
    let place = |file: &Path| whole(&place::full(&overrides.cwd, file));
    let axes = against::reaching(read.iter().map(|(file, loaded)| (place(file), loaded)));
    let mut out: Vec<(PathBuf, Loaded)> = vec![];
    for (file, loaded) in read {
        let more = axes.get(&place(&file)).map_or(&[][..], Vec::as_slice);
        let new = more
            .iter()
            .any(|axis| loaded.matrix.iter().all(|own| own.path != axis.path));
        match (new, out.last()) {
            (false, _) => out.push((file, loaded)),
            // Its first variant has brought all that there are.
            (true, Some((last, _))) if *last == file => {}
            (true, _) => {
                let again = load_under(&file, overrides, more, registry)?;
                out.extend(again.into_iter().map(|l| (file.clone(), l)));
            }
        }
    }
    let mut diags = Diags::default();
    let mut seen = BTreeSet::new();
    for (file, loaded) in &out {
        if !seen.insert(file) {
            continue;
        }
        for (claim, written) in loaded.claims.iter().zip(&loaded.written) {
            let against = claim.against.as_deref().map(whole);
            let others = out
                .iter()
                .filter(|(file, _)| against.as_ref() == Some(&place(file)));
            let others: Vec<&Loaded> = others.map(|(_, loaded)| loaded).collect();
            let own = out.iter().filter(|(other, _)| other == file);
            let own: Vec<&Loaded> = own.map(|(_, loaded)| loaded).collect();
            against::check((claim, written), &own, &others, overrides, &mut diags);
        }
    }
    match diags.is_empty() {
        true => Ok(out),
        false => Err(diags.finish()),
    }
}
