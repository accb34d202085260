//! Preference pairs from scored completions: best against worst, second best against second worst, and so on.
//!
//! TARS (arXiv 2507.00971) makes the data of its DPO baseline so: 8 responses a prompt, ranked by the same reward as RL, 4
//! pairs. Which of the 8 stand against each other is not published; the order here is a choice. Apart from `generate`, so
//! that another reward never samples again and a teacher's responses serve as well.

use crate::data::labels::quoted;
use crate::scorers::params::{JUDGES, ScorerEndpoints, ScorerParams};
use crate::scorers::reward::{self, Route};
use crate::scorers::{Judged, Scorer, Settings};
use crate::shared::bounds;
use crate::shared::estimate;
use crate::shared::measure;
use crate::shared::model_io;
use crate::shared::observer::NodeObserver;
use crate::world::truth;
use anyhow::{Result, bail, ensure};
use base::calls::Calls;
use base::params::ParamSet;
use base::params::Problem;
use base::rows::{self, Completion, Metric, Pair, PromptClass};
use base::text::count;
use base::value::Values;
use base::{choice, params};
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Needs, Output, Port, Role, Type};
use services::client::CallObserver;
use services::journal::Journal;
use std::collections::BTreeMap;
use std::path::Path;

choice! {
    /// What happens to responses that ran into the length limit.
    pub enum Truncated { Penalise = "penalise", Score = "score", Drop = "drop" }
}

params! {
    pub struct Params {
        /// Reward expression of each prompt class, as in `grpo`.
        reward: BTreeMap<String, String>;
        /// Safety scores at or above this count as 1.
        safety_snap: f64 = 0.9, in bounds::SHARE, if reward::SNAPPED;
        /// Responses that ran into the length limit: score 0 (`penalise`), scored as they are (`score`), or left out
        /// (`drop`).
        truncated: Truncated = Truncated::Penalise;
    }
    with { scorers: ScorerParams }
}

pub const KIND: Kind = Kind {
    name: "preference-pairs",
    revision: 3,
    role: Role::Selects,
    summary: "ranks the responses to a prompt by a reward and pairs best with worst",
    about: "The k responses to a prompt are ranked by the reward of its class; the best is paired with the worst, the second \
            best with the second worst: k / 2 pairs (with 8 samples of `generate`, the 4 of the TARS baseline). Pairs of \
            equal score are dropped and counted. A response without a score is left out of the ranking and counted. The \
            responses to a prompt are those with its id, wherever they stand; two prompts of one id, and two responses of one, \
            are an error. Equal scores are ranked by the number of the sample.",
    example: r#"
[node.pairs]
kind = "preference-pairs"
in = { completions = "answers" }
reward = { harmful = "format * safety", harmless = "format * task", ambiguous = "format * task" }
"#,
    inputs: &[
        Port::required(
            "completions",
            Type::Completions,
            "several responses a prompt, in any order",
        ),
        reward::MODEL_PORT,
    ],
    outputs: &[
        Output::always(
            "pairs",
            Type::Pairs,
            "in the order of the prompts, the widest gap of a prompt first",
        ),
        Output::always(
            "metrics",
            Type::Metrics,
            "what was kept and dropped, and how far the scores are apart",
        ),
    ],
    metrics: &[
        MetricInfo::plain("kept", "share", "pairs kept"),
        MetricInfo::plain("equal_scores", "share", "pairs of equal scores"),
        measure::UNREADABLE,
        MetricInfo::plain("truncated", "share", "completions cut off"),
        measure::UNSCORABLE,
        MetricInfo::plain("single", "share", "prompts with one completion"),
        MetricInfo::plain("score_gap", "reward", "gap of the scores"),
        MetricInfo::plain("score_gap/*", "reward", "gap of the scores, *"),
    ],
    params: Params::specs,
    exec: ScorerEndpoints::specs,
    check: Some(check),
    above: Some(|graph, id| truth::reward_problems(graph, id, "completions")),
    computes: Some(JUDGES),
    needs,
    count_calls: Some(count_calls),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn check(values: &Values) -> Vec<Problem> {
    let Ok(p) = Params::read(values) else {
        return vec![];
    };
    reward::node_problems(values, &p.reward)
}

/// Judges at services are waited for.
fn needs(values: &Values) -> Needs {
    match Params::read(values) {
        Ok(p) if reward::names(&p.reward, Scorer::is_model) => Needs::ALL_THREADS,
        Ok(p) if reward::names(&p.reward, Scorer::may_fail) => Needs::WAITING,
        _ => Needs::ONE_THREAD,
    }
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let snap = Settings {
        safety_snap: p.safety_snap,
    };
    if reward::names(&p.reward, Scorer::is_model) {
        model_io::use_threads(ctx)?;
    }
    let mut route = Route::of_node(ctx, &p.reward, snap, &p.scorers)?;
    let completions: Vec<Completion> = rows::read_rows(ctx.input("completions"))?;
    let mut observer = NodeObserver::new(ctx, "responses");
    let made = pairs(&completions, &mut route, p.truncated, &mut observer)?;
    route.log(ctx);
    ctx.log(&format!(
        "{} of {}; dropped {} of equal score; {} of {} without a score",
        count(made.pairs.len() as u64, "pair", "pairs"),
        count(made.prompts as u64, "prompt", "prompts"),
        count(made.equal as u64, "pair", "pairs"),
        made.unscorable,
        count(completions.len() as u64, "response", "responses")
    ));
    if made.unreadable > 0 {
        ctx.log(&format!(
            "dropped {} whose better response is no answer",
            count(made.unreadable as u64, "pair", "pairs")
        ));
    }
    if made.single > 0 {
        ctx.log(&format!(
            "{} with a single response: no pair",
            count(made.single as u64, "prompt", "prompts")
        ));
    }
    ensure!(
        !made.pairs.is_empty(),
        "no pair is left: {} pairs are of equal score, and {} of {} responses have no score; {} of {} prompts have a single \
         response{}",
        made.equal,
        made.unscorable,
        completions.len(),
        made.single,
        made.prompts,
        match made.single == made.prompts {
            true =>
                "; the responses to a prompt are those of one id, which `id_column` of a `completions-file` names",
            false => "",
        }
    );
    rows::write_rows(&ctx.output("pairs"), &made.pairs)?;
    rows::write_metrics(&ctx.output("metrics"), metrics(&made, completions.len()))
}

fn count_calls(preview: &NodePreview, journal: &Path) -> Result<Calls> {
    let p: Params = preview.params()?;
    let snap = Settings {
        safety_snap: p.safety_snap,
    };
    let route = Route::new(&p.reward, snap)?;
    let completions: Vec<Completion> = rows::read_rows(preview.input("completions"))?;
    let journal = Journal::open(journal)?;
    let judged = judged(&completions, p.truncated);
    route.forecast((&p.scorers, &preview.exec()?), &journal, &judged)
}

/// What is to be scored, in its order: nothing else is asked about.
fn judged(completions: &[Completion], truncated: Truncated) -> Vec<Judged<'_>> {
    let wanted = completions.iter().filter(|c| wanted(c, truncated));
    wanted.map(Judged::of_completed).collect()
}

fn wanted(completion: &Completion, truncated: Truncated) -> bool {
    completion.finished || truncated == Truncated::Score
}

/// Pairs, and what was left out on the way to them.
pub struct Made {
    pub pairs: Vec<Pair>,
    pub prompts: usize,
    /// Prompts with one response.
    pub single: usize,
    /// Pairs dropped because their scores are equal.
    pub equal: usize,
    /// Pairs dropped because the better response is no answer (cut off in its reasoning, empty, a tool call).
    pub unreadable: usize,
    /// Responses that ran into the length limit.
    pub truncated: usize,
    /// Responses without a score.
    pub unscorable: usize,
}

pub fn pairs(
    completions: &[Completion],
    route: &mut Route,
    truncated: Truncated,
    observer: &mut dyn CallObserver,
) -> Result<Made> {
    let mut made = Made {
        pairs: vec![],
        prompts: 0,
        single: 0,
        equal: 0,
        unreadable: 0,
        truncated: 0,
        unscorable: 0,
    };
    let groups = by_prompt(completions)?;
    let judged = judged(completions, truncated);
    let mut scored = route.score_all(&judged, observer)?.into_iter();
    // In the order of the rows, as they were asked about.
    let score = |completion: &Completion| match truncated {
        _ if wanted(completion, truncated) => Ranked::By(scored.next().and_then(|s| s.value)),
        Truncated::Penalise => Ranked::By(Some(0.0)),
        Truncated::Drop | Truncated::Score => Ranked::Not,
    };
    let scores: Vec<Ranked> = completions.iter().map(score).collect();
    for group in groups {
        made.prompts += 1;
        made.single += usize::from(group.len() == 1);
        let mut ranked: Vec<(f64, &Completion)> = vec![];
        for place in group {
            let completion = &completions[place];
            made.truncated += usize::from(!completion.finished);
            match scores[place] {
                Ranked::By(Some(score)) => ranked.push((score, completion)),
                Ranked::By(None) => made.unscorable += 1,
                Ranked::Not => {}
            }
        }
        ranked.sort_by(|(a, one), (b, other)| b.total_cmp(a).then(one.sample.cmp(&other.sample)));
        for i in 0..ranked.len() / 2 {
            let (chosen, rejected) = (ranked[i], ranked[ranked.len() - 1 - i]);
            match chosen.0 > rejected.0 {
                true if chosen.1.outcome().unreadable() => made.unreadable += 1,
                true => made.pairs.push(pair(chosen, rejected)),
                false => made.equal += 1,
            }
        }
    }
    Ok(made)
}

/// What a response is ranked by, if at all.
#[derive(Clone, Copy)]
enum Ranked {
    By(Option<f64>),
    Not,
}

/// The places of the responses to each prompt, wherever they stand, in the order in which the prompts first come. Errors: two prompts
/// of one id, two responses of one.
fn by_prompt(completions: &[Completion]) -> Result<Vec<Vec<usize>>> {
    let mut groups: Vec<Vec<usize>> = vec![];
    let mut of: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ids: BTreeMap<(&str, u32), usize> = BTreeMap::new();
    for (place, completion) in completions.iter().enumerate() {
        let id = completion.prompt.prompt_id.as_str();
        if let Some(other) = ids.insert((id, completion.sample), place) {
            let (other, row) = (other + 1, place + 1);
            bail!(
                "rows {other} and {row} are both sample {} of the prompt `{id}`",
                completion.sample
            );
        }
        let group = *of.entry(id).or_insert_with(|| {
            groups.push(vec![]);
            groups.len() - 1
        });
        if let Some(first) = groups[group].first() {
            let (prompt, other) = (&completion.prompt, &completions[*first].prompt);
            ensure!(
                prompt.prompt == other.prompt && prompt.class == other.class,
                "rows {} and {} have the prompt id `{id}` and are of different prompts: {} ({}) and {} ({})",
                first + 1,
                place + 1,
                quoted(&other.prompt),
                other.class.word(),
                quoted(&prompt.prompt),
                prompt.class.word()
            );
        }
        groups[group].push(place);
    }
    Ok(groups)
}

fn pair((best, chosen): (f64, &Completion), (worst, rejected): (f64, &Completion)) -> Pair {
    Pair {
        id: format!(
            "{}#{}-{}",
            chosen.prompt.prompt_id, chosen.sample, rejected.sample
        ),
        prompt: chosen.prompt.clone(),
        chosen: chosen.response.clone(),
        rejected: rejected.response.clone(),
        chosen_score: best,
        rejected_score: worst,
        chosen_finished: chosen.finished,
        rejected_finished: rejected.finished,
    }
}

fn metrics(made: &Made, completions: usize) -> Vec<Metric> {
    let share = |name: &str, count: usize, n: usize| Metric {
        name: name.into(),
        value: count as f64 / n.max(1) as f64,
        n,
        interval: None,
        unit: "share".into(),
    };
    let ranked = made.pairs.len() + made.equal + made.unreadable;
    let mut list = vec![
        share("kept", made.pairs.len(), ranked),
        share("equal_scores", made.equal, ranked),
        share(measure::UNREADABLE.name, made.unreadable, ranked),
        share("truncated", made.truncated, completions),
        share("unscorable", made.unscorable, completions),
        share("single", made.single, made.prompts),
    ];
    let gaps = |class: Option<PromptClass>| -> Vec<f64> {
        let of_class = |pair: &&Pair| class.is_none_or(|class| pair.prompt.class == class);
        let gap = |pair: &Pair| pair.chosen_score - pair.rejected_score;
        made.pairs.iter().filter(of_class).map(gap).collect()
    };
    list.push(reward::mean_metric("score_gap", &gaps(None)));
    for class in PromptClass::ALL {
        let of_class = gaps(Some(class));
        if !of_class.is_empty() {
            list.push(reward::mean_metric(
                &format!("score_gap/{}", class.word()),
                &of_class,
            ));
        }
    }
    list
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let endpoints: ScorerEndpoints = preview.exec()?;
    let given = preview.expected("completions");
    let answer = given.tokens.unwrap_or(0.0);
    let shape = (given.rows.unwrap_or(0.0), given.shares);
    let asks = (&p.scorers, &endpoints);
    let sizes = (estimate::PROMPT, answer);
    let mut work = reward::estimate(&p.reward, asks, preview, shape, sizes);
    let tokens = given.tokens.map(|t| estimate::PROMPT + t);
    let pairs = estimate::rows(given.rows.map(|n| n / 2.0), tokens);
    work.outputs.insert("pairs", pairs);
    Ok(work)
}
