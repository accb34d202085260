//! A model behind an endpoint that has a part in an attack: each answer is in the store's journal before anybody sees it, so that an attack
//! that is taken up again asks for none a second time.

use super::params::Part;
use super::question::{Question, Reply};
use crate::shared::answers::{self, Begun};
use crate::shared::endpoint::{Caller, EndpointParams};
use crate::shared::observer::{self, NodeObserver};
use anyhow::{Result, anyhow};
use base::calls::Calls;
use base::response;
use engine::kind::context::{NodeCtx, Transient};
use services::chat::{Answer, Ask, Chat, Input};
use services::client::{self, Client, Outcome};
use services::journal::Journal;
use std::path::Path;

pub(super) struct Served {
    client: Client<Chat>,
}

impl Served {
    pub fn open(
        ctx: &NodeCtx,
        part: &Part,
        endpoint: &EndpointParams,
        seed: u64,
    ) -> Result<Served> {
        let client = endpoint.client(&Caller::of(ctx), part.chat(endpoint, seed)?)?;
        Ok(Served { client })
    }

    pub fn calls(&self) -> &Calls {
        self.client.calls()
    }

    /// `others`: calls of the node's other clients; `shown`: whether these are the node's progress.
    pub fn ask(
        &mut self,
        ctx: &NodeCtx,
        questions: &[Question],
        (others, shown): (Calls, bool),
    ) -> Result<Vec<Reply>> {
        let mut observer = NodeObserver {
            others,
            shown,
            ..NodeObserver::new(ctx, "replies")
        };
        let outcomes = self.client.all(&asks(questions), &mut observer);
        read(questions, outcomes.map_err(observer::stopped)?)
    }
}

/// What was said to questions that were asked together.
pub(super) fn read(questions: &[Question], outcomes: Vec<Outcome<Answer>>) -> Result<Vec<Reply>> {
    let opened = match outcomes.iter().flatten().any(closes_unopened) {
        true => Begun::With(format!("{}\n", response::OPEN)),
        false => Begun::Unknown,
    };
    let each = questions.iter().zip(outcomes);
    each.map(|(question, outcome)| reply(question, outcome, &opened))
        .collect()
}

pub(super) fn asks(questions: &[Question]) -> Vec<Ask> {
    let ask = |question: &Question| Ask {
        input: Input::Chat(question.messages.clone()),
        sample: question.sample,
    };
    questions.iter().map(ask).collect()
}

/// `opened`: what comes before an answer that was cut off before any think tag.
fn reply(question: &Question, outcome: Outcome<Answer>, opened: &Begun) -> Result<Reply> {
    match outcome {
        Ok(answer) => {
            let begun = if answers::untagged(&answer) {
                opened
            } else {
                &Begun::Unknown
            };
            Ok(Reply {
                response: answers::response(&answer, begun),
                tokens: answer.tokens,
                finished: answer.finished(),
                rejected: None,
            })
        }
        // A failure that may pass is no reply; what was answered is in the journal.
        Err(rejection) if rejection.status == 0 => {
            let error = anyhow!("no reply to {}: {rejection}", question.id);
            Err(Transient(error).into())
        }
        Err(rejection) => Ok(Reply {
            response: String::new(),
            tokens: 0,
            finished: true,
            rejected: Some(answers::reason(&rejection)),
        }),
    }
}

/// Whether the server's own template has opened the think block.
fn closes_unopened(answer: &Answer) -> bool {
    answer.reasoning.is_none() && response::reopened(&answer.content) != answer.content
}

/// What asking these would come to, by what the journal in this folder has already.
pub fn forecast(
    part: &Part,
    endpoint: &EndpointParams,
    seed: u64,
    questions: &[Question],
    calls: &Path,
) -> Result<Calls> {
    let chat = part.chat(endpoint, seed)?;
    let journal = Journal::open(calls)?;
    Ok(client::forecast(
        &chat,
        &endpoint.endpoint(),
        &journal,
        &asks(questions),
    ))
}
