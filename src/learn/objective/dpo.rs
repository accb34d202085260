//! Direct preference optimisation (Rafailov et al. 2023) and its kin, on pairs of a chosen and a rejected answer.
//!
//! With c, r the summed log-probabilities of the two answers, c0, r0 those of the reference and n_w, n_l their tokens (end
//! of turn included): h_w = c - c0, h_l = r - r0, D = h_w - h_l, N = h_w / n_w - h_l / n_l, s = log sigmoid. Per pair:
//!
//!   sigmoid       -s(beta D)                                                Rafailov et al. 2023, eq. 7
//!   cdpo          -(1 - e) s(beta D) - e s(-beta D)                         Mitchell 2023: a share e of labels is wrong
//!   robust        (-(1 - e) s(beta D) + e s(-beta D)) / (1 - 2 e)           Chowdhury et al. 2024: unbiased, e < 1/2
//!   ipo           (N - 1 / (2 beta))^2                                      Azar et al. 2024, eq. 17
//!   sigmoid-norm  -s(beta N)                                                Lambert et al. 2024 (Tulu 3)
//!
//! and the loss is the mean over the window's pairs. RPO (Pang et al. 2024; TARS's DPO baseline) adds `nll_coefficient` times the
//! negative log-probability per token of the chosen answers: the mean over pairs of -c / n_w, or -sum(c) / sum(n_w).
//!
//! Departures: IPO averages over tokens, as TRL does with its authors' word (the paper sums); label smoothing is a property
//! of `cdpo` and `robust` alone, where TRL 1.16 accepts it for `sigmoid` and ignores it.

use super::{Objective, Outcome, Scored};
use base::params::Bounds;
use base::setup::Acts;
use base::{choice, params};
use std::ops::Range;

choice! {
    /// What a pair loses.
    pub enum Loss {
        Sigmoid = "sigmoid",
        Cdpo = "cdpo",
        Robust = "robust",
        Ipo = "ipo",
        SigmoidNorm = "sigmoid-norm",
    }
}
choice! {
    /// Over what the negative log-probability of the chosen answers is a mean.
    pub enum NllMean {
        /// The pairs, each with the mean over its tokens (RPO).
        Pair = "pair",
        /// All tokens of the window (TRL's `sft` beside `sigmoid`).
        Token = "token",
    }
}

const BETA: Bounds = Bounds::above(0.0, 1e4, "at 0 no answer is better than another");
const SMOOTHING: Bounds = Bounds::within(
    0.0,
    0.499,
    "where half of the labels are wrong, nothing is left to learn",
);
const NLL: Bounds = Bounds::within(0.0, 1e6, "a term beside one of weight 1");
const WITH_NLL: Acts = Acts::only("where `nll_coefficient` is above 0", |s| {
    s.exceeds("nll_coefficient", 0.0)
});

params! {
    pub struct Options {
        /// `sigmoid` is DPO, `cdpo` and `robust` assume wrong labels, `ipo` regresses to a margin, `sigmoid-norm` compares
        /// log-probabilities per token.
        loss: Loss = Loss::Sigmoid;
        /// How strongly the reference holds: rewards are beta times the log-ratio to it.
        beta: f64 = 0.01, in BETA;
        /// Share of pairs whose label is taken to be wrong; `cdpo` and `robust` only.
        label_smoothing: f64 = 0.0, in SMOOTHING;
        /// Weight of the chosen answers' negative log-probability per token: above 0, sigmoid is RPO.
        nll_coefficient: f64 = 3.0, in NLL;
        /// Mean over a pair's tokens and then over pairs (`pair`), or over all tokens of the step (`token`).
        nll_mean: NllMean = NllMean::Pair, if WITH_NLL;
    }
}

/// Denominators over the whole optimizer window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub pairs: usize,
    /// Tokens of the chosen answers.
    pub chosen_tokens: usize,
}

/// Pairs one after another, each its chosen row and then its rejected one. Row i's tokens are `starts[i]..starts[i + 1]`
/// of the arrays; no row is empty.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// 2 pairs + 1 bounds.
    pub starts: &'a [usize],
    pub logp: &'a [f32],
    pub entropy: &'a [f32],
    pub greedy_hit: &'a [bool],
    /// Summed log-probability of each row under the reference.
    pub reference: &'a [f64],
}

/// Sums over pairs and tokens; those of micro-batches add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    pub pairs: usize,
    /// beta h_w and beta h_l.
    pub reward_chosen: f64,
    pub reward_rejected: f64,
    /// Pairs with h_w > h_l.
    pub right: usize,
    pub logp_chosen: f64,
    pub logp_rejected: f64,
    pub tokens: usize,
    pub entropy: f64,
    pub chosen_tokens: usize,
    /// Tokens of chosen answers that are the most probable ones.
    pub hits: usize,
}

impl Sums {
    pub fn merge(&mut self, other: &Sums) {
        self.pairs += other.pairs;
        self.reward_chosen += other.reward_chosen;
        self.reward_rejected += other.reward_rejected;
        self.right += other.right;
        self.logp_chosen += other.logp_chosen;
        self.logp_rejected += other.logp_rejected;
        self.tokens += other.tokens;
        self.entropy += other.entropy;
        self.chosen_tokens += other.chosen_tokens;
        self.hits += other.hits;
    }

    /// Means under TRL's names; empty without pairs. `nll_loss` is per token of the chosen answers.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        if self.pairs == 0 {
            return Vec::new();
        }
        let (pairs, chosen) = (self.pairs as f64, self.chosen_tokens as f64);
        let margin = self.reward_chosen - self.reward_rejected;
        vec![
            ("rewards/chosen", self.reward_chosen / pairs),
            ("rewards/rejected", self.reward_rejected / pairs),
            ("rewards/accuracies", self.right as f64 / pairs),
            ("rewards/margins", margin / pairs),
            ("logps/chosen", self.logp_chosen / pairs),
            ("logps/rejected", self.logp_rejected / pairs),
            ("nll_loss", -self.logp_chosen / chosen),
            ("entropy", self.entropy / self.tokens as f64),
            ("mean_token_accuracy", self.hits as f64 / chosen),
        ]
    }
}

/// One pair: what it loses and how that hangs on its rewards. [0] is the chosen answer, [1] the rejected one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairLoss {
    pub loss: f64,
    /// beta h.
    pub rewards: [f64; 2],
    /// dL/dlogp, the same for every token of a row.
    pub slopes: [f64; 2],
}

/// The loss of one pair, without the chosen answer's negative log-probability. `logps` and `reference` are sums over `tokens`.
pub fn pair(
    options: &Options,
    logps: [f64; 2],
    reference: [f64; 2],
    tokens: [usize; 2],
) -> PairLoss {
    let (beta, wrong) = (options.beta, options.label_smoothing);
    let h = [logps[0] - reference[0], logps[1] - reference[1]];
    let share = match options.loss {
        Loss::Ipo | Loss::SigmoidNorm => tokens.map(|n| 1.0 / n as f64),
        _ => [1.0, 1.0],
    };
    let margin = h[0] * share[0] - h[1] * share[1];
    let (loss, slope) = match options.loss {
        Loss::Sigmoid | Loss::SigmoidNorm => smoothed(beta, margin, 0.0),
        Loss::Cdpo => smoothed(beta, margin, wrong),
        Loss::Robust => {
            // The smoothed loss with -e for e, over 1 - 2e.
            let (right, flipped) = (smoothed(beta, margin, 0.0), smoothed(beta, margin, 1.0));
            let mix = |a: f64, b: f64| ((1.0 - wrong) * a - wrong * b) / (1.0 - 2.0 * wrong);
            (mix(right.0, flipped.0), mix(right.1, flipped.1))
        }
        Loss::Ipo => {
            let off = margin - 1.0 / (2.0 * beta);
            (off * off, 2.0 * off)
        }
    };
    PairLoss {
        loss,
        rewards: h.map(|h| beta * h),
        slopes: [slope * share[0], -slope * share[1]],
    }
}

/// -(1 - e) s(beta m) - e s(-beta m) and its slope by m.
fn smoothed(beta: f64, margin: f64, wrong: f64) -> (f64, f64) {
    let x = beta * margin;
    let loss = -(1.0 - wrong) * log_sigmoid(x) - wrong * log_sigmoid(-x);
    let slope = beta * (wrong * sigmoid(x) - (1.0 - wrong) * sigmoid(-x));
    (loss, slope)
}

fn sigmoid(x: f64) -> f64 {
    log_sigmoid(x).exp()
}

fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

pub fn dpo(options: &Options, pairs: Pairs, window: Window) -> Outcome<Sums> {
    check(options, pairs);
    let mut outcome = Outcome {
        loss: 0.0,
        dlogp: vec![0.0; pairs.logp.len()],
        dentropy: None,
        metrics: Sums::default(),
    };
    let each = 1.0 / window.pairs as f64;
    for i in (0..pairs.reference.len()).step_by(2) {
        let rows = [i, i + 1].map(|row| pairs.starts[row]..pairs.starts[row + 1]);
        let [logps, entropies] = [pairs.logp, pairs.entropy].map(|list| {
            let sum = |row: &Range<usize>| list[row.clone()].iter().map(|&x| f64::from(x)).sum();
            [sum(&rows[0]), sum(&rows[1])]
        });
        let lengths = [rows[0].len(), rows[1].len()];
        let reference = [pairs.reference[i], pairs.reference[i + 1]];
        let one = pair(options, logps, reference, lengths);
        let nll = match options.nll_mean {
            NllMean::Pair => options.nll_coefficient * each / lengths[0] as f64,
            NllMean::Token => options.nll_coefficient / window.chosen_tokens as f64,
        };
        outcome.loss += each * one.loss - nll * logps[0];
        let slopes = [each * one.slopes[0] - nll, each * one.slopes[1]];
        for (row, slope) in rows.iter().zip(slopes) {
            outcome.dlogp[row.clone()].fill(slope as f32);
        }
        let hits = pairs.greedy_hit[rows[0].clone()].iter();
        outcome.metrics.merge(&Sums {
            pairs: 1,
            reward_chosen: one.rewards[0],
            reward_rejected: one.rewards[1],
            right: usize::from(one.rewards[0] > one.rewards[1]),
            logp_chosen: logps[0],
            logp_rejected: logps[1],
            tokens: lengths[0] + lengths[1],
            entropy: entropies[0] + entropies[1],
            chosen_tokens: lengths[0],
            hits: hits.filter(|&&hit| hit).count(),
        });
    }
    outcome
}

fn check(options: &Options, pairs: Pairs) {
    let n = pairs.logp.len();
    assert!(
        pairs.reference.len().is_multiple_of(2)
            && pairs.starts.len() == pairs.reference.len() + 1
            && pairs.starts.first() == Some(&0)
            && pairs.starts.last() == Some(&n)
            && pairs.starts.windows(2).all(|b| b[0] < b[1]),
        "pairs are whole and their rows hold tokens"
    );
    assert!(
        pairs.entropy.len() == n && pairs.greedy_hit.len() == n,
        "one number per token"
    );
    assert!(
        (0.0..0.5).contains(&options.label_smoothing),
        "fewer than half of the labels are wrong"
    );
}

/// The loss of one window of pairs, its rows chosen and rejected by turns.
pub struct DpoWindow {
    pub options: Options,
    pub window: Window,
    /// Summed log-probability of each row under the reference.
    pub reference: Vec<f64>,
    pub sums: Sums,
}

impl Objective for DpoWindow {
    /// What a row loses is known only with its partner.
    fn unit(&self) -> usize {
        2
    }

    fn share(&mut self, rows: Range<usize>, bounds: &[usize], scored: Scored) -> Outcome<()> {
        let pairs = Pairs {
            starts: bounds,
            logp: scored.logp,
            entropy: scored.entropy,
            greedy_hit: scored.greedy_hit,
            reference: &self.reference[rows],
        };
        let (outcome, sums) = dpo(&self.options, pairs, self.window).part();
        self.sums.merge(&sums);
        outcome
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        self.sums.named()
    }
}
