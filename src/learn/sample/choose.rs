//! From the logits of one row to its next token: penalty, temperature, truncation and the draw, in the order and with
//! the rules of transformers' logits processors.

use crate::kernels::simd::{LANES, exp, fold, max, vector};
use anyhow::{Result, ensure};

/// Tokens whose weights are summed together before the draw walks over them.
const BLOCK: usize = 64;

/// How tokens are chosen. Nothing here has a default: `Choice::plain` is the model's own distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f32,
    /// Keeps the smallest set of most probable tokens whose probability reaches this; 1 keeps all.
    pub top_p: f32,
    /// Keeps this many tokens and those that tie with the last of them; 0 keeps all.
    pub top_k: usize,
    /// Drops tokens less probable than this share of the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens that occurred (CTRL, Keskar et al. 2019); 1 is off.
    pub repetition_penalty: f32,
}

impl Choice {
    pub fn plain(temperature: f32) -> Choice {
        Choice {
            temperature,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
        }
    }

    pub fn greedy() -> Choice {
        Choice::plain(0.0)
    }

    pub fn check(&self) -> Result<()> {
        ensure!(
            self.temperature.is_finite() && self.temperature >= 0.0,
            "temperature {} is not zero or above",
            self.temperature
        );
        ensure!(
            self.top_p > 0.0 && self.top_p <= 1.0,
            "top_p {} is not in (0, 1]",
            self.top_p
        );
        ensure!(
            self.min_p >= 0.0 && self.min_p <= 1.0,
            "min_p {} is not in [0, 1]",
            self.min_p
        );
        ensure!(
            self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite(),
            "repetition_penalty {} is not above zero",
            self.repetition_penalty
        );
        Ok(())
    }

    /// Whether all tokens may be drawn, by their own probabilities.
    pub(crate) fn whole(&self) -> bool {
        self.top_p == 1.0 && self.top_k == 0 && self.min_p == 0.0 && !self.penalises()
    }

    /// Whether tokens that occurred matter.
    pub(crate) fn penalises(&self) -> bool {
        self.repetition_penalty != 1.0
    }

    /// The token and its log-probability in nats under softmax(logits / temperature) over the whole vocabulary, before
    /// penalty and truncation (greedy: at temperature 1). `seen` are the tokens of the row so far, `unit` is uniform
    /// in [0, 1). Overwrites the logits.
    pub fn pick(&self, logits: &mut [f32], seen: &[u32], unit: f64) -> (u32, f32) {
        let scale = self.scale();
        let lse = log_sum_exp(logits, scale);
        if self.whole() {
            let token = match self.temperature {
                0.0 => first_max(logits),
                _ => draw(logits, scale, lse, unit),
            };
            return (token as u32, logits[token] * scale - lse);
        }
        let before = logits.to_vec();
        self.process(logits, seen);
        let token = match self.temperature {
            0.0 => first_max(logits),
            _ => draw(logits, 1.0, log_sum_exp(logits, 1.0), unit),
        };
        (token as u32, before[token] * scale - lse)
    }

    /// What is left of the logits: penalised, divided by the temperature, -inf where truncated.
    pub fn process(&self, logits: &mut [f32], seen: &[u32]) {
        if self.penalises() {
            self.penalise(logits, seen);
        }
        let scale = self.scale();
        for z in logits.iter_mut() {
            *z *= scale;
        }
        if self.top_k > 0 && self.top_k < logits.len() {
            keep_top_k(logits, self.top_k);
        }
        if self.top_p < 1.0 {
            keep_top_p(logits, f64::from(self.top_p));
        }
        if self.min_p > 0.0 {
            let lse = log_sum_exp(logits, 1.0);
            let least = (logits[first_max(logits)] - lse).exp() * self.min_p;
            for z in logits {
                if (*z - lse).exp() < least {
                    *z = f32::NEG_INFINITY;
                }
            }
        }
    }

    /// What logits are multiplied by.
    pub(crate) fn scale(&self) -> f32 {
        match self.temperature {
            0.0 => 1.0,
            temperature => 1.0 / temperature,
        }
    }

    fn penalise(&self, logits: &mut [f32], seen: &[u32]) {
        let mut seen = seen.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for token in seen {
            let z = &mut logits[token as usize];
            *z = match *z < 0.0 {
                true => *z * self.repetition_penalty,
                false => *z / self.repetition_penalty,
            };
        }
    }
}

/// A number that is none, if there is one. Zero times a finite number is zero, and what is not finite stays.
pub(crate) fn not_finite(logits: &[f32]) -> Option<f32> {
    let sum = vector(
        #[inline(always)]
        || {
            let mut sums = [0.0f32; LANES];
            let (body, tail) = logits.as_chunks::<LANES>();
            for z in body {
                for i in 0..LANES {
                    sums[i] += z[i] * 0.0;
                }
            }
            fold(sums) + tail.iter().map(|z| z * 0.0).sum::<f32>()
        },
    );
    if sum == 0.0 {
        return None;
    }
    logits.iter().copied().find(|z| !z.is_finite())
}

fn log_sum_exp(logits: &[f32], scale: f32) -> f32 {
    vector(
        #[inline(always)]
        move || {
            let top = max(logits) * scale;
            let mut sums = [0.0f32; LANES];
            let (body, tail) = logits.as_chunks::<LANES>();
            for z in body {
                for i in 0..LANES {
                    sums[i] += exp(z[i].mul_add(scale, -top));
                }
            }
            let tail: f32 = tail.iter().map(|z| exp(z.mul_add(scale, -top))).sum();
            top + (fold(sums) + tail).ln()
        },
    )
}

fn first_max(logits: &[f32]) -> usize {
    let top = vector(
        #[inline(always)]
        || max(logits),
    );
    logits.iter().position(|&z| z == top).unwrap_or(0)
}

/// The token at which the cumulative probability passes `unit`. Blocks of weights are summed first, so that the walk
/// is short; the sums are f64 and their order is fixed.
fn draw(logits: &[f32], scale: f32, lse: f32, unit: f64) -> usize {
    let (block, left) = block_at(&block_sums(logits, scale, lse), unit);
    let first = block * BLOCK;
    let chosen = vector(
        #[inline(always)]
        || {
            let weights = logits[first..].iter();
            within(weights.map(|&z| f64::from(weight(z, scale, lse))), left)
        },
    );
    // Rounding may walk past the end of a last block without weight.
    chosen.map_or_else(|| first_max(logits), |i| first + i)
}

/// The block of tokens in which the cumulative weight passes `unit` of the whole, and how much of it is left there. The last
/// one, where rounding walks past all.
pub(crate) fn block_at(sums: &[f64], unit: f64) -> (usize, f64) {
    let mut left = unit * sums.iter().sum::<f64>();
    let mut block = 0;
    while block + 1 < sums.len() && left >= sums[block] {
        left -= sums[block];
        block += 1;
    }
    (block, left)
}

/// The token at which the cumulative weight passes `left`, or the last one with a weight, if any has one.
#[inline(always)]
pub(crate) fn within(weights: impl Iterator<Item = f64>, mut left: f64) -> Option<usize> {
    let mut chosen = None;
    for (i, w) in weights.enumerate() {
        if w > 0.0 {
            chosen = Some(i);
            if left < w {
                break;
            }
            left -= w;
        }
    }
    chosen
}

#[inline(always)]
fn weight(z: f32, scale: f32, lse: f32) -> f32 {
    let w = exp(z.mul_add(scale, -lse));
    // `exp` does not reach zero.
    if z == f32::NEG_INFINITY { 0.0 } else { w }
}

fn block_sums(logits: &[f32], scale: f32, lse: f32) -> Vec<f64> {
    let mut sums = vec![0.0; logits.len().div_ceil(BLOCK)];
    let out = &mut sums;
    vector(
        #[inline(always)]
        || {
            for (sum, block) in out.iter_mut().zip(logits.chunks(BLOCK)) {
                let mut lanes = [0.0f64; LANES];
                let (body, tail) = block.as_chunks::<LANES>();
                for z in body {
                    for i in 0..LANES {
                        lanes[i] += f64::from(weight(z[i], scale, lse));
                    }
                }
                *sum = lanes.iter().sum();
                for &z in tail {
                    *sum += f64::from(weight(z, scale, lse));
                }
            }
        },
    );
    sums
}

fn keep_top_k(logits: &mut [f32], k: usize) {
    let mut sorted = logits.to_vec();
    let (_, &mut kth, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    for z in logits {
        if *z < kth {
            *z = f32::NEG_INFINITY;
        }
    }
}

/// Drops, from the least probable on, every token up to which the probabilities sum to at most 1 - p; the most
/// probable one stays.
fn keep_top_p(logits: &mut [f32], p: f64) {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(a.cmp(&b)));
    let lse = log_sum_exp(logits, 1.0);
    let mut below = 0.0f64;
    for &i in &order[..order.len() - 1] {
        below += f64::from((logits[i] - lse).exp());
        if below > 1.0 - p {
            break;
        }
        logits[i] = f32::NEG_INFINITY;
    }
}
