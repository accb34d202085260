//! What every scorer is given: a response with what is known of its prompt, and the recipe's constants.

use base::response;
use base::rows::{CompletedPrompt, Prompt, PromptClass, Truth};

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
}

/// Named constants of the scorers, from the recipe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// A safety score at or above this counts as 1.
    pub safety_snap: f64,
}
