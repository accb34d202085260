//! Two sides measured on the same things: McNemar's exact test, the paired bootstrap, and differences over several
//! trainings. A difference is what the second side has more than the first. Knows nothing of what the numbers measure.

use crate::rng::Seed;
use crate::stats;

/// Resamples of a bootstrap where nobody says otherwise.
pub const RESAMPLES: usize = 10_000;

/// Below this, a spread is what rounding left of none.
const NO_SPREAD: f64 = 1e-12;

/// McNemar's exact two-sided p (Binomial test of the discordant pairs at 1/2): 1 where no pair is discordant.
pub fn mcnemar(only_first: usize, only_second: usize) -> f64 {
    let n = only_first + only_second;
    let fewer = only_first.min(only_second);
    if 2 * fewer == n {
        return 1.0;
    }
    // ln P(X = fewer), then the tail below it as a sum of ratios: 2^-n alone would vanish.
    let choose: f64 = (1..=fewer)
        .map(|i| ((n - i + 1) as f64 / i as f64).ln())
        .sum();
    let at = choose - n as f64 * std::f64::consts::LN_2;
    let (mut term, mut tail) = (1.0, 1.0);
    for k in (1..=fewer).rev() {
        term *= k as f64 / (n - k + 1) as f64;
        tail += term;
    }
    (2.0 * at.exp() * tail).min(1.0)
}

/// What resampling says of a mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Of the values themselves.
    pub mean: f64,
    /// Sample standard deviation of the resampled means.
    pub standard_error: f64,
    /// 2.5 and 97.5 percentiles of the resampled means.
    pub interval: (f64, f64),
    /// Of the resampled means.
    pub share_not_positive: f64,
}

/// Bootstrap of the mean (Efron 1979): every resample draws as many values as there are, with replacement. `values` is
/// not empty, `resamples` is at least 2.
pub fn bootstrap(values: &[f64], seed: Seed, resamples: usize) -> Bootstrap {
    let mut rng = seed.rng();
    resampled(values, resamples, || rng.below(values.len()))
}

/// The same with given choices: a row of indices a resample.
pub fn bootstrap_by(values: &[f64], rows: &[Vec<usize>]) -> Bootstrap {
    let fits = rows.iter().all(|row| row.len() == values.len());
    assert!(fits, "a resample has as many values as there are");
    let mut indices = rows.iter().flatten();
    resampled(values, rows.len(), || {
        *indices.next().expect("a row for every resample")
    })
}

fn resampled(values: &[f64], resamples: usize, mut choose: impl FnMut() -> usize) -> Bootstrap {
    assert!(!values.is_empty() && resamples > 1, "something to resample");
    let n = values.len();
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| (0..n).map(|_| values[choose()]).sum::<f64>() / n as f64)
        .collect();
    let not_positive = means.iter().filter(|m| **m <= 0.0).count();
    let standard_error = stats::sd(&means).expect("two resamples have a spread");
    means.sort_by(f64::total_cmp);
    Bootstrap {
        mean: stats::mean(values).expect("there are values"),
        standard_error,
        interval: (quantile(&means, 0.025), quantile(&means, 0.975)),
        share_not_positive: not_positive as f64 / resamples as f64,
    }
}

/// A quantile of sorted values, between two of them on the straight line (type 7 of Hyndman and Fan 1996).
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// The difference of two sides on the same things, in pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub pairs: usize,
    pub first: f64,
    pub second: f64,
    /// `second - first`.
    pub difference: f64,
    /// 95 %; absent where the pairs cannot give one.
    pub interval: Option<(f64, f64)>,
    pub standard_error: Option<f64>,
    /// Of the resampled differences.
    pub share_not_positive: Option<f64>,
    /// McNemar's, of shares whose every value is 0 or 1.
    pub p: Option<f64>,
}

/// Compares two sides of the same things. `shares`: no value can leave [0, 1].
///
/// Where all pairs differ by the same amount a resample cannot vary, which is no proof that others would not. Of shares
/// the interval is then what Clopper and Pearson's bound leaves: at 97.5 %, fewer than 1 - 0.025^(1/n) of all pairs
/// differ by another amount, and no difference leaves [-1, 1]. Of other values there is none.
pub fn difference(pairs: &[(f64, f64)], shares: bool, seed: Seed, resamples: usize) -> Difference {
    assert!(!pairs.is_empty(), "a difference has pairs");
    let n = pairs.len() as f64;
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| b - a).collect();
    let boot = bootstrap(&differences, seed, resamples);
    let varies = spread(&differences) > NO_SPREAD;
    let unseen = 1.0 - 0.025_f64.powf(1.0 / n);
    let bound = |d: f64| (d - unseen * (1.0 + d), d + unseen * (1.0 - d));
    let interval = match (varies, shares) {
        (true, _) => Some(boot.interval),
        (false, true) => Some(bound(boot.mean)),
        (false, false) => None,
    };
    Difference {
        pairs: pairs.len(),
        first: pairs.iter().map(|p| p.0).sum::<f64>() / n,
        second: pairs.iter().map(|p| p.1).sum::<f64>() / n,
        difference: boot.mean,
        interval,
        standard_error: varies.then_some(boot.standard_error),
        share_not_positive: varies.then_some(boot.share_not_positive),
        p: (shares && binary(pairs)).then(|| discordant(pairs)),
    }
}

fn binary(pairs: &[(f64, f64)]) -> bool {
    let bit = |x: f64| x == 0.0 || x == 1.0;
    pairs.iter().all(|(a, b)| bit(*a) && bit(*b))
}

fn discordant(pairs: &[(f64, f64)]) -> f64 {
    let first = pairs.iter().filter(|(a, b)| a > b).count();
    let second = pairs.iter().filter(|(a, b)| a < b).count();
    mcnemar(first, second)
}

/// The interval of a difference over several trainings, one difference each: Student's t over them, since a training is
/// what is repeated. Trainings that all differ by the same amount show no spread of their own; then the widest that
/// their `within` (each training's own interval) reach stands for it. `None` below two, or where nothing can be said.
pub fn over_trainings(differences: &[f64], within: &[Option<(f64, f64)>]) -> Option<(f64, f64)> {
    let interval = stats::mean_interval(differences)?;
    if spread(differences) > NO_SPREAD {
        return Some(interval);
    }
    let ends: Option<Vec<(f64, f64)>> = within.iter().copied().collect();
    ends?
        .into_iter()
        .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

fn spread(values: &[f64]) -> f64 {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    high - low
}
