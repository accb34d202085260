//! Public data sets by their schema: prompts, and conversations and pairs where a set has them.

mod import;

use crate::shared::bounds;
use crate::shared::estimate;
use anyhow::Result;
use base::params;
use base::params::Problem;
use base::params::{ParamSet, ParamValue, Ty};
use base::rows;
use base::value::{Value, Values};
use data::schema::{self, NAMES, Schema};
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Output, Role, Type};
use std::path::PathBuf;

/// A schema, as a word in a recipe.
#[derive(Clone, Copy)]
pub struct Set(pub &'static Schema);

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

impl ParamValue for Set {
    fn ty() -> Ty {
        Ty::Choice(&NAMES)
    }
    fn read(value: Option<&Value>) -> Result<Set, String> {
        let word = match value {
            Some(Value::Str(word)) => schema::find(word),
            _ => None,
        };
        let expected = || format!("expected {}", Set::ty().describe());
        word.map(Set).ok_or_else(expected)
    }
    fn write(&self) -> Option<Value> {
        Some(Value::Str(self.0.name.to_string()))
    }
}

params! {
    pub struct Params {
        /// Which set it is: what its columns mean. `pipe kinds dataset.NAME` shows each.
        schema: Set;
        /// A file (`.csv`, `.tsv`, `.jsonl`, `.json`, the same with `.gz` or `.zst`, `.parquet`), or a folder of them as on the
        /// hub, whose shards are read in name order.
        path: PathBuf;
        /// Of a folder: which files, by their name (without the number of a shard), their folder, a word of either, or a
        /// pattern with `*`. It is part of ids that are row numbers, and says what the rows are where they do not
        /// (`or-bench`, `jailbreakbench`), also of a single file. Absent: the schema's usual one, or the only one there is.
        split: Option<String> = None;
        /// How prompts are composed, or which part of a set is taken, where the schema leaves a choice; absent: its first.
        form: Option<String> = None;
        /// For `harmbench-cases`: HarmBench's file of behaviours, which the cases get their category and labels from.
        behaviors: Option<PathBuf> = None;
        /// Keep the first so many rows only.
        limit: Option<usize> = None, in bounds::TAKEN;
    }
}

pub const KIND: Kind = Kind {
    name: "dataset",
    revision: 2,
    role: Role::Imports,
    summary: "reads a public data set by its schema: prompts, and conversations and pairs where it has them",
    about: "Identity is the content, not the path. The columns of each set, under all names that its mirrors use, its traps and \
            addresses are shown by `pipe kinds dataset.NAME`; `pipe kinds --datasets` lists them. Ids begin with the name of the schema, \
            so that pools of several sets do not collide. Rows are read one at a time: memory does not grow with the file. A row that \
            is left out is counted by reason and written to `removed`; one that is not what the schema expects is an error that names \
            file and row. A file of other columns is an error that lists the expected ones and those found; `prompts-file` reads any \
            columns.",
    example: r#"
[node.harmbench]
kind = "dataset"
schema = "harmbench"
path = "harmbench_behaviors_text_val.csv"
"#,
    outputs: &[
        Output::always(
            "prompts",
            Type::Prompts,
            "one row a prompt, in the files' order",
        ),
        Output::only_with(
            "conversations",
            Type::Conversations,
            "of sets with responses: prompt and response, for each prompt that has one to learn from",
            "only sets with responses have conversations, as `wildjailbreak` and `ultrafeedback-binarized`",
            |values| Params::read(values).is_ok_and(|p| p.schema.0.conversations),
        ),
        Output::only_with(
            "pairs",
            Type::Pairs,
            "of sets with preferences: the better response and the worse one",
            "only sets with preferences have pairs, as `ultrafeedback-binarized` and `safeedit`",
            |values| Params::read(values).is_ok_and(|p| p.schema.0.pairs),
        ),
        Output::always(
            "removed",
            Type::Prompts,
            "rows that are left out, each with its `reason`",
        ),
        Output::always(
            "metrics",
            Type::Metrics,
            "rows read, kept by class, removed by reason",
        ),
    ],
    params: Params::specs,
    check: Some(check),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    let Ok(p) = Params::read(values) else {
        return found;
    };
    let schema = p.schema.0;
    let words = |list: &mut dyn Iterator<Item = &str>| {
        let quoted: Vec<String> = list.map(|w| format!("`{w}`")).collect();
        quoted.join(", ")
    };
    if let Some(form) = p
        .form
        .filter(|f| !schema.forms.iter().any(|(word, _)| word == f))
    {
        let forms = words(&mut schema.forms.iter().map(|(word, _)| *word));
        found.push(Problem {
            path: "form".into(),
            message: format!("`{}` has no form `{form}`", schema.name),
            help: Some(match forms.is_empty() {
                true => "leave it out".into(),
                false => format!("its forms are {forms}"),
            }),
        });
    }
    if !schema.splits.is_empty() && p.split.is_none() {
        found.push(Problem {
            path: "split".into(),
            message: format!(
                "nothing in the rows of `{}` says which part they are: `split` has to",
                schema.name
            ),
            help: Some(format!(
                "name one of {}, also where `path` is a file",
                words(&mut schema.splits.iter().copied())
            )),
        });
    }
    if let Some(split) = &p.split {
        let lower = split.to_lowercase();
        let known = schema.splits.iter().any(|part| lower.contains(part));
        if !known && !schema.splits.is_empty() {
            found.push(Problem {
                path: "split".into(),
                message: format!(
                    "`{split}` does not say which part of `{}` the rows are",
                    schema.name
                ),
                help: Some(format!(
                    "name one of {}: the class of the rows hangs on it",
                    words(&mut schema.splits.iter().copied())
                )),
            });
        }
    }
    if p.behaviors.is_some() && schema.name != "harmbench-cases" {
        found.push(Problem {
            path: "behaviors".into(),
            message: format!("`{}` takes no `behaviors`", schema.name),
            help: Some("only `harmbench-cases` does".into()),
        });
    }
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let tally = import::import(&p, import::Outputs::create(ctx, p.schema.0)?)?;
    for line in tally.lines(&p) {
        ctx.log(&line);
    }
    rows::write_metrics(&ctx.output("metrics"), tally.metrics())
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let schema = p.schema.0;
    let part = p.split.as_deref().or(schema.usual);
    let named = |(what, ..): &&(&str, u64, &str)| part.is_some_and(|p| what.contains(p));
    let published = schema.published.iter().find(named);
    let rows = published.or(schema.published.first()).map(|(_, n, _)| *n);
    let most = p.limit.map(|n| n as u64);
    let rows = rows.into_iter().chain(most).min();
    let likely = estimate::rows(rows.map(|n| n as f64), None);
    let mut work = estimate::only("prompts", likely.clone());
    work.outputs.insert("conversations", likely.clone());
    work.outputs.insert("pairs", likely);
    Ok(work)
}
