//! Prompts from a file of somebody else's: CSV, TSV or JSONL, with the column names that public sets use.

use crate::base::rows::{self, Prompt, PromptClass};
use crate::base::value::Values;
use crate::engine::kind::{Cpu, Kind, Output, Problem, Type};
use crate::engine::params::{None_, ParamSet};
use crate::engine::worker::NodeCtx;
use crate::kinds::positive;
use crate::kinds::table_file::{
    self, CATEGORY_COLUMNS, Class, ID_COLUMNS, PROMPT_COLUMNS, read_table,
};
use crate::params;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
    outlook: None,
    run,
};

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
    let table = read_table(path)?;
    let prompt_column = table.column_or("column", p.column.as_ref(), PROMPT_COLUMNS)?;
    let prompt_column = prompt_column.with_context(|| {
        format!(
            "no column looks like a prompt; name it with `column`. The columns are {} (in {})",
            table.names(),
            path.display()
        )
    })?;
    let id_column = table.column_or("id_column", p.id_column.as_ref(), ID_COLUMNS)?;
    let category_column = p.category_column.as_ref();
    let category_column = table.column_or("category_column", category_column, CATEGORY_COLUMNS)?;
    let label_column = if p.harmful.is_empty() {
        None
    } else {
        let column = table.column("label_column", &p.label_column);
        Some(column.map_err(|e| anyhow!("{e}; a file without labels takes `harmful = []`"))?)
    };
    let source = table_file::source(path);

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
            labels: Default::default(),
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
