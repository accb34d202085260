//! Self-Instruct: the seed tasks, and the tasks that people wrote for evaluation.

use super::types::{Column, Item, Row, Schema};
use crate::cell;
use crate::describe::describe;
use crate::json::Layout;
use anyhow::{Result, anyhow, bail};
use base::rows::PromptClass;
use serde_json::Value;

pub(crate) const SCHEMA: Schema = Schema {
    name: "self-instruct",
    summary: "Self-Instruct: harmless tasks with an input and a good output",
    hub: &[
        "github.com/yizhongw/self-instruct: data/seed_tasks.jsonl, human_eval/user_oriented_instructions.jsonl",
    ],
    licence: "Apache-2.0",
    columns: &[
        Column {
            names: &["instruction"],
            needed: true,
            what: "what is to be done",
        },
        Column {
            names: &["instances"],
            needed: true,
            what: "an array of {input, output}; the first is taken",
        },
        Column {
            names: &["id"],
            needed: false,
            what: "a unique id",
        },
        Column {
            names: &["motivation_app"],
            needed: false,
            what: "of the evaluation tasks: an application",
        },
    ],
    gives: "harmless; the prompt is the instruction and, after a blank line, the input; the category is the application; conversations \
            with the output",
    traps: &[
        "the authors ask never to train on user_oriented_instructions.jsonl",
        "further instances of a task are left out",
    ],
    published: &[
        ("seed_tasks", 175, "counted in the file"),
        ("user_oriented_instructions", 252, "counted in the file"),
    ],
    layout: Layout::Rows,
    loose: false,
    usual: Some("seed_tasks"),
    splits: &[],
    forms: &[],
    conversations: true,
    pairs: false,
    survey: None,
    read,
};

fn read(row: &Row) -> Result<Item> {
    let first = match row.record.get(&["instances"])? {
        None => None,
        Some(Value::Array(all)) => all.first(),
        Some(other) => bail!(
            "`instances` is {}, where a list was expected",
            describe(other)
        ),
    };
    let field = |name: &str, read: fn(&Value) -> Result<String>| {
        let value = first.and_then(|instance| instance.get(name));
        let value = value.map_or(Ok(String::new()), read);
        value.map_err(|e| anyhow!("`{name}` of the first of `instances` is {e:#}"))
    };
    let instruction = row.prompt(&["instruction"])?;
    let input = field("input", cell::prompt)?;
    let prompt = match input.trim().is_empty() {
        true => instruction,
        false => format!("{instruction}\n\n{input}"),
    };
    Ok(Item::new(PromptClass::Harmless, prompt)
        .id(row.text(&["id"])?)
        .category(row.text(&["motivation_app"])?)
        .answered(&field("output", |v| Ok(cell::response(v)?.text))?))
}
