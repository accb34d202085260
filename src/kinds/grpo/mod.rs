//! Reinforcement learning by GRPO with declared rewards: the third stage of TARS (arXiv 2507.00971).
//!
//! Per step: a batch of prompts, a group of rollouts each from the live weights, a reward per rollout by the route of the
//! prompt's class, advantages within the group, one update. So it is strictly on-policy: the ratio is 1 and the clip does
//! not bind; it is there for the day of several updates a rollout. Departures from the released TARS code: the token mean
//! is over the whole step, not summed over micro-batches; a group without variance has advantage exactly 0.

mod rollouts;

use crate::base::rng::Seed;
use crate::base::rows::{self, Metric, Prompt, PromptClass};
use crate::base::value::Values;
use crate::engine::kind::{Cpu, Kind, Output, Port, Problem, Type};
use crate::engine::params::ParamSet;
use crate::engine::worker::NodeCtx;
use crate::kinds::lora::{self, Lora};
use crate::kinds::model_io::{self, Model, Sampling};
use crate::kinds::reward::{self, Route};
use crate::kinds::scorers::{Judged, Settings as ScorerSettings};
use crate::kinds::training::{self, Guards, LrSchedule, RolloutGuards, Watcher};
use crate::kinds::{positive, range};
use crate::learn::adapter::Net;
use crate::learn::optim::{AdamW, Schedule};
use crate::learn::tokenizer::Tokenizer;
use crate::learn::train::{self, Settings};
use crate::{choice, params};
use anyhow::{Result, ensure};
use rollouts::Rollouts;
use std::collections::BTreeMap;

choice! {
    /// How token losses become one number.
    pub enum Aggregation {
        TokenMean = "token-mean",
        SequenceMean = "sequence-mean",
        DrGrpo = "dr-grpo",
    }
}
choice! {
    /// Estimator of the KL to the reference.
    pub enum Kl { K1 = "k1", K2 = "k2", K3 = "k3" }
}
choice! {
    /// What advantages are divided by.
    pub enum AdvantageScale { Group = "group", Batch = "batch", None = "none" }
}
choice! {
    /// What happens to rollouts that ran into the length limit.
    pub enum Truncated { Penalise = "penalise", Score = "score", Mask = "mask" }
}

params! {
    pub struct Params {
        /// Reward expression of each prompt class, over scorers: `{ harmful = "format * safety", … }`.
        reward: BTreeMap<String, String>;
        /// Safety scores at or above this count as 1.
        safety_snap: f64 = 0.9;
        /// Optimizer steps.
        steps: u64;
        /// Prompts a step.
        batch: usize = 32;
        /// Rollouts a prompt.
        group: usize = 8;
        /// Sampling temperature; the trainer's logits are divided by it too.
        temperature: f64 = 0.6;
        /// Tokens a rollout may have.
        max_new_tokens: usize = 4096;
        /// Rollouts that ran into the limit: reward 0 (`penalise`, as in the TARS release), scored as they are (`score`), or
        /// left out of groups and loss (`mask`).
        truncated: Truncated = Truncated::Penalise;
        /// Learning rate.
        lr: f64 = 1e-6;
        /// How the learning rate goes after warm-up.
        schedule: LrSchedule = LrSchedule::Constant;
        /// Steps in which the learning rate rises linearly.
        warmup_steps: u64 = 0;
        /// AdamW's decoupled weight decay; norms and biases have none.
        weight_decay: f64 = 0.01;
        /// Global gradient norm that is clipped to.
        grad_clip: f64 = 1.0;
        /// The ratio is clipped to 1 - clip_low …
        clip_low: f64 = 0.2;
        /// … and 1 + clip_high.
        clip_high: f64 = 0.2;
        /// Weight of the KL to the model it began as; 0 needs no reference.
        kl_coefficient: f64 = 1e-3;
        /// Estimator of that KL.
        kl: Kl = Kl::K3;
        /// Weight of the entropy bonus.
        entropy_coefficient: f64 = 1e-3;
        /// How token losses become one number.
        aggregation: Aggregation = Aggregation::TokenMean;
        /// What advantages are divided by.
        advantage_scale: AdvantageScale = AdvantageScale::Group;
        /// Added to that divisor.
        advantage_epsilon: f64 = 1e-6;
        /// Samples a prompt when the held-out prompts are scored before and after.
        validation_samples: usize = 4;
        /// Seed of the order of prompts and of the rollouts.
        seed: u64 = 0;
    }
    with { lora: Lora }
}

params! {
    pub struct Exec {
        /// Steps between two checkpoints.
        checkpoint_every: u64 = 10;
        /// Computes blocks again in the backward pass instead of keeping what they computed: less memory, more time.
        recompute: bool = false;
    }
    with { guards: Guards, rollout_guards: RolloutGuards }
}

pub const KIND: Kind = Kind {
    name: "grpo",
    revision: 2,
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
        Port {
            name: "model",
            ty: Type::Model,
            required: true,
            doc: "where it begins, and the reference of the KL",
        },
        Port {
            name: "prompts",
            ty: Type::Prompts,
            required: true,
            doc: "what is asked; every epoch in its own order",
        },
        Port {
            name: "validation",
            ty: Type::Prompts,
            required: false,
            doc: "held-out prompts, scored before and after",
        },
    ],
    outputs: &[
        Output {
            name: "model",
            ty: Type::Model,
            doc: "the trained model",
            only_with: None,
        },
        Output {
            name: "metrics",
            ty: Type::Metrics,
            doc: "held-out reward, last values; every step in `curve.jsonl` and in an event file for TensorBoard",
            only_with: None,
        },
        lora::ADAPTER,
    ],
    params: Params::specs,
    exec: Exec::specs,
    check,
    cpu: Cpu::All,
    hidden: false,
    run,
};

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    if let Ok(p) = Params::read(values) {
        p.lora.problems(&mut found);
        found.extend(reward::problems("reward", &p.reward));
        range(&mut found, "safety_snap", p.safety_snap, 0.0, 1.0);
        range(&mut found, "clip_low", p.clip_low, 0.0, 1.0);
        range(&mut found, "clip_high", p.clip_high, 0.0, 100.0);
        range(&mut found, "kl_coefficient", p.kl_coefficient, 0.0, 100.0);
        range(
            &mut found,
            "entropy_coefficient",
            p.entropy_coefficient,
            0.0,
            100.0,
        );
        range(&mut found, "weight_decay", p.weight_decay, 0.0, 1.0);
        positive(&mut found, "lr", p.lr);
        positive(&mut found, "temperature", p.temperature);
        positive(&mut found, "grad_clip", p.grad_clip);
        positive(&mut found, "advantage_epsilon", p.advantage_epsilon);
        for (name, n) in [
            ("steps", p.steps as usize),
            ("batch", p.batch),
            ("max_new_tokens", p.max_new_tokens),
            ("validation_samples", p.validation_samples),
        ] {
            positive(&mut found, name, n as f64);
        }
        if p.group < 2 {
            found.push(Problem {
                path: "group".into(),
                message: format!("a group of {} has no advantage to compare", p.group),
                help: Some("at least 2 rollouts a prompt".into()),
            });
        }
    }
    if let Ok(e) = Exec::read(values) {
        positive(&mut found, "checkpoint_every", e.checkpoint_every as f64);
    }
    found.extend(Guards::problems(values));
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    model_io::use_threads(ctx)?;
    let Model { weights, tokenizer } = Model::load(ctx.input("model"))?;
    let route = Route::new(
        &p.reward,
        ScorerSettings {
            safety_snap: p.safety_snap,
        },
    )?;
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    for class in PromptClass::ALL {
        ensure!(
            p.reward.contains_key(class.word()) || prompts.iter().all(|r| r.class != class),
            "there are {} prompts and the reward table has no entry for them",
            class.word()
        );
    }
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
            &p,
            p.validation_samples,
            seed("before"),
        );
        metrics.extend(held_out("before", ctx, &before, &route, &validation)?);
    }

    // An adapter's reference is the same weights with the adapter off; weights that move need a real copy.
    let copied = p.kl_coefficient > 0.0 && p.lora.lora_rank == 0;
    let reference = copied.then(|| weights.clone());
    let mut state = p.lora.state(weights, Seed::new(p.seed));
    let limits = exec.rollout_guards.limits(&exec.guards);
    let (every, shown) = (exec.checkpoint_every, &["reward", "kl"]);
    let mut watcher = Watcher::start(ctx, &mut state, p.steps, every, limits, shown)?;
    let mut feed = Rollouts {
        ctx,
        tokenizer: &tokenizer,
        reference: reference.as_ref(),
        route: &route,
        prompts: &prompts,
        p: &p,
    };
    let end = train::train(&mut state, &mut feed, &settings(&p, &exec), &mut watcher);
    watcher.end(&state, end)?;

    if !validation.is_empty() {
        let after = sampling(
            state.net(),
            &tokenizer,
            &p,
            p.validation_samples,
            seed("after"),
        );
        let after = held_out("after", ctx, &after, &route, &validation);
        metrics.extend(after.or_else(|error| watcher.end(&state, Err(error)).map(|()| vec![]))?);
    }
    watcher.finish(state, ctx.input("model"), metrics)
}

fn settings(p: &Params, exec: &Exec) -> Settings {
    Settings {
        schedule: Schedule {
            shape: p.schedule.into(),
            lr: p.lr,
            warmup: p.warmup_steps,
            steps: p.steps,
        },
        adamw: AdamW {
            decay: p.weight_decay,
            ..AdamW::default()
        },
        grad_clip: p.grad_clip,
        temperature: p.temperature as f32,
        keep: training::keep(exec.recompute),
    }
}

fn sampling<'a>(
    net: Net<'a>,
    tokenizer: &'a Tokenizer,
    p: &Params,
    samples: usize,
    seed: Seed,
) -> Sampling<'a> {
    Sampling {
        net,
        tokenizer,
        samples,
        prefill: None,
        options: model_io::plain(tokenizer, p.temperature, p.max_new_tokens),
        seed,
    }
}

/// Mean reward on held-out prompts, over all and by class: one observation a prompt.
fn held_out(
    when: &str,
    ctx: &NodeCtx,
    sampling: &Sampling,
    route: &Route,
    prompts: &[Prompt],
) -> Result<Vec<Metric>> {
    let groups = sampling.groups(ctx, prompts, &mut |_| {})?;
    let mut means: Vec<(PromptClass, f64)> = vec![];
    for (prompt, group) in prompts.iter().zip(&groups) {
        let mut sum = 0.0;
        for sample in group {
            let response = sampling.response(sample)?;
            sum += route.reward(&Judged::of_prompt(prompt, &response))?.value;
        }
        means.push((prompt.class, sum / group.len() as f64));
    }
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
