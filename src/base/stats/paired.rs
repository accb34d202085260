//! The bootstrap: of a mean, of a mean of paired differences, of any statistic. Knows nothing of what the numbers measure.

use crate::rng::Seed;
use crate::stats;

/// Resamples of a bootstrap where nobody says otherwise.
pub const RESAMPLES: usize = 10_000;

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

/// The 2.5 and 97.5 percentiles of a statistic over resamples of `n` things (Efron 1979), which is given the numbers of those that were
/// drawn. None where more than one resample in twenty has no such statistic, or all that have one have the same.
pub fn percentiles(
    n: usize,
    seed: Seed,
    resamples: usize,
    mut of: impl FnMut(&[usize]) -> Option<f64>,
) -> Option<(f64, f64)> {
    assert!(n > 0 && resamples > 1, "something to resample");
    let mut rng = seed.rng();
    let mut drawn = vec![0; n];
    let mut found: Vec<f64> = (0..resamples)
        .filter_map(|_| {
            drawn.iter_mut().for_each(|i| *i = rng.below(n));
            of(&drawn)
        })
        .collect();
    if 20 * found.len() < 19 * resamples {
        return None;
    }
    found.sort_by(f64::total_cmp);
    let varies = found.first() < found.last();
    varies.then(|| (quantile(&found, 0.025), quantile(&found, 0.975)))
}

/// A quantile of sorted values, between two of them on the straight line (type 7 of Hyndman and Fan 1996).
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}
