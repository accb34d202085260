//! Data of others: readers of every format, files and splits of a path, the schemas of public sets, and the real files where they
//! are at hand. Tests hold files; `load` runs them through the kind.

mod files;
mod formats;
mod parquet;
mod real;
mod schemas;

use crate::study::{Ran, Study};
use pipe::base::rows::{Conversation, Pair, Prompt, PromptClass};
use pipe::data::read::{How, Rows};
use pipe::data::record::Record;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;

/// What became of a path.
struct Loaded {
    prompts: Vec<Prompt>,
    removed: Vec<Json>,
    ran: Ran,
}

impl Loaded {
    fn class(&self, class: PromptClass) -> usize {
        self.prompts.iter().filter(|p| p.class == class).count()
    }

    fn ids(&self) -> Vec<&str> {
        self.prompts.iter().map(|p| p.id.as_str()).collect()
    }

    fn texts(&self) -> Vec<&str> {
        self.prompts.iter().map(|p| p.prompt.as_str()).collect()
    }

    /// How many prompts of each category.
    fn categories(&self) -> BTreeMap<&str, usize> {
        let mut categories = BTreeMap::new();
        for prompt in &self.prompts {
            *categories.entry(prompt.category.as_str()).or_default() += 1;
        }
        categories
    }

    /// How many rows were left out for each reason.
    fn reasons(&self) -> BTreeMap<String, usize> {
        let mut reasons = BTreeMap::new();
        for row in &self.removed {
            let reason = row["reason"].as_str().unwrap().to_string();
            *reasons.entry(reason).or_default() += 1;
        }
        reasons
    }

    fn conversations(&self) -> Vec<Conversation> {
        self.ran.rows("d", "conversations")
    }

    fn pairs(&self) -> Vec<Pair> {
        self.ran.rows("d", "pairs")
    }

    fn metric(&self, name: &str) -> f64 {
        self.ran.metric("d", name).value
    }

    fn said(&self, words: &str) -> bool {
        self.ran.said("d", words)
    }
}

fn recipe(schema: &str, path: &Path, more: &str) -> String {
    format!(
        "[node.d]\nkind = \"dataset\"\nschema = \"{schema}\"\npath = '{}'\n{more}\n",
        path.display()
    )
}

/// Runs the kind on a path, with further lines of its node.
fn load(schema: &str, path: &Path, more: &str) -> Loaded {
    let ran = Study::new().run(&recipe(schema, path, more));
    Loaded {
        prompts: ran.rows("d", "prompts"),
        removed: ran.rows("d", "removed"),
        ran,
    }
}

/// How that fails.
fn failure(schema: &str, path: &Path, more: &str) -> String {
    Study::new()
        .try_run(&recipe(schema, path, more))
        .failure("d")
}

/// All records of a file, or the error that ends it.
fn records(path: &Path, how: How) -> Result<Vec<Record>, String> {
    let rows = Rows::of(path, None, None, how).map_err(|e| format!("{e:#}"))?;
    rows.map(|record| record.map_err(|e| format!("{e:#}")))
        .collect()
}

fn cells(records: &[Record]) -> Vec<Json> {
    let cells = records.iter().map(|r| Json::Object(r.cells.clone()));
    cells.collect()
}
