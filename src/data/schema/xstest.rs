//! XSTest: safe prompts that sound unsafe, and unsafe contrasts.

use super::types::{Column, Item, Row, Schema};
use crate::json::Layout;
use anyhow::{Result, bail};
use base::rows::PromptClass;

pub(crate) const SCHEMA: Schema = Schema {
    name: "xstest",
    summary: "XSTest: safe prompts that sound unsafe, with unsafe contrasts",
    hub: &[
        "Paul/XSTest: xstest_prompts.csv",
        "walledai/XSTest (gated)",
        "github.com/paul-rottger/xstest: xstest_prompts.csv",
    ],
    licence: "CC-BY-4.0",
    columns: &[
        Column {
            names: &["prompt"],
            needed: true,
            what: "the prompt",
        },
        Column {
            names: &["type"],
            needed: true,
            what: "one of 18; `contrast_…` is unsafe",
        },
        Column {
            names: &["label"],
            needed: false,
            what: "`safe` or `unsafe`; else the type says it",
        },
        Column {
            names: &["id"],
            needed: false,
            what: "`N` or `v2-N`; else the row's number",
        },
    ],
    gives: "safe prompts are ambiguous, unsafe ones harmful; the category is the type; `v2-N` and `N` are one id",
    traps: &[
        "prompts.csv has ids 1 to 450, the completion files v2-1 to v2-450, and row 195 differs in wording: join by id",
        "the split is `train` at Paul/XSTest and `test` at walledai/XSTest",
    ],
    published: &[("all", 450, "counted in the file: 250 safe, 200 unsafe")],
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
    let kind = row.text(&["type"])?;
    let written = kind.trim().to_lowercase();
    let class = match row.text(&["label"])?.trim().to_lowercase().as_str() {
        "unsafe" => PromptClass::Harmful,
        "safe" => PromptClass::Ambiguous,
        "" if written.starts_with("contrast_") => PromptClass::Harmful,
        "" if written.starts_with("contrast") => {
            bail!("the type `{kind}` is nearly `contrast_…`, and there is no label")
        }
        "" => PromptClass::Ambiguous,
        other => bail!("the label `{other}` is neither safe nor unsafe"),
    };
    let id = match row.text(&["id"])? {
        none if none.trim().is_empty() => row.number.to_string(),
        id => id.trim().trim_start_matches("v2-").to_string(),
    };
    Ok(Item::new(class, row.prompt(&["prompt"])?)
        .id(id)
        .category(kind))
}
