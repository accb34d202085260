//! Rows of an artifact: which are asked for, and one for reading.

use super::super::output::Error;
use base::response;
use base::text::{did_you_mean, listed, nearest};
use report::preview;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What a response came to: of completions it is read from the response.
pub const OUTCOME: &str = "outcome";

pub fn filters(texts: &[String]) -> Result<Vec<(&str, &str)>, Error> {
    let pair = |t: &String| Error::Usage(format!("`--where {t}` is not of the form FIELD=VALUE"));
    texts
        .iter()
        .map(|t| t.split_once('=').ok_or_else(|| pair(t)))
        .collect()
}

/// A field that no row has is a slip of the hand, not a question without answers.
pub fn known(names: &BTreeSet<String>, filters: &[(&str, &str)]) -> Result<(), Error> {
    let all = || names.iter().map(String::as_str);
    for (field, _) in filters {
        if !names.is_empty() && !names.contains(*field) {
            let near = did_you_mean(field, all()).map_or_else(
                || format!("fields: {}", listed(all())),
                |n| format!("did you mean `{n}`?"),
            );
            return Err(Error::Usage(format!(
                "no row has a field `{field}`; {near}"
            )));
        }
    }
    Ok(())
}

/// Values that rows have in fields that are asked for; of a field with very many, some.
#[derive(Default)]
pub struct Values<'a>(BTreeMap<&'a str, BTreeSet<String>>);

impl<'a> Values<'a> {
    pub fn add(&mut self, row: &Map<String, Value>, filters: &[(&'a str, &'a str)]) {
        const MOST: usize = 10_000;
        for (field, _) in filters {
            let known = self.0.entry(field).or_default();
            let more = known.len() < MOST;
            known.extend(value(row, field).filter(|_| more));
        }
    }

    /// That no row has what is asked for in some field, and what is like it there.
    pub fn strangers(&self, filters: &[(&str, &str)]) -> Vec<String> {
        let told = |(field, value): &(&str, &str)| {
            let known = self.0.get(field).filter(|known| !known.contains(*value))?;
            let all = || known.iter().map(String::as_str);
            let like = match did_you_mean(value, all()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there is {}", nearest(value, all())),
            };
            Some(format!("no row has `{field}` = `{value}`; {like}"))
        };
        filters.iter().filter_map(told).collect()
    }
}

pub fn is(row: &Map<String, Value>, field: &str, wanted: &str) -> bool {
    value(row, field).as_deref() == Some(wanted)
}

fn value(row: &Map<String, Value>, field: &str) -> Option<String> {
    let told = match field {
        OUTCOME => preview::outcome(row),
        _ => None,
    };
    let value = row.get(field).or(told.as_ref())?;
    Some(
        value
            .as_str()
            .map_or_else(|| value.to_string(), String::from),
    )
}

/// A row for reading: texts first, in the order one reads them, then everything else on one line.
pub fn row(row: &Map<String, Value>) -> String {
    let text = |field: &str| row.get(field).and_then(Value::as_str);
    let mut out = format!("--- {}\n", text("id").unwrap_or("row"));
    let mut say = |title: &str, content: &str| {
        out += &format!("{title:<10}{}\n", content.replace('\n', "\n          "))
    };
    if let Some(prompt) = text("prompt") {
        say("prompt", prompt);
    }
    if let Some(messages) = row.get("messages").and_then(Value::as_array) {
        for message in messages {
            say(
                message["role"].as_str().unwrap_or("?"),
                message["content"].as_str().unwrap_or(""),
            );
        }
    }
    if let Some(response) = text("response") {
        let parts = response::split(response);
        if let Some(reasoning) = &parts.reasoning {
            say("reasoning", reasoning);
        }
        if let Some(begun) = text("begun") {
            say("begun", begun);
        }
        say("answer", &parts.answer);
    }
    for field in ["reasoning", "answer"] {
        if let Some(content) = text(field) {
            say(field, content);
        }
    }
    let told = [
        "id",
        "prompt",
        "messages",
        "response",
        "begun",
        "reasoning",
        "answer",
        "truth",
    ];
    let came_to = preview::outcome(row).map(|o| (OUTCOME.to_string(), o));
    let rest: Vec<String> = row
        .iter()
        .chain(came_to.iter().map(|(name, value)| (name, value)))
        .filter(|(name, _)| !told.contains(&name.as_str()))
        .map(|(name, value)| {
            format!(
                "{name} {}",
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), String::from)
            )
        })
        .collect();
    say("", &rest.join(" · "));
    out
}
