//! The value a parameter can have, and its canonical text.
//!
//! The canonical text is what keys are made of (`engine::graph::manifest`), so it is part of the store's format: integers and
//! floats stay apart (`3` and `3.0`), strings are JSON-escaped, tables are sorted, NaN and infinities do not exist.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

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

/// The value at a path: `lr`, or `lora.rank` of the table `lora`.
pub fn at<'v>(values: &'v Values, path: &str) -> Option<&'v Value> {
    match path.split_once('.') {
        None => values.get(path),
        Some((table, below)) => match values.get(table)? {
            Value::Table(inner) => at(inner, below),
            _ => None,
        },
    }
}

/// As `at`, to change it.
pub fn at_mut<'v>(values: &'v mut Values, path: &str) -> Option<&'v mut Value> {
    match path.split_once('.') {
        None => values.get_mut(path),
        Some((table, below)) => match values.get_mut(table)? {
            Value::Table(inner) => at_mut(inner, below),
            _ => None,
        },
    }
}

/// Sets the value at a path; tables on the way are made.
pub fn put(values: &mut Values, path: &str, value: Value) {
    let Some((table, below)) = path.split_once('.') else {
        values.insert(path.into(), value);
        return;
    };
    if !matches!(values.get(table), Some(Value::Table(_))) {
        values.insert(table.into(), Value::Table(Values::new()));
    }
    if let Some(Value::Table(inner)) = values.get_mut(table) {
        put(inner, below, value);
    }
}

/// Takes the value at a path out; its table stays.
pub fn remove(values: &mut Values, path: &str) {
    match path.split_once('.') {
        None => drop(values.remove(path)),
        Some((table, below)) => {
            if let Some(Value::Table(inner)) = values.get_mut(table) {
                remove(inner, below);
            }
        }
    }
}

/// Lays `over` over the values: tables merge, everything else is replaced.
pub fn merge(values: &mut Values, over: &Values) {
    for (name, value) in over {
        match (values.get_mut(name), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            _ => drop(values.insert(name.clone(), value.clone())),
        }
    }
}

impl Value {
    /// The one-line text that identifies this value: equal values have equal texts, different values different ones.
    pub fn canon(&self) -> String {
        let mut text = String::new();
        self.write_canon(&mut text);
        text
    }

    /// Appends it.
    pub fn write_canon(&self, text: &mut String) {
        match self {
            Value::Bool(b) => text.push_str(if *b { "true" } else { "false" }),
            Value::Int(i) => {
                let _ = write!(text, "{i}");
            }
            Value::Float(f) => canon_float(*f, text),
            Value::Str(s) => quote(s, text),
            Value::List(items) => {
                text.push('[');
                for (i, item) in items.iter().enumerate() {
                    text.push_str(if i > 0 { ", " } else { "" });
                    item.write_canon(text);
                }
                text.push(']');
            }
            Value::Table(map) => {
                text.push('{');
                for (i, (key, value)) in map.iter().enumerate() {
                    text.push_str(if i > 0 { ", " } else { "" });
                    quote(key, text);
                    text.push_str(": ");
                    value.write_canon(text);
                }
                text.push('}');
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
fn canon_float(f: f64, text: &mut String) {
    assert!(
        f.is_finite(),
        "a parameter value is finite: the recipe refuses NaN and infinities"
    );
    let f = if f == 0.0 { 0.0 } else { f };
    let _ = write!(text, "{f:?}");
}

fn quote(s: &str, text: &mut String) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\' && b != 0x7f;
    if s.bytes().all(plain) {
        text.push('"');
        text.push_str(s);
        text.push('"');
        return;
    }
    text.push_str(&serde_json::to_string(s).expect("a string always has a JSON form"));
}
