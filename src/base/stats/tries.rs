//! What somebody reaches who may try several times. Knows nothing of what is tried.

/// The probability that one of k tries at least succeeds, of n tries of which c did: 1 - C(n - c, k) / C(n, k), whose mean over many
/// n tries is that of k new ones (Chen et al. 2021, where it is pass@k). c is n at most, and k from 1 to n.
pub fn within(n: usize, c: usize, k: usize) -> f64 {
    assert!(
        c <= n && k > 0 && k <= n,
        "of n tries c succeed and k are drawn"
    );
    // C(n - c, k) / C(n, k) has c factors or k, and it is 0 where k of them cannot all fail.
    let (few, many) = (c.min(k), c.max(k));
    let missed = (0..few).map(|i| (n - many).saturating_sub(i) as f64 / (n - i) as f64);
    1.0 - missed.product::<f64>()
}

/// How success grows with tries: -log(success within k) = a k^-b (Hughes et al. 2024, Best-of-N Jailbreaking).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerLaw {
    pub a: f64,
    pub b: f64,
}

impl PowerLaw {
    /// By least squares of log(-log s) on log k, over points (k, s) with 0 < s < 1 and k different from each other. None below three
    /// of them: two fit any line.
    pub fn fit(points: impl IntoIterator<Item = (usize, f64)>) -> Option<PowerLaw> {
        let inside = points.into_iter().filter(|(_, s)| 0.0 < *s && *s < 1.0);
        let points: Vec<(f64, f64)> = inside
            .map(|(k, s)| ((k as f64).ln(), (-s.ln()).ln()))
            .collect();
        if points.len() < 3 {
            return None;
        }
        let n = points.len() as f64;
        let x = points.iter().map(|p| p.0).sum::<f64>() / n;
        let y = points.iter().map(|p| p.1).sum::<f64>() / n;
        let squares: f64 = points.iter().map(|p| (p.0 - x) * (p.0 - x)).sum();
        let products: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
        let slope = products / squares;
        Some(PowerLaw {
            a: (y - slope * x).exp(),
            b: -slope,
        })
    }

    /// Success within k tries by the law.
    pub fn at(&self, k: usize) -> f64 {
        (-self.a * (k as f64).powf(-self.b)).exp()
    }
}
