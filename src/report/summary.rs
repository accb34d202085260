//! The table of a study: every evaluation a column, every measure a row; then what other nodes measured, and what all took.
//! A reader of records.

use crate::beside::{self, Beside};
use crate::doubt::{self, Doubt};
use crate::metrics::{Row, rows};
use crate::table::{Table, left, pieces, right};
use crate::wrap::wrap;
use anyhow::{Context, Result};
use base::calls::Calls;
use base::rows::{METRICS, Metric, Metrics};
use base::text::{bytes, dollars, duration, thousands, width};
use engine::kind::{Kind, Role, Type};
use engine::store::Store;
use engine::store::index::RecordSummary;
use engine::store::record::{Cost, Record};
use serde_json::{Value, json};
use std::ops::Range;

/// Columns of text that a table of evaluations takes at most, where it can be cut.
pub const WIDE: usize = 120;

/// What the label of a measure takes at most where there is little room.
const LABEL: usize = 24;

/// The title of the measures' column.
const TITLE: &str = "measure [95 % interval]";

/// An evaluation, and what it measured.
pub type Measured<'a> = (&'a Item<'a>, Vec<Metric>);

/// A node with a record, in graph order.
pub struct Item<'a> {
    pub node: &'a str,
    pub kind: &'static Kind,
    pub brief: &'a RecordSummary,
    pub hit: bool,
    /// What it took: in a run that is told of, where that made it; else by its record.
    pub cost: &'a Cost,
    /// What the recipe says of the node.
    pub about: Option<&'a str>,
}

impl Item<'_> {
    /// Read only where there are any: a table of thousands of hits is made from what the index says.
    fn metrics(&self, store: &Store) -> Result<Vec<Metric>> {
        match self.brief.has(Type::Metrics) {
            true => metrics(store, &self.record(store)?),
            false => Ok(vec![]),
        }
    }

    fn record(&self, store: &Store) -> Result<Record> {
        let record = store.record(&self.brief.key)?;
        record.with_context(|| format!("the record of `{}` is gone", self.node))
    }
}

/// The metrics that a record's outputs hold.
pub fn metrics(store: &Store, record: &Record) -> Result<Vec<Metric>> {
    let mut all = vec![];
    for artifact in record.outputs.values().filter(|a| a.ty == Type::Metrics) {
        let blob = artifact.files.iter().find(|f| f.path == METRICS);
        let blob = blob.with_context(|| {
            format!(
                "the metrics of `{}` have no {}",
                record.provenance.node, METRICS
            )
        })?;
        let text = store.objects().read(blob)?;
        let parsed: Metrics = serde_json::from_slice(&text).context("failed to parse metrics")?;
        all.extend(parsed.metrics);
    }
    Ok(all)
}

/// The study's tables in so many columns: a column for every evaluation, then what other nodes measured.
pub fn text(store: &Store, items: &[Item], room: usize) -> Result<String> {
    let (room, prose) = (room.min(WIDE), room);
    let mut out = String::new();
    let (evals, others): (Vec<&Item>, Vec<&Item>) =
        items.iter().partition(|i| i.kind.role == Role::Evaluates);
    let mut columns = vec![];
    for item in evals {
        columns.push((item, item.metrics(store)?));
    }
    out += &evaluations(&columns, room, |_| true);
    out += &remarks(&columns, prose);
    for item in others {
        let all = item.metrics(store)?;
        let mut shown = all.clone();
        shown.retain(|m| m.interval.is_some());
        if shown.is_empty() {
            continue;
        }
        let mut table = Table::new([
            left(&format!("{} ({})", item.node, item.kind.name)),
            right("n"),
            right("value"),
        ]);
        for row in rows(&[(item.kind, &shown)]) {
            let cell = row.cells[0]
                .as_ref()
                .expect("the only column has every row");
            let beside = beside::line(&[beside::of(&row.name, &all)], None);
            table.push([row.label, cell.n().to_string(), cell.text()]);
            if let Some((label, shares)) = beside {
                table.push([label, String::new(), shares.concat()]);
            }
        }
        out += &table.fit(room);
        out += "\n";
    }
    Ok(out)
}

/// Every node: ran or hit, how long, how much memory, and how much money where any was paid.
pub fn costs(items: &[Item], room: usize) -> String {
    let mut heads = vec![
        left("node"),
        left("kind"),
        left(""),
        right("time"),
        right("cpu"),
        right("memory"),
    ];
    let paid = items.iter().any(|i| i.cost.dollars > 0.0);
    heads.extend(paid.then(|| right("paid")));
    let mut table = Table::new(heads);
    for item in items {
        let cost = item.cost;
        let mut cells = vec![
            item.node.to_string(),
            item.kind.name.to_string(),
            (if item.hit { "hit" } else { "ran" }).to_string(),
            duration(cost.seconds),
            duration(cost.cpu_seconds),
            bytes(cost.peak_bytes),
        ];
        cells.extend(paid.then(|| dollars(cost.dollars)));
        table.push(cells);
    }
    table.fit(room)
}

/// Whom nodes asked and what it came to: a row a node, and their sum. Empty where nobody asked.
pub fn calls<'a>(of: impl IntoIterator<Item = (&'a str, &'a Calls)>, room: usize) -> String {
    let asked = of.into_iter().filter(|(_, calls)| !calls.is_zero());
    let mut rows: Vec<(&str, Calls)> = asked.map(|(node, calls)| (node, *calls)).collect();
    if rows.is_empty() {
        return String::new();
    }
    if rows.len() > 1 {
        let mut sum = Calls::default();
        rows.iter().for_each(|(_, calls)| sum.add(calls));
        rows.push(("in total", sum));
    }
    let mut table = Table::new([
        left("asked services"),
        right("calls"),
        right("from the journal"),
        right("retries"),
        right("rejected"),
        right("tokens"),
        right("paid"),
        right("latency"),
        right("slowest"),
    ]);
    for (node, calls) in rows {
        let latency = calls.latency();
        table.push([
            node.to_string(),
            thousands(calls.made),
            thousands(calls.reused),
            thousands(calls.retries),
            thousands(calls.rejected),
            thousands(calls.tokens()),
            dollars(calls.dollars),
            latency.map(duration).unwrap_or_default(),
            latency.map_or(String::new(), |_| duration(calls.slowest_seconds)),
        ]);
    }
    table.fit(room)
}

/// The nodes as data.
pub fn json(store: &Store, items: &[Item]) -> Result<Value> {
    let mut nodes = vec![];
    for item in items {
        let metrics = item.metrics(store)?;
        nodes.push(json!({
            "node": item.node,
            "kind": item.kind.name,
            "description": item.about,
            "key": item.brief.key,
            "hit": item.hit,
            "cost": item.cost,
            "outputs": item.record(store)?.outputs,
            "beside": beside::all(&metrics),
            "warning": doubt::warning(&format!("`{}`", item.node), &metrics),
            "metrics": metrics,
        }));
    }
    Ok(Value::Array(nodes))
}

/// As many tables as the columns need to stay readable, of the measures that are wanted.
pub fn evaluations(columns: &[Measured], room: usize, wanted: impl Fn(&Row) -> bool) -> String {
    let mut out = String::new();
    let measured: Vec<&[Metric]> = columns.iter().map(|(_, m)| m.as_slice()).collect();
    let kinds = columns.iter().map(|(item, _)| item.kind);
    let of_kinds: Vec<_> = kinds.zip(measured.iter().copied()).collect();
    let rows: Vec<Row> = rows(&of_kinds).into_iter().filter(|r| !r.idle()).collect();
    let rows: Vec<Row> = rows.into_iter().filter(wanted).collect();
    let beside: Vec<Vec<Option<Beside>>> = rows
        .iter()
        .map(|row| measured.iter().map(|m| beside::of(&row.name, m)).collect())
        .collect();
    for page in pages(columns, &rows, &beside, room) {
        let mut heads = vec![left(TITLE), right("n")];
        heads.extend(columns[page.clone()].iter().map(|(i, _)| right(&head(i))));
        let mut table = Table::new(heads);
        let there = |i: &usize| rows[*i].cells[page.clone()].iter().any(Option::is_some);
        let shown: Vec<usize> = (0..rows.len()).filter(there).collect();
        if shown.is_empty() {
            continue;
        }
        for (at, i) in shown.iter().enumerate() {
            let row = &rows[*i];
            let n = row.n(page.clone());
            let counts = n.map_or_else(|| "varies".into(), |n| n.to_string());
            let mut cells = vec![row.label.clone(), counts];
            let own = row.cells[page.clone()].iter().zip(&columns[page.clone()]);
            cells.extend(own.map(|(cell, (item, all))| match (cell, n) {
                (None, _) => doubt::nothing(item.kind, &row.name, all).into(),
                (Some(cell), Some(_)) => cell.text(),
                (Some(cell), None) => format!("{} n={}", cell.text(), cell.n()),
            }));
            table.push(cells);
            let next = shown.get(at + 1).map(|i| &beside[*i][page.clone()]);
            if let Some((label, cells)) = beside::line(&beside[*i][page.clone()], next) {
                table.push([label, String::new()].into_iter().chain(cells));
            }
        }
        out += &table.fit(room);
        out += "\n";
    }
    out
}

/// Of which evaluations much cannot be read, or has no verdict.
pub fn warnings(columns: &[Measured]) -> impl Iterator<Item = String> {
    let each = columns.iter();
    let each = each.filter_map(|(item, m)| Doubt::of(&format!("`{}`", item.node), m));
    let told = doubt::warnings(each).into_iter();
    told.map(|text| format!("warning: {text}"))
}

/// The warnings, then what the recipe says of the evaluations.
fn remarks(columns: &[Measured], room: usize) -> String {
    let told = columns.iter().filter_map(|(i, _)| Some((i, i.about?)));
    let told = told.map(|(item, about)| format!("{}: {about}", head(item)));
    let mut out = String::new();
    for lines in [warnings(columns).collect::<Vec<_>>(), told.collect()] {
        for line in lines.iter().flat_map(|line| wrap(line, room, 2)) {
            out += &format!("{line}\n");
        }
        if !lines.is_empty() {
            out += "\n";
        }
    }
    out
}

/// The title of an evaluation's column: `rl` for `rl-eval`, `rl@tars` for `rl-eval@tars`.
pub fn head(item: &Item) -> String {
    let (name, marks) = match item.node.split_once('@') {
        Some((name, marks)) => (name, format!("@{marks}")),
        None => (item.node, String::new()),
    };
    format!("{}{marks}", name.strip_suffix("-eval").unwrap_or(name))
}

/// Ranges of columns that fit side by side, with every interval under its value where they do not fit otherwise; a range has at least one.
fn pages(
    columns: &[Measured],
    rows: &[Row],
    beside: &[Vec<Option<Beside>>],
    room: usize,
) -> Vec<Range<usize>> {
    let pages = pages_of(columns, rows, beside, room, false);
    // Where there are several in any case, columns of other prompts than the first have a table of their own.
    match room < WIDE && pages.len() > 1 {
        true => pages_of(columns, rows, beside, room, true),
        false => pages,
    }
}

fn pages_of(
    columns: &[Measured],
    rows: &[Row],
    beside: &[Vec<Option<Beside>>],
    room: usize,
    stacked: bool,
) -> Vec<Range<usize>> {
    let lines = beside.iter().filter_map(|b| beside::line(b, None));
    let lines = lines.map(|(label, _)| width(&label));
    let label = rows.iter().map(|r| width(&r.label)).chain(lines).max();
    let label = label.unwrap_or(0).max(width(TITLE));
    let label = if stacked { label.min(LABEL) } else { label };
    let before = label + 2 + width("varies");
    let wide = |cell: &str| match stacked {
        true => pieces(cell).into_iter().map(width).max().unwrap_or(0),
        false => width(cell),
    };
    let mut pages = vec![];
    let (mut from, mut used) = (0, before);
    for (i, (item, _)) in columns.iter().enumerate() {
        let cells = rows.iter().filter_map(|r| r.cells[i].as_ref());
        let widest = cells.map(|c| wide(&c.text())).max().unwrap_or(0);
        let wide = 2 + widest.max(width(&head(item)));
        let others = stacked
            && rows
                .iter()
                .any(|row| row.n(from..i + 1).is_none() && row.n(from..i).is_some());
        if i > from && (others || used + wide > room) {
            pages.push(from..i);
            (from, used) = (i, before);
        }
        used += wide;
    }
    if from < columns.len() {
        pages.push(from..columns.len());
    }
    pages
}
