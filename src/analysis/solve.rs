//! Dense linear algebra: Cholesky's factor, systems that may be short of rank, eigenvectors of small symmetric matrices. Matrices are
//! row-major.

use crate::points::{add, dot};

/// The lower triangle L of a = L Lᵀ.
pub struct Cholesky {
    n: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Of a symmetric matrix [n, n], of which the lower triangle is read; none where it is not positive definite.
    pub fn new(mut a: Vec<f64>, n: usize) -> Option<Cholesky> {
        assert_eq!(a.len(), n * n, "the matrix is square");
        for i in 0..n {
            let (above, row) = a.split_at_mut(i * n);
            for (j, upper) in above.chunks_exact(n).enumerate() {
                row[j] = (row[j] - dot(&row[..j], &upper[..j])) / upper[j];
            }
            let rest = row[i] - dot(&row[..i], &row[..i]);
            // Also where it is not a number.
            if rest.partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater) {
                return None;
            }
            row[i] = rest.sqrt();
        }
        Some(Cholesky { n, lower: a })
    }

    /// a⁻¹ b in the place of b.
    pub fn solve(&self, b: &mut [f64]) {
        let n = self.n;
        assert_eq!(b.len(), n, "the right side fits");
        let row = |i: usize| &self.lower[i * n..i * n + i];
        let diagonal = |i: usize| self.lower[i * n + i];
        for i in 0..n {
            b[i] = (b[i] - dot(row(i), &b[..i])) / diagonal(i);
        }
        for i in (0..n).rev() {
            let solved = b[i] / diagonal(i);
            b[i] = solved;
            add(&mut b[..i], -solved, row(i));
        }
    }
}

/// What is smaller than this share of the largest entry is 0 to `solve_consistent`.
const NOTHING: f64 = 1e-11;

/// A solution of a x = b for a matrix [rows, columns] that may be short of rank, where there is one: by elimination with the largest pivot
/// of all; unknowns that nothing decides are 0.
pub fn solve_consistent(mut a: Vec<f64>, mut b: Vec<f64>, columns: usize) -> Vec<f64> {
    let rows = b.len();
    assert_eq!(a.len(), rows * columns, "a row has an entry a column");
    let largest = a.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    let mut pivots: Vec<(usize, usize)> = vec![];
    let (mut used_row, mut used_column) = (vec![false; rows], vec![false; columns]);
    for _ in 0..rows.min(columns) {
        let places = (0..rows).filter(|i| !used_row[*i]).flat_map(|i| {
            let free = (0..columns).filter(|j| !used_column[*j]);
            free.map(move |j| (i, j))
        });
        let size = |(i, j): &(usize, usize)| a[i * columns + j].abs();
        let Some((row, column)) = places.max_by(|p, q| size(p).total_cmp(&size(q))) else {
            break;
        };
        let pivot = a[row * columns + column];
        if pivot.abs() <= NOTHING * largest {
            break;
        }
        pivots.push((row, column));
        (used_row[row], used_column[column]) = (true, true);
        let of_pivot = a[row * columns..(row + 1) * columns].to_vec();
        for i in (0..rows).filter(|i| *i != row) {
            let factor = a[i * columns + column] / pivot;
            if factor != 0.0 {
                add(&mut a[i * columns..(i + 1) * columns], -factor, &of_pivot);
                b[i] -= factor * b[row];
            }
        }
    }
    let mut x = vec![0.0; columns];
    for (row, column) in pivots {
        x[column] = b[row] / a[row * columns + column];
    }
    x
}

/// Eigenvalues of a small symmetric matrix [n, n], ascending, with their eigenvectors: [n, n], a row each (Jacobi 1846, cyclic).
pub fn eigen(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(a.len(), n * n, "the matrix is square");
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let scale = a.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    // Quadratic convergence: a dozen sweeps are many.
    for _ in 0..60 {
        let mut turned = false;
        for p in 0..n {
            for q in p + 1..n {
                let off = a[p * n + q];
                if off.abs() <= f64::EPSILON * scale {
                    continue;
                }
                turned = true;
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let cos = 1.0 / (t * t + 1.0).sqrt();
                let turn = (cos, t * cos);
                turn_rows(&mut a, n, (p, q), turn);
                turn_columns(&mut a, n, (p, q), turn);
                turn_rows(&mut vectors, n, (p, q), turn);
            }
        }
        if !turned {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[i * n + i].total_cmp(&a[j * n + j]));
    let values = order.iter().map(|&i| a[i * n + i]).collect();
    let rows = order.iter().flat_map(|&i| &vectors[i * n..(i + 1) * n]);
    (values, rows.copied().collect())
}

fn turn_rows(matrix: &mut [f64], n: usize, (p, q): (usize, usize), (cos, sin): (f64, f64)) {
    for column in 0..n {
        turn(matrix, (p * n + column, q * n + column), (cos, sin));
    }
}

fn turn_columns(matrix: &mut [f64], n: usize, (p, q): (usize, usize), (cos, sin): (f64, f64)) {
    for row in 0..n {
        turn(matrix, (row * n + p, row * n + q), (cos, sin));
    }
}

fn turn(numbers: &mut [f64], (i, j): (usize, usize), (cos, sin): (f64, f64)) {
    let (x, y) = (numbers[i], numbers[j]);
    numbers[i] = cos * x - sin * y;
    numbers[j] = sin * x + cos * y;
}
