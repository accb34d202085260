//! Conversations to ids: the prompt a model answers, and training examples whose ids and mask are born together.
//!
//! Ids are those of the whole rendered text, as transformers makes them. The ids of a prompt are then a prefix of the
//! ids of the prompt with its answer, except where the answer begins with white space that joins the header's newline
//! into one token; that token is the assistant's. What was sampled is never encoded again.

use crate::learn::template::{Dialogue, Template};
use crate::learn::tokenizer::{Encoded, Tokenizer};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;
use std::ops::Range;

/// Token ids and which of them are trained: the assistant's text and the token that ends its turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    pub ids: Vec<u32>,
    pub mask: Vec<bool>,
}

impl Example {
    /// The same ids with only the last trained run kept: the last turn of a conversation.
    pub fn last_turn(mut self) -> Example {
        let end = self.mask.iter().rposition(|&m| m).map_or(0, |i| i + 1);
        let start = self.mask[..end]
            .iter()
            .rposition(|&m| !m)
            .map_or(0, |i| i + 1);
        self.mask[..start].fill(false);
        self
    }

    /// Tokens that are trained.
    pub fn trained(&self) -> usize {
        self.mask.iter().filter(|&&m| m).count()
    }

    /// One token a line: its mark (`+` trained, `.` not), id and text.
    pub fn view(&self, tokenizer: &Tokenizer) -> Result<String> {
        let mut out = String::new();
        for (&id, &trained) in self.ids.iter().zip(&self.mask) {
            let mark = if trained { '+' } else { '.' };
            let text = tokenizer.decode(&[id], false)?;
            out += &format!("{mark} {id:>6} {text:?}\n");
        }
        Ok(out)
    }
}

/// The example of a whole conversation: every assistant turn is trained, end-of-turn token included. Fails where the
/// template does not show which text is the assistant's, or none is.
pub fn render_training<M: Serialize>(tokenizer: &Tokenizer, messages: &[M]) -> Result<Example> {
    let messages = values(messages)?;
    let example = render(
        tokenizer,
        Dialogue {
            messages: &messages,
            tools: None,
            add_generation_prompt: false,
        },
    )?;
    if example.trained() == 0 {
        bail!("the conversation has nothing to train on: no text of an assistant in it");
    }
    Ok(example)
}

/// The ids a model continues: the conversation, the header of the assistant's turn and what it is made to begin with
/// (`<think>\n`, say).
pub fn render_prompt<M: Serialize>(
    tokenizer: &Tokenizer,
    messages: &[M],
    prefill: Option<&str>,
) -> Result<Vec<u32>> {
    tokenizer.encode(&prompt_text(tokenizer, messages, prefill)?)
}

/// The same as text, special tokens written out: for a server that continues text.
pub fn prompt_text<M: Serialize>(
    tokenizer: &Tokenizer,
    messages: &[M],
    prefill: Option<&str>,
) -> Result<String> {
    let messages = values(messages)?;
    let dialogue = Dialogue {
        messages: &messages,
        tools: None,
        add_generation_prompt: true,
    };
    Ok(tokenizer.template()?.render(dialogue)?.text + prefill.unwrap_or(""))
}

/// The ids of a conversation as it stands, with no header for another turn: what a reward model reads.
pub fn render_whole<M: Serialize>(tokenizer: &Tokenizer, messages: &[M]) -> Result<Vec<u32>> {
    let messages = values(messages)?;
    let dialogue = Dialogue {
        messages: &messages,
        tools: None,
        add_generation_prompt: false,
    };
    tokenizer.encode(&tokenizer.template()?.render(dialogue)?.text)
}

/// Ids and mask of any dialogue; the mask may be empty.
pub fn render(tokenizer: &Tokenizer, dialogue: Dialogue) -> Result<Example> {
    let template = tokenizer.template()?;
    let rendered = template.render(dialogue)?;
    let spans = match rendered.assistant {
        Some(spans) => spans,
        None => derived_spans(template, &tokenizer.stop_texts(), dialogue, &rendered.text)
            .context(
                "the chat template has no generation tags and its assistant turns cannot be shown",
            )?,
    };
    let encoded = tokenizer.encode_offsets(&rendered.text)?;
    let mask = mask(&encoded, &spans);
    Ok(Example {
        ids: encoded.ids,
        mask,
    })
}

/// Where a template without generation tags writes each assistant turn. The turn begins where the rendering of
/// everything before it, with a generation prompt, ends: shown by that rendering being a prefix. It ends with the first
/// stop token after that; where the content itself holds a stop token, with the last one of the rendering that stops
/// after this turn, which must be a prefix too.
fn derived_spans(
    template: &Template,
    stops: &[String],
    dialogue: Dialogue,
    full: &str,
) -> Result<Vec<Range<usize>>> {
    let mut spans = vec![];
    for (i, message) in dialogue.messages.iter().enumerate() {
        if message["role"] != "assistant" {
            continue;
        }
        let part = |messages, add_generation_prompt| {
            let rendered = template.render(Dialogue {
                messages,
                add_generation_prompt,
                ..dialogue
            });
            rendered.with_context(|| format!("message {}", i + 1))
        };
        let head = part(&dialogue.messages[..i], true)?.text;
        let Some(tail) = full.strip_prefix(head.as_str()) else {
            bail!(
                "message {}: what precedes it renders differently without it",
                i + 1
            );
        };
        let written = message.to_string();
        let end = if stops.iter().any(|stop| written.contains(stop.as_str())) {
            let through = part(&dialogue.messages[..=i], false)?.text;
            let Some(turn) = through
                .strip_prefix(head.as_str())
                .filter(|turn| tail.starts_with(turn))
            else {
                bail!(
                    "message {} holds a stop token and renders differently at the end of the conversation",
                    i + 1
                );
            };
            stops
                .iter()
                .filter_map(|stop| Some(turn.rfind(stop.as_str())? + stop.len()))
                .max()
                .filter(|&end| turn[end..].trim().is_empty())
        } else {
            let found = stops
                .iter()
                .filter_map(|stop| Some((tail.find(stop.as_str())?, stop.len())));
            found.min().map(|(at, length)| at + length)
        };
        let Some(end) = end else {
            bail!("message {}: no stop token ends its turn", i + 1);
        };
        spans.push(head.len()..head.len() + end);
    }
    Ok(spans)
}

/// A span covers the tokens from the first to the last that share a byte with it.
fn mask(encoded: &Encoded, spans: &[Range<usize>]) -> Vec<bool> {
    let mut mask = vec![false; encoded.ids.len()];
    for span in spans {
        let shares = |o: &Range<usize>| o.start < span.end && o.end > span.start;
        let first = encoded.offsets.iter().position(shares);
        let last = encoded.offsets.iter().rposition(shares);
        if let (Some(first), Some(last)) = (first, last) {
            mask[first..=last].fill(true);
        }
    }
    mask
}

fn values<M: Serialize>(messages: &[M]) -> Result<Vec<Value>> {
    let values = messages.iter().map(serde_json::to_value);
    Ok(values.collect::<Result<_, _>>()?)
}
