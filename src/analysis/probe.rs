//! A linear probe: can the label be read off the points? Logistic regression that scores only points that it was not fitted on.

use crate::auroc;
use crate::logistic::Logistic;
use crate::points::Points;
use base::stats;
use std::collections::BTreeMap;

/// How the probe is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// What an error costs against the penalty: see `logistic`.
    pub c: f64,
    /// Every coordinate gets mean 0 and variance 1 by the points that it is fitted on.
    pub scaled: bool,
}

/// The fold of every point: what is one observation stays together, and those of a label are dealt in the order in which they come, 0, 1, …
/// An observation has the label of its first point. Panics without a fold.
pub fn deal(observations: &[&str], labels: &[bool], folds: usize) -> Vec<usize> {
    assert!(folds > 0 && observations.len() == labels.len(), "folds");
    let mut dealt = [0usize; 2];
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let each = observations.iter().zip(labels).map(|(one, label)| {
        *known.entry(one).or_insert_with(|| {
            let next = &mut dealt[usize::from(*label)];
            *next += 1;
            (*next - 1) % folds
        })
    });
    each.collect()
}

/// By label and fold, how many points there are: [label][fold].
pub fn sizes(fold: &[usize], labels: &[bool]) -> [Vec<usize>; 2] {
    let folds = fold.iter().max().map_or(0, |last| last + 1);
    let mut sizes = [vec![0; folds], vec![0; folds]];
    let each = fold.iter().zip(labels);
    each.for_each(|(fold, label)| sizes[usize::from(*label)][*fold] += 1);
    sizes
}

impl Probe {
    /// The probe of these points.
    pub fn fit(self, points: &Points, labels: &[bool]) -> Fitted {
        let scaler = self.scaled.then(|| Scaler::of(points));
        let of = scaler
            .as_ref()
            .map_or_else(|| points.clone(), |s| s.all(points));
        Fitted {
            fit: Logistic::fit(&of, labels, self.c),
            scaler,
        }
    }

    /// The score of every point by the probe of the other folds, each of which has both labels.
    pub fn out_of_fold(self, points: &Points, labels: &[bool], fold: &[usize]) -> Vec<f64> {
        let n = labels.len();
        let folds = fold.iter().max().map_or(0, |last| last + 1);
        let mut scores = vec![0.0; n];
        for k in 0..folds {
            let (held, others): (Vec<usize>, Vec<usize>) = (0..n).partition(|i| fold[*i] == k);
            let train: Vec<bool> = others.iter().map(|&i| labels[i]).collect();
            let fitted = self.fit(&points.taken(&others), &train);
            held.iter()
                .for_each(|&i| scores[i] = fitted.score(points.row(i)));
        }
        scores
    }
}

pub struct Fitted {
    pub fit: Logistic,
    scaler: Option<Scaler>,
}

impl Fitted {
    pub fn score(&self, x: &[f64]) -> f64 {
        match &self.scaler {
            Some(scaler) => self.fit.score(&scaler.one(x)),
            None => self.fit.score(x),
        }
    }
}

/// Coordinates to mean 0 and variance 1 (n in the divisor); one that does not vary is only shifted.
pub struct Scaler {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Scaler {
    pub fn of(points: &Points) -> Scaler {
        let mean = points.mean(|_| true);
        let mut squares = vec![0.0; points.width()];
        for row in points.rows() {
            let each = squares.iter_mut().zip(row).zip(&mean);
            each.for_each(|((sum, x), m)| *sum += (x - m) * (x - m));
        }
        let n = points.len() as f64;
        let scale = squares.into_iter().zip(&mean).map(|(sum, m)| {
            let sd = (sum / n).sqrt();
            // Rounding of a mean is no variation.
            if sd > 1e-12 * m.abs() { sd } else { 1.0 }
        });
        let scale = scale.collect();
        Scaler { mean, scale }
    }

    pub fn all(&self, points: &Points) -> Points {
        let rows = points.rows().flat_map(|row| self.one(row));
        Points::new(rows.collect(), points.width())
    }

    fn one(&self, x: &[f64]) -> Vec<f64> {
        let each = x.iter().zip(&self.mean).zip(&self.scale);
        each.map(|((x, m), s)| (x - m) / s).collect()
    }
}

/// The area under the ROC curve inside each fold, which has both labels: scores of two probes are not held against each other.
pub fn by_fold(scores: &[f64], labels: &[bool], fold: &[usize]) -> Vec<f64> {
    let of_fold =
        |(scores, labels, _): (Vec<f64>, Vec<bool>, Vec<usize>)| auroc::auroc(&scores, &labels);
    parts(scores, labels, fold).map(of_fold).collect()
}

/// The mean of the areas of the folds, each weighed by its points, and what each point adds to it: see `auroc::influences`.
pub fn area(scores: &[f64], labels: &[bool], fold: &[usize]) -> (f64, Vec<f64>) {
    let mut values = vec![0.0; scores.len()];
    for (scores, labels, places) in parts(scores, labels, fold) {
        let area = auroc::auroc(&scores, &labels);
        let influences = auroc::influences(&scores, &labels);
        let each = places.into_iter().zip(influences);
        each.for_each(|(i, influence)| values[i] = area + influence);
    }
    let mean = stats::mean(&values).expect("there are points");
    (mean, values.into_iter().map(|v| v - mean).collect())
}

/// By fold: scores, labels, and which points these are.
fn parts(
    scores: &[f64],
    labels: &[bool],
    fold: &[usize],
) -> impl Iterator<Item = (Vec<f64>, Vec<bool>, Vec<usize>)> {
    let folds = fold.iter().max().map_or(0, |last| last + 1);
    (0..folds).map(move |k| {
        let places: Vec<usize> = (0..fold.len()).filter(|i| fold[*i] == k).collect();
        let of = |i: &usize| (scores[*i], labels[*i]);
        let (scores, labels) = places.iter().map(of).unzip();
        (scores, labels, places)
    })
}
