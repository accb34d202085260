//! WildChat: what people asked a chat model.

use super::types::{Column, Item, Row, Schema, first};
use crate::json::Layout;
use crate::record::truth;
use anyhow::Result;
use base::rows::PromptClass;

const ID: &[&str] = &["conversation_hash", "conversation_id"];

pub(crate) const SCHEMA: Schema = Schema {
    name: "wildchat",
    summary: "WildChat: what people asked a chat model; the first turn of English, non-toxic conversations",
    hub: &[
        "allenai/WildChat: data/train-*.parquet",
        "allenai/WildChat-1M: data/train-*.parquet",
    ],
    licence: "ODC-BY (WildChat-1M), AI2 ImpACT before",
    columns: &[
        Column {
            names: &["conversation"],
            needed: true,
            what: "messages with role, content, language, toxic, …",
        },
        Column {
            names: ID,
            needed: false,
            what: "a unique id",
        },
        Column {
            names: &["language"],
            needed: true,
            what: "`English`, …",
        },
        Column {
            names: &["toxic"],
            needed: true,
            what: "whether any turn is",
        },
    ],
    gives: "harmless; no category; the prompt is the first user turn, conversations have the first answer",
    traps: &[
        "rows in other languages and toxic ones are left out (`not English`, `toxic`)",
        "answers are those of GPT models: mind their terms before training on them",
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
    let messages = row.messages(&["conversation"])?;
    let asked = messages.iter().position(|m| m.role == "user");
    let answer = asked.map_or(String::new(), |at| first(&messages[at..], "assistant"));
    let toxic = row.record.get(&["toxic"])?.and_then(truth);
    let english = row.text(&["language"])?.eq_ignore_ascii_case("english");
    Ok(Item::new(PromptClass::Harmless, first(&messages, "user"))
        .id(row.text(ID)?)
        .answered(&answer)
        .left_if(!english, "not English")
        .left_if(toxic != Some(false), "toxic"))
}
