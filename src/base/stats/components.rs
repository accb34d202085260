//! Variance components of runs whose seeds are fully crossed: how much of what runs differ by comes of each axis of seeds, of what
//! the axes do together, and of the finite number of prompts. Knows nothing of what the numbers measure.
//!
//! K axes, N runs, one for each choice of levels: y = μ + Σ e_s over the sets s of axes, but the empty one. e_s is drawn anew for
//! every choice of the levels in s, with variance v_s; all are independent (random effects). What the K axes do together cannot be told
//! from what would vary between runs of the same levels. With L_s the product of the numbers of levels in s, the mean square of s is
//! expected to be Σ v_t N / L_t over the sets t that hold s, so that
//!
//!     v_s = L_s / N Σ (-1)^(|t| - |s|) MS_t        over the t that hold s
//!
//! without bias: the method of moments of the analysis of variance, which is free to come out below zero (Searle, Casella and McCulloch
//! 1992, Variance Components, chapter 4).
//!
//! Prompts are draws too. The means of two runs i and j, over n_i and n_j prompts of which they share n_ij, vary together by
//! S_ij = c_ij n_ij / (n_i n_j), where c_ij is the covariance of their values over what they share. Mean squares are quadratic forms
//! y'Qy, and S adds tr(Q S) to what they are expected to be. So v_s without prompts is made of the mean squares less that, and what
//! the prompts add to a run's variance is the same sum over tr(Q S) alone. What all runs have in common is in no mean
//! square: with the same prompts everywhere, only what is new in every run counts. Prompts are taken as drawn one by one; where so
//! many of each sort are, this is the most that they can add.
//!
//! Intervals of Σ c_s E MS_s are the modified large-sample ones (Graybill and Wang 1980 for sums; Burdick and Graybill 1992,
//! Confidence Intervals on Variance Components, for differences): exact for a single mean square. `tests/it/components.rs`
//! measures 92 to 100 % where 95 are meant. Satterthwaite's hold 50 to 99 % of the same: of differences of mean squares with one
//! or two degrees of freedom he is not to be had.

use super::crossed::{Range, Values};
use crate::stats;
use std::collections::BTreeMap;

/// One run: what was measured, and of every prompt, where that is known.
pub struct Cell {
    pub value: f64,
    /// Their mean is `value`.
    pub values: Option<Values>,
}

/// A variance, and the interval of its root.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Without bias, and so below zero now and then.
    pub variance: f64,
    /// 95 %, of the standard deviation. None where nothing varied, and of prompts, which are too many to be in doubt.
    pub interval: Option<(f64, f64)>,
}

impl Part {
    /// The standard deviation; 0 where the estimate is negative.
    pub fn sd(&self) -> f64 {
        self.variance.max(0.0).sqrt()
    }
}

/// What one axis of seeds does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Whatever the other axes are at: its main effect, without what comes of prompts.
    pub alone: Part,
    /// Between runs that differ in this axis and in nothing else, prompts and all: the main effect and everything that the axis does
    /// together with others (what Homma and Saltelli 1996 call the total effect).
    pub only: Part,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Components {
    pub mean: f64,
    /// Of a run all of whose seeds are new, prompts and all. The sum of what the axes do alone, together, and of the prompts.
    pub total: Part,
    /// In the order of the levels.
    pub axes: Vec<Axis>,
    /// Interactions, and what runs of the same seeds would differ by. None of a single axis, with which that is one.
    pub together: Option<Part>,
    /// None where not every run knows its prompts' values; they are in the other parts then.
    pub prompts: Option<Part>,
}

/// Of runs that are crossed: one for each choice of the levels, the last axis varies fastest. Every axis has two levels at least.
pub fn components(levels: &[usize], cells: &[Cell], range: Range) -> Components {
    let design = Design::new(levels);
    assert!(
        !levels.is_empty() && levels.iter().all(|n| *n > 1),
        "an axis varies"
    );
    assert_eq!(design.runs, cells.len(), "a run for every choice of levels");
    let mean = cells.iter().map(|c| c.value).sum::<f64>() / design.runs as f64;
    let off = |i: usize| cells[i].value - mean;
    let seen = design.mean_squares(|i, j| off(i) * off(j));
    let values: Option<Vec<&Values>> = cells.iter().map(|c| c.values.as_ref()).collect();
    let sampled = values.map(|v| {
        let covariances = covariances(&v);
        design.mean_squares(|i, j| covariances[i][j])
    });
    let zero = vec![0.0; seen.len()];
    let without = sampled.as_ref().unwrap_or(&zero);
    let part = |sets: &dyn Fn(usize) -> bool, prompts: &[f64]| {
        design.part(&design.coefficients(sets), &seen, prompts, range)
    };
    let axis = |k: usize| Axis {
        alone: part(&|s| s == 1 << k, without),
        only: part(&|s| s >> k & 1 == 1, &zero),
    };
    Components {
        mean,
        total: part(&|_| true, &zero),
        axes: (0..levels.len()).map(axis).collect(),
        together: (levels.len() > 1).then(|| part(&|s| s.count_ones() > 1, without)),
        prompts: sampled.as_ref().map(|sampled| Part {
            variance: dot(&design.coefficients(&|_| true), sampled),
            interval: None,
        }),
    }
}

/// Of the means of every two runs: what the prompts that they share make them vary together.
fn covariances(runs: &[&Values]) -> Vec<Vec<f64>> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for prompt in runs.iter().flat_map(|values| values.keys()) {
        let next = numbers.len();
        numbers.entry(prompt).or_insert(next);
    }
    // By run: the values, each at its prompt's number.
    let dense: Vec<Vec<Option<f64>>> = (runs.iter())
        .map(|values| {
            let mut all = vec![None; numbers.len()];
            for (prompt, value) in *values {
                all[numbers[prompt.as_str()]] = Some(*value);
            }
            all
        })
        .collect();
    let mut found = vec![vec![0.0; runs.len()]; runs.len()];
    for i in 0..runs.len() {
        for j in 0..=i {
            let both = dense[i].iter().zip(&dense[j]);
            let shared: Vec<(f64, f64)> = both.filter_map(|(a, b)| Some(((*a)?, (*b)?))).collect();
            let weight = shared.len() as f64 / (runs[i].len() * runs[j].len()) as f64;
            found[i][j] = covariance(&shared) * weight;
            found[j][i] = found[i][j];
        }
    }
    found
}

/// Of a sample of pairs; 0 below two of them.
fn covariance(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    if n < 2.0 {
        return 0.0;
    }
    let (a, b) = pairs
        .iter()
        .fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    pairs.iter().map(|(x, y)| (x - a) * (y - b)).sum::<f64>() / (n - 1.0)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Sets of axes are numbers whose bit k says whether axis k is in the set.
struct Design<'a> {
    levels: &'a [usize],
    runs: usize,
}

impl Design<'_> {
    fn new(levels: &[usize]) -> Design<'_> {
        Design {
            levels,
            runs: levels.iter().product(),
        }
    }

    fn sets(&self) -> std::ops::Range<usize> {
        0..1 << self.levels.len()
    }

    /// Over the axes in the set, of this function of their levels.
    fn product(&self, set: usize, of: impl Fn(usize) -> usize) -> usize {
        let each = self.levels.iter().enumerate();
        each.filter(|(k, _)| set >> k & 1 == 1)
            .map(|(_, n)| of(*n))
            .product()
    }

    /// L_s.
    fn choices(&self, set: usize) -> f64 {
        self.product(set, |n| n) as f64
    }

    fn freedom(&self, set: usize) -> usize {
        self.product(set, |n| n - 1)
    }

    /// The axes in which two runs are at the same level.
    fn agreement(&self, mut i: usize, mut j: usize) -> usize {
        let mut same = 0;
        for (k, n) in self.levels.iter().enumerate().rev() {
            same |= usize::from(i % n == j % n) << k;
            (i, j) = (i / n, j / n);
        }
        same
    }

    /// By set s: tr(Q M) over its degrees of freedom, of a symmetric matrix M over runs. That of y y' is the mean square of s. The sum of
    /// the squares of marginal means over s is L_s / N Σ M_ij over the runs that agree in s; what is new in s, beside all sets
    /// within it, is told by inclusion and exclusion.
    fn mean_squares(&self, of: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let mut agreeing = vec![0.0; self.sets().end];
        for i in 0..self.runs {
            for j in 0..self.runs {
                agreeing[self.agreement(i, j)] += of(i, j);
            }
        }
        let marginal = |s: usize| {
            let holding = self.sets().filter(|t| t & s == s);
            self.choices(s) / self.runs as f64 * holding.map(|t| agreeing[t]).sum::<f64>()
        };
        let marginals: Vec<f64> = self.sets().map(marginal).collect();
        let square = |s: usize| {
            let within = self.sets().filter(|t| t & s == *t);
            let sum: f64 = within.map(|t| sign(s ^ t) * marginals[t]).sum();
            sum / self.freedom(s) as f64
        };
        self.sets().map(square).collect()
    }

    /// By set t: what its mean square counts for in the sum of the components v_s of these sets s.
    fn coefficients(&self, chosen: &dyn Fn(usize) -> bool) -> Vec<f64> {
        let of = |t: usize| {
            let held = self.sets().filter(|s| *s != 0 && t & s == *s && chosen(*s));
            held.map(|s| sign(t ^ s) * self.choices(s) / self.runs as f64)
                .sum()
        };
        self.sets().map(of).collect()
    }

    /// Of mean squares with these coefficients, less what prompts add to them.
    fn part(&self, coefficients: &[f64], seen: &[f64], prompts: &[f64], range: Range) -> Part {
        let off = dot(coefficients, prompts);
        let whole = dot(coefficients, seen);
        let (mut below, mut above) = (0.0, 0.0);
        for t in self.sets().skip(1) {
            let term = coefficients[t] * seen[t];
            let freedom = self.freedom(t);
            let high = 1.0 - freedom as f64 / stats::chi_square(0.975, freedom);
            let low = freedom as f64 / stats::chi_square(0.025, freedom) - 1.0;
            // A mean square that counts against moves the limits the other way.
            let (down, up) = if term > 0.0 { (high, low) } else { (low, high) };
            below += (down * term) * (down * term);
            above += (up * term) * (up * term);
        }
        let root = |variance: f64| variance.max(0.0).sqrt().min(most(range));
        let interval = (
            root(whole - off - below.sqrt()),
            root(whole - off + above.sqrt()),
        );
        Part {
            variance: whole - off,
            interval: Some(interval).filter(|(low, high)| low < high),
        }
    }
}

/// (-1) to the number of axes in the set.
fn sign(set: usize) -> f64 {
    if set.count_ones().is_multiple_of(2) {
        1.0
    } else {
        -1.0
    }
}

/// The largest standard deviation there can be.
fn most(range: Range) -> f64 {
    match range {
        Range::Share | Range::Bounded => 0.5,
        Range::Difference => 1.0,
        Range::Count | Range::Free => f64::INFINITY,
    }
}
