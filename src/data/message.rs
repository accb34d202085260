//! Messages in a cell: which objects are meant to be some, the names that formats give to roles and fields, and the parts of a content. Of
//! a message that is not as it should be an error says what stands there.

use crate::describe::{CONTENTS, ROLES, describe, is_message, short};
use crate::value;
use anyhow::{Context, Result, bail, ensure};
use base::response::{self, Withheld};
use serde_json::Value;

/// A message, read.
pub struct Turn {
    pub role: &'static str,
    pub content: String,
    reasoning: String,
    pub withheld: Option<Withheld>,
}

impl Turn {
    /// With its reasoning in think tags.
    pub fn text(&self) -> String {
        match self.reasoning.as_str() {
            "" => self.content.clone(),
            reasoning => response::join(reasoning, &self.content),
        }
    }
}

/// A system message without a word says nothing, and is none.
pub fn turns(items: &[Value]) -> Result<Vec<Turn>> {
    let mut turns = vec![];
    for (i, item) in items.iter().enumerate() {
        let turn = turn(item).with_context(|| {
            format!("a list of messages whose message {} cannot be read", i + 1)
        })?;
        if turn.role != "system" || !turn.content.trim().is_empty() {
            turns.push(turn);
        }
    }
    Ok(turns)
}

const REASONINGS: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// The four roles, under the names that formats give them.
fn role(name: &str) -> Option<&'static str> {
    Some(match name.to_lowercase().as_str() {
        "user" | "human" => "user",
        "assistant" | "gpt" | "chatgpt" | "model" | "bot" => "assistant",
        "system" | "developer" => "system",
        "tool" | "function" | "ipython" | "observation" => "tool",
        _ => return None,
    })
}

fn turn(item: &Value) -> Result<Turn> {
    let field = |names: &[&str]| {
        let fields = names.iter().filter_map(|name| item.get(*name));
        fields.into_iter().find(|value| !value.is_null())
    };
    let name = field(&ROLES).and_then(Value::as_str);
    let name = name.context("its role is no text")?;
    let role = role(name);
    let role = role.with_context(|| {
        format!("its role is `{name}`; roles are user, assistant, system and tool")
    })?;
    let (mut content, mut reasoning) = (String::new(), String::new());
    let (mut refused, mut there) = (None, true);
    match field(&CONTENTS) {
        None => there = false,
        Some(Value::String(text)) => content = text.clone(),
        Some(Value::Array(parts)) => {
            for part in parts {
                match read_part(part)? {
                    Part::Text(text) => content += text,
                    Part::Reasoning(text) => reasoning += text,
                    Part::Refusal(text) => refused = Some(text),
                }
            }
        }
        Some(other) => bail!(
            "its content is {}, where a text was expected",
            describe(other)
        ),
    }
    if let Some(apart) = field(&REASONINGS).and_then(Value::as_str)
        && reasoning.is_empty()
    {
        reasoning = apart.to_string();
    }
    let refused = refused.or(field(&["refusal"]).and_then(Value::as_str));
    let called = |name: &str| match field(&[name]) {
        Some(Value::Array(calls)) => !calls.is_empty(),
        other => other.is_some(),
    };
    let called = called("tool_calls") || called("function_call");
    let mut withheld = None;
    if let Some(text) = refused.filter(|text| !text.is_empty()) {
        withheld = Some(Withheld::Refused);
        if content.is_empty() {
            content = text.to_string();
        }
    } else if called && content.trim().is_empty() {
        withheld = Some(Withheld::ToolCall);
    }
    ensure!(
        there
            || withheld.is_some()
            || !reasoning.is_empty()
            || CONTENTS.iter().any(|c| item.get(*c).is_some()),
        "it has no content; {}",
        describe(item)
    );
    Ok(Turn {
        role,
        content,
        reasoning: reasoning.trim().to_string(),
        withheld,
    })
}

enum Part<'a> {
    Text(&'a str),
    Reasoning(&'a str),
    Refusal(&'a str),
}

fn read_part(part: &Value) -> Result<Part<'_>> {
    if let Value::String(text) = part {
        return Ok(Part::Text(text));
    }
    let field = |name: &str| part.get(name).and_then(Value::as_str);
    let kind = field("type").unwrap_or("text");
    let read = match kind {
        "text" | "input_text" | "output_text" => field("text").map(Part::Text),
        "thinking" | "reasoning" => {
            let names = ["thinking", "reasoning", "text"];
            names.into_iter().find_map(field).map(Part::Reasoning)
        }
        "refusal" => field("refusal").map(Part::Refusal),
        other => bail!("its content has a part of the type `{other}`; only text is read"),
    };
    read.with_context(|| format!("its content has a part without text; {}", describe(part)))
}

pub(crate) fn is_conversation(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(is_message)
}

/// The messages, or lists of them, that were written into a text. An error: Python printed them.
pub fn written(text: &str) -> Result<Option<Value>> {
    let text = text.trim();
    let named = |names: &[&str]| names.iter().any(|name| text.contains(name));
    if !text.starts_with(['[', '{', 'a']) || !named(&ROLES) || !named(&CONTENTS) {
        return Ok(None);
    }
    // A person's JSON with a field `from` is a text.
    let known = |value: &Value| {
        let names = ROLES.iter().filter_map(|name| value.get(*name)?.as_str());
        is_message(value) && names.into_iter().any(|name| role(name).is_some())
    };
    let all = |value: &Value| match value {
        Value::Array(items) => !items.is_empty() && items.iter().all(known),
        other => known(other),
    };
    match value::parse(text) {
        Ok(value) if all(&value) => return Ok(Some(value)),
        Ok(Value::Array(items)) if !items.is_empty() && items.iter().all(all) => {
            return Ok(Some(Value::Array(items)));
        }
        Ok(_) => return Ok(None),
        Err(_) => {}
    }
    ensure!(
        !is_printed(text),
        "a list of messages as Python prints it ({}); write it with `json.dumps`, or save the table as .jsonl or .parquet",
        short(text)
    );
    Ok(None)
}

/// Whether a text begins as Python prints a list of messages: `[{'role': …`.
fn is_printed(text: &str) -> bool {
    let text = text.strip_prefix("array(").unwrap_or(text);
    let text = text.trim_start_matches(|c: char| c == '[' || c.is_whitespace());
    let Some(text) = text.strip_prefix('{') else {
        return false;
    };
    let text = text.trim_start();
    let keys = ROLES.iter().chain(&CONTENTS);
    keys.into_iter().any(|key| {
        let key = |quote: char| text.starts_with(&format!("{quote}{key}{quote}:"));
        key('\'') || key('"')
    })
}
