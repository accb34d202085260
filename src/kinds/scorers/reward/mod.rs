//! Rewards as a recipe declares them: expressions over named scorers, routed by prompt class.
//!
//! `harmful = "format * safety"` is parsed in `expr` and checked against the table of scorers; what a scorer measures is
//! its own file's business (`scorers/`).

mod expr;
pub mod serve;

use crate::scorers::clients::{self, JudgeClients};
use crate::scorers::params::{Asked, ScorerParams};
use crate::scorers::{self, Judged, Scorer, Settings, named, reward_model};
use crate::shared::endpoint::Caller;
use crate::shared::estimate;
use crate::shared::observer::NodeObserver;
use anyhow::{Context, Result, bail};
use base::calls::Calls;
use base::device::DeviceName;
use base::params::ParamValue;
use base::params::Problem;
use base::rows::{Metric, Prompt, PromptClass};
use base::setup::Acts;
use base::stats;
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Port, Type};
use learn::placed;
use services::client::{CallObserver, NoObserver};
use services::journal::Journal;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use expr::{Expr, Op};

/// From prompt class to expression, with whom the scorers ask.
pub struct Route {
    by_class: BTreeMap<PromptClass, Expr>,
    clients: JudgeClients,
}

/// A reward and the scores it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Reward {
    pub value: f64,
    pub scores: BTreeMap<&'static str, f64>,
}

/// The reward of a response that may be unscorable: a scorer had no score for it, or the expression has no finite value
/// (`1 / format`).
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub value: Option<f64>,
    pub scores: BTreeMap<&'static str, f64>,
}

impl Route {
    /// `table` is the recipe's `reward` table, already checked by `problems`. Its scorers ask no service.
    pub fn new(table: &BTreeMap<String, String>, settings: Settings) -> Result<Route> {
        let mut by_class = BTreeMap::new();
        for class in PromptClass::ALL {
            if let Some(text) = table.get(class.word()) {
                let expr = Expr::parse(text).map_err(anyhow::Error::msg);
                by_class.insert(
                    class,
                    expr.with_context(|| format!("reward of `{}`", class.word()))?,
                );
            }
        }
        Ok(Route {
            by_class,
            clients: JudgeClients::none(settings),
        })
    }

    /// With a client for each service that its scorers ask.
    pub fn asking(mut self, asked: Asked, caller: &Caller) -> Result<Route> {
        let settings = self.clients.settings;
        self.clients = JudgeClients::open(&self.scorers(), asked, settings, caller)?;
        Ok(self)
    }

    /// For a node: the clients and the reward model live as long as the route.
    pub fn of_node(
        ctx: &NodeCtx,
        table: &BTreeMap<String, String>,
        settings: Settings,
        params: &ScorerParams,
    ) -> Result<Route> {
        let mut route = Route::new(table, settings)?;
        route.clients = JudgeClients::of_node(ctx, &route.scorers(), params, settings)?;
        Ok(route)
    }

    /// The same with the reward model of this folder on the processor, where a scorer asks it.
    pub fn asking_with(
        mut self,
        asked: Asked,
        caller: &Caller,
        model: Option<&Path>,
    ) -> Result<Route> {
        self = self.asking(asked, caller)?;
        let scorers = self.scorers();
        let here = |weights| placed::asked(DeviceName::Cpu, weights);
        self.clients = self.clients.with_model(&scorers, asked.0, model, here)?;
        Ok(self)
    }

    /// The scorers of all classes, each once, in the order of the table.
    fn scorers(&self) -> Vec<&'static Scorer> {
        let named: BTreeSet<&str> = self.by_class.values().flat_map(Expr::scorers).collect();
        let all = scorers::ALL.iter().copied();
        all.filter(|s| named.contains(s.name)).collect()
    }

    /// The reward of one response, by scorers that ask no service. A class without a route, or a response that is unscorable,
    /// is an error.
    pub fn reward(&mut self, judged: &Judged) -> Result<Reward> {
        let scored = self.score_all(&[*judged], &mut NoObserver)?.remove(0);
        scored.reward(judged)
    }

    /// The scores of responses and what the route makes of them, in their order. A scorer sees only the responses whose route
    /// names it; one that asks a service is asked about all of these at once.
    pub fn score_all(
        &mut self,
        rows: &[Judged],
        observer: &mut dyn CallObserver,
    ) -> Result<Vec<Scored>> {
        let mut scores: Vec<BTreeMap<&'static str, f64>> = vec![BTreeMap::new(); rows.len()];
        for judged in rows {
            self.expr(judged.class)?;
        }
        for scorer in self.scorers() {
            let name = scorer.name;
            let mut wanted: Vec<usize> = vec![];
            for (i, judged) in rows.iter().enumerate() {
                if self.expr(judged.class)?.scorers().contains(&name) {
                    wanted.push(i);
                }
            }
            if wanted.is_empty() {
                continue;
            }
            let asked: Vec<Judged> = wanted.iter().map(|i| rows[*i]).collect();
            let verdicts = self.clients.judge(scorer, &asked, observer)?;
            for (i, verdict) in wanted.into_iter().zip(verdicts) {
                scores[i].extend(verdict.score.map(|score| (name, score)));
            }
        }
        let each = rows.iter().zip(scores).map(|(judged, scores)| {
            let value = self.expr(judged.class)?.eval(&scores);
            let value = value.filter(|value| value.is_finite());
            Ok(Scored { value, scores })
        });
        each.collect()
    }

    fn expr(&self, class: PromptClass) -> Result<&Expr> {
        self.by_class
            .get(&class)
            .with_context(|| format!("the reward table has no entry for class `{}`", class.word()))
    }

    /// What scoring these would come to, by what the journal has already.
    pub fn forecast(&self, asked: Asked, journal: &Journal, rows: &[Judged]) -> Result<Calls> {
        let mut all = Calls::default();
        for scorer in self.scorers() {
            let Some(service) = scorer.service() else {
                continue;
            };
            let names = |judged: &&Judged| {
                let expr = self.by_class.get(&judged.class);
                expr.is_some_and(|e| e.scorers().contains(&scorer.name))
            };
            let wanted: Vec<Judged> = rows.iter().filter(names).copied().collect();
            let settings = &self.clients.settings;
            all.add(&(service.forecast)(asked, settings, journal, &wanted)?);
        }
        Ok(all)
    }

    /// What scoring `rollouts` responses would come to that nobody knows yet, spread evenly over these prompts: as long as they may be,
    /// and all different.
    pub fn forecast_unseen(
        &self,
        asked: Asked,
        prompts: &[Prompt],
        (rollouts, max_tokens): (u64, usize),
    ) -> Result<Calls> {
        if prompts.is_empty() || self.scorers().iter().all(|s| s.service().is_none()) {
            return Ok(Calls::default());
        }
        // As many bytes as `estimate` makes so many tokens of.
        let filler = "x ".repeat(max_tokens * 3 / 2);
        let unseen = |(i, _): (usize, &Prompt)| format!("{i} {filler}");
        let responses: Vec<String> = prompts.iter().enumerate().map(unseen).collect();
        let rows = prompts.iter().zip(&responses);
        let rows: Vec<Judged> = rows.map(|(p, r)| Judged::of_prompt(p, r)).collect();
        let nowhere = Journal::open(Path::new(""))?;
        let once = self.forecast(asked, &nowhere, &rows)?;
        let times = rollouts as f64 / prompts.len() as f64;
        let scaled = |n: u64| (n as f64 * times).round() as u64;
        Ok(Calls {
            made: scaled(once.made),
            estimated: scaled(once.estimated),
            prompt_tokens: scaled(once.prompt_tokens),
            completion_tokens: scaled(once.completion_tokens),
            dollars: once.dollars * times,
            ..Calls::default()
        })
    }

    /// Logs what became of the responses that services or the reward model were asked about.
    pub fn log(&self, ctx: &NodeCtx) {
        let lines = self.clients.log_lines();
        lines.iter().for_each(|line| ctx.log(line));
    }

    pub fn clients(&self) -> &JudgeClients {
        &self.clients
    }
}

impl Scored {
    /// For who has no use for responses that are unscorable.
    pub fn reward(self, judged: &Judged) -> Result<Reward> {
        let Some(value) = self.value else {
            bail!(
                "the reward of prompt {} is no number: a scorer has no score for the response, or the expression has no \
                 finite value",
                judged.prompt_id
            )
        };
        Ok(Reward {
            value,
            scores: self.scores,
        })
    }
}

/// Counts the calls of a node that scores beside its own work.
pub fn observer(ctx: &NodeCtx) -> NodeObserver<'_> {
    NodeObserver {
        shown: false,
        ..NodeObserver::new(ctx, "scores")
    }
}

/// The mean of rewards, one a prompt, with its t interval.
pub fn mean_metric(name: &str, rewards: &[f64]) -> Metric {
    Metric {
        name: name.into(),
        value: rewards.iter().sum::<f64>() / rewards.len() as f64,
        n: rewards.len(),
        interval: stats::mean_interval(rewards),
        unit: "reward".into(),
    }
}

/// The scorers of the expressions in a reward table; none of those that are wrong.
pub fn scorers_of(table: &BTreeMap<String, String>) -> Vec<&'static Scorer> {
    let exprs: Vec<Expr> = table.values().filter_map(|t| Expr::parse(t).ok()).collect();
    let named = exprs.iter().flat_map(Expr::scorers);
    named.filter_map(scorers::get).collect()
}

/// Whether a scorer of this reward table is such a one.
pub fn names(table: &BTreeMap<String, String>, wanted: fn(&Scorer) -> bool) -> bool {
    scorers_of(table).into_iter().any(wanted)
}

pub const SNAPPED: Acts = Acts::only("where `reward` names `safety` or `moderation`", |s| {
    named::names(s, &["safety", "moderation"])
});

/// What judging so many responses takes by this table: calls, and the operations and memory of a local reward model. `shares`: of the
/// classes; of unknown ones, every response may be of any.
pub fn estimate(
    table: &BTreeMap<String, String>,
    asked: Asked,
    preview: &NodePreview,
    (n, shares): (f64, Option<[f64; 3]>),
    (prompt, answer): (f64, f64),
) -> Work {
    let mut work = Work::default();
    let mut calls = Calls::default();
    let model = preview.expected(reward_model::PORT).model;
    let mut read = 0.0;
    for (at, class) in PromptClass::ALL.iter().enumerate() {
        let expr = table.get(class.word());
        let Some(expr) = expr.and_then(|text| Expr::parse(text).ok()) else {
            continue;
        };
        let of_class = n * shares.map_or(1.0, |s| s[at]);
        for scorer in expr.scorers().into_iter().filter_map(scorers::get) {
            if let Some(service) = scorer.service() {
                calls.add(&service.calls(asked, of_class, (prompt, answer)));
            }
            if let (true, Some(model)) = (scorer.is_model(), model) {
                work.flop += estimate::sample_flop(&model, of_class * (prompt + answer));
                read += of_class;
            }
        }
    }
    if let (true, Some(model)) = (read > 0.0, model) {
        let params = &asked.0.reward_model;
        let rows = (read, prompt + answer);
        reward_model::estimate(&mut work, preview, &model, params, rows);
    }
    work.calls = Some(calls);
    work
}

/// The port of every kind with a reward table.
pub const MODEL_PORT: Port = Port::required_where(
    reward_model::PORT,
    Type::RewardModel,
    "the model of the scorer `reward_model`",
    "where `reward` names `reward_model`",
    |values| {
        let table = BTreeMap::<String, String>::read(values.get("reward"));
        table.is_ok_and(|table| names(&table, Scorer::is_model))
    },
)
.judging();

/// What is wrong with a node's reward table `reward`, and with the services that its scorers ask.
pub fn node_problems(values: &Values, table: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut found = problems("reward", table);
    let mut named = vec![];
    let parsed: Vec<(&String, Expr)> = table
        .iter()
        .filter_map(|(class, text)| Some((class, Expr::parse(text).ok()?)))
        .collect();
    for (class, expr) in &parsed {
        let path = format!("reward.{class}");
        let scorers = expr.scorers().into_iter().filter_map(scorers::get);
        named.extend(scorers.map(|scorer| (path.clone(), scorer)));
    }
    found.extend(clients::problems(values, &named));
    found
}

/// What is wrong with a recipe's reward table: unknown classes, expressions that do not parse, unknown scorers.
pub fn problems(path: &str, table: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut found = vec![];
    let classes: Vec<&str> = PromptClass::ALL.iter().map(|c| c.word()).collect();
    if table.is_empty() {
        found.push(Problem {
            path: path.into(),
            message: "no class of prompts has a reward".into(),
            help: Some("as `{ harmful = \"refusal\", harmless = \"format\" }`".into()),
        });
    }
    for (class, text) in table {
        let path = format!("{path}.{class}");
        if !classes.contains(&class.as_str()) {
            found.push(Problem {
                path,
                message: format!("unknown prompt class `{class}`"),
                help: Some(format!("the classes are {}", quoted(&classes))),
            });
            continue;
        }
        if let Some(message) = scorers::renamed_in(text) {
            found.push(Problem {
                path,
                message,
                help: None,
            });
            continue;
        }
        match Expr::parse(text) {
            Err(message) => found.push(Problem {
                path,
                message,
                help: None,
            }),
            Ok(expr) => {
                let unknown = |name: &&str| scorers::get(name).is_none();
                for name in expr.scorers().into_iter().filter(unknown) {
                    found.push(Problem {
                        path: path.clone(),
                        message: format!("unknown scorer `{name}`"),
                        help: Some(scorers::help(name)),
                    });
                }
            }
        }
    }
    found
}

fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|w| format!("`{w}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
