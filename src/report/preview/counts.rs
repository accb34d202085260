//! How often each value of a label occurs. What a response came to is a label, whether its row says so or its text does.

use base::response::{Outcome, Withheld};
use base::text::thousands;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Fields that are labels, in the order in which they are told; those under `labels` follow.
const LABELS: [&str; 8] = [
    "class",
    "source",
    "category",
    "difficulty",
    OUTCOME,
    "withheld",
    "finished",
    "good",
];
const OUTCOME: &str = "outcome";
const MORE: &str = "labels";

/// Different values that are told apart; a field with more is no label.
const MOST: usize = 1000;

/// Values that are named, of those the most frequent.
const NAMED: usize = 8;

/// By label, in order of first sight within `labels`.
#[derive(Default)]
pub struct Counts {
    of: BTreeMap<(usize, String), Label>,
}

#[derive(Default)]
struct Label {
    values: BTreeMap<String, usize>,
    /// It has more values than are told apart.
    many: bool,
}

impl Label {
    fn see(&mut self, value: &Value) {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if self.values.len() < MOST || self.values.contains_key(&text) {
            *self.values.entry(text).or_default() += 1;
        } else {
            self.many = true;
        }
    }

    /// The most frequent first.
    fn sorted(&self) -> Vec<(&str, usize)> {
        let mut all: Vec<_> = self.values.iter().map(|(v, n)| (v.as_str(), *n)).collect();
        all.sort_by_key(|(value, n)| (std::cmp::Reverse(*n), *value));
        all
    }
}

/// What the response of a row came to, where the row is one and does not say so itself.
pub fn outcome(row: &Map<String, Value>) -> Option<Value> {
    if row.contains_key(OUTCOME) {
        return None;
    }
    let response = row.get("response")?.as_str()?;
    let finished = row.get("finished")?.as_bool()?;
    let withheld = row.get("withheld").cloned().unwrap_or_default();
    let withheld: Option<Withheld> = serde_json::from_value(withheld).ok()?;
    let begun = row.get("begun").and_then(Value::as_str);
    let outcome = Outcome::of(response, begun, withheld, finished);
    Some(outcome.word().into())
}

impl Counts {
    pub fn see(&mut self, row: &Map<String, Value>) {
        for (place, name) in LABELS.iter().enumerate() {
            let told = match *name {
                OUTCOME => outcome(row),
                _ => None,
            };
            if let Some(value) = row.get(*name).or(told.as_ref()) {
                self.of
                    .entry((place, name.to_string()))
                    .or_default()
                    .see(value);
            }
        }
        for (name, value) in row
            .get(MORE)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let name = (LABELS.len(), format!("{MORE}.{name}"));
            if self.of.len() < MOST || self.of.contains_key(&name) {
                self.of.entry(name).or_default().see(value);
            }
        }
    }

    /// A line a label.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for ((_, name), label) in &self.of {
            let all = label.sorted();
            let mut words: Vec<String> = all
                .iter()
                .take(NAMED)
                .map(|(value, n)| match value.is_empty() {
                    true => format!("(none) {}", thousands(*n as u64)),
                    false => format!("{value} {}", thousands(*n as u64)),
                })
                .collect();
            match (label.many, all.len().saturating_sub(NAMED)) {
                (true, _) => words.push(format!("more than {MOST} values")),
                (false, 0) => {}
                (false, more) => words.push(format!("{more} more")),
            }
            out += &format!("  {name}: {}\n", words.join(" · "));
        }
        out
    }

    pub fn json(&self) -> Value {
        let label =
            |((_, name), label): (&(usize, String), &Label)| (name.clone(), json!(label.values));
        Value::Object(self.of.iter().map(label).collect())
    }
}
