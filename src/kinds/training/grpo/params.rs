//! The parameters of the kind `grpo`.

use crate::scorers::params::{ScorerEndpoints, ScorerParams};
use crate::scorers::reward;
use crate::shared::bounds;
use crate::training::RolloutGuards;
use crate::training::lora::Lora;
use anyhow::{Result, bail};
use base::params::Problem;
use base::setup::Acts;
use base::{choice, params};
use learn::objective::advantage::Advantage;
use learn::objective::grpo::{Aggregation, Kl, Ratio};
use learn::optim::Optim;
use services::endpoint::{Endpoint, Secret};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

choice! {
    /// What the KL is a part of.
    pub enum AppliedTo { Loss = "loss", Reward = "reward" }
}
choice! {
    /// Who samples rollouts.
    pub enum Sampler { Local = "local", Served = "served" }
}
choice! {
    /// What happens to groups whose rewards are all the same.
    pub enum ZeroVariance { Keep = "keep", Drop = "drop" }
}
choice! {
    /// What happens to rollouts whose reward is no number.
    pub enum Unscorable { Fail = "fail", Zero = "zero", Mask = "mask" }
}
choice! {
    /// What happens to rollouts that ran into the length limit.
    pub enum Truncated { Penalise = "penalise", Score = "score", Mask = "mask" }
}

const HELD: Acts = Acts::only("where `kl.coefficient` is above 0", |s| {
    s.exceeds("kl.coefficient", 0.0)
});
/// On-policy the ratio is 1.
const REUSED: Acts = Acts::only("where `updates` is above 1", |s| s.exceeds("updates", 1.0));
const BOUNDED: Acts = Acts::only("where `updates` is above 1, or it is below 1 itself", |s| {
    s.exceeds("updates", 1.0) || !s.reaches("clip.delta", 1.0)
});
const LOGGED: Acts = Acts::only(
    "where `updates` is above 1 or `kl.coefficient` above 0",
    |s| s.exceeds("updates", 1.0) || s.exceeds("kl.coefficient", 0.0),
);
const WEIGHED: Acts = Acts::only(
    "where `updates` is above 1, or with `kl.times_ratio`",
    |s| s.exceeds("updates", 1.0) || s.is_on("kl.times_ratio"),
);
const DIVIDED: Acts = Acts::only("where `advantage` is `group` or `batch`", |s| {
    s.says("advantage", "group") || s.says("advantage", "batch")
});
const SERVED: Acts = Acts::only("where `sampler` is `served`", |s| {
    s.says("sampler", "served")
});
const LOCAL: Acts = Acts::only("where `sampler` is `local`", |s| s.says("sampler", "local"));
const VALIDATED: Acts = Acts::only("with prompts at the port `validation`", |s| {
    s.connected("validation")
});

params! {
    /// How the ratio to the weights that sampled is bounded.
    pub struct Clip {
        /// It is clipped to 1 - low …
        low: f64 = 0.2, in bounds::SHARE, if REUSED;
        /// … and 1 + high (DAPO: 0.28).
        high: f64 = 0.2, in bounds::CLIP_HIGH, if REUSED;
        /// Dual clip: where the advantage is negative, the loss is at most -dual times it (verl's `clip_ratio_c`: 3).
        dual: Option<f64> = None, in bounds::DUAL_CLIP, if REUSED, was "dual_clip";
        /// Upper bound of the ratio before the minimum with the clipped one (two-sided clipping; TRL's `delta`).
        delta: Option<f64> = None, in bounds::CLAMP, if BOUNDED, was "delta";
    }
}

params! {
    /// The KL to the model that training began as.
    pub struct KlPenalty {
        /// Its weight; 0 needs no reference.
        coefficient: f64 = 1e-3, in bounds::COEFFICIENT;
        /// k1 = -d, k2 = d²/2, k3 = exp(d) - d - 1, with d the reference's log-ratio. k1 in the loss has no gradient on
        /// average.
        estimator: Kl = Kl::K3, if HELD, was "kl";
        /// A term of the loss (`loss`), or taken off the reward before advantages, summed over the rollout's tokens by the
        /// sampler's own log-probabilities (`reward`).
        applied_to: AppliedTo = AppliedTo::Loss, if HELD, was "kl_in";
        /// Multiplies the term by the ratio (TRL's `use_bias_correction_kl`).
        times_ratio: bool = false, if HELD;
        /// The KL of a token is cut to ± this (TARS release: 10). Where it binds there is no gradient; counted as `clamped`.
        clamp: Option<f64> = None, in bounds::CLAMP, if HELD;
    }
}

params! {
    pub struct Params {
        /// Reward expression of each prompt class, over scorers: `{ harmful = "format * safety", … }`.
        reward: BTreeMap<String, String>;
        /// Safety scores at or above this count as 1.
        safety_snap: f64 = 0.9, in bounds::SHARE, if reward::SNAPPED;
        /// Optimizer steps.
        steps: u64, in bounds::STEPS;
        /// Prompts a step.
        batch: usize = 32, in bounds::BATCH;
        /// Rollouts a prompt.
        group: usize = 8, in bounds::GROUP;
        /// Who samples: the node itself (`local`), or a server such as vLLM's at `rollouts.url` (`served`), which is given the weights of
        /// every step. Served rollouts are kept before they are used, and their behaviour log-probabilities are those of the node's
        /// own forward pass; how far the server's are from these is measured, and a guard.
        sampler: Sampler = Sampler::Local;
        /// Sampling temperature; the trainer's logits are divided by it too.
        temperature: f64 = 0.6, in bounds::WARM;
        /// Tokens a rollout may have.
        max_new_tokens: usize = 4096, in bounds::TOKENS;
        /// Rollouts that ran into the limit: reward 0 (`penalise`, as in the TARS release), scored as they are (`score`), or
        /// left out of groups and loss (`mask`). Counted as `completions/clipped_ratio`.
        truncated: Truncated = Truncated::Penalise;
        /// Rollouts whose reward is no number, because a scorer had no score or the expression has no finite value: an error
        /// (`fail`), reward 0 (`zero`), or left out of groups and loss (`mask`). Counted as `frac_unscorable`.
        unscorable: Unscorable = Unscorable::Fail;
        /// Groups whose rewards are all the same have advantage 0: they stay, for the KL, the entropy and the denominators
        /// (`keep`), or leave the step (`drop`). Counted as `frac_reward_zero_std`. A step that nothing is left of is
        /// skipped and counted.
        zero_variance: ZeroVariance = ZeroVariance::Keep;
        /// Optimizer steps on the same rollouts, each on all of them. With 1 the ratio is 1 and no clip binds.
        updates: u64 = 1, in bounds::UPDATES;
        /// The ratio of each token (`token`), or of the whole rollout, its tokens' geometric mean (`sequence`: GSPO).
        ratio: Ratio = Ratio::Token, if WEIGHED;
        /// Log-ratios are cut to ± this (TARS release: 20). Where it binds there is no gradient; counted as `clamped`.
        log_ratio_clamp: Option<f64> = None, in bounds::CLAMP, if LOGGED;
        /// Weight of the entropy bonus.
        entropy_coefficient: f64 = 1e-3, in bounds::COEFFICIENT;
        /// How token losses become one number: mean over the step's tokens (`token-mean`; TRL's dapo), over rollouts of the
        /// mean over their tokens (`sequence-mean`; TRL's grpo) or of their sum (`sequence-sum`), sum over rollouts times
        /// `max_new_tokens` (`dr-grpo`), mean over a micro-batch's tokens and then over micro-batches (`bnpo`) or summed over
        /// them (`token-mean-micro-sum`; the TARS release).
        aggregation: Aggregation = Aggregation::TokenMean;
        /// Reward minus its group's mean, over the standard deviation of the group (`group`), of the step (`batch`), or not
        /// divided (`none`; Dr. GRPO); or minus the mean of the group's other rewards (`rloo`).
        advantage: Advantage = Advantage::Group;
        /// Added to that divisor.
        advantage_epsilon: f64 = 1e-6, in bounds::EPSILON, if DIVIDED;
        /// Samples a prompt when the held-out prompts are scored before and after.
        validation_samples: usize = 4, in bounds::SAMPLES, if VALIDATED;
        /// Seed of the order of prompts and of the rollouts.
        seed: u64 = 0, in bounds::SEED;
    }
    with { optim: Optim { lr = 1e-6 }, scorers: ScorerParams }
    blocks { clip: Clip, kl: KlPenalty, lora: Option<Lora> }
}

params! {
    /// The server that rollouts come from, and how it is given weights.
    pub struct ServedRollouts {
        /// Where it is, without a version: `"http://localhost:8000"`. vLLM has what is needed with `VLLM_SERVER_DEV_MODE=1` and
        /// `--logprobs-mode processed_logprobs`. It serves one node at a time.
        url: Option<String> = None;
        /// Name of the environment variable that holds a key, which is sent as a bearer token.
        key_env: Option<String> = None;
        /// What it calls the model; absent: it has one.
        model: Option<String> = None;
        /// A folder that both this machine and the server see, where the weights of a step lie; absent: one of the attempt.
        weights: Option<PathBuf> = None;
        /// Rollouts in flight.
        concurrency: usize = 256, in bounds::CONCURRENCY;
        /// For one rollout, or for the weights to be loaded.
        timeout_seconds: f64 = 3600.0, in bounds::SECONDS;
        /// Tries beyond the first of what fails in a passing way.
        retries: u32 = 8, in bounds::RETRIES;
    }
}

params! {
    pub struct Exec {
        /// Steps between two checkpoints.
        checkpoint_every: u64 = 10, in bounds::EVERY;
        /// Computes blocks again in the backward pass instead of keeping what they computed: less memory, more time.
        recompute: bool = false;
        /// Rollouts that are sampled at the same time: fewer take less memory and more time.
        sample_rows: usize = 256, in bounds::AT_ONCE, if LOCAL;
    }
    with { endpoints: ScorerEndpoints }
    blocks { guard: RolloutGuards, rollouts: ServedRollouts where SERVED }
}

impl Params {
    /// What a rollout is worth by its route's value; none: it is left out.
    pub(super) fn worth(
        &self,
        value: Option<f64>,
        finished: bool,
        prompt: &str,
    ) -> Result<Option<f64>> {
        match self.truncated {
            Truncated::Penalise if !finished => Ok(Some(0.0)),
            Truncated::Mask if !finished => Ok(None),
            _ => self.value(value, prompt),
        }
    }

    /// What an unscorable response counts.
    pub(super) fn value(&self, reward: Option<f64>, prompt: &str) -> Result<Option<f64>> {
        match self.unscorable {
            _ if reward.is_some() => Ok(reward),
            Unscorable::Zero => Ok(Some(0.0)),
            Unscorable::Mask => Ok(None),
            Unscorable::Fail => bail!(
                "the reward of a response to prompt {prompt} is no number; `unscorable` says what becomes of such ones"
            ),
        }
    }
}

impl ServedRollouts {
    /// What is wrong with it where rollouts come from there.
    pub(super) fn problems(&self, lora: bool) -> Vec<Problem> {
        let problem = |path: &str, message: String, help: &str| Problem {
            path: path.into(),
            message,
            help: Some(help.into()),
        };
        let mut found = vec![];
        match self.url.as_deref() {
            None => found.push(problem(
                "sampler",
                "rollouts come from a server, and `rollouts.url` does not say where it is".into(),
                "as `rollouts.url = \"http://localhost:8000\"`",
            )),
            Some(url) => {
                let version = url.trim_end_matches('/').ends_with("/v1");
                let version =
                    version.then(|| "it is the server itself that takes weights".to_string());
                if let Some(message) = Endpoint::problem(url).or(version) {
                    found.push(problem(
                        "rollouts.url",
                        message,
                        "as `\"http://localhost:8000\"`",
                    ));
                }
            }
        }
        if lora {
            let message = "a server is given whole weights, and an adapter would be folded into them every step";
            found.push(problem(
                "lora",
                message.into(),
                "leave it out, or sample with `local`",
            ));
        }
        found
    }

    pub(super) fn endpoint(&self, key: Option<Secret>) -> Endpoint {
        Endpoint {
            key,
            concurrency: self.concurrency,
            timeout: Duration::try_from_secs_f64(self.timeout_seconds).unwrap_or(Duration::MAX),
            retries: self.retries,
            ..Endpoint::at(
                self.url
                    .as_deref()
                    .unwrap_or_default()
                    .trim_end_matches('/'),
            )
        }
    }
}
