//! The best-of-n probe between SFT and RL: how good are n samples on average, and how good is the best of them?
//! TARS (arXiv 2507.00971, Table 7) chooses its light SFT by it: RL can only strengthen what is sometimes sampled.

use crate::scorers::params::{ScorerEndpoints, ScorerParams};
use crate::scorers::reward::serve::Declared;
use crate::scorers::reward::{self, Route};
use crate::scorers::reward_model;
use crate::scorers::{Judged, Scorer, Settings};
use crate::shared::bounds;
use crate::shared::by_class;
use crate::shared::devices;
use crate::shared::estimate;
use crate::shared::measure::{self, Measure};
use crate::shared::model_checks;
use crate::shared::model_io::{self, Course, Sampling};
use crate::shared::reasoning::{self, Reasoned};
use crate::world::truth;
use anyhow::Result;
use base::calls::Calls;
use base::params;
use base::params::ParamSet;
use base::params::Problem;
use base::rng::Seed;
use base::rows::{self, CompletedPrompt, Metric, Prompt, PromptClass};
use base::stats;
use base::tokens::Tokens;
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::served::{Opening, Served, Serves};
use engine::kind::{Kind, MetricInfo, Needs, Output, Port, Role, Type};
use learn::learner::Policy;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

params! {
    pub struct Params {
        /// Samples a prompt.
        samples: usize = 8, in bounds::SAMPLES;
        /// The first so many prompts of each class.
        prompts_per_class: usize = 100, in bounds::TAKEN;
        /// Reward expression of each class, as in `grpo`.
        reward: BTreeMap<String, String>;
        /// Safety scores at or above this count as 1.
        safety_snap: f64 = 0.9, in bounds::SHARE, if reward::SNAPPED;
        /// Sampling temperature.
        temperature: f64 = 1.0, in bounds::WARM;
        /// Tokens a response may have.
        max_new_tokens: usize = 256, in bounds::TOKENS;
        /// Seed of the samples.
        seed: u64 = 0, in bounds::SEED;
    }
    with { scorers: ScorerParams }
}

pub const KIND: Kind = Kind {
    name: "probe",
    revision: 7,
    role: Role::Measures,
    summary: "best-of-n diversity probe: average and best reward of n samples, per class",
    about: "`average/CLASS` is the mean reward over all samples, `best/CLASS` the mean over prompts of the best of n. A wide \
            gap is room for RL; a best-of-n far below 1 is what RL cannot reach. Where a scorer asks a service or a model, samples that it said \
            nothing readable of are left out and are the share `unscorable`, by class `unscorable/CLASS`. It has the words of reasoning by class and label, and what share \
            of the samples `reasons`; of those that do, about prompts of the built-in world, how many of the facts are right (`facts_right`) and \
            how often the answer `follows`, as `evaluate` counts them.",
    example: r#"
[node.probe]
kind = "probe"
in = { model = "sft", prompts = "prompts.rl" }
reward = { harmful = "format * safety", harmless = "format * task", ambiguous = "format * task" }
"#,
    inputs: &[
        Port::required("model", Type::Model, "who answers"),
        Port::required("prompts", Type::Prompts, "what is asked"),
        reward::MODEL_PORT,
    ],
    outputs: &[Output::always(
        "metrics",
        Type::Metrics,
        "average and best of n, per class, and every prompt's values behind them",
    )],
    metrics: &[
        MetricInfo::higher("average/*", "reward", "average of the samples, *").of(measure::CLASSES),
        MetricInfo::higher("best/*", "reward", "best of the samples, *").of(measure::CLASSES),
        measure::REASONING,
        measure::REASONING_TYPE,
        measure::REASONING_BY,
        measure::REASONS,
        measure::REASONS_BY,
        measure::FACTS_RIGHT,
        measure::FACTS_RIGHT_BY,
        measure::FOLLOWS,
        measure::UNSCORABLE,
        measure::UNSCORABLE_OF,
    ],
    params: Params::specs,
    exec: ScorerEndpoints::specs,
    check: Some(check),
    above: Some(|graph, id| truth::reward_problems(graph, id, "prompts")),
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

/// A response without a number counts for nothing, as here.
fn serve(opening: &Opening) -> Result<Box<dyn Served>> {
    let p: Params = opening.node.params()?;
    let declared = Declared {
        table: &p.reward,
        settings: Settings {
            safety_snap: p.safety_snap,
        },
        scorers: &p.scorers,
        asks_finished: false,
        rules: json!({}),
        worth: Box::new(|value, _, _| Ok(value)),
    };
    reward::serve::open(opening, declared)
}

fn check(values: &Values) -> Vec<Problem> {
    let Ok(p) = Params::read(values) else {
        return vec![];
    };
    reward::node_problems(values, &p.reward)
}

/// The prompts of the pool that are asked.
fn asked(pool: &[Prompt], p: &Params) -> Vec<Prompt> {
    let classes = PromptClass::ALL.into_iter();
    classes
        .filter(|class| p.reward.contains_key(class.word()))
        .flat_map(|class| {
            let of_class = pool.iter().filter(move |row| row.class == class);
            of_class.take(p.prompts_per_class).cloned()
        })
        .collect()
}

fn tokens(preview: &NodePreview) -> Result<Tokens> {
    let p: Params = preview.params()?;
    let pool: Vec<Prompt> = rows::read_rows(preview.input("prompts"))?;
    let then = "the response";
    model_io::prompt_tokens(
        preview.input("model"),
        &asked(&pool, &p),
        None,
        None,
        then,
        preview.most,
    )
}

fn count_calls(preview: &NodePreview, _: &Path) -> Result<Calls> {
    let p: Params = preview.params()?;
    let snap = Settings {
        safety_snap: p.safety_snap,
    };
    let route = Route::new(&p.reward, snap)?;
    let prompts = asked(&rows::read_rows::<Prompt>(preview.input("prompts"))?, &p);
    let rollouts = (prompts.len() * p.samples) as u64;
    let most = (rollouts, p.max_new_tokens);
    route.forecast_unseen((&p.scorers, &preview.exec()?), &prompts, most)
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    model_io::use_threads(ctx)?;
    let (mut learner, tokenizer) = model_io::open(ctx, ctx.input("model"))?;
    let pool: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    let snap = Settings {
        safety_snap: p.safety_snap,
    };
    let mut route = Route::of_node(ctx, &p.reward, snap, &p.scorers)?;
    let prompts = asked(&pool, &p);
    let mut sampling = Sampling {
        learner: learner.as_mut(),
        policy: Policy::Live,
        tokenizer: &tokenizer,
        samples: p.samples,
        system: None,
        prefills: None,
        options: model_io::plain(&tokenizer, p.temperature, p.max_new_tokens),
        seed: Seed::new(p.seed).child("probe"),
    };
    model_checks::say_reach(ctx, &tokenizer, &prompts, None, p.max_new_tokens)?;
    let mut course = Course::new(ctx, "responses", prompts.len() * p.samples, 0);
    let groups = sampling.groups(ctx, &prompts, &mut course)?;

    let mut averages: Vec<(&Prompt, f64)> = vec![];
    let mut bests: Vec<(&Prompt, f64)> = vec![];
    let responses = sampling.responses(&groups)?;
    let judged: Vec<Judged> = prompts
        .iter()
        .zip(&responses)
        .flat_map(|(prompt, group)| group.iter().map(|r| Judged::of_prompt(prompt, r)))
        .collect();
    let scored = route.score_all(&judged, &mut reward::observer(ctx))?;
    route.log(ctx);
    // A judge may say nothing that can be read; what reads the text itself always has a score, or is an error.
    let may_fail = reward::names(&p.reward, Scorer::may_fail);
    let rewards = judged.iter().zip(scored);
    let rewards = rewards.map(|(judged, scored)| match scored.value {
        None if may_fail => Ok(None),
        _ => Ok(Some(scored.reward(judged)?.value)),
    });
    let rewards: Vec<Option<f64>> = rewards.collect::<Result<_>>()?;
    for (prompt, rewards) in prompts.iter().zip(rewards.chunks(p.samples)) {
        let rewards: Vec<f64> = rewards.iter().copied().flatten().collect();
        let Some(mean) = stats::mean(&rewards) else {
            continue;
        };
        averages.push((prompt, mean));
        bests.push((prompt, rewards.into_iter().fold(f64::MIN, f64::max)));
    }
    let mut measures = of_classes("average", &averages);
    measures.extend(of_classes("best", &bests));
    let completed = measure::observed(&prompts);
    measures.extend(reasoning::measures(&reasoned(
        &prompts, &completed, &responses,
    )));
    if may_fail {
        measures.extend(unscorable(&prompts, &rewards, p.samples));
    }
    let folder = ctx.output("metrics");
    let values = measure::values(completed.iter(), &measures);
    rows::write_values(&folder, &values)?;
    let metrics: Vec<Metric> = measures.into_iter().map(|m| m.metric).collect();
    rows::write_metrics(&folder, metrics)
}

/// The share of the samples of each prompt that have no reward.
fn unscorable(prompts: &[Prompt], rewards: &[Option<f64>], samples: usize) -> Vec<Measure> {
    let each = prompts.iter().zip(rewards.chunks(samples));
    let rows = each.flat_map(|(prompt, rewards)| {
        let row = move |r: &Option<f64>| (prompt.id.as_str(), prompt.class, r.is_none());
        rewards.iter().map(row)
    });
    by_class::shares(measure::UNSCORABLE.name, rows)
}

/// The samples, each observed where the prompts without their labels say, and split by the labels.
fn reasoned<'a>(
    prompts: &'a [Prompt],
    observed: &'a [CompletedPrompt],
    responses: &[Vec<String>],
) -> Vec<Reasoned<'a>> {
    let asked = prompts.iter().zip(observed).zip(responses);
    let each = asked.flat_map(|((prompt, observed), group)| {
        group.iter().map(|response| Reasoned {
            labels: &prompt.labels,
            ..Reasoned::read(observed, response, None)
        })
    });
    each.collect()
}

fn of_classes(prefix: &str, all: &[(&Prompt, f64)]) -> Vec<Measure> {
    let of = |class: &PromptClass| {
        let rows = all.iter().filter(move |(prompt, _)| prompt.class == *class);
        let each = rows.map(|(prompt, value)| (prompt.id.as_str(), *value));
        measure::rewards(&format!("{prefix}/{}", class.word()), each)
    };
    PromptClass::ALL.iter().filter_map(of).collect()
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let endpoints: ScorerEndpoints = preview.exec()?;
    let prompts = preview.expected("prompts");
    let asked = prompts.tokens.unwrap_or(estimate::PROMPT);
    let most = p.max_new_tokens as f64;
    let classes = p.reward.len() as f64;
    let rows = prompts.rows.unwrap_or(f64::MAX);
    let n = rows.min(classes * p.prompts_per_class as f64) * p.samples as f64;
    let each = PromptClass::ALL.map(|c| match p.reward.contains_key(c.word()) {
        true => 1.0 / classes,
        false => 0.0,
    });
    let asks = (&p.scorers, &endpoints);
    let shape = (n, Some(each));
    let mut work = reward::estimate(&p.reward, asks, preview, shape, (asked, most));
    if let Some(model) = preview.expected("model").model {
        work.flop += estimate::sample_flop(&model, n * (asked + most));
        let rows = estimate::device::Rows {
            prompts: n / p.samples as f64,
            samples: p.samples as f64,
            at_once: model_io::BATCH_ROWS,
            prompt: asked,
            written: most,
        };
        estimate::device::sample(&mut work, preview, &model, rows);
    }
    Ok(work)
}
