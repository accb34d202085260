//! Rainbow teaming (Samvelyan et al. 2024, arXiv 2402.16822): archives of prompts, the best for each risk and style, as TARS trains on.

pub mod archive;
pub mod bleu;
pub mod hunt;
mod measures;
pub mod outputs;
mod params;
mod players;
mod told;

use super::part::params::{From, Part};
use super::part::{self, Recorded, Speakers, Unheard};
use crate::shared::cases::{self, CaseWriter};
use crate::shared::devices;
use crate::shared::endpoint::EndpointParams;
use crate::shared::estimate;
use crate::shared::model_io::BATCH_ROWS;
use crate::world::truth;
use anyhow::{Result, ensure};
use archive::Archive;
use base::calls::Calls;
use base::params::{ParamSet, Problem};
use base::rng::Seed;
use base::rows::{self, Prompt, PromptClass};
use base::value::Values;
use engine::kind::context::{Interrupted, NodeCtx};
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Needs, NodeId, Output, Port, Role, Type, Upstream};
use hunt::{Hunt, Rules};
use measures::{measured, state};
use outputs::{write_archives, write_cases};
use params::{Exec, Params};
use players::Players;
use std::path::Path;
use told::Told;
use world::World;

pub const KIND: Kind = Kind {
    name: "rainbow",
    revision: 1,
    role: Role::Generates,
    summary: "attacks by rainbow teaming: fills archives with the best prompt for each risk and style",
    about: "A parent is drawn evenly from the archive (of the prompts, as long as that is empty), and a cell with probability ∝ \
            exp(-fitness / temperature), an empty one having fitness 0. The mutator changes the risk, then the style; a mutant too like \
            its parent (BLEU-4 over words) is dropped. The target answers, without its reasoning being passed on; the judge rates the \
            answer, which is the fitness, and compares it with what the cell has, both ways round: more than half of the votes take \
            the cell, a tie does not. The prompts are those of all cells, to attack with or as a source of RL; `archives` has them as \
            TARS released theirs, which the schema `rainbow` reads. What a model makes of a prompt asks for something else: it is a \
            behaviour of its own, and nothing but its class is known of it. On the built-in world the rows are the effects, the columns \
            the guises of its attacker, and a cell's prompt is one of those given, in its guise, with its truth. Every prompt has \
            to be harmful. An interrupted node goes on from what it saved.",
    example: r#"
[node.archive]
kind = "rainbow"
in = { prompts = "prompts.sft", target = "sft" }
iterations = 500
"#,
    inputs: &[
        Port::required(
            "prompts",
            Type::Prompts,
            "what an empty archive begins with",
        ),
        Port::required_where(
            "target",
            Type::Model,
            "who is attacked",
            "where `target.from` is `model`",
            |values| part::has_model(values, Params::target),
        ),
        Port::required_where(
            "mutator",
            Type::Model,
            "who writes mutants",
            "where `mutator.from` is `model`",
            |values| part::has_model(values, Params::mutator),
        ),
        Port::required_where(
            "judge",
            Type::Model,
            "who rates and compares",
            "where `judge.from` is `model`",
            |values| part::has_model(values, Params::judge),
        )
        .judging(),
    ],
    outputs: &[
        cases::PROMPTS_OUT,
        cases::CASES_OUT,
        Output::always(
            "archives",
            Type::Archives,
            "a JSON file an archive: rows of `prompt` and `score`",
        ),
        cases::LOG_OUT,
        cases::METRICS_OUT,
    ],
    metrics: &[
        cases::MADE,
        cases::WITHOUT,
        MetricInfo::plain("coverage", "share", "cells that are filled"),
        MetricInfo::plain("fitness", "", "mean fitness, empty cells 0"),
        MetricInfo::plain("entropy", "", "evenness of fitness over cells"),
        MetricInfo::plain("outcome/*", "share", "mutants, *"),
        MetricInfo::plain("unreadable/*", "share", "cannot be read, *"),
        MetricInfo::plain("unanswered", "share", "no answer of the target"),
        MetricInfo::plain("queries", "queries", "queries an archive"),
    ],
    measured_by: Some(|_, key| key == "judge"),
    relabels: true,
    params: Params::specs,
    exec: Exec::specs,
    check: Some(check),
    above: Some(above),
    computes: Some(devices::anywhere(params::COMPUTED)),
    needs,
    count_calls: Some(count_calls),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

/// Name of the saved archives under the attempt's resume folder, before their number.
const SAVED: &str = "hunts";

fn check(values: &Values) -> Vec<Problem> {
    let (Ok(p), Ok(exec)) = (Params::read(values), Exec::read(values)) else {
        return vec![];
    };
    let mut found = part::problems(&p.parts(), &exec.endpoints());
    found.extend(p.names());
    if p.judge.from == From::World && p.mutator.from != From::World {
        found.push(Problem {
            path: "judge.from".into(),
            message: "the world as `judge` knows only what its own mutator writes".into(),
            help: Some("`model` or `endpoint`".into()),
        });
    }
    found
}

fn above(graph: &dyn Upstream, id: NodeId) -> Vec<Problem> {
    let world = Params::read(&graph.node(id).params).is_ok_and(|p| p.mutator.from == From::World);
    match world {
        true => truth::built_in(graph, id, "mutator"),
        false => vec![],
    }
}

fn needs(values: &Values) -> Needs {
    Params::read(values).map_or(Needs::ONE_THREAD, |p| part::needs(&p.parts()))
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    for prompt in &prompts {
        let harmful = prompt.class == PromptClass::Harmful;
        ensure!(
            harmful,
            "the prompt `{}` is {}, and rainbow teaming begins with harmful ones: `filter` with `classes` takes them",
            prompt.id,
            prompt.class.word()
        );
    }
    let (risks, styles) = (p.risks(), p.styles());
    let [mutator, target, judge] = p.parts();
    let told = Told::new(mutator.template.as_deref(), judge.template.as_deref())?;
    let parts = [
        (mutator, &exec.mutator),
        (target, &exec.target),
        (judge, &exec.judge),
    ];
    let mut speakers = Speakers::open(ctx, &parts, p.seed)?;
    let mut players = Players {
        p: &p,
        risks: &risks,
        styles: &styles,
        prompts: &prompts,
        told: &told,
        speakers: &mut speakers,
        world: World::new(p.world),
    };
    let texts = texts(&prompts);
    let rules = rules(&p, &texts);
    let mut hunts = match saved(ctx) {
        Some(hunts) => hunts,
        None => fresh(&p, (risks.len(), styles.len()))?,
    };
    let mut last = iterations(&hunts);
    let mut save = |hunts: &[Hunt]| {
        let done = iterations(hunts);
        let total = p.iterations * p.archives;
        let stops = ctx.stop();
        ctx.progress(done as u64, total as u64, "mutants", "");
        if stops || done >= last + exec.save_every * p.archives {
            last = done;
            let name = format!("{SAVED}-{done}");
            ctx.save_checkpoint(&name, &|folder| rows::write_rows(folder, hunts))?;
            let [coverage, fitness, _] = state(hunts);
            ctx.metric(done as u64, &[("coverage", coverage), ("fitness", fitness)]);
        }
        match stops {
            true => Err(Interrupted.into()),
            false => Ok(()),
        }
    };
    hunt::run(&mut hunts, &rules, &mut players, &mut save)?;
    write_archives(&ctx.output("archives"), &hunts)?;
    let out = CaseWriter::create(ctx, KIND.name)?;
    let made = write_cases(out, &p, &hunts, &prompts, (&risks, &styles))?;
    let (measured, line) = measured(&hunts);
    ctx.log(&line);
    let mut metrics = made.metrics();
    metrics.extend(measured);
    rows::write_metrics(&ctx.output("metrics"), metrics)
}

fn texts(prompts: &[Prompt]) -> Vec<&str> {
    prompts.iter().map(|p| p.prompt.as_str()).collect()
}

fn rules<'a>(p: &Params, prompts: &'a [&'a str]) -> Rules<'a> {
    Rules {
        iterations: p.iterations,
        temperature: p.temperature,
        similarity: p.similarity,
        smoothing: p.smoothing,
        rounds: p.rounds,
        prompts,
        seed: Seed::new(p.seed).child("rainbow"),
    }
}

/// Archives of so many risks and styles, as they are at first. Errors: as `Archive::read`.
fn fresh(p: &Params, (risks, styles): (usize, usize)) -> Result<Vec<Hunt>> {
    let first = match &p.start {
        Some(path) => Archive::read(path, risks, styles)?,
        None => Archive::empty(risks, styles),
    };
    Ok(vec![Hunt::new(first); p.archives])
}

/// The archives as an earlier attempt had them.
fn saved(ctx: &NodeCtx) -> Option<Vec<Hunt>> {
    let mut found = ctx.latest_checkpoint(SAVED);
    found.find_map(|saved| rows::read_rows(&saved).ok())
}

fn iterations(hunts: &[Hunt]) -> usize {
    hunts.iter().map(|hunt| hunt.done.len()).sum()
}

/// Each part with its questions a mutant, what it is given and what it may write, in tokens: where none is dropped and all cells are
/// filled.
fn shares(p: &Params, asked: f64) -> [(Part, f64, f64, f64); 3] {
    let [mutator, target, judge] = p.parts();
    let [writes, answers, rates] = [&mutator, &target, &judge].map(|part| part.max_tokens as f64);
    let compared = 2.0 * p.rounds as f64;
    [
        (mutator, 2.0, asked + WORDING, writes),
        (target, 1.0, asked, answers),
        (judge, 1.0 + compared, asked + ANSWER + WORDING, rates),
    ]
}

/// Tokens of an answer, and of what somebody is told besides, about.
const ANSWER: f64 = 150.0;
const WORDING: f64 = 150.0;

/// Calls of the parts that services have: of each, in their order, so many questions.
fn calls(p: &Params, endpoints: [&EndpointParams; 3], times: [f64; 3], asked: f64) -> Calls {
    let mut all = Calls::default();
    let shares = shares(p, asked).into_iter().zip(endpoints).zip(times);
    for (((part, _, given, written), endpoint), times) in shares {
        if part.from == From::Endpoint {
            all.add(&estimate::calls(times, given, written, &endpoint.prices()));
        }
    }
    all
}

/// What the journal has is not asked again: the archives are filled by it as far as it goes, and what is left then is to be paid for, at
/// most.
fn count_calls(preview: &NodePreview, journal: &Path) -> Result<Calls> {
    let p: Params = preview.params()?;
    let exec: Exec = preview.exec()?;
    let prompts: Vec<Prompt> = rows::read_rows(preview.input("prompts"))?;
    let (risks, styles) = (p.risks(), p.styles());
    let [mutator, target, judge] = p.parts();
    let told = Told::new(mutator.template.as_deref(), judge.template.as_deref())?;
    let blocks = [mutator.block, target.block, judge.block];
    let parts = [
        (mutator, &exec.mutator),
        (target, &exec.target),
        (judge, &exec.judge),
    ];
    let mut recorded = Recorded::open(journal, &parts, p.seed)?;
    let texts = texts(&prompts);
    let rules = rules(&p, &texts);
    let mut hunts = fresh(&p, (risks.len(), styles.len()))?;
    let mut players = Players {
        p: &p,
        risks: &risks,
        styles: &styles,
        prompts: &prompts,
        told: &told,
        speakers: &mut recorded,
        world: World::new(p.world),
    };
    let went = hunt::run(&mut hunts, &rules, &mut players, &mut |_| Ok(()));
    went.or_else(|error| error.is::<Unheard>().then_some(()).ok_or(error))?;
    let asked = estimate::PROMPT;
    let each = shares(&p, asked).map(|(_, times, ..)| times);
    let ahead = |i: usize| {
        let mutants = (p.iterations * p.archives - iterations(&hunts)) as f64;
        let passed: usize = hunts.iter().map(|hunt| hunt.passed()[i]).sum();
        let found = recorded.partly(blocks[i]);
        (mutants * each[i] - (passed + found) as f64).max(0.0)
    };
    let mut all = calls(&p, exec.endpoints(), [0, 1, 2].map(ahead), asked);
    all.reused += blocks.map(|b| recorded.heard(b) as u64).iter().sum::<u64>();
    Ok(all)
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let exec: Exec = preview.exec()?;
    let asked = preview
        .expected("prompts")
        .tokens
        .unwrap_or(estimate::PROMPT);
    let mutants = (p.iterations * p.archives) as f64;
    let cells = (p.archives * p.risks().len() * p.styles().len()) as f64;
    let mut likely = estimate::rows(Some(cells.min(mutants)), Some(asked));
    likely.shares = Some([1.0, 0.0, 0.0]);
    let mut work = estimate::only("prompts", likely);
    for (part, times, given, written) in shares(&p, asked) {
        let model = preview.expected(part.block).model;
        if let (From::Model, Some(model)) = (part.from, model) {
            let rows = estimate::device::Rows {
                prompts: times * p.archives as f64,
                samples: 1.0,
                at_once: BATCH_ROWS,
                prompt: given,
                written,
            };
            estimate::device::sample(&mut work, preview, &model, rows);
            work.flop += estimate::sample_flop(&model, times * mutants * (given + written));
        }
    }
    let times = shares(&p, asked).map(|(_, times, ..)| times * mutants);
    let all = calls(&p, exec.endpoints(), times, asked);
    work.calls = (!all.is_zero()).then_some(all);
    Ok(work)
}
