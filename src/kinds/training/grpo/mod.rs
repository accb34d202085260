//! Reinforcement learning by GRPO with declared rewards: the third stage of TARS (arXiv 2507.00971).
//!
//! Per step: a batch of prompts, a group of rollouts each from the live weights, a reward per rollout by the route of the
//! prompt's class, advantages within the group, one update. With `updates` 1 it is strictly on-policy, as TARS is: the
//! ratio is 1 and no clip binds; with more, each update sees the whole batch again and the ratio is to the weights that
//! sampled. Departures from the released TARS code: the token mean is over the whole step, not summed over micro-batches
//! (`token-mean-micro-sum` is the release); a group without variance has advantage exactly 0; no clamp on the KL unless
//! `kl.clamp` (10 in the release) says so.

mod measures;
mod rollouts;

use crate::scorers::reward::{self, Route};
use crate::scorers::service::{ScorerEndpoints, ScorerParams};
use crate::scorers::{Judged, Settings as ScorerSettings};
use crate::shared::bounds;
use crate::shared::estimate::{self, Training};
use crate::shared::model_checks;
use crate::shared::model_io::{self, Course, Model, Sampling};
use crate::training::lora::{self, Lora};
use crate::training::{self, RolloutGuards, Watcher};
use crate::world::truth;
use anyhow::{Result, bail, ensure};
use base::calls::Calls;
use base::params::ParamSet;
use base::params::Problem;
use base::rng::Seed;
use base::rows::{self, Metric, Prompt, PromptClass};
use base::setup::Acts;
use base::stats;
use base::tokens::Tokens;
use base::value::Values;
use base::{choice, params};
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Needs, Output, Port, Role, Type};
use learn::adapter::Net;
use learn::objective::advantage::Advantage;
use learn::objective::grpo::{Aggregation, Kl, Ratio};
use learn::optim::Optim;
use learn::sample::Options;
use learn::tokenizer::Tokenizer;
use learn::train::{self, Settings};
use rollouts::Rollouts;
use std::collections::BTreeMap;
use std::path::Path;

choice! {
    /// What the KL is a part of.
    pub enum AppliedTo { Loss = "loss", Reward = "reward" }
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
    pub struct Exec {
        /// Steps between two checkpoints.
        checkpoint_every: u64 = 10, in bounds::EVERY;
        /// Computes blocks again in the backward pass instead of keeping what they computed: less memory, more time.
        recompute: bool = false;
        /// Rollouts that are sampled at the same time: fewer take less memory and more time.
        sample_rows: usize = 256, in bounds::AT_ONCE;
    }
    with { endpoints: ScorerEndpoints }
    blocks { guard: RolloutGuards }
}

pub const KIND: Kind = Kind {
    name: "grpo",
    revision: 3,
    role: Role::Trains,
    summary: "reinforcement learning by GRPO, rewards routed by prompt class",
    about: "A reward is an expression over scorers, one for each prompt class. With held-out prompts on the port \
            `validation` the mean reward before and after training is reported with its interval, so that one sees \
            whether RL learned. Metrics have TRL's names. The defaults are those of the TARS release. Fails with a named \
            cause, and keeps the last good checkpoint, when something stops being finite, the gradient explodes, the \
            entropy collapses or the reward is dead.",
    example: r#"
[node.rl]
kind = "grpo"
in = { model = "sft", prompts = "mix", validation = "prompts.validation" }
reward = { harmful = "format * safety", harmless = "format * task", ambiguous = "format * task" }
steps = 60
"#,
    inputs: &[
        Port::required(
            "model",
            Type::Model,
            "where it begins, and the reference of the KL",
        ),
        Port::required(
            "prompts",
            Type::Prompts,
            "what is asked; every epoch in its own order",
        ),
        Port::optional(
            "validation",
            Type::Prompts,
            "held-out prompts, scored before and after",
        ),
        reward::MODEL_PORT,
    ],
    outputs: &[
        Output::always("model", Type::Model, "the trained model"),
        Output::always(
            "metrics",
            Type::Metrics,
            "held-out reward, last values; every step in `curve.jsonl` and in an event file for TensorBoard",
        ),
        lora::ADAPTER,
    ],
    metrics: &[
        MetricInfo::higher("held_out_reward", "reward", "held-out reward, all"),
        MetricInfo::higher("held_out_reward/*", "reward", "held-out reward, *"),
    ],
    params: Params::specs,
    exec: Exec::specs,
    check: Some(check),
    above: Some(|graph, id| {
        let mut found = truth::reward_problems(graph, id, "prompts");
        if found.is_empty() {
            found = truth::reward_problems(graph, id, "validation");
        }
        found
    }),
    needs: |_| Needs::ALL_THREADS,
    tokens: Some(tokens),
    count_calls: Some(count_calls),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

/// Rollouts of a step.
const MOST_ROLLOUTS: usize = 1 << 20;

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    if let Ok(p) = Params::read(values) {
        lora::problems(p.lora.as_ref(), &mut found);
        found.extend(reward::node_problems(values, &p.reward));
        if p.kl.applied_to == AppliedTo::Reward && p.kl.times_ratio {
            found.push(Problem {
                path: "kl.times_ratio".into(),
                message: "the KL is taken off the reward, where no ratio multiplies it".into(),
                help: None,
            });
        }
        let rollouts = p.batch.saturating_mul(p.group);
        if rollouts > MOST_ROLLOUTS {
            found.push(Problem {
                path: "batch".into(),
                message: format!(
                    "{} prompts with {} rollouts each are {rollouts}",
                    p.batch, p.group
                ),
                help: Some(format!(
                    "a step is in memory as a whole: at most {MOST_ROLLOUTS} rollouts"
                )),
            });
        }
    }
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    model_io::use_threads(ctx)?;
    let Model { weights, tokenizer } = Model::load(ctx.input("model"))?;
    let snap = ScorerSettings {
        safety_snap: p.safety_snap,
    };
    let mut route = Route::of_node(ctx, &p.reward, snap, &p.scorers)?;
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    for class in PromptClass::ALL {
        ensure!(
            p.reward.contains_key(class.word()) || prompts.iter().all(|r| r.class != class),
            "there are {} prompts and the reward table has no entry for them",
            class.word()
        );
    }
    model_checks::say_reach(ctx, &tokenizer, &prompts, None, p.max_new_tokens)?;
    let validation: Vec<Prompt> = ctx
        .input_opt("validation")
        .map(rows::read_rows)
        .transpose()?
        .unwrap_or_default();
    let seed = |when: &str| Seed::new(p.seed).child("validation").child(when);
    let mut metrics = vec![];
    if !validation.is_empty() {
        let before = sampling(
            (&weights).into(),
            &tokenizer,
            (&p, exec.sample_rows),
            p.validation_samples,
            seed("before"),
        );
        metrics.extend(held_out(
            "before",
            ctx,
            &before,
            &mut route,
            &validation,
            &p,
        )?);
    }

    // An adapter's reference is the same weights with the adapter off; weights that move need a real copy.
    let copied = p.kl.coefficient > 0.0 && p.lora.is_none();
    let reference = copied.then(|| weights.clone());
    let mut state = lora::state(p.lora.as_ref(), weights, Seed::new(p.seed));
    let limits = exec.guard.limits();
    let (every, shown) = (exec.checkpoint_every, &["reward", "kl"]);
    let mut watcher =
        Watcher::start(ctx, &mut state, p.steps, every, limits, shown)?.in_units(p.updates);
    let mut feed = Rollouts {
        ctx,
        tokenizer: &tokenizer,
        reference: reference.as_ref(),
        route: &mut route,
        prompts: &prompts,
        p: &p,
        sample_rows: exec.sample_rows,
        batch: None,
    };
    let settings = Settings {
        optim: p.optim.clone(),
        steps: p.steps,
        temperature: p.temperature as f32,
        keep: training::keep(exec.recompute),
    };
    let end = train::train(&mut state, &mut feed, &settings, &mut watcher);
    watcher.end(&state, end)?;

    if !validation.is_empty() {
        let after = sampling(
            state.net(),
            &tokenizer,
            (&p, exec.sample_rows),
            p.validation_samples,
            seed("after"),
        );
        let after = held_out("after", ctx, &after, &mut route, &validation, &p);
        metrics.extend(after.or_else(|error| watcher.end(&state, Err(error)).map(|()| vec![]))?);
    }
    route.log(ctx);
    watcher.finish(state, ctx.input("model"), metrics)
}

/// As if it began anew and every rollout had its full length.
fn count_calls(preview: &NodePreview, _: &Path) -> Result<Calls> {
    let p: Params = preview.params()?;
    let endpoints: ScorerEndpoints = preview.exec()?;
    let snap = ScorerSettings {
        safety_snap: p.safety_snap,
    };
    let route = Route::new(&p.reward, snap)?;
    let prompts: Vec<Prompt> = rows::read_rows(preview.input("prompts"))?;
    let batch = p.batch.min(prompts.len()) as u64;
    let rollouts = p.steps.div_ceil(p.updates) * batch * p.group as u64;
    let most = |rollouts| (rollouts, p.max_new_tokens);
    let mut calls = route.forecast_unseen((&p.scorers, &endpoints), &prompts, most(rollouts))?;
    if let Some(folder) = preview.inputs.get("validation") {
        let held_out: Vec<Prompt> = rows::read_rows(folder)?;
        let rollouts = 2 * (held_out.len() * p.validation_samples) as u64;
        let more = route.forecast_unseen((&p.scorers, &endpoints), &held_out, most(rollouts))?;
        calls.add(&more);
    }
    Ok(calls)
}

fn tokens(preview: &NodePreview) -> Result<Tokens> {
    let prompts: Vec<Prompt> = rows::read_rows(preview.input("prompts"))?;
    let then = "the rollout, whose tokens are trained";
    model_io::prompt_tokens(
        preview.input("model"),
        &prompts,
        None,
        None,
        then,
        preview.most,
    )
}

impl Params {
    /// What an unscorable response counts.
    fn value(&self, reward: Option<f64>, prompt: &str) -> Result<Option<f64>> {
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

fn sampling<'a>(
    net: Net<'a>,
    tokenizer: &'a Tokenizer,
    (p, batch_rows): (&Params, usize),
    samples: usize,
    seed: Seed,
) -> Sampling<'a> {
    Sampling {
        net,
        tokenizer,
        samples,
        system: None,
        prefill: None,
        options: Options {
            batch_rows,
            ..model_io::plain(tokenizer, p.temperature, p.max_new_tokens)
        },
        seed,
    }
}

/// The responses to each prompt, one prompt after another.
fn of_groups<'a>(prompts: &'a [Prompt], groups: &'a [Vec<String>]) -> Vec<Judged<'a>> {
    let each = prompts.iter().zip(groups);
    each.flat_map(|(prompt, group)| group.iter().map(|r| Judged::of_prompt(prompt, r)))
        .collect()
}

/// Mean reward on held-out prompts, over all and by class: one observation a prompt.
fn held_out(
    when: &str,
    ctx: &NodeCtx,
    sampling: &Sampling,
    route: &mut Route,
    prompts: &[Prompt],
    p: &Params,
) -> Result<Vec<Metric>> {
    let rows = prompts.len() * sampling.samples;
    let mut course = Course::part(ctx, "held-out responses", rows);
    let groups = sampling.groups(ctx, prompts, &mut course)?;
    let responses = sampling.responses(&groups)?;
    let judged = of_groups(prompts, &responses);
    let mut scored = route
        .score_all(&judged, &mut reward::observer(ctx))?
        .into_iter();
    let mut means: Vec<(PromptClass, f64)> = vec![];
    for (prompt, group) in prompts.iter().zip(&responses) {
        let mut rewards = vec![];
        for scored in scored.by_ref().take(group.len()) {
            rewards.extend(p.value(scored.value, &prompt.id)?);
        }
        means.extend(stats::mean(&rewards).map(|mean| (prompt.class, mean)));
    }
    ensure!(
        !means.is_empty(),
        "no response to a held-out prompt has a reward that is a number"
    );
    let all: Vec<f64> = means.iter().map(|(_, m)| *m).collect();
    let mut metrics = vec![reward::mean_metric(
        &format!("held_out_reward/{when}"),
        &all,
    )];
    for class in PromptClass::ALL {
        let of_class: Vec<f64> = means
            .iter()
            .filter(|(c, _)| *c == class)
            .map(|(_, m)| *m)
            .collect();
        if !of_class.is_empty() {
            metrics.push(reward::mean_metric(
                &format!("held_out_reward/{when}/{}", class.word()),
                &of_class,
            ));
        }
    }
    Ok(metrics)
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let exec: Exec = preview.exec()?;
    let prompts = preview.expected("prompts");
    let asked = prompts.tokens.unwrap_or(estimate::PROMPT);
    let most = p.max_new_tokens as f64;
    let rollouts = p.steps as f64 * p.batch as f64 * p.group as f64;
    let held_out = preview.expected("validation").rows.unwrap_or(0.0);
    let scored = rollouts + 2.0 * held_out * p.validation_samples as f64;
    let asks = (&p.scorers, &exec.endpoints);
    let shape = (scored, prompts.shares);
    let mut work = reward::estimate(&p.reward, asks, preview, shape, (asked, most));
    let model = preview.expected("model").model;
    work.outputs.insert("model", estimate::same_model(model));
    let Some(model) = model else {
        return Ok(work);
    };
    let tokens = rollouts * (asked + most);
    let reference = p.kl.coefficient > 0.0;
    let passes = if reference { 2.0 } else { 1.0 };
    work.flop += estimate::sample_flop(&model, passes * tokens);
    work.flop += estimate::sample_flop(&model, (scored - rollouts) * (asked + most));
    let frozen = p.lora.is_some();
    work.flop += estimate::train_flop(&model, frozen, p.updates as f64 * tokens);
    let training = estimate::train_memory(
        &model,
        &Training {
            rank: p.lora.as_ref().map_or(0, |l| l.rank),
            recompute: exec.recompute,
            reference: reference && !frozen,
            longest: asked + most,
        },
    );
    let rows = (p.batch * p.group).min(exec.sample_rows) as f64;
    let cache = estimate::sample_memory(&model, rows, asked + most) - 4.0 * model.parameters;
    work.memory += training + cache;
    Ok(work)
}
