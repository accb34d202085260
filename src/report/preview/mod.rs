//! A first look at rows, one after the other and none of them kept: which fields they have, what is counted by class and source,
//! how long their texts are. Knows no schema by name, no tokenizer and no terminal.

mod counts;
mod lengths;
pub mod spark;

use crate::table::{Table, left, right};
use anyhow::Result;
use counts::Counts;
pub use counts::outcome;
use lengths::Lengths;
pub use lengths::Measure;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Names of fields that are followed; a file with more has no schema.
const MOST_FIELDS: usize = 300;

/// What was seen of the rows so far.
pub struct Preview<'a> {
    rows: usize,
    fields: BTreeMap<String, Field>,
    counts: Counts,
    lengths: Lengths<'a>,
}

#[derive(Default)]
struct Field {
    present: usize,
    /// By type word.
    types: BTreeMap<&'static str, usize>,
}

impl<'a> Preview<'a> {
    pub fn new(measure: Measure<'a>) -> Preview<'a> {
        Preview {
            rows: 0,
            fields: BTreeMap::new(),
            counts: Counts::default(),
            lengths: Lengths::new(measure),
        }
    }

    pub fn push(&mut self, row: &Map<String, Value>) -> Result<()> {
        self.rows += 1;
        for (name, value) in row {
            if let Some(field) = self.fields.get_mut(name) {
                field.see(value);
            } else if self.fields.len() < MOST_FIELDS {
                self.fields.entry(name.clone()).or_default().see(value);
            }
        }
        self.counts.see(row);
        self.lengths.see(row)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// Fields, counts and lengths in so many columns, each line ended by a newline; empty without rows.
    pub fn text(&self, room: usize) -> String {
        if self.rows == 0 {
            return String::new();
        }
        let mut table = Table::new([left("  field"), left("type"), right("present")]);
        for (name, field) in &self.fields {
            let share = field.present as f64 / self.rows as f64;
            table.push([
                format!("  {name}"),
                field.words(),
                format!("{:.1} %", 100.0 * share),
            ]);
        }
        format!(
            "{}\n{}{}",
            table.fit(room),
            self.counts.text(),
            self.lengths.text()
        )
    }

    /// The preview as data.
    pub fn json(&self) -> Map<String, Value> {
        let fields = self.fields.iter().map(|(name, field)| {
            json!({ "name": name, "types": field.types.keys().collect::<Vec<_>>(), "present": field.present })
        });
        Map::from_iter([
            ("fields".into(), fields.collect()),
            ("counts".into(), self.counts.json()),
            ("lengths".into(), self.lengths.json()),
        ])
    }
}

impl Field {
    fn see(&mut self, value: &Value) {
        self.present += 1;
        *self.types.entry(word(value)).or_default() += 1;
    }

    /// The most frequent type first.
    fn words(&self) -> String {
        let mut types: Vec<_> = self.types.iter().collect();
        types.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        let words: Vec<&str> = types.into_iter().map(|(word, _)| *word).collect();
        words.join(" or ")
    }
}

fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
