//! Central differences: a gradient in f32 against the slopes of its formula in f64.

use super::reference;
use pipe::base::rng::Seed;

/// A kernel at one shape, L = <pull, output>.
pub struct Case<'a> {
    pub name: String,
    /// What L depends on.
    pub inputs: &'a [&'a [f32]],
    /// L in f64.
    pub loss: &'a dyn Fn(&[Vec<f64>]) -> f64,
    /// L as the kernel has it, and the gradient by every input.
    pub value: f64,
    pub gradients: &'a [&'a [f32]],
    /// Places of each input where the slope is taken, at most; besides one direction through all of them.
    pub places: usize,
}

pub const PLACES: usize = 60;
/// Step of a difference: its error goes with the square and is below 1e-9 here, that of rounding is 1e-10.
const STEP: f64 = 1e-5;
/// Of the largest entry of a gradient: some hundred roundings of f32.
const CLOSE: f64 = 2e-5;

impl Case<'_> {
    pub fn check(&self) {
        let at: Vec<Vec<f64>> = self.inputs.iter().map(|x| wide(x)).collect();
        let exact = (self.loss)(&at);
        let off = (self.value - exact).abs() / exact.abs().max(1.0);
        assert!(off < CLOSE, "{}: {} for {exact}", self.name, self.value);
        let largest = |g: &[f32]| g.iter().fold(0.0, |m, g| f64::max(m, f64::from(g.abs())));
        let overall = self
            .gradients
            .iter()
            .map(|g| largest(g))
            .fold(0.0, f64::max);
        let mut rng = Seed::new(77).rng();
        for (which, gradient) in self.gradients.iter().enumerate() {
            assert_eq!(gradient.len(), at[which].len(), "{}", self.name);
            // An input may have no gradient but for rounding (the keys of a sequence of one), or one that is a small
            // difference of large numbers (the norm of a single number): pulls are of size 1, so it counts against 0.1.
            let scale = largest(gradient).max(1e-2 * overall).max(0.1);
            let n = gradient.len();
            let mut places: Vec<usize> = (0..n).collect();
            rng.shuffle(&mut places);
            for &place in places.iter().take(self.places) {
                let mut direction = vec![0.0; n];
                direction[place] = 1.0;
                let slope = self.slope(&at, which, &direction);
                let off = (slope - f64::from(gradient[place])).abs() / scale;
                assert!(
                    off < CLOSE,
                    "{}: input {which} at {place} of {n}: {} for {slope}",
                    self.name,
                    gradient[place]
                );
            }
            let direction: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
            let slope = self.slope(&at, which, &direction);
            let ours = reference::dot(&wide(gradient), &direction);
            let off = (slope - ours).abs() / (scale * (n as f64).sqrt());
            assert!(
                off < CLOSE,
                "{}: input {which}: {ours} for {slope}",
                self.name
            );
        }
    }

    /// dL along a direction of one input.
    fn slope(&self, at: &[Vec<f64>], which: usize, direction: &[f64]) -> f64 {
        let value = |step: f64| {
            let mut moved = at.to_vec();
            for (x, d) in moved[which].iter_mut().zip(direction) {
                *x += step * d;
            }
            (self.loss)(&moved)
        };
        (value(STEP) - value(-STEP)) / (2.0 * STEP)
    }
}

pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// <pull, x>.
pub fn pulled(pull: &[f32], x: &[f32]) -> f64 {
    reference::dot(&wide(pull), &wide(x))
}
