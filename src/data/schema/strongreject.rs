//! StrongREJECT: forbidden prompts in six categories.

use super::types::{Column, Item, Schema};
use crate::json::Layout;
use base::rows::PromptClass;

const PROMPT: &[&str] = &["forbidden_prompt", "prompt"];

pub(crate) const SCHEMA: Schema = Schema {
    name: "strongreject",
    summary: "StrongREJECT: forbidden prompts in six categories",
    hub: &[
        "github.com/alexandrasouly/strongreject: strongreject_dataset/strongreject_dataset.csv, strongreject_small_dataset.csv",
        "walledai/StrongREJECT (gated)",
    ],
    licence: "MIT",
    columns: &[
        Column {
            names: PROMPT,
            needed: true,
            what: "the prompt; `prompt` in the mirror",
        },
        Column {
            names: &["category"],
            needed: true,
            what: "one of six",
        },
        Column {
            names: &["source"],
            needed: false,
            what: "the set it was taken from, or `custom`",
        },
    ],
    gives: "harmful; label `origin` is the set it was taken from; the row's number is the id",
    traps: &[
        "two prompts hold a newline",
        "shares 25 prompts with AdvBench",
    ],
    published: &[
        ("all", 313, "counted in the file"),
        ("small", 60, "third-party code that loads it"),
    ],
    layout: Layout::Rows,
    loose: false,
    usual: Some("strongreject_dataset"),
    splits: &[],
    forms: &[],
    conversations: false,
    pairs: false,
    survey: None,
    read: |row| {
        Ok(Item::new(PromptClass::Harmful, row.prompt(PROMPT)?)
            .category(row.text(&["category"])?)
            .label("origin", row.text(&["source"])?))
    },
};
