//! The numbers of a comparison out of the values of every seed: both means, the difference with its interval and p, and every seed by
//! itself. The one place where a difference comes from.

use crate::reading::Over;
use base::stats::crossed::{self, ALPHA, Estimate, Range, Values};
use base::stats::mean;
use serde::Serialize;
use std::ops::Range as Places;

/// What a metric differs by between two sides, or what one metric has more than another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Numbers {
    /// Means over seeds.
    pub first: f64,
    pub second: f64,
    /// `second - first`.
    pub difference: f64,
    /// 95 %, over what `over` says.
    pub interval: Option<(f64, f64)>,
    pub over: Over,
    /// Prompts in pairs, of the seed that has fewest; of two metrics of one node, prompts of the one that has fewer.
    pub pairs: usize,
    pub seeds: usize,
    /// Two-sided, of no difference. It is above 0.05 where the interval holds 0: one test says both.
    pub p: Option<f64>,
    /// The difference that so many seeds and prompts tell from none in four of five studies.
    pub detectable: Option<f64>,
    pub each: Vec<Each>,
    /// Of the difference.
    #[serde(skip)]
    pub estimate: Estimate,
    /// Differences by seed and prompt; none where prompts are not in pairs.
    #[serde(skip)]
    pub values: Vec<Values>,
}

/// One seed's difference and its interval over prompts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Each {
    pub seed: Option<String>,
    pub pairs: usize,
    pub first: f64,
    pub second: f64,
    pub difference: f64,
    pub interval: Option<(f64, f64)>,
}

impl Numbers {
    /// More than noise.
    pub fn clear(&self) -> bool {
        self.p.is_some_and(|p| p <= ALPHA)
    }
}

/// One seed's values on both sides, by prompt.
pub struct Seeded {
    pub seed: Option<String>,
    pub first: Values,
    pub second: Values,
}

/// A seed, and the means of both sides.
type Means = (Option<String>, f64, f64);

impl Seeded {
    fn means(&self) -> Option<Means> {
        let average = |values: &Values| mean(&values.values().copied().collect::<Vec<f64>>());
        let (first, second) = (average(&self.first)?, average(&self.second)?);
        Some((self.seed.clone(), first, second))
    }

    /// What the second has more, by prompt.
    fn difference(&self) -> Values {
        let both = self.second.iter();
        both.filter_map(|(id, b)| Some((id.clone(), b - self.first.get(id)?)))
            .collect()
    }
}

/// Of the same prompts on both sides.
pub fn paired(unit: &str, seeds: &[Seeded]) -> Option<Numbers> {
    let values: Vec<Values> = seeds.iter().map(Seeded::difference).collect();
    let means = seeds.iter().map(Seeded::means).collect::<Option<_>>()?;
    let found = numbers(means, |at| {
        let range = Range::of(unit).of_difference();
        crossed::estimate(&[values[at].to_vec()], range)
    });
    Some(Numbers { values, ..found? })
}

/// Of two metrics, each over its own prompts, some of which may be the same.
pub fn apart(unit: &str, seeds: &[Seeded]) -> Option<Numbers> {
    let of = |at: &Places<usize>, side: fn(&Seeded) -> &Values| -> Vec<Values> {
        seeds[at.clone()].iter().map(|s| side(s).clone()).collect()
    };
    let means = seeds.iter().map(Seeded::means).collect::<Option<_>>()?;
    numbers(means, |at| {
        let (firsts, seconds) = (of(&at, |s| &s.first), of(&at, |s| &s.second));
        crossed::contrast(seconds, firsts, Range::of(unit))
    })
}

/// Several metrics of one evaluation as one: the mean of them. The difference is of every seed's mean over metrics, each over its
/// own prompts. None where they are not of one unit, or not of the same seeds.
pub fn together(all: &[(&str, &Numbers)]) -> Option<Numbers> {
    let (unit, head) = *all.first()?;
    if all.iter().any(|(u, n)| *u != unit || n.seeds != head.seeds) {
        return None;
    }
    let average = |of: &dyn Fn(&Numbers) -> f64| {
        mean(&all.iter().map(|(_, n)| of(n)).collect::<Vec<f64>>()).unwrap_or_default()
    };
    let means = head.each.iter().enumerate().map(|(i, each)| {
        let (first, second) = (
            |n: &Numbers| n.each[i].first,
            |n: &Numbers| n.each[i].second,
        );
        (each.seed.clone(), average(&first), average(&second))
    });
    numbers(means.collect(), |at| {
        let parts: Option<Vec<Vec<Values>>> = (all.iter())
            .map(|(_, n)| Some(n.values.get(at.clone())?.to_vec()))
            .collect();
        crossed::estimate(&parts?, Range::of(unit).of_difference())
    })
}

/// `of`: the estimate of the difference over the seeds at these places.
fn numbers(seeds: Vec<Means>, of: impl Fn(Places<usize>) -> Option<Estimate>) -> Option<Numbers> {
    let each = seeds
        .into_iter()
        .enumerate()
        .map(|(i, (seed, first, second))| {
            let own = of(i..i + 1)?;
            Some(Each {
                seed,
                pairs: own.prompts,
                first,
                second,
                difference: own.value,
                interval: own.interval(ALPHA),
            })
        });
    let each: Vec<Each> = each.collect::<Option<_>>()?;
    let estimate = of(0..each.len())?;
    let over = |of: fn(&Each) -> f64| mean(&each.iter().map(of).collect::<Vec<f64>>());
    Some(Numbers {
        first: over(|e| e.first)?,
        second: over(|e| e.second)?,
        difference: estimate.value,
        interval: estimate.interval(ALPHA),
        over: Over::of(each.len()),
        pairs: estimate.prompts,
        seeds: estimate.seeds,
        p: estimate.p(0.0),
        detectable: estimate.detectable(ALPHA),
        each,
        estimate,
        values: vec![],
    })
}
