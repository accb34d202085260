//! Samples completions for prompts, of a model folder in this process or of a model behind an endpoint: an eval is the same recipe
//! for a model that is too large for this machine.

use crate::shared::aim::{Aim, Aims};
use crate::shared::answers::{self, Asking, Draw, Rejected, Served, ServedExec};
use crate::shared::bounds;
use crate::shared::cases;
use crate::shared::devices;
use crate::shared::estimate;
use crate::shared::model_checks;
use crate::shared::model_io::{self, Course, Prefills, Sampling};
use crate::world::truth;
use anyhow::{Context, Result, ensure};
use base::calls::Calls;
use base::choice;
use base::params;
use base::params::ParamSet;
use base::params::Problem;
use base::response::{self, Slot, Withheld};
use base::rng::Seed;
use base::rows::{self, Completion, DROPPED, Prompt, RowWriter};
use base::setup::Acts;
use base::text::count;
use base::tokens::Tokens;
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Labels, Needs, NodeId, Output, Port, Role, Type, Upstream};
use learn::learner::Policy;
use learn::sample::Options;
use learn::sample::choose::Choice;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const SENT: Acts = Acts::only(
    "where an endpoint is sent it: not with `endpoint.server = \"openai-reasoning\"`, nor where `endpoint.omit` names it",
    |s| answers::is_sent(s, "temperature"),
);
const NUCLEUS: Acts = Acts::only(
    "where `temperature` is above 0 and an endpoint is sent both",
    |s| s.exceeds("temperature", 0.0) && answers::is_sent(s, "top_p"),
);
const DRAWN: Acts = Acts::only("where `temperature` is above 0", |s| {
    s.exceeds("temperature", 0.0)
});
const SEEDED: Acts = Acts::draws(
    "where `temperature` is above 0, or an endpoint is sent it",
    |s| s.exceeds("temperature", 0.0) || s.given("endpoint.model"),
);

const BEGUN: Acts = Acts::only("where there is a beginning", |s| {
    s.given("prefill") || !s.says("prefill_from", "recipe")
});
const COMMON: Acts = Acts::only("where `prefill_from` is not `world`", |s| {
    !s.says("prefill_from", "world")
});
const LISTED: Acts = Acts::only("where `prefill_from` is `targets`", |s| {
    s.says("prefill_from", "targets")
});
const SAMPLED: Acts = Acts::only("where no `endpoint.model` answers", |s| {
    !s.given("endpoint.model")
});

choice! {
    /// Where the beginnings of responses are from.
    pub enum Source { Recipe = "recipe", Targets = "targets", World = "world" }
}

params! {
    pub struct Params {
        /// Responses a prompt.
        samples: usize = 1, in bounds::SAMPLES;
        /// 0 takes the most likely token.
        temperature: f64 = 1.0, in bounds::TEMPERATURE, if SENT;
        /// Nucleus: the most likely tokens up to this mass.
        top_p: f64 = 1.0, in bounds::NUCLEUS, if NUCLEUS;
        /// Only so many most likely tokens; 0 is all.
        top_k: usize = 0, in bounds::TOP_K, if DRAWN;
        /// Tokens a response may have.
        max_new_tokens: usize = 256, in bounds::TOKENS;
        /// A beginning that every response is given, which the model continues: `"<think>\n"` to force reasoning, or as an attack the
        /// beginning of the help that it should not give. Prompt and beginning are encoded as one text, and the beginning is never trimmed.
        /// It is part of the response: what it writes of the answer is judged with the answer.
        prefill: Option<String> = None, if COMMON;
        /// `recipe`: `prefill`, the same for all. `targets`: the texts of a file, a prompt's own, as HarmBench ships them; `prefill` is for
        /// prompts that it has not. `world`: of prompts of the built-in world, what an attacker wants said, which is the target that `gcg`
        /// searches for where none is given.
        prefill_from: Source = Source::Recipe;
        /// A JSON file of beginnings by prompt, `{"BehaviorID": "text"}`.
        targets: Option<PathBuf> = None, if LISTED;
        /// Where the beginning stands. `response`: as it is written. `reasoning`: after `<think>\n`. `answer`: after a think block with
        /// nothing in it, so that nothing is thought; of a model that does not reason, `response` begins the answer. A think block
        /// that the chat template opens already is opened once.
        prefill_slot: Slot = Slot::Response, if BEGUN;
        /// What the beginning is called as an attack, `"prefill"` say: rows have it as their label `attack`, behind that of an attack which
        /// made the prompt, and `evaluate` measures its success. Without it a beginning is none.
        attack: Option<String> = None, if BEGUN;
        /// `true`: the log-probability of every token is kept in the rows, and of an endpoint the ids where it gives them.
        logprobs: Option<bool> = None;
        /// Seed of the samples; an endpoint is sent seed + i for sample i of a prompt.
        seed: u64 = 0, in bounds::SEED, if SEEDED;
    }
    with { served: Served }
}

impl Params {
    /// The prompts as their rows are labelled.
    fn labelled(&self, mut prompts: Vec<Prompt>) -> Vec<Prompt> {
        if let Some(attack) = &self.attack {
            let labels = prompts.iter_mut().map(|prompt| &mut prompt.labels);
            labels.for_each(|labels| cases::called(labels, attack));
        }
        prompts
    }

    /// What responses begin with; nothing where there is no beginning. Errors: as `Aims`.
    fn prefills(&self, prompts: &[Prompt]) -> Result<Option<Prefills>> {
        if self.prefill_from == Source::Recipe {
            let begun = |text: &String| response::begun(self.prefill_slot, text);
            let text = self.prefill.as_ref().map(begun);
            return Ok(text.map(|text| Prefills::same(Some(text))));
        }
        let aim = Aim {
            target: self.prefill.clone(),
            targets: self.targets.clone(),
            slot: self.prefill_slot,
            prefill: None,
        };
        let aims = Aims::new(&aim)?;
        let each = prompts.iter().map(|prompt| {
            let text = aims.of(prompt, "");
            let text = text.with_context(|| format!("prompt {}", prompt.id))?;
            Ok((prompt.id.clone(), text))
        });
        Ok(Some(Prefills::own(each.collect::<Result<Vec<_>>>()?)))
    }
}

params! {
    pub struct Exec {
        /// Prompts between two saves of what is done.
        save_every: usize = 512, in bounds::EVERY, if SAMPLED;
        /// Responses that are sampled at the same time: fewer take less memory and more time.
        sample_rows: usize = 256, in bounds::AT_ONCE, if SAMPLED;
    }
    with { served: ServedExec }
}

pub const KIND: Kind = Kind {
    name: "generate",
    revision: 4,
    role: Role::Generates,
    summary: "samples completions of a model for prompts",
    about: "Prompts are rendered with the model folder's own chat template; a think block that its generation prompt opens is the \
            beginning of the response, and so is what `prefill` gives, whoever judges it: an attack that writes the first words of help has \
            helped if the model goes on with them. Where that reaches into the answer, rows have it as `begun`: whether the model refuses is \
            read in its own words, and an answer to which it adds none is empty. Only stop, pad and bos tokens are left out of it. A row's randomness is counted by (seed, prompt \
            id, sample, position): it does not depend on the other rows. Settings of generation_config.json are not \
            applied, only its end-of-turn tokens. An interrupted node keeps what it had. With `endpoint.model` the model is behind \
            an endpoint: every sampling field is sent, so that none is filled in from its generation_config.json, and its \
            answers are kept in the store's journal the moment they arrive; what `endpoint.rejected = \"drop\"` leaves out is in \
            `dropped.jsonl` beside the rows, and evaluations say how much it is. Reasoning that it gives apart comes back in \
            think tags.",
    example: r#"
[node.answers]
kind = "generate"
in = { model = "rl", prompts = "prompts.eval" }
temperature = 0.7
"#,
    inputs: &[
        Port::required_where(
            "model",
            Type::Model,
            "who answers",
            "unless `endpoint.model` names a model at an endpoint",
            |values| matches!(Params::read(values), Ok(p) if p.served.model().is_none()),
        ),
        Port::optional(
            "template",
            Type::Model,
            "whose chat template renders the prompts for the `completions` of an endpoint",
        ),
        Port::required("prompts", Type::Prompts, "what is asked"),
    ],
    outputs: &[Output::always(
        "completions",
        Type::Completions,
        "in the order of the prompts",
    )],
    params: Params::specs,
    exec: Exec::specs,
    check: Some(check),
    above: Some(above),
    adds,
    computes: Some(devices::anywhere(SAMPLED)),
    needs,
    tokens: Some(tokens),
    count_calls: Some(count_calls),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    if let (Ok(p), Ok(exec)) = (Params::read(values), Exec::read(values)) {
        let prefill = p.prefill.is_some() || p.prefill_from != Source::Recipe;
        if p.prefill_from == Source::Targets && p.targets.is_none() {
            found.push(Problem {
                path: "prefill_from".into(),
                message: "`targets` names no file of beginnings".into(),
                help: Some("`targets = \"FILE\"`, a JSON object of texts by BehaviorID".into()),
            });
        }
        found.extend(p.served.problems(&exec.served.endpoint, p.top_k, prefill));
    }
    found
}

fn adds(values: &Values) -> Labels {
    let attack = Params::read(values).ok().and_then(|p| p.attack);
    let label = attack.map(|attack| (rows::ATTACK, BTreeSet::from([attack])));
    label.into_iter().collect()
}

/// What an attacker wants said is known of prompts of the built-in world.
fn above(graph: &dyn Upstream, id: NodeId) -> Vec<Problem> {
    let read = Params::read(&graph.node(id).params);
    match read.is_ok_and(|p| p.prefill_from == Source::World) {
        true => truth::needed(graph, id, truth::Needed::Beginning),
        false => vec![],
    }
}

/// Name of the saved rows under the attempt's resume folder, before their number.
const SAVED: &str = "rows";

fn needs(values: &Values) -> Needs {
    match Params::read(values) {
        Ok(p) if p.served.model().is_some() => Needs::WAITING,
        _ => Needs::ALL_THREADS,
    }
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    let prompts = p.labelled(rows::read_rows(ctx.input("prompts"))?);
    if p.served.model().is_some() {
        return at_endpoint(ctx, &p, &exec, &prompts);
    }
    let rows = in_process(ctx, &p, &exec, &prompts)?;
    rows::write_rows(&ctx.output("completions"), &rows)
}

fn in_process(
    ctx: &NodeCtx,
    p: &Params,
    exec: &Exec,
    prompts: &[Prompt],
) -> Result<Vec<Completion>> {
    model_io::use_threads(ctx)?;
    let (mut learner, tokenizer) = model_io::open(ctx, ctx.input("model"))?;
    let prefills = p.prefills(prompts)?;
    let mut sampling = Sampling {
        learner: learner.as_mut(),
        policy: Policy::Live,
        tokenizer: &tokenizer,
        samples: p.samples,
        system: p.served.system.as_deref(),
        prefills: prefills.as_ref(),
        options: Options {
            choice: Choice {
                top_p: p.top_p as f32,
                top_k: p.top_k,
                ..Choice::plain(p.temperature as f32)
            },
            batch_rows: exec.sample_rows,
            ..model_io::plain(&tokenizer, p.temperature, p.max_new_tokens)
        },
        seed: Seed::new(p.seed).child("generate"),
    };
    let most = p.max_new_tokens;
    model_checks::say_reach(ctx, &tokenizer, prompts, sampling.prefills, most)?;
    let mut done = saved(ctx);
    let total = prompts.len() * p.samples;
    let mut course = Course::new(ctx, "responses", total, done.len());
    while done.len() < total {
        let start = done.len() / p.samples;
        let end = (start + exec.save_every).min(prompts.len());
        let part = &prompts[start..end];
        let more = sampling.completions(ctx, part, p.logprobs == Some(true), &mut course)?;
        done.extend(more);
        let name = format!("{SAVED}-{}", done.len());
        ctx.save_checkpoint(&name, &|folder| rows::write_rows(folder, &done))?;
    }
    Ok(done)
}

fn draw<'a>(p: &Params, prefills: Option<&'a Prefills>, template: Option<&'a Path>) -> Draw<'a> {
    Draw {
        samples: p.samples,
        temperature: p.temperature,
        top_p: p.top_p,
        top_k: p.top_k,
        max_new_tokens: p.max_new_tokens,
        prefills,
        logprobs: p.logprobs == Some(true),
        seed: p.seed,
        template,
    }
}

fn count_calls(preview: &NodePreview, calls: &Path) -> Result<Calls> {
    let p: Params = preview.params()?;
    if p.served.model().is_none() {
        return Ok(Calls::default());
    }
    let exec: Exec = preview.exec()?;
    let endpoint = &exec.served.endpoint;
    let prompts: Vec<Prompt> = rows::read_rows(preview.input("prompts"))?;
    let prefills = p.prefills(&prompts)?;
    let template = preview.inputs.get("template").map(|p| p.as_path());
    let draw = draw(&p, prefills.as_ref(), template);
    Asking::new(&p.served, endpoint, &draw, &prompts)?.forecast(endpoint, calls)
}

fn at_endpoint(ctx: &NodeCtx, p: &Params, exec: &Exec, prompts: &[Prompt]) -> Result<()> {
    let prefills = p.prefills(prompts)?;
    let draw = draw(p, prefills.as_ref(), ctx.input_opt("template"));
    let endpoint = &exec.served.endpoint;
    let asking = Asking::new(&p.served, endpoint, &draw, prompts)?;
    let rejected = p.served.rejected();
    let mut answered = asking.ask(ctx, endpoint, (prompts, p.samples), rejected)?;
    let folder = ctx.output("completions");
    let mut rows = RowWriter::create(&folder)?;
    let mut dropped: Vec<Completion> = vec![];
    let mut unanswered: BTreeMap<String, usize> = BTreeMap::new();
    let mut withheld: BTreeMap<Withheld, usize> = BTreeMap::new();
    let mut unread = 0;
    answered.each(|i, begun, outcome| {
        let (prompt, sample) = (&prompts[i / p.samples], i % p.samples);
        let row = Completion {
            id: format!("{}#{sample}", prompt.id),
            sample: sample as u32,
            prompt: prompt.clone().into(),
            response: String::new(),
            begun: None,
            tokens: 0,
            finished: true,
            withheld: None,
            logps: None,
            token_ids: None,
            served: None,
        };
        let rejection = match outcome {
            Ok(answer) => {
                let response = answers::response(&answer, begun);
                let begun = answers::begun(&response, begun);
                let why = answers::withheld(&answer, &response, begun.as_deref());
                why.into_iter()
                    .for_each(|why| *withheld.entry(why).or_default() += 1);
                unread += u64::from(draw.logprobs && answer.logps.is_none());
                return rows.push(&Completion {
                    withheld: why,
                    response,
                    begun,
                    tokens: answer.tokens as u32,
                    finished: answer.finished(),
                    logps: answer.logps,
                    token_ids: answer.token_ids,
                    served: answer.served,
                    ..row
                });
            }
            Err(rejection) => rejection,
        };
        *unanswered.entry(answers::reason(&rejection)).or_default() += 1;
        let row = Completion {
            withheld: rejection.policy.then_some(Withheld::Blocked),
            ..row
        };
        if rejected == Rejected::Empty {
            return rows.push(&row);
        }
        dropped.push(row);
        Ok(())
    })?;
    tell(ctx, rejected, &unanswered, &withheld);
    if unread > 0 {
        let responses = count(unread, "response", "responses");
        ctx.log(&format!(
            "{responses} without the log-probabilities that `logprobs` asks for: the service sent none"
        ));
    }
    let rows = rows.finish()?;
    ensure!(rows > 0, "the service would not answer any prompt");
    if rejected == Rejected::Drop {
        rows::write_lines(&folder.join(DROPPED), &dropped)?;
    }
    Ok(())
}

/// Of responses without an answer, how many there are for which reason.
fn tell(
    ctx: &NodeCtx,
    rejected: Rejected,
    unanswered: &BTreeMap<String, usize>,
    withheld: &BTreeMap<Withheld, usize>,
) {
    let become_of = match rejected {
        Rejected::Empty => "empty",
        Rejected::Drop | Rejected::Fail => "left out",
    };
    let responses = |n: usize| count(n as u64, "response", "responses");
    for (reason, n) in unanswered {
        ctx.log(&format!("{} {become_of}: {reason}", responses(*n)));
    }
    for (why, n) in withheld {
        let why = match why {
            Withheld::Blocked => "a filter of the service kept them back",
            Withheld::Refused => "the service says that the model refuses",
            Withheld::ToolCall => "the model calls a tool instead",
        };
        ctx.log(&format!("{} without an answer: {why}", responses(*n)));
    }
}

fn tokens(preview: &NodePreview) -> Result<Tokens> {
    let p: Params = preview.params()?;
    let prompts: Vec<Prompt> = rows::read_rows(preview.input("prompts"))?;
    let then = "the response";
    let model = preview
        .inputs
        .get("model")
        .or(preview.inputs.get("template"));
    let model =
        model.context("the model is behind an endpoint, and its tokens are not known here")?;
    let system = p.served.system.as_deref();
    model_io::prompt_tokens(
        model,
        &prompts,
        system,
        p.prefills(&prompts)?.as_ref(),
        then,
        preview.most,
    )
}

/// Rows that an earlier attempt finished: whole prompts only, since it saves between prompts.
fn saved(ctx: &NodeCtx) -> Vec<Completion> {
    let found = ctx
        .latest_checkpoint(SAVED)
        .find_map(|saved| rows::read_rows(&saved).ok());
    found.unwrap_or_default()
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let prompts = preview.expected("prompts");
    let asked = prompts.tokens.unwrap_or(estimate::PROMPT);
    let most = p.max_new_tokens as f64;
    let answers = prompts.rows.map(|n| n * p.samples as f64);
    let mut work = Work::default();
    let mut completions = estimate::rows(answers, Some(most));
    completions.shares = prompts.shares;
    work.outputs.insert("completions", completions);
    if p.served.model().is_some() {
        let prices = preview.exec::<Exec>()?.served.endpoint.prices();
        work.calls = answers.map(|n| estimate::calls(n, asked, most, &prices));
    } else if let Some(model) = preview.expected("model").model {
        let rows = estimate::device::Rows {
            prompts: prompts.rows.unwrap_or(f64::MAX),
            samples: p.samples as f64,
            at_once: preview.exec::<Exec>()?.sample_rows,
            prompt: asked,
            written: most,
        };
        estimate::device::sample(&mut work, preview, &model, rows);
        let tokens = answers.unwrap_or(0.0) * (asked + most);
        work.flop = estimate::sample_flop(&model, tokens);
    }
    Ok(work)
}
