//! Prompts from a file of somebody else's: CSV, TSV or JSONL, with the column names that public sets use.

use crate::base::bounded;
use crate::base::rows::{self, Prompt, PromptClass};
use crate::base::text::did_you_mean;
use crate::base::value::Values;
use crate::engine::kind::{Cpu, Kind, Output, Problem, Type};
use crate::engine::params::{None_, ParamSet};
use crate::engine::worker::NodeCtx;
use crate::kinds::positive;
use crate::{choice, params};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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

params! {
    pub struct Params {
        /// The file: `.csv`, `.tsv` or `.jsonl`.
        path: PathBuf;
        /// Column of the prompt; absent: the first of `prompt`, `goal`, `Behavior`, `forbidden_prompt`, `Goal`,
        /// `instruction`, `question`, `turns` (its first turn) that exists.
        column: Option<String> = None;
        /// Column of a unique id; absent: `id`, `BehaviorID`, `question_id` or `index` if there, else the row number.
        id_column: Option<String> = None;
        /// Column of a finer label that metrics are split by; absent: `type`, `category` or `SemanticCategory` if there.
        category_column: Option<String> = None;
        /// Class of every row, but for those that `harmful` names.
        class: Class = Class::Ambiguous;
        /// Column that `harmful` speaks of.
        label_column: String = "label".to_string();
        /// Labels whose rows are harmful.
        harmful: Vec<String> = vec![];
        /// Take the first so many rows only.
        limit: Option<usize> = None;
    }
}

pub const KIND: Kind = Kind {
    name: "prompts-file",
    revision: 1,
    summary: "imports prompts from a CSV, TSV or JSONL file",
    about: "Identity is the file's content, not its path. Newlines inside quoted fields, CRLF, a BOM, doubled quotes and \
            unknown further columns are fine; a malformed row, an empty prompt or a repeated id is an error that names \
            the row (counted as records, the header not counted).",
    example: r#"
[node.xstest]
kind = "prompts-file"
path = "xstest_prompts.csv"
harmful = ["unsafe"]
"#,
    inputs: &[],
    outputs: &[Output {
        name: "prompts",
        ty: Type::Prompts,
        doc: "one row a prompt, in the file's order",
        only_with: None,
    }],
    params: Params::specs,
    exec: None_::specs,
    check,
    cpu: |_| Cpu::One,
    hidden: false,
    tokens: None,
    forecast: None,
    run,
};

const PROMPT_COLUMNS: &[&str] = &[
    "prompt",
    "goal",
    "Behavior",
    "forbidden_prompt",
    "Goal",
    "instruction",
    "question",
    "turns",
];
const ID_COLUMNS: &[&str] = &["id", "BehaviorID", "question_id", "index"];
const CATEGORY_COLUMNS: &[&str] = &["type", "category", "SemanticCategory"];

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    if let Some(limit) = Params::read(values).ok().and_then(|p| p.limit) {
        positive(&mut found, "limit", limit as f64);
    }
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let prompts = import(&p.path, &p)?;
    ctx.say(&format!("{} prompts", prompts.len()));
    rows::write_rows(&ctx.output("prompts"), &prompts)
}

/// Reads the file. Errors name the row or the missing column.
pub fn import(path: &Path, p: &Params) -> Result<Vec<Prompt>> {
    let table = read_table(path).with_context(|| format!("failed to read {}", path.display()))?;
    ensure!(!table.rows.is_empty(), "{} has no rows", path.display());
    let prompt_column = match &p.column {
        Some(name) => table.column("column", name)?,
        None => PROMPT_COLUMNS
            .iter()
            .find_map(|c| table.find(c))
            .with_context(|| {
                format!(
                    "no column looks like a prompt; name it with `column`. The columns are {} (in {})",
                    table.names(),
                    path.display()
                )
            })?,
    };
    let id_column = match &p.id_column {
        Some(name) => Some(table.column("id_column", name)?),
        None => ID_COLUMNS.iter().find_map(|c| table.find(c)),
    };
    let category_column = match &p.category_column {
        Some(name) => Some(table.column("category_column", name)?),
        None => CATEGORY_COLUMNS.iter().find_map(|c| table.find(c)),
    };
    let label_column = if p.harmful.is_empty() {
        None
    } else {
        let column = table.column("label_column", &p.label_column);
        Some(column.map_err(|e| anyhow!("{e}; a file without labels takes `harmful = []`"))?)
    };
    let source = path
        .file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default();

    let mut seen = BTreeSet::new();
    let mut prompts = vec![];
    let mut labels_seen = BTreeSet::new();
    for (i, row) in table
        .rows
        .iter()
        .enumerate()
        .take(p.limit.unwrap_or(usize::MAX))
    {
        let number = i + 1;
        let prompt = row[prompt_column].clone();
        ensure!(
            !prompt.trim().is_empty(),
            "{} row {number}: the prompt is empty",
            path.display()
        );
        let id = id_column.map_or_else(|| number.to_string(), |c| row[c].clone());
        ensure!(
            !id.is_empty(),
            "{} row {number}: the id is empty",
            path.display()
        );
        ensure!(
            seen.insert(id.clone()),
            "{} row {number}: the id `{id}` occurs twice",
            path.display()
        );
        let harmful = label_column.is_some_and(|c| {
            labels_seen.insert(row[c].clone());
            p.harmful.contains(&row[c])
        });
        prompts.push(Prompt {
            id,
            class: if harmful {
                PromptClass::Harmful
            } else {
                p.class.into()
            },
            prompt,
            source: source.clone(),
            category: category_column.map(|c| row[c].clone()).unwrap_or_default(),
            difficulty: 0,
            truth: None,
        });
    }
    if let Some(label) = p
        .harmful
        .iter()
        .find(|l| p.limit.is_none() && !labels_seen.contains(*l))
    {
        let labels: Vec<&str> = labels_seen.iter().map(String::as_str).collect();
        bail!(
            "no row has the label `{label}` that `harmful` names; the labels are {}",
            labels.join(", ")
        );
    }
    Ok(prompts)
}

/// The largest file, in bytes, and how many columns it may have: every row has a cell for each.
const MOST_BYTES: u64 = 1 << 30;
const MOST_COLUMNS: usize = 1000;

/// A file as text cells.
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c == name)
    }

    /// The column that this parameter names.
    fn column(&self, param: &str, name: &str) -> Result<usize> {
        self.find(name).with_context(|| {
            let near = did_you_mean(name, self.columns.iter().map(String::as_str));
            let near = near.map_or(".".into(), |n| format!(", did you mean `{n}`?"));
            let names = self.names();
            format!("no column `{name}`{near} The columns are {names}; `{param}` says which")
        })
    }

    fn names(&self) -> String {
        self.columns.join(", ")
    }
}

fn read_table(path: &Path) -> Result<Table> {
    let bytes = bounded::read(path, MOST_BYTES)?;
    table(path, &bytes)
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
