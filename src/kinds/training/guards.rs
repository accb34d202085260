//! The parameters of the guards (`learn::guard`): the block `guard` of training kinds.
//!
//! They are execution parameters: they decide whether a run ends well, never how it ends. So a run that they stopped has
//! the same key under other guards, and goes on from its last checkpoint; and a hit does not ask under which it was made.
//! The defaults are far from a healthy run: in `recipes/tars.toml` norms stay within 4 medians, the policy's entropy above
//! 0.18 nats, and at most 0.81 of a step's groups have no spread.

use crate::shared::bounds;
use base::params;
use base::setup::Acts;
use learn::guard::Limits;

params! {
    /// What ends a run that has gone wrong, with its numbers and its last good checkpoint.
    pub struct Guards {
        /// The node fails when the gradient's norm is above so many times the median of the last 64 steps, and above this
        /// number itself. 0: never.
        grad_norm: f64 = 100.0, in bounds::GUARD;
    }
}

const WATCHED: Acts = Acts::only("where `guard.entropy_steps` is above 0", |s| {
    s.exceeds("guard.entropy_steps", 0.0)
});

const SERVED: Acts = Acts::only("where `sampler` is `served`", |s| {
    s.says("sampler", "served")
});

params! {
    /// What ends a run that has gone wrong, with its numbers and its last good checkpoint.
    pub struct RolloutGuards {
        /// The node fails when the policy's mean entropy is below so many nats …
        entropy: f64 = 1e-3, in bounds::GUARD, if WATCHED;
        /// … for so many steps in a row. 0: never.
        entropy_steps: u64 = 20, in bounds::GUARD;
        /// The node fails when no group of rollouts has two different rewards for so many steps in a row; steps at the best
        /// reward of the run do not count once it has learned. 0: never.
        flat_steps: u64 = 20, in bounds::GUARD;
        /// The node fails when the log-probabilities of served rollouts are more nats a token from our own on average, or nearer to
        /// those of the weights that it began as: the server then has other weights than it was given. 0: never.
        sampler_gap: f64 = 0.1, in bounds::GUARD, if SERVED;
    }
    with { common: Guards }
}

impl Guards {
    pub fn limits(&self) -> Limits {
        Limits {
            grad_norm: self.grad_norm,
            ..Limits::default()
        }
    }
}

impl RolloutGuards {
    pub fn limits(&self) -> Limits {
        Limits {
            entropy: self.entropy,
            entropy_steps: self.entropy_steps,
            flat_steps: self.flat_steps,
            sampler_gap: self.sampler_gap,
            ..self.common.limits()
        }
    }
}
