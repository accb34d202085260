//! Which numbers a parameter takes, and what is said of one that it does not take. Knows nothing of types and names.

use crate::value::Value;

/// Which numbers a parameter takes, and why no others.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub low: f64,
    /// Whether `low` itself is left out.
    pub above: bool,
    pub high: f64,
    /// A sentence.
    pub why: &'static str,
}

impl Bounds {
    pub const fn within(low: f64, high: f64, why: &'static str) -> Bounds {
        let above = false;
        Bounds {
            low,
            above,
            high,
            why,
        }
    }

    pub const fn above(low: f64, high: f64, why: &'static str) -> Bounds {
        let above = true;
        Bounds {
            low,
            above,
            high,
            why,
        }
    }

    pub(super) fn look(&self, path: &str, value: &Value, found: &mut Vec<Problem>) {
        let number = match value {
            Value::Int(i) => *i as f64,
            Value::Float(f) => *f,
            Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.look(&format!("{path}.{i}"), item, found);
                }
                return;
            }
            Value::Table(map) => {
                for (key, item) in map {
                    self.look(&format!("{path}.{key}"), item, found);
                }
                return;
            }
            _ => return,
        };
        let Bounds { low, high, .. } = self;
        let inside = match self.above {
            true => number > *low,
            false => number >= *low,
        };
        // A number that is none is neither.
        if inside && number <= *high {
            return;
        }
        let message = match self.above && !inside {
            true => format!("`{path}` is {number} and has to be above {low}"),
            false => format!(
                "`{path}` is {}, outside of {} to {}",
                told(number),
                told(*low),
                told(*high)
            ),
        };
        found.push(Problem {
            path: path.into(),
            message,
            help: Some(self.why.into()),
        });
    }
}

/// A number as a recipe may write it.
fn told(number: f64) -> String {
    match number.abs() {
        large if large >= 1e15 => format!("{number:e}"),
        _ => number.to_string(),
    }
}

/// Something a kind finds wrong with parameters that have the right types.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Dotted path inside the node, as `reward.harmful`.
    pub path: String,
    pub message: String,
    pub help: Option<String>,
}
