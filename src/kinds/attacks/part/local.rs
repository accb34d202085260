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
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A model folder that is open, once for all parts that it has.
pub(super) struct Opened {
    learner: Box<dyn Learner>,
    tokenizer: Tokenizer,
    files: Files,
    /// The part that it was opened for.
    block: &'static str,
}

/// What the files of a folder are, wherever the folder lies: an input's are links to what the store has.
type Files = BTreeMap<OsString, PathBuf>;

fn files(folder: &Path) -> io::Result<Files> {
    let each = fs::read_dir(folder)?.map(|entry| {
        let entry = entry?;
        Ok((entry.file_name(), fs::canonicalize(entry.path())?))
    });
    each.collect()
}

/// A part, and how it is sampled.
pub(super) struct Local {
    /// Its place among the open models.
    model: usize,
    options: Options,
    seed: Seed,
}

impl Local {
    /// Opens the model at the part's port, unless another part has it already.
    pub fn open(ctx: &NodeCtx, part: &Part, seed: Seed, models: &mut Vec<Opened>) -> Result<Local> {
        let folder = ctx.input(part.block);
        let files =
            files(folder).with_context(|| format!("failed to list {}", folder.display()))?;
        let known = models.iter().position(|model| model.files == files);
        let model = known.unwrap_or(models.len());
        match models.get(model) {
            Some(other) => ctx.log(&format!(
                "`{}` and `{}` are one model, which is loaded once",
                other.block, part.block
            )),
            None => {
                model_io::use_threads(ctx)?;
                let (learner, tokenizer) = model_io::open(ctx, folder)?;
                models.push(Opened {
                    learner,
                    tokenizer,
                    files,
                    block: part.block,
                });
            }
        }
        let tokenizer = &models[model].tokenizer;
        Ok(Local {
            options: model_io::plain(tokenizer, part.temperature, part.max_tokens),
            model,
            seed,
        })
    }

    /// A reply does not depend on the other questions.
    pub fn ask(
        &self,
        ctx: &NodeCtx,
        models: &mut [Opened],
        questions: &[Question],
        course: &mut Course,
    ) -> Result<Vec<Reply>> {
        let Opened {
            learner, tokenizer, ..
        } = &mut models[self.model];
        let asked = questions
            .iter()
            .map(|question| rendered(tokenizer, question).with_context(|| question.id.clone()));
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
        let groups = learner.sample(
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
                response: asked.begun.clone() + &tokenizer.response(&sample.ids)?,
                tokens: (asked.ids.len() + sample.ids.len()) as u64,
                finished: sample.finished,
                rejected: None,
            })
        });
        let replies: Vec<Reply> = replies.collect::<Result<_>>()?;
        let tokens: u64 = replies.iter().map(|reply| reply.tokens).sum();
        let flop = estimate::sampling(learner.config(), tokens as usize);
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
