//! A prompt as a model is asked it: through its chat template, up to where it begins to write.

use anyhow::{Result, ensure};
use base::rows::Message;
use learn::chat;
use learn::tokenizer::Tokenizer;

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
