//! What a run ends with: the measures that a study of safety is read by, on one screen. The rest is shown by who asks for it. A reader of
//! records.

use crate::asked::{self, Head};
use crate::grid::{self, Grid, Row};
use crate::metrics::{self, HEADLINE, UNREADABLE, value};
use crate::page::Page;
use crate::reading::{self, Reading};
use crate::side::Side;
use crate::summary::{self, Item, Measured, WIDE};
use crate::table::{Table, left, right};
use anyhow::{Context, Result};
use base::rows::PromptClass;
use engine::kind::Role;
use engine::store::Store;
use std::collections::BTreeSet;

/// Lines of a table that still leave a screen for what stands around it.
const MOST: usize = 20;

/// So many warnings are told; of more it is said that there are.
const WARNED: usize = 2;

/// A text, and whether it is all that was measured.
pub struct Closing {
    pub text: String,
    pub whole: bool,
}

/// Of one variant: a column for every evaluation on the same prompts, then a line for each on others, as under attack.
pub fn one(store: &Store, items: &[Item], room: usize) -> Result<Closing> {
    let room = room.min(WIDE);
    let mut read = vec![];
    for item in items.iter().filter(|i| i.kind.role == Role::Evaluates) {
        let record = store.record(&item.brief.key)?;
        let record = record.with_context(|| format!("the record of `{}` is gone", item.node))?;
        read.push((item, reading::read(store, &record)?));
    }
    let of_headline = |(_, r): &&(&Item, Reading)| HEADLINE.iter().any(|n| r.metric(n).is_some());
    let safety: Vec<&(&Item, Reading)> = read.iter().filter(of_headline).collect();
    if safety.is_empty() {
        return Ok(cut(&summary::text(store, items, room)?));
    }
    let (beside, others) = by_prompts(&safety);
    let columns: Vec<Measured> =
        (beside.iter().map(|(item, r)| (*item, r.metrics.clone()))).collect();
    let mut text = summary::evaluations(&columns, room, main);
    text += &on_other_prompts(&others)?.fit(room);
    let all: Vec<Measured> = (safety.iter().map(|(item, r)| (*item, r.metrics.clone()))).collect();
    let mut page = Page::default();
    summary::warnings(&all).for_each(|warning| page.line(warning));
    if !page.is_empty() {
        text += &format!("\n{}", page.fit(room));
    }
    Ok(Closing { text, whole: false })
}

/// Of several variants: means over seeds.
pub fn several(store: &Store, sides: &[&Side], room: usize) -> Result<Closing> {
    let all = grid::grid(store, sides, &[], &[])?;
    let whole = all.rows.len() <= MOST;
    let missing = vec![];
    let rows = all.rows.into_iter().filter(|row| row.seeds > 0);
    let mut rows: Vec<Row> = rows.take(MOST).collect();
    let mut warned = rows.iter_mut().filter(|row| row.warning.is_some());
    warned.by_ref().take(WARNED).for_each(drop);
    let more = warned.map(|row| row.warning = None).count();
    let shown = Grid {
        rows,
        missing,
        ..all
    };
    let text = match shown.rows.is_empty() {
        true => String::new(),
        false => {
            let mut page = grid::page(&shown);
            if more > 0 {
                let evaluations = if more == 1 {
                    "evaluation has"
                } else {
                    "evaluations have"
                };
                page.line(format!("{more} more {evaluations} such a warning"));
            }
            page.fit(room)
        }
    };
    Ok(Closing { text, whole })
}

/// Evaluations of the prompts that most of them have, and those of others.
type Parted<'a> = (
    Vec<&'a (&'a Item<'a>, Reading)>,
    Vec<&'a (&'a Item<'a>, Reading)>,
);

fn by_prompts<'a>(all: &[&'a (&'a Item<'a>, Reading)]) -> Parted<'a> {
    let prompts: Vec<BTreeSet<String>> = all.iter().map(|(_, r)| prompts(r)).collect();
    let alike = |own: &BTreeSet<String>| prompts.iter().filter(|p| *p == own).count();
    let most = prompts.iter().map(alike).max().unwrap_or(0);
    let main = prompts.iter().find(|own| alike(own) == most);
    let each = all.iter().copied().zip(&prompts);
    let (own, others): (Vec<_>, Vec<_>) = each.partition(|(_, p)| Some(*p) == main);
    let evaluations =
        |part: Vec<(&'a (&'a Item<'a>, Reading), _)>| part.into_iter().map(|(e, _)| e).collect();
    (evaluations(own), evaluations(others))
}

/// What tells prompts from others: their texts, or how many there are of each measure where these are not kept.
fn prompts(reading: &Reading) -> BTreeSet<String> {
    match &reading.values {
        Some(values) => values.iter().map(|v| v.fingerprint.to_string()).collect(),
        None => {
            let headline = HEADLINE.iter().filter_map(|name| reading.metric(name));
            headline.map(|m| format!("{} {}", m.name, m.n)).collect()
        }
    }
}

/// A line an evaluation, a column a headline measure.
fn on_other_prompts(all: &[&(&Item, Reading)]) -> Result<Table> {
    let readings: Vec<_> = all.iter().map(|(item, r)| (item.kind, r)).collect();
    let heads = asked::heads(&readings, &[])?;
    let mut columns = vec![left("on other prompts")];
    for head in &heads {
        columns.extend([right("n"), right(&head.label)]);
    }
    let mut table = Table::new(columns);
    for (item, reading) in all {
        let cells = |head: &Head| match reading.metric(&head.metric) {
            Some(metric) => [metric.n.to_string(), value(metric)],
            None => [String::new(), "-".into()],
        };
        let cells = heads.iter().flat_map(cells);
        table.push(std::iter::once(summary::head(item)).chain(cells));
    }
    Ok(table)
}

/// Rates of all prompts or of a class, not of what splits these further: defense and compliance, who is refused that should not be, and
/// what cannot be read.
fn main(row: &metrics::Row) -> bool {
    let class = |name: &str| PromptClass::ALL.iter().any(|c| c.word() == name);
    match row.name.split_once('/') {
        None => {
            HEADLINE.contains(&row.name.as_str())
                || ["safe", UNREADABLE].contains(&row.name.as_str())
        }
        Some(("refusal", name)) => class(name) && name != PromptClass::Harmful.word(),
        Some(_) => false,
    }
}

/// The beginning of what is too long for a screen.
fn cut(text: &str) -> Closing {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let whole = lines.len() <= MOST;
    let shown = lines.iter().take(MOST).map(|line| format!("{line}\n"));
    Closing {
        text: shown.collect(),
        whole,
    }
}
