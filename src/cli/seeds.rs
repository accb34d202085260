//! The seeds under which a study is repeated: those of its axis or its variables, and the numbers after them. Knows no claims.

use super::args::Changes;
use super::output::Error;
use super::study;
use base::claim::SEED;
use base::text::listed;
use recipe::study::{Study, Variant};
use std::path::PathBuf;

/// The values of the axis, which no two recipes may have otherwise, then the numbers after the largest of them: as many as there
/// may be.
pub fn first(files: &[PathBuf], changes: &Changes, most: usize) -> Result<Vec<String>, Error> {
    let mut without = under(changes, &[]);
    let named: Vec<String> = changes
        .matrix
        .iter()
        .filter(|m| of_seed(m))
        .cloned()
        .collect();
    let plain = study::load_all(files, &without)?;
    let first = &plain.variants[0].loaded;
    let axis = |v: &Variant| -> Option<Vec<String>> {
        let axis = v.loaded.matrix.iter().find(|a| a.path == SEED)?;
        Some(axis.values.iter().map(recipe::matrix::text).collect())
    };
    if let Some(v) = plain
        .variants
        .iter()
        .find(|v| axis(v).is_none() && v.loaded.seed.is_none())
    {
        return Err(Error::Usage(format!(
            "`{}` has no number `seed` in `[vars]`, so there is nothing to repeat it with",
            v.loaded.name
        )));
    }
    let mut seeds = match named.is_empty() {
        true => one_axis(&plain, axis)?
            .unwrap_or_else(|| first.seed.iter().map(i64::to_string).collect()),
        false => {
            without.matrix.extend(named);
            let asked = study::load_all(files, &without)?;
            axis(&asked.variants[0]).unwrap_or_default()
        }
    };
    let numbers = seeds.iter().filter_map(|s| s.parse::<i64>().ok());
    let next = numbers.max().unwrap_or(-1) + 1;
    let missing = most.saturating_sub(seeds.len());
    seeds.extend((next..).take(missing).map(|seed| seed.to_string()));
    Ok(seeds)
}

/// The axis of the recipes that have one.
fn one_axis(
    study: &Study,
    axis: impl Fn(&Variant) -> Option<Vec<String>>,
) -> Result<Option<Vec<String>>, Error> {
    let mut found: Option<(&str, Vec<String>)> = None;
    for v in &study.variants {
        match (&found, axis(v)) {
            (Some((first, seeds)), Some(other)) if *seeds != other => {
                return Err(Error::Usage(format!(
                    "`{first}` has the seeds {} and `{}` {}: all recipes are run under the same seeds, so name them with `--matrix seed=…`",
                    listed(seeds.iter().map(String::as_str)),
                    v.loaded.name,
                    listed(other.iter().map(String::as_str)),
                )));
            }
            (None, Some(seeds)) => found = Some((&v.loaded.name, seeds)),
            _ => {}
        }
    }
    Ok(found.map(|(_, seeds)| seeds))
}

/// Whether an axis of the command line, as it is written there, is that of the seeds.
pub fn of_seed(axis: &str) -> bool {
    let path = axis.split('=').next().unwrap_or_default();
    recipe::matrix::steps(path) == recipe::matrix::steps(SEED)
}

/// With these seeds instead of those of the command line; without seeds as the recipes are.
pub fn under(changes: &Changes, seeds: &[String]) -> Changes {
    let others = changes.matrix.iter().filter(|m| !of_seed(m));
    let mut matrix: Vec<String> = others.cloned().collect();
    if !seeds.is_empty() {
        matrix.push(format!("{SEED}={}", seeds.join(",")));
    }
    Changes {
        set: changes.set.clone(),
        matrix,
    }
}
