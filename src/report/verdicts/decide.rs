//! From estimates to a verdict: the one test. A verdict is the side on which the difference lies, and stands where the p of the bound
//! that it was claimed to be beyond is small enough; the interval that is shown ends where that p does.

use base::claim::Expect;
use base::stats::crossed::{self, ALPHA, Enough, Estimate};
use serde::Serialize;
use std::cmp::Ordering;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Reproduced,
    Contradicted,
    Inconclusive,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Reproduced => "reproduced",
            Verdict::Contradicted => "contradicted",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// What the numbers lean to, and how surely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Reproduced or contradicted.
    pub leans: Verdict,
    /// Two-sided. None where there is no interval.
    pub p: Option<f64>,
}

impl Decision {
    pub fn verdict(self, alpha: f64) -> Verdict {
        at(self.leans, self.p, alpha)
    }
}

/// What such a p leaves of a leaning.
pub fn at(leans: Verdict, p: Option<f64>, alpha: f64) -> Verdict {
    match p.is_some_and(|p| p <= alpha) {
        true => leans,
        false => Verdict::Inconclusive,
    }
}

/// Of differences (own less other): of one, or for `dominates` of several. `by` is not negative.
pub fn decide(expect: Expect, by: f64, all: &[&Estimate], correlation: Option<f64>) -> Decision {
    let one = all[0];
    let above = |bound: f64| one.side(bound) == Ordering::Greater;
    let below = |bound: f64| one.side(bound) == Ordering::Less;
    let side = |holds: bool, p: Option<f64>| Decision {
        leans: match holds {
            true => Verdict::Reproduced,
            false => Verdict::Contradicted,
        },
        p,
    };
    match expect {
        Expect::Lower => side(below(-by), one.p(-by)),
        Expect::Higher => side(above(by), one.p(by)),
        Expect::Within => match (above(by), below(-by)) {
            (true, _) => side(false, one.p(by)),
            (_, true) => side(false, one.p(-by)),
            _ => side(true, inside(one, by)),
        },
        Expect::Differs => match (above(by), below(-by)) {
            (true, _) => side(true, one.p(by)),
            (_, true) => side(true, one.p(-by)),
            _ => side(false, inside(one, by)),
        },
        Expect::Dominates => dominates(by, all, correlation),
    }
}

/// Of being beyond one of both bounds, where the difference lies between them.
fn inside(one: &Estimate, by: f64) -> Option<f64> {
    Some(one.p(by)?.max(one.p(-by)?))
}

/// On no side lower by more than `by`, on one at least higher: every part has to hold, so the weakest says how surely; of which
/// one is higher the strongest says it, corrected for the choice with the correlation of both.
fn dominates(by: f64, all: &[&Estimate], correlation: Option<f64>) -> Decision {
    let seeds = all[0].seeds;
    let strongest = |side: Ordering, bound: f64| -> Option<f64> {
        let there = all.iter().filter(|e| e.side(bound) == side);
        there.filter_map(|e| e.p(bound)).min_by(f64::total_cmp)
    };
    let chosen = |p: f64| match all.len() {
        2 => crossed::either(p, correlation, seeds),
        n => (p * n as f64).min(1.0),
    };
    let not_worse = all.iter().all(|e| e.side(-by) == Ordering::Greater);
    if !not_worse {
        return Decision {
            leans: Verdict::Contradicted,
            p: strongest(Ordering::Less, -by).map(chosen),
        };
    }
    let weakest = |bound: f64| -> Option<f64> {
        let each: Option<Vec<f64>> = all.iter().map(|e| e.p(bound)).collect();
        each?.into_iter().max_by(f64::total_cmp)
    };
    // It fails where all are lower, each of them surely.
    if !all.iter().any(|e| e.side(0.0) == Ordering::Greater) {
        return Decision {
            leans: Verdict::Contradicted,
            p: weakest(0.0),
        };
    }
    let weakest = weakest(-by);
    let better = match by > 0.0 {
        true => strongest(Ordering::Greater, 0.0).map(chosen),
        // Where neither may be lower, both are higher.
        false => weakest,
    };
    Decision {
        leans: Verdict::Reproduced,
        p: weakest.zip(better).map(|(a, b)| a.max(b)),
    }
}

/// Of a claim: it holds if all its conditions do, so the weakest says how surely; it fails if one does, of so many.
pub fn together(all: &[Decision]) -> Decision {
    let fails = all.iter().filter(|d| d.leans == Verdict::Contradicted);
    let fails = fails.filter_map(|d| d.p).min_by(f64::total_cmp);
    let fails = fails.map(|p| (p * all.len() as f64).min(1.0));
    let leans_to_fail = all.iter().any(|d| d.leans == Verdict::Contradicted);
    match leans_to_fail {
        true => Decision {
            leans: Verdict::Contradicted,
            p: fails,
        },
        false => {
            let each: Option<Vec<f64>> = all.iter().map(|d| d.p).collect();
            Decision {
                leans: Verdict::Reproduced,
                p: each.and_then(|p| p.into_iter().max_by(f64::total_cmp)),
            }
        }
    }
}

/// More seeds than these are no advice.
pub const MOST_SEEDS: usize = 100;

/// How many seeds, or prompts, would settle a condition on the side on which it seems to be.
pub fn enough(expect: Expect, by: f64, all: &[&Estimate], alpha: f64) -> Option<Enough> {
    let one = |bounds: &[f64]| all[0].enough(bounds, alpha, MOST_SEEDS);
    match expect {
        Expect::Lower => one(&[-by]),
        Expect::Higher => one(&[by]),
        Expect::Within | Expect::Differs => one(&[-by, by]),
        Expect::Dominates => enough_to_dominate(by, all, alpha),
    }
}

/// By the same parts as `dominates`: a choice among them is paid for as if they had nothing to do with each other.
fn enough_to_dominate(by: f64, all: &[&Estimate], alpha: f64) -> Option<Enough> {
    let chosen = alpha / all.len() as f64;
    let each = |side: Option<Ordering>, bound: f64, alpha: f64| -> Option<Vec<Enough>> {
        let there = all
            .iter()
            .filter(|e| side.is_none_or(|side| e.side(bound) == side));
        there
            .map(|e| e.enough(&[bound], alpha, MOST_SEEDS))
            .collect()
    };
    let least = |found: Vec<Enough>| found.into_iter().reduce(Enough::least);
    let most = |found: Vec<Enough>| found.into_iter().reduce(Enough::most);
    if let Some(worse) = least(each(Some(Ordering::Less), -by, chosen)?) {
        return Some(worse);
    }
    let not_worse = most(each(None, -by, alpha)?)?;
    if by == 0.0 {
        return Some(not_worse);
    }
    match least(each(Some(Ordering::Greater), 0.0, chosen)?) {
        Some(better) => Some(not_worse.most(better)),
        None => most(each(None, 0.0, alpha)?),
    }
}

/// The p that settles a claim where it is looked at after every seed from the second to the last: what Pocock (1977) gives for so many
/// looks, or a little less, so that all of them together find something by chance in no more than one of twenty studies.
pub fn look(most_seeds: usize) -> f64 {
    let looks = most_seeds.saturating_sub(1).max(1) as f64;
    ALPHA / looks.powf(0.73)
}
