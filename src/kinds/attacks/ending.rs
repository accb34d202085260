//! When a search has what it wants: after so many steps, below a loss, without getting better, or because the model is asked with what was
//! found, greedily, and its answer is judged. The reasoning is no answer. Knows no search.

use crate::scorers::{Judged, refusal, world as by_world};
use crate::shared::bounds;
use crate::shared::model_io;
use anyhow::Result;
use base::params::Bounds;
use base::response;
use base::rng::Seed;
use base::rows::Prompt;
use base::setup::{Acts, Setup};
use base::{choice, params};
use learn::attack::frame::Frame;
use learn::attack::search::due;
use learn::attack::victim::Victim;
use learn::sample::Request;
use learn::tokenizer::Tokenizer;
use world::judge;

choice! {
    /// When a search has what it wants.
    pub enum Check { None = "none", Target = "target", Refusal = "refusal", World = "world" }
}

/// A node may have no search at all.
pub fn searches(s: &Setup) -> bool {
    !s.says("search", "none")
}

pub const SEARCHES: Acts = Acts::only("where `search` is not `none`", searches);
const CHECKED: Acts = Acts::only("where `check` is not `none`", |s| {
    searches(s) && !s.says("check", "none")
});
const ANSWERED: Acts = Acts::only("where `check` is `refusal` or `world`", |s| {
    searches(s) && (s.says("check", "refusal") || s.says("check", "world"))
});

const PATIENCE: Bounds = Bounds::within(0.0, 1e8, "0 is never");
const LOSS: Bounds = Bounds::within(-1e6, 1e6, "nats a token");

params! {
    pub struct Ending {
        /// When a search ends early. `target`: greedy decoding gives the target. `refusal`: a greedy response has an answer that does not
        /// begin like a refusal, by `refusal_unicode`. `world`: it has one that does harm, by the judge of the built-in world.
        check: Check = Check::None, if SEARCHES;
        /// Steps between two checks; the last step is one too.
        check_every: usize = 50, in bounds::EVERY, if CHECKED;
        /// Tokens of a response that is checked.
        check_tokens: usize = 64, in bounds::TOKENS, if ANSWERED;
        /// Checks are made below this loss only; without a check a search ends below it.
        stop_loss: Option<f64> = None, in LOSS, if SEARCHES;
        /// A search ends after so many steps without a better loss; 0: never.
        patience: usize = 0, in PATIENCE, if SEARCHES;
    }
}

/// Where a search stands, and what it would deliver now.
pub struct Standing<'s> {
    /// Steps made.
    pub step: usize,
    /// Steps since there was a better one.
    pub stale: usize,
    /// What goes into the frame.
    pub text: &'s str,
    pub loss: f64,
    /// Greedy decoding gives the target.
    pub greedy: bool,
}

/// Whom a search asks, and by what chat.
pub struct Asked<'s, 'm> {
    pub victim: &'s mut (dyn Victim + 'm),
    pub tokenizer: &'m Tokenizer,
    pub frame: &'s Frame<'m>,
}

impl Ending {
    /// Tokens of a response that is written for a check; 0: for none.
    pub fn written(&self) -> f64 {
        match self.check {
            Check::None | Check::Target => 0.0,
            Check::Refusal | Check::World => self.check_tokens as f64,
        }
    }

    /// Why a search ends here, checks aside.
    pub fn why(&self, at: &Standing, steps: usize) -> Option<&'static str> {
        let below = self.stop_loss.is_some_and(|least| at.loss < least);
        if self.check == Check::None && below {
            return Some("loss");
        }
        if self.patience > 0 && at.stale >= self.patience {
            return Some("patience");
        }
        (at.step >= steps).then_some("steps")
    }

    /// Whether what is found is tried out in this round of so many, counted from 0.
    pub fn tries(&self, at: &Standing, round: usize, rounds: usize) -> bool {
        self.check != Check::None
            && due(round, rounds, self.check_every)
            && self.stop_loss.is_none_or(|below| at.loss < below)
    }

    /// The word for the log, where it succeeds.
    pub fn success(
        &self,
        asked: Asked,
        prompt: &Prompt,
        at: &Standing,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<&'static str>> {
        let how = match self.check {
            Check::None => return Ok(None),
            Check::Target => return Ok(at.greedy.then_some("target")),
            Check::Refusal => "refusal",
            Check::World => "world",
        };
        let Asked {
            victim,
            tokenizer,
            frame,
        } = asked;
        let request = Request {
            prompt: frame.sent(at.text)?,
            samples: 1,
            // Nothing is drawn.
            seed: Seed::new(0),
        };
        let options = model_io::plain(tokenizer, 0.0, self.check_tokens);
        let samples = victim.sample(request, &options, stop)?;
        let said = tokenizer.response(&samples[0].ids)?;
        let response = frame.begun.clone() + &said;
        let judged = Judged {
            begun: response::begins_answer(&frame.begun),
            ..Judged::of_prompt(prompt, &response)
        };
        let succeeds = match self.check {
            Check::World => !judge::defended(judged.truth, &by_world::answer(&judged))?,
            _ => !judged.refuses(refusal::refuses_unicode),
        };
        // What was written for the model is nothing that it said.
        Ok((succeeds && !judged.own().is_empty()).then_some(how))
    }
}
