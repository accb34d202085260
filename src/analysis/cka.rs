//! Linear centred kernel alignment: are two representations of the same points one up to rotation and scale?
//!
//! With K and L the products of every two centred points, CKA = tr(KL) / √(tr(KK) tr(LL)) (Kornblith et al. 2019, arXiv 1905.00414,
//! eq. 6 with linear kernels). With fewer points than dimensions it is high even between representations that have nothing in common:
//! it is told beside that of points in another order.

use crate::points::{Points, dot};
use base::stats::jackknife;

/// The products of two representations of the same points, at least two of them.
pub struct Alignment {
    n: usize,
    /// Centred [n, n].
    kernels: [Vec<f64>; 2],
}

impl Alignment {
    pub fn of(one: &Points, other: &Points) -> Alignment {
        let n = one.len();
        assert!(n == other.len() && n > 1, "two representations of points");
        let kernels = [one.centred().gram(), other.centred().gram()];
        Alignment { n, kernels }
    }

    /// 0 where either representation is constant.
    pub fn cka(&self) -> f64 {
        let of = |i: usize, j: usize| dot(&self.kernels[i], &self.kernels[j]);
        ratio(of(0, 1), of(0, 0), of(1, 1))
    }

    /// With the second representation's points in this order.
    pub fn reordered(&self, order: &[usize]) -> f64 {
        let n = self.n;
        let [one, other] = &self.kernels;
        let moved = order
            .iter()
            .flat_map(|&i| order.iter().map(move |&j| other[i * n + j]));
        let moved: Vec<f64> = moved.collect();
        ratio(dot(one, &moved), dot(one, one), dot(other, other))
    }

    /// What each point adds: see `jackknife::influences`.
    pub fn influences(&self) -> Vec<f64> {
        let products = [(0, 1), (0, 0), (1, 1)].map(|(i, j)| self.without(i, j));
        jackknife::influences(self.n, self.cka(), |i| {
            ratio(products[0][i], products[1][i], products[2][i])
        })
    }

    /// tr(HKH HLH) without each point, which is left out of the mean as well: Σ KL - 2/n Σ k l + (Σ k)(Σ l)/n² with k and l the sums of
    /// rows, each without what is left out.
    fn without(&self, first: usize, second: usize) -> Vec<f64> {
        let n = self.n;
        let [k, l] = [&self.kernels[first], &self.kernels[second]];
        let sums = |m: &[f64]| -> Vec<f64> { m.chunks_exact(n).map(|r| r.iter().sum()).collect() };
        let (of_k, of_l) = (sums(k), sums(l));
        let (all_k, all_l) = (of_k.iter().sum::<f64>(), of_l.iter().sum::<f64>());
        let whole = dot(k, l);
        let m = (n - 1) as f64;
        let each = (0..n).map(|i| {
            let (row_k, row_l) = (&k[i * n..(i + 1) * n], &l[i * n..(i + 1) * n]);
            let both = row_k[i] * row_l[i];
            let products = whole - 2.0 * dot(row_k, row_l) + both;
            let mut rows = 0.0;
            for j in (0..n).filter(|j| *j != i) {
                rows += (of_k[j] - row_k[j]) * (of_l[j] - row_l[j]);
            }
            let total_k = all_k - 2.0 * of_k[i] + row_k[i];
            let total_l = all_l - 2.0 * of_l[i] + row_l[i];
            products - 2.0 / m * rows + total_k * total_l / (m * m)
        });
        each.collect()
    }
}

fn ratio(both: f64, one: f64, other: f64) -> f64 {
    match one > 0.0 && other > 0.0 {
        true => both / (one.sqrt() * other.sqrt()),
        false => 0.0,
    }
}
