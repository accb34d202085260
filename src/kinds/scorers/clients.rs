//! The scorers of a node, ready to be asked: each service with its client, opened once and counted; and the reward model of this
//! machine.

use super::neutral;
use super::params::{Asked, ScorerEndpoints, ScorerParams};
use super::reward_model::{self, LocalJudge};
use super::service::{JudgeClient, ServiceScorer};
use super::{How, Judged, Scorer, Settings, Verdict};
use crate::shared::devices;
use crate::shared::endpoint::{Caller, Service};
use anyhow::{Context, Result};
use base::calls::Calls;
use base::params::{ParamSet, Problem};
use base::text::count;
use base::value::Values;
use engine::kind::context::NodeCtx;
use learn::learner::Learner;
use learn::weights::Weights;
use services::client::CallObserver;
use std::collections::BTreeMap;
use std::path::Path;

/// What is wrong with the parameters of a node whose scorers are these; of each, the path of the parameter that names it.
pub fn problems(values: &Values, named: &[(String, &'static Scorer)]) -> Vec<Problem> {
    let (Ok(params), Ok(endpoints)) = (ScorerParams::read(values), ScorerEndpoints::read(values))
    else {
        return vec![];
    };
    let mut found = vec![];
    for service in [Service::Moderation, Service::Judge, Service::Score] {
        found.extend(endpoints.of(service).problems(service));
    }
    let mut asked: Vec<(Service, &str)> = vec![];
    for (path, scorer) in named {
        let Some(ServiceScorer { service, .. }) = scorer.service() else {
            continue;
        };
        let name = scorer.name;
        if asked.iter().any(|(_, seen)| *seen == name) {
            continue;
        }
        if let Some((_, other)) = asked.iter().find(|(s, _)| s == service) {
            let help = "they would share model, template and budget; give each a node of its own";
            found.push(Problem {
                path: path.clone(),
                message: format!("`{other}` and `{name}` are both judges, and a node has one"),
                help: Some(help.into()),
            });
        } else {
            let (endpoint, model) = (endpoints.of(*service), params.model(*service));
            let by = (path.as_str(), format!("`{name}`"));
            found.extend(endpoint.missing(*service, model, (by.0, by.1.as_str())));
        }
        asked.push((*service, name));
    }
    found
}

/// What became of the responses that a scorer was asked about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub asked: usize,
    pub unscorable: usize,
    /// Responses whose prompt or answer held control strings.
    pub controlled: usize,
    /// How many were judged by which model, as the service calls it: aliases move.
    pub served: BTreeMap<String, usize>,
}

pub struct JudgeClients {
    pub(super) settings: Settings,
    clients: BTreeMap<&'static str, Box<dyn JudgeClient>>,
    tallies: BTreeMap<&'static str, Tally>,
    model: Option<LocalJudge>,
}

impl JudgeClients {
    /// For scorers that ask nobody.
    pub fn none(settings: Settings) -> JudgeClients {
        JudgeClients {
            settings,
            clients: BTreeMap::new(),
            tallies: BTreeMap::new(),
            model: None,
        }
    }

    /// Opens the services among these scorers.
    pub fn open(
        scorers: &[&'static Scorer],
        asked: Asked,
        settings: Settings,
        caller: &Caller,
    ) -> Result<JudgeClients> {
        let mut opened = JudgeClients::none(settings);
        for scorer in scorers {
            if let Some(service) = scorer.service() {
                let client = (service.open)(asked, &settings, caller);
                let client = client.with_context(|| format!("scorer `{}`", scorer.name))?;
                opened.clients.insert(scorer.name, client);
            }
        }
        Ok(opened)
    }

    /// The services among these scorers, and the reward model at the port `reward_model` where one of them asks it.
    pub fn of_node(
        ctx: &NodeCtx,
        scorers: &[&'static Scorer],
        params: &ScorerParams,
        settings: Settings,
    ) -> Result<JudgeClients> {
        let endpoints: ScorerEndpoints = ctx.exec()?;
        let asked = (params, &endpoints);
        let opened = JudgeClients::open(scorers, asked, settings, &Caller::of(ctx))?;
        let folder = ctx.input_opt(reward_model::PORT);
        opened.with_model(scorers, params, folder, |weights| {
            devices::asked(ctx, weights)
        })
    }

    /// With the reward model of this folder, where one of these scorers asks it; computed wherever `open` puts its weights.
    pub fn with_model(
        mut self,
        scorers: &[&'static Scorer],
        params: &ScorerParams,
        folder: Option<&Path>,
        open: impl FnOnce(Weights) -> Result<Box<dyn Learner>>,
    ) -> Result<JudgeClients> {
        if scorers.iter().any(|s| s.is_model()) {
            let folder = folder.context("there is no model at the port `reward_model`")?;
            self.model = Some(LocalJudge::load(folder, &params.reward_model, open)?);
        }
        Ok(self)
    }

    /// What this scorer says of each, in their order; the observer sees the calls of all clients.
    pub fn judge(
        &mut self,
        scorer: &'static Scorer,
        rows: &[Judged],
        observer: &mut dyn CallObserver,
    ) -> Result<Vec<Verdict>> {
        let name = scorer.name;
        match scorer.how {
            How::Text(rule) | How::World(rule) => {
                let verdict = |judged: &Judged| {
                    let verdict = rule(judged, &self.settings);
                    verdict
                        .with_context(|| format!("scorer `{name}` on prompt {}", judged.prompt_id))
                };
                rows.iter().map(verdict).collect()
            }
            How::Service(_) => self.ask(name, rows, observer),
            How::Model => {
                let calls = self.calls();
                let model = self.model.as_mut();
                let model = model.with_context(|| format!("no model was loaded for `{name}`"))?;
                model.judge(rows, &mut |done| {
                    observer.progress(done, rows.len(), &calls);
                    !observer.stop()
                })
            }
        }
    }

    fn ask(
        &mut self,
        name: &'static str,
        rows: &[Judged],
        observer: &mut dyn CallObserver,
    ) -> Result<Vec<Verdict>> {
        let mut others = Calls::default();
        for (other, client) in &self.clients {
            if *other != name {
                others.add(client.calls());
            }
        }
        let client = self.clients.get_mut(name);
        let client =
            client.with_context(|| format!("no service was opened for scorer `{name}`"))?;
        let verdicts = client.judge(rows, &mut Together { observer, others })?;
        let tally = self.tallies.entry(name).or_default();
        tally.asked += verdicts.len();
        tally.unscorable += verdicts.iter().filter(|v| v.score.is_none()).count();
        tally.controlled += verdicts.iter().filter(|v| v.controls > 0).count();
        for served in verdicts.iter().filter_map(|v| v.served.as_ref()) {
            *tally.served.entry(served.clone()).or_default() += 1;
        }
        Ok(verdicts)
    }

    /// What the calls of all its clients came to.
    pub fn calls(&self) -> Calls {
        let mut all = Calls::default();
        self.clients
            .values()
            .for_each(|client| all.add(client.calls()));
        all
    }

    /// By scorer that asks a service.
    pub fn tallies(&self) -> &BTreeMap<&'static str, Tally> {
        &self.tallies
    }

    /// A line a scorer that asked a service or a model, for the log.
    pub fn log_lines(&self) -> Vec<String> {
        let line = |(name, t): (&&str, &Tally)| {
            let served = t.served.iter().map(|(model, n)| format!("{n} by {model}"));
            let served: Vec<String> = served.collect();
            let served = match served.is_empty() {
                true => String::new(),
                false => format!(" ({})", served.join(", ")),
            };
            format!(
                "`{name}` judged {}{served}: {} unscorable{}",
                count(t.asked as u64, "answer", "answers"),
                t.unscorable,
                neutral::told(t.controlled)
            )
        };
        let services = self.tallies.iter().map(line);
        let model = self.model.iter().map(LocalJudge::log_line);
        services.chain(model).collect()
    }
}

/// Adds the calls of the other clients.
struct Together<'a> {
    observer: &'a mut dyn CallObserver,
    others: Calls,
}

impl CallObserver for Together<'_> {
    fn stop(&self) -> bool {
        self.observer.stop()
    }

    fn progress(&mut self, done: usize, total: usize, calls: &Calls) {
        let mut all = self.others;
        all.add(calls);
        self.observer.progress(done, total, &all);
    }

    fn say(&mut self, text: &str) {
        self.observer.say(text);
    }
}
