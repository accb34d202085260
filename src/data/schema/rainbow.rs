//! Archives of rainbow teaming, as TARS released them: a grid of risks and styles with a prompt in each cell.

use super::types::{Column, Item, Schema};
use crate::json::Layout;
use base::rows::PromptClass;

pub(crate) const SCHEMA: Schema = Schema {
    name: "rainbow",
    summary: "an archive of rainbow teaming: 10 risks by 12 styles, a prompt a cell",
    hub: &["github.com/danielkty/tars: seven archives"],
    licence: "not stated with the files",
    columns: &[
        Column {
            names: &["row"],
            needed: true,
            what: "the file is an array of arrays: the place of the outer one is the risk",
        },
        Column {
            names: &["column"],
            needed: true,
            what: "the place in the inner one is the style",
        },
        Column {
            names: &["prompt"],
            needed: true,
            what: "the prompt of the cell",
        },
        Column {
            names: &["score"],
            needed: false,
            what: "what the archive's judge gave it, in [0, 1]; not used",
        },
    ],
    gives: "harmful; the category is `risk-N`, label `style` is N, both from 0; the row's number over all archives is the id",
    traps: &[
        "the archives of a folder are read together, in name order: 7 × 120 cells",
        "the names of risks and styles are not in the files",
    ],
    published: &[
        ("an archive", 120, "counted in the released files"),
        ("seven archives", 840, "counted in the released files"),
    ],
    layout: Layout::Cells,
    loose: false,
    usual: Some("*"),
    splits: &[],
    forms: &[],
    conversations: false,
    pairs: false,
    survey: None,
    read: |row| {
        let (risk, style) = (row.text(&["row"])?, row.text(&["column"])?);
        Ok(Item::new(PromptClass::Harmful, row.prompt(&["prompt"])?)
            .category(format!("risk-{risk}"))
            .label("style", style))
    },
};
