//! Tables of somebody else's, CSV, TSV or JSONL, and the column names that public sets use. What rows mean is the business of the
//! kinds that read them.

use crate::base::bounded;
use crate::base::rows::PromptClass;
use crate::base::text::did_you_mean;
use crate::choice;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeSet;
use std::path::Path;

choice! {
    /// A prompt class, as a word in a recipe.
    pub enum Class { Harmful = "harmful", Harmless = "harmless", Ambiguous = "ambiguous" }
}

impl From<Class> for PromptClass {
    fn from(class: Class) -> PromptClass {
        match class {
            Class::Harmful => PromptClass::Harmful,
            Class::Harmless => PromptClass::Harmless,
            Class::Ambiguous => PromptClass::Ambiguous,
        }
    }
}

pub const PROMPT_COLUMNS: &[&str] = &[
    "prompt",
    "goal",
    "Behavior",
    "forbidden_prompt",
    "Goal",
    "instruction",
    "question",
    "turns",
];
pub const ID_COLUMNS: &[&str] = &["id", "BehaviorID", "question_id", "index"];
pub const CATEGORY_COLUMNS: &[&str] = &["type", "category", "SemanticCategory"];

/// The largest file, in bytes, and how many columns it may have: every row has a cell for each.
const MOST_BYTES: u64 = 1 << 30;
const MOST_COLUMNS: usize = 1000;

/// A file as text cells.
pub struct Table {
    pub columns: Vec<String>,
    /// A cell for every column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c == name)
    }

    /// The column that the parameter names, or else the first of these that there is.
    pub fn column_or(
        &self,
        param: &str,
        name: Option<&String>,
        usual: &[&str],
    ) -> Result<Option<usize>> {
        match name {
            Some(name) => self.column(param, name).map(Some),
            None => Ok(usual.iter().find_map(|c| self.find(c))),
        }
    }

    /// The column that this parameter names.
    pub fn column(&self, param: &str, name: &str) -> Result<usize> {
        self.find(name).with_context(|| {
            let near = did_you_mean(name, self.columns.iter().map(String::as_str));
            let near = near.map_or(".".into(), |n| format!(", did you mean `{n}`?"));
            let names = self.names();
            format!("no column `{name}`{near} The columns are {names}; `{param}` says which")
        })
    }

    pub fn names(&self) -> String {
        self.columns.join(", ")
    }
}

/// Reads a file that has rows. An error names it.
pub fn read_table(path: &Path) -> Result<Table> {
    let read = || table(path, &bounded::read(path, MOST_BYTES)?);
    let table = read().with_context(|| format!("failed to read {}", path.display()))?;
    ensure!(!table.rows.is_empty(), "{} has no rows", path.display());
    Ok(table)
}

/// The name of a file without its ending, which is where its rows come from.
pub fn source(path: &Path) -> String {
    let stem = path.file_stem();
    stem.map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The rows of a file of this name.
pub fn table(path: &Path, bytes: &[u8]) -> Result<Table> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| anyhow!("byte {} is not UTF-8", e.valid_up_to()))?
        .trim_start_matches('\u{feff}');
    ensure!(!text.trim().is_empty(), "the file is empty");
    match path.extension().and_then(|e| e.to_str()) {
        Some("csv") => read_separated(text, b','),
        Some("tsv") => read_separated(text, b'\t'),
        Some("jsonl") => read_jsonl(text),
        _ => bail!("the file's name ends neither in .csv nor in .tsv nor in .jsonl"),
    }
}

fn read_separated(text: &str, delimiter: u8) -> Result<Table> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    let columns: Vec<String> = reader
        .headers()
        .context("the header row")?
        .iter()
        .map(String::from)
        .collect();
    ensure!(
        columns.len() <= MOST_COLUMNS,
        "more than {MOST_COLUMNS} columns"
    );
    let mut rows = vec![];
    for (i, record) in reader.records().enumerate() {
        let record = record.map_err(|e| match e.kind() {
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => {
                anyhow!(
                    "row {}: {len} fields where the header has {expected_len}{}",
                    i + 1,
                    e.position().map_or(String::new(), |p| {
                        format!(" (line {}; is a quote or a comma missing?)", p.line())
                    })
                )
            }
            _ => anyhow!("row {}: {e}", i + 1),
        })?;
        rows.push(record.iter().map(String::from).collect());
    }
    Ok(Table { columns, rows })
}

fn read_jsonl(text: &str) -> Result<Table> {
    let mut columns: Vec<String> = vec![];
    let mut known = BTreeSet::new();
    let mut objects = vec![];
    for (i, line) in text.lines().filter(|l| !l.trim().is_empty()).enumerate() {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line)
            .map_err(|e| {
                let column = e.column();
                anyhow!("row {}: not a JSON object (column {column})", i + 1)
            })?;
        for key in object.keys() {
            if known.insert(key.clone()) {
                columns.push(key.clone());
            }
        }
        ensure!(
            columns.len() <= MOST_COLUMNS,
            "row {}: more than {MOST_COLUMNS} different keys",
            i + 1
        );
        objects.push(object);
    }
    let rows = objects
        .iter()
        .map(|o| columns.iter().map(|c| cell(o.get(c))).collect())
        .collect();
    Ok(Table { columns, rows })
}

/// A JSON value as a cell: the first item of an array, nothing for null.
fn cell(value: Option<&serde_json::Value>) -> String {
    match value {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(s)) => s.clone(),
        Some(serde_json::Value::Array(items)) => cell(items.first()),
        Some(other) => other.to_string(),
    }
}
