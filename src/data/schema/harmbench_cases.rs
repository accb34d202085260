//! HarmBench's test cases: prompts that an attack made, by the behaviour they are for.

use super::types::{Column, Item, Row, Schema};
use crate::json::Layout;
use anyhow::{Result, ensure};
use base::rows::{BEHAVIOR, PromptClass};

pub(crate) const SCHEMA: Schema = Schema {
    name: "harmbench-cases",
    summary: "test cases that an attack made for HarmBench's behaviours",
    hub: &["what HarmBench's merge step writes: test_cases/test_cases.json"],
    licence: "that of the attack's authors",
    columns: &[
        Column {
            names: &["key"],
            needed: true,
            what: "the file is an object: its keys are BehaviorIDs",
        },
        Column {
            names: &["value", "test_case"],
            needed: true,
            what: "each has an array of prompts",
        },
    ],
    gives: "harmful; the k-th prompt of a behaviour, from 0, has the id `harmbench-BehaviorID#k`; label `behavior` is the BehaviorID; with \
            `behaviors` category and further labels are the behaviour's",
    traps: &["a behaviour may have several cases: DSR is over behaviours, then over cases"],
    published: &[("one case a behaviour", 400, "HarmBench has 400 behaviours")],
    layout: Layout::Keyed,
    loose: false,
    usual: Some("test_cases"),
    splits: &[],
    forms: &[],
    conversations: false,
    pairs: false,
    survey: None,
    read,
};

fn read(row: &Row) -> Result<Item> {
    let key = row.text(&["key"])?;
    let behavior = row.behaviors.get(&key);
    ensure!(
        behavior.is_some() || row.behaviors.is_empty(),
        "the file of `behaviors` has no BehaviorID `{key}`"
    );
    let mut item = Item::new(PromptClass::Harmful, row.prompt(&["value", "test_case"])?)
        .id(format!("{key}#{}", row.text(&["index"])?));
    if let Some(behavior) = behavior {
        item.category = behavior.category.clone();
        item.labels = behavior.labels.clone();
    }
    // Metrics take the cases of one behaviour as one observation.
    Ok(item.label(BEHAVIOR, key))
}
