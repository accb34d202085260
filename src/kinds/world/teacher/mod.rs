//! Teacher traces: reasoning and answer for every prompt, several times. The teacher is the built-in world's, a model behind an
//! endpoint, or a model folder; what is kept is decided in the same way for all three.
//!
//! TARS (arXiv 2507.00971) takes four traces of DeepSeek-R1 a harmful prompt and removes those with empty reasoning: left in, RL
//! learns to skip reasoning altogether. It does not filter for safety, and neither does this.

mod keep;
mod params;

use crate::data::likeness::normal;
use crate::shared::answers::{self, Asking, Draw, Rejected, ServedExec};
use crate::shared::devices;
use crate::shared::estimate;
use crate::shared::model_checks;
use crate::shared::model_io::{self, Course, Sampling};
use crate::world::truth;
use anyhow::Result;
use base::calls::Calls;
use base::params::ParamSet;
use base::params::Problem;
use base::response::Withheld;
use base::rng::Seed;
use base::rows::{self, Prompt};
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Needs, NodeId, Output, Port, Role, Type, Upstream};
use keep::{Sieve, Trace};
use learn::learner::Policy;
use learn::sample::Options;
use learn::sample::choose::Choice;
use params::{From, Params, Style};
use std::path::Path;
use world::{self, TeacherSpec, teacher};

pub const KIND: Kind = Kind {
    name: "teacher",
    revision: 3,
    role: Role::Generates,
    summary: "n traces of reasoning and answer a prompt, from the built-in teacher, an endpoint or a model",
    about: "Traces with empty reasoning are removed, as are duplicates, unfinished ones, and those of prompts that the prompts \
            at the port `exclude` hold (lower-cased, white space and a last full stop aside): what is evaluated is not \
            taught. The output `removed` holds them with the reason. Traces are not filtered for safety. The world's teacher \
            knows the facts of the world and writes them down in varied words: what the aliases stand for, what each thing \
            is, whether the combination is harmful; then it refuses or helps. Answers of an endpoint are kept in the store's \
            journal the moment they arrive: asked again, by this node or any other, they cost nothing.",
    example: r#"
[node.traces]
kind = "teacher"
in = { prompts = "prompts.sft", exclude = "prompts.eval" }
from = "endpoint"
samples = 4

[node.traces.endpoint]
model = "deepseek-reasoner"
url = "https://api.deepseek.com/v1"
key_env = "DEEPSEEK_API_KEY"
price_prompt = 0.55
price_completion = 2.19
budget_dollars = 20.0
"#,
    inputs: &[
        Port::required("prompts", Type::Prompts, "what is asked"),
        Port::required_where(
            "model",
            Type::Model,
            "the teacher",
            "where `from` is `model`",
            |values| matches!(Params::read(values), Ok(p) if p.from == From::Model),
        ),
        Port::optional(
            "exclude",
            Type::Prompts,
            "prompts of evals, which are not asked",
        )
        .only_compared(),
    ],
    outputs: &[
        Output::always(
            "conversations",
            Type::Conversations,
            "one conversation a kept trace",
        ),
        Output::always(
            "metrics",
            Type::Metrics,
            "shares of the traces that were kept and removed, by reason",
        ),
        Output::always(
            "removed",
            Type::Conversations,
            "the traces that were removed, each with its `reason`",
        ),
    ],
    metrics: &[
        MetricInfo::plain("kept", "share", "traces kept"),
        MetricInfo::plain("removed/*", "share", "removed, *"),
    ],
    params: Params::specs,
    exec: ServedExec::specs,
    check: Some(check),
    above: Some(above),
    computes: Some(devices::anywhere(params::LOCAL)),
    needs,
    count_calls: Some(count_calls),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn check(values: &Values) -> Vec<Problem> {
    let (Ok(p), Ok(exec)) = (Params::read(values), ServedExec::read(values)) else {
        return vec![];
    };
    let mut found = vec![];
    found.extend(p.served.problems(&exec.endpoint, 0, false));
    match (p.from, p.served.model()) {
        (From::Endpoint, None) => found.push(Problem {
            path: "endpoint.model".into(),
            message: "`from` is `endpoint`, and `endpoint.model` does not say which model is asked"
                .into(),
            help: Some("its name there, as `endpoint.model = \"deepseek-reasoner\"`".into()),
        }),
        (From::World | From::Model, Some(_)) => found.push(Problem {
            path: "endpoint.model".into(),
            message: "only an `endpoint` has a model that is called so".into(),
            help: Some("set `from = \"endpoint\"`".into()),
        }),
        _ => {}
    }
    if p.served.rejected() == Rejected::Empty {
        found.push(Problem {
            path: "endpoint.rejected".into(),
            message: "an empty answer teaches nothing".into(),
            help: Some("`drop` leaves it out".into()),
        });
    }
    found
}

/// The built-in teacher knows the facts of its own prompts only.
fn above(graph: &dyn Upstream, id: NodeId) -> Vec<Problem> {
    let world = Params::read(&graph.node(id).params).is_ok_and(|p| p.from == From::World);
    let lacking = world
        .then(|| truth::lacking(graph, id, "prompts"))
        .flatten();
    let problem = |source: NodeId| Problem {
        path: "from".into(),
        message: format!(
            "the teacher `world` knows only prompts of the built-in world, and those of `{}` are not",
            graph.node(source).name
        ),
        help: Some("`endpoint` or `model`".into()),
    };
    lacking.map(problem).into_iter().collect()
}

fn needs(values: &Values) -> Needs {
    match Params::read(values).map(|p| p.from) {
        Ok(From::Endpoint) => Needs::WAITING,
        Ok(From::Model) => Needs::ALL_THREADS,
        _ => Needs::ONE_THREAD,
    }
}

/// The prompts that are asked, and those that an eval holds.
fn prompts(folder: &Path, exclude: Option<&Path>) -> Result<(Vec<Prompt>, Vec<Prompt>)> {
    let all: Vec<Prompt> = rows::read_rows(folder)?;
    let Some(exclude) = exclude else {
        return Ok((all, vec![]));
    };
    let excluded: Vec<Prompt> = rows::read_rows(exclude)?;
    let held = excluded.iter().map(|p| normal(&p.prompt)).collect();
    Ok(keep::apart(all, &held))
}

fn draw(p: &Params) -> Draw<'static> {
    Draw {
        samples: p.samples as usize,
        temperature: p.temperature,
        top_p: p.top_p,
        top_k: 0,
        max_new_tokens: p.max_new_tokens,
        prefills: None,
        logprobs: false,
        seed: p.seed,
        template: None,
    }
}

fn count_calls(preview: &NodePreview, calls: &Path) -> Result<Calls> {
    let p: Params = preview.params()?;
    if p.from != From::Endpoint {
        return Ok(Calls::default());
    }
    let exec: ServedExec = preview.exec()?;
    let exclude = preview.inputs.get("exclude").map(|p| p.as_path());
    let (asked, _) = prompts(preview.input("prompts"), exclude)?;
    Asking::new(&p.served, &exec.endpoint, &draw(&p), &asked)?.forecast(&exec.endpoint, calls)
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let (asked, overlapping) = prompts(ctx.input("prompts"), ctx.input_opt("exclude"))?;
    let mut sieve = Sieve::create(&ctx.output("conversations"), &ctx.output("removed"), &p)?;
    sieve.overlap(&overlapping)?;
    match p.from {
        From::World => from_world(&asked, &p, &mut sieve)?,
        From::Endpoint => from_endpoint(ctx, &asked, &p, &mut sieve)?,
        From::Model => from_model(ctx, &asked, &p, &mut sieve)?,
    }
    let sifted = sieve.finish()?;
    ctx.log(&sifted.log_line());
    sifted.ensure_some()?;
    rows::write_metrics(&ctx.output("metrics"), sifted.metrics())
}

fn from_world(prompts: &[Prompt], p: &Params, sieve: &mut Sieve) -> Result<()> {
    let spec = TeacherSpec {
        error_rate: p.error_rate,
        empty_rate: p.empty_rate,
        style: match p.style {
            Style::Terse => world::Style::Terse,
            Style::Stepwise => world::Style::Stepwise,
            Style::Hedging => world::Style::Hedging,
            Style::Mixed => world::Style::Mixed,
        },
        seed: p.seed,
    };
    for prompt in prompts {
        for sample in 0..p.samples {
            let text = teacher::trace(prompt, sample, &spec)?;
            sieve.push(&Trace::new(prompt, sample, "world-teacher", text, true))?;
        }
    }
    Ok(())
}

fn from_endpoint(ctx: &NodeCtx, prompts: &[Prompt], p: &Params, sieve: &mut Sieve) -> Result<()> {
    let ServedExec { endpoint } = ctx.exec()?;
    let samples = p.samples as usize;
    let asking = Asking::new(&p.served, &endpoint, &draw(p), prompts)?;
    let rejected = p.served.rejected();
    let mut answered = asking.ask(ctx, &endpoint, (prompts, samples), rejected)?;
    let named = p.served.model().unwrap_or_default();
    answered.each(|i, begun, outcome| {
        let (prompt, sample) = (&prompts[i / samples], (i % samples) as u32);
        sieve.push(&match outcome {
            Ok(answer) => {
                let source = answer.served.as_deref().unwrap_or(named);
                let text = answers::response(&answer, begun);
                match answers::withheld(&answer, &text, None) {
                    Some(Withheld::Blocked) => {
                        let summary = format!("a filter kept it back: `{}`", answer.stop);
                        Trace::rejected(prompt, sample, source, &summary)
                    }
                    _ => Trace::new(prompt, sample, source, text, answer.finished()),
                }
            }
            Err(rejection) => Trace::rejected(prompt, sample, named, &rejection.to_string()),
        })
    })
}

fn from_model(ctx: &NodeCtx, prompts: &[Prompt], p: &Params, sieve: &mut Sieve) -> Result<()> {
    model_io::use_threads(ctx)?;
    let (mut learner, tokenizer) = model_io::open(ctx, ctx.input("model"))?;
    let mut sampling = Sampling {
        learner: learner.as_mut(),
        policy: Policy::Live,
        tokenizer: &tokenizer,
        samples: p.samples as usize,
        system: p.served.system.as_deref(),
        prefills: None,
        options: Options {
            choice: Choice {
                top_p: p.top_p as f32,
                ..Choice::plain(p.temperature as f32)
            },
            ..model_io::plain(&tokenizer, p.temperature, p.max_new_tokens)
        },
        seed: Seed::new(p.seed).child("teacher"),
    };
    model_checks::say_reach(ctx, &tokenizer, prompts, None, p.max_new_tokens)?;
    let mut course = Course::new(ctx, "traces", prompts.len() * sampling.samples, 0);
    let completions = sampling.completions(ctx, prompts, false, &mut course)?;
    for (i, row) in completions.into_iter().enumerate() {
        let prompt = &prompts[i / p.samples as usize];
        let trace = Trace::new(prompt, row.sample, "model", row.response, row.finished);
        sieve.push(&trace)?;
    }
    Ok(())
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let prompts = preview.expected("prompts");
    let asked = prompts.tokens.unwrap_or(estimate::PROMPT);
    let most = p.max_new_tokens as f64;
    let traces = prompts.rows.map(|n| n * f64::from(p.samples));
    let mut work = Work::default();
    let tokens = (p.from != From::World).then_some(asked + most);
    let conversations = estimate::rows(traces, tokens);
    work.outputs.insert("conversations", conversations);
    match (p.from, preview.expected("model").model) {
        (From::Endpoint, _) => {
            let prices = preview.exec::<ServedExec>()?.endpoint.prices();
            work.calls = traces.map(|n| estimate::calls(n, asked, most, &prices));
        }
        (From::Model, Some(model)) => {
            let rows = estimate::device::Rows {
                prompts: prompts.rows.unwrap_or(f64::MAX),
                samples: f64::from(p.samples),
                at_once: model_io::BATCH_ROWS,
                prompt: asked,
                written: most,
            };
            estimate::device::sample(&mut work, preview, &model, rows);
            let tokens = traces.unwrap_or(0.0) * (asked + most);
            work.flop = estimate::sample_flop(&model, tokens);
        }
        (From::World | From::Model, _) => {}
    }
    Ok(work)
}
