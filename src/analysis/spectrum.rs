//! The lowest eigenvectors of a large sparse matrix: a block of vectors is filtered by a Chebyshev polynomial that is small above the
//! block's highest value and grows fast below, and solved inside the block after each filter (Zhou, Saad, Tiago and Chelikowsky 2006).
//! Eigenvalues that lie close to each other are told apart inside the block, which is wider than what is wanted.

use crate::points::{add, dot};
use crate::solve::eigen;
use base::rng::Seed;

/// A symmetric matrix, row by row: places and values of what is not 0.
#[derive(Clone, Debug, Default)]
pub struct Sparse {
    pub rows: Vec<Vec<(usize, f64)>>,
}

impl Sparse {
    fn times(&self, v: &[f64]) -> Vec<f64> {
        let row = |row: &Vec<(usize, f64)>| row.iter().map(|(j, x)| x * v[*j]).sum();
        self.rows.iter().map(row).collect()
    }
}

/// Vectors beyond those that are wanted.
const MORE: usize = 8;
/// Of |A v - λ v|: what an eigenvector is off by is this over the gap to the next eigenvalue.
const RESIDUAL: f64 = 1e-10;
/// Filters: where the spectrum is so flat that these do not do, its vectors mean little.
const MOST: usize = 200;
/// What a filter may raise the lowest vector by against those of the block that it raises least: more, and it would be all that is
/// left of them in double precision.
const RAISED: f64 = 1e8;
/// Products with the matrix in one filter.
const LONGEST: f64 = 200.0;

/// The `k` lowest eigenvalues, ascending, and their eigenvectors of length 1, the entry of largest size positive; of a matrix whose
/// eigenvalues are within 0 and `top`, with at least k rows. The seed is of the block that it begins with: it shows only where eigenvalues
/// are equal.
pub fn lowest(matrix: &Sparse, top: f64, k: usize, seed: Seed) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = matrix.rows.len();
    assert!(0 < k && k <= n, "as many as there are");
    let mut rng = seed.rng();
    let block = (0..(k + MORE).min(n)).map(|_| (0..n).map(|_| rng.normal()).collect());
    let mut ritz = Ritz::of(matrix, block.collect());
    for _ in 0..MOST {
        if (0..k).all(|i| ritz.residuals[i] < RESIDUAL) {
            break;
        }
        let cut = *ritz.values.last().expect("the block has vectors");
        let filtered = ritz.vectors.iter().map(|v| filter(matrix, v, cut, top));
        ritz = Ritz::of(matrix, filtered.collect());
    }
    let Ritz {
        mut values,
        mut vectors,
        ..
    } = ritz;
    vectors.truncate(k);
    values.truncate(k);
    vectors.iter_mut().for_each(|v| upright(v));
    (values, vectors)
}

/// T_m((2 A - cut - top) / (top - cut)) v, scaled to length 1.
fn filter(matrix: &Sparse, v: &[f64], cut: f64, top: f64) -> Vec<f64> {
    let (centre, half) = ((top + cut) / 2.0, ((top - cut) / 2.0).max(1e-9));
    // T_m is cosh(m acosh x) beyond 1: of eigenvalue 0 it becomes RAISED.
    let steep = (centre / half).acosh().max(1e-9);
    let degree = ((2.0 * RAISED).ln() / steep).clamp(2.0, LONGEST) as usize;
    let mut before = v.to_vec();
    let mapped = |v: &[f64]| -> Vec<f64> {
        let image = matrix.times(v).into_iter().zip(v);
        image.map(|(av, v)| (av - centre * v) / half).collect()
    };
    let mut now = mapped(v);
    for _ in 1..degree {
        let mut next = mapped(&now);
        let each = next.iter_mut().zip(&before);
        each.for_each(|(next, before)| *next = 2.0 * *next - before);
        (before, now) = (now, next);
    }
    let length = dot(&now, &now).sqrt();
    now.iter_mut().for_each(|x| *x /= length);
    now
}

/// The eigenvectors of a matrix as far as a block of vectors can tell them, by ascending value.
struct Ritz {
    values: Vec<f64>,
    vectors: Vec<Vec<f64>>,
    residuals: Vec<f64>,
}

impl Ritz {
    fn of(matrix: &Sparse, mut block: Vec<Vec<f64>>) -> Ritz {
        let width = block.len();
        orthonormal(&mut block);
        let images: Vec<Vec<f64>> = block.iter().map(|v| matrix.times(v)).collect();
        let inside = block
            .iter()
            .flat_map(|v| images.iter().map(|image| dot(v, image)));
        let (values, turns) = eigen(inside.collect(), width);
        let turned = |of: &[Vec<f64>]| -> Vec<Vec<f64>> {
            let rows = turns.chunks_exact(width);
            rows.map(|turn| combined(turn, of)).collect()
        };
        let (vectors, images) = (turned(&block), turned(&images));
        let residual = |i: usize| {
            let mut rest = images[i].clone();
            add(&mut rest, -values[i], &vectors[i]);
            dot(&rest, &rest).sqrt()
        };
        let residuals = (0..width).map(residual).collect();
        Ritz {
            values,
            vectors,
            residuals,
        }
    }
}

/// Turns a vector so that its entry of largest size is positive; of several the first.
pub fn upright(vector: &mut [f64]) {
    let largest = vector.iter().copied().fold(
        0.0f64,
        |most, x| {
            if x.abs() > most.abs() { x } else { most }
        },
    );
    if largest < 0.0 {
        vector.iter_mut().for_each(|x| *x = -*x);
    }
}

/// Gram and Schmidt, twice, which leaves nothing of one in another that rounding could tell.
fn orthonormal(block: &mut [Vec<f64>]) {
    for i in 0..block.len() {
        let (before, rest) = block.split_at_mut(i);
        let own = &mut rest[0];
        for _ in 0..2 {
            for other in before.iter() {
                let share = dot(own, other);
                add(own, -share, other);
            }
            let length = dot(own, own).sqrt();
            own.iter_mut().for_each(|x| *x /= length);
        }
    }
}

fn combined(weights: &[f64], of: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; of[0].len()];
    weights
        .iter()
        .zip(of)
        .for_each(|(w, v)| add(&mut sum, *w, v));
    sum
}
