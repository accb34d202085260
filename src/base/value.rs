//! The value a parameter can have, and its canonical text.
//!
//! The canonical text is what keys are made of (`engine::key`), so it is part of the store's format: integers and
//! floats stay apart (`3` and `3.0`), strings are JSON-escaped, tables are sorted, NaN and infinities do not exist.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Value>),
    Table(BTreeMap<String, Value>),
}

/// Parameter values by name, defaults written out.
pub type Values = BTreeMap<String, Value>;

impl Value {
    /// The one-line text that identifies this value: equal values have equal texts, different values different ones.
    pub fn canon(&self) -> String {
        match self {
            Value::Bool(b) => b.to_string(),
            Value::Int(i) => i.to_string(),
            Value::Float(f) => canon_float(*f),
            Value::Str(s) => quote(s),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(Value::canon).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Table(map) => {
                let items: Vec<String> = map
                    .iter()
                    .map(|(k, v)| format!("{}: {}", quote(k), v.canon()))
                    .collect();
                format!("{{{}}}", items.join(", "))
            }
        }
    }

    /// The word an error message uses for this value's type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Str(_) => "a string",
            Value::List(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

/// Shortest text that reads back as the same float; -0 is 0.
fn canon_float(f: f64) -> String {
    assert!(
        f.is_finite(),
        "a parameter value is finite: the recipe refuses NaN and infinities"
    );
    let f = if f == 0.0 { 0.0 } else { f };
    format!("{f:?}")
}

fn quote(s: &str) -> String {
    serde_json::to_string(s).expect("a string always has a JSON form")
}
