//! Public data sets by their schema: prompts, and conversations and pairs where a set has them.

mod import;
mod params;

use crate::data::labels;
use crate::shared::estimate;
use anyhow::Result;
use base::params::{ParamSet, Problem};
use base::rows;
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Output, Role, Type};
use params::Params;

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
    metrics: &[
        labels::ROWS,
        MetricInfo::plain("kept", "rows", "rows kept"),
        labels::KEPT,
        MetricInfo::plain("removed/*", "rows", "removed, *"),
        MetricInfo::plain("conversations", "rows", "conversations"),
        MetricInfo::plain("pairs", "rows", "pairs"),
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
