//! The nearest points of each point, exactly: from all distances.

/// By point, its nearest, the nearest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// How many each has.
    pub k: usize,
    /// [n, k].
    pub index: Vec<usize>,
    /// [n, k], ascending.
    pub distance: Vec<f64>,
}

/// The `k` points nearest to each, itself counted, of distances [n, n]. Of equal distances the lower number comes first, so that a point
/// that is there twice need not be its own first neighbour. Panics where there are not as many points.
pub fn nearest(distances: &[f64], n: usize, k: usize) -> Neighbours {
    assert!(k <= n && distances.len() == n * n, "as many as there are");
    let mut found = Neighbours {
        k,
        index: Vec::with_capacity(n * k),
        distance: Vec::with_capacity(n * k),
    };
    for row in distances.chunks_exact(n) {
        let order = by_distance(row);
        found.index.extend(&order[..k]);
        found.distance.extend(order[..k].iter().map(|&j| row[j]));
    }
    found
}

/// All points by their distance, the nearest first.
pub fn by_distance(row: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&i, &j| row[i].total_cmp(&row[j]));
    order
}
