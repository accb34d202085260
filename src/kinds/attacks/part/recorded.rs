//! What the journal has of an attack's conversations: replies that were paid for, in the order in which the attack asks, up to the first that
//! was not. Asks nobody; for plans.

use super::Replies;
use super::params::{From, Part};
use super::question::{Question, Reply};
use super::served;
use anyhow::{Context, Result};
use services::chat::Chat;
use services::client;
use services::journal::Journal;
use std::collections::BTreeMap;
use std::path::Path;

/// Nobody has answered this yet: what is asked next hangs on the answer.
#[derive(Debug)]
pub struct Unheard;

impl std::fmt::Display for Unheard {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("the journal has no answer")
    }
}

impl std::error::Error for Unheard {}

/// Replies of the parts that services have.
pub struct Recorded {
    journal: Journal,
    /// By part; none of a model on this machine, which no journal has heard.
    parts: BTreeMap<&'static str, Option<Chat>>,
    /// Questions that were answered, by part.
    heard: BTreeMap<&'static str, usize>,
    /// The same of those that were asked together with one that was not.
    partly: BTreeMap<&'static str, usize>,
}

impl Recorded {
    /// `calls`: the folder of the journal. `parts`: each with the node's way to it. `seed`: of the node.
    pub fn open(
        calls: &Path,
        parts: &[(Part, &crate::shared::endpoint::EndpointParams)],
        seed: u64,
    ) -> Result<Recorded> {
        let mut found = BTreeMap::new();
        for (part, endpoint) in parts {
            let chat = match part.from {
                From::Endpoint => Some(part.chat(endpoint, seed)?),
                From::World | From::Model => None,
            };
            found.insert(part.block, chat);
        }
        Ok(Recorded {
            journal: Journal::open(calls)?,
            parts: found,
            heard: BTreeMap::new(),
            partly: BTreeMap::new(),
        })
    }

    /// Questions to a part that were answered.
    pub fn heard(&self, block: &str) -> usize {
        self.heard.get(block).copied().unwrap_or_default()
    }

    /// Those among them after which the conversation does not go on yet.
    pub fn partly(&self, block: &str) -> usize {
        self.partly.get(block).copied().unwrap_or_default()
    }
}

impl Replies for Recorded {
    fn replies(&mut self, block: &'static str, questions: &[Question]) -> Result<Vec<Reply>> {
        let chat = self.parts.get(block);
        let chat = chat.with_context(|| format!("no model has the part `{block}`"))?;
        let Some(chat) = chat else {
            return Err(Unheard.into());
        };
        let asks = served::asks(questions);
        let answers = asks
            .iter()
            .map(|ask| client::recorded(chat, &mut self.journal, ask));
        let answers: Vec<_> = answers.collect::<Result<_>>()?;
        let found = answers.iter().flatten().count();
        *self.heard.entry(block).or_default() += found;
        let whole: Option<Vec<_>> = answers.into_iter().map(|a| a.map(Ok)).collect();
        let Some(outcomes) = whole else {
            self.partly.insert(block, found);
            return Err(Unheard.into());
        };
        served::read(questions, outcomes)
    }
}
