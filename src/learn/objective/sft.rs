//! Supervised loss: L = -sum(logp) / T, with T the trained tokens of the whole optimizer window.

use super::{Objective, Outcome, Scored};
use std::ops::Range;

/// Sums over trained tokens; those of micro-batches add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    pub tokens: usize,
    pub logp: f64,
    pub entropy: f64,
    pub hits: usize,
}

impl Sums {
    pub fn merge(&mut self, other: &Sums) {
        self.tokens += other.tokens;
        self.logp += other.logp;
        self.entropy += other.entropy;
        self.hits += other.hits;
    }

    /// Means under TRL's names; empty without tokens.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        if self.tokens == 0 {
            return Vec::new();
        }
        let n = self.tokens as f64;
        vec![
            ("entropy", self.entropy / n),
            ("mean_token_accuracy", self.hits as f64 / n),
        ]
    }
}

/// `window` is the number of trained tokens of the optimizer window, at least 1.
pub fn sft(logp: &[f32], entropy: &[f32], hits: &[bool], window: usize) -> Outcome<Sums> {
    assert!(
        window >= logp.len() && window > 0,
        "a window holds its micro-batches"
    );
    let total: f64 = logp.iter().map(|&x| f64::from(x)).sum();
    Outcome {
        loss: -total / window as f64,
        dlogp: vec![(-1.0 / window as f64) as f32; logp.len()],
        dentropy: None,
        metrics: Sums {
            tokens: logp.len(),
            logp: total,
            entropy: entropy.iter().map(|&x| f64::from(x)).sum(),
            hits: hits.iter().filter(|&&hit| hit).count(),
        },
    }
}

/// The supervised loss of one window.
pub struct SftObjective {
    tokens: usize,
    sums: Sums,
}

impl SftObjective {
    /// `tokens` are trained on in the window, at least 1.
    pub fn new(tokens: usize) -> SftObjective {
        SftObjective {
            tokens,
            sums: Sums::default(),
        }
    }
}

impl Objective for SftObjective {
    fn share(&mut self, _: Range<usize>, _: &[usize], scored: Scored) -> Outcome<()> {
        let (outcome, sums) =
            sft(scored.logp, scored.entropy, scored.greedy_hit, self.tokens).part();
        self.sums.merge(&sums);
        outcome
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        self.sums.named()
    }
}
