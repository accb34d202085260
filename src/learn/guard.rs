//! Guards: what stops a run that has gone wrong, with a named cause and its numbers, before the step touches the weights.
//!
//! A guard sees the metrics of every step and nothing else, so it can be brought up to date from a curve: a resumed run
//! stops where one that was never interrupted would have. What counts as wrong:
//!
//! - **not finite**: the loss, the gradient's norm or any metric is NaN or infinite. Cannot be switched off.
//! - **exploding gradient**: norm > `grad_norm` max(m, 1), with m the median norm of the last 64 steps, at least 16 of
//!   them. Clipping hides such a step from the loss, not from Adam's moments. The 1 is there because steps of RL that have
//!   nothing to say have norms near 0, and the first that has would be a thousand medians.
//! - **entropy collapse**: the mean entropy of the policy is below `entropy` nats for `entropy_steps` steps in a row. Such
//!   a policy says one thing only, so its rollouts have nothing to compare.
//! - **dead reward**: every group of rollouts got one reward, for `flat_steps` steps in a row, so there is no advantage and
//!   nothing to learn. A run that did learn and now gets at least its best reward everywhere has not died, it has arrived:
//!   those steps do not count.
//!
//! - **stale sampler**: rollouts come from a server whose log-probabilities are not those of the live weights. The mean gap
//!   is above `sampler_gap` nats a token, or more than twice the gap to the weights that training began as, which are then
//!   what the server still has, whatever it says of its version. Seen when rollouts come, before anything is made of them.
//!
//! Zero switches a guard off. Knows no files, no parameters' names beyond those in its advice, and no optimizer.

use std::collections::VecDeque;
use std::fmt;

/// Norms that the median is taken over, and how many it takes at least.
const WINDOW: usize = 64;
const ENOUGH: usize = 16;

/// When a run is stopped; 0 is never.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// In medians.
    pub grad_norm: f64,
    /// In nats.
    pub entropy: f64,
    pub entropy_steps: u64,
    pub flat_steps: u64,
    /// In nats a token.
    pub sampler_gap: f64,
}

/// How far a server's log-probabilities of its rollouts are from our own, in nats a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// Of absolute differences to the live weights.
    pub mean: f64,
    pub max: f64,
    /// Of a few rollouts, where the weights that training began as are at hand and others: the mean to the live ones, and to those.
    pub probe: Option<(f64, f64)>,
}

impl Gap {
    /// Differences below this are those of two computations of one thing.
    const NOISE: f64 = 1e-4;

    /// What is wrong with rollouts that have it.
    pub fn cause(&self, limit: f64) -> Option<Cause> {
        let Gap { mean, probe, .. } = *self;
        let old = probe.filter(|(live, start)| *live > 2.0 * start + Gap::NOISE);
        let stale = limit > 0.0 && (old.is_some() || mean > limit || mean.is_nan());
        stale.then_some(Cause::StaleSampler {
            gap: old.map_or(mean, |(live, _)| live),
            limit,
            start: old.map(|(_, start)| start),
        })
    }
}

/// Why a run was stopped.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    NotFinite {
        what: String,
        value: f64,
        /// The row and token that it came of, where that is known.
        at: Option<String>,
    },
    ExplodingGradient {
        norm: f64,
        median: f64,
        factor: f64,
    },
    EntropyCollapse {
        entropy: f64,
        floor: f64,
        steps: u64,
    },
    DeadReward {
        /// None: nothing had one.
        reward: Option<f64>,
        steps: u64,
    },
    StaleSampler {
        gap: f64,
        limit: f64,
        /// The gap to the weights that training began as, where the server has those.
        start: Option<f64>,
    },
}

/// The error of a run that a guard stopped: the weights are those before this step.
#[derive(Clone, Debug, PartialEq)]
pub struct Tripped {
    pub step: u64,
    pub cause: Cause,
}

impl Tripped {
    /// States of fewer steps than this gave no reason for complaint.
    pub fn good_before(&self) -> u64 {
        match &self.cause {
            Cause::NotFinite { .. } => self.step - 1,
            Cause::ExplodingGradient { .. } | Cause::StaleSampler { .. } => self.step,
            // The weights of `n` steps are measured in step n + 1.
            Cause::EntropyCollapse { steps, .. } | Cause::DeadReward { steps, .. } => {
                self.step - steps
            }
        }
    }

    /// Whether the weights themselves give nothing finite, so that nobody could go on from them.
    pub fn broken(&self) -> bool {
        matches!(self.cause, Cause::NotFinite { .. })
    }
}

impl fmt::Display for Tripped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step;
        match &self.cause {
            Cause::NotFinite { what, value, at } => {
                write!(f, "not finite: `{what}` is {value} at step {step}")?;
                if let Some(at) = at {
                    write!(f, " ({at})")?;
                }
                f.write_str(match step {
                    1 => {
                        ": nothing was learned yet, so the model that training began with overflows or is broken"
                    }
                    _ => ": training diverged; a lower `lr` may help",
                })
            }
            Cause::ExplodingGradient {
                norm,
                median,
                factor,
            } => write!(
                f,
                "exploding gradient: its norm is {norm:.4} at step {step}, beyond {factor} times the median {median:.4} \
                 of the steps before; try a lower `lr` or a longer warm-up, or raise `guard.grad_norm` (0 is off)"
            ),
            Cause::EntropyCollapse {
                entropy,
                floor,
                steps,
            } => write!(
                f,
                "entropy collapse: the policy's mean entropy is {entropy:.3e} nats at step {step}, below {floor:.3e} for \
                 {steps} steps in a row; try a lower `lr`, more `entropy_coefficient` or `kl.coefficient`, or lower \
                 `guard.entropy` (0 is off)"
            ),
            Cause::DeadReward { reward, steps } => {
                let mean = reward.map_or("none has a reward".into(), |mean| {
                    format!("mean reward {mean:.4}")
                });
                write!(
                    f,
                    "dead reward: no group of rollouts had two different rewards for {steps} steps in a row, up to step \
                     {step} ({mean}), so there is nothing to learn; look at the rollouts with a `probe`, give \
                     a reward that they can earn in part, or raise `guard.flat_steps` (0 is off)"
                )
            }
            Cause::StaleSampler { gap, limit, start } => {
                write!(
                    f,
                    "stale sampler: the log-probabilities of the served rollouts are {gap:.2e} nats a token from those of the \
                     weights at step {step}"
                )?;
                match start {
                    Some(start) => write!(
                        f,
                        " and {start:.2e} from those that training began as: the server still has the old weights, \
                         whatever version it says; look at its log, and start it anew"
                    ),
                    None => write!(
                        f,
                        ", beyond {limit:.2e}: it has other weights, or its log-probabilities are not at the sampling \
                         temperature (vLLM: `--logprobs-mode processed_logprobs`), or it computes too coarsely: raise \
                         `guard.sampler_gap` (0 is off)"
                    ),
                }
            }
        }
    }
}

impl std::error::Error for Tripped {}

/// An error where a loss is not finite, which names the row that made it so.
pub(crate) fn finite_loss(step: u64, loss: f64, at: Option<String>) -> Result<(), Tripped> {
    finite(step, "loss", loss).map_err(|tripped| Tripped {
        cause: Cause::NotFinite {
            what: "loss".into(),
            value: loss,
            at,
        },
        ..tripped
    })
}

/// An error unless the number is one.
pub fn finite(step: u64, what: &str, value: f64) -> Result<(), Tripped> {
    if value.is_finite() {
        return Ok(());
    }
    let what = what.to_string();
    Err(Tripped {
        step,
        cause: Cause::NotFinite {
            what,
            value,
            at: None,
        },
    })
}

/// The guards of one run.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    limits: Limits,
    /// Of the last steps, oldest first.
    norms: VecDeque<f64>,
    /// Steps in a row below the entropy's floor.
    low: u64,
    /// Steps in a row without a spread that count.
    flat: u64,
    /// Whether some group ever had a spread, and the best mean reward of a step.
    lively: bool,
    best: Option<f64>,
}

impl Guard {
    pub fn new(limits: Limits) -> Guard {
        Guard {
            limits,
            ..Guard::default()
        }
    }

    /// Whether some metric has been wrong for a while, not yet for long enough to stop.
    pub fn suspicious(&self) -> bool {
        self.low > 0 || self.flat > 0
    }

    /// The metrics of a step, before its update. Sees each step once.
    pub fn check(&mut self, step: u64, metrics: &[(String, f64)]) -> Result<(), Tripped> {
        for (name, value) in metrics {
            finite(step, name, *value)?;
        }
        let value = |name: &str| metrics.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        // All of them are asked, so that each has seen the step.
        let causes = [
            value("grad_norm").and_then(|norm| self.exploding(norm)),
            value("entropy").and_then(|entropy| self.collapsing(entropy)),
            value("frac_reward_zero_std").and_then(|flat| self.dying(flat, value("reward"))),
        ];
        match causes.into_iter().flatten().next() {
            Some(cause) => Err(Tripped { step, cause }),
            None => Ok(()),
        }
    }

    fn exploding(&mut self, norm: f64) -> Option<Cause> {
        let factor = self.limits.grad_norm;
        let median = (self.norms.len() >= ENOUGH).then(|| median(&self.norms));
        self.norms.push_back(norm);
        if self.norms.len() > WINDOW {
            self.norms.pop_front();
        }
        let median = median.filter(|m| factor > 0.0 && norm > factor * m.max(1.0))?;
        Some(Cause::ExplodingGradient {
            norm,
            median,
            factor,
        })
    }

    fn collapsing(&mut self, entropy: f64) -> Option<Cause> {
        let (floor, most) = (self.limits.entropy, self.limits.entropy_steps);
        self.low = if entropy < floor { self.low + 1 } else { 0 };
        (most > 0 && self.low >= most).then_some(Cause::EntropyCollapse {
            entropy,
            floor,
            steps: self.low,
        })
    }

    fn dying(&mut self, flat: f64, reward: Option<f64>) -> Option<Cause> {
        let most = self.limits.flat_steps;
        let arrived = self.lively && self.best.is_some_and(|best| reward >= Some(best));
        self.lively |= flat < 1.0;
        self.best = self.best.into_iter().chain(reward).reduce(f64::max);
        let counts = most > 0 && flat >= 1.0 && !arrived;
        self.flat = if counts { self.flat + 1 } else { 0 };
        (most > 0 && self.flat >= most).then_some(Cause::DeadReward {
            reward,
            steps: self.flat,
        })
    }
}

fn median(numbers: &VecDeque<f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.iter().copied().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0
}
