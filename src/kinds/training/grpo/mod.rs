//! Reinforcement learning by GRPO with declared rewards: the third stage of TARS (arXiv 2507.00971).
//!
//! Per step: a batch of prompts, a group of rollouts each from the live weights, a reward per rollout by the route of the
//! prompt's class, advantages within the group, one update. With `updates` 1 it is strictly on-policy, as TARS is: the
//! ratio is 1 and no clip binds; with more, each update sees the whole batch again and the ratio is to the weights that
//! sampled. Departures from the released TARS code: the token mean is over the whole step, not summed over micro-batches
//! (`token-mean-micro-sum` is the release); a group without variance has advantage exactly 0; no clamp on the KL unless
//! `kl.clamp` (10 in the release) says so.

mod held_out;
mod measures;
mod params;
mod rollouts;
mod served;

use crate::scorers::Settings as ScorerSettings;
use crate::scorers::params::{ScorerEndpoints, ScorerParams};
use crate::scorers::reward::serve::Declared;
use crate::scorers::reward::{self, Route};
use crate::scorers::reward_model;
use crate::shared::devices;
use crate::shared::estimate::{self, Training};
use crate::shared::measure;
use crate::shared::model_checks;
use crate::shared::model_io::{self, Model};
use crate::training::{self, Watcher, lora};
use crate::world::truth;
use anyhow::{Result, ensure};
use base::calls::Calls;
use base::params::Problem;
use base::params::{ParamSet, ParamValue};
use base::rng::Seed;
use base::rows::{self, Prompt, PromptClass};
use base::tokens::Tokens;
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::served::{Opening, Served, Serves};
use engine::kind::{Kind, MetricInfo, Needs, Output, Port, Role, Type, Written};
use learn::learner::Policy;
use learn::tokenizer::Tokenizer;
use learn::train::{self, Hyperparameters};
use params::{AppliedTo, Exec, Params, Sampler, Truncated, Unscorable};
use rollouts::{Rollouts, sampling};
use serde_json::json;
use served::{Served as ServedRollouts, Source};
use std::path::Path;

/// Parameters, beside the scorers', by which a reward is what it is, held-out or of a step; all others are the training's.
const REWARDED_BY: [&str; 5] = [
    "reward",
    "safety_snap",
    "unscorable",
    "max_new_tokens",
    "temperature",
];

pub const KIND: Kind = Kind {
    name: "grpo",
    revision: 5,
    role: Role::Trains,
    summary: "reinforcement learning by GRPO, rewards routed by prompt class",
    about: "A reward is an expression over scorers, one for each prompt class. With held-out prompts on the port \
            `validation` the mean reward before and after training is reported with its interval, over the prompts that have one both \
            times, so that one sees whether RL learned; `unscorable` is the share of these responses that a scorer said nothing \
            readable of, `unscorable/held_out_reward/WHEN` that of each time. Metrics have TRL's names. The defaults are those of the TARS release. Fails with a named \
            cause, and keeps the last good checkpoint, when something stops being finite, the gradient explodes, the \
            entropy collapses, the reward is dead, or a server of rollouts has old weights. With `sampler = \"served\"` \
            vLLM, or whoever has its routes, samples: it is given the weights of every step by their path, and its answers are \
            kept before they are learned from.",
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
    metrics: &METRICS,
    measured_by: Some(|numbers, key| {
        let own = match numbers {
            Written::Metrics => "validation_samples",
            Written::Curve => "truncated",
        };
        let of_scorers = || ScorerParams::specs().iter().any(|s| s.key() == key);
        key == own || REWARDED_BY.contains(&key) || of_scorers()
    }),
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
    computes: Some(devices::ANYWHERE),
    needs: |_| Needs::ALL_THREADS,
    tokens: Some(tokens),
    count_calls: Some(count_calls),
    estimate: Some(estimate),
    rewards: Some(Serves {
        ports: &[reward_model::PORT],
        open: serve,
    }),
    run,
    ..Kind::DEFAULTS
};

const METRICS: [MetricInfo; held_out::METRICS.len() + 1] = {
    let mut all = [measure::LAST; held_out::METRICS.len() + 1];
    let mut i = 0;
    while i < held_out::METRICS.len() {
        all[i] = held_out::METRICS[i];
        i += 1;
    }
    all
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
        if let (Sampler::Served, Ok(exec)) = (p.sampler, Exec::read(values)) {
            found.extend(exec.rollouts.problems(p.lora.is_some()));
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
    let vocabulary = weights.config.vocab_size;
    let adapter = lora::adapter(p.lora.as_ref(), &weights.config, Seed::new(p.seed));
    let reference = p.kl.coefficient > 0.0;
    let mut state = training::begin(ctx, weights, adapter, reference, exec.recompute)?;
    let limits = exec.guard.limits();
    let mut source = source(
        ctx,
        (&p, &exec, limits.sampler_gap),
        (&tokenizer, vocabulary),
    )?;
    let mut before = vec![];
    if !validation.is_empty() {
        let mut sampling = sampling(
            state.learner.as_mut(),
            Policy::Reference,
            &tokenizer,
            (&p, exec.sample_rows),
            p.validation_samples,
            seed("before"),
        );
        let by = (&mut route, &mut source);
        before = held_out::responses(ctx, &mut sampling, by, &validation, (&p, 1))?;
    }
    let (every, shown) = (exec.checkpoint_every, &["reward", "kl"]);
    let mut watcher =
        Watcher::start(ctx, &mut state, p.steps, every, limits, shown)?.in_units(p.updates);
    let mut feed = Rollouts {
        ctx,
        source: &mut source,
        tokenizer: &tokenizer,
        route: &mut route,
        prompts: &prompts,
        p: &p,
        sample_rows: exec.sample_rows,
        batch: None,
    };
    let with = Hyperparameters {
        optim: p.optim.clone(),
        steps: p.steps,
        temperature: p.temperature as f32,
    };
    let end = train::train(&mut state, &mut feed, &with, &mut watcher);
    watcher.end(&state, end)?;

    let mut measures = vec![];
    if !validation.is_empty() {
        let mut sampling = sampling(
            state.learner.as_mut(),
            Policy::Live,
            &tokenizer,
            (&p, exec.sample_rows),
            p.validation_samples,
            seed("after"),
        );
        let by = (&mut route, &mut source);
        let after = held_out::responses(ctx, &mut sampling, by, &validation, (&p, p.steps));
        let after = after.or_else(|error| watcher.end(&state, Err(error)).map(|()| vec![]))?;
        let both = [&before, &after];
        let may_lack = p.unscorable != Unscorable::Fail;
        measures = held_out::measures(&validation, both, may_lack);
        let lacking = held_out::lacking(&validation, both);
        lacking.iter().for_each(|text| ctx.log(text));
    }
    route.log(ctx);
    if !measures.is_empty() {
        let values = measure::values(measure::observed(&validation).iter(), &measures);
        rows::write_values(&ctx.output("metrics"), &values)?;
    }
    let metrics = measures.into_iter().map(|m| m.metric).collect();
    watcher.finish(state.learner.finish()?, ctx.input("model"), metrics)
}

fn serve(opening: &Opening) -> Result<Box<dyn Served>> {
    let p: Params = opening.node.params()?;
    let rules = json!({ "truncated": p.truncated.write(), "unscorable": p.unscorable.write() });
    let declared = Declared {
        table: &p.reward.clone(),
        settings: ScorerSettings {
            safety_snap: p.safety_snap,
        },
        scorers: &p.scorers.clone(),
        asks_finished: p.truncated != Truncated::Score,
        rules,
        worth: Box::new(move |value, finished, prompt| p.worth(value, finished, prompt)),
    };
    reward::serve::open(opening, declared)
}

/// Who samples the rollouts of this node.
fn source<'a>(
    ctx: &'a NodeCtx,
    (p, exec, gap): (&Params, &Exec, f64),
    (tokenizer, vocabulary): (&Tokenizer, usize),
) -> Result<Source<'a>> {
    Ok(match p.sampler {
        Sampler::Local => Source::Local,
        Sampler::Served => {
            let stop = tokenizer.stop_ids().iter().copied().collect();
            let served = ServedRollouts::open(ctx, (p, &exec.rollouts, gap), (stop, vocabulary))?;
            Source::Served(Box::new(served))
        }
    })
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
    calls.add(&asked_for(&p, rollouts));
    if let Some(folder) = preview.inputs.get("validation") {
        let held_out: Vec<Prompt> = rows::read_rows(folder)?;
        let rollouts = 2 * (held_out.len() * p.validation_samples) as u64;
        let more = route.forecast_unseen((&p.scorers, &endpoints), &held_out, most(rollouts))?;
        calls.add(&more);
        calls.add(&asked_for(&p, rollouts));
    }
    Ok(calls)
}

/// Calls for so many rollouts, where a server samples them.
fn asked_for(p: &Params, rollouts: u64) -> Calls {
    match p.sampler {
        Sampler::Local => Calls::default(),
        Sampler::Served => Calls {
            made: rollouts,
            estimated: rollouts,
            completion_tokens: rollouts * p.max_new_tokens as u64,
            ..Calls::default()
        },
    }
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

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let exec: Exec = preview.exec()?;
    let prompts = preview.expected("prompts");
    let asked = prompts.tokens.unwrap_or(estimate::PROMPT);
    let most = p.max_new_tokens as f64;
    let rollouts = p.steps as f64 * p.batch as f64 * p.group as f64;
    let validation = preview.expected("validation");
    let held_out = validation.rows.unwrap_or(0.0);
    let scored = rollouts + 2.0 * held_out * p.validation_samples as f64;
    let asks = (&p.scorers, &exec.endpoints);
    let shape = (scored, prompts.shares);
    let mut work = reward::estimate(&p.reward, asks, preview, shape, (asked, most));
    if let Some(calls) = &mut work.calls {
        calls.add(&asked_for(&p, scored as u64));
    }
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
    let how = Training {
        rank: p.lora.as_ref().map_or(0, |l| l.rank),
        recompute: exec.recompute,
        reference: reference && !frozen,
        rows: (p.batch * p.group) as f64,
        longest: asked + most,
    };
    let rows = |prompts: f64, samples: usize, prompt: f64| estimate::device::Rows {
        prompts,
        samples: samples as f64,
        at_once: exec.sample_rows,
        prompt,
        written: most,
    };
    let mut rollouts = vec![];
    if p.sampler == Sampler::Local {
        let known = prompts.rows.unwrap_or(f64::MAX);
        rollouts.push(rows(known.min(p.batch as f64), p.group, asked));
    }
    if p.sampler == Sampler::Local && held_out > 0.0 {
        let asked = validation.tokens.unwrap_or(asked);
        rollouts.push(rows(held_out, p.validation_samples, asked));
    }
    estimate::device::train(&mut work, preview, &model, &how, &rollouts);
    Ok(work)
}
