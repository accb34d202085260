//! SORRY-Bench: unsafe requests in 44 or 45 categories of four domains.

use super::types::{Column, Item, Row, Schema, Survey};
use crate::json::Layout;
use crate::record::Record;
use anyhow::{Result, ensure};
use base::rows::PromptClass;

const CATEGORY: &[&str] = &["category"];

/// The release of June 2024 has 45 categories; that of March 2025 dropped one of the second domain.
const CATEGORIES: u64 = 45;

/// The domains in the order of their categories, with the last category of each: of 45, of 44.
const DOMAINS: [(&str, u64, u64); 4] = [
    ("Hate Speech Generation", 5, 5),
    ("Assistance with Crimes or Torts", 25, 24),
    ("Potentially Inappropriate Topics", 40, 39),
    ("Potentially Unqualified Advice", 45, 44),
];

pub(crate) const SCHEMA: Schema = Schema {
    name: "sorry-bench",
    summary: "SORRY-Bench: unsafe requests in 44 or 45 categories of four domains",
    hub: &[
        "sorry-bench/sorry-bench-202503 (gated): question.jsonl, question_STYLE.jsonl",
        "sorry-bench/sorry-bench-202406 (gated)",
    ],
    licence: "its own; it may not be passed on",
    columns: &[
        Column {
            names: &["turns"],
            needed: true,
            what: "an array of one text: the prompt",
        },
        Column {
            names: CATEGORY,
            needed: true,
            what: "a number as text, 1 to 44 or 45",
        },
        Column {
            names: &["question_id"],
            needed: false,
            what: "a number",
        },
        Column {
            names: &["prompt_style"],
            needed: false,
            what: "`base`, or how the prompt was changed",
        },
    ],
    gives: "harmful; the category is its number, labels `category` and `domain`; of forms other than base also `style`",
    traps: &[
        "the hub's split `train` mixes all styles: rows that are not base are left out (`another style`)",
        "45 categories in one release, 44 in the other: the domain follows from the highest number in the file",
    ],
    published: &[
        ("question of 202503", 440, "its page on the hub"),
        ("question of 202406", 450, "its page on the hub"),
    ],
    layout: Layout::Rows,
    loose: false,
    usual: Some("question"),
    splits: &[],
    forms: &[
        ("base", "rows of the style base, or without a style"),
        ("all", "rows of every style"),
    ],
    conversations: false,
    pairs: false,
    survey: Some(survey),
    read,
};

fn survey(survey: &mut Survey, record: &Record) {
    // What is wrong with a cell is said when the row is read.
    let category = record.text(CATEGORY).unwrap_or_default();
    let category = category.trim().parse().unwrap_or(0);
    survey.highest = survey.highest.max(category);
}

fn read(row: &Row) -> Result<Item> {
    let category = row.text(CATEGORY)?.trim().to_string();
    let number: u64 = category.parse().unwrap_or(0);
    let of_45 = row.survey.highest == CATEGORIES;
    let domain = DOMAINS.iter().find(|(_, last, last_of_44)| {
        let last = if of_45 { *last } else { *last_of_44 };
        (1..=last).contains(&number)
    });
    ensure!(
        domain.is_some(),
        "the category `{category}` is no number from 1 to {CATEGORIES}"
    );
    let style = row.text(&["prompt_style"])?;
    let base = style.is_empty() || style == "base";
    let id = match base {
        true => row.text(&["question_id"])?,
        false => format!("{}-{style}", row.text(&["question_id"])?),
    };
    let mut item = Item::new(PromptClass::Harmful, row.prompt(&["turns"])?)
        .id(id)
        .category(category.clone())
        .label("category", category)
        .label("domain", domain.map_or(String::new(), |d| d.0.to_string()))
        .left_if(!base && row.form == "base", "another style");
    if row.form != "base" {
        item = item.label("style", if base { "base".into() } else { style });
    }
    Ok(item)
}
