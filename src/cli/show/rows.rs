//! Rows of an artifact: which are asked for, and one for reading.

use super::super::output::Error;
use base::response;
use base::text::{did_you_mean, listed};
use report::preview;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

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

pub fn is(row: &Map<String, Value>, field: &str, value: &str) -> bool {
    let told = match field {
        OUTCOME => preview::outcome(row),
        _ => None,
    };
    let text = row
        .get(field)
        .or(told.as_ref())
        .map(|v| v.as_str().map_or_else(|| v.to_string(), String::from));
    text.as_deref() == Some(value)
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
