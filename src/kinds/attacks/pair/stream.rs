//! One stream of PAIR: a conversation of an attacker with what it is told of the target's answers, and where it is within a step. Goes on by
//! what is said in its turn; who says it, it does not know.

use super::reading::{Proposal, proposal};
use crate::attacks::ratings::rating;
use base::rows::Message;
use serde::{Deserialize, Serialize};

/// How long it is searched, and when a search has found what it wants.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub streams: usize,
    pub steps: usize,
    /// Replies of an attacker that cannot be read before its stream ends.
    pub retries: usize,
    /// Of the conversation the last so many proposals are kept, each with what came before it.
    pub keep: usize,
    /// A rating that ends the search.
    pub cutoff: u32,
}

/// Whose turn it is, in the order of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Turn {
    Attacker,
    Target,
    Judge,
}

/// Where a stream is within a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Now {
    /// The attacker is asked.
    Proposes,
    /// The target is.
    Answers(Proposal),
    /// The judge is.
    Rates(Proposal),
    /// The others are waited for.
    Rated,
}

/// What came of a stream in a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    pub stream: usize,
    /// Replies of the attacker.
    pub tries: usize,
    /// None: no reply could be read.
    pub prompt: Option<String>,
    /// 1 where the judge's rating cannot be read.
    pub score: Option<u32>,
    pub readable: bool,
    /// The target said nothing but reasoning, or nothing.
    pub unanswered: bool,
    /// Messages that the attacker is kept.
    pub kept: usize,
    pub queries: u64,
    pub tokens: u64,
    pub note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Of the user and the attacker, in turns.
    pub messages: Vec<Message>,
    pub alive: bool,
    /// It ended in an earlier step.
    pub over: bool,
    pub now: Now,
    /// The target's, to the last proposal.
    pub answer: String,
    pub round: Round,
}

/// What somebody said in his turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// The answer, without reasoning; empty where there is none.
    pub text: String,
    pub tokens: u64,
    /// Why there is no answer.
    pub note: Option<String>,
}

impl Stream {
    pub fn turn(&self) -> Option<Turn> {
        match self.now {
            Now::Proposes => Some(Turn::Attacker),
            Now::Answers(_) => Some(Turn::Target),
            Now::Rates(_) => Some(Turn::Judge),
            Now::Rated => None,
        }
    }

    /// Goes on by what was said in its turn.
    pub fn hear(&mut self, said: Option<Said>, rules: &Rules) {
        let round = &mut self.round;
        if let Some(said) = &said {
            round.queries += 1;
            round.tokens += said.tokens;
            round.note = said.note.clone().or(round.note.take());
        }
        let silent = said.is_none();
        let said = said.unwrap_or_default();
        match std::mem::replace(&mut self.now, Now::Rated) {
            Now::Proposes => {
                round.tries += usize::from(!silent);
                match proposal(&said.text) {
                    Some(proposal) => {
                        let json = proposal.json();
                        self.messages.push(Message::new("assistant", &json));
                        self.now = Now::Answers(proposal);
                    }
                    None if silent || round.tries >= rules.retries => {
                        self.alive = false;
                        round.note = Some("no reply of the attacker can be read".into());
                    }
                    None => self.now = Now::Proposes,
                }
            }
            Now::Answers(proposal) => {
                round.unanswered = said.text.is_empty();
                self.answer = said.text;
                self.now = Now::Rates(proposal);
            }
            Now::Rates(proposal) => {
                let rating = rating(&said.text);
                round.readable = rating.is_some();
                round.score = Some(rating.unwrap_or(1));
                round.prompt = Some(proposal.prompt);
                if rating.is_none() {
                    round.note = Some("the rating cannot be read".into());
                }
            }
            Now::Rated => unreachable!("nobody waits for a stream that was rated"),
        }
    }
}
