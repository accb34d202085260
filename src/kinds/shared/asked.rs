//! A prompt as a model is asked it: through its chat template, up to where it begins to write.

use anyhow::{Result, ensure};
use base::rows::{Message, Prompt};
use learn::chat;
use learn::tokenizer::Tokenizer;
use std::collections::BTreeMap;

/// What responses are given to begin with, prompt by prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prefills {
    all: Option<String>,
    /// By the prompt's id.
    own: BTreeMap<String, String>,
}

impl Prefills {
    /// The same for all; nothing where there is none.
    pub fn same(text: Option<String>) -> Prefills {
        Prefills {
            all: text,
            ..Prefills::default()
        }
    }

    /// A text of its own for each prompt, by its id.
    pub fn own(texts: impl IntoIterator<Item = (String, String)>) -> Prefills {
        Prefills {
            own: texts.into_iter().collect(),
            ..Prefills::default()
        }
    }

    pub fn of(&self, prompt: &Prompt) -> Option<&str> {
        let own = self.own.get(&prompt.id).or(self.all.as_ref());
        own.map(String::as_str)
    }
}

/// What a model is asked to continue.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Token ids up to where the model begins to write.
    pub ids: Vec<u32>,
    /// What the response begins with, whatever the model writes: a think block that the template opens, and the prefill.
    pub begun: String,
}

/// `prefill` is a beginning of the response that is given.
pub fn asked(tokenizer: &Tokenizer, prompt: &str, prefill: Option<&str>) -> Result<Asked> {
    let prompt = chat::prompt(tokenizer, &[Message::new("user", prompt)], prefill)?;
    Ok(Asked {
        ids: tokenizer.encode(&prompt.text)?,
        begun: prompt.begun,
    })
}

/// The prompt after a system message. Errors: a template that leaves it out, so that nobody believes it was said.
pub fn asked_after(
    tokenizer: &Tokenizer,
    system: Option<&str>,
    prompt: &str,
    prefill: Option<&str>,
) -> Result<Asked> {
    let Some(system) = system else {
        return asked(tokenizer, prompt, prefill);
    };
    let messages = [Message::new("system", system), Message::new("user", prompt)];
    let prompt = chat::prompt(tokenizer, &messages, prefill)?;
    ensure!(
        prompt.text.contains(system.trim()),
        "the model's chat template leaves the system message out: `system` cannot be said to it"
    );
    Ok(Asked {
        ids: tokenizer.encode(&prompt.text)?,
        begun: prompt.begun,
    })
}
