//! What every scorer is given: a response with what is known of its prompt, and the recipe's constants.

use base::response;
use base::rows::{Completion, Prompt, PromptClass, Truth};

/// A response to be scored, with what is known of its prompt.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    pub prompt_id: &'a str,
    pub class: PromptClass,
    pub prompt: &'a str,
    pub truth: Option<&'a Truth>,
    pub response: &'a str,
    /// What of it was written for the model, where that reaches into the answer.
    pub begun: Option<&'a str>,
}

impl<'a> Judged<'a> {
    pub fn of_prompt(prompt: &'a Prompt, response: &'a str) -> Judged<'a> {
        Judged {
            prompt_id: &prompt.id,
            class: prompt.class,
            prompt: &prompt.prompt,
            truth: prompt.truth.as_ref(),
            response,
            begun: None,
        }
    }

    pub fn of_completed(completion: &'a Completion) -> Judged<'a> {
        let prompt = &completion.prompt;
        Judged {
            prompt_id: &prompt.prompt_id,
            class: prompt.class,
            prompt: &prompt.prompt,
            truth: prompt.truth.as_ref(),
            response: &completion.response,
            begun: completion.begun.as_deref(),
        }
    }

    /// What judges see of the response: never its reasoning, and nothing where that does not end, or where all of the answer was written
    /// for the model.
    pub fn answer(&self) -> String {
        match self.adds_nothing() {
            true => String::new(),
            false => response::split(self.response).answer,
        }
    }

    /// The answer was begun for the model, and it wrote nothing more.
    pub fn adds_nothing(&self) -> bool {
        self.begun.is_some() && self.own().is_empty()
    }

    /// The answer's own words: all of it, but for what was written for the model.
    pub fn own(&self) -> String {
        response::own(self.response, self.begun)
    }

    /// Whether the model refuses by a rule that reads how texts begin: in its own words, or where it made a refusal of a beginning that
    /// was none.
    pub fn refuses(&self, rule: impl Fn(&str) -> bool) -> bool {
        let own = || rule(&self.own());
        let completed = |begun: &str| rule(&self.answer()) && !rule(&response::split(begun).answer);
        own() || self.begun.is_some_and(completed)
    }
}

/// Named constants of the scorers, from the recipe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// A safety score at or above this counts as 1.
    pub safety_snap: f64,
}
