//! What stands in a cell, in words for a message.

use base::text::{count, listed};
use serde_json::Value;

/// Stands for bytes that are no text, with their number: `{BINARY: n}`.
pub(crate) const BINARY: &str = "\u{0}binary";

pub const ROLES: [&str; 2] = ["role", "from"];

pub(crate) const CONTENTS: [&str; 2] = ["content", "value"];

/// Whether an object is meant to be a message.
pub(crate) fn is_message(value: &Value) -> bool {
    ROLES.iter().any(|name| value.get(*name).is_some())
        && (CONTENTS.iter().chain(&["tool_calls", "refusal"]))
            .any(|name| value.get(*name).is_some())
}

/// What a value is, for a message.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => format!("the truth value {b}"),
        Value::Number(n) => format!("the number {n}"),
        Value::String(_) => "a text".into(),
        Value::Array(items) if items.is_empty() => "an empty list".into(),
        Value::Array(items) => {
            let n = items.len() as u64;
            let all = |is: fn(&Value) -> bool| items.iter().all(is);
            let of = if all(Value::is_string) {
                ["text", "texts"]
            } else if all(is_message) {
                ["message", "messages"]
            } else if all(Value::is_array) {
                ["list", "lists"]
            } else if all(Value::is_number) {
                ["number", "numbers"]
            } else if all(Value::is_object) {
                ["object", "objects"]
            } else {
                ["value of several kinds", "values of several kinds"]
            };
            format!("a list of {}", count(n, of[0], of[1]))
        }
        Value::Object(fields) => match fields.get(BINARY) {
            Some(n) => format!("binary data that is no text ({n} bytes)"),
            None => format!(
                "an object with {}",
                match fields.len() {
                    0 => "no keys".into(),
                    _ => format!("the keys {}", listed(fields.keys().map(String::as_str))),
                }
            ),
        },
    }
}

/// In a line, cut short.
pub fn short(text: &str) -> String {
    const MOST: usize = 40;
    let mut chars = text.chars();
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let shown: String = chars.by_ref().take(MOST).map(line).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("`{shown}{more}`")
}
