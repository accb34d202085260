//! Which variants of two recipes are compared with each other. Knows axes, not what is measured.

use crate::side::Side;
use base::claim::{Axes, SEED};
use base::text::listed;
use std::collections::{BTreeMap, BTreeSet};

/// Pairs between which only the seed varies.
pub struct Group<'a> {
    /// The axes that both sides have and agree in, without the seed.
    pub axes: Axes,
    pub pairs: Vec<(&'a Side, &'a Side)>,
}

pub struct Pairing<'a> {
    pub groups: Vec<Group<'a>>,
    /// Variants that nothing on the other side agrees with.
    pub alone: Vec<&'a Side>,
}

/// Pairs the variants that agree in every axis both sides have, of those that `first_at` and `second_at` choose; an axis
/// that one of these fixes need not agree. One variant has one partner at most; the error says what would leave several.
pub fn pair<'a>(
    first: &[&'a Side],
    second: &[&'a Side],
    first_at: &Axes,
    second_at: &Axes,
) -> Result<Pairing<'a>, String> {
    let first = chosen(first, first_at)?;
    let second = chosen(second, second_at)?;
    let fixed = |axis: &&str| !first_at.contains_key(*axis) && !second_at.contains_key(*axis);
    let common: Vec<&str> = names(&first)
        .intersection(&names(&second))
        .copied()
        .filter(fixed)
        .collect();
    let agree = |a: &Side, b: &Side| common.iter().all(|x| a.axes.get(*x) == b.axes.get(*x));
    for (ones, others) in [(&first, &second), (&second, &first)] {
        for one in ones {
            let partners: Vec<&Side> = others.iter().copied().filter(|o| agree(one, o)).collect();
            if partners.len() > 1 {
                return Err(several(one, &partners));
            }
        }
    }
    let mut groups: BTreeMap<Axes, Vec<(&Side, &Side)>> = BTreeMap::new();
    for one in &first {
        if let Some(partner) = second.iter().find(|o| agree(one, o)) {
            let axes = common.iter().filter(|x| **x != SEED);
            let axes = axes.filter_map(|x| Some((x.to_string(), one.axes.get(*x)?.clone())));
            groups
                .entry(axes.collect())
                .or_default()
                .push((one, partner));
        }
    }
    if groups.is_empty() {
        return Err(format!(
            "no variant of `{}` agrees with one of `{}` in {}",
            first[0].recipe,
            second[0].recipe,
            listed(common)
        ));
    }
    let lone = |ones: &[&'a Side], others: &[&'a Side]| -> Vec<&'a Side> {
        let alone = ones.iter().filter(|o| !others.iter().any(|p| agree(o, p)));
        alone.copied().collect()
    };
    let mut alone = lone(&first, &second);
    alone.extend(lone(&second, &first));
    let groups = groups
        .into_iter()
        .map(|(axes, pairs)| Group { axes, pairs })
        .collect();
    Ok(Pairing { groups, alone })
}

/// The variants with these values. `sides` are of one recipe, at least one.
fn chosen<'a>(sides: &[&'a Side], at: &Axes) -> Result<Vec<&'a Side>, String> {
    let fits = |s: &&&Side| {
        at.iter()
            .all(|(axis, value)| s.axes.get(axis) == Some(value))
    };
    let chosen: Vec<&Side> = sides.iter().filter(fits).copied().collect();
    if chosen.is_empty() {
        let asked: Vec<String> = at.iter().map(|(a, v)| format!("{a}={v}")).collect();
        let all: Vec<String> = sides.iter().map(|s| s.label()).collect();
        return Err(format!(
            "`{}` has no variant with {}; there is {}",
            sides.first().map_or("the recipe", |s| s.recipe.as_str()),
            listed(asked.iter().map(String::as_str)),
            listed(all.iter().map(String::as_str))
        ));
    }
    Ok(chosen)
}

fn names<'a>(sides: &[&'a Side]) -> BTreeSet<&'a str> {
    let all = sides.iter().flat_map(|s| s.axes.keys());
    all.map(String::as_str).collect()
}

fn several(one: &Side, partners: &[&Side]) -> String {
    let varies = |axis: &&str| {
        let values: BTreeSet<_> = partners.iter().map(|p| p.axes.get(*axis)).collect();
        values.len() > 1
    };
    let axes: Vec<&str> = names(partners).into_iter().filter(varies).collect();
    format!(
        "`{}` could be compared with {} variants of `{}`, which differ in {}",
        one.label(),
        partners.len(),
        partners[0].recipe,
        listed(axes)
    )
}
