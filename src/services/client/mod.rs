//! Asks a service for many answers: what the journal has is not asked again, the rest goes out so many at a time, is tried again
//! where that may help, and is in the journal before anyone sees it.

mod flight;
mod landing;
mod observer;

use crate::budget::{Amount, Budget};
use crate::endpoint::{Endpoint, Limits};
use crate::fault::{Rejection, Stopped};
use crate::http::Http;
use crate::journal::claims::Claims;
use crate::journal::{CallKey, Journal, refused};
use crate::pace::Pace;
use crate::protocol::Protocol;
use anyhow::{Context, Result};
use base::calls::Calls;
use base::threads;
use flight::Flight;
pub use observer::{CallObserver, NoObserver};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What is there of an answer.
pub type Outcome<A> = Result<A, Rejection>;

pub struct Client<P: Protocol> {
    protocol: P,
    endpoint: Endpoint,
    http: Http,
    pace: Pace,
    journal: Journal,
    claims: Claims,
    budget: Budget,
    /// Written into new entries.
    by: String,
    calls: Calls,
    /// Whether this service ever answered anything that was asked here, by the journal.
    known: bool,
    /// There until it is dropped.
    runtime: Option<tokio::runtime::Runtime>,
}

impl<P: Protocol> Drop for Client<P> {
    fn drop(&mut self) {
        // Not waited for: a name that nobody resolves takes its time.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl<P: Protocol> Client<P> {
    /// `folder`: of the journal. `by`: who asks, for the journal. `spent`: earlier, by the same asker, on whatever service.
    pub fn new(
        protocol: P,
        endpoint: Endpoint,
        folder: &Path,
        by: &str,
        spent: Amount,
    ) -> Result<Client<P>> {
        // Names are looked up on a thread, and where none is given that is a panic.
        let _ = threads::start(|| {})?.join();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the runtime of the client")?;
        let key = endpoint.key.as_ref().map_or("", |key| key.name());
        let who = format!("{} {key}", endpoint.host());
        let mut journal = Journal::open(folder)?;
        let spent = match endpoint.limits == Limits::default() || spent == Amount::default() {
            true => Amount::default(),
            false => spent_here(&mut journal, (by, protocol.api()), spent)?,
        };
        Ok(Client {
            http: Http::new(&endpoint, protocol.path())?,
            claims: Claims::open(folder)?,
            pace: Pace::open(
                folder,
                &who,
                endpoint.requests_per_minute,
                endpoint.tokens_per_minute,
            )?,
            journal,
            budget: Budget::new(endpoint.limits, endpoint.prices, spent),
            by: by.to_string(),
            calls: Calls::default(),
            known: false,
            protocol,
            endpoint,
            runtime: Some(runtime),
        })
    }

    /// Others of this name may ask at the same time: they have one budget together, and what earlier ones spent is what the journal
    /// says of it, which knows nothing of replies that nobody could read. `folder`: of the journal.
    pub fn sharing_budget(mut self, folder: &Path) -> Result<Client<P>> {
        let (by, api) = (self.by.as_str(), self.protocol.api());
        let journal = &mut self.journal;
        let spent = || {
            journal.refresh()?;
            let [own, _] = spent_by(journal, (by, api))?;
            Ok(own)
        };
        self.budget.share(folder, &format!("{by} {api}"), spent)?;
        Ok(self)
    }

    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// What the calls of this client came to so far.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// The answers, in the order of the asks. An error leaves every answer that came in the journal.
    pub fn all(
        &mut self,
        asks: &[P::Ask],
        observer: &mut dyn CallObserver,
    ) -> Result<Vec<Outcome<P::Answer>>, Stopped> {
        let fetched = self.fetch(asks, observer)?;
        let each = (0..asks.len()).map(|i| self.answer(&fetched, i));
        each.collect::<Result<_>>().map_err(Stopped::Journal)
    }

    /// Whether the journal has every answer already.
    pub fn has_all(&mut self, asks: &[P::Ask]) -> Result<bool> {
        self.journal.refresh()?;
        let mut all = asks.iter().map(|ask| key(&self.protocol, ask));
        Ok(all.all(|key| self.journal.has(&key)))
    }

    /// Whether somebody found that the journal's answer to this is not what was asked for.
    pub fn refused(&mut self, ask: &P::Ask) -> Result<bool> {
        self.journal.refresh()?;
        let call = key(&self.protocol, ask);
        Ok(self.journal.has(&refused::key(&call)))
    }

    /// The answers that the journal has to these are not what was asked for: durable when this returns.
    pub fn refuse(&mut self, asks: &[P::Ask]) -> Result<()> {
        self.journal.refresh()?;
        let mut written = vec![];
        for ask in asks {
            let call = key(&self.protocol, ask);
            let key = refused::key(&call);
            if self.journal.has(&key) || !self.journal.has(&call) {
                continue;
            }
            let entry = refused::entry(&call, self.endpoint.host(), &self.by, landing::now_ms());
            written.push(self.journal.writer()?.append(&key, &entry));
        }
        let runtime = self
            .runtime
            .as_ref()
            .expect("it is there until it is dropped");
        for one in written {
            runtime.block_on(one)?;
        }
        self.journal.refresh()
    }

    /// Has every answer made without holding it: they lie in the journal, where `answer` finds them.
    pub fn fetch(
        &mut self,
        asks: &[P::Ask],
        observer: &mut dyn CallObserver,
    ) -> Result<Fetched, Stopped> {
        let keys: Vec<CallKey> = asks.iter().map(|ask| key(&self.protocol, ask)).collect();
        let mut rejected = BTreeMap::new();
        self.journal.refresh().map_err(Stopped::Journal)?;
        // Equal asks are one call.
        let mut seen = BTreeSet::new();
        let mut missing = vec![];
        for (i, key) in keys.iter().enumerate() {
            if !seen.insert(*key) {
                continue;
            }
            match self.journal.find(key).map_err(Stopped::Journal)? {
                Some(entry) => {
                    self.calls.reused += 1;
                    self.known |= entry.host == self.endpoint.host();
                }
                None => missing.push(i),
            }
        }
        let there = keys.iter().filter(|key| self.journal.has(key)).count();
        observer.progress(there, asks.len(), &self.calls);
        if let Some(runtime) = self.runtime.as_ref().filter(|_| !missing.is_empty()) {
            self.budget.clear().map_err(Stopped::Journal)?;
            let flight = Flight::new(
                &self.protocol,
                &self.endpoint,
                (&self.http, &self.pace, &self.claims, &self.by),
                (&mut self.journal, &mut self.budget, &mut self.calls),
                (asks, &keys, &mut rejected),
                &mut self.known,
            );
            runtime.block_on(flight.fly(missing, there, &mut *observer))?;
            self.journal.refresh().map_err(Stopped::Journal)?;
        }
        observer.progress(asks.len(), asks.len(), &self.calls);
        Ok(Fetched { keys, rejected })
    }

    /// The outcome of ask `i` of those that were fetched.
    pub fn answer(&mut self, fetched: &Fetched, i: usize) -> Result<Outcome<P::Answer>> {
        let key = &fetched.keys[i];
        if let Some(rejection) = fetched.rejected.get(key) {
            return Ok(Err(rejection.clone()));
        }
        let entry = self.journal.find(key)?.with_context(|| {
            let key = key.hex();
            format!("the answer to call {key} was in the journal and is there no more")
        })?;
        parsed::<P>(key, entry.answer).map(Ok)
    }
}

fn parsed<P: Protocol>(key: &CallKey, answer: serde_json::Value) -> Result<P::Answer> {
    serde_json::from_value(answer).with_context(|| {
        let key = key.hex();
        format!("the journal's answer to call {key} has another shape")
    })
}

/// What of `spent`, which somebody spent on all services, counts for this one. The journal says what each answer cost, and nothing of
/// replies that nobody could read: those count for every service, so that no limit is exceeded. It may also hold answers of
/// attempts that `spent` does not count, so that it alone is not believed.
fn spent_here(journal: &mut Journal, asker: (&str, &str), spent: Amount) -> Result<Amount> {
    let [own, others] = spent_by(journal, asker)?;
    Ok(Amount {
        dollars: (spent.dollars - others.dollars).max(spent.dollars.min(own.dollars)),
        tokens: spent
            .tokens
            .saturating_sub(others.tokens)
            .max(spent.tokens.min(own.tokens)),
    })
}

/// What the journal says that the asker spent on this service, and on others.
fn spent_by(journal: &mut Journal, (by, api): (&str, &str)) -> Result<[Amount; 2]> {
    let (mut own, mut others) = (Amount::default(), Amount::default());
    journal.each(&mut |_, entry| {
        if entry.by == by {
            let of = match entry.api == api {
                true => &mut own,
                false => &mut others,
            };
            of.add(Amount {
                dollars: entry.dollars,
                tokens: entry.prompt_tokens + entry.completion_tokens,
            });
        }
        true
    })?;
    Ok([own, others])
}

/// Calls that came to an end: answers that are in the journal, and requests that were not answered.
pub struct Fetched {
    keys: Vec<CallKey>,
    rejected: BTreeMap<CallKey, Rejection>,
}

impl Fetched {
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Asks that were not answered, in their order.
    pub fn rejected(&self) -> impl Iterator<Item = (usize, &Rejection)> {
        let each = self.keys.iter().enumerate();
        each.filter_map(|(i, key)| Some((i, self.rejected.get(key)?)))
    }
}

/// The answer that the journal has to an ask; none where it has none. Asks nobody.
pub fn recorded<P: Protocol>(
    protocol: &P,
    journal: &mut Journal,
    ask: &P::Ask,
) -> Result<Option<P::Answer>> {
    let key = key(protocol, ask);
    let found = journal.find(&key)?;
    found
        .map(|entry| parsed::<P>(&key, entry.answer))
        .transpose()
}

/// What is known of asks before anything is asked: for forecasts. `reused`: those that the journal has. Answers are taken to be as
/// long as they may be.
pub fn forecast<P: Protocol>(
    protocol: &P,
    endpoint: &Endpoint,
    journal: &Journal,
    asks: &[P::Ask],
) -> Calls {
    let mut calls = Calls::default();
    let mut seen = BTreeSet::new();
    for ask in asks {
        let key = key(protocol, ask);
        if !seen.insert(key) {
            continue;
        }
        if journal.has(&key) {
            calls.reused += 1;
            continue;
        }
        let usage = protocol.expected(&[ask]);
        calls.made += 1;
        calls.estimated += 1;
        calls.prompt_tokens += usage.prompt;
        calls.completion_tokens += usage.completion;
        calls.dollars += endpoint.prices.of(&usage);
    }
    calls
}

fn key<P: Protocol>(protocol: &P, ask: &P::Ask) -> CallKey {
    CallKey::of(
        protocol.api(),
        &protocol.identity(ask),
        protocol.sample(ask),
    )
}
