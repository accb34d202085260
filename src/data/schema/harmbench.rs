//! HarmBench's text behaviours.

use super::types::{Column, Item, Row, Schema};
use crate::json::Layout;
use anyhow::Result;
use base::rows::PromptClass;

const BEHAVIOR: &[&str] = &["Behavior", "prompt"];
const FUNCTIONAL: &[&str] = &["FunctionalCategory"];
const SEMANTIC: &[&str] = &["SemanticCategory", "category"];
const CONTEXT: &[&str] = &["ContextString", "context"];

pub(crate) const SCHEMA: Schema = Schema {
    name: "harmbench",
    summary: "HarmBench's text behaviours: standard, contextual, copyright",
    hub: &[
        "github.com/centerforaisafety/HarmBench: data/behavior_datasets/harmbench_behaviors_text_{all,test,val}.csv",
        "walledai/HarmBench (gated): configs standard, contextual, copyright",
    ],
    licence: "MIT",
    columns: &[
        Column {
            names: BEHAVIOR,
            needed: true,
            what: "what is asked; not unique",
        },
        Column {
            names: &["BehaviorID"],
            needed: false,
            what: "a unique id",
        },
        Column {
            names: SEMANTIC,
            needed: true,
            what: "the semantic category",
        },
        Column {
            names: FUNCTIONAL,
            needed: false,
            what: "`standard`, `contextual` or `copyright`",
        },
        Column {
            names: CONTEXT,
            needed: false,
            what: "a text that a contextual behaviour is about",
        },
        Column {
            names: &["Tags", "tags"],
            needed: false,
            what: "words between commas; not used",
        },
    ],
    gives: "harmful; the category is the semantic one; labels `functional` and `semantic`; the id is BehaviorID",
    traps: &[
        "400 records are 1,530 lines: contexts hold newlines, and records end in CRLF",
        "Behavior has 393 different texts in 400 rows: the id is what tells them apart",
        "how context and behaviour are put together differs between projects: `form`",
        "a copy of text_all.csv with one edited behaviour goes about",
    ],
    published: &[
        ("all", 400, "counted in the file"),
        ("test", 320, "counted in the file"),
        ("val", 80, "counted in the file"),
    ],
    layout: Layout::Rows,
    loose: false,
    usual: Some("test"),
    splits: &[],
    forms: &[
        ("blank-line", "the context, a blank line, the behaviour"),
        (
            "rule",
            "the same with a line of three dashes between blank lines",
        ),
        ("behavior", "the behaviour alone"),
    ],
    conversations: false,
    pairs: false,
    survey: None,
    read,
};

/// One behaviour.
pub fn read(row: &Row) -> Result<Item> {
    let behavior = row.prompt(BEHAVIOR)?;
    let context = row.prompt(CONTEXT)?;
    let between = match row.form {
        "rule" => "\n\n---\n\n",
        _ => "\n\n",
    };
    let prompt = match context.trim().is_empty() || row.form == "behavior" {
        true => behavior.clone(),
        false => format!("{context}{between}{behavior}"),
    };
    let semantic = row.text(SEMANTIC)?;
    let item = Item::new(PromptClass::Harmful, prompt)
        .id(row.text(&["BehaviorID"])?)
        .category(semantic.clone())
        .label("semantic", semantic)
        .label("functional", row.text(FUNCTIONAL)?)
        .left_if(behavior.trim().is_empty(), super::types::NO_PROMPT);
    Ok(item)
}
