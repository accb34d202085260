//! Asks a service for many answers: what the journal has is not asked again, the rest goes out so many at a time, is tried again
//! where that may help, and is in the journal before anyone sees it.

mod flight;
mod landing;

use crate::base::calls::Calls;
use crate::services::budget::{Amount, Budget};
use crate::services::endpoint::Endpoint;
use crate::services::fault::{Rejection, Stopped};
use crate::services::http::Http;
use crate::services::journal::claims::Claims;
use crate::services::journal::{CallKey, Entry, Journal};
use crate::services::pace::Pace;
use crate::services::protocol::Protocol;
use anyhow::{Context, Result};
use flight::Flight;
use std::collections::BTreeMap;
use std::path::Path;

/// Who hears how it goes, and may say that it is enough.
pub trait Ear {
    fn stop(&self) -> bool;
    /// `done` of `total` answers are there. Called often.
    fn progress(&mut self, done: usize, total: usize, calls: &Calls);
    /// Something worth a line of the log: a pause that the service asked for, say.
    fn say(&mut self, text: &str);
}

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
    /// `folder`: of the journal. `by`: who asks, for the journal. `spent`: earlier, on the same account of `endpoint.limits`.
    pub fn new(
        protocol: P,
        endpoint: Endpoint,
        folder: &Path,
        by: &str,
        spent: Amount,
    ) -> Result<Client<P>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the runtime of the client")?;
        let key = endpoint.key.as_ref().map_or("", |key| key.name());
        let who = format!("{} {key}", endpoint.host());
        Ok(Client {
            http: Http::new(&endpoint)?,
            claims: Claims::open(folder)?,
            pace: Pace::open(
                folder,
                &who,
                endpoint.requests_per_minute,
                endpoint.tokens_per_minute,
            )?,
            journal: Journal::open(folder)?,
            budget: Budget::new(endpoint.limits, endpoint.prices, spent),
            by: by.to_string(),
            calls: Calls::default(),
            protocol,
            endpoint,
            runtime: Some(runtime),
        })
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
        ear: &mut dyn Ear,
    ) -> Result<Vec<Outcome<P::Answer>>, Stopped> {
        let keys: Vec<CallKey> = asks.iter().map(|ask| key(&self.protocol, ask)).collect();
        // Equal asks are one call.
        let mut first: BTreeMap<CallKey, usize> = BTreeMap::new();
        for (i, key) in keys.iter().enumerate() {
            first.entry(*key).or_insert(i);
        }
        let mut answers: Vec<Option<Outcome<P::Answer>>> = vec![];
        answers.resize_with(asks.len(), || None);
        self.journal.refresh().map_err(Stopped::Journal)?;
        let mut missing = vec![];
        for (i, key) in keys.iter().enumerate() {
            if first[key] != i {
                continue;
            }
            match find::<P>(&mut self.journal, key).map_err(Stopped::Journal)? {
                Some(answer) => {
                    self.calls.reused += 1;
                    answers[i] = Some(Ok(answer));
                }
                None => missing.push(i),
            }
        }
        let there = keys.iter().filter(|key| answers[first[key]].is_some());
        let there = there.count();
        ear.progress(there, asks.len(), &self.calls);
        if let Some(runtime) = self.runtime.as_ref().filter(|_| !missing.is_empty()) {
            let flight = Flight::new(
                &self.protocol,
                &self.endpoint,
                (&self.http, &self.pace, &self.claims, &self.by),
                (&mut self.journal, &mut self.budget, &mut self.calls),
                (asks, &keys, &mut answers),
            );
            runtime.block_on(flight.fly(missing, there, &mut *ear))?;
        }
        for (i, key) in keys.iter().enumerate() {
            if first[key] != i {
                answers[i] = answers[first[key]].clone();
            }
        }
        ear.progress(asks.len(), asks.len(), &self.calls);
        let answers = answers.into_iter();
        let answers = answers.map(|a| a.expect("every ask has its outcome"));
        Ok(answers.collect())
    }
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
    let mut seen = std::collections::BTreeSet::new();
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

fn find<P: Protocol>(journal: &mut Journal, key: &CallKey) -> Result<Option<P::Answer>> {
    let Some(Entry { answer, .. }) = journal.find(key)? else {
        return Ok(None);
    };
    let answer = serde_json::from_value(answer);
    answer
        .with_context(|| {
            format!(
                "the journal's answer to call {} has another shape",
                key.hex()
            )
        })
        .map(Some)
}
