//! How far two labelled clouds are clusters: silhouettes, and the indices of Davies and Bouldin and of Caliński and Harabasz.

use crate::points::{Points, squared};
use base::stats::{self, jackknife};

/// Silhouettes of two clusters (Rousseeuw 1987): s = (b - a) / max(a, b) with a the mean distance of a point to the others of its label
/// and b that to the points of the other label; 0 for the only point of a label.
pub struct Silhouettes<'a> {
    /// [n, n].
    distances: &'a [f64],
    labels: &'a [bool],
    /// By point, the sums of its distances to the points of either label.
    sums: Vec<[f64; 2]>,
    counts: [usize; 2],
}

impl Silhouettes<'_> {
    /// Panics unless both labels occur.
    pub fn of<'a>(distances: &'a [f64], labels: &'a [bool]) -> Silhouettes<'a> {
        let n = labels.len();
        assert_eq!(distances.len(), n * n, "a label a point");
        let trues = labels.iter().filter(|l| **l).count();
        assert!(trues > 0 && trues < n, "both labels occur");
        let sums = distances.chunks_exact(n).map(|row| {
            let mut sums = [0.0; 2];
            let each = row.iter().zip(labels);
            each.for_each(|(d, label)| sums[usize::from(*label)] += d);
            sums
        });
        Silhouettes {
            distances,
            labels,
            sums: sums.collect(),
            counts: [n - trues, trues],
        }
    }

    /// By point.
    pub fn samples(&self) -> Vec<f64> {
        let n = self.labels.len();
        (0..n).map(|j| self.sample(j, None)).collect()
    }

    pub fn mean(&self) -> f64 {
        stats::mean(&self.samples()).expect("both labels have points")
    }

    /// What each point adds to the mean, which is more than its own silhouette: see `jackknife::influences`. Every label has two points.
    pub fn influences(&self) -> Vec<f64> {
        let n = self.labels.len();
        jackknife::influences(n, self.mean(), |left| {
            let others = (0..n).filter(|j| *j != left);
            others.map(|j| self.sample(j, Some(left))).sum::<f64>() / (n - 1) as f64
        })
    }

    fn sample(&self, j: usize, left: Option<usize>) -> f64 {
        let (mut sums, mut counts) = (self.sums[j], self.counts);
        if let Some(left) = left {
            let of = usize::from(self.labels[left]);
            sums[of] -= self.distances[j * self.labels.len() + left];
            counts[of] -= 1;
        }
        let own = usize::from(self.labels[j]);
        if counts[own] < 2 {
            return 0.0;
        }
        let inside = sums[own] / (counts[own] - 1) as f64;
        let outside = sums[1 - own] / counts[1 - own] as f64;
        let larger = inside.max(outside);
        if larger > 0.0 {
            (outside - inside) / larger
        } else {
            0.0
        }
    }
}

/// Two clouds around their centroids.
struct Clouds {
    centroids: [Vec<f64>; 2],
    counts: [f64; 2],
    /// Sums of the distances to the own centroid, and of their squares.
    spread: [f64; 2],
    squares: f64,
}

fn clouds(points: &Points, labels: &[bool]) -> Clouds {
    let centroids = [false, true].map(|label| points.mean(|i| labels[i] == label));
    let (mut counts, mut spread, mut squares) = ([0.0; 2], [0.0; 2], 0.0);
    for (row, label) in points.rows().zip(labels) {
        let own = usize::from(*label);
        let far = squared(row, &centroids[own]);
        counts[own] += 1.0;
        spread[own] += far.sqrt();
        squares += far;
    }
    Clouds {
        centroids,
        counts,
        spread,
        squares,
    }
}

/// (s0 + s1) / |m1 - m0| with s the mean distance to the own centroid (Davies and Bouldin 1979): the lower, the further apart. Both labels
/// occur.
pub fn davies_bouldin(points: &Points, labels: &[bool]) -> f64 {
    let clouds = clouds(points, labels);
    let within = clouds.spread[0] / clouds.counts[0] + clouds.spread[1] / clouds.counts[1];
    within / squared(&clouds.centroids[0], &clouds.centroids[1]).sqrt()
}

/// Variance between the two clouds over the variance inside (Caliński and Harabasz 1974): Σ n_k |m_k - m|² / (Σ |x - m_k|² / (n - 2)). Both
/// labels occur, with more than two points.
pub fn calinski_harabasz(points: &Points, labels: &[bool]) -> f64 {
    let clouds = clouds(points, labels);
    let mean = points.mean(|_| true);
    let between = (0..2).map(|k| clouds.counts[k] * squared(&clouds.centroids[k], &mean));
    between.sum::<f64>() / (clouds.squares / (points.len() as f64 - 2.0))
}
