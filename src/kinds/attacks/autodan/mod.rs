//! Prefixes that read like text and make a model begin its response as an attacker wants: AutoDAN (Liu et al. 2024, arXiv 2310.04451), a
//! genetic search over sentences and words.

pub mod genes;
mod params;
mod search;
mod seeds;
pub mod words;

use super::ending::{Asked, Check, Standing};
use super::searches::{self, Search, Searches};
use crate::shared::aim::Aims;
use crate::shared::cases;
use crate::shared::devices;
use crate::shared::estimate;
use crate::shared::model_io::{self, Model};
use crate::world::truth::{self, Needed};
use anyhow::{Result, ensure};
use base::params::ParamSet;
use base::params::Problem;
use base::rng::Seed;
use base::rows::{self, AttackStep, Metric, Prompt};
use base::text::{count, thousands};
use base::tokens::Tokens;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Needs, NodeId, Port, Role, Type, Upstream};
use learn::attack::frame::Frame;
use learn::attack::score::Options;
use learn::tokenizer::Tokenizer;
use params::{Exec, Params};
use search::{Attacked, Individual, State};
use seeds::Seeds;
use serde::{Deserialize, Serialize};
use std::path::Path;
use words::Synonyms;
use world::claims;

/// The port of the first prefixes.
const SEEDS: &str = "seeds";

pub const KIND: Kind = Kind {
    name: "autodan",
    revision: 2,
    role: Role::Generates,
    summary: "prefixes that a genetic search over sentences and words finds, for prompts that a model is to answer",
    about: "A population of prefixes is put before each prompt, and goes from generation to generation so that a target is likely as the \
            beginning of the response. The best go on as they are; the others are children of two parents, drawn by the softmax of their \
            negative losses over all, which exchange sentences between cuts; where there is a table of synonyms, children are mutated, and \
            words improved by the losses of the texts that they occur in. Losses are of the whole prompt as it is sent; no prompt is padded, \
            so that none hangs on another. The best prefix of all generations is delivered. A search ends by `check`, which tries out what \
            the seeds begin with too, after `patience` generations without a better loss, or after `steps`. No seeds are shipped: they are the \
            texts of the prompts at `seeds`, where `[REPLACE]` stands for what is asked. Prompts of the built-in world need none: then \
            they are claims about the world, true and false ones, and roles to be played, `points` + 2 sentences each. Whether an attack succeeds, `generate` and `evaluate` say of its prompts: \
            the same `prefill` belongs there. An interrupted node goes on with the generation it was at.",
    example: r#"
[node.attacked]
kind = "autodan"
in = { model = "rl", prompts = "prompts.eval" }
population = 24
steps = 20
points = 2
slot = "reasoning"
"#,
    inputs: &[
        Port::required("model", Type::Model, "who is attacked"),
        Port::required("prompts", Type::Prompts, "what it is to answer"),
        Port::optional(
            SEEDS,
            Type::Prompts,
            "texts that prefixes descend from; of prompts of the built-in world they may be left out",
        )
        .only_quoted(),
    ],
    outputs: &[
        cases::PROMPTS_OUT,
        cases::CASES_OUT,
        cases::LOG_OUT,
        cases::METRICS_OUT,
    ],
    metrics: &[
        cases::MADE,
        cases::WITHOUT,
        searches::FIRST,
        FOUND,
        searches::REACHED,
        CROSSED,
        searches::STEPS,
        searches::CANDIDATES,
        searches::ENDED,
    ],
    relabels: true,
    params: Params::specs,
    exec: Exec::specs,
    above: Some(above),
    computes: Some(devices::ANYWHERE),
    needs: |_| Needs::ALL_THREADS,
    tokens: Some(tokens),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

const FOUND: MetricInfo = MetricInfo::plain("loss/found", "nats", "loss of the prefix found");
const CROSSED: MetricInfo = MetricInfo::plain(
    "crossed",
    "share",
    "crossovers that had the sentences for it",
);

/// What the built-in world is to say can be said of its own prompts only.
fn above(graph: &dyn Upstream, id: NodeId) -> Vec<Problem> {
    let node = graph.node(id);
    let Ok(p) = Params::read(&node.params) else {
        return vec![];
    };
    let judged = (p.ending.check == Check::World).then_some(Needed::Check);
    let claims = node.inputs.get(SEEDS).is_none().then_some(Needed::Claims);
    let target = p.aim.is_own().then_some(Needed::Target);
    let needed = target.or(judged).or(claims);
    needed.map_or(vec![], |what| truth::needed(graph, id, what))
}

/// A prompt around which a message is put, and what its response is to begin with.
struct Case<'t> {
    /// Around the whole message.
    frame: Frame<'t>,
    target: Vec<u32>,
}

impl<'t> Case<'t> {
    /// Errors: as `Frame::new` and `Aims::of`; a target without a token.
    fn new(tokenizer: &'t Tokenizer, p: &Params, aims: &Aims, prompt: &Prompt) -> Result<Case<'t>> {
        let frame = Frame::new(tokenizer, "", p.aim.prefill.as_deref())?;
        let text = aims.of(prompt, &frame.begun)?;
        let target = tokenizer.encode(&text)?;
        ensure!(!target.is_empty(), "its target {text:?} has no token");
        Ok(Case { frame, target })
    }

    fn all(tokenizer: &'t Tokenizer, p: &Params, prompts: &[Prompt]) -> Result<Vec<Case<'t>>> {
        p.aim.each(prompts, |aims, prompt| {
            Case::new(tokenizer, p, aims, prompt)
        })
    }
}

/// What prefixes are made of: the first ones, and words that may stand for others.
fn material(p: &Params, seeds: Option<&Path>) -> Result<(Seeds, Synonyms)> {
    let (seeds, of_world) = match seeds {
        Some(folder) => (Seeds::given(&rows::read_rows(folder)?)?, None),
        None => (Seeds::OfWorld, Some(claims::synonyms())),
    };
    let synonyms = match (&p.synonyms, of_world) {
        (Some(path), _) => Synonyms::read(path)?,
        (None, Some(table)) => Synonyms::new(table.map(|(word, others)| {
            let others = others.into_iter().map(String::from);
            (word.to_string(), others.collect())
        })),
        (None, None) => Synonyms::default(),
    };
    Ok((seeds, synonyms))
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    model_io::use_threads(ctx)?;
    let model = Model::load(ctx.input("model"))?;
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    let (seeds, synonyms) = material(&p, ctx.input_opt(SEEDS))?;
    let cases = Case::all(&model.tokenizer, &p, &prompts)?;
    let mut attacked = Attacked {
        tokenizer: &model.tokenizer,
        victim: devices::victim(ctx, &model.weights)?,
    };
    let searches = Searches {
        ctx,
        ending: &p.ending,
        steps: p.steps,
        cases: p.cases,
        save_every: exec.save_every,
        prompts: prompts.len(),
    };
    let stop = || ctx.stop();
    let ended = searches.all(&prompts, |(i, prompt), resumed| {
        let mut search = OfPrompt {
            model: &mut attacked,
            p: &p,
            prompt,
            case: &cases[i],
            material: (&seeds, &synonyms),
            options: Options {
                tokens: exec.at_once,
                stop: &stop,
            },
        };
        searches.prompt((i, prompt), &mut search, resumed)
    })?;
    let _writing = ctx.finishing();
    let mut metrics = searches::write(ctx, p.aim.called(KIND.name), &prompts, &ended)?.metrics();
    let ends: Vec<&End> = ended.values().flat_map(|e| &e.ends).collect();
    tell(ctx, &p, &ends);
    metrics.extend(measures(&ends));
    rows::write_metrics(&ctx.output("metrics"), metrics)
}

/// What came of one search.
#[derive(Clone, Serialize, Deserialize)]
struct End {
    /// The best of the seeds, and of all.
    first: f64,
    found: Individual,
    steps: usize,
    candidates: usize,
    pairs: usize,
    crossed: usize,
    why: String,
}

/// The searches of one prompt.
struct OfPrompt<'s, 'm> {
    model: &'s mut Attacked<'m>,
    p: &'s Params,
    prompt: &'s Prompt,
    case: &'s Case<'m>,
    material: (&'s Seeds, &'s Synonyms),
    options: Options<'s>,
}

impl<'m> OfPrompt<'_, 'm> {
    /// The search of a case.
    fn of(&mut self, case: usize) -> search::Search<'_, 'm> {
        let seed = Seed::new(self.p.seed).child(KIND.name);
        search::Search {
            model: &mut *self.model,
            p: self.p,
            asked: &self.prompt.prompt,
            frame: &self.case.frame,
            target: &self.case.target,
            seeds: self.material.0,
            synonyms: self.material.1,
            options: self.options,
            seed: seed.child(&self.prompt.id).at(case as u64),
            log: AttackStep::new(&self.prompt.id, case as u32, 0, self.p.seed),
        }
    }
}

impl<'m> Search<'m> for OfPrompt<'_, 'm> {
    type State = State;
    type End = End;
    const BEGINS_WITH_A_STEP: bool = true;

    fn begin(&mut self, case: usize) -> Result<State> {
        self.of(case).begin()
    }

    fn step(&mut self, case: usize, state: &mut State) -> Result<()> {
        self.of(case).step(state)
    }

    fn standing<'s>(&self, state: &'s State) -> Standing<'s> {
        Standing {
            step: state.generation,
            stale: state.stale,
            text: &state.message,
            loss: state.best.loss,
            greedy: state.best.greedy,
        }
    }

    fn end(&self, case: usize, state: State, why: &str) -> (String, Vec<AttackStep>, End) {
        let found = state.log.iter().rfind(|s| s.text == state.best.text);
        let found = found.expect("the best is the best of some generation").step;
        let end = End {
            first: state.log[0].loss.expect("a search begins with a loss"),
            found: state.best,
            steps: state.generation,
            candidates: state.candidates,
            pairs: state.pairs,
            crossed: state.crossed,
            why: why.into(),
        };
        let log = searches::closed(state.log, why, found, case);
        (state.message, log, end)
    }

    fn asked(&mut self) -> Asked<'_, 'm> {
        Asked {
            victim: self.model.victim.as_mut(),
            tokenizer: self.model.tokenizer,
            frame: &self.case.frame,
        }
    }

    fn computed(&self) -> usize {
        self.model.victim.computed()
    }
}

/// What is worth a word: texts that have too few sentences to exchange any.
fn tell(ctx: &NodeCtx, p: &Params, ends: &[&End]) {
    let pairs: usize = ends.iter().map(|e| e.pairs).sum();
    let crossed: usize = ends.iter().map(|e| e.crossed).sum();
    if 2 * crossed < pairs {
        ctx.log(&format!(
            "{crossed} of {pairs} pairs of parents exchanged sentences: the others have fewer than the {} that {} cuts take",
            p.points + 2,
            p.points
        ));
    }
}

fn measures(ends: &[&End]) -> Vec<Metric> {
    let mean = |info: &MetricInfo, of: &dyn Fn(&End) -> f64| {
        searches::mean(info.name, info.unit, ends.iter().map(|e| of(e)))
    };
    let reached = ends.iter().filter(|e| e.found.greedy).count();
    let mut all = vec![
        mean(&searches::FIRST, &|e| e.first),
        mean(&FOUND, &|e| e.found.loss),
        cases::share(searches::REACHED.name, reached, ends.len()),
        mean(&searches::STEPS, &|e| e.steps as f64),
        mean(&searches::CANDIDATES, &|e| e.candidates as f64),
    ];
    let pairs = ends.iter().map(|e| e.pairs).sum();
    if pairs > 0 {
        let crossed = ends.iter().map(|e| e.crossed).sum();
        all.push(cases::share(CROSSED.name, crossed, pairs));
    }
    all.extend(searches::ended(ends.iter().map(|e| e.why.as_str())));
    all
}

fn tokens(preview: &NodePreview) -> Result<Tokens> {
    let p: Params = preview.params()?;
    let tokenizer = Tokenizer::load(preview.input("model"))?;
    let seeds = preview.inputs.get(SEEDS).map(|folder| folder.as_path());
    let (seeds, synonyms) = material(&p, seeds)?;
    let prompts: Vec<Prompt> = rows::read_rows(preview.input("prompts"))?;
    let mut tokens = Tokens::new("prompts", preview.most);
    for (prompt, case) in prompts.iter().zip(Case::all(&tokenizer, &p, &prompts)?) {
        let seed = Seed::new(p.seed).child(KIND.name).child(&prompt.id).at(0);
        let prefixes = seeds.population(&p, &synonyms, seed);
        let message = search::message(&p, &prefixes[0], &prompt.prompt);
        let mut ids = case.frame.sent(&message)?;
        let asked = ids.len();
        ids.extend(&case.target);
        let mask: Vec<bool> = (0..ids.len()).map(|i| i >= asked).collect();
        tokens.push(&prompt.id, &ids, &mask, |ids| tokenizer.decode(ids, false))?;
    }
    let note = "with the first of the prefixes that it begins with; marked are the targets";
    tokens.notes.push(note.into());
    Ok(tokens)
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let exec: Exec = preview.exec()?;
    let given = preview.expected("prompts");
    let asked = given.tokens.unwrap_or(estimate::PROMPT);
    let prefix = preview.expected(SEEDS).tokens.unwrap_or(PREFIX);
    let searches = given.rows.map(|n| n * p.cases as f64);
    let mut work = Work::default();
    let mut made = estimate::rows(searches, Some(prefix + asked));
    made.shares = given.shares;
    work.outputs.insert("prompts", made);
    let Some(searches) = searches else {
        return Ok(work);
    };
    // The best are known from the generation before.
    let elites = (p.population as f64 * p.elites).floor();
    let new = p.population as f64 - elites;
    let candidates = searches * (p.population as f64 + p.steps as f64 * new);
    work.amount = candidates;
    work.told = Some(format!(
        "{} candidates at most: {} × {} generations × {}",
        thousands(candidates as u64),
        count(searches as u64, "search", "searches"),
        thousands(p.steps as u64 + 1),
        thousands(p.population as u64)
    ));
    if let Some(model) = preview.expected("model").model {
        let each = prefix + asked + AFTER;
        work.flop = estimate::sample_flop(&model, candidates * each);
        let search = estimate::device::Search {
            tokens: each,
            target: AFTER,
            suffix: 0.0,
            at_once: exec.at_once as f64,
            written: p.ending.written(),
        };
        estimate::device::attack(&mut work, preview, &model, search);
    }
    Ok(work)
}

/// Tokens of a prefix, where nothing is known of the seeds.
const PREFIX: f64 = 64.0;
/// Tokens behind a message, where nothing is known of them: the end of the chat's turn and a target.
const AFTER: f64 = 32.0;
