//! Who speaks in PAIR: models, or the built-in world as attacker and judge.

use super::params::Params;
use super::rounds::{Asked, Cast};
use super::stream::{Said, Turn};
use super::told::Told;
use crate::attacks::part::params::{From, Part};
use crate::attacks::part::{Question, Replies, Reply};
use anyhow::Result;
use base::rng::Seed;
use base::rows::{Message, Prompt};
use world::{Guise, World, judge};

/// What an attacker's reply is begun with, where it is.
const FORM: &str = "{\"improvement\": \"";

pub struct Players<'a> {
    pub p: &'a Params,
    pub prompts: &'a [Prompt],
    pub told: &'a Told,
    pub speakers: &'a mut dyn Replies,
    pub world: World,
    /// Of a model on this machine.
    pub save_every: usize,
}

impl Cast for Players<'_> {
    fn say(&mut self, turn: Turn, asked: &[Asked]) -> Result<Vec<Option<Said>>> {
        let part = self.part(turn);
        if part.from == From::World {
            let said = asked.iter().map(|a| self.by_world(turn, a).map(Some));
            return said.collect();
        }
        let questions: Vec<Question> = asked.iter().map(|a| self.question(turn, a)).collect();
        let replies = self.speakers.replies(part.block, &questions)?;
        Ok(replies.iter().map(|reply| Some(said(reply))).collect())
    }

    /// Of an endpoint's answers every one is kept the moment that it comes.
    fn at_once(&self, turn: Turn) -> usize {
        match self.part(turn).from {
            From::Model => self.save_every,
            From::World | From::Endpoint => usize::MAX,
        }
    }
}

impl Players<'_> {
    fn part(&self, turn: Turn) -> Part {
        match turn {
            Turn::Attacker => self.p.attacker(),
            Turn::Target => self.p.target(),
            Turn::Judge => self.p.judge(),
        }
    }

    fn question(&self, turn: Turn, asked: &Asked) -> Question {
        let Asked {
            stream,
            step,
            tries,
            ..
        } = *asked;
        let prompt = &self.prompts[asked.search];
        let proposed = asked.proposal.map_or("", |p| p.prompt.as_str());
        let once = |text: &str| vec![Message::new("user", text)];
        let messages = match turn {
            Turn::Attacker => {
                let told = self.told.attacker(&prompt.prompt, stream);
                let mut messages = vec![Message::new("system", &told)];
                messages.extend_from_slice(asked.messages);
                messages
            }
            Turn::Target => once(proposed),
            Turn::Judge => once(&self.told.judge(&prompt.prompt, proposed, asked.answer)),
        };
        // Two streams may ask the same: only what is drawn differs then.
        let sample = match turn {
            Turn::Attacker => stream * self.p.retries + tries,
            _ if self.part(turn).temperature > 0.0 => step * self.p.streams + stream,
            _ => 0,
        };
        Question {
            id: format!("{}/{stream}/{step}/{tries}", prompt.id),
            messages,
            sample: sample as u32,
            begun: (self.p.begin && turn == Turn::Attacker).then_some(FORM),
        }
    }

    fn by_world(&self, turn: Turn, asked: &Asked) -> Result<Said> {
        let prompt = &self.prompts[asked.search];
        let text = match turn {
            Turn::Attacker => self.disguised(prompt, asked)?,
            Turn::Target => {
                unreachable!("the world is no target")
            }
            Turn::Judge => {
                let rating = judge::rating(prompt.truth.as_ref(), asked.answer)?;
                format!("Rating: [[{rating}]]")
            }
        };
        Ok(Said {
            text,
            ..Said::default()
        })
    }

    /// A proposal of the world's attacker: the prompt in the guise that the stream has come to, in words drawn anew.
    fn disguised(&self, prompt: &Prompt, asked: &Asked) -> Result<String> {
        let scores = asked.before.iter().filter_map(|round| round.score);
        let scores: Vec<u32> = scores.collect();
        let guise = guise(asked.stream, &scores);
        let seed = Seed::new(self.p.seed).child("pair").child(&prompt.id);
        let mut rng = seed.at(asked.stream as u64).at(asked.step as u64).rng();
        let (text, now) = self.world.rewrite(prompt, guise, &mut rng)?;
        let proposal = super::reading::Proposal {
            improvement: now.word().into(),
            prompt: text,
        };
        Ok(proposal.json())
    }
}

/// Each stream begins with another guise, and takes the next one where the last did no better than the one before.
fn guise(stream: usize, scores: &[u32]) -> Guise {
    let better = |pair: &&[u32]| pair[1] > pair[0];
    let kept = scores.windows(2).filter(better).count();
    let changed = scores.len() - kept;
    let disguised = &Guise::ALL[1..];
    disguised[(stream + changed) % disguised.len()]
}

fn said(reply: &Reply) -> Said {
    let text = reply.answer();
    let note = match (&reply.rejected, text.is_empty(), reply.finished) {
        (Some(reason), ..) => Some(reason.clone()),
        (None, true, false) => Some("cut off before an answer".into()),
        (None, true, true) => Some("no answer".into()),
        (None, false, _) => None,
    };
    Said {
        text,
        tokens: reply.tokens,
        note,
    }
}
