//! How near counts as near in the picture: 1 / (1 + a x^2b), fitted to what `min_dist` and `spread` ask for.

/// 1 / (1 + a d^b) of a squared distance d.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    pub a: f64,
    pub b: f64,
}

/// Places of the curve that are fitted, from 0 to three times the spread.
const PLACES: usize = 300;

impl Curve {
    /// The least squares fit to 1 below `min_dist` and exp(-(x - min_dist) / spread) from there on, by Levenberg's and Marquardt's steps from
    /// a = b = 1 until they no longer move.
    pub fn fit(spread: f64, min_dist: f64) -> Curve {
        let wanted: Vec<(f64, f64)> = (0..PLACES)
            .map(|i| {
                let x = 3.0 * spread * i as f64 / (PLACES - 1) as f64;
                let y = (-(x - min_dist) / spread).exp();
                (x, if x < min_dist { 1.0 } else { y })
            })
            .collect();
        let mut curve = Curve { a: 1.0, b: 1.0 };
        let mut cost = curve.misfit(&wanted);
        let mut damping = 1e-3;
        // A step that is not taken makes the next one smaller.
        for _ in 0..1000 {
            let (da, db) = curve.step(&wanted, damping);
            let next = Curve {
                a: curve.a + da,
                b: curve.b + db,
            };
            let lower = next.misfit(&wanted);
            if lower <= cost && next.a > 0.0 && next.b > 0.0 {
                (curve, cost) = (next, lower);
                damping /= 10.0;
                if da.abs() + db.abs() < 1e-13 {
                    break;
                }
            } else {
                damping *= 10.0;
                if damping > 1e12 {
                    break;
                }
            }
        }
        curve
    }

    fn misfit(self, wanted: &[(f64, f64)]) -> f64 {
        let off = |(x, y): &(f64, f64)| 1.0 / (1.0 + self.a * x.powf(2.0 * self.b)) - y;
        wanted.iter().map(off).map(|off| off * off).sum()
    }

    /// (JᵀJ (1 + damping on the diagonal))⁻¹ Jᵀ of what is left.
    fn step(self, wanted: &[(f64, f64)], damping: f64) -> (f64, f64) {
        let (mut aa, mut ab, mut bb, mut ra, mut rb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (x, y) in wanted.iter().filter(|(x, _)| *x > 0.0) {
            let power = x.powf(2.0 * self.b);
            let value = 1.0 / (1.0 + self.a * power);
            let by_a = -power * value * value;
            let by_b = by_a * self.a * 2.0 * x.ln();
            let rest = y - value;
            aa += by_a * by_a;
            ab += by_a * by_b;
            bb += by_b * by_b;
            ra += by_a * rest;
            rb += by_b * rest;
        }
        let (aa, bb) = (aa * (1.0 + damping), bb * (1.0 + damping));
        let determinant = aa * bb - ab * ab;
        (
            (bb * ra - ab * rb) / determinant,
            (aa * rb - ab * ra) / determinant,
        )
    }
}
