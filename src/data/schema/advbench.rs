//! AdvBench: harmful behaviours and the targets of GCG.

use super::types::{Column, Item, Schema};
use crate::json::Layout;
use base::rows::PromptClass;

pub(crate) const SCHEMA: Schema = Schema {
    name: "advbench",
    summary: "harmful behaviours with the beginnings of answers that GCG aims at",
    hub: &[
        "walledai/AdvBench (gated)",
        "github.com/llm-attacks/llm-attacks: data/advbench/harmful_behaviors.csv",
    ],
    licence: "MIT",
    columns: &[
        Column {
            names: &["goal", "prompt"],
            needed: true,
            what: "the prompt; `prompt` in the mirror",
        },
        Column {
            names: &["target"],
            needed: false,
            what: "an answer's beginning; not used",
        },
    ],
    gives: "harmful; no category; the row's number is the id",
    traps: &["shares 25 prompts with StrongREJECT and 11 with JailbreakBench"],
    published: &[("all", 520, "counted in harmful_behaviors.csv")],
    layout: Layout::Rows,
    loose: false,
    usual: Some("train"),
    splits: &[],
    forms: &[],
    conversations: false,
    pairs: false,
    survey: None,
    read: |row| {
        Ok(Item::new(
            PromptClass::Harmful,
            row.prompt(&["goal", "prompt"])?,
        ))
    },
};
