//! PAIR (Chao et al. 2023, arXiv 2310.08419): an attacker proposes messages, a target answers, a judge rates, and the attacker tries to do
//! better by what it is told.

mod params;
mod players;
pub mod reading;
pub mod rounds;
pub mod stream;
pub mod told;

use super::part::params::{From, Part};
use super::part::{self, Recorded, Speakers, Unheard};
use crate::shared::cases::{self, CaseWriter};
use crate::shared::devices;
use crate::shared::endpoint::EndpointParams;
use crate::shared::estimate;
use crate::shared::model_io::BATCH_ROWS;
use crate::world::truth;
use anyhow::Result;
use base::calls::Calls;
use base::params::{ParamSet, Problem};
use base::rows::{self, Metric, Prompt};
use base::text::{count, dollars};
use base::value::Values;
use engine::kind::context::{Interrupted, NodeCtx};
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Needs, NodeId, Port, Role, Type, Upstream};
use params::{Exec, Params};
use players::Players;
use rounds::Search;
use std::collections::BTreeMap;
use std::path::Path;
use stream::{Round, Rules, Turn};
use told::Told;
use world::World;

pub const KIND: Kind = Kind {
    name: "pair",
    revision: 1,
    role: Role::Generates,
    summary: "attacks by conversation: an attacker improves its message by what the target answers and a judge rates",
    about: "The case of a prompt is the first proposal with the highest rating; where no reply of any attacker can be read, it is the prompt \
            as it is, and the log says so. Of a target that reasons only the answer is passed on, and attacker and judge are told \
            where there is none: give it tokens enough to end its reasoning. A reply of the attacker is read as the first JSON object in \
            it with `improvement` and `prompt`; one that cannot be read is asked for again, and a stream whose attacker never \
            can be read ends alone. A rating that cannot be read counts as 1 and is counted. On the built-in world attacker \
            and judge may be the world's own. An interrupted node goes on with the reply it waited for.",
    example: r#"
[node.talked]
kind = "pair"
in = { prompts = "prompts.eval", target = "rl" }
streams = 4
steps = 3
"#,
    inputs: &[
        Port::required("prompts", Type::Prompts, "what the target is to do"),
        Port::required_where(
            "target",
            Type::Model,
            "who is attacked",
            "where `target.from` is `model`",
            |values| part::has_model(values, Params::target),
        ),
        Port::required_where(
            "attacker",
            Type::Model,
            "who proposes messages",
            "where `attacker.from` is `model`",
            |values| part::has_model(values, Params::attacker),
        ),
        Port::required_where(
            "judge",
            Type::Model,
            "who rates answers",
            "where `judge.from` is `model`",
            |values| part::has_model(values, Params::judge),
        )
        .judging(),
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
        MetricInfo::plain("score", "rating", "best rating"),
        MetricInfo::plain("reached", "share", "prompts that reach the cutoff"),
        MetricInfo::plain("nothing", "share", "prompts without a proposal"),
        MetricInfo::plain("unreadable/*", "share", "cannot be read, *"),
        MetricInfo::plain("unanswered", "share", "no answer of the target"),
        MetricInfo::plain("queries", "queries", "queries a prompt"),
    ],
    measured_by: Some(|_, key| ["judge", "cutoff"].contains(&key)),
    relabels: true,
    params: Params::specs,
    exec: Exec::specs,
    check: Some(check),
    above: Some(above),
    computes: Some(devices::anywhere(params::LOCAL)),
    needs,
    count_calls: Some(count_calls),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

/// Name of the saved searches under the attempt's resume folder, before their number.
const SAVED: &str = "searches";

fn check(values: &Values) -> Vec<Problem> {
    let (Ok(p), Ok(exec)) = (Params::read(values), Exec::read(values)) else {
        return vec![];
    };
    part::problems(&p.parts(), &exec.endpoints())
}

/// The world attacks with prompts of its own only, and judges answers to no others.
fn above(graph: &dyn Upstream, id: NodeId) -> Vec<Problem> {
    let Ok(p) = Params::read(&graph.node(id).params) else {
        return vec![];
    };
    let world = |part: &&Part| part.from == From::World && part.block != "target";
    let parts = p.parts();
    let mut found = parts.iter().filter(world);
    let first = found
        .next()
        .map(|part| truth::built_in(graph, id, part.block));
    first.unwrap_or_default()
}

fn needs(values: &Values) -> Needs {
    Params::read(values).map_or(Needs::ONE_THREAD, |p| part::needs(&p.parts()))
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let exec: Exec = ctx.exec()?;
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    let [attacker, target, judge] = p.parts();
    let told = Told::new(attacker.template.as_deref(), judge.template.as_deref())?;
    let parts = [
        (attacker, &exec.attacker),
        (target, &exec.target),
        (judge, &exec.judge),
    ];
    let mut speakers = Speakers::open(ctx, &parts, p.seed)?;
    let mut players = Players {
        p: &p,
        prompts: &prompts,
        told: &told,
        speakers: &mut speakers,
        world: World::new(p.world),
        save_every: exec.save_every,
    };
    let rules = p.rules();
    let goals = goals(&prompts);
    let fresh = || fresh(&goals, &rules, &told);
    let mut searches = saved(ctx).unwrap_or_else(fresh);
    let mut saves = 0;
    let mut save = |searches: &[Search]| {
        saves += 1;
        let name = format!("{SAVED}-{saves}");
        ctx.save_checkpoint(&name, &|folder| rows::write_rows(folder, searches))?;
        let steps = |search: &Search| match search.end {
            Some(_) => rules.steps,
            None => search.steps.len(),
        };
        let done: usize = searches.iter().map(steps).sum();
        let total = rules.steps * searches.len();
        ctx.progress(done as u64, total as u64, "rounds", "");
        if ctx.stop() {
            return Err(Interrupted.into());
        }
        Ok(())
    };
    rounds::run(
        &mut searches,
        &goals,
        &rules,
        &told,
        &mut players,
        &mut save,
    )?;
    let mut out = CaseWriter::create(ctx, KIND.name)?;
    for (prompt, search) in prompts.iter().zip(&searches) {
        out.push(prompt, &[search.case(prompt)], &search.log(prompt, p.seed))?;
    }
    let made = out.finish()?;
    let mut metrics = made.metrics();
    metrics.extend(measured(ctx, &searches, rules.cutoff));
    rows::write_metrics(&ctx.output("metrics"), metrics)
}

fn goals(prompts: &[Prompt]) -> Vec<&str> {
    prompts.iter().map(|p| p.prompt.as_str()).collect()
}

fn fresh(goals: &[&str], rules: &Rules, told: &Told) -> Vec<Search> {
    let new = |goal: &&str| Search::new(goal, rules, told);
    goals.iter().map(new).collect()
}

/// The searches that an earlier attempt has come to.
fn saved(ctx: &NodeCtx) -> Option<Vec<Search>> {
    let mut found = ctx.latest_checkpoint(SAVED);
    found.find_map(|saved| rows::read_rows(&saved).ok())
}

fn measured(ctx: &NodeCtx, searches: &[Search], cutoff: u32) -> Vec<Metric> {
    let n = searches.len();
    let rounds = || searches.iter().flat_map(|s| s.steps.iter().flatten());
    let best = |search: &Search| search.best.as_ref().map_or(0, |(_, score)| *score);
    let rated: Vec<&Round> = rounds().filter(|r| r.score.is_some()).collect();
    let replies: usize = rounds().map(|r| r.tries).sum();
    let queries: u64 = rounds().map(|r| r.queries).sum();
    let of = |test: fn(&Round) -> bool| rated.iter().filter(|r| test(r)).count();
    let (unrated, unanswered) = (of(|r| !r.readable), of(|r| r.unanswered));
    let reached = searches.iter().filter(|s| best(s) >= cutoff).count();
    let nothing = searches.iter().filter(|s| s.best.is_none()).count();
    let mean = |name: &str, sum: f64, unit: &str| Metric {
        name: name.into(),
        value: sum / n as f64,
        n,
        interval: None,
        unit: unit.into(),
    };
    ctx.log(&format!(
        "{}: {reached} reach the cutoff, {nothing} without a proposal; {} of {} cannot be read, {unrated} of {} ratings; {unanswered} times no \
         answer of the target",
        count(n as u64, "prompt", "prompts"),
        replies - rated.len(),
        count(replies as u64, "reply", "replies"),
        rated.len(),
    ));
    let scores = searches.iter().map(|s| f64::from(best(s)));
    let mut metrics = vec![
        mean("score", scores.sum(), "rating"),
        cases::share("reached", reached, n),
        cases::share("nothing", nothing, n),
        mean("queries", queries as f64, "queries"),
    ];
    let shares = [
        ("unreadable/attacker", replies - rated.len(), replies),
        ("unreadable/judge", unrated, rated.len()),
        ("unanswered", unanswered, rated.len()),
    ];
    let some = shares.into_iter().filter(|(.., of)| *of > 0);
    metrics.extend(some.map(|(name, count, of)| cases::share(name, count, of)));
    metrics
}

/// Each part with what it is given and what it may write, in tokens.
fn shares(p: &Params, asked: f64) -> [(Part, f64, f64); 3] {
    let [attacker, target, judge] = p.parts();
    let [proposes, answers, rates] =
        [&attacker, &target, &judge].map(|part| part.max_tokens as f64);
    // Half of what it is kept in the end; what the target says is seldom as long as it may be.
    let kept = p.keep_last.min(p.steps) as f64 / 2.0 * (PROPOSAL + ANSWER);
    [
        (attacker, asked + WORDING + kept, proposes),
        (target, PROPOSAL, answers),
        (judge, asked + WORDING + PROPOSAL + ANSWER, rates),
    ]
}

/// Tokens of a proposal, of an answer, and of what somebody is told besides, about.
const PROPOSAL: f64 = 100.0;
const ANSWER: f64 = 150.0;
const WORDING: f64 = 250.0;

/// Calls of the parts that services have: of each, in their order, so many times.
fn calls(p: &Params, endpoints: [&EndpointParams; 3], times: [f64; 3], asked: f64) -> Calls {
    let mut all = Calls::default();
    let shares = shares(p, asked).into_iter().zip(endpoints).zip(times);
    for (((part, given, written), endpoint), times) in shares {
        if part.from == From::Endpoint {
            let of_part = estimate::calls(times, given, written, &endpoint.prices());
            all.add(&of_part);
        }
    }
    all
}

/// What the journal has is not asked again: the searches go on by it as far as it goes, and what is left then is to be paid for, at most.
fn count_calls(preview: &NodePreview, journal: &Path) -> Result<Calls> {
    let p: Params = preview.params()?;
    let exec: Exec = preview.exec()?;
    let prompts: Vec<Prompt> = rows::read_rows(preview.input("prompts"))?;
    let [attacker, target, judge] = p.parts();
    let told = Told::new(attacker.template.as_deref(), judge.template.as_deref())?;
    let blocks = [attacker.block, target.block, judge.block];
    let parts = [
        (attacker, &exec.attacker),
        (target, &exec.target),
        (judge, &exec.judge),
    ];
    let mut recorded = Recorded::open(journal, &parts, p.seed)?;
    let (rules, goals) = (p.rules(), goals(&prompts));
    let mut searches = fresh(&goals, &rules, &told);
    let mut players = Players {
        p: &p,
        prompts: &prompts,
        told: &told,
        speakers: &mut recorded,
        world: World::new(p.world),
        save_every: exec.save_every,
    };
    let went = rounds::run(
        &mut searches,
        &goals,
        &rules,
        &told,
        &mut players,
        &mut |_| Ok(()),
    );
    went.or_else(|error| error.is::<Unheard>().then_some(()).ok_or(error))?;
    let left = [Turn::Attacker, Turn::Target, Turn::Judge].map(|turn| {
        let each = searches.iter().map(|search| search.left(turn, &rules));
        each.sum::<usize>()
    });
    let bytes: usize = goals.iter().map(|goal| goal.len()).sum();
    let asked = bytes as f64 / 4.0 / prompts.len() as f64;
    let unasked = |i: usize| left[i].saturating_sub(recorded.partly(blocks[i])) as f64;
    let mut all = calls(&p, exec.endpoints(), [0, 1, 2].map(unasked), asked);
    all.reused += blocks.map(|b| recorded.heard(b) as u64).iter().sum::<u64>();
    Ok(all)
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let exec: Exec = preview.exec()?;
    let prompts = preview.expected("prompts");
    let asked = prompts.tokens.unwrap_or(estimate::PROMPT);
    // Of the work and its time as of one reply a proposal: how many cannot be read, nobody can say.
    let proposals = prompts.rows.map(|n| n * (p.streams * p.steps) as f64);
    let mut work = Work {
        outputs: BTreeMap::from([("prompts", prompts.clone())]),
        ..Work::default()
    };
    for (part, given, written) in shares(&p, asked) {
        let model = preview.expected(part.block).model;
        if let (From::Model, Some(model)) = (part.from, model) {
            let rows = estimate::device::Rows {
                prompts: proposals.unwrap_or(f64::MAX),
                samples: 1.0,
                at_once: BATCH_ROWS,
                prompt: given,
                written,
            };
            estimate::device::sample(&mut work, preview, &model, rows);
            let tokens = proposals.unwrap_or(0.0) * (given + written);
            work.flop += estimate::sample_flop(&model, tokens);
        }
    }
    let served = p.parts().iter().any(|part| part.from == From::Endpoint);
    if let Some(proposals) = proposals.filter(|_| served) {
        let at_most = [proposals * p.retries as f64, proposals, proposals];
        let all = calls(&p, exec.endpoints(), at_most, asked);
        let read = calls(&p, exec.endpoints(), [proposals; 3], asked);
        work.told = (read.made < all.made).then(|| {
            format!(
                "{} for {} where every reply of the attacker can be read",
                count(read.made, "call", "calls"),
                dollars(read.dollars)
            )
        });
        work.calls = Some(all);
    }
    Ok(work)
}
