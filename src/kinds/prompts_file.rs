//! Prompts from a file of somebody else's: CSV, TSV, JSONL, JSON or Parquet, with the column names that public sets use.

use crate::base::rows::{Prompt, PromptClass, RowWriter};
use crate::data::seen::Seen;
use crate::engine::kind::{Cpu, Kind, Output, Type, no_check};
use crate::engine::params::{None_, ParamSet};
use crate::engine::setup::Acts;
use crate::engine::worker::NodeCtx;
use crate::kinds::bounds;
use crate::kinds::table_file::{self, CATEGORY_COLUMNS, Class, ID_COLUMNS, PROMPT_COLUMNS, Table};
use crate::params;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeSet;
use std::path::PathBuf;

const NAMED: Acts = Acts::only("where `harmful` names values of it", |s| s.given("harmful"));

params! {
    pub struct Params {
        /// The file: `.csv`, `.tsv`, `.jsonl`, `.json` (an array of objects, or an object with one), the same with `.gz` or `.zst`, or
        /// `.parquet`; or a folder with one table in shards.
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
        label_column: String = "label".to_string(), if NAMED;
        /// Labels whose rows are harmful.
        harmful: Vec<String> = vec![];
        /// Take the first so many rows only.
        limit: Option<usize> = None, in bounds::TAKEN;
    }
}

pub const KIND: Kind = Kind {
    name: "prompts-file",
    revision: 1,
    summary: "imports prompts from a CSV, TSV, JSONL, JSON or Parquet file",
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
    check: no_check,
    above: None,
    cpu: |_| Cpu::One,
    hidden: false,
    tokens: None,
    forecast: None,
    outlook: None,
    preflight: None,
    run,
};

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let mut out = RowWriter::create(&ctx.output("prompts"))?;
    import(&p, &mut |prompt| out.push(&prompt))?;
    ctx.say(&format!("{} prompts", out.finish()?));
    Ok(())
}

/// The columns that are read.
struct Columns {
    prompt: String,
    id: Option<String>,
    category: Option<String>,
    label: Option<String>,
}

impl Columns {
    fn find(table: &Table, p: &Params) -> Result<Columns> {
        let prompt = table.column_or("column", p.column.as_ref(), PROMPT_COLUMNS)?;
        let prompt = prompt.with_context(|| {
            format!(
                "no column looks like a prompt; name it with `column`. The columns are {} (in {})",
                table.names(),
                p.path.display()
            )
        })?;
        let category = p.category_column.as_ref();
        let label = match p.harmful.is_empty() {
            true => None,
            false => {
                let column = table.column("label_column", &p.label_column);
                Some(
                    column
                        .map_err(|e| anyhow!("{e}; a file without labels takes `harmful = []`"))?,
                )
            }
        };
        Ok(Columns {
            prompt,
            id: table.column_or("id_column", p.id_column.as_ref(), ID_COLUMNS)?,
            category: table.column_or("category_column", category, CATEGORY_COLUMNS)?,
            label,
        })
    }
}

/// Labels that a message names.
const MOST_LABELS: usize = 100;

/// Reads the file prompt by prompt. Errors name the row or the missing column.
pub fn import(p: &Params, take: &mut dyn FnMut(Prompt) -> Result<()>) -> Result<()> {
    let mut table = Table::open(&p.path)?;
    let columns = Columns::find(&table, p)?;
    let source = table_file::source(&p.path);
    let (mut ids, mut labels) = (Seen::default(), BTreeSet::new());
    let mut missed: BTreeSet<&String> = p.harmful.iter().collect();
    let rows = &mut table.rows;
    while p.limit.is_none_or(|limit| rows.read() < limit as u64)
        && let Some(record) = rows.next()
    {
        let record = record?;
        let cell = |column: &str| record.text(&[column]).into_owned();
        let prompt = cell(&columns.prompt);
        ensure!(
            !prompt.trim().is_empty(),
            "{}: the prompt is empty",
            rows.place(&record)
        );
        let number = || rows.read().to_string();
        let id = columns.id.as_deref().map_or_else(number, cell);
        ensure!(!id.is_empty(), "{}: the id is empty", rows.place(&record));
        // Numbers of rows are different as they are.
        ensure!(
            columns.id.is_none() || ids.insert(&id),
            "{}: the id `{id}` occurs twice",
            rows.place(&record)
        );
        let harmful = columns.label.as_deref().map(cell).is_some_and(|label| {
            let harmful = p.harmful.contains(&label);
            missed.remove(&label);
            if labels.len() < MOST_LABELS {
                labels.insert(label);
            }
            harmful
        });
        take(Prompt {
            id,
            class: if harmful {
                PromptClass::Harmful
            } else {
                p.class.into()
            },
            prompt,
            source: source.clone(),
            category: columns.category.as_deref().map(cell).unwrap_or_default(),
            difficulty: 0,
            labels: Default::default(),
            truth: None,
        })?;
    }
    table.ensure_rows(&p.path)?;
    let missing = p.harmful.iter().find(|label| missed.contains(label));
    if let Some(label) = missing.filter(|_| p.limit.is_none()) {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        bail!(
            "no row has the label `{label}` that `harmful` names; the labels are {}",
            labels.join(", ")
        );
    }
    Ok(())
}
