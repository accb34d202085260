//! Means, spreads and 95 % intervals; `crossed` holds what is told from seeds and prompts together,
//! `components` what runs differ by, `paired` the bootstrap, `jackknife` what each observation adds, `tries` what is reached by trying
//! several times. Knows nothing of what the numbers measure.

pub mod components;
pub mod crossed;
pub mod jackknife;
pub mod paired;
pub mod tries;

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

/// The middle of the values, of an even number the mean of the two in the middle. `None` without values.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let n = sorted.len();
    (n > 0).then(|| (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0)
}

/// An interval of the median that covers it with at least 95 %, whatever the distribution: from the k-th lowest to the k-th highest value, k
/// being the largest with P(fewer than k of n fair coins show heads) at most 2.5 % (Thompson 1936). `None` below six values, whose range
/// does not cover it that often.
pub fn median_interval(values: &[f64]) -> Option<(f64, f64)> {
    let sorted = sorted(values);
    let n = sorted.len();
    let mut probability = 0.5f64.powi(i32::try_from(n).ok()?);
    let (mut below, mut k) = (probability, 0);
    while below <= 0.025 {
        k += 1;
        probability *= (n + 1 - k) as f64 / k as f64;
        below += probability;
    }
    (k > 0).then(|| (sorted[k - 1], sorted[n - k]))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The 95 % interval of a mean: mean ± t(0.975, n - 1) · sd / √n (Student 1908). `None` below two values.
pub fn mean_interval(values: &[f64]) -> Option<(f64, f64)> {
    let half = t975(values.len().checked_sub(1)?)? * sd(values)? / (values.len() as f64).sqrt();
    let mean = mean(values)?;
    Some((mean - half, mean + half))
}

/// The 0.975 quantile of Student's t distribution. `None` without degrees of freedom.
pub fn t975(freedom: usize) -> Option<f64> {
    match freedom {
        0 => None,
        1..=1_000_000 => Some(quantile(0.05, (1.9, 13.0), |t| central(t, freedom))),
        _ => Some(Z95),
    }
}

/// The t with P(|T| > t) = `alpha`, of Student's distribution with at least one degree of freedom.
pub fn student(alpha: f64, freedom: usize) -> f64 {
    // From here on the normal quantile differs by less than 3e-6.
    if freedom > 1_000_000 {
        return normal(alpha);
    }
    quantile(alpha, (0.0, 1.0), |t| central(t, freedom))
}

/// The z with P(|Z| > z) = `alpha`, of the normal distribution.
pub fn normal(alpha: f64) -> f64 {
    match alpha == 0.05 {
        true => Z95,
        false => quantile(alpha, (0.0, 1.0), within),
    }
}

/// Where a distribution around 0 has `alpha` outside, by halving; the last bits hang on where it begins.
fn quantile(alpha: f64, (mut low, mut high): (f64, f64), inside: impl Fn(f64) -> f64) -> f64 {
    while inside(high) < 1.0 - alpha && high < 1e12 {
        (low, high) = (high, 2.0 * high);
    }
    while high - low > 1e-13 * high {
        let middle = (low + high) / 2.0;
        // A step that no longer moves ends the search where floats end.
        if middle <= low || middle >= high {
            break;
        }
        match inside(middle) < 1.0 - alpha {
            true => low = middle,
            false => high = middle,
        }
    }
    (low + high) / 2.0
}

/// P(|Z| < z) (Abramowitz and Stegun 1964): the series 26.2.11 near 0, the continued fraction 26.2.14 far from it.
pub fn within(z: f64) -> f64 {
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z < 3.0 {
        let (mut term, mut sum, mut k) = (z, z, 3.0);
        while term > sum * 1e-17 {
            term *= z * z / k;
            sum += term;
            k += 2.0;
        }
        return 2.0 * density * sum;
    }
    let fraction = (1..=60).rev().fold(z, |below, k| z + f64::from(k) / below);
    1.0 - 2.0 * density / fraction
}

/// The x with P(X < x) = `below`, of the chi-square distribution with at least one degree of freedom.
pub fn chi_square(below: f64, freedom: usize) -> f64 {
    let k = freedom as f64;
    // From here on the cube root is normal to four digits (Wilson and Hilferty 1931).
    if freedom > 300 {
        let z = normal(2.0 * below.min(1.0 - below)).copysign(below - 0.5);
        let c = 2.0 / (9.0 * k);
        return k * (1.0 - c + z * c.sqrt()).powi(3);
    }
    quantile(1.0 - below, (0.0, 1.0), |x| chi_square_within(x, freedom))
}

/// P(X < x) of the chi-square distribution (Abramowitz and Stegun 1964, 26.4.4 and 26.4.5): finite sums.
fn chi_square_within(x: f64, freedom: usize) -> f64 {
    let odd = freedom % 2 == 1;
    let (mut term, mut sum, mut k) = match odd {
        // Twice the density of the normal distribution at √x, times √x.
        true => (
            (2.0 * x / std::f64::consts::PI).sqrt() * (-x / 2.0).exp(),
            0.0,
            3,
        ),
        false => ((-x / 2.0).exp(), 0.0, 2),
    };
    while k <= freedom {
        sum += term;
        term *= x / k as f64;
        k += 2;
    }
    let last = if odd { within(x.sqrt()) } else { 1.0 };
    last - sum
}

/// P(|X| < z and |Y| < z) of two standard normal variables with this correlation, by Simpson's rule over X.
pub fn normal_square(z: f64, correlation: f64) -> f64 {
    const STEPS: usize = 400;
    let rest = (1.0 - correlation * correlation).max(0.0).sqrt();
    if rest < 1e-6 {
        return within(z);
    }
    // P(Z < x), of either sign.
    let below = |x: f64| 0.5 + 0.5 * within(x.abs()).copysign(x);
    let at = |x: f64| {
        let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let middle = correlation * x;
        density * (below((z - middle) / rest) - below((-z - middle) / rest))
    };
    let step = 2.0 * z / STEPS as f64;
    let weight = |i: usize| match i {
        0 | STEPS => 1.0,
        i if i % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let sum: f64 = (0..=STEPS)
        .map(|i| weight(i) * at(-z + i as f64 * step))
        .sum();
    sum * step / 3.0
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
