//! SafeEdit: harmful questions inside attack prompts, each with a safe and an unsafe response.

use super::types::{Chosen, Column, Item, Row, Schema};
use crate::json::Layout;
use anyhow::Result;
use base::rows::PromptClass;

const SAFE: &[&str] = &["safe generation"];
const UNSAFE: &[&str] = &["unsafe generation"];

pub(crate) const SCHEMA: Schema = Schema {
    name: "safeedit",
    summary: "harmful questions inside attack prompts, with a safe and an unsafe response",
    hub: &[
        "zjunlp/SafeEdit (gated): SafeEdit_train.json, SafeEdit_val.json, SafeEdit_test.json, SafeEdit_test_ALL.json",
    ],
    licence: "CC BY-NC-SA 4.0",
    columns: &[
        Column {
            names: &["question"],
            needed: true,
            what: "the harmful question",
        },
        Column {
            names: &["adversarial prompt"],
            needed: true,
            what: "the attack with the question inside",
        },
        Column {
            names: &["id"],
            needed: false,
            what: "a unique id",
        },
        Column {
            names: &["unsafety category"],
            needed: false,
            what: "the kind of harm",
        },
        Column {
            names: &["attack category"],
            needed: false,
            what: "the kind of attack",
        },
        Column {
            names: SAFE,
            needed: false,
            what: "a safe response",
        },
        Column {
            names: UNSAFE,
            needed: false,
            what: "an unsafe response",
        },
    ],
    gives: "harmful; the category is the unsafety category, label `attack` the attack's; conversations with the safe response; pairs \
            with it chosen (score 1) and the unsafe one rejected (0)",
    traps: &[
        "names of columns have blanks",
        "which of the two prompts a study means is rarely said: `form`",
        "a question comes with several attacks: with `form = \"question\"` texts repeat",
    ],
    published: &[
        ("train", 4050, "its page on the hub"),
        ("val", 2700, "its page on the hub"),
        ("test", 1350, "its page on the hub"),
    ],
    layout: Layout::Rows,
    loose: false,
    usual: Some("train"),
    splits: &[],
    forms: &[
        ("question", "the harmful question alone"),
        ("adversarial", "the attack prompt that holds it"),
    ],
    conversations: true,
    pairs: true,
    survey: None,
    read,
};

fn read(row: &Row) -> Result<Item> {
    let prompt = match row.form {
        "adversarial" => row.prompt(&["adversarial prompt"])?,
        _ => row.prompt(&["question"])?,
    };
    let (safe, unsafe_) = (row.response(SAFE)?, row.response(UNSAFE)?);
    let mut item = Item::new(PromptClass::Harmful, prompt)
        .id(row.text(&["id"])?)
        .category(row.text(&["unsafety category"])?)
        .label("attack", row.text(&["attack category"])?)
        .answered(&safe);
    if !safe.trim().is_empty() && !unsafe_.trim().is_empty() {
        item.pair = Some(Chosen {
            chosen: safe,
            rejected: unsafe_,
            scores: (1.0, 0.0),
        });
    }
    Ok(item)
}
