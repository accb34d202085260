//! What a study gave and what it took: the table of metrics, a line per node, totals. Made from records alone, so it is
//! the same after a run and a year later. Text, or the same as JSON.

use crate::base::rows::{METRICS, Metric, Metrics};
use crate::base::text::{bytes, count, duration};
use crate::engine::event::State;
use crate::engine::store::{Record, Store};
use crate::report::metrics::{self, Row};
use crate::report::table::{Table, left, right};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Columns of a terminal that a table of metrics may take before it is cut in two.
const WIDE: usize = 118;

/// One node of the study.
pub struct Part {
    pub name: String,
    pub kind: String,
    /// What the recipe says of it.
    pub description: Option<String>,
    /// How it ended, or where it stands without a run: `ran`, `hit`, `failed`, `not made`, …
    pub verdict: String,
    /// Why it has no artifact.
    pub trouble: Option<String>,
    pub record: Option<Record>,
    metrics: Vec<(String, Vec<Metric>)>,
}

/// A run, where there was one.
pub struct Ran {
    pub id: String,
    pub seconds: f64,
}

pub struct Summary {
    pub recipe: String,
    pub parts: Vec<Part>,
    pub ran: Option<Ran>,
}

impl Part {
    /// Reads the metrics of the record, by output.
    pub fn new(store: &Store, name: &str, kind: &str, record: Option<Record>) -> Result<Part> {
        let mut metrics = vec![];
        for (output, artifact) in record.iter().flat_map(|r| &r.outputs) {
            for file in artifact.files.iter().filter(|f| f.path == METRICS) {
                let path = store.objects().path(&file.digest);
                let shown = || format!("reading the metrics of `{name}`");
                let text = std::fs::read(&path).with_context(shown)?;
                let read: Metrics = serde_json::from_slice(&text).with_context(shown)?;
                metrics.push((output.clone(), read.metrics));
            }
        }
        Ok(Part {
            name: name.into(),
            kind: kind.into(),
            description: None,
            verdict: String::new(),
            trouble: None,
            record,
            metrics,
        })
    }

    /// How it ended in a run.
    pub fn ended(mut self, state: &State) -> Part {
        let (verdict, trouble) = match state {
            State::Hit { .. } => ("hit", None),
            State::Done { .. } => ("ran", None),
            State::Failed { message, .. } => ("failed", Some(message.clone())),
            State::Skipped { because } => ("skipped", Some(format!("it needs `{because}`"))),
            _ => ("interrupted", None),
        };
        self.verdict = verdict.into();
        self.trouble = trouble;
        self
    }
}

impl Summary {
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut kinds: Vec<&str> = vec![];
        for part in self.parts.iter().filter(|p| !p.metrics.is_empty()) {
            if !kinds.contains(&part.kind.as_str()) {
                kinds.push(&part.kind);
            }
        }
        // The evaluations are what a study is for.
        kinds.sort_by_key(|kind| *kind != "evaluate");
        for kind in kinds {
            out.push_str(&self.measured(kind));
        }
        out.push_str(&self.nodes());
        out.push_str(&self.totals());
        out
    }

    /// The metrics of all nodes of a kind: a column each.
    fn measured(&self, kind: &str) -> String {
        let columns: Vec<(&Part, &[Metric])> = self
            .parts
            .iter()
            .filter(|p| p.kind == kind)
            .flat_map(|p| p.metrics.iter().map(move |(_, m)| (p, m.as_slice())))
            .collect();
        let mut out = String::new();
        let cells: Vec<&[Metric]> = columns.iter().map(|(_, m)| *m).collect();
        let rows = metrics::rows(&cells);
        for range in pages(&columns, &rows) {
            let table = page(&format!("{kind} (95 % intervals)"), &columns, &rows, range);
            let _ = writeln!(out, "{}", table.render());
        }
        let described = columns
            .iter()
            .filter_map(|(p, _)| Some((&p.name, p.description.as_ref()?)));
        let described: Vec<String> = described
            .map(|(name, about)| format!("  {name}: {about}\n"))
            .collect();
        if !described.is_empty() {
            let _ = writeln!(out, "{}", described.concat());
        }
        out
    }

    fn nodes(&self) -> String {
        let mut table = Table::new([
            left("node"),
            left("kind"),
            left(""),
            right("time"),
            right("peak memory"),
            left(""),
        ]);
        for part in &self.parts {
            let cost = part.record.as_ref().map(|r| &r.cost);
            table.push([
                part.name.clone(),
                part.kind.clone(),
                part.verdict.clone(),
                cost.map(|c| duration(c.seconds)).unwrap_or_default(),
                cost.map(|c| bytes(c.peak_bytes)).unwrap_or_default(),
                part.trouble.clone().unwrap_or_default(),
            ]);
        }
        table.render()
    }

    fn totals(&self) -> String {
        let mut parts = vec![];
        for word in ["hit", "ran", "failed", "skipped", "interrupted", "not made"] {
            let n = self.with(word).count();
            if n > 0 {
                parts.push(format!("{n} {word}"));
            }
        }
        let nodes = count(self.parts.len() as u64, "node", "nodes");
        let mut out = format!("\n{nodes}: {}", parts.join(", "));
        if let Some(ran) = &self.ran {
            let _ = write!(out, "; {}", duration(ran.seconds));
        }
        if self.with("ran").next().is_some() {
            let _ = write!(out, ", cpu time {}", duration(self.cpu_seconds()));
        }
        if self.ran.is_some() && self.with("hit").next().is_some() {
            let _ = write!(out, ", saved by hits {}", duration(self.saved_seconds()));
        }
        out + "\n"
    }

    fn with<'a>(&'a self, verdict: &'a str) -> impl Iterator<Item = &'a Part> {
        self.parts.iter().filter(move |p| p.verdict == verdict)
    }

    fn cpu_seconds(&self) -> f64 {
        let ran = self.with("ran").filter_map(|p| p.record.as_ref());
        ran.map(|r| r.cost.cpu_seconds).sum()
    }

    fn saved_seconds(&self) -> f64 {
        let hit = self.with("hit").filter_map(|p| p.record.as_ref());
        hit.map(|r| r.cost.seconds).sum()
    }

    pub fn json(&self, store: &Store) -> Value {
        let nodes: Vec<Value> = self.parts.iter().map(node_json).collect();
        let metrics: Vec<Value> = self.parts.iter().flat_map(metrics_json).collect();
        json!({
            "recipe": self.recipe,
            "store": store.root(),
            "run": self.ran.as_ref().map(|r| &r.id),
            "seconds": self.ran.as_ref().map(|r| r.seconds),
            "cpu_seconds": self.cpu_seconds(),
            "saved_seconds": self.saved_seconds(),
            "nodes": nodes,
            "metrics": metrics,
        })
    }
}

fn node_json(part: &Part) -> Value {
    let record = part.record.as_ref();
    json!({
        "node": part.name,
        "kind": part.kind,
        "description": part.description,
        "verdict": part.verdict,
        "trouble": part.trouble,
        "key": record.map(|r| &r.key),
        "cost": record.map(|r| &r.cost),
    })
}

fn metrics_json(part: &Part) -> Vec<Value> {
    let named = |output: &str, metric: &Metric| {
        let mut value = json!(metric);
        value["node"] = json!(part.name);
        value["output"] = json!(output);
        value
    };
    part.metrics
        .iter()
        .flat_map(|(output, metrics)| metrics.iter().map(move |m| named(output, m)))
        .collect()
}

/// The n of a line, where all its columns have the same.
fn common_n(row: &Row, range: &std::ops::Range<usize>) -> Option<usize> {
    let mut all = row.cells[range.clone()].iter().flatten().map(|c| c.n());
    let first = all.next()?;
    all.all(|n| n == first).then_some(first)
}

/// Ranges of columns that fit on a terminal together; at least one column each.
fn pages(columns: &[(&Part, &[Metric])], rows: &[Row]) -> Vec<std::ops::Range<usize>> {
    let label = rows.iter().map(|r| r.label.len()).max().unwrap_or(0) + 16;
    let mut pages = vec![];
    let (mut from, mut used) = (0, label);
    for (i, (part, _)) in columns.iter().enumerate() {
        let cells = rows.iter().filter_map(|r| r.cells[i].as_ref());
        let wide = cells.map(|c| c.text().chars().count()).max().unwrap_or(0);
        let wide = wide.max(part.name.len()) + 2;
        if i > from && used + wide > WIDE {
            pages.push(from..i);
            (from, used) = (i, label);
        }
        used += wide;
    }
    pages.push(from..columns.len());
    pages
}

fn page(
    title: &str,
    columns: &[(&Part, &[Metric])],
    rows: &[Row],
    range: std::ops::Range<usize>,
) -> Table {
    let heads = columns[range.clone()].iter().map(|(p, _)| left(&p.name));
    let mut table = Table::new(
        std::iter::once(left(title))
            .chain(heads)
            .chain([left("unit"), right("n")]),
    );
    for row in rows {
        let n = common_n(row, &range);
        let mut cells = vec![row.label.clone()];
        cells.extend(row.cells[range.clone()].iter().map(|cell| match (cell, n) {
            (None, _) => String::new(),
            (Some(cell), Some(_)) => cell.text(),
            (Some(cell), None) => format!("{} n={}", cell.text(), cell.n()),
        }));
        cells.push(if row.unit == "share" { "" } else { row.unit }.into());
        cells.push(n.map(|n| n.to_string()).unwrap_or_default());
        table.push(cells);
    }
    table
}
