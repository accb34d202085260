//! The table of scorers. A scorer maps (prompt, response) to a number in [0, 1]; RL rewards and evals use the same ones.
//! Some read the text themselves, others ask a service (`service.rs`) or a model on this machine (`reward_model.rs`). A new scorer is one file here and its line in `ALL`.

pub mod reward;

mod format;
pub mod harmbench;
pub mod moderation;
pub mod neutral;
pub mod panel;
pub mod refusal;
pub mod reward_model;
pub mod rubric;
mod safety;
mod score;
pub mod service;
pub mod strongreject;
mod task;
pub mod wording;

use anyhow::{Context, Result};
use base::response;
use base::rows::{CompletedPrompt, Prompt, PromptClass, Truth};
use service::Service;

/// A response to be scored, with what is known of its prompt.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    pub prompt_id: &'a str,
    pub class: PromptClass,
    pub prompt: &'a str,
    pub truth: Option<&'a Truth>,
    pub response: &'a str,
}

impl<'a> Judged<'a> {
    pub fn of_prompt(prompt: &'a Prompt, response: &'a str) -> Judged<'a> {
        Judged {
            prompt_id: &prompt.id,
            class: prompt.class,
            prompt: &prompt.prompt,
            truth: prompt.truth.as_ref(),
            response,
        }
    }

    pub fn of_completed(prompt: &'a CompletedPrompt, response: &'a str) -> Judged<'a> {
        Judged {
            prompt_id: &prompt.prompt_id,
            class: prompt.class,
            prompt: &prompt.prompt,
            truth: prompt.truth.as_ref(),
            response,
        }
    }

    /// What judges see of the response: never its reasoning, and nothing where that does not end.
    pub fn answer(&self) -> String {
        response::split(self.response).answer
    }

    /// What the world's judges need; other prompts have none.
    pub fn world_truth(&self) -> Result<&'a Truth> {
        self.truth.context("the judges of the built-in world score only its own prompts, and this row has no `truth`")
    }
}

/// Named constants of the scorers, from the recipe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// A safety score at or above this counts as 1.
    pub safety_snap: f64,
}

pub struct Scorer {
    /// The word in a reward expression.
    pub name: &'static str,
    /// One line for `pipe kinds --scorers`.
    pub summary: &'static str,
    pub how: How,
}

/// Where a score comes from. It is none where the scorer can say nothing of a response; what becomes of such a sample is a
/// parameter of who asks. An error is a judge that cannot work at all.
pub enum How {
    Text(fn(&Judged, &Settings) -> Result<Option<f64>>),
    Service(&'static Service),
    /// The reward model on the port `reward_model`.
    Model,
}

impl Scorer {
    pub fn service(&self) -> Option<&'static Service> {
        match self.how {
            How::Text(_) | How::Model => None,
            How::Service(service) => Some(service),
        }
    }
}

pub const ALL: &[&Scorer] = &[
    &format::SCORER,
    &safety::SCORER,
    &task::SCORER,
    &refusal::SCORER,
    &refusal::UNICODE,
    &moderation::SCORER,
    &strongreject::SCORER,
    &harmbench::SCORER,
    &rubric::SCORER,
    &score::SCORER,
    &reward_model::SCORER,
];

pub fn get(name: &str) -> Option<&'static Scorer> {
    ALL.iter().copied().find(|s| s.name == name)
}
