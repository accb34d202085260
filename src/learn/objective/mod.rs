//! Objectives: from log-probabilities to a loss, its gradient by log-probability and entropy, and metrics.
//!
//! They see small arrays only, one number per scored token. Denominators cover the whole optimizer window and are
//! passed in, so losses and gradients of micro-batches add up to those of the window. Knows no decoder.

pub mod advantage;
pub mod dpo;
pub mod grpo;
pub mod rerouting;
pub mod sft;

use rerouting::StateObjective;
use std::ops::Range;

/// What is lost on a window, by what it looks at.
pub enum Goal<'a> {
    /// Log-probabilities of the scored tokens.
    Logp(Box<dyn Objective + 'a>),
    /// Hidden states of all tokens, with the adapter on and off.
    States(Box<dyn StateObjective + 'a>),
}

impl Goal<'_> {
    /// So many consecutive rows belong together: they come in one micro-batch.
    pub fn unit(&self) -> usize {
        match self {
            Goal::Logp(objective) => objective.unit(),
            Goal::States(_) => 1,
        }
    }

    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        match self {
            Goal::Logp(objective) => objective.metrics(),
            Goal::States(objective) => objective.metrics(),
        }
    }
}

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

/// Per scored token, the rows of a micro-batch one after another.
pub struct Scored<'a> {
    pub logp: &'a [f32],
    pub entropy: &'a [f32],
    pub greedy_hit: &'a [bool],
}

/// What is lost on the window of one optimizer step. It knows the window's denominators and gathers its metrics as the
/// micro-batches pass.
pub trait Objective {
    /// So many consecutive rows belong together: they come in one micro-batch.
    fn unit(&self) -> usize {
        1
    }

    /// `rows` are the window's rows in this micro-batch; row `rows.start + i` has the scored tokens
    /// `bounds[i]..bounds[i + 1]`.
    fn share(&mut self, rows: Range<usize>, bounds: &[usize], scored: Scored) -> Outcome<()>;

    /// Over the whole window, once every row has passed.
    fn metrics(&self) -> Vec<(&'static str, f64)>;
}

impl<M> Outcome<M> {
    /// The outcome without its metrics, and those.
    fn part(self) -> (Outcome<()>, M) {
        let Outcome {
            loss,
            dlogp,
            dentropy,
            metrics,
        } = self;
        (
            Outcome {
                loss,
                dlogp,
                dentropy,
                metrics: (),
            },
            metrics,
        )
    }
}
