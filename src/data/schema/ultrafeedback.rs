//! UltraFeedback, binarized: harmless instructions with a preferred and another response.

use super::types::{Chosen, Column, Item, Row, Schema, first};
use crate::json::Layout;
use crate::record::number;
use anyhow::Result;
use base::rows::{Message, PromptClass};

pub(crate) const SCHEMA: Schema = Schema {
    name: "ultrafeedback-binarized",
    summary: "UltraFeedback: harmless instructions with a chosen and a rejected response",
    hub: &[
        "HuggingFaceH4/ultrafeedback_binarized: data/{train,test}_{prefs,sft,gen}-*.parquet",
        "trl-lib/ultrafeedback_binarized",
        "trl-lib/ultrafeedback-prompt (prompts only)",
    ],
    licence: "MIT",
    columns: &[
        Column {
            names: &["prompt", "chosen"],
            needed: true,
            what: "the prompt, as text or messages; else the first message of `chosen`",
        },
        Column {
            names: &["prompt_id"],
            needed: false,
            what: "a unique id",
        },
        Column {
            names: &["chosen"],
            needed: false,
            what: "messages, the preferred response last",
        },
        Column {
            names: &["rejected"],
            needed: false,
            what: "messages, the other response last",
        },
        Column {
            names: &["messages"],
            needed: false,
            what: "the conversation to train on; else `chosen`",
        },
        Column {
            names: &["score_chosen", "score_rejected"],
            needed: false,
            what: "1 to 10",
        },
    ],
    gives: "harmless; no category; the id is prompt_id; conversations; pairs with their scores",
    traps: &[
        "some pairs have equal scores, some the same text twice: the latter are no pairs",
        "nobody removed harmful requests from it",
        "train_prefs and train_sft hold the same prompts",
    ],
    published: &[("train_prefs", 61135, "its page on the hub")],
    layout: Layout::Rows,
    loose: false,
    usual: Some("train_prefs"),
    splits: &[],
    forms: &[],
    conversations: true,
    pairs: true,
    survey: None,
    read,
};

fn read(row: &Row) -> Result<Item> {
    let cell = |name: &str| row.record.get(&[name]);
    let (chosen, rejected) = (row.messages(&["chosen"])?, row.messages(&["rejected"])?);
    let prompt = match cell("prompt")? {
        Some(_) => row.prompt(&["prompt"])?,
        None => first(&chosen, "user"),
    };
    let mut item = Item::new(PromptClass::Harmless, prompt).id(row.text(&["prompt_id"])?);
    let trained = match row.messages(&["messages"])? {
        none if none.is_empty() => chosen.clone(),
        some => some,
    };
    let answers = |messages: &[Message]| match messages.last() {
        Some(last) if last.role == "assistant" => last.content.clone(),
        _ => String::new(),
    };
    if !answers(&trained).trim().is_empty() {
        item.messages = Some(trained);
    }
    let (good, bad) = (answers(&chosen), answers(&rejected));
    if !good.trim().is_empty() && !bad.trim().is_empty() && good != bad {
        let score = |name: &str, other: f64| -> Result<f64> {
            Ok(cell(name)?.and_then(number).unwrap_or(other))
        };
        item.pair = Some(Chosen {
            chosen: good,
            rejected: bad,
            scores: (score("score_chosen", 1.0)?, score("score_rejected", 0.0)?),
        });
    }
    // The last answer of a conversation is none to its first turn.
    let turns = chosen.iter().filter(|m| m.role == "user").count();
    Ok(item.left_if(turns > 1, "several turns"))
}
