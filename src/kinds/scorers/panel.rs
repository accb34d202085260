//! The services that the scorers of a node ask, each with its client: opened once, asked for whole batches, counted.

use super::service::{Asks, JudgeServices, Judging, Reading, Verdict};
use super::{Judged, Settings};
use crate::shared::remote;
use anyhow::{Context, Result, anyhow};
use base::calls::Calls;
use engine::kind::context::{NodeCtx, Transient};
use services::budget::Amount;
use services::client::{self, Client, Ear};
use services::endpoint::{Endpoint, Secret};
use services::fault::Rejection;
use services::journal::Journal;
use services::protocol::Protocol;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// From the name of a variable to the key in it.
type Keys<'a> = dyn Fn(&str) -> Result<Secret> + 'a;

/// On whose account a client asks.
pub struct Account<'a> {
    /// The folder of the journal.
    pub folder: PathBuf,
    /// Who asks, for the journal.
    pub by: String,
    /// By earlier attempts.
    pub spent: Amount,
    /// The key in a variable that the node names.
    pub secret: Box<Keys<'a>>,
}

impl<'a> Account<'a> {
    pub fn of(ctx: &'a NodeCtx) -> Account<'a> {
        let before = ctx.earlier_calls();
        Account {
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
pub trait Seat {
    /// A verdict for each, in their order, with one call of the client. A request that the service rejects is a verdict without a
    /// score; one that it did not answer is an error that may pass.
    fn judge(&mut self, rows: &[Judged], ear: &mut dyn Ear) -> Result<Vec<Verdict>>;
    /// What its calls came to so far.
    fn calls(&self) -> &Calls;
}

struct Asking<R: Reading> {
    reading: R,
    client: Client<R::Protocol>,
}

pub fn open<R: Reading>(
    judging: &Judging,
    services: &JudgeServices,
    settings: &Settings,
    account: &Account,
) -> Result<Box<dyn Seat>> {
    let reading = R::new(judging, settings)?;
    let key = services.door(R::FAMILY).key_env.map(&account.secret);
    let endpoint = Endpoint {
        key: key.transpose()?,
        ..services.endpoint(R::FAMILY)
    };
    let protocol = reading.protocol(judging, services);
    let host = endpoint.host();
    let (folder, by) = (&account.folder, &account.by);
    let client = Client::new(protocol, endpoint, folder, by, account.spent);
    let client = client.with_context(|| format!("preparing to ask {host}"))?;
    Ok(Box::new(Asking { reading, client }))
}

/// What judging these would come to.
pub fn forecast<R: Reading>(
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

impl<R: Reading> Seat for Asking<R> {
    fn judge(&mut self, rows: &[Judged], ear: &mut dyn Ear) -> Result<Vec<Verdict>> {
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
        let outcomes = self.client.all(&asks, ear).map_err(remote::stopped)?;
        for ((i, controls), outcome) in asked.into_iter().zip(outcomes) {
            let verdict = match outcome {
                Ok(answer) => {
                    let read = self.reading.read(&rows[i], &answer);
                    read.with_context(|| format!("prompt {}", rows[i].prompt_id))?
                }
                // A failure that may pass is no verdict; what was answered is in the journal.
                Err(rejection) if rejection.status == 0 => {
                    let prompt = rows[i].prompt_id;
                    let told = anyhow!("no verdict on a response to prompt {prompt}: {rejection}");
                    return Err(Transient(told).into());
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

/// The services of a node's scorers, by the scorers' names.
#[derive(Default)]
pub struct Panel {
    seats: BTreeMap<&'static str, Box<dyn Seat>>,
    tallies: BTreeMap<&'static str, Tally>,
}

impl Panel {
    /// Opens the services among these scorers.
    pub fn open<'a>(
        names: impl IntoIterator<Item = &'a str>,
        judging: &Judging,
        services: &JudgeServices,
        settings: &Settings,
        account: &Account,
    ) -> Result<Panel> {
        let mut panel = Panel::default();
        for name in names {
            let Some(scorer) = super::get(name) else {
                continue;
            };
            let Some(service) = scorer.service() else {
                continue;
            };
            if !panel.seats.contains_key(scorer.name) {
                let seat = (service.open)(judging, services, settings, account);
                let seat = seat.with_context(|| format!("scorer `{name}`"))?;
                panel.seats.insert(scorer.name, seat);
            }
        }
        Ok(panel)
    }

    /// What this scorer says of each; the ear hears the calls of the whole panel.
    pub fn judge(
        &mut self,
        name: &'static str,
        rows: &[Judged],
        ear: &mut dyn Ear,
    ) -> Result<Vec<Verdict>> {
        let mut others = Calls::default();
        for (other, seat) in &self.seats {
            if *other != name {
                others.add(seat.calls());
            }
        }
        let seat = self.seats.get_mut(name);
        let seat = seat.with_context(|| format!("no service was opened for scorer `{name}`"))?;
        let verdicts = seat.judge(rows, &mut Together { ear, others })?;
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
        self.seats.values().for_each(|seat| all.add(seat.calls()));
        all
    }

    /// By scorer.
    pub fn tallies(&self) -> &BTreeMap<&'static str, Tally> {
        &self.tallies
    }

    /// A line a scorer, for the log.
    pub fn told(&self) -> Vec<String> {
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
        self.tallies.iter().map(line).collect()
    }
}

/// Adds the calls of the other clients.
struct Together<'a> {
    ear: &'a mut dyn Ear,
    others: Calls,
}

impl Ear for Together<'_> {
    fn stop(&self) -> bool {
        self.ear.stop()
    }

    fn progress(&mut self, done: usize, total: usize, calls: &Calls) {
        let mut all = self.others;
        all.add(calls);
        self.ear.progress(done, total, &all);
    }

    fn say(&mut self, text: &str) {
        self.ear.say(text);
    }
}
