//! The linear support vector machine with a soft margin, to the last digits: an interior point method in float64 (Ferris and Munson 2002),
//! and then the equations of the points on the margin solved as they are. Points are taken as they come: nothing is scaled, and the
//! intercept is not penalised. A step is linear in the number of points and cubic in their width.
//!
//! It minimises |w|²/2 + Σ C_i max(0, 1 - y_i (w·x_i + b)) with y 1 for label `true` and -1 for `false`. The optimum has multipliers a_i
//! in [0, C_i] with Σ a_i y_i = 0 and w = Σ a_i y_i x_i, and y_i (w·x_i + b) - 1 = z_i - v_i with z_i a_i = 0 and v_i (C_i - a_i) = 0, none
//! of them negative. Newton's steps go towards z_i a_i = v_i (C_i - a_i) = μ for ever smaller μ. With e_i = z_i / a_i + v_i / (C_i - a_i) and
//! g_i = y_i (x_i, 1) they come down to one system of the width and 1: (1 + Σ g gᵀ / e) (Δw, Δb) = Σ g r / e, without the 1 for b.

use crate::points::{Points, add, dot};
use crate::solve::{Cholesky, solve_consistent};

/// How the cost of a point on the wrong side is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    pub c: f64,
    /// C_i = C n / (2 n_k) for the n_k points of a label, so that both labels weigh the same.
    pub balanced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Svm {
    pub w: Vec<f64>,
    /// Where no point lies on the margin, the middle of those that are as good.
    pub b: f64,
    pub objective: f64,
    /// Points of label `false` and of label `true` that w is made of.
    pub support: [usize; 2],
}

/// Of the objective: what the best that the multipliers prove may be below it where steps end.
const GAP: f64 = 1e-13;
/// Some thirty are many.
const MOST: usize = 200;
/// How far a step goes of the way to the nearest bound.
const SHORT: f64 = 0.995;
/// What a step leaves of μ.
const CENTRED: f64 = 0.1;

impl Svm {
    /// Width of the band between the two sides; infinite where no direction parts them at all.
    pub fn margin(&self) -> f64 {
        2.0 / dot(&self.w, &self.w).sqrt()
    }

    /// w·x + b.
    pub fn value(&self, x: &[f64]) -> f64 {
        dot(&self.w, x) + self.b
    }

    /// Panics unless both labels occur and C is above 0.
    pub fn fit(points: &Points, labels: &[bool], cost: Cost) -> Svm {
        let n = labels.len();
        let trues = labels.iter().filter(|l| **l).count();
        assert!(points.len() == n && trues > 0 && trues < n, "both labels");
        assert!(cost.c > 0.0, "an error costs something");
        let weight = |label: bool| {
            let of = if label { trues } else { n - trues };
            match cost.balanced {
                true => cost.c * n as f64 / (2.0 * of as f64),
                false => cost.c,
            }
        };
        let mut search = Search {
            points,
            y: labels.iter().map(|l| if *l { 1.0 } else { -1.0 }).collect(),
            limits: labels.iter().map(|l| weight(*l)).collect(),
            at: vec![],
            w: vec![0.0; points.width()],
            b: 0.0,
        };
        search.at = search
            .limits
            .iter()
            .map(|c| Multiplier::middle(*c))
            .collect();
        for _ in 0..MOST {
            if search.close() || !search.step() {
                break;
            }
        }
        search.finish(labels)
    }
}

/// What belongs to a point: its multiplier a, what is left of it to its limit, and the multipliers z and v of these bounds.
#[derive(Clone, Copy)]
struct Multiplier {
    a: f64,
    left: f64,
    z: f64,
    v: f64,
}

impl Multiplier {
    fn middle(limit: f64) -> Multiplier {
        Multiplier {
            a: limit / 2.0,
            left: limit / 2.0,
            z: 1.0,
            v: 1.0,
        }
    }

    /// μ of this point, twice.
    fn product(&self) -> f64 {
        self.a * self.z + self.left * self.v
    }
}

struct Search<'a> {
    points: &'a Points,
    y: Vec<f64>,
    limits: Vec<f64>,
    at: Vec<Multiplier>,
    /// Σ a y x.
    w: Vec<f64>,
    b: f64,
}

impl Search<'_> {
    fn values(&self) -> Vec<f64> {
        let rows = self.points.rows();
        rows.map(|row| dot(&self.w, row) + self.b).collect()
    }

    fn objective(&self, w: &[f64], b: f64) -> f64 {
        let rows = self.points.rows().zip(&self.y).zip(&self.limits);
        let costs = rows.map(|((row, y), limit)| limit * (1.0 - y * (dot(w, row) + b)).max(0.0));
        dot(w, w) / 2.0 + costs.sum::<f64>()
    }

    /// Whether multipliers and intercept prove each other.
    fn close(&self) -> bool {
        let proved = self.at.iter().map(|m| m.a).sum::<f64>() - dot(&self.w, &self.w) / 2.0;
        let found = self.objective(&self.w, self.b);
        let sum: f64 = self.at.iter().zip(&self.y).map(|(m, y)| m.a * y).sum();
        let all: f64 = self.limits.iter().sum();
        found - proved <= GAP * found && sum.abs() <= GAP * all
    }

    /// Towards a tenth of μ; false where nothing moves any more.
    fn step(&mut self) -> bool {
        let n = self.at.len() as f64;
        let mu = CENTRED * self.at.iter().map(Multiplier::product).sum::<f64>() / (2.0 * n);
        let values = self.values();
        let each = self.at.iter().zip(&self.y).zip(&values);
        let rest: Vec<f64> = each
            .map(|((m, y), f)| 1.0 - y * f + mu / m.a - mu / m.left)
            .collect();
        let soft: Vec<f64> = self.at.iter().map(|m| m.z / m.a + m.v / m.left).collect();
        let Some((dw, db)) = self.direction(&soft, &rest) else {
            return false;
        };
        let each = self.points.rows().zip(&self.y).zip(soft.iter().zip(&rest));
        let da = each.map(|((row, y), (soft, rest))| (rest - y * (dot(&dw, row) + db)) / soft);
        let da: Vec<f64> = da.collect();
        let dz = |m: &Multiplier, da: f64| (mu - m.z * da) / m.a - m.z;
        let dv = |m: &Multiplier, da: f64| (mu + m.v * da) / m.left - m.v;
        let mut share = 1.0 / SHORT;
        for (m, da) in self.at.iter().zip(&da) {
            let pairs = [
                (m.a, *da),
                (m.left, -da),
                (m.z, dz(m, *da)),
                (m.v, dv(m, *da)),
            ];
            for (at, step) in pairs.into_iter().filter(|(_, step)| *step < 0.0) {
                share = f64::min(share, -at / step);
            }
        }
        let share = SHORT * share;
        for (m, da) in self.at.iter_mut().zip(&da) {
            let (z, v) = (dz(m, *da), dv(m, *da));
            m.a += share * da;
            m.left -= share * da;
            m.z += share * z;
            m.v += share * v;
        }
        self.b += share * db;
        self.w.fill(0.0);
        for ((row, y), m) in self.points.rows().zip(&self.y).zip(&self.at) {
            add(&mut self.w, m.a * y, row);
        }
        share > 1e-12
    }

    /// Δw and Δb; none where rounding leaves nothing of the system.
    fn direction(&self, soft: &[f64], rest: &[f64]) -> Option<(Vec<f64>, f64)> {
        let d = self.points.width();
        let side = d + 1;
        let mut system = vec![0.0; side * side];
        (0..d).for_each(|i| system[i * side + i] = 1.0);
        let mut right = vec![0.0; side];
        let mut balance = 0.0;
        for (i, row) in self.points.rows().enumerate() {
            let (y, weight) = (self.y[i], 1.0 / soft[i]);
            balance += y * self.at[i].a;
            for (k, x) in row.iter().enumerate() {
                add(&mut system[k * side..=k * side + k], weight * x, &row[..=k]);
            }
            add(&mut system[d * side..d * side + d], weight, row);
            system[d * side + d] += weight;
            add(&mut right[..d], weight * y * rest[i], row);
            right[d] += weight * y * rest[i];
        }
        right[d] += balance;
        Cholesky::new(system, side)?.solve(&mut right);
        let db = right.pop()?;
        right.iter().all(|x| x.is_finite()).then_some((right, db))
    }

    /// Points at their limit, and points on the margin: each is where its bound is nearer than the bound's own multiplier.
    fn sets(&self) -> (Vec<usize>, Vec<usize>) {
        let (mut bound, mut free) = (vec![], vec![]);
        for (i, (m, limit)) in self.at.iter().zip(&self.limits).enumerate() {
            if m.left / limit < m.v {
                bound.push(i);
            } else if m.a / limit >= m.z {
                free.push(i);
            }
        }
        (bound, free)
    }

    fn finish(self, labels: &[bool]) -> Svm {
        let (bound, free) = self.sets();
        let b = if free.is_empty() {
            self.middle(&bound)
        } else {
            self.b
        };
        let mut best = (self.objective(&self.w, b), self.w.clone(), b);
        if let Some((w, b)) = self.solved(&bound, &free) {
            let objective = self.objective(&w, b);
            // More than rounding above it says that the sets are not right.
            if objective <= best.0 * (1.0 + 1e-12) {
                best = (objective, w, b);
            }
        }
        let mut support = [0; 2];
        let of_support = bound.iter().chain(&free);
        of_support.for_each(|&i| support[usize::from(labels[i])] += 1);
        let (objective, w, b) = best;
        Svm {
            w,
            b,
            objective,
            support,
        }
    }

    /// The middle of the intercepts that are as good where no point lies on the margin: points at their limit are inside, others outside.
    fn middle(&self, bound: &[usize]) -> f64 {
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        let mut at_limit = vec![false; self.y.len()];
        bound.iter().for_each(|&i| at_limit[i] = true);
        for ((row, y), inside) in self.points.rows().zip(&self.y).zip(at_limit) {
            let edge = y - dot(&self.w, row);
            match (*y > 0.0) == inside {
                true => high = high.min(edge),
                false => low = low.max(edge),
            }
        }
        (low + high) / 2.0
    }

    /// w and b by the equations y (w·x + b) = 1 of the points on the margin, with w of all multipliers and Σ a y = 0; none where no point lies
    /// there. Points that are there several times make the multipliers ambiguous, and not w.
    fn solved(&self, bound: &[usize], free: &[usize]) -> Option<(Vec<f64>, f64)> {
        if free.is_empty() {
            return None;
        }
        let row = |i: usize| self.points.row(i);
        let mut fixed = vec![0.0; self.points.width()];
        let mut balance = 0.0;
        for &i in bound {
            let share = self.limits[i] * self.y[i];
            add(&mut fixed, share, row(i));
            balance -= share;
        }
        // Unknown are a y of the free points, and b.
        let columns = free.len() + 1;
        let mut equations = Vec::with_capacity(columns * columns);
        let mut right = Vec::with_capacity(columns);
        for &i in free {
            equations.extend(free.iter().map(|&j| dot(row(i), row(j))));
            equations.push(1.0);
            right.push(self.y[i] - dot(&fixed, row(i)));
        }
        equations.extend(free.iter().map(|_| 1.0));
        equations.push(0.0);
        right.push(balance);
        let solution = solve_consistent(equations, right, columns);
        let mut w = fixed;
        for (&i, share) in free.iter().zip(&solution) {
            add(&mut w, *share, row(i));
        }
        Some((w, solution[free.len()]))
    }
}
