//! What a run ends with: the measures that a study of safety is read by, on one screen. The rest is shown by who asks for it. A reader of
//! records.

use crate::asked::{self, Head};
use crate::beside;
use crate::doubt;
use crate::grid::{self, Grid, Row};
use crate::metrics::{self, HEADLINE, UNREADABLE, value};
use crate::page::Page;
use crate::reading::{self, Reading};
use crate::side::Side;
use crate::summary::{self, Item, Measured, WIDE};
use crate::table::{Table, left, right};
use crate::verdicts;
use anyhow::{Context, Result};
use base::claim::Axes;
use base::rows::{Metric, PromptClass};
use base::text::{count, listed};
use engine::kind::Role;
use engine::store::Store;
use std::collections::BTreeSet;

/// Lines of a table that still leave a screen for what stands around it.
const MOST: usize = 20;

/// A text, and whether it is all that was measured.
pub struct Closing {
    pub text: String,
    pub whole: bool,
}

/// Of one variant: a column for every evaluation on the same prompts, then a line for each on others, as under attack. `whole`: the command
/// that shows all.
pub fn one(store: &Store, items: &[Item], room: usize, whole: &str) -> Result<Closing> {
    let room = room.min(WIDE);
    let mut read = vec![];
    for item in items.iter().filter(|i| i.kind.role == Role::Evaluates) {
        let record = store.record(&item.brief.key)?;
        let record = record.with_context(|| format!("the record of `{}` is gone", item.node))?;
        read.push((item, reading::read(store, &record)?));
    }
    // What has no verdict is of these measures too, and is warned of.
    let of_headline = |(item, r): &&(&Item, Reading)| {
        let without = |n: &str| doubt::without(Some(item.kind), n, &r.metrics).is_some();
        HEADLINE.iter().any(|n| r.metric(n).is_some() || without(n))
    };
    let (safety, rest): (Vec<_>, Vec<_>) = read.iter().partition(|e| of_headline(e));
    if safety.is_empty() {
        return Ok(cut(&summary::text(store, items, room)?, whole));
    }
    let (beside, others) = by_prompts(&safety);
    let columns: Vec<Measured> =
        (beside.iter().map(|(item, r)| (*item, r.metrics.clone()))).collect();
    let mut text = summary::evaluations(&columns, room, main);
    text += &on_other_prompts(&others)?.map_or(String::new(), |table| table.fit(room));
    let all: Vec<Measured> = (safety.iter().map(|(item, r)| (*item, r.metrics.clone()))).collect();
    let mut page = Page::default();
    summary::warnings(&all).for_each(|warning| page.line(warning));
    let rest: Vec<String> = rest.iter().map(|(item, _)| summary::head(item)).collect();
    if !rest.is_empty() {
        let rest = listed(rest.iter().map(String::as_str));
        page.line(format!("not shown, of other measures: {rest}: {whole}"));
    }
    if !page.is_empty() {
        text += &format!("\n{}", page.fit(room));
    }
    Ok(Closing { text, whole: false })
}

/// Of several variants: means over seeds; of many the most relevant. `whole`: the command that shows all.
pub fn several(store: &Store, sides: &[&Side], room: usize, whole: &str) -> Result<Closing> {
    let mut all = grid::grid(store, sides, &[], &[])?;
    all.rows.retain(|row| row.seeds > 0);
    all.missing.clear();
    if all.rows.is_empty() {
        return Ok(Closing {
            text: String::new(),
            whole: true,
        });
    }
    let kept = most_relevant(&all.rows, &compared(sides));
    let rows = all.rows.into_iter().enumerate();
    let (shown, left): (Vec<_>, Vec<_>) = rows.partition(|(i, _)| kept.contains(i));
    let rows: Vec<Row> = shown.into_iter().map(|(_, row)| row).collect();
    let left: Vec<Row> = left.into_iter().map(|(_, row)| row).collect();
    let mut page = grid::page(&Grid { rows, ..all });
    if !left.is_empty() {
        let warned = match left.iter().filter(|row| row.warning.is_some()).count() {
            0 => String::new(),
            n => format!(", {n} of them with such a warning"),
        };
        let evaluations = count(left.len() as u64, "more evaluation", "more evaluations");
        let mut named: Vec<String> = left.iter().map(Row::label).collect();
        named.dedup();
        let named = listed(named.iter().map(String::as_str));
        page.line(format!("{evaluations}{warned}, of {named}: {whole}"));
    }
    Ok(Closing {
        text: page.fit(room),
        whole: left.is_empty(),
    })
}

/// Places of the rows that are shown: first what claims compare; then of every variant its first evaluation before the second of any.
fn most_relevant(rows: &[Row], compared: &[Compared]) -> BTreeSet<usize> {
    let nth = |i: usize| {
        let same = |row: &&Row| row.recipe == rows[i].recipe && row.axes == rows[i].axes;
        rows[..i].iter().filter(same).count()
    };
    let is_compared = |row: &Row| compared.iter().any(|c| c.is(row));
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_cached_key(|i| (!is_compared(&rows[*i]), nth(*i)));
    order.into_iter().take(MOST).collect()
}

/// An evaluation that a claim is about, under these values of its axes.
struct Compared<'a> {
    recipe: &'a str,
    node: &'a str,
    at: &'a Axes,
}

impl Compared<'_> {
    fn is(&self, row: &Row) -> bool {
        let at =
            |(axis, value): (&String, &String)| row.axes.get(axis).is_none_or(|own| own == value);
        let also = |label: &String| label.split(' ').next() == Some(self.recipe);
        let named = row.recipe == self.recipe || row.also.iter().any(also);
        named && row.node == self.node && self.at.iter().all(at)
    }
}

fn compared<'a>(sides: &[&'a Side]) -> Vec<Compared<'a>> {
    let mut found = vec![];
    for own in verdicts::recipes(sides) {
        for claim in &own[0].claims {
            let other = claim.against.as_ref().and_then(|file| {
                let others = verdicts::of_file(sides, file);
                others.into_iter().next()
            });
            for condition in &claim.conditions {
                found.push(Compared {
                    recipe: &own[0].recipe,
                    node: &condition.node,
                    at: &claim.at,
                });
                found.extend(other.map(|other| Compared {
                    recipe: &other.recipe,
                    node: &condition.against_node,
                    at: &claim.against_at,
                }));
            }
        }
    }
    found
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

/// A line an evaluation, a column a headline measure; none where none of them has one.
fn on_other_prompts(all: &[&(&Item, Reading)]) -> Result<Option<Table>> {
    let readings: Vec<_> = all.iter().map(|(item, r)| (item.kind, r)).collect();
    let mut heads = asked::heads(&readings, &[], |_| None)?;
    heads.retain(|head| HEADLINE.contains(&head.metric.as_str()));
    if heads.is_empty() {
        return Ok(None);
    }
    let mut columns = vec![left("on other prompts")];
    for head in &heads {
        columns.extend([right("n"), right(&head.label)]);
    }
    let mut table = Table::new(columns);
    for (item, reading) in all {
        let cells = |head: &Head| match reading.metric(&head.metric) {
            Some(metric) => [metric.n.to_string(), beside(metric, reading)],
            None => {
                let nothing = doubt::nothing(item.kind, &head.metric, &reading.metrics);
                [String::new(), nothing.into()]
            }
        };
        let cells = heads.iter().flat_map(cells);
        table.push(std::iter::once(summary::head(item)).chain(cells));
    }
    Ok(Some(table))
}

/// A value, and what stands beside it where it is a rate: `45.8 % [27.9, 64.9] (4.2 % unreadable)`.
fn beside(metric: &Metric, reading: &Reading) -> String {
    let beside = beside::of(&metric.name, &reading.metrics).and_then(|b| b.text());
    match beside {
        Some(beside) => format!("{} ({beside})", value(metric)),
        None => value(metric),
    }
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

/// The beginning of what is too long for a screen, and how much more there is.
fn cut(text: &str, whole: &str) -> Closing {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let more = lines.len().saturating_sub(MOST);
    let shown = lines.iter().take(MOST).map(|line| format!("{line}\n"));
    let more = (more > 0).then(|| {
        format!(
            "{}: {whole}\n",
            count(more as u64, "more line", "more lines")
        )
    });
    Closing {
        text: shown.chain(more.clone()).collect(),
        whole: more.is_none(),
    }
}
