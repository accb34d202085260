//! A record: named cells in the order of its file. A cell of CSV is text; one of JSON or Parquet is any JSON value.

use serde_json::{Map, Value};
use std::borrow::Cow;

pub struct Record {
    /// Of its file, from 1.
    pub row: u64,
    pub cells: Map<String, Value>,
}

impl Record {
    /// The first of these columns that the record has, and that is not null.
    pub fn get(&self, names: &[&str]) -> Option<&Value> {
        let cells = names.iter().filter_map(|name| self.cells.get(*name));
        cells.into_iter().find(|value| !value.is_null())
    }

    /// The same as text; empty where there is none.
    pub fn text(&self, names: &[&str]) -> Cow<'_, str> {
        self.get(names).map_or(Cow::Borrowed(""), text)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.cells.keys().map(String::as_str)
    }
}

/// A value as text: the first item of an array, nothing for null, a number as it is written.
pub fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(s) => Cow::Borrowed(s),
        Value::Array(items) => items.first().map_or(Cow::Borrowed(""), text),
        other => Cow::Owned(other.to_string()),
    }
}

/// A truth value however it is written: `true`, `TRUE`, `1`, `yes`.
pub fn truth(value: &Value) -> Option<bool> {
    match text(value).trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "1.0" | "yes" => Some(true),
        "false" | "0" | "0.0" | "no" => Some(false),
        _ => None,
    }
}

/// A number however it is written.
pub fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(n) => n.as_f64(),
        other => text(other).trim().parse().ok(),
    };
    number.filter(|n| n.is_finite())
}
