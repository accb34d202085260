//! The RL prompts that TARS released, in verl's layout: a file a λ.

use super::types::{Column, Item, Row, Schema};
use crate::json::Layout;
use anyhow::{Result, bail};
use base::rows::PromptClass;

pub(crate) const SCHEMA: Schema = Schema {
    name: "tars-rl",
    summary: "the released RL prompts of TARS, a Parquet file a λ",
    hub: &["github.com/danielkty/tars: five Parquet files in verl's layout"],
    licence: "not stated with the files; each source has its own",
    columns: &[
        Column {
            names: &["prompt"],
            needed: true,
            what: "an array of {role, content}",
        },
        Column {
            names: &["ability"],
            needed: true,
            what: "`wildjailbreak`, `rainbow`, `aegis` or `refusal`",
        },
        Column {
            names: &["extra_info"],
            needed: false,
            what: "split and index; not used",
        },
    ],
    gives: "`refusal` is harmless, all else harmful; the category is the tag; the row's number is the id",
    traps: &[
        "the tag `refusal` marks prompts that should NOT be refused: UltraFeedback and OR-Bench together, not to be told apart",
        "the files of two λ are not nested, and those of λ ≥ 0.5 hold 3 to 6 prompts twice",
        "some prompts of WildJailbreak are longer than 1,000 characters: the published filter did not reach them",
    ],
    published: &[("each λ", 2000, "counted in the released files")],
    layout: Layout::Rows,
    loose: false,
    usual: None,
    splits: &[],
    forms: &[],
    conversations: false,
    pairs: false,
    survey: None,
    read,
};

fn read(row: &Row) -> Result<Item> {
    let ability = row.text(&["ability"])?;
    let class = match ability.as_str() {
        "wildjailbreak" | "rainbow" | "aegis" => PromptClass::Harmful,
        "refusal" => PromptClass::Harmless,
        other => bail!("the ability `{other}` is none of wildjailbreak, rainbow, aegis, refusal"),
    };
    Ok(Item::new(class, row.prompt(&["prompt"])?).category(ability))
}
