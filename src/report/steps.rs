//! The lines of a `curve.jsonl`, which other people's programs write as well: what cannot be read is left out, and told.

use serde_json::{Map, Value};

pub const FILE: &str = "curve.jsonl";

/// Lines as they are read, one after the other.
#[derive(Default)]
pub struct Lines {
    seen: usize,
    /// The first that is no object, from 1 on, and why.
    first: Option<(usize, String)>,
    bad: usize,
}

impl Lines {
    /// The object of the next line; nothing where it is none, or empty.
    pub fn object(&mut self, line: &str) -> Option<Map<String, Value>> {
        self.seen += 1;
        if line.trim().is_empty() {
            return None;
        }
        match serde_json::from_str(line) {
            Ok(object) => Some(object),
            Err(error) => {
                self.bad += 1;
                self.first.get_or_insert((self.seen, error.to_string()));
                None
            }
        }
    }

    /// What was left out, if anything.
    pub fn remark(&self) -> Option<String> {
        let (line, why) = self.first.as_ref()?;
        Some(match self.bad {
            1 => format!("{FILE}, line {line}, is left out: it is no JSON object: {why}"),
            n => format!(
                "{FILE}: {n} lines are left out, the first of them line {line}: it is no JSON object: {why}"
            ),
        })
    }
}
