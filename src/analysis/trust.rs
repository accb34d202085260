//! How far a picture can be trusted: who is a neighbour in it ought to be one in the space that it was made of (Venna and Kaski 2001).

use crate::neighbours::by_distance;
use crate::points::{Metric, Points};

/// 1 - 2 / (n k (2n - 3k - 1)) Σ_i Σ_j max(0, r(i, j) - k) over the k nearest j of i in the picture, with r(i, j) the rank of j by its
/// distance [n, n] from i in the space. None where k is not below n / 2.
pub fn trustworthiness(space: &[f64], picture: &Points, k: usize) -> Option<f64> {
    let n = picture.len();
    assert_eq!(space.len(), n * n, "the picture is of these points");
    if 2 * k >= n {
        return None;
    }
    let shown = Metric::Euclidean.distances(picture);
    let mut penalty = 0.0;
    for i in 0..n {
        let others = |row: &[f64]| -> Vec<usize> {
            let order = by_distance(row).into_iter();
            order.filter(|j| *j != i).collect()
        };
        let mut rank = vec![0usize; n];
        let in_space = others(&space[i * n..(i + 1) * n]);
        for (place, j) in in_space.into_iter().enumerate() {
            rank[j] = place + 1;
        }
        let near = others(&shown[i * n..(i + 1) * n]);
        let beyond = near[..k].iter().map(|&j| rank[j].saturating_sub(k));
        penalty += beyond.sum::<usize>() as f64;
    }
    let (n, k) = (n as f64, k as f64);
    Some(1.0 - penalty * 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)))
}
