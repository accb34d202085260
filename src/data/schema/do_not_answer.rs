//! Do-Not-Answer: questions that a responsible model does not answer, in a taxonomy of three levels.

use super::types::{Column, Item, Schema};
use crate::json::Layout;
use base::rows::PromptClass;

const PROMPT: &[&str] = &["question", "prompt"];
const HARM: &[&str] = &["types_of_harm", "harm_area"];

pub(crate) const SCHEMA: Schema = Schema {
    name: "do-not-answer",
    summary: "questions that a responsible model does not answer",
    hub: &[
        "LibrAI/do-not-answer: data_en.csv, data/train-00000-of-00001-6ba0076b818accff.parquet",
        "walledai/DNA (gated)",
    ],
    licence: "the card says apache-2.0 and its text CC BY-NC-SA 4.0",
    columns: &[
        Column {
            names: PROMPT,
            needed: true,
            what: "the prompt; `prompt` in the mirror",
        },
        Column {
            names: &["risk_area"],
            needed: true,
            what: "the first level of the taxonomy",
        },
        Column {
            names: HARM,
            needed: false,
            what: "the second level",
        },
        Column {
            names: &["id"],
            needed: false,
            what: "a number",
        },
    ],
    gives: "harmful; the category is the risk area, label `harm` the type of harm",
    traps: &["answers of six models stand in columns of their own and are not read"],
    published: &[("all", 939, "its page on the hub")],
    layout: Layout::Rows,
    loose: false,
    usual: Some("train"),
    splits: &[],
    forms: &[],
    conversations: false,
    pairs: false,
    survey: None,
    read: |row| {
        Ok(Item::new(PromptClass::Harmful, row.prompt(PROMPT)?)
            .id(row.text(&["id"])?)
            .category(row.text(&["risk_area"])?)
            .label("harm", row.text(HARM)?))
    },
};
