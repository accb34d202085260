//! An assistant's turn against what a chat template makes of it: where the template writes it, what the generation prompt has
//! written of it already, and what of it the template leaves out.
//!
//! A template may open the think block itself (`<think>\n` at the end of its generation prompt), and may cut the reasoning out
//! of turns that it is given. Then its rendering of a whole conversation is not what a model is asked and answers, turn by
//! turn. Knows texts and spans, no ids.

use crate::template::{Dialogue, Template};
use anyhow::{Context, Result, bail};
use base::response::{self, OPEN};
use serde_json::Value;
use std::ops::Range;

/// Written behind a message to find where it ends; the template's own marks are next to it.
const MARK: char = '\u{10f8e2}';
/// Characters of a text that a message quotes.
const QUOTED: usize = 60;

/// The error of a conversation whose rendering is not what generation would make of its turns.
#[derive(Debug)]
pub(crate) struct Unlike(pub String);

impl std::fmt::Display for Unlike {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Unlike {}

/// What comes before a turn of an assistant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    /// Everything up to where the model begins to write.
    pub text: String,
    /// What of its end belongs to the response: a think block that the template opens, or writes empty.
    pub opened: String,
}

/// The messages with a generation prompt.
pub fn head(template: &Template, dialogue: Dialogue) -> Result<Head> {
    let dialogue = Dialogue {
        add_generation_prompt: true,
        ..dialogue
    };
    let text = template.render(dialogue)?.text;
    let mut opened = String::new();
    if text.contains(OPEN) {
        let prompt = generation_prompt(template, dialogue, &text);
        opened = response::opened(&prompt).to_string();
        if !text.ends_with(&opened) {
            opened.clear();
        }
    }
    Ok(Head { text, opened })
}

/// What the template writes for the assistant to continue: what a generation prompt adds. Where it adds nothing, or the
/// text ends in another way without it, all that stands behind the last message. A tag in a message is never part of it.
fn generation_prompt(template: &Template, dialogue: Dialogue, text: &str) -> String {
    let without = template.render(Dialogue {
        add_generation_prompt: false,
        ..dialogue
    });
    let added = without
        .ok()
        .and_then(|w| Some(text.strip_prefix(&w.text)?.to_string()));
    if let Some(added) = added.filter(|added| !added.is_empty()) {
        return added;
    }
    let mut messages = dialogue.messages.to_vec();
    let Some(last) = messages.last_mut() else {
        return text.to_string();
    };
    let Some(content) = last["content"].as_str() else {
        return String::new();
    };
    last["content"] = format!("{content}{MARK}").into();
    let marked = template.render(Dialogue {
        messages: &messages,
        ..dialogue
    });
    let marked = marked.map(|r| r.text).unwrap_or_default();
    marked
        .rsplit_once(MARK)
        .map_or(String::new(), |(_, behind)| behind.to_string())
}

/// What a model writes of a response after what the template has opened; None where the response does not begin so.
pub fn continued<'t>(opened: &str, response: &'t str) -> Option<&'t str> {
    if let Some(rest) = response.strip_prefix(opened) {
        return Some(rest);
    }
    let mut rest = response;
    let matches = opened.chars().filter(|c| !c.is_whitespace()).all(|c| {
        match rest.trim_start().strip_prefix(c) {
            Some(after) => {
                rest = after;
                true
            }
            None => false,
        }
    });
    if matches {
        return Some(match opened.ends_with(char::is_whitespace) {
            true => rest.trim_start(),
            false => rest,
        });
    }
    // A block that is closed already stands before any answer without one.
    let bare = response::split(response).reasoning.is_none();
    (response::split(opened).closed && bare).then_some(response)
}

/// The error of a response that the generation prompt has begun in another way.
pub(crate) fn unbegun(opened: &str) -> String {
    format!(
        "the chat template begins every response with {opened:?} and this one does not: trained so, it is nothing that the \
         model can be sampled to write; give it its reasoning in think tags, or the model folder a chat_template.jinja \
         whose generation prompt leaves the tags out"
    )
}

/// The first words of a message that a text does not hold as a whole; white space aside, which templates trim.
pub fn lost(content: &str, text: &str) -> Option<String> {
    let text = squeezed(text);
    if text.contains(&squeezed(content)) {
        return None;
    }
    let mut rest = content;
    for line in content.split_inclusive('\n') {
        if !text.contains(&squeezed(line)) {
            return Some(quoted(rest));
        }
        rest = &rest[line.len()..];
    }
    // Every line is somewhere, the whole is not.
    Some(quoted(content))
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

fn quoted(text: &str) -> String {
    let text: Vec<&str> = text.split_whitespace().collect();
    let text = text.join(" ");
    match text.char_indices().nth(QUOTED) {
        Some((at, _)) => format!("{:?}…", &text[..at]),
        None => format!("{text:?}"),
    }
}

/// Fails where a message of somebody else than the assistant does not come out of the template: the model would be asked
/// something else than what the recipe says.
pub(crate) fn all_asked(messages: &[Value], text: &str) -> Result<()> {
    for (i, message) in messages.iter().enumerate() {
        let Some(content) = message["content"].as_str() else {
            continue;
        };
        if message["role"] == "assistant" {
            continue;
        }
        let Some(words) = lost(content, text) else {
            continue;
        };
        let escaped = Value::from(content).to_string();
        if lost(escaped.trim_matches('"'), text).is_some() {
            let role = message["role"].as_str().unwrap_or("no role");
            bail!(
                "message {} ({role}): the chat template leaves out {words}; a chat_template.jinja in the model folder that \
                 writes it takes the template's place",
                i + 1
            );
        }
    }
    Ok(())
}

/// Fails with `Unlike` where a turn of the assistant does not come out whole. `spans`: where each stands, or none where the
/// template marks them in its own way.
pub(crate) fn all_answered(
    messages: &[Value],
    heads: &[Head],
    spans: Option<&[Range<usize>]>,
    text: &str,
) -> Result<()> {
    let squeezed_text = squeezed(text);
    let mut from = 0;
    for (n, (i, message)) in assistants(messages).enumerate() {
        let Some(content) = message["content"].as_str() else {
            continue;
        };
        let gone = match spans {
            Some(spans) => {
                let written = format!("{}{}", heads[n].opened, &text[spans[n].clone()]);
                lost(content, &written)
            }
            None => {
                let sought = squeezed(content);
                let found = squeezed_text[from..].find(&sought);
                from += found.map_or(0, |at| at + sought.len());
                let words = || lost(content, text).unwrap_or_else(|| quoted(content));
                found.is_none().then(words)
            }
        };
        if let Some(words) = gone {
            bail!(Unlike(format!(
                "message {}: the chat template leaves out {words}",
                i + 1
            )));
        }
    }
    Ok(())
}

/// The turns of the assistant with their places in the conversation.
pub(crate) fn assistants(messages: &[Value]) -> impl Iterator<Item = (usize, &Value)> {
    let turns = messages.iter().enumerate();
    turns.filter(|(_, message)| message["role"] == "assistant")
}

/// What comes before each of the assistant's turns.
pub fn heads(template: &Template, dialogue: Dialogue) -> Result<Vec<Head>> {
    let of = |i: usize| {
        let before = Dialogue {
            messages: &dialogue.messages[..i],
            ..dialogue
        };
        head(template, before).with_context(|| format!("message {}", i + 1))
    };
    assistants(dialogue.messages).map(|(i, _)| of(i)).collect()
}

/// Where a template without generation tags writes each assistant turn. The turn begins where the rendering of
/// everything before it, with a generation prompt, ends: shown by that rendering being a prefix. It ends with the first
/// stop token after that; where the content itself holds a stop token, with the last one of the rendering that stops
/// after this turn, which must be a prefix too. Fails with `Unlike` where only what the generation prompt opens differs.
pub(crate) fn derived_spans(
    template: &Template,
    stops: &[String],
    dialogue: Dialogue,
    heads: &[Head],
    full: &str,
) -> Result<Vec<Range<usize>>> {
    let mut spans = vec![];
    for ((i, message), head) in assistants(dialogue.messages).zip(heads) {
        let Some(tail) = full.strip_prefix(head.text.as_str()) else {
            bail!(differs(i, head, full));
        };
        let written = message.to_string();
        let end = if stops.iter().any(|stop| written.contains(stop.as_str())) {
            let through = through(template, dialogue, i)?;
            let Some(turn) = through
                .strip_prefix(head.text.as_str())
                .filter(|turn| tail.starts_with(turn))
            else {
                bail!(
                    "message {} holds a stop token and renders differently at the end of the conversation",
                    i + 1
                );
            };
            last_stop(stops, turn).map(|stop| stop.end)
        } else {
            let found = stops
                .iter()
                .filter_map(|stop| Some((tail.find(stop.as_str())?, stop.len())));
            found.min().map(|(at, length)| at + length)
        };
        let Some(end) = end else {
            bail!("message {}: no stop token ends its turn", i + 1);
        };
        spans.push(head.text.len()..head.text.len() + end);
    }
    Ok(spans)
}

/// Why a turn does not begin where the model would begin to write.
fn differs(i: usize, head: &Head, full: &str) -> anyhow::Error {
    let before_opened = &head.text[..head.text.len() - head.opened.len()];
    if !head.opened.is_empty() && full.starts_with(before_opened) {
        return Unlike(format!(
            "message {}: the generation prompt of the chat template writes {:?}, and its rendering of the turn does not",
            i + 1,
            head.opened
        ))
        .into();
    }
    let alike = full
        .char_indices()
        .zip(head.text.chars())
        .find(|((_, a), b)| a != b)
        .map_or(full.len().min(head.text.len()), |((at, _), _)| at);
    let around = |text: &str| {
        let from = text[..alike].char_indices().rev().nth(20);
        quoted(&text[from.map_or(0, |(at, _)| at)..])
    };
    anyhow::anyhow!(
        "message {}: what precedes it renders differently without it: {} where the model begins to write, {} in the whole \
         conversation; a chat_template.jinja with {{% generation %}} tags in the model folder says which text is the assistant's",
        i + 1,
        around(&head.text),
        around(full)
    )
}

/// The rendering that stops after a message.
fn through(template: &Template, dialogue: Dialogue, i: usize) -> Result<String> {
    let rendered = template.render(Dialogue {
        messages: &dialogue.messages[..=i],
        add_generation_prompt: false,
        ..dialogue
    });
    Ok(rendered.with_context(|| format!("message {}", i + 1))?.text)
}

/// The stop token that ends a text, white space aside.
fn last_stop(stops: &[String], text: &str) -> Option<Range<usize>> {
    stops
        .iter()
        .filter_map(|stop| text.rfind(stop.as_str()).map(|at| at..at + stop.len()))
        .max_by_key(|stop| stop.end)
        .filter(|stop| text[stop.end..].trim().is_empty())
}

/// A turn as generation makes it: the text up to where the model begins to write, and what it writes, the token that ends
/// its turn included.
pub fn sampled(
    template: &Template,
    stops: &[String],
    dialogue: Dialogue,
    i: usize,
    head: &Head,
) -> Result<String> {
    all_asked(&dialogue.messages[..i], &head.text)?;
    let place = || format!("message {}", i + 1);
    let content = dialogue.messages[i]["content"].as_str();
    let content = content.with_context(|| format!("{}: its content is no text", place()))?;
    let written = continued(&head.opened, content);
    let written = written.with_context(|| format!("{}: {}", place(), unbegun(&head.opened)))?;
    let whole = through(template, dialogue, i)?;
    let stop = last_stop(stops, &whole)
        .with_context(|| format!("{}: no stop token ends its turn", place()))?;
    Ok(format!("{written}{}", &whole[stop]))
}
