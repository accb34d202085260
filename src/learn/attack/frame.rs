//! A chat with a place for a suffix at the end of the user's message: the text around it, the ids of its parts, and whether a
//! suffix survives, that is, whether the prompt that is sent has the ids that were searched for.
//!
//! The prompt is divided at a mark that is rendered in the suffix's place, so that nothing has to be known of the template. What
//! tokenizers merge across a boundary of the parts, no rule of the parts says: the prompt as a whole is encoded again, and
//! compared. Knows no model.

use crate::chat;
use crate::tokenizer::Tokenizer;
use anyhow::{Result, bail, ensure};
use base::rows::Message;

/// Rendered in the place of the suffix.
const MARK: char = '\u{10f8e3}';

pub struct Frame<'t> {
    tokenizer: &'t Tokenizer,
    /// What the message says before the suffix.
    content: String,
    prefill: Option<String>,
    /// The rendered chat up to the suffix, and from its end to where the model begins to write.
    pub head: String,
    pub tail: String,
    /// What of the tail belongs to the response: what the template opens, and the prefill.
    pub begun: String,
    pub before: Vec<u32>,
    pub after: Vec<u32>,
}

/// What becomes of a suffix that is written down as text and encoded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survival {
    /// The suffix by itself has the same ids: what nanoGCG and HarmBench ask.
    pub alone: bool,
    /// The whole prompt that is sent has: the only thing that counts.
    pub whole: bool,
}

impl<'t> Frame<'t> {
    /// `content` is the message up to the suffix, `prefill` what the response is begun with.
    ///
    /// Errors: a template that leaves out or repeats the end of a message; as `chat::prompt`.
    pub fn new(
        tokenizer: &'t Tokenizer,
        content: &str,
        prefill: Option<&str>,
    ) -> Result<Frame<'t>> {
        ensure!(
            !content.contains(MARK),
            "the prompt holds the character U+{:X}, which marks the place of the suffix",
            u32::from(MARK)
        );
        let message = Message::new("user", &format!("{content}{MARK}"));
        let prompt = chat::prompt(tokenizer, &[message], prefill)?;
        let parts: Vec<&str> = prompt.text.split(MARK).collect();
        let [head, tail] = parts[..] else {
            bail!(
                "the chat template writes the end of the user's message {} times: a suffix has no place of its own",
                parts.len() - 1
            );
        };
        Ok(Frame {
            tokenizer,
            content: content.into(),
            prefill: prefill.map(String::from),
            before: tokenizer.encode(head)?,
            after: tokenizer.encode(tail)?,
            head: head.into(),
            tail: tail.into(),
            begun: prompt.begun,
        })
    }

    /// The message with this suffix: what somebody sends.
    pub fn message(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.content)
    }

    /// The prompt with this suffix, as the template renders it.
    pub fn rendered(&self, suffix: &str) -> Result<String> {
        let message = Message::new("user", &self.message(suffix));
        chat::prompt_text(self.tokenizer, &[message], self.prefill.as_deref())
    }

    /// The ids that a model is asked with this suffix, encoded as a whole.
    pub fn sent(&self, suffix: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode(&self.rendered(suffix)?)
    }

    /// The ids of the parts, side by side.
    pub fn whole(&self, suffix: &[u32]) -> Vec<u32> {
        [&self.before, suffix, &self.after].concat()
    }

    pub fn survival(&self, suffix: &[u32]) -> Result<Survival> {
        let text = self.tokenizer.decode(suffix, false)?;
        Ok(Survival {
            alone: self.tokenizer.encode(&text)? == suffix,
            whole: self.sent(&text)? == self.whole(suffix),
        })
    }

    /// Errors where the template does not write this suffix as it stands: a search would be about something that nobody can send.
    pub fn expect(&self, suffix: &str) -> Result<()> {
        let rendered = self.rendered(suffix)?;
        let meant = format!("{}{suffix}{}", self.head, self.tail);
        let black = |text: &str| text.split_whitespace().collect::<String>();
        let how = match black(&rendered) == black(&meant) {
            _ if rendered == meant => return Ok(()),
            true => "trims the white space of the suffix",
            false => "does not write the suffix as it stands",
        };
        bail!(
            "the chat template {how}: with the suffix {suffix:?} it renders {:?}",
            ending(&rendered)
        );
    }
}

/// Characters of a rendered prompt that a message quotes.
const QUOTED: usize = 80;

fn ending(text: &str) -> &str {
    let from = text.char_indices().rev().nth(QUOTED - 1);
    &text[from.map_or(0, |(at, _)| at)..]
}
