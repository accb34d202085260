//! Aegis AI Content Safety 2.0: prompts, and responses to some of them, with labels of people.

use super::types::{Column, Item, Row, Schema};
use crate::json::Layout;
use anyhow::Result;
use base::rows::PromptClass;

pub(crate) const SCHEMA: Schema = Schema {
    name: "aegis-2",
    summary: "Aegis 2.0: prompts and responses with safety labels of people",
    hub: &[
        "nvidia/Aegis-AI-Content-Safety-Dataset-2.0: train.json, validation.json, test.json",
        "the same: refusals_train.json, refusals_validation.json",
    ],
    licence: "CC-BY-4.0",
    columns: &[
        Column {
            names: &["prompt"],
            needed: true,
            what: "the prompt, or REDACTED",
        },
        Column {
            names: &["prompt_label"],
            needed: true,
            what: "`safe` or `unsafe`",
        },
        Column {
            names: &["id"],
            needed: false,
            what: "a unique id",
        },
        Column {
            names: &["response"],
            needed: false,
            what: "a response, or null",
        },
        Column {
            names: &["response_label"],
            needed: false,
            what: "`safe` or `unsafe`, null without a response",
        },
        Column {
            names: &["violated_categories"],
            needed: false,
            what: "categories between commas",
        },
    ],
    gives: "unsafe prompts are harmful, safe ones harmless; the category is the first of `violated_categories`; label `response` is \
            the response's",
    traps: &[
        "rows whose text may not be spread say REDACTED and are left out (`redacted`)",
        "rows may share a prompt and differ in the response: remove duplicates before sampling",
        "no conversation is made of a response that is labelled unsafe",
    ],
    published: &[],
    layout: Layout::Rows,
    loose: false,
    usual: Some("train"),
    splits: &[],
    forms: &[],
    conversations: true,
    pairs: false,
    survey: None,
    read,
};

fn read(row: &Row) -> Result<Item> {
    let label = row.text(&["prompt_label"])?.trim().to_lowercase();
    let class = match label.as_str() {
        "unsafe" => PromptClass::Harmful,
        _ => PromptClass::Harmless,
    };
    let prompt = row.prompt(&["prompt"])?;
    let redacted = prompt.trim() == "REDACTED";
    let categories = row.text(&["violated_categories"])?;
    let category = categories.split(',').next().unwrap_or_default().trim();
    let response_label = row.text(&["response_label"])?.trim().to_lowercase();
    let response = row.response(&["response"])?;
    let item = Item::new(class, prompt)
        .id(row.text(&["id"])?)
        .category(category.to_string())
        .label("response", response_label.clone())
        .left_if(redacted, "redacted")
        .left_if(
            label != "unsafe" && label != "safe",
            "neither safe nor unsafe",
        );
    Ok(
        // A response that somebody labelled as anything but safe is not learned from.
        match ["safe", ""].contains(&response_label.as_str()) && response.trim() != "REDACTED" {
            true => item.answered(&response),
            false => item,
        },
    )
}
