//! The jackknife: what each observation adds to a statistic of all. Knows nothing of what the statistic measures.

/// With θ of all n observations and θ(i) of those without i, the pseudo-values n θ - (n - 1) θ(i) (Tukey 1958) less their mean: they add
/// up to 0, and the variance of their mean is the jackknife's of θ. θ plus the influence is a value an observation whose mean is θ, which
/// two studies of the same observations can pair.
pub fn influences(n: usize, theta: f64, without: impl Fn(usize) -> f64) -> Vec<f64> {
    let pseudo: Vec<f64> = (0..n)
        .map(|i| n as f64 * theta - (n as f64 - 1.0) * without(i))
        .collect();
    let mean = pseudo.iter().sum::<f64>() / n as f64;
    pseudo.into_iter().map(|p| p - mean).collect()
}
