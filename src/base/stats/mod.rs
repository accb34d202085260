//! Means, spreads and 95 % intervals; `paired` holds what compares two sides of the same things. Knows nothing of what the
//! numbers measure.

pub mod paired;

/// The 0.975 quantile of the standard normal distribution.
pub const Z95: f64 = 1.959_963_984_540_054;

/// The 95 % Wilson score interval of a share `k / n` (Wilson 1927, without continuity correction). `n` is at least 1.
pub fn wilson(k: usize, n: usize) -> (f64, f64) {
    assert!(
        k <= n && n > 0,
        "a share counts k of n things, n at least 1"
    );
    let (k_, n_) = (k as f64, n as f64);
    let p = k_ / n_;
    let z2 = Z95 * Z95;
    let centre = (p + z2 / (2.0 * n_)) / (1.0 + z2 / n_);
    let half = Z95 / (1.0 + z2 / n_) * (p * (1.0 - p) / n_ + z2 / (4.0 * n_ * n_)).sqrt();
    // The ends are exact in theory; rounding would leave 1e-17 below 0 or above 1.
    let low = if k == 0 { 0.0 } else { centre - half };
    let high = if k == n { 1.0 } else { centre + half };
    (low, high)
}

/// Arithmetic mean, summed in order. `None` without values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample standard deviation (divides by n - 1). `None` below two values.
pub fn sd(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The 95 % interval of a mean: mean ± t(0.975, n - 1) · sd / √n (Student 1908). `None` below two values.
pub fn mean_interval(values: &[f64]) -> Option<(f64, f64)> {
    let half = t975(values.len().checked_sub(1)?)? * sd(values)? / (values.len() as f64).sqrt();
    let mean = mean(values)?;
    Some((mean - half, mean + half))
}

/// The 0.975 quantile of Student's t distribution. `None` without degrees of freedom.
pub fn t975(freedom: usize) -> Option<f64> {
    if freedom == 0 {
        return None;
    }
    // From here on the normal quantile differs by less than 3e-6.
    if freedom > 1_000_000 {
        return Some(Z95);
    }
    let (mut low, mut high) = (1.9, 13.0);
    while high - low > 1e-13 * high {
        let middle = (low + high) / 2.0;
        // A step that no longer moves ends the search where floats end.
        if middle <= low || middle >= high {
            break;
        }
        match central(middle, freedom) < 0.95 {
            true => low = middle,
            false => high = middle,
        }
    }
    Some((low + high) / 2.0)
}

/// P(|T| < t) for whole degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4): a finite sum of powers of
/// cos²θ with θ = atan(t / √freedom).
fn central(t: f64, freedom: usize) -> f64 {
    let theta = (t / (freedom as f64).sqrt()).atan();
    let (sin, cos) = theta.sin_cos();
    let odd = freedom % 2 == 1;
    let mut term = if odd { cos } else { 1.0 };
    let mut sum = if freedom == 1 { 0.0 } else { term };
    let mut k = if odd { 3 } else { 2 };
    while k < freedom {
        term *= cos * cos * (k - 1) as f64 / k as f64;
        sum += term;
        if term < sum * 1e-18 {
            break;
        }
        k += 2;
    }
    match odd {
        true => 2.0 / std::f64::consts::PI * (theta + sin * sum),
        false => sin * sum,
    }
}
