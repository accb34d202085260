//! Representation rerouting, the loss of circuit breakers (Zou et al. 2024, arXiv 2406.04313).
//!
//! With h the hidden states of the live model and h0 those of the same model with its adapter off:
//!   retain  = mean over all states and all positions of the retain set of ||h - h0||_2
//!   reroute = sum over the states S and the tokens t of the harmful set of relu(cos(h_t, h0_t)) / (T |S|)
//!   L = alpha p retain + alpha (1 - p) reroute,  p = step / (2 steps)
//! States are counted as transformers does: 0 the embeddings, i the output of block i, the last one after the final norm.
//!
//! The release divides `retain` by padded positions too (their distance is 0); here the divisor is the caller's. Its paper
//! has no |S| in the divisor of `reroute` (`Divisor::Tokens`). Steps are optimizer steps: the release's counter once ran
//! over micro-batches, which turned the schedule around. Where h = h0 the gradient of the distance is taken as 0.

use base::choice;
use std::ops::Range;

use rayon::prelude::*;

/// Hidden states [state][tokens, width] of the same tokens.
pub struct States<'a> {
    pub live: &'a [&'a [f32]],
    pub frozen: &'a [&'a [f32]],
    pub width: usize,
}

/// What is lost on hidden states, as `Objective` is on log-probabilities.
pub trait StateObjective {
    /// `rows` are the window's rows in this micro-batch; row `rows.start + i` has the tokens `starts[i]..starts[i + 1]`.
    fn share(&mut self, rows: Range<usize>, starts: &[usize], states: &States) -> Outcome;

    /// Over the whole window, once every row has passed.
    fn metrics(&self) -> Vec<(&'static str, f64)>;
}

pub struct Outcome {
    /// This micro-batch's share of the window's loss.
    pub loss: f64,
    /// dL/dh by state [tokens, width].
    pub dstates: Vec<Vec<f32>>,
}

choice! {
    /// What the sum of cosines is divided by.
    pub enum Divisor {
        /// Tokens and states, as in the authors' code.
        Released = "released",
        /// Tokens, as in their paper.
        Tokens = "tokens",
    }
}

/// alpha p and alpha (1 - p) of a step (0-based).
pub fn coefficients(alpha: f64, step: u64, steps: u64) -> (f64, f64) {
    let p = step as f64 / (2 * steps) as f64;
    (alpha * p, alpha * (1.0 - p))
}

/// The loss of one window. Its first rows are the harmful ones.
#[derive(Clone, Debug)]
pub struct Rerouting {
    /// The states that are rerouted.
    pub layers: Vec<usize>,
    pub divisor: Divisor,
    /// Coefficients of `retain` and `reroute`.
    pub coefficients: (f64, f64),
    pub harmful_rows: usize,
    /// Tokens of the harmful rows in the window, and positions that the retain mean counts.
    pub harmful_tokens: usize,
    pub retain_positions: usize,
    /// Sums over the window so far: distances of every state, cosines above 0 of the rerouted states.
    pub distances: Vec<f64>,
    pub cosines: f64,
}

impl Rerouting {
    fn divisors(&self, states: usize) -> (f64, f64) {
        let layers = match self.divisor {
            Divisor::Released => self.layers.len(),
            Divisor::Tokens => 1,
        };
        let retain = (states * self.retain_positions).max(1);
        (retain as f64, (self.harmful_tokens * layers).max(1) as f64)
    }

    /// (retain, reroute) of what has passed.
    pub fn terms(&self) -> (f64, f64) {
        let (retain, reroute) = self.divisors(self.distances.len());
        (
            self.distances.iter().sum::<f64>() / retain,
            self.cosines / reroute,
        )
    }
}

impl StateObjective for Rerouting {
    fn share(&mut self, rows: Range<usize>, starts: &[usize], states: &States) -> Outcome {
        let count = states.live.len();
        let harmful = self.harmful_rows.clamp(rows.start, rows.end) - rows.start;
        let cut = starts[harmful];
        let (retain, reroute) = self.divisors(count);
        let (retain, reroute) = (self.coefficients.0 / retain, self.coefficients.1 / reroute);
        let parts: Vec<(f64, f64, Vec<f32>)> = (0..count)
            .into_par_iter()
            .map(|i| {
                let (h, h0) = (states.live[i], states.frozen[i]);
                let mut d = vec![0.0; h.len()];
                let cut = cut * states.width;
                let cosines = match self.layers.contains(&i) {
                    true => cosines(&h[..cut], &h0[..cut], states.width, reroute, &mut d[..cut]),
                    false => 0.0,
                };
                let distances =
                    distances(&h[cut..], &h0[cut..], states.width, retain, &mut d[cut..]);
                (distances, cosines, d)
            })
            .collect();
        self.distances.resize(count, 0.0);
        let (mut loss, mut dstates) = (0.0, Vec::with_capacity(count));
        for (sum, (distances, cosines, d)) in self.distances.iter_mut().zip(parts) {
            *sum += distances;
            self.cosines += cosines;
            loss += retain * distances + reroute * cosines;
            dstates.push(d);
        }
        Outcome { loss, dstates }
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        let (retain, reroute) = self.terms();
        vec![
            ("retain", retain),
            ("reroute", reroute),
            ("coefficient/retain", self.coefficients.0),
            ("coefficient/reroute", self.coefficients.1),
        ]
    }
}

/// sum_t ||h_t - h0_t||; d = weight times its gradient.
fn distances(h: &[f32], h0: &[f32], width: usize, weight: f64, d: &mut [f32]) -> f64 {
    let rows = h.chunks_exact(width).zip(h0.chunks_exact(width));
    let mut sum = 0.0;
    for ((h, h0), d) in rows.zip(d.chunks_exact_mut(width)) {
        let gap = |i: usize| f64::from(h[i]) - f64::from(h0[i]);
        let norm = (0..width).map(|i| gap(i).powi(2)).sum::<f64>().sqrt();
        sum += norm;
        if norm > 0.0 {
            for (i, d) in d.iter_mut().enumerate() {
                *d = (weight * gap(i) / norm) as f32;
            }
        }
    }
    sum
}

/// sum_t relu(cos(h_t, h0_t)); d = weight times its gradient: (h0 / |h0| - cos h / |h|) / |h|.
fn cosines(h: &[f32], h0: &[f32], width: usize, weight: f64, d: &mut [f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    let rows = h.chunks_exact(width).zip(h0.chunks_exact(width));
    let mut sum = 0.0;
    for ((h, h0), d) in rows.zip(d.chunks_exact_mut(width)) {
        let (size, size0) = (dot(h, h).sqrt(), dot(h0, h0).sqrt());
        if size == 0.0 || size0 == 0.0 {
            continue;
        }
        let cos = dot(h, h0) / (size * size0);
        if cos > 0.0 {
            sum += cos;
            for ((d, h), h0) in d.iter_mut().zip(h).zip(h0) {
                let slope = f64::from(*h0) / size0 - cos * f64::from(*h) / size;
                *d = (weight * slope / size) as f32;
            }
        }
    }
    sum
}
