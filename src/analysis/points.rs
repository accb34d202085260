//! Points of a space, row by row, and the distances between them. Knows no labels.

use base::choice;

/// Points of one width.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    values: Vec<f64>,
    width: usize,
}

impl Points {
    /// Row after row. Panics unless there are whole rows of a width above 0, all of them finite numbers.
    pub fn new(values: Vec<f64>, width: usize) -> Points {
        assert!(
            width > 0 && values.len().is_multiple_of(width),
            "points are whole rows"
        );
        assert!(values.iter().all(|x| x.is_finite()), "points are finite");
        Points { values, width }
    }

    pub fn of_floats(values: &[f32], width: usize) -> Points {
        Points::new(values.iter().map(|x| f64::from(*x)).collect(), width)
    }

    /// Points of the plane.
    pub fn planar(points: &[[f32; 2]]) -> Points {
        Points::of_floats(points.as_flattened(), 2)
    }

    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    pub fn rows(&self) -> std::slice::ChunksExact<'_, f64> {
        self.values.chunks_exact(self.width)
    }

    /// Those of these numbers, in their order.
    pub fn taken(&self, rows: &[usize]) -> Points {
        let values = rows.iter().flat_map(|&i| self.row(i)).copied().collect();
        Points {
            values,
            width: self.width,
        }
    }

    /// The mean of the points that fit, at least one.
    pub fn mean(&self, fits: impl Fn(usize) -> bool) -> Vec<f64> {
        let mut sum = vec![0.0; self.width];
        let mut n = 0.0;
        for (_, row) in self.rows().enumerate().filter(|(i, _)| fits(*i)) {
            add(&mut sum, 1.0, row);
            n += 1.0;
        }
        assert!(n > 0.0, "a mean is of at least one point");
        sum.iter_mut().for_each(|x| *x /= n);
        sum
    }

    /// The same around 0.
    pub fn centred(&self) -> Points {
        let mean = self.mean(|_| true);
        let rows = self.rows().flat_map(|row| row.iter().zip(&mean));
        Points {
            values: rows.map(|(x, m)| x - m).collect(),
            width: self.width,
        }
    }

    /// Products of every two rows: [n, n].
    pub fn gram(&self) -> Vec<f64> {
        symmetric(self.len(), |i, j| dot(self.row(i), self.row(j)))
    }

    /// Whether all points are one, as far as single precision tells: no coordinate varies by more than a millionth of the largest.
    pub fn constant(&self) -> bool {
        let largest = self.values.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        let varies = (0..self.width).any(|column| {
            let each = self.rows().map(|row| row[column]);
            let low = each.clone().fold(f64::INFINITY, f64::min);
            let high = each.fold(f64::NEG_INFINITY, f64::max);
            high - low > 1e-6 * largest
        });
        !varies
    }
}

/// Numbers that are added side by side: the order of a sum is part of its result, and this one fits vector units.
const LANES: usize = 8;

/// The scalar product.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    sum(a, b, |x, y| x * y)
}

/// The squared distance.
pub fn squared(a: &[f64], b: &[f64]) -> f64 {
    sum(a, b, |x, y| (x - y) * (x - y))
}

/// a += factor · b.
pub fn add(a: &mut [f64], factor: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
}

fn sum(a: &[f64], b: &[f64], of: impl Fn(f64, f64) -> f64) -> f64 {
    assert_eq!(a.len(), b.len(), "rows of one width");
    let (whole, rest) = a.as_chunks::<LANES>();
    let (others, others_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in whole.iter().zip(others) {
        for lane in 0..LANES {
            lanes[lane] += of(a[lane], b[lane]);
        }
    }
    let rest: f64 = rest.iter().zip(others_rest).map(|(a, b)| of(*a, *b)).sum();
    lanes.iter().sum::<f64>() + rest
}

choice! {
    /// How far two points are apart.
    pub enum Metric {
        Euclidean = "euclidean",
        /// 1 - cosine; two points at 0 are at the same place, one of them is as far from any other as a right angle.
        Cosine = "cosine",
    }
}

impl Metric {
    /// Of every two points: [n, n], the diagonal exactly 0.
    pub fn distances(self, points: &Points) -> Vec<f64> {
        let n = points.len();
        match self {
            Metric::Euclidean => symmetric(n, |i, j| squared(points.row(i), points.row(j)).sqrt()),
            Metric::Cosine => {
                let norms: Vec<f64> = points.rows().map(|row| dot(row, row)).collect();
                symmetric(n, |i, j| match (norms[i] > 0.0, norms[j] > 0.0) {
                    (true, true) => {
                        // The root of a square is exact, so that equal rows are at distance 0.
                        let scale = (norms[i] * norms[j]).sqrt();
                        (1.0 - dot(points.row(i), points.row(j)) / scale).max(0.0)
                    }
                    (false, false) => 0.0,
                    _ => 1.0,
                })
            }
        }
    }
}

fn symmetric(n: usize, of: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut out = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let value = of(i, j);
            out[i * n + j] = value;
            out[j * n + i] = value;
        }
    }
    out
}
