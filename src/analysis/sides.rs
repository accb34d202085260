//! Two labelled clouds along the line between their centroids. All but the cosine comes from the products of every two points around the
//! common mean, so that leaving a point out costs no pass over its coordinates.

use crate::auroc::auroc;
use crate::points::{Points, dot};
use base::stats::jackknife;

/// m0 · m1 / (|m0| |m1|) of the centroids, seen from the origin. Both labels occur.
pub fn centroid_cosine(points: &Points, labels: &[bool]) -> f64 {
    let [a, b] = [false, true].map(|label| points.mean(|i| labels[i] == label));
    dot(&a, &b) / (dot(&a, &a).sqrt() * dot(&b, &b).sqrt())
}

/// What is told of two clouds with centroids m0, m1 and covariances S0, S1 (n - 1). With as many dimensions as points all but the distance
/// is high for labels that mean nothing: the line is drawn through the points that it is measured with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Apart {
    /// |m1 - m0|.
    pub distance: f64,
    /// |m1 - m0|² / (tr S0 + tr S1).
    pub fisher: f64,
    /// Along m1 - m0: the difference of means over the root of the mean variance.
    pub d_prime: f64,
    /// AUROC of the projections on m1 - m0.
    pub axis_auroc: f64,
}

pub struct Sides<'a> {
    labels: &'a [bool],
    /// Products of every two points around the common mean: [n, n].
    gram: Vec<f64>,
    /// By point, the sums of its products with the points of either label.
    sums: Vec<[f64; 2]>,
}

impl Sides<'_> {
    /// Panics unless every label has two points.
    pub fn of<'a>(points: &Points, labels: &'a [bool]) -> Sides<'a> {
        let n = labels.len();
        assert_eq!(points.len(), n, "a label a point");
        let trues = labels.iter().filter(|l| **l).count();
        assert!(trues > 1 && n - trues > 1, "every label has two points");
        let gram = points.centred().gram();
        let sums = gram.chunks_exact(n).map(|row| {
            let mut sums = [0.0; 2];
            let each = row.iter().zip(labels);
            each.for_each(|(product, label)| sums[usize::from(*label)] += product);
            sums
        });
        let sums = sums.collect();
        Sides { labels, gram, sums }
    }

    pub fn apart(&self) -> Apart {
        self.without(None)
    }

    /// What each point adds to one of the numbers: see `jackknife::influences`. Every label has three points.
    pub fn influences(&self, of: fn(&Apart) -> f64) -> Vec<f64> {
        let whole = of(&self.apart());
        jackknife::influences(self.labels.len(), whole, |i| of(&self.without(Some(i))))
    }

    fn without(&self, left: Option<usize>) -> Apart {
        let n = self.labels.len();
        let kept = (0..n).filter(|i| Some(*i) != left);
        let (mut counts, mut squares) = ([0.0f64; 2], [0.0; 2]);
        // m_k · x_j n_k, and with that m_k · m_l n_k n_l.
        let mut products = Vec::with_capacity(n);
        let mut means = [[0.0; 2]; 2];
        for j in kept {
            let mut sums = self.sums[j];
            if let Some(left) = left {
                sums[usize::from(self.labels[left])] -= self.gram[j * n + left];
            }
            let own = usize::from(self.labels[j]);
            counts[own] += 1.0;
            squares[own] += self.gram[j * n + j];
            (0..2).for_each(|k| means[k][own] += sums[k]);
            products.push((sums, self.labels[j]));
        }
        let mean = |k: usize, l: usize| means[k][l] / (counts[k] * counts[l]);
        let square = (mean(1, 1) - mean(0, 1) - mean(1, 0) + mean(0, 0)).max(0.0);
        let distance = square.sqrt();
        let trace = |k: usize| (squares[k] - counts[k] * mean(k, k)) / (counts[k] - 1.0);
        let along: Vec<f64> = products
            .iter()
            .map(|(sums, _)| (sums[1] / counts[1] - sums[0] / counts[0]) / distance)
            .collect();
        let labels: Vec<bool> = products.iter().map(|(_, label)| *label).collect();
        let variance = |k: usize| {
            let own = along.iter().zip(&labels);
            let own: Vec<f64> = own
                .filter_map(|(x, label)| (usize::from(*label) == k).then_some(*x))
                .collect();
            base::stats::sd(&own).map_or(f64::NAN, |sd| sd * sd)
        };
        Apart {
            distance,
            fisher: square / (trace(0) + trace(1)),
            d_prime: distance / ((variance(0) + variance(1)) / 2.0).sqrt(),
            axis_auroc: auroc(&along, &labels),
        }
    }
}
