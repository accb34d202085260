//! What each recipe differs by from the one that it is compared with, under all choices of its axes. Every difference is `compare`'s.

use crate::compare::show::differences;
use crate::compare::structure::structure;
use crate::html::study::{Recipe, Study};
use crate::pairing;
use crate::side::{self, Side};
use crate::verdicts;
use base::claim::{Axes, Claim, of_seeds};
use base::text::count;
use serde::Serialize;
use std::collections::BTreeSet;

/// What makes a recipe another than the one that it is compared with.
#[derive(Debug, PartialEq, Serialize)]
pub struct Differs {
    pub recipe: String,
    pub from: String,
    /// `rl (grpo): kl_coefficient: 0.001 -> 0.01`, `only in kl: rl-deeper (grpo)`.
    pub lines: Vec<String>,
    /// How many nodes are the same by themselves and have other inputs, `2 nodes get`; nothing of none.
    pub below: Option<String>,
}

/// Of every recipe but the one that the others are compared with.
pub fn differs(study: &Study) -> Vec<Differs> {
    let own =
        |recipe: &Recipe| -> Vec<&Side> { recipe.sides.iter().map(|s| &study.sides[*s]).collect() };
    let mut found = vec![];
    for (at, recipe) in study.recipes.iter().enumerate() {
        let sides = own(recipe);
        let claimed = against(study, &sides);
        let Some(from) = claimed.map(|(from, _)| from).or((at > 0).then_some(0)) else {
            continue;
        };
        if from == at {
            continue;
        }
        let others = own(&study.recipes[from]);
        let pairs = pairs(claimed.map(|(_, claim)| claim), &others, &sides);
        found.push(of_pairs(
            (study.recipes[from].name, recipe.name),
            &sides,
            &pairs,
        ));
    }
    found
}

/// Every variant beside that of the other recipe which it is compared with, seeds once: those that agree in all axes; where that leaves
/// it open, those of the claim; else the first that agrees, or the first.
fn pairs<'a>(
    claim: Option<&Claim>,
    others: &[&'a Side],
    own: &[&'a Side],
) -> Vec<(&'a Side, &'a Side)> {
    let none = Axes::new();
    let all = pairing::pair(others, own, &none, &none).ok();
    let all = all.map(|p| {
        p.groups
            .into_iter()
            .flat_map(|g| g.pairs)
            .collect::<Vec<_>>()
    });
    let pairs: Vec<(&Side, &Side)> = all
        .or_else(|| verdicts::paired(claim?, own, others).ok())
        .unwrap_or_else(|| {
            let agrees = |a: &Side, b: &Side| {
                let mut both = a.axes.iter().filter_map(|(x, v)| Some((v, b.axes.get(x)?)));
                both.all(|(v, w)| v == w)
            };
            let partner = |b: &'a Side| {
                let first = others.iter().copied().find(|a| agrees(a, b));
                (first.unwrap_or(others[0]), b)
            };
            own.iter().copied().map(partner).collect()
        });
    let mut once: Vec<(&Side, &Side)> = vec![];
    for pair in pairs {
        if !once.iter().any(|(_, b)| unseeded(b) == unseeded(pair.1)) {
            once.push(pair);
        }
    }
    once
}

fn unseeded(side: &Side) -> Axes {
    side.axes_without(of_seeds)
}

/// Lines of a recipe's differences that are written out.
const MOST: usize = 12;

/// What holds of every variant of the recipe is said once, anything else with the variant's axes.
fn of_pairs((from, name): (&str, &str), all: &[&Side], pairs: &[(&Side, &Side)]) -> Differs {
    let variants: BTreeSet<Axes> = all.iter().map(|s| unseeded(s)).collect();
    let mut lines: Vec<(String, Vec<Axes>)> = vec![];
    let mut below = BTreeSet::new();
    for (a, b) in pairs {
        let structure = structure(a, b);
        below.insert(structure.below.len());
        for line in differences(&structure, (from, name)) {
            match lines.iter_mut().find(|(known, _)| *known == line) {
                Some((_, of)) => of.push(unseeded(b)),
                None => lines.push((line, vec![unseeded(b)])),
            }
        }
    }
    let mut told: Vec<String> = lines
        .into_iter()
        .map(|(line, of)| match of.len() == variants.len() {
            true => line,
            false => {
                let of = of
                    .iter()
                    .map(|axes| side::labelled("", axes).trim().to_string());
                format!("{}: {line}", of.collect::<Vec<_>>().join("; "))
            }
        })
        .collect();
    let more = told.len().saturating_sub(MOST);
    told.truncate(MOST);
    if more > 0 {
        told.push(format!("{more} more, which `pipe diff` tells"));
    }
    // The other side's axes that this recipe does not have say which of its variants is meant.
    let names: BTreeSet<&String> = all.iter().flat_map(|s| s.axes.keys()).collect();
    let known = |axis: &str| of_seeds(axis) || names.iter().any(|n| *n == axis);
    let which: BTreeSet<Axes> = pairs.iter().map(|(a, _)| a.axes_without(known)).collect();
    let from = match which.into_iter().collect::<Vec<_>>().as_slice() {
        [one] => side::labelled(from, one),
        _ => from.to_string(),
    };
    let (least, most) = (below.first().copied(), below.last().copied());
    Differs {
        recipe: name.into(),
        from,
        lines: told,
        below: match (least.unwrap_or(0), most.unwrap_or(0)) {
            (_, 0) => None,
            (least, most) if least == most => Some(count(most as u64, "node gets", "nodes get")),
            (least, most) => Some(format!("{least} to {most} nodes get")),
        },
    }
}

/// The other recipe of this study that its first claim is against, and that claim.
fn against<'a>(study: &Study, sides: &[&'a Side]) -> Option<(usize, &'a Claim)> {
    let all: Vec<&Side> = study.sides.iter().collect();
    sides[0].claims.iter().find_map(|claim| {
        let other = verdicts::of_file(&all, claim.against.as_ref()?)
            .into_iter()
            .next()?;
        let at = study
            .recipes
            .iter()
            .position(|r| r.file == other.file.as_path() && r.name == other.recipe)?;
        (other.file != sides[0].file).then_some((at, claim))
    })
}
