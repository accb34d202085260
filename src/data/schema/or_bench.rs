//! OR-Bench: prompts that sound harmful and are not, and a toxic part that is.

use super::types::{Column, Item, Schema};
use crate::json::Layout;
use base::rows::PromptClass;

pub(crate) const SCHEMA: Schema = Schema {
    name: "or-bench",
    summary: "OR-Bench: prompts that sound harmful and are not",
    hub: &[
        "bench-llm/or-bench: or-bench-80k.csv, or-bench-hard-1k.csv, or-bench-toxic.csv",
        "bench-llms/or-bench",
    ],
    licence: "CC-BY-4.0",
    columns: &[
        Column {
            names: &["prompt"],
            needed: true,
            what: "the prompt",
        },
        Column {
            names: &["category"],
            needed: true,
            what: "one of ten",
        },
    ],
    gives: "ambiguous, with a split that says `toxic` harmful; the row's number is the id",
    traps: &[
        "nothing in a file says which part it is: `split` has to, also where `path` is a file",
        "1,318 of the 1,319 prompts of hard-1k are in 80k too: remove them from a training set (`decontaminate`)",
    ],
    published: &[
        ("80k", 80359, "counted by others"),
        ("hard-1k", 1319, "counted by others"),
        ("toxic", 655, "counted by others"),
    ],
    layout: Layout::Rows,
    loose: false,
    usual: None,
    splits: &["80k", "hard-1k", "toxic"],
    forms: &[],
    conversations: false,
    pairs: false,
    survey: None,
    read: |row| {
        let class = match row.split_is("toxic") {
            true => PromptClass::Harmful,
            false => PromptClass::Ambiguous,
        };
        Ok(Item::new(class, row.prompt(&["prompt"])?).category(row.text(&["category"])?))
    },
};
