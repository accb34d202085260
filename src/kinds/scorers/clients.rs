//! The scorers of a node, ready to be asked: each service with its client, opened once, asked for whole batches and counted; and the
//! reward model of this machine.

use super::reward_model::{self, LocalJudge};
use super::service::{Asks, JudgeServices, JudgeSpec, Judging};
use super::{How, Judged, Scorer, Settings, Verdict};
use crate::shared::remote;
use anyhow::{Context, Result, anyhow};
use base::calls::Calls;
use engine::run::worker::{NodeCtx, Transient};
use services::budget::Amount;
use services::client::{self, CallObserver, Client};
use services::endpoint::{Endpoint, Secret};
use services::fault::Rejection;
use services::journal::Journal;
use services::protocol::Protocol;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// From the name of a variable to the key in it.
type Keys<'a> = dyn Fn(&str) -> Result<Secret> + 'a;

/// Who asks: what its clients need to know of it.
pub struct Caller<'a> {
    /// The folder of the journal.
    pub folder: PathBuf,
    /// Its name in the journal.
    pub by: String,
    /// By earlier attempts.
    pub spent: Amount,
    /// The key in a variable that the node names.
    pub secret: Box<Keys<'a>>,
}

impl<'a> Caller<'a> {
    pub fn of(ctx: &'a NodeCtx) -> Caller<'a> {
        let before = ctx.called_before();
        Caller {
            folder: ctx.calls_dir().to_path_buf(),
            by: ctx.key().to_string(),
            spent: Amount {
                dollars: before.dollars,
                tokens: before.tokens(),
            },
            secret: Box::new(|name| remote::secret(ctx, name)),
        }
    }
}

/// A judge with its client.
pub trait JudgeClient {
    /// A verdict for each, in their order, with one call of the client. A request that the service rejects is a verdict without a
    /// score; one that it did not answer is an error that may pass.
    fn judge(&mut self, rows: &[Judged], observer: &mut dyn CallObserver) -> Result<Vec<Verdict>>;
    /// What its calls came to so far.
    fn calls(&self) -> &Calls;
}

struct Asking<R: JudgeSpec> {
    reading: R,
    client: Client<R::Protocol>,
}

pub fn open<R: JudgeSpec>(
    judging: &Judging,
    services: &JudgeServices,
    settings: &Settings,
    caller: &Caller,
) -> Result<Box<dyn JudgeClient>> {
    let reading = R::new(judging, settings)?;
    let key = services.door(R::FAMILY).key_env.map(&caller.secret);
    let endpoint = Endpoint {
        key: key.transpose()?,
        ..services.endpoint(R::FAMILY)
    };
    let protocol = reading.protocol(judging, services);
    let host = endpoint.host();
    let (folder, by) = (&caller.folder, &caller.by);
    let client = Client::new(protocol, endpoint, folder, by, caller.spent);
    let client = client.with_context(|| format!("preparing to ask {host}"))?;
    Ok(Box::new(Asking { reading, client }))
}

/// What judging these would come to.
pub fn forecast<R: JudgeSpec>(
    judging: &Judging,
    services: &JudgeServices,
    settings: &Settings,
    journal: &Journal,
    rows: &[Judged],
) -> Result<Calls> {
    let reading = R::new(judging, settings)?;
    let protocol = reading.protocol(judging, services);
    let asks = rows.iter().filter_map(|judged| match reading.ask(judged) {
        Asks::Service { ask, .. } => Some(ask),
        Asks::Nobody(_) => None,
    });
    let asks: Vec<<R::Protocol as Protocol>::Ask> = asks.collect();
    let endpoint = services.endpoint(R::FAMILY);
    Ok(client::forecast(&protocol, &endpoint, journal, &asks))
}

impl<R: JudgeSpec> JudgeClient for Asking<R> {
    fn judge(&mut self, rows: &[Judged], observer: &mut dyn CallObserver) -> Result<Vec<Verdict>> {
        let mut verdicts: Vec<Option<Verdict>> = vec![];
        let (mut asks, mut asked) = (vec![], vec![]);
        for (i, judged) in rows.iter().enumerate() {
            verdicts.push(match self.reading.ask(judged) {
                Asks::Nobody(verdict) => Some(verdict),
                Asks::Service { ask, controls } => {
                    asks.push(ask);
                    asked.push((i, controls));
                    None
                }
            });
        }
        let outcomes = self.client.all(&asks, observer).map_err(remote::stopped)?;
        for ((i, controls), outcome) in asked.into_iter().zip(outcomes) {
            let verdict = match outcome {
                Ok(answer) => {
                    let read = self.reading.read(&rows[i], &answer);
                    read.with_context(|| format!("prompt {}", rows[i].prompt_id))?
                }
                // A failure that may pass is no verdict; what was answered is in the journal.
                Err(rejection) if rejection.status == 0 => {
                    let prompt = rows[i].prompt_id;
                    let error = anyhow!("no verdict on a response to prompt {prompt}: {rejection}");
                    return Err(Transient(error).into());
                }
                Err(rejection) => rejected(&rejection),
            };
            verdicts[i] = Some(Verdict {
                controls,
                ..verdict
            });
        }
        let verdicts = verdicts.into_iter();
        let verdicts = verdicts.map(|v| v.expect("every row has its verdict"));
        Ok(verdicts.collect())
    }

    fn calls(&self) -> &Calls {
        self.client.calls()
    }
}

/// The service would not judge this one.
fn rejected(rejection: &Rejection) -> Verdict {
    Verdict {
        words: super::service::short(&format!("rejected: {rejection}")),
        rejected: true,
        ..Verdict::default()
    }
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
        judging: &Judging,
        services: &JudgeServices,
        settings: Settings,
        caller: &Caller,
    ) -> Result<JudgeClients> {
        let mut opened = JudgeClients::none(settings);
        for scorer in scorers {
            if let Some(service) = scorer.service() {
                let client = (service.open)(judging, services, &settings, caller);
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
        judging: &Judging,
        settings: Settings,
    ) -> Result<JudgeClients> {
        let services: JudgeServices = ctx.exec()?;
        let caller = Caller::of(ctx);
        let mut opened = JudgeClients::open(scorers, judging, &services, settings, &caller)?;
        if scorers.iter().any(|s| s.is_model()) {
            let model = LocalJudge::load(ctx.input(reward_model::PORT), &judging.reward)?;
            opened.model = Some(model);
        }
        Ok(opened)
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
                "`{name}` judged {} answers{served}: {} unscorable; in {} prompt or answer held control strings, which it \
                 saw neutralised",
                t.asked, t.unscorable, t.controlled
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
