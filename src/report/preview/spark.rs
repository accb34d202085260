//! Curves on one line of a terminal each.

use crate::table::{Table, left, right};
use base::text::count;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WIDTH: usize = 40;

/// The numbers of a curve, by name, in the order of its steps.
#[derive(Default)]
pub struct Curves {
    steps: usize,
    series: BTreeMap<String, Vec<f64>>,
}

impl Curves {
    /// A line of `curve.jsonl`.
    pub fn push(&mut self, step: &Map<String, Value>) {
        self.steps += 1;
        for (name, value) in step {
            if let Some(value) = value.as_f64().filter(|_| name != "step") {
                self.series.entry(name.clone()).or_default().push(value);
            }
        }
    }

    /// A row a name; empty without steps.
    pub fn text(&self, room: usize) -> String {
        if self.series.is_empty() {
            return String::new();
        }
        let mut table = Table::new([
            left("curve"),
            left(""),
            right("first"),
            right("last"),
            right("least"),
            right("most"),
        ]);
        for (name, values) in &self.series {
            let [first, last, least, most] = ends(values).map(number);
            table.push([name.clone(), line(values, WIDTH), first, last, least, most]);
        }
        let steps = count(self.steps as u64, "step", "steps");
        format!("{steps}\n{}", table.fit(room))
    }

    pub fn json(&self) -> Value {
        let series = self.series.iter().map(|(name, values)| {
            let [first, last, least, most] = ends(values);
            let told = json!({ "n": values.len(), "first": first, "last": last, "min": least, "max": most });
            (name.clone(), told)
        });
        json!({ "steps": self.steps, "series": series.collect::<Map<_, _>>() })
    }
}

/// First, last, least and most; there is at least one.
fn ends(values: &[f64]) -> [f64; 4] {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [values[0], values[values.len() - 1], least, most]
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.2e}"),
        _ => format!("{value:.4}"),
    }
}

/// The values as so many characters at most: means of neighbours, from the least to the most.
pub fn line(values: &[f64], width: usize) -> String {
    let parts = width.min(values.len());
    let means: Vec<f64> = (0..parts)
        .map(|i| {
            let part = &values[i * values.len() / parts..(i + 1) * values.len() / parts];
            part.iter().sum::<f64>() / part.len() as f64
        })
        .collect();
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let most = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let level = |mean: &f64| match most > least {
        true => LEVELS[((mean - least) / (most - least) * 7.0).round() as usize],
        false => LEVELS[3],
    };
    means.iter().map(level).collect()
}
