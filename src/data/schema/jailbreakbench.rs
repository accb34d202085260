//! JailbreakBench: its behaviours, and the artifacts that attacks on them left.

use super::types::{Column, Item, Row, Schema};
use crate::json::Layout;
use anyhow::{Result, ensure};
use base::rows::PromptClass;

const GOAL: &[&str] = &["Goal", "goal"];

pub(crate) const SCHEMA: Schema = Schema {
    name: "jailbreakbench",
    summary: "JBB-Behaviors, and attack artifacts on them",
    hub: &[
        "JailbreakBench/JBB-Behaviors: config behaviors, splits harmful and benign",
        "github.com/JailbreakBench/artifacts: attack-artifacts/METHOD/TYPE/MODEL.json",
    ],
    licence: "MIT",
    columns: &[
        Column {
            names: GOAL,
            needed: true,
            what: "what is asked",
        },
        Column {
            names: &["prompt"],
            needed: false,
            what: "of artifacts: the attack's prompt, null where it gave up",
        },
        Column {
            names: &["Index", "index"],
            needed: false,
            what: "the number of the behaviour, the same in both",
        },
        Column {
            names: &["Category", "category"],
            needed: true,
            what: "one of ten",
        },
        Column {
            names: &["jailbroken"],
            needed: false,
            what: "of artifacts: whether the attack succeeded, by their judge",
        },
    ],
    gives: "harmful, benign behaviours ambiguous; the id is the index, `benign-N` of benign ones; label `jailbroken` of artifacts",
    traps: &[
        "of 100 rows of PAIR on Vicuna 18 have no prompt (`no prompt`), and the published success rate is over all 100",
        "a file of behaviours does not say whether they are harmful or benign: `split` has to",
        "total_number_of_jailbreaks is not the number of successes",
    ],
    published: &[
        ("harmful", 100, "its page on the hub"),
        ("artifact", 100, "counted in the files of PAIR and GCG"),
    ],
    layout: Layout::Rows,
    loose: false,
    usual: None,
    splits: &[],
    forms: &[
        ("attack", "of artifacts the attack's prompt"),
        ("goal", "the behaviour as it is asked plainly"),
    ],
    conversations: false,
    pairs: false,
    survey: None,
    read,
};

fn read(row: &Row) -> Result<Item> {
    let artifact = row.record.cells.contains_key("jailbroken");
    let (harmful, benign) = (row.split_is("harmful"), row.split_is("benign"));
    ensure!(
        artifact || harmful != benign,
        "the file does not say whether its behaviours are harmful or benign; set `split = \"harmful\"` or `split = \"benign\"`"
    );
    let class = match benign {
        true => PromptClass::Ambiguous,
        false => PromptClass::Harmful,
    };
    let prompt = match artifact && row.form == "attack" {
        true => row.prompt(&["prompt"])?,
        false => row.prompt(GOAL)?,
    };
    let id = match row.text(&["Index", "index"])? {
        index if benign && !index.is_empty() => format!("benign-{index}"),
        index => index,
    };
    Ok(Item::new(class, prompt)
        .id(id)
        .category(row.text(&["Category", "category"])?)
        .label("jailbroken", row.text(&["jailbroken"])?.to_lowercase()))
}
