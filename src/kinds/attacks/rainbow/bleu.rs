//! BLEU-4 of one text against another (Papineni et al. 2002), as nltk computes it: how like its parent a mutant still is.
//!
//! Tokens are the words between white space, as they stand. Without smoothing an order of n-grams of which none is shared counts as the
//! least positive number, so that the score of short texts is about 1e-78 where one would expect 0, or 1.

use base::choice;
use std::collections::BTreeMap;

choice! {
    /// What takes the place of a precision of 0.
    pub enum Smoothing {
        None = "none",
        /// nltk's fourth: 1 / (2^k 5 / ln n) for the k-th order without a match, n the candidate's tokens (Chen and Cherry 2014).
        Method4 = "method4",
    }
}

const ORDERS: usize = 4;

/// In [0, 1]. A candidate that shares no word scores 0.
pub fn bleu(reference: &[&str], candidate: &[&str], smoothing: Smoothing) -> f64 {
    let length = candidate.len();
    let mut log_sum = 0.0;
    let mut without = 0;
    for order in 1..=ORDERS {
        let grams = length.saturating_sub(order - 1).max(1) as f64;
        let shared = shared(reference, candidate, order);
        let precision = match (shared, order, smoothing) {
            (0, 1, _) => return 0.0,
            (0, _, Smoothing::Method4) if length > 1 => {
                without += 1;
                let weight = f64::from(1 << without) * 5.0 / (length as f64).ln();
                1.0 / weight / grams
            }
            (0, ..) => f64::MIN_POSITIVE,
            _ => shared as f64 / grams,
        };
        log_sum += precision.ln() / ORDERS as f64;
    }
    let brevity = match length > reference.len() {
        true => 1.0,
        false => (1.0 - reference.len() as f64 / length as f64).exp(),
    };
    brevity * log_sum.exp()
}

/// n-grams that both have, each as often as the one that has it less often.
fn shared(reference: &[&str], candidate: &[&str], order: usize) -> usize {
    let [reference, candidate] = [reference, candidate].map(|words| {
        let mut counts: BTreeMap<&[&str], usize> = BTreeMap::new();
        for gram in words.windows(order) {
            *counts.entry(gram).or_default() += 1;
        }
        counts
    });
    let both = candidate.iter().map(|(gram, n)| {
        let there = reference.get(gram).copied().unwrap_or(0);
        (*n).min(there)
    });
    both.sum()
}
