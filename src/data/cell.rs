//! What may stand in a cell, by what it is read as. A column has a declared set of shapes, and every other shape is an error that says
//! what stands there and what to write: a guess would be a wrong number without a word.
//!
//! | read as | shapes |
//! |---|---|
//! | `label` (ids, classes, categories) | a text, a number, a truth value; null is none |
//! | `prompt` | a text; messages of which one is the user's |
//! | `responses` | a text, or messages that end with the assistant's; a list of either is that many samples |
//! | `messages` | a list of messages |
//!
//! A message is `{"role", "content"}`, or ShareGPT's `{"from", "value"}`; its content a text or a list of parts that are texts. A list of
//! messages that was written into a text as JSON is read as one, whatever the format of the file.

use crate::describe::{BINARY, describe, is_message, short};
use crate::message::{is_conversation, turns, written};
use anyhow::{Context, Result, bail, ensure};
use base::response::Withheld;
use base::rows::Message;
use base::text::count;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The value of bytes: the text that they are, or that they are none.
pub fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Value::String(text.into()),
        _ => Value::Object(Map::from_iter([(BINARY.into(), bytes.len().into())])),
    }
}

/// An id, a class, a category: the first value of a list of one.
pub fn label(value: &Value) -> Result<Cow<'_, str>> {
    Ok(match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        Value::Bool(_) | Value::Number(_) => Cow::Owned(value.to_string()),
        Value::Array(items) if items.len() == 1 => return label(&items[0]),
        _ => bail!("{}, where one text or number was expected", describe(value)),
    })
}

/// The labels of so many samples: a list of as many, or one of the only sample.
pub fn labels(value: &Value, samples: usize) -> Result<Vec<Cow<'_, str>>> {
    match value {
        Value::Array(items) if samples > 1 => {
            ensure!(
                items.len() == samples,
                "{} for {samples} samples",
                describe(value)
            );
            items.iter().map(label).collect()
        }
        _ => {
            let label = label(value)?;
            ensure!(
                samples == 1 || label.is_empty(),
                "one label (`{label}`) for {samples} samples; a list of {samples} labels, or a row for each sample, says whose it is"
            );
            Ok(vec![label; samples])
        }
    }
}

/// What one user says; empty where nothing stands there.
pub fn prompt(value: &Value) -> Result<String> {
    let expected = "a prompt is one text, or a list with one message of the user";
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => match written(text)? {
            Some(messages) => prompt(&messages),
            None => Ok(text.clone()),
        },
        _ if is_message(value) => asked(std::slice::from_ref(value)),
        Value::Array(items) if is_conversation(items) => asked(items),
        Value::Array(items) if items.len() == 1 && !items[0].is_null() => prompt(&items[0]),
        Value::Array(items) if items.len() > 1 => bail!(
            "{}; {expected}: give each a row of its own, or name the column that is meant",
            describe(value)
        ),
        Value::Bool(_) | Value::Number(_) => {
            bail!("{}; {expected}: write it in quotes", describe(value))
        }
        _ => bail!("{}; {expected}", describe(value)),
    }
}

/// The same of a list of turns, of which the first is taken.
pub fn first_turn(value: &Value) -> Result<String> {
    match value {
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_string) => {
            prompt(&items[0])
        }
        _ => prompt(value),
    }
}

/// The only message of the user.
fn asked(items: &[Value]) -> Result<String> {
    let turns = turns(items)?;
    let is = |role: &str| turns.iter().filter(|t| t.role == role).count();
    if let Some(system) = turns.iter().find(|t| t.role == "system") {
        bail!(
            "a list of messages with a system message ({}); a prompt is what the user says: take the system message out of the \
             file, and where all rows have the same, give it to the model with its parameter `system`",
            short(&system.content)
        );
    }
    ensure!(
        is("user") <= 1,
        "a list of messages with {} turns of the user; prompts of several turns are not taken: keep one turn, as `{{\"role\": \
         \"user\", \"content\": …}}`",
        is("user")
    );
    ensure!(
        turns.len() == is("user"),
        "a list of messages with one of the {}; a prompt is one message of the user: take the others out",
        turns
            .iter()
            .find(|t| t.role != "user")
            .map_or("user", |t| t.role)
    );
    let turn = turns.into_iter().next();
    Ok(turn.map(|t| t.content).unwrap_or_default())
}

/// One response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// Reasoning in think tags.
    pub text: String,
    pub withheld: Option<Withheld>,
    /// What the user says before it, where the messages have it.
    pub asked: Option<String>,
}

/// The samples of a cell: one, or as many as the list has.
pub fn responses(value: &Value) -> Result<Vec<Said>> {
    match value {
        Value::String(text) => match written(text)? {
            Some(messages) => responses(&messages),
            None => Ok(vec![one(value)?]),
        },
        Value::Array(items) if is_conversation(items) => Ok(vec![one(value)?]),
        Value::Array(items) => {
            ensure!(
                !items.is_empty(),
                "an empty list, where a completion was expected"
            );
            let one = |(i, item): (usize, &Value)| {
                one(item).with_context(|| format!("a list whose item {} cannot be read", i + 1))
            };
            items.iter().enumerate().map(one).collect()
        }
        _ => Ok(vec![one(value)?]),
    }
}

/// The only response of a cell.
pub fn response(value: &Value) -> Result<Said> {
    let mut all = responses(value)?;
    ensure!(
        all.len() == 1,
        "{}, where one response was expected",
        describe(value)
    );
    Ok(all.pop().unwrap_or_default())
}

fn one(value: &Value) -> Result<Said> {
    let expected = "a completion is a text, or messages that end with the assistant's; several samples are a list of them";
    match value {
        Value::Null => Ok(Said::default()),
        Value::String(text) => match written(text)? {
            Some(messages) => one(&messages),
            None => Ok(Said {
                text: text.clone(),
                ..Said::default()
            }),
        },
        _ if is_message(value) => answered(std::slice::from_ref(value)),
        Value::Array(items) if is_conversation(items) => answered(items),
        Value::Bool(_) | Value::Number(_) => {
            bail!("{}; {expected}: write it in quotes", describe(value))
        }
        _ => bail!("{}; {expected}", describe(value)),
    }
}

/// The one message of the assistant, which is the last.
fn answered(items: &[Value]) -> Result<Said> {
    let mut turns = turns(items)?;
    let answer = turns.pop().filter(|turn| turn.role == "assistant");
    let answer =
        answer.context("a list of messages that does not end with one of the assistant")?;
    let more = turns.iter().find(|t| !matches!(t.role, "user" | "system"));
    ensure!(
        more.is_none() && turns.iter().filter(|t| t.role == "user").count() <= 1,
        "a list of messages with several turns ({} before the last); a completion is one message of the assistant, and several \
         samples are a list of lists",
        count(turns.len() as u64, "message", "messages")
    );
    let asked = turns.into_iter().find(|t| t.role == "user");
    Ok(Said {
        withheld: answer.withheld,
        text: answer.text(),
        asked: asked.map(|t| t.content),
    })
}

/// A list of messages, to learn from: reasoning is in think tags. None where nothing stands there.
pub fn messages(value: &Value) -> Result<Vec<Message>> {
    let read = |items: &[Value]| -> Result<Vec<Message>> {
        let turns = turns(items)?.into_iter();
        Ok(turns.map(|t| Message::new(t.role, &t.text())).collect())
    };
    match value {
        Value::Null => Ok(vec![]),
        Value::Array(items) if items.is_empty() || is_conversation(items) => read(items),
        Value::String(text) => match written(text)? {
            Some(value) => messages(&value),
            None => bail!("a text, where a list of messages was expected"),
        },
        _ => bail!("{}, where a list of messages was expected", describe(value)),
    }
}

/// Texts that are nobody's words: how they begin, how they end, what they are, and what to do about them.
static PRINTED: [(&[&str], &[&str], &str, &str); 3] = [
    (
        &["['", "[\""],
        &["']", "\"]"],
        "a list that was written as text",
        "give each text a row of its own, or save the table as .jsonl or .parquet, where lists are lists",
    ),
    (
        &["b'", "b\""],
        &["'", "\""],
        "bytes as Python prints them",
        "decode them before they are written",
    ),
    (
        &["{'"],
        &["}"],
        "a dictionary as Python prints it",
        "write the text alone that is meant",
    ),
];

/// Whether all cells of a column are lists, bytes or dictionaries that somebody wrote as texts, which a table of texts cannot say.
#[derive(Default)]
pub struct Lists {
    cells: u64,
    lists: u64,
    /// With what it is, and what to do.
    first: Option<(String, &'static str, &'static str)>,
}

impl Lists {
    pub fn see(&mut self, value: Option<&Value>) {
        let text = value.and_then(Value::as_str).unwrap_or_default().trim();
        if text.is_empty() {
            return;
        }
        self.cells += 1;
        let printed = PRINTED.iter().find(|(starts, ends, ..)| {
            let begins = starts.iter().any(|start| text.starts_with(start));
            begins && ends.iter().any(|end| text.ends_with(end))
        });
        self.lists += u64::from(printed.is_some() || text == "[]");
        if let Some((_, _, what, cure)) = printed {
            self.first
                .get_or_insert_with(|| (short(text), *what, *cure));
        }
    }

    /// What they are, and what to do, where all are.
    pub fn told(&self, column: &str) -> Option<String> {
        let (first, what, cure) = self.first.as_ref()?;
        let all = self.lists == self.cells;
        all.then(|| format!("every `{column}` is {what} ({first}); {cure}"))
    }

    /// An error where they are.
    pub fn ensure_none(&self, column: &str) -> Result<()> {
        match self.told(column) {
            Some(told) => bail!(told),
            None => Ok(()),
        }
    }
}
