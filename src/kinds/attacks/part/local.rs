//! A model folder that has a part in an attack.

use super::params::Part;
use super::question::{Question, Reply};
use crate::shared::estimate;
use crate::shared::model_checks::of_prompt;
use crate::shared::model_io::{self, Asked, Course};
use anyhow::{Context, Result};
use base::rng::Seed;
use base::rows::Message;
use engine::kind::context::{Interrupted, NodeCtx};
use learn::chat;
use learn::learner::{Learner, Policy};
use learn::sample::{Options, Request, Sample, Stopped};
use learn::tokenizer::Tokenizer;

pub(super) struct Local {
    learner: Box<dyn Learner>,
    tokenizer: Tokenizer,
    options: Options,
    seed: Seed,
}

impl Local {
    pub fn open(ctx: &NodeCtx, part: &Part, seed: Seed) -> Result<Local> {
        model_io::use_threads(ctx)?;
        let (learner, tokenizer) = model_io::open(ctx.input(part.block))?;
        Ok(Local {
            options: model_io::plain(&tokenizer, part.temperature, part.max_tokens),
            learner,
            tokenizer,
            seed,
        })
    }

    /// A reply does not depend on the other questions.
    pub fn ask(
        &mut self,
        ctx: &NodeCtx,
        questions: &[Question],
        course: &mut Course,
    ) -> Result<Vec<Reply>> {
        let asked = questions.iter().map(|question| {
            rendered(&self.tokenizer, question).with_context(|| question.id.clone())
        });
        let asked: Vec<Asked> = asked.collect::<Result<_>>()?;
        let requests = questions
            .iter()
            .zip(&asked)
            .map(|(question, asked)| Request {
                prompt: asked.ids.clone(),
                samples: 1,
                seed: self.seed.child(&question.id),
            });
        let requests: Vec<Request> = requests.collect();
        let rows = requests.len();
        let groups = self.learner.sample(
            Policy::Live,
            &requests,
            &self.options,
            &mut |tally| course.tell(tally, rows),
            &|| ctx.stop(),
        );
        course.passed(rows);
        let groups = match groups {
            Err(error) if error.is::<Stopped>() => return Err(Interrupted.into()),
            groups => groups.map_err(|error| of_prompt(error, |i| questions[i].id.clone()))?,
        };
        let samples: Vec<Sample> = groups.into_iter().flatten().collect();
        let replies = asked.iter().zip(&samples).map(|(asked, sample)| {
            Ok(Reply {
                response: asked.begun.clone() + &self.tokenizer.response(&sample.ids)?,
                tokens: (asked.ids.len() + sample.ids.len()) as u64,
                finished: sample.finished,
                rejected: None,
            })
        });
        let replies: Vec<Reply> = replies.collect::<Result<_>>()?;
        let tokens: u64 = replies.iter().map(|reply| reply.tokens).sum();
        let flop = estimate::sampling(self.learner.config(), tokens as usize);
        ctx.record_flops(flop);
        Ok(replies)
    }
}

/// A template without a place for what the system says has it before the first thing that the user says: an attacker is what he is told to be
/// in either.
fn rendered(tokenizer: &Tokenizer, question: &Question) -> Result<Asked> {
    let whole = chat::prompt(tokenizer, &question.messages, question.begun);
    let system = question.messages.first().filter(|m| m.role == "system");
    let prompt = match (system, whole) {
        (None, whole) => whole?,
        (Some(system), Ok(prompt)) if prompt.text.contains(system.content.trim()) => prompt,
        (Some(system), _) => {
            let folded = folded(system, &question.messages[1..]);
            chat::prompt(tokenizer, &folded, question.begun)?
        }
    };
    Ok(Asked {
        ids: tokenizer.encode(&prompt.text)?,
        begun: prompt.begun,
    })
}

fn folded(system: &Message, rest: &[Message]) -> Vec<Message> {
    let mut messages = rest.to_vec();
    match messages.first_mut().filter(|m| m.role == "user") {
        Some(first) => first.content = format!("{}\n\n{}", system.content, first.content),
        None => messages.insert(0, Message::new("user", &system.content)),
    }
    messages
}
