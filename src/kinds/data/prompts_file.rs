//! Prompts from a file of somebody else's: CSV, TSV, JSONL, JSON or Parquet, with the column names that public sets use.

use crate::data::labels::{self, Named};
use crate::data::table_file::{self, CATEGORY_COLUMNS, Class, ID_COLUMNS, PROMPT_COLUMNS, Table};
use crate::shared::bounds;
use anyhow::{Context, Result, anyhow, bail, ensure};
use base::params;
use base::params::ParamSet;
use base::params::Problem;
use base::rows::{self, Prompt, PromptClass, RowWriter};
use base::setup::Acts;
use base::text::count;
use base::value::Values;
use data::cell::Lists;
use data::seen::Seen;
use engine::kind::context::NodeCtx;
use engine::kind::{Kind, Output, Role, Type};
use std::collections::BTreeMap;
use std::path::PathBuf;

const NAMED: Acts = Acts::only(
    "where `harmful`, `harmless` or `ambiguous` names values of it",
    |s| s.given("harmful") || s.given("harmless") || s.given("ambiguous"),
);

params! {
    pub struct Params {
        /// The file: `.csv`, `.tsv`, `.jsonl`, `.json` (an array of objects, or an object with one), the same with `.gz` or `.zst`, or
        /// `.parquet`; or a folder with one table in shards.
        path: PathBuf;
        /// Column of the prompt: a text, or a list with one message of the user. Absent: the first of `prompt`, `goal`,
        /// `Behavior`, `forbidden_prompt`, `Goal`, `instruction`, `question`, `turns` (its first turn) that exists.
        column: Option<String> = None;
        /// Column of a unique id; absent: `id`, `BehaviorID`, `question_id` or `index` if there, else the row number.
        id_column: Option<String> = None;
        /// Column of a finer label that metrics are split by; absent: `type`, `category` or `SemanticCategory` if there.
        category_column: Option<String> = None;
        /// Class of every row, but for those whose label `harmful`, `harmless` or `ambiguous` names.
        class: Class = Class::Ambiguous;
        /// Column that these speak of.
        label_column: String = "label".to_string(), if NAMED;
        /// Labels whose rows are harmful.
        harmful: Vec<String> = vec![];
        /// Labels whose rows are harmless.
        harmless: Vec<String> = vec![];
        /// Labels whose rows sound harmful and are not.
        ambiguous: Vec<String> = vec![];
        /// Take the first so many rows only.
        limit: Option<usize> = None, in bounds::TAKEN;
    }
}

pub const KIND: Kind = Kind {
    name: "prompts-file",
    revision: 2,
    role: Role::Imports,
    summary: "imports prompts from a CSV, TSV, JSONL, JSON or Parquet file",
    about: "Identity is the file's content, not its path. Newlines inside quoted fields, CRLF, a BOM, doubled quotes and \
            unknown further columns are fine; a malformed row (a quote that is never closed, something behind a closing quote, another \
            number of cells), an empty prompt, a prompt of another shape, a column whose name two have, or a repeated id is an error that \
            names the row (counted as records, the header not counted). Of a list of messages the one of the user is the prompt; \
            system messages and several turns are refused. NaN is null, and half of an emoji U+FFFD. Labels that no list names are \
            told with their rows, which are of `class`; one that differs from a named label only by case, white space, punctuation or a \
            plural is an error, since its rows would silently be of another class.",
    example: r#"
[node.xstest]
kind = "prompts-file"
path = "xstest_prompts.csv"
harmful = ["unsafe"]
"#,
    outputs: &[
        Output::always(
            "prompts",
            Type::Prompts,
            "one row a prompt, in the file's order",
        ),
        Output::always(
            "metrics",
            Type::Metrics,
            "rows in all and by class, and those whose label no list names",
        ),
    ],
    metrics: &[labels::ROWS, labels::KEPT, labels::UNNAMED],
    params: Params::specs,
    check: Some(check),
    run,
    ..Kind::DEFAULTS
};

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    let Ok(p) = Params::read(values) else {
        return found;
    };
    labels::problems(&mut found, &lists(&p));
    found
}

/// The lists of labels that give a class.
fn lists(p: &Params) -> [(&'static str, &[String]); 3] {
    [
        ("harmful", &p.harmful),
        ("harmless", &p.harmless),
        ("ambiguous", &p.ambiguous),
    ]
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let mut out = RowWriter::create(&ctx.output("prompts"))?;
    let mut classes: BTreeMap<PromptClass, usize> = BTreeMap::new();
    let named = import(&p, &mut |prompt| {
        *classes.entry(prompt.class).or_default() += 1;
        out.push(&prompt)
    })?;
    let all = out.finish()?;
    ctx.log(&count(all as u64, "prompt", "prompts"));
    if let Some(summary) = named.summary(PromptClass::from(p.class).word()) {
        ctx.log(&summary);
    }
    let mut metrics = labels::classes(all, &classes);
    metrics.push(named.metric("labels/unnamed"));
    rows::write_metrics(&ctx.output("metrics"), metrics)
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
        let label = match lists(p).iter().all(|(_, list)| list.is_empty()) {
            // Nobody asks for it; what it holds is told.
            true => table.column("label_column", &p.label_column).ok(),
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

/// Reads the file prompt by prompt; the labels are told. Errors name the row, the missing column, or labels that are nearly those that
/// a list names.
pub fn import<'p>(p: &'p Params, take: &mut dyn FnMut(Prompt) -> Result<()>) -> Result<Named<'p>> {
    let mut table = Table::open(&p.path)?;
    let columns = Columns::find(&table, p)?;
    let source = table_file::source(&p.path);
    let (mut ids, mut named) = (Seen::default(), Named::new(&lists(p), false));
    let mut written = Lists::default();
    let rows = &mut table.rows;
    while p.limit.is_none_or(|limit| rows.read() < limit as u64)
        && let Some(record) = rows.next()
    {
        let record = record?;
        let here = || rows.place(&record);
        let prompt = table_file::prompt(&record, &columns.prompt).with_context(here)?;
        if rows.texts_only() {
            written.see(record.get(&[&columns.prompt])?);
        }
        let cell = |column: &Option<String>| table_file::label(&record, column.as_deref());
        let id = match &columns.id {
            Some(_) => cell(&columns.id).with_context(here)?,
            None => rows.read().to_string(),
        };
        ensure!(!id.is_empty(), "{}: the id is empty", rows.place(&record));
        // Numbers of rows are different as they are.
        ensure!(
            columns.id.is_none() || ids.insert(&id),
            "{}: the id `{id}` occurs twice",
            rows.place(&record)
        );
        let list = match &columns.label {
            Some(_) => named.of(&cell(&columns.label).with_context(here)?, here),
            None => None,
        };
        take(Prompt {
            id,
            class: labels::class(list).unwrap_or(p.class.into()),
            prompt,
            source: source.clone(),
            category: cell(&columns.category).with_context(here)?,
            difficulty: 0,
            labels: Default::default(),
            truth: None,
            attacked: None,
        })?;
    }
    table.ensure_rows(&p.path)?;
    let written = written.ensure_none(&columns.prompt);
    written.with_context(|| p.path.display().to_string())?;
    named.ensure_none_nearly(labels::OR_ANOTHER_CLASS)?;
    if let Some((list, label)) = named.missed().filter(|_| p.limit.is_none()) {
        bail!(
            "no row has the label `{label}` that `{list}` names; the labels are {}",
            named.all()
        );
    }
    Ok(named)
}
