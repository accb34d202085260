//! MT-Bench and Vicuna-Bench: harmless questions for chat models.

use super::types::{Column, Item, Schema};
use crate::json::Layout;
use base::rows::PromptClass;

pub(crate) const SCHEMA: Schema = Schema {
    name: "mt-bench",
    summary: "MT-Bench and Vicuna-Bench: harmless questions of several kinds",
    hub: &[
        "github.com/lm-sys/FastChat: fastchat/llm_judge/data/mt_bench/question.jsonl, vicuna_bench/question.jsonl",
    ],
    licence: "Apache-2.0",
    columns: &[
        Column {
            names: &["turns"],
            needed: true,
            what: "what the user says; the first turn is taken",
        },
        Column {
            names: &["question_id"],
            needed: true,
            what: "a number: 81 to 160, Vicuna-Bench 1 to 80",
        },
        Column {
            names: &["category"],
            needed: true,
            what: "the kind of question",
        },
    ],
    gives: "harmless; the id is the question's",
    traps: &[
        "an evaluation set: do not train on it",
        "the second turn is left out",
    ],
    published: &[
        ("mt_bench", 80, "counted in the file"),
        ("vicuna_bench", 80, "counted in the file"),
    ],
    layout: Layout::Rows,
    loose: false,
    usual: None,
    splits: &[],
    forms: &[],
    conversations: false,
    pairs: false,
    survey: None,
    read: |row| {
        Ok(
            Item::new(PromptClass::Harmless, row.first_turn(&["turns"])?)
                .id(row.text(&["question_id"])?)
                .category(row.text(&["category"])?),
        )
    },
};
