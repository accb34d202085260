//! WildJailbreak: plain and adversarial prompts, harmful and benign, with completions.

use super::types::{Column, Item, Row, Schema};
use crate::json::Layout;
use crate::record::truth;
use anyhow::{Result, bail};
use base::rows::PromptClass;

const COMPLETION: &[&str] = &["completion"];

pub(crate) const SCHEMA: Schema = Schema {
    name: "wildjailbreak",
    summary: "WildJailbreak: plain and adversarial prompts, harmful and benign",
    hub: &[
        "allenai/wildjailbreak (gated): train/train.tsv, eval/eval.tsv",
        "walledai/WildJailbreak (gated): the eval part",
    ],
    licence: "ODC-BY with AI2's Responsible Use Guidelines",
    columns: &[
        Column {
            names: &["vanilla", "adversarial", "prompt"],
            needed: true,
            what: "the plain prompt, the adversarial one made of it; `prompt` in the mirror",
        },
        Column {
            names: &["data_type", "label"],
            needed: true,
            what: "`vanilla_harmful`, `vanilla_benign`, `adversarial_harmful`, `adversarial_benign`; or a label of harm",
        },
        Column {
            names: COMPLETION,
            needed: false,
            what: "a refusal, or help",
        },
    ],
    gives: "harmful, benign rows ambiguous: they are made to look harmful; category and label `data_type`; the row's number is the \
            id; conversations with the completion",
    traps: &[
        "of vanilla rows the prompt is `vanilla`, of adversarial ones `adversarial`; one without it is left out (`no prompt`)",
        "quotes in the TSV need not be in pairs",
        "empty cells are empty text here; elsewhere they become NaN",
    ],
    published: &[
        ("train", 261559, "general knowledge, not checked"),
        ("eval", 2210, "third-party code that loads it"),
    ],
    layout: Layout::Rows,
    loose: true,
    usual: Some("train"),
    splits: &[],
    forms: &[],
    conversations: true,
    pairs: false,
    survey: None,
    read,
};

fn read(row: &Row) -> Result<Item> {
    let data_type = row.text(&["data_type"])?;
    let label = row.text(&["label"])?;
    let said = if data_type.is_empty() {
        &label
    } else {
        &data_type
    };
    let harmful = match said.rsplit('_').next().unwrap_or_default() {
        "harmful" => Some(true),
        "benign" => Some(false),
        _ => row.record.get(&["label"])?.and_then(truth),
    };
    let Some(harmful) = harmful else {
        bail!("`{said}` says neither harmful nor benign");
    };
    let class = match harmful {
        true => PromptClass::Harmful,
        false => PromptClass::Ambiguous,
    };
    let prompt = if data_type.starts_with("vanilla") {
        row.prompt(&["vanilla"])?
    } else {
        row.prompt(&["adversarial", "prompt"])?
    };
    Ok(Item::new(class, prompt)
        .category(data_type.clone())
        .label("data_type", data_type)
        .answered(&row.response(COMPLETION)?))
}
