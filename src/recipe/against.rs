//! What a recipe's claims need of the recipes that they are against: the axes that reach those, and whether what the claims name is
//! there. Knows no store.

use crate::claims::Written;
use crate::condition::WrittenCondition;
use crate::matrix::{self, Axis};
use crate::measured::{unlabelled, unmeasured};
use crate::{Loaded, Overrides};
use base::claim::{Axes, Claim, Condition, SEED};
use base::diag::{Diag, Diags, Place};
use base::text::{did_you_mean, listed};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A path as it is compared with others, however it is written.
pub fn whole(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// By the recipe that claims are against: the axes of whoever claims, with the values of all of them. Not those on which a claim
/// chooses with `at`, which are what it compares.
pub fn reaching<'a>(
    recipes: impl Iterator<Item = (PathBuf, &'a Loaded)>,
) -> BTreeMap<PathBuf, Vec<Axis>> {
    let mut found: BTreeMap<PathBuf, Vec<Axis>> = BTreeMap::new();
    for (file, loaded) in recipes {
        for claim in &loaded.claims {
            let Some(against) = &claim.against else {
                continue;
            };
            let against = whole(against);
            if against == file {
                continue;
            }
            let open = |axis: &&Axis| loaded.claims.iter().all(|c| !c.at.contains_key(&axis.path));
            // One other value is what the recipe changes, and no repetition.
            let repeats = |axis: &&Axis| axis.path == SEED || axis.values.len() > 1;
            let axes = found.entry(against).or_default();
            for axis in loaded.matrix.iter().filter(open).filter(repeats) {
                add(axes, axis);
            }
        }
    }
    found
}

fn add(axes: &mut Vec<Axis>, axis: &Axis) {
    let Some(known) = axes.iter_mut().find(|a| a.path == axis.path) else {
        axes.push(axis.clone());
        return;
    };
    for value in &axis.values {
        let text = matrix::text(value);
        if known.values.iter().all(|v| matrix::text(v) != text) {
            known.values.push(value.clone());
        }
    }
}

/// What is wrong with a claim, now that the variants of its recipe are there, and those of the other one where that was read.
pub fn check(
    (claim, written): (&Claim, &Written),
    own: &[&Loaded],
    others: &[&Loaded],
    overrides: &Overrides,
    diags: &mut Diags,
) {
    // The command line may leave out what a claim is about; then it is not answered, and no error.
    let values = overrides.matrix.is_empty();
    chosen(&claim.at, &written.at, own, values, diags);
    // It may also set what labels the rows have, as the most lookups of the world's prompts.
    let labels = overrides.sets.is_empty();
    for (condition, at) in claim.conditions.iter().zip(&written.conditions) {
        if labels {
            split(&condition.node, condition, at, (own, &claim.at), diags);
        }
    }
    let Some(first) = others.first() else { return };
    chosen(
        &claim.against_at,
        &written.against_at,
        others,
        values,
        diags,
    );
    for (condition, at) in claim.conditions.iter().zip(&written.conditions) {
        let name = condition.against_node.as_str();
        let Some(id) = first.graph.find(name) else {
            let names = || first.graph.nodes().iter().map(|n| n.name.as_str());
            let near = did_you_mean(name, names());
            let message = format!("`{}` has no node `{name}`", first.name);
            let diag = Diag::at(&at.against_node, message);
            diags.push(match near {
                Some(_) => diag.suggest(near),
                None => diag.help(format!(
                    "`against_node` says how it is called there; there is {}",
                    listed(names())
                )),
            });
            continue;
        };
        if labels {
            split(name, condition, at, (others, &claim.against_at), diags);
        }
        let kind = first.graph.node(id).kind;
        for (metric, place) in condition.metrics.iter().zip(&at.metrics) {
            if let Some(diag) = unmeasured(kind, name, metric, place) {
                diags.push(diag);
            }
        }
    }
}

/// Labels and values that a node's rows have in none of the variants that a claim chooses.
fn split(
    node: &str,
    condition: &Condition,
    at: &WrittenCondition,
    (variants, chosen): (&[&Loaded], &Axes),
    diags: &mut Diags,
) {
    let is = |v: &&&Loaded| {
        chosen
            .iter()
            .all(|(axis, value)| v.axes.get(axis) == Some(value))
    };
    for (metric, place) in condition.named().zip(&at.metrics) {
        let chosen = variants.iter().filter(is);
        let wrong: Option<Vec<Diag>> = chosen
            .map(|v| unlabelled(&v.graph, v.graph.find(node)?, metric, place))
            .collect();
        wrong
            .into_iter()
            .flat_map(|all| all.into_iter().next())
            .for_each(|diag| diags.push(diag));
    }
}

/// Values by which a claim chooses variants, and that none of them has.
fn chosen(
    at: &Axes,
    places: &[(String, Place)],
    variants: &[&Loaded],
    all_values: bool,
    diags: &mut Diags,
) {
    for (axis, place) in places {
        let value = &at[axis];
        let values = variants.iter().filter_map(|v| v.axes.get(axis));
        let values: BTreeSet<&str> = values.map(String::as_str).collect();
        let of = &variants[0].name;
        if values.is_empty() {
            let names = variants[0].axes.keys().map(String::as_str);
            let message = format!("`{axis}` is no axis of `{of}`");
            diags.push(Diag::at(place, message).suggest(did_you_mean(axis, names)));
        } else if all_values && !values.contains(value.as_str()) {
            let message = format!("no variant of `{of}` has {axis} = {value}");
            let help = format!("its values are {}", listed(values));
            diags.push(Diag::at(place, message).help(help));
        }
    }
}
