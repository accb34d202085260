//! What became of the claims of recipes: reproduced, contradicted, inconclusive, or not answered and why. The numbers
//! stand beside every verdict. A reader of records.

mod answer;
pub mod decide;
mod family;
pub mod show;
mod weigh;

use crate::side::Side;
pub use answer::{Answer, Needed, Part, Weighed};
use anyhow::Result;
use base::claim::Claim;
use engine::store::Store;
pub use family::{corrected, family};
use std::path::{Path, PathBuf};
pub use weigh::answer;
pub(crate) use weigh::paired;

/// Every claim of every recipe among `sides` whose name is wanted, in their order; what is answered is corrected together, and has a
/// verdict where its p is at most `alpha`.
pub fn answers(
    store: &Store,
    sides: &[&Side],
    alpha: f64,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Answer>> {
    let mut found = vec![];
    for own in recipes(sides) {
        if !wanted(&own[0].recipe) {
            continue;
        }
        for claim in &own[0].claims {
            let others = others(sides, claim, &own);
            found.push(answer(store, claim, &own, &others)?);
        }
    }
    Ok(corrected(found, alpha))
}

/// The claims of one recipe about the other, not yet corrected; both sides are the variants of one.
pub fn between(store: &Store, own: &[&Side], others: &[&Side]) -> Result<Vec<Answer>> {
    let mut found = vec![];
    for claim in own.first().map_or(&[][..], |s| s.claims.as_slice()) {
        let Some(file) = &claim.against else {
            continue;
        };
        let against = of_file(others, file);
        if !against.is_empty() {
            found.push(answer(store, claim, own, &against)?);
        }
    }
    Ok(found)
}

/// The variants that a claim compares its own with: those of the recipe that it is against, or its own.
fn others<'a>(sides: &[&'a Side], claim: &Claim, own: &[&'a Side]) -> Vec<&'a Side> {
    match &claim.against {
        Some(file) => of_file(sides, file),
        None => own.to_vec(),
    }
}

/// The variants of each recipe, by its file, in their order.
pub fn recipes<'a>(sides: &[&'a Side]) -> Vec<Vec<&'a Side>> {
    let mut found: Vec<Vec<&Side>> = vec![];
    for side in sides {
        match found.iter_mut().find(|f| f[0].file == side.file) {
            Some(variants) => variants.push(side),
            None => found.push(vec![side]),
        }
    }
    found
}

/// The variants of the recipe in this file, however its path is written.
pub fn of_file<'a>(sides: &[&'a Side], file: &Path) -> Vec<&'a Side> {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    let wanted = whole(file);
    let of = sides.iter().filter(|s| whole(&s.file) == wanted);
    of.copied().collect()
}

/// Claims that no records could answer, and why; none of those whose other recipe is not there.
pub fn unpaired<'a>(sides: &[&'a Side]) -> Vec<(&'a Claim, String)> {
    let mut found = vec![];
    for own in recipes(sides) {
        for claim in &own[0].claims {
            let others = others(sides, claim, &own);
            if let (false, Err(why)) = (others.is_empty(), paired(claim, &own, &others)) {
                found.push((claim, why));
            }
        }
    }
    found
}
