//! Models that have a part in an attack: attackers, mutators, targets and judges, on this machine or behind an endpoint. A part is
//! asked so many questions at a time and gives a reply to each, in their order. Knows no attack; what the built-in world does
//! instead of a model is the attack's own business.

mod local;
pub mod params;
mod question;
mod recorded;
mod served;

use crate::shared::endpoint::EndpointParams;
use crate::shared::model_io::Course;
use anyhow::{Context, Result};
use base::calls::Calls;
use base::params::{ParamSet, Problem};
use base::rng::Seed;
use base::value::Values;
use engine::kind::Needs;
use engine::kind::context::NodeCtx;
use local::{Local, Opened};
use params::{From, Part};
pub use question::{Question, Reply};
pub use recorded::{Recorded, Unheard};
use served::Served;
pub use served::forecast;
use std::collections::BTreeMap;

/// Whether a node's part is a model on this machine, which a port of the part's name brings.
pub fn has_model<P: ParamSet>(values: &Values, part: fn(&P) -> Part) -> bool {
    P::read(values).is_ok_and(|p| part(&p).from == From::Model)
}

/// What a node needs whose parts these are: a service is waited for.
pub fn needs(parts: &[Part]) -> Needs {
    let from = |who| parts.iter().any(|part| part.from == who);
    match (from(From::Model), from(From::Endpoint)) {
        (true, _) => Needs::ALL_THREADS,
        (false, true) => Needs::WAITING,
        (false, false) => Needs::ONE_THREAD,
    }
}

/// What is wrong with parts and the ways to them, beyond types.
pub fn problems(parts: &[Part], endpoints: &[&EndpointParams]) -> Vec<Problem> {
    let each = parts.iter().zip(endpoints);
    each.flat_map(|(part, endpoint)| part.problems(endpoint))
        .collect()
}

/// Whoever has replies to questions.
pub trait Replies {
    /// A reply to each question to a part, in their order.
    fn replies(&mut self, block: &'static str, questions: &[Question]) -> Result<Vec<Reply>>;
}

enum Speaker {
    Local(Box<Local>),
    Served(Box<Served>),
}

/// The models of a node, each opened once.
pub struct Speakers<'a> {
    ctx: &'a NodeCtx,
    /// On this machine.
    models: Vec<Opened>,
    speakers: BTreeMap<&'static str, Speaker>,
}

impl Replies for Speakers<'_> {
    fn replies(&mut self, block: &'static str, questions: &[Question]) -> Result<Vec<Reply>> {
        let mut course = Course::part(self.ctx, "replies", questions.len());
        self.ask(block, questions, &mut course)
    }
}

impl<'a> Speakers<'a> {
    /// Opens the parts that models have. A model on this machine lies at the port that is called as its part. `seed`: of the node.
    pub fn open(
        ctx: &'a NodeCtx,
        parts: &[(Part, &EndpointParams)],
        seed: u64,
    ) -> Result<Speakers<'a>> {
        let (mut models, mut speakers) = (vec![], BTreeMap::new());
        for (part, endpoint) in parts {
            let block = part.block;
            let speaker = match part.from {
                From::World => continue,
                From::Model => {
                    let named = Seed::new(seed).child(block);
                    Speaker::Local(Box::new(Local::open(ctx, part, named, &mut models)?))
                }
                From::Endpoint => {
                    Speaker::Served(Box::new(Served::open(ctx, part, endpoint, seed)?))
                }
            };
            speakers.insert(block, speaker);
        }
        Ok(Speakers {
            ctx,
            models,
            speakers,
        })
    }

    /// A reply to each question, in their order. Errors: as of the model or the service; a service that does not answer may another time.
    pub fn ask(
        &mut self,
        block: &'static str,
        questions: &[Question],
        course: &mut Course,
    ) -> Result<Vec<Reply>> {
        let others = self.calls_but(block);
        let speaker = self.speakers.get_mut(block);
        let speaker = speaker.with_context(|| format!("no model has the part `{block}`"))?;
        let replies = match speaker {
            Speaker::Local(local) => local.ask(self.ctx, &mut self.models, questions, course),
            Speaker::Served(served) => served.ask(self.ctx, questions, (others, !course.is_part())),
        };
        replies.with_context(|| format!("asking `{block}`"))
    }

    /// What the calls of the other clients came to.
    fn calls_but(&self, block: &str) -> Calls {
        let mut all = Calls::default();
        for (other, speaker) in &self.speakers {
            if let Speaker::Served(served) = speaker
                && *other != block
            {
                all.add(served.calls());
            }
        }
        all
    }
}
