//! Objectives: from log-probabilities to a loss, its gradient by log-probability and entropy, and metrics.
//!
//! They see small arrays only, one number per scored token. Denominators cover the whole optimizer window and are
//! passed in, so losses and gradients of micro-batches add up to those of the window. Knows no decoder.

pub mod advantage;
pub mod grpo;
pub mod sft;

/// What an objective returns for one micro-batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<M> {
    /// This micro-batch's share of the window's loss: shares add up.
    pub loss: f64,
    /// dL/dlogp of each scored token.
    pub dlogp: Vec<f32>,
    /// dL/dentropy of each scored token, where the objective rewards entropy.
    pub dentropy: Option<Vec<f32>>,
    pub metrics: M,
}
