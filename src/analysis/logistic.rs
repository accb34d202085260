//! Logistic regression with a squared penalty, to the optimum: Newton's method, where there are more dimensions than points in as many
//! unknowns as points.
//!
//! It minimises |w|²/2 + C Σ log(1 + exp(-y (w·x + b))) with y 1 for label `true` and -1 for `false`; the intercept is not penalised. With
//! f = w·x + b, p = 1 / (1 + exp(-f)), weights v = C p (1 - p) and slopes r = C y / (1 + exp(y f)), a step solves the least squares problem
//! of targets f + r / v with weights v (Green 1984).
//!
//! In the dual w = Σ m_i x_i with Σ m_i = 0 and K the products of every two points: with u = √v and B = 1 + u K u, which is well conditioned
//! however small the weights are (Rasmussen and Williams 2006, §3.4), m = u B⁻¹ (u f + r / u - b u), and b is what makes Σ m = 0.

use crate::points::{Points, add, dot};
use crate::solve::Cholesky;

#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    pub w: Vec<f64>,
    pub b: f64,
}

/// Steps: from 0 a dozen are many.
const MOST: usize = 100;
/// Of the largest score: what the last step may have changed.
const CLOSE: f64 = 1e-11;
/// Halvings of a step that does not go down.
const HALVINGS: usize = 40;

impl Logistic {
    /// log(p / (1 - p)).
    pub fn score(&self, x: &[f64]) -> f64 {
        dot(&self.w, x) + self.b
    }

    /// Panics unless both labels occur and C is above 0.
    pub fn fit(points: &Points, labels: &[bool], c: f64) -> Logistic {
        let n = labels.len();
        let trues = labels.iter().filter(|l| **l).count();
        assert!(points.len() == n && trues > 0 && trues < n, "both labels");
        assert!(c > 0.0, "an error costs something");
        let y: Vec<f64> = labels.iter().map(|l| if *l { 1.0 } else { -1.0 }).collect();
        if points.width() > n {
            let gram = points.gram();
            let dual = Dual {
                gram: &gram,
                y: &y,
                c,
            };
            let Fit { unknowns, b, .. } = newton(&dual, n);
            let mut w = vec![0.0; points.width()];
            let rows = points.rows().zip(&unknowns);
            rows.for_each(|(row, share)| add(&mut w, *share, row));
            return Logistic { w, b };
        }
        let primal = Primal { points, y: &y, c };
        let Fit { unknowns, b, .. } = newton(&primal, points.width());
        Logistic { w: unknowns, b }
    }
}

/// Unknowns (w, or the shares of the points in it), the intercept and the scores of the points.
#[derive(Clone)]
struct Fit {
    unknowns: Vec<f64>,
    b: f64,
    scores: Vec<f64>,
}

/// One of the two forms of the problem.
trait Form {
    fn y(&self) -> &[f64];
    fn c(&self) -> f64;
    /// Scores of the points without the intercept.
    fn scores(&self, unknowns: &[f64]) -> Vec<f64>;
    /// |w|² of unknowns with these scores.
    fn norm(&self, unknowns: &[f64], scores: &[f64]) -> f64;
    /// Unknowns and intercept of the least squares problem at these scores.
    fn solve(&self, scores: &[f64]) -> (Vec<f64>, f64);
}

fn newton(form: &impl Form, unknowns: usize) -> Fit {
    let mut now = Fit {
        unknowns: vec![0.0; unknowns],
        b: 0.0,
        scores: vec![0.0; form.y().len()],
    };
    let mut cost = objective(form, &now);
    for _ in 0..MOST {
        let (unknowns, b) = form.solve(&now.scores);
        let mut scores = form.scores(&unknowns);
        scores.iter_mut().for_each(|f| *f += b);
        let full = Fit {
            unknowns,
            b,
            scores,
        };
        let moved = now.scores.iter().zip(&full.scores);
        let moved = moved.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let largest = full.scores.iter().fold(1.0f64, |most, f| most.max(f.abs()));
        let Some((next, lower)) = downhill(form, &now, &full, cost) else {
            break;
        };
        (now, cost) = (next, lower);
        if moved <= CLOSE * largest {
            break;
        }
    }
    now
}

/// As far towards `full` as it goes down; none where it does not, as at the optimum.
fn downhill(form: &impl Form, now: &Fit, full: &Fit, cost: f64) -> Option<(Fit, f64)> {
    let mut share = 1.0;
    for _ in 0..HALVINGS {
        let between = |a: &[f64], b: &[f64]| -> Vec<f64> {
            let each = a.iter().zip(b);
            each.map(|(a, b)| (1.0 - share) * a + share * b).collect()
        };
        let next = Fit {
            unknowns: between(&now.unknowns, &full.unknowns),
            b: (1.0 - share) * now.b + share * full.b,
            scores: between(&now.scores, &full.scores),
        };
        let lower = objective(form, &next);
        if lower <= cost {
            return Some((next, lower));
        }
        share /= 2.0;
    }
    None
}

fn objective(form: &impl Form, fit: &Fit) -> f64 {
    let plain: Vec<f64> = fit.scores.iter().map(|f| f - fit.b).collect();
    let losses = fit.scores.iter().zip(form.y()).map(|(f, y)| {
        let z = -y * f;
        // Without an overflow.
        z.max(0.0) + (-z.abs()).exp().ln_1p()
    });
    form.norm(&fit.unknowns, &plain) / 2.0 + form.c() * losses.sum::<f64>()
}

/// v and r of a score.
fn weight_and_slope(y: f64, f: f64, c: f64) -> (f64, f64) {
    let wrong = 1.0 / (1.0 + (y * f).exp());
    (c * wrong * (1.0 - wrong), c * y * wrong)
}

struct Primal<'a> {
    points: &'a Points,
    y: &'a [f64],
    c: f64,
}

impl Form for Primal<'_> {
    fn y(&self) -> &[f64] {
        self.y
    }

    fn c(&self) -> f64 {
        self.c
    }

    fn scores(&self, w: &[f64]) -> Vec<f64> {
        self.points.rows().map(|row| dot(w, row)).collect()
    }

    fn norm(&self, w: &[f64], _: &[f64]) -> f64 {
        dot(w, w)
    }

    fn solve(&self, scores: &[f64]) -> (Vec<f64>, f64) {
        let d = self.points.width();
        let side = d + 1;
        let mut normal = vec![0.0; side * side];
        (0..d).for_each(|i| normal[i * side + i] = 1.0);
        let mut right = vec![0.0; side];
        for ((row, y), f) in self.points.rows().zip(self.y).zip(scores) {
            let (v, r) = weight_and_slope(*y, *f, self.c);
            for (i, x) in row.iter().enumerate() {
                add(&mut normal[i * side..i * side + i + 1], v * x, &row[..=i]);
            }
            add(&mut normal[d * side..d * side + d], v, row);
            normal[d * side + d] += v;
            add(&mut right[..d], v * f + r, row);
            right[d] += v * f + r;
        }
        let factor = Cholesky::new(normal, side).expect("both labels pull at the intercept");
        factor.solve(&mut right);
        let b = right.pop().expect("the last unknown is the intercept");
        (right, b)
    }
}

struct Dual<'a> {
    /// [n, n].
    gram: &'a [f64],
    y: &'a [f64],
    c: f64,
}

impl Form for Dual<'_> {
    fn y(&self) -> &[f64] {
        self.y
    }

    fn c(&self) -> f64 {
        self.c
    }

    fn scores(&self, shares: &[f64]) -> Vec<f64> {
        let rows = self.gram.chunks_exact(shares.len());
        rows.map(|row| dot(row, shares)).collect()
    }

    fn norm(&self, shares: &[f64], scores: &[f64]) -> f64 {
        dot(shares, scores)
    }

    fn solve(&self, scores: &[f64]) -> (Vec<f64>, f64) {
        let n = scores.len();
        let of_points = || self.y.iter().zip(scores);
        let roots: Vec<f64> = of_points()
            .map(|(y, f)| weight_and_slope(*y, *f, self.c).0.sqrt())
            .collect();
        let mut well = self.gram.to_vec();
        for (row, root) in well.chunks_exact_mut(n).zip(&roots) {
            let each = row.iter_mut().zip(&roots);
            each.for_each(|(k, other)| *k *= root * other);
        }
        (0..n).for_each(|i| well[i * n + i] += 1.0);
        let factor = Cholesky::new(well, n).expect("1 and more on the diagonal");
        // r / u = y √C exp(-y f / 2), which has no quotient of what is nearly 0.
        let target = of_points()
            .zip(&roots)
            .map(|((y, f), u)| u * f + y * self.c.sqrt() * (-y * f / 2.0).exp());
        let mut solved: Vec<f64> = target.collect();
        factor.solve(&mut solved);
        let mut of_ones = roots.clone();
        factor.solve(&mut of_ones);
        let b = dot(&roots, &solved) / dot(&roots, &of_ones);
        let shares = roots.iter().zip(solved).zip(of_ones);
        (shares.map(|((u, g), h)| u * (g - b * h)).collect(), b)
    }
}
