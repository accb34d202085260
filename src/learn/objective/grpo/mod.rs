//! GRPO and its variants on the log-probabilities of sampled tokens.
//!
//! Per token, with w = exp(logp - old), A the advantage of its row and d = reference - logp:
//!   l = -min(min(w, delta) A, clip(w, 1 - low, 1 + high) A) + beta k(d)
//! (GRPO, Shao et al. 2024, eq. 3), where k is k1 = -d, k2 = d^2 / 2 or k3 = exp(d) - d - 1 (Schulman 2020), and for A < 0
//! the policy term is at most -dual A (Ye et al. 2020). GSPO (Zheng et al. 2025) has one w per row,
//! exp(mean_t(logp - old)). The loss is a weighted sum of l (see `Aggregation`) minus `entropy` times the mean entropy of
//! all tokens. With beta 0 here, the KL can be taken off the reward instead: r - beta sum_t k(d) (`kl_sum`), as PPO for
//! language models does (Stiennon et al. 2020; verl's `use_kl_in_reward`).
//!
//! Departures: means over tokens cover the whole window unless the aggregation says otherwise; the KL's mean is the
//! aggregation's too, where verl averages it over the micro-batch's tokens.

mod options;
mod sums;
mod terms;

pub use options::{Aggregation, Kl, Options, Ratio};
pub use sums::{Mismatch, Sums};
pub use terms::kl_sum;

use super::{Objective, Outcome, Scored};
use std::ops::Range;
use terms::{Clamped, kl_of, policy_term};

/// Denominators over the whole optimizer totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Rows, those without trained tokens included.
    pub rows: usize,
    pub tokens: usize,
    pub micro_batches: usize,
    /// The longest completion allowed, for `Aggregation::DrGrpo`.
    pub max_length: usize,
}

/// One micro-batch. Row i's tokens are `starts[i]..starts[i + 1]` of the arrays; a row may be empty.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// N + 1 bounds.
    pub starts: &'a [usize],
    /// N numbers.
    pub advantages: &'a [f32],
    pub logp: &'a [f32],
    /// Log-probabilities under the weights that sampled. None: the live ones (ratio 1, gradient not 0).
    pub old: Option<&'a [f32]>,
    /// Needed where `beta` is not 0.
    pub reference: Option<&'a [f32]>,
    /// What the sampler reported; only measured.
    pub sampler: Option<&'a [f32]>,
    pub entropy: &'a [f32],
}

pub fn grpo(options: &Options, rows: Rows, totals: Totals) -> Outcome<Sums> {
    check(options, rows);
    let mut outcome = Outcome {
        loss: 0.0,
        dlogp: vec![0.0; rows.logp.len()],
        dentropy: None,
        metrics: Sums {
            kl: rows.reference.map(|_| 0.0),
            ..Sums::default()
        },
    };
    for i in 0..rows.advantages.len() {
        let range = rows.starts[i]..rows.starts[i + 1];
        if !range.is_empty() {
            row(options, rows, totals, i, range, &mut outcome);
        }
    }
    if options.entropy != 0.0 && !rows.logp.is_empty() {
        let tokens = match options.aggregation {
            Aggregation::TokenMeanMicroSum => rows.logp.len(),
            _ => totals.tokens,
        };
        let weight = options.entropy / tokens as f64;
        outcome.loss -= weight * outcome.metrics.entropy;
        outcome.dentropy = Some(vec![-weight as f32; rows.logp.len()]);
    }
    outcome
}

/// Adds one row's loss, gradients and counts.
fn row(
    options: &Options,
    rows: Rows,
    totals: Totals,
    i: usize,
    range: Range<usize>,
    outcome: &mut Outcome<Sums>,
) {
    let length = range.len() as f64;
    let weight = match options.aggregation {
        Aggregation::SequenceMean => 1.0 / (totals.rows as f64 * length),
        Aggregation::Bnpo => 1.0 / (rows.logp.len() as f64 * totals.micro_batches as f64),
        Aggregation::TokenMean => 1.0 / totals.tokens as f64,
        Aggregation::DrGrpo => 1.0 / (totals.rows as f64 * totals.max_length as f64),
        Aggregation::SequenceSum => 1.0 / totals.rows as f64,
        Aggregation::TokenMeanMicroSum => 1.0 / rows.logp.len() as f64,
    };
    let advantage = f64::from(rows.advantages[i]);
    let gaps: Vec<Clamped> = range
        .clone()
        .map(|t| {
            let old = rows.old.map_or(rows.logp[t], |old| old[t]);
            Clamped::new(f64::from(rows.logp[t]) - f64::from(old), options.log_clamp)
        })
        .collect();
    let shared = gaps.iter().map(|gap| gap.value).sum::<f64>() / length;
    let (mut low, mut high) = (0, 0);
    // dL/d(log of the row's ratio), for a ratio shared by the row.
    let mut dshared = 0.0;
    for (t, gap) in range.clone().zip(&gaps) {
        let log_ratio = match options.ratio {
            Ratio::Token => gap.value,
            Ratio::Sequence => shared,
        };
        let ratio = log_ratio.exp();
        let policy = policy_term(options, ratio, advantage);
        let reference = rows.reference.map(|reference| reference[t]);
        let kl = reference.map(|reference| kl_of(options, rows.logp[t], reference));
        let sums = &mut outcome.metrics;
        let mut loss = policy.value;
        let mut dratio = policy.slope;
        let mut dlogp = 0.0;
        if let Some(kl) = &kl {
            let times = if options.kl_times_ratio { ratio } else { 1.0 };
            loss += options.beta * kl.value * times;
            dlogp += options.beta * kl.slope * times;
            if options.kl_times_ratio {
                dratio += options.beta * kl.value;
            }
            // TRL logs the term as it enters the loss.
            sums.kl = sums.kl.map(|sum| sum + kl.value * times);
        }
        let dlog = dratio * ratio;
        match options.ratio {
            Ratio::Token => dlogp += dlog * gap.slope,
            Ratio::Sequence => dshared += dlog,
        }
        outcome.loss += weight * loss;
        outcome.dlogp[t] = (weight * dlogp) as f32;
        sums.tokens += 1;
        sums.entropy += f64::from(rows.entropy[t]);
        sums.ratio += ratio;
        if let Some(sampler) = rows.sampler {
            let trainer = rows.old.map_or(rows.logp[t], |old| old[t]);
            let token = Mismatch::token(trainer, sampler[t]);
            sums.mismatch = Some(sums.mismatch.map_or(token, |sum| sum.and(token)));
        }
        let kl_bound = kl.is_some_and(|kl| kl.clamped);
        sums.clamped += usize::from(gap.slope == 0.0 || kl_bound);
        low += usize::from(ratio < 1.0 - options.clip_low && advantage < 0.0);
        high += usize::from(ratio > 1.0 + options.clip_high && advantage > 0.0);
    }
    if options.ratio == Ratio::Sequence {
        for (t, gap) in range.zip(&gaps) {
            outcome.dlogp[t] += (weight * dshared * gap.slope / length) as f32;
        }
        (low, high) = (low.min(1), high.min(1));
    }
    let counted = match options.ratio {
        Ratio::Token => gaps.len(),
        Ratio::Sequence => 1,
    };
    outcome.metrics.count(low, high, counted);
}

fn check(options: &Options, rows: Rows) {
    let n = rows.logp.len();
    assert!(
        rows.starts.len() == rows.advantages.len() + 1
            && rows.starts.first() == Some(&0)
            && rows.starts.last() == Some(&n),
        "the bounds of rows run from 0 to the number of tokens"
    );
    assert!(
        rows.entropy.len() == n
            && rows.old.is_none_or(|old| old.len() == n)
            && rows.reference.is_none_or(|reference| reference.len() == n)
            && rows.sampler.is_none_or(|sampler| sampler.len() == n),
        "one number per token"
    );
    assert!(
        options.beta == 0.0 || rows.reference.is_some(),
        "a KL term needs reference log-probabilities"
    );
}

/// One number per scored token: [row][scored token].
pub type PerToken = Vec<Vec<f32>>;

/// GRPO's loss of one window of rollouts.
pub struct GrpoObjective {
    pub options: Options,
    pub totals: Totals,
    /// One per row.
    pub advantages: Vec<f32>,
    /// Log-probabilities under the weights that sampled; None where those are the live ones.
    pub old: Option<PerToken>,
    /// Under the reference; None where no KL is wanted.
    pub reference: Option<PerToken>,
    /// As the sampler reported them.
    pub sampler: Option<PerToken>,
    pub sums: Sums,
}

impl Objective for GrpoObjective {
    fn share(&mut self, rows: Range<usize>, bounds: &[usize], scored: Scored) -> Outcome<()> {
        let of_rows = |all: &Option<PerToken>| all.as_ref().map(|all| all[rows.clone()].concat());
        let (old, reference) = (of_rows(&self.old), of_rows(&self.reference));
        let sampler = of_rows(&self.sampler);
        let batch = Rows {
            starts: bounds,
            advantages: &self.advantages[rows.clone()],
            logp: scored.logp,
            old: old.as_deref(),
            reference: reference.as_deref(),
            sampler: sampler.as_deref(),
            entropy: scored.entropy,
        };
        let (outcome, sums) = grpo(&self.options, batch, self.totals).part();
        self.sums.merge(&sums);
        outcome
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        self.sums.named()
    }
}
