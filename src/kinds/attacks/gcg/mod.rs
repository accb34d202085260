//! Suffixes that make a model begin its response as an attacker wants: GCG (Zou et al. 2023), random search by log-probability
//! (Andriushchenko et al. 2024), and random suffixes as their control. The target may stand in the reasoning, or close it and
//! begin the answer: the adaptive attack on a model that reasons first.

mod params;
mod search;
mod suffix;

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
use learn::checkpoint;
use learn::tokenizer::Tokenizer;
use params::{Exec, Method, Params};
use search::{Attacked, Found, State};
use serde::{Deserialize, Serialize};

pub const KIND: Kind = Kind {
    name: "gcg",
    revision: 2,
    role: Role::Generates,
    summary: "suffixes that a model's own gradient or log-probabilities find, for prompts that it is to answer",
    about: "A suffix is put behind each prompt, and its tokens are replaced, step by step, so that a target is likely as the beginning of the \
            response. What is searched for is ids; what is sent is a text: candidates count where the whole prompt, rendered by the model \
            folder's own chat template and encoded again, has the same ids (`filter`), and the share that survives is reported. Losses are \
            of the ids as they are searched for. The targets of prompts of the built-in world may be left out. Whether an attack \
            succeeds, `generate` and `evaluate` say of its prompts: the same `prefill` belongs there. An interrupted node goes on \
            with the step it was at.",
    example: r#"
[node.attacked]
kind = "gcg"
in = { model = "rl", prompts = "prompts.eval" }
steps = 20
width = 48
topk = 32
length = 8
slot = "reasoning"
"#,
    inputs: &[
        Port::required("model", Type::Model, "who is attacked"),
        Port::required("prompts", Type::Prompts, "what it is to answer"),
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
        SURVIVAL,
        SURVIVES,
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

const FOUND: MetricInfo = MetricInfo::plain("loss/found", "nats", "loss of the suffix found");
const SURVIVAL: MetricInfo =
    MetricInfo::plain("survival", "share", "candidates that survive re-encoding");
const SURVIVES: MetricInfo = MetricInfo::plain(
    "survives",
    "share",
    "suffixes found that survive re-encoding",
);

/// What the built-in world is to say can be said of its own prompts only.
fn above(graph: &dyn Upstream, id: NodeId) -> Vec<Problem> {
    let Ok(p) = Params::read(&graph.node(id).params) else {
        return vec![];
    };
    let judged = p.ending.check == Check::World && p.search != Method::None;
    let judged = judged.then_some(Needed::Check);
    let needed = p.aim.is_own().then_some(Needed::Target).or(judged);
    needed.map_or(vec![], |what| truth::needed(graph, id, what))
}

/// A prompt with a place for a suffix, and what its response is to begin with.
struct Case<'t> {
    frame: Frame<'t>,
    target: Vec<u32>,
    first: Vec<u32>,
}

impl<'t> Case<'t> {
    /// Errors: as `Frame::new` and `Aims::of`; a target without a token, or longer than the model's context.
    fn new(tokenizer: &'t Tokenizer, p: &Params, aims: &Aims, prompt: &Prompt) -> Result<Case<'t>> {
        let frame = Frame::new(tokenizer, &prompt.prompt, p.aim.prefill.as_deref())?;
        let text = aims.of(prompt, &frame.begun)?;
        let target = tokenizer.encode(&text)?;
        let spaced = tokenizer.encode(&format!(" {text}"))?;
        ensure!(!target.is_empty(), "its target {text:?} has no token");
        let mut first = vec![target[0], spaced[0]];
        first.dedup();
        let suffix = match (&p.init, p.search) {
            (Some(init), Method::Gradient | Method::Random) => tokenizer.encode(init)?.len(),
            _ => p.length,
        };
        let asked = frame.before.len() + suffix + frame.after.len();
        let longest = tokenizer.positions().unwrap_or(usize::MAX);
        ensure!(
            asked + target.len() <= longest,
            "it has {asked} tokens with a suffix of {suffix}, and its target {}: more than the {longest} that the model was made for \
             (max_position_embeddings)",
            target.len()
        );
        Ok(Case {
            frame,
            target,
            first,
        })
    }

    fn all(tokenizer: &'t Tokenizer, p: &Params, prompts: &[Prompt]) -> Result<Vec<Case<'t>>> {
        p.aim.each(prompts, |aims, prompt| {
            Case::new(tokenizer, p, aims, prompt)
        })
    }
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    model_io::use_threads(ctx)?;
    let model = Model::load(ctx.input("model"))?;
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    let cases = Case::all(&model.tokenizer, &p, &prompts)?;
    let embeddings = model.weights.config.vocab_size;
    let allowed = suffix::allowed(&p, &model.tokenizer, embeddings)?;
    if p.search == Method::Gradient && p.topk > allowed.ids.len() {
        ctx.log(&format!(
            "`topk` is {}, and {} may stand in a suffix: replacements are drawn from all of them",
            p.topk,
            count(allowed.ids.len() as u64, "token", "tokens")
        ));
    }
    let mut attacked = Attacked {
        tokenizer: &model.tokenizer,
        allowed,
        victim: devices::victim(ctx, &model.weights)?,
        back: 0,
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
        let case = &cases[i];
        let mut search = OfPrompt {
            model: &mut attacked,
            p: &p,
            prompt,
            case,
            options: Options {
                tokens: exec.at_once,
                stop: &stop,
            },
        };
        searches.prompt((i, prompt), &mut search, resumed)
    })?;
    let _writing = ctx.finishing();
    let mut metrics = searches::write(ctx, p.attack(), &prompts, &ended)?.metrics();
    let ends: Vec<&End> = ended.values().flat_map(|e| &e.ends).collect();
    tell(ctx, &p, &ends);
    metrics.extend(measures(&ends));
    rows::write_metrics(&ctx.output("metrics"), metrics)
}

/// What came of one search.
#[derive(Clone, Serialize, Deserialize)]
struct End {
    /// Of the suffix that it began with, and of the one that it delivers.
    first: f64,
    found: Found,
    steps: usize,
    candidates: usize,
    survived: usize,
    why: String,
}

/// The searches of one prompt.
struct OfPrompt<'s, 'm> {
    model: &'s mut Attacked<'m>,
    p: &'s Params,
    prompt: &'s Prompt,
    case: &'s Case<'m>,
    options: Options<'s>,
}

impl<'m> OfPrompt<'_, 'm> {
    /// The search of a case.
    fn of(&mut self, case: usize) -> search::Search<'_, 'm> {
        let seed = Seed::new(self.p.seed).child(KIND.name);
        search::Search {
            model: &mut *self.model,
            p: self.p,
            frame: &self.case.frame,
            target: &self.case.target,
            first: &self.case.first,
            options: self.options,
            seed: seed.child(&self.prompt.id).at(case as u64),
            log: AttackStep::new(&self.prompt.id, case as u32, 0, self.p.seed),
        }
    }
}

impl<'m> Search<'m> for OfPrompt<'_, 'm> {
    type State = State;
    type End = End;
    const BEGINS_WITH_A_STEP: bool = false;

    fn begin(&mut self, case: usize) -> Result<State> {
        self.of(case).begin()
    }

    fn step(&mut self, case: usize, state: &mut State) -> Result<()> {
        self.of(case).step(state)
    }

    fn standing<'s>(&self, state: &'s State) -> Standing<'s> {
        let found = state.delivered(self.p);
        Standing {
            step: state.step,
            stale: state.stale,
            text: &found.text,
            loss: found.loss,
            greedy: found.greedy,
        }
    }

    fn over(&self) -> Option<&'static str> {
        (self.p.search == Method::None).then_some("control")
    }

    fn end(&self, case: usize, state: State, why: &str) -> (String, Vec<AttackStep>, End) {
        let found = state.delivered(self.p).clone();
        let end = End {
            first: state.log[0].loss.expect("a search begins with a loss"),
            steps: state.step,
            candidates: state.candidates,
            survived: state.survived,
            why: why.into(),
            found,
        };
        let log = searches::closed(state.log, why, end.found.step, case);
        (self.case.frame.message(&end.found.text), log, end)
    }

    fn asked(&mut self) -> Asked<'_, 'm> {
        Asked {
            victim: self.model.victim.as_mut(),
            tokenizer: self.model.tokenizer,
            frame: &self.case.frame,
        }
    }

    fn computed(&self) -> usize {
        self.model.victim.computed() + self.model.back
    }
}

/// What is worth a word: suffixes that nobody can send as they were searched for.
fn tell(ctx: &NodeCtx, p: &Params, ends: &[&End]) {
    let lost = ends.iter().filter(|e| !e.found.survives).count();
    if lost > 0 && p.search != Method::Random {
        ctx.log(&format!(
            "{lost} of {} suffixes are encoded otherwise in the prompt that is sent than they were searched for",
            ends.len()
        ));
    }
}

fn measures(ends: &[&End]) -> Vec<Metric> {
    let n = ends.len();
    let mean = |info: &MetricInfo, of: &dyn Fn(&End) -> f64| {
        searches::mean(info.name, info.unit, ends.iter().map(|e| of(e)))
    };
    let counted = |of: &dyn Fn(&End) -> bool| ends.iter().filter(|e| of(e)).count();
    let mut all = vec![
        mean(&searches::FIRST, &|e| e.first),
        mean(&FOUND, &|e| e.found.loss),
        cases::share(searches::REACHED.name, counted(&|e| e.found.greedy), n),
        cases::share(SURVIVES.name, counted(&|e| e.found.survives), n),
        mean(&searches::STEPS, &|e| e.steps as f64),
        mean(&searches::CANDIDATES, &|e| e.candidates as f64),
    ];
    let candidates = ends.iter().map(|e| e.candidates).sum();
    if candidates > 0 {
        let survived = ends.iter().map(|e| e.survived).sum();
        all.push(cases::share(SURVIVAL.name, survived, candidates));
    }
    all.extend(searches::ended(ends.iter().map(|e| e.why.as_str())));
    all
}

fn tokens(preview: &NodePreview) -> Result<Tokens> {
    let p: Params = preview.params()?;
    let folder = preview.input("model");
    let tokenizer = Tokenizer::load(folder)?;
    let embeddings = checkpoint::load_config(folder)?.vocab_size;
    let allowed = suffix::allowed(&p, &tokenizer, embeddings)?;
    let prompts: Vec<Prompt> = rows::read_rows(preview.input("prompts"))?;
    let mut tokens = Tokens::new("prompts", preview.most);
    for (prompt, case) in prompts.iter().zip(Case::all(&tokenizer, &p, &prompts)?) {
        let seed = Seed::new(p.seed).child(KIND.name).child(&prompt.id).at(0);
        let suffix = suffix::first(&p, &tokenizer, &case.frame, &allowed, seed)?;
        let mut ids = case.frame.whole(&suffix);
        let asked = ids.len();
        ids.extend(&case.target);
        let mask: Vec<bool> = (0..ids.len()).map(|i| i >= asked).collect();
        tokens.push(&prompt.id, &ids, &mask, |ids| tokenizer.decode(ids, false))?;
    }
    tokens.notes.push(format!(
        "with the suffixes that it begins with, of tokens among {}; marked are the targets",
        thousands(allowed.ids.len() as u64)
    ));
    Ok(tokens)
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let exec: Exec = preview.exec()?;
    let given = preview.expected("prompts");
    let asked = given.tokens.unwrap_or(estimate::PROMPT);
    let length = p.length as f64;
    let searches = given.rows.map(|n| n * p.cases as f64);
    let (steps, width) = match p.search {
        Method::None => (0.0, 1.0),
        _ => (p.steps as f64, p.width as f64),
    };
    let mut work = Work::default();
    let mut made = estimate::rows(searches, Some(asked + length));
    made.shares = given.shares;
    work.outputs.insert("prompts", made);
    let Some(searches) = searches else {
        return Ok(work);
    };
    let candidates = searches * steps * width;
    work.amount = candidates.max(searches);
    if p.search != Method::None {
        work.told = Some(format!(
            "{} candidates: {} × {} steps × {}",
            thousands(candidates as u64),
            count(searches as u64, "search", "searches"),
            thousands(p.steps as u64),
            thousands(p.width as u64)
        ));
    }
    if let Some(model) = preview.expected("model").model {
        // Half of the suffix on average, what follows it, and the target; the gradient is of all of it, forward and back.
        let behind = length + AFTER;
        let each = width * (length / 2.0 + AFTER) + 2.0 * behind;
        work.flop = estimate::sample_flop(&model, searches * (steps * each + asked + behind));
        let search = estimate::device::Search {
            tokens: asked + behind,
            target: AFTER,
            suffix: match p.search {
                Method::Gradient => length,
                Method::Random | Method::None => 0.0,
            },
            at_once: exec.at_once as f64,
            written: p.ending.written(),
        };
        estimate::device::attack(&mut work, preview, &model, search);
    }
    Ok(work)
}

/// Tokens behind a suffix, where nothing is known of them: the end of the chat's turn and a target.
const AFTER: f64 = 32.0;
