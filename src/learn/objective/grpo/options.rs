//! What a recipe chooses of GRPO: aggregation, ratio, estimator of the KL, and the numbers that go with them.

use base::choice;

choice! {
    /// How token losses become one number.
    pub enum Aggregation {
        /// Mean over all tokens of the window (DAPO; verl's token-mean).
        TokenMean = "token-mean",
        /// Mean over rows of the mean over a row's tokens (TRL's grpo; verl's seq-mean-token-mean).
        SequenceMean = "sequence-mean",
        /// Mean over rows of the sum over a row's tokens (verl's seq-mean-token-sum).
        SequenceSum = "sequence-sum",
        /// Sum over tokens by rows times `max_length` (Dr. GRPO).
        DrGrpo = "dr-grpo",
        /// Mean over the tokens of the micro-batch, then over micro-batches: depends on how a window is split.
        Bnpo = "bnpo",
        /// Mean over the tokens of the micro-batch, summed over micro-batches, entropy included: what the TARS release does,
        /// whose loss and gradient grow with the number of micro-batches.
        TokenMeanMicroSum = "token-mean-micro-sum",
    }
}
choice! {
    /// Estimator of the KL to the reference.
    pub enum Kl { K1 = "k1", K2 = "k2", K3 = "k3" }
}
choice! {
    /// What is clipped: each token's ratio, or one a rollout (GSPO).
    pub enum Ratio { Token = "token", Sequence = "sequence" }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub aggregation: Aggregation,
    pub ratio: Ratio,
    /// Clip range 1 - `clip_low` ..= 1 + `clip_high`.
    pub clip_low: f64,
    pub clip_high: f64,
    /// Upper bound of the unclipped ratio.
    pub delta: Option<f64>,
    /// Dual clip, above 1.
    pub dual_clip: Option<f64>,
    pub kl: Kl,
    /// Coefficient of the KL term; 0 needs no reference.
    pub beta: f64,
    /// Multiplies the KL term by the ratio.
    pub kl_times_ratio: bool,
    /// logp - old and d are cut to +- this (verl: 20). No gradient flows where it binds.
    pub log_clamp: Option<f64>,
    /// The KL term is cut to +- this (verl: 10). No gradient flows where it binds.
    pub kl_clamp: Option<f64>,
    /// Coefficient of the mean entropy.
    pub entropy: f64,
}

impl Default for Options {
    /// Token mean, clip 0.2, k3, no KL, no entropy term.
    fn default() -> Options {
        Options {
            aggregation: Aggregation::TokenMean,
            ratio: Ratio::Token,
            clip_low: 0.2,
            clip_high: 0.2,
            delta: None,
            dual_clip: None,
            kl: Kl::K3,
            beta: 0.0,
            kl_times_ratio: false,
            log_clamp: None,
            kl_clamp: None,
            entropy: 0.0,
        }
    }
}
